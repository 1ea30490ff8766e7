#include "base/pack.h"

#include "base/checked.h"

/* Above this many items one order is tried: the work grows with the square of the count. */
enum { MANY_ITEMS = 4096 };

typedef int64_t (*PackKey)(const PackItem *item);

/* Greedy orders: items of larger key are placed first. */
static int64_t by_size(const PackItem *item) {
    return item->size;
}

static int64_t by_lifetime(const PackItem *item) {
    return (int64_t)item->last - item->first;
}

static int64_t by_step(const PackItem *item) {
    return -(int64_t)item->first;
}

static const PackKey orders[] = {by_size, by_lifetime, by_step};
enum { ORDERS = sizeof orders / sizeof orders[0] };

/* Key, then size, then position in the list: a total order, so that the layout is the same everywhere. */
static bool placed_before(const PackItem *items, PackKey key, int32_t a, int32_t b) {
    int64_t key_a = key(&items[a]), key_b = key(&items[b]);
    if (key_a != key_b) return key_a > key_b;
    if (items[a].size != items[b].size) return items[a].size > items[b].size;
    return a < b;
}

static void sift_down(const PackItem *items, PackKey key, int32_t *order, int32_t root, int32_t count) {
    for (int64_t child; (child = 2 * (int64_t)root + 1) < count; root = (int32_t)child) {
        if (child + 1 < count && placed_before(items, key, order[child], order[child + 1])) child++;
        if (!placed_before(items, key, order[root], order[child])) return;
        int32_t swapped = order[root];
        order[root] = order[child];
        order[child] = swapped;
    }
}

/* Heap sort: qsort has no room for the key and may allocate. */
static void sort_order(const PackItem *items, PackKey key, int32_t *order, int32_t count) {
    for (int32_t i = 0; i < count; ++i) order[i] = i;
    for (int32_t i = count / 2 - 1; i >= 0; --i) sift_down(items, key, order, i, count);
    for (int32_t last = count - 1; last > 0; --last) {
        int32_t first = order[0];
        order[0] = order[last];
        order[last] = first;
        sift_down(items, key, order, 0, last);
    }
}

/* Rounded up to the alignment, so that offsets become multiples of it; -1 on overflow. */
static int64_t aligned_size(const PackItem *item, int64_t alignment) {
    int64_t size;
    if (!checked_add_i64(item->size, alignment - 1, &size)) return -1;
    return size - size % alignment;
}

static bool alive_together(const PackItem *a, const PackItem *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The start of the smallest gap that holds item, between placed items that are alive with it; behind them all
 * when there is none. placed is sorted by offset. */
static int64_t find_gap(const PackItem *items, const int32_t *placed, int32_t count, const PackItem *item,
                        int64_t alignment) {
    int64_t end = 0, best = -1, best_gap = INT64_MAX, size = aligned_size(item, alignment);
    for (int32_t i = 0; i < count; ++i) {
        const PackItem *other = &items[placed[i]];
        if (!alive_together(item, other)) continue;
        int64_t gap = other->offset - end;
        if (gap >= size && gap < best_gap) {
            best = end;
            best_gap = gap;
        }
        end = max_i64(end, other->offset + aligned_size(other, alignment));
    }
    return best >= 0 ? best : end;
}

/* Places items in the order of key; returns the size of all, -1 on overflow. The front of `order` turns, item
 * by item, from that order into the placed items by offset. */
static int64_t place_all(PackItem *items, PackKey key, int32_t *order, int32_t count, int64_t alignment) {
    int64_t total = 0;
    int32_t placed = 0;
    sort_order(items, key, order, count);
    for (int32_t i = 0; i < count; ++i) {
        int32_t index = order[i];
        PackItem *item = &items[index];
        item->offset = 0;
        if (item->size == 0) continue;
        item->offset = find_gap(items, order, placed, item, alignment);
        int64_t end;
        if (!checked_add_i64(item->offset, aligned_size(item, alignment), &end)) return -1;
        total = max_i64(total, end);
        int32_t at = placed++;
        for (; at > 0 && items[order[at - 1]].offset > item->offset; --at) order[at] = order[at - 1];
        order[at] = index;
    }
    return total;
}

static bool items_are_valid(const PackItem *items, int32_t count, int64_t alignment) {
    for (int32_t i = 0; i < count; ++i) {
        if (items[i].size < 0 || items[i].first > items[i].last) return false;
        if (aligned_size(&items[i], alignment) < 0) return false;
    }
    return true;
}

int64_t pack_items(PackItem *items, int32_t *order, int32_t count, int64_t alignment) {
    if (!items_are_valid(items, count, alignment)) return -1;
    int tried = count > MANY_ITEMS ? 1 : ORDERS, best = -1;
    int64_t smallest = INT64_MAX;
    for (int i = 0; i < tried; ++i) {
        int64_t total = place_all(items, orders[i], order, count, alignment);
        if (total < 0 || total >= smallest) continue;
        smallest = total;
        best = i;
    }
    if (best < 0) return -1;
    /* The offsets are those of the last order tried. */
    return best == tried - 1 ? smallest : place_all(items, orders[best], order, count, alignment);
}

int64_t pack_lower_bound(const PackItem *items, int32_t count, int32_t step_count, int64_t alignment) {
    if (!items_are_valid(items, count, alignment)) return -1;
    int64_t bound = 0;
    /* The sum is largest at a step where some item begins. */
    for (int32_t i = 0; i < count; ++i) {
        int64_t alive = 0;
        if (items[i].first >= step_count) continue;
        for (int32_t k = 0; k < count; ++k) {
            if (items[k].first > items[i].first || items[k].last < items[i].first) continue;
            if (!checked_add_i64(alive, aligned_size(&items[k], alignment), &alive)) return -1;
        }
        bound = max_i64(bound, alive);
    }
    return bound;
}
