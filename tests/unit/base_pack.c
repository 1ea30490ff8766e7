#include "test.h"

#include "base/pack.h"

enum { MOST = 300 };

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t bound) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % bound;
}

static bool items_collide(const PackItem *a, const PackItem *b) {
    return a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->size &&
           b->offset < a->offset + a->size;
}

/* Packs, checks that the layout is one, and returns the arena size. */
static int64_t check_pack(PackItem *items, int32_t count, int64_t alignment) {
    static int32_t order[PACK_SCRATCH * MOST];
    static PackItem again[MOST];
    int64_t total = pack_items(items, order, count, alignment);
    int collisions = 0, outside = 0;
    for (int32_t i = 0; i < count; ++i) {
        outside += items[i].offset % alignment != 0 || items[i].offset < 0 ||
                   items[i].offset + items[i].size > total || (items[i].size == 0 && items[i].offset != 0);
        for (int32_t k = 0; k < i; ++k) {
            collisions += items[i].size > 0 && items[k].size > 0 && items_collide(&items[i], &items[k]);
        }
        again[i] = items[i];
        again[i].offset = -77;
    }
    CHECK_INT(collisions, 0);
    CHECK_INT(outside, 0);
    CHECK_INT(total % alignment, 0);
    CHECK_INT(pack_items(again, order, count, alignment), total);
    int moved = 0;
    for (int32_t i = 0; i < count; ++i) moved += again[i].offset != items[i].offset;
    CHECK_INT(moved, 0);
    return total;
}

static void test_random(void) {
    static PackItem items[MOST];
    for (int round = 0; round < 200; ++round) {
        int32_t count = (int32_t)random_below(MOST), steps = 1 + (int32_t)random_below(100);
        for (int32_t i = 0; i < count; ++i) {
            int32_t first = (int32_t)random_below((uint32_t)steps);
            int32_t last = first + (int32_t)random_below((uint32_t)(steps - first));
            int64_t size = random_below(8) == 0 ? 0 : 1 + random_below(1u << (1 + random_below(18)));
            items[i] = (PackItem){.size = size, .first = first, .last = last};
        }
        static int32_t numbers[2 * MOST];
        int64_t total = check_pack(items, count, 256);
        int64_t bound = pack_lower_bound(items, numbers, count, steps, 256, NULL);
        CHECK(total >= bound && total <= bound + bound / 2);
    }
}

/* A chain: each value is read by the next step only, so that two live at a time. */
static void test_chain(void) {
    PackItem items[50];
    int32_t numbers[100], peak = -1;
    for (int32_t i = 0; i < 50; ++i) items[i] = (PackItem){.size = 1000, .first = i, .last = i + 1};
    CHECK_INT(check_pack(items, 50, 64), 2 * 1024);
    CHECK_INT(pack_lower_bound(items, numbers, 50, 51, 64, &peak), 2 * 1024);
    CHECK_INT(peak, 1);
    CHECK_INT(pack_lower_bound(items, numbers, 50, 1, 64, &peak), 1024);
    CHECK_INT(peak, 0);
}

/* As in a network: every block has a skip value over its steps and two short ones inside. */
static void test_blocks(void) {
    PackItem items[90];
    int32_t numbers[180];
    for (int32_t i = 0; i < 30; ++i) {
        items[3 * i] = (PackItem){.size = 4096, .first = 3 * i, .last = 3 * i + 3};
        items[3 * i + 1] = (PackItem){.size = 16384, .first = 3 * i + 1, .last = 3 * i + 2};
        items[3 * i + 2] = (PackItem){.size = 8192, .first = 3 * i + 2, .last = 3 * i + 3};
    }
    int64_t bound = pack_lower_bound(items, numbers, 90, 91, 256, NULL);
    CHECK_INT(bound, 4096 + 16384 + 8192);
    CHECK(check_pack(items, 90, 256) <= bound + bound / 2);
}

static void test_edges(void) {
    int32_t order[4 * PACK_SCRATCH];
    PackItem bad = {.size = -1};
    CHECK_INT(pack_items(&bad, order, 1, 64), -1);
    bad = (PackItem){.size = 1, .first = 2, .last = 1};
    CHECK_INT(pack_items(&bad, order, 1, 64), -1);
    bad = (PackItem){.size = INT64_MAX};
    CHECK_INT(pack_items(&bad, order, 1, 64), -1);
    CHECK_INT(pack_lower_bound(&bad, order, 1, 1, 64, NULL), -1);
    PackItem large[2] = {{.size = INT64_MAX - 1000}, {.size = 2000}};
    CHECK_INT(pack_items(large, order, 2, 1), -1);
    CHECK_INT(pack_lower_bound(large, order, 2, 1, 1, NULL), -1);
    CHECK_INT(pack_items(NULL, NULL, 0, 64), 0);
    PackItem nothing = {.size = 0, .offset = 9};
    CHECK_INT(pack_items(&nothing, order, 1, 64), 0);
    CHECK_INT(nothing.offset, 0);
    PackItem apart[2] = {{.size = 100, .first = 0, .last = 1}, {.size = 60, .first = 2, .last = 3}};
    CHECK_INT(pack_items(apart, order, 2, 4), 100);
    CHECK_INT(apart[1].offset, 0);
}

/* Each order has cases that only it packs tightly; the best must be kept. */
static void test_best_order(void) {
    PackItem step[4] = {{.size = 3, .first = 0, .last = 0},
                        {.size = 1, .first = 1, .last = 2},
                        {.size = 3, .first = 2, .last = 2},
                        {.size = 2, .first = 0, .last = 1}};
    PackItem lifetime[4] = {{.size = 2, .first = 0, .last = 0},
                            {.size = 3, .first = 3, .last = 5},
                            {.size = 2, .first = 0, .last = 1},
                            {.size = 3, .first = 1, .last = 3}};
    CHECK_INT(check_pack(step, 4, 1), 5);
    CHECK_INT(check_pack(lifetime, 4, 1), 6);
}

/* The bound is the largest sum over steps, counted the long way; and layouts come close to it. */
static void test_bound(void) {
    static PackItem items[MOST];
    int64_t over = 0, bounds = 0;
    for (int round = 0; round < 100; ++round) {
        int32_t count = 1 + (int32_t)random_below(60), steps = 1 + (int32_t)random_below(40);
        for (int32_t i = 0; i < count; ++i) {
            int32_t first = (int32_t)random_below((uint32_t)steps);
            items[i] = (PackItem){.size = (int64_t)random_below(1u << (1 + random_below(18))),
                                  .first = first,
                                  .last = first + (int32_t)random_below((uint32_t)(steps - first))};
        }
        int64_t most = 0;
        int32_t numbers[2 * MOST], at = 0, peak;
        for (int32_t step = 0; step < steps; ++step) {
            int64_t alive = 0;
            for (int32_t i = 0; i < count; ++i)
                if (items[i].first <= step && step <= items[i].last)
                    alive += (items[i].size + 255) / 256 * 256;
            if (alive > most) at = step;
            if (alive > most) most = alive;
        }
        CHECK_INT(pack_lower_bound(items, numbers, count, steps, 256, &peak), most);
        CHECK_INT(peak, at);
        over += check_pack(items, count, 256) - most;
        bounds += most;
    }
    CHECK(over * 100 <= bounds); /* 1 % together */
}

static void test_many(void) {
    static PackItem items[6000];
    static int32_t order[PACK_SCRATCH * 6000];
    for (int32_t i = 0; i < 6000; ++i) {
        items[i] =
            (PackItem){.size = 1 + random_below(5000), .first = i, .last = i + (int32_t)random_below(9)};
    }
    int64_t total = pack_items(items, order, 6000, 64), collisions = 0;
    for (int32_t i = 0; i < 6000; ++i) {
        for (int32_t k = i + 1; k < 6000 && k < i + 9; ++k) collisions += items_collide(&items[i], &items[k]);
    }
    int64_t bound = pack_lower_bound(items, order, 6000, 6000, 64, NULL);
    CHECK(collisions == 0 && total >= bound && total <= bound + bound / 2);
}

int main(void) {
    test_random();
    test_chain();
    test_blocks();
    test_edges();
    test_best_order();
    test_bound();
    test_many();
    return test_result();
}
