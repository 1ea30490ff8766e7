#include "base/pack.h"

#include "base/checked.h"

/* A layout takes time with the square of the count: fewer are tried of more items. */
enum { MOST_TRIALS = 64, TRIAL_WORK = 1 << 25 };

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

static int64_t by_end(const PackItem *item) {
    return item->last;
}

/* In 1024ths of a byte and step, cut where that passes 63 bits. */
static int64_t by_area(const PackItem *item) {
    int64_t area;
    return checked_mul_i64(item->size / 1024, by_lifetime(item) + 1, &area) ? area : INT64_MAX;
}

static const PackKey orders[] = {by_size, by_lifetime, by_step, by_area, by_end};
enum { ORDERS = sizeof orders / sizeof orders[0] };

/* Which of the gaps between placed items an item takes: the smallest, or the lowest. */
typedef enum Fit { FIT_SMALLEST, FIT_LOWEST, FITS } Fit;

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

/* The start of the gap that holds item, between placed items that are alive with it; behind them all when
 * there is none. placed is sorted by offset. */
static int64_t find_gap(const PackItem *items, const int32_t *placed, int32_t count, const PackItem *item,
                        int64_t alignment, Fit fit) {
    int64_t end = 0, best = -1, best_gap = INT64_MAX, size = aligned_size(item, alignment);
    for (int32_t i = 0; i < count; ++i) {
        const PackItem *other = &items[placed[i]];
        if (!alive_together(item, other)) continue;
        int64_t gap = other->offset - end;
        if (gap >= size && fit == FIT_LOWEST) return end;
        if (gap >= size && gap < best_gap) {
            best = end;
            best_gap = gap;
        }
        end = max_i64(end, other->offset + aligned_size(other, alignment));
    }
    return best >= 0 ? best : end;
}

/* Places items in the given order; returns the size of all, -1 on overflow. placed gets them by offset. */
static int64_t place_all(PackItem *items, const int32_t *order, int32_t *placed, int32_t count,
                         int64_t alignment, Fit fit) {
    int64_t total = 0;
    int32_t placed_count = 0;
    for (int32_t i = 0; i < count; ++i) {
        int32_t index = order[i];
        PackItem *item = &items[index];
        item->offset = 0;
        if (item->size == 0) continue;
        item->offset = find_gap(items, placed, placed_count, item, alignment, fit);
        int64_t end;
        if (!checked_add_i64(item->offset, aligned_size(item, alignment), &end)) return -1;
        total = max_i64(total, end);
        int32_t at = placed_count++;
        for (; at > 0 && items[placed[at - 1]].offset > item->offset; --at) placed[at] = placed[at - 1];
        placed[at] = index;
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

typedef struct Search {
    PackItem *items;
    int32_t *order, *placed, *best_order;
    int32_t count, trials; /* that are left */
    int64_t alignment, bound, best;
    Fit best_fit;
} Search;

/* Lays out in search->order and remembers it when it is better, or as good where that is asked for. */
static bool try_order(Search *s, Fit fit, bool ties) {
    int64_t total = place_all(s->items, s->order, s->placed, s->count, s->alignment, fit);
    s->trials--;
    if (total < 0 || (s->best >= 0 && (ties ? total > s->best : total >= s->best))) return false;
    s->best = total;
    s->best_fit = fit;
    for (int32_t i = 0; i < s->count; ++i) s->best_order[i] = s->order[i];
    return true;
}

static bool is_done(const Search *s) {
    return s->trials <= 0 || s->best == s->bound;
}

/* Position in the order of the item that ends last in the layout as it is. */
static int32_t find_topmost(const Search *s) {
    int32_t top = 0;
    int64_t most = -1;
    for (int32_t i = 0; i < s->count; ++i) {
        const PackItem *item = &s->items[s->order[i]];
        if (item->size == 0 || item->offset + item->size <= most) continue;
        most = item->offset + item->size;
        top = i;
    }
    return top;
}

/* Lets the topmost item go in front of others, again and again, and keeps what is no worse. */
static void improve(Search *s) {
    uint32_t state = 1;
    for (int32_t i = 0; i < s->count; ++i) s->order[i] = s->best_order[i];
    (void)place_all(s->items, s->order, s->placed, s->count, s->alignment, s->best_fit);
    while (!is_done(s)) {
        int32_t top = find_topmost(s), item = s->order[top];
        state = state * 1664525 + 1013904223;
        int32_t target = top > 0 ? (int32_t)((state >> 8) % (uint32_t)top) : 0;
        for (int32_t i = top; i > target; --i) s->order[i] = s->order[i - 1];
        s->order[target] = item;
        if (try_order(s, s->best_fit, true)) continue;
        for (int32_t i = 0; i < s->count; ++i) s->order[i] = s->best_order[i];
        (void)place_all(s->items, s->order, s->placed, s->count, s->alignment, s->best_fit);
    }
}

int64_t pack_lower_bound(const PackItem *items, int32_t *scratch, int32_t count, int32_t step_count,
                         int64_t alignment, int32_t *peak) {
    int32_t *starts = scratch, *ends = count > 0 ? scratch + count : NULL, gone = count, top = 0;
    int64_t bound = 0, alive = 0;
    if (!items_are_valid(items, count, alignment)) return -1;
    sort_order(items, by_step, starts, count);
    sort_order(items, by_end, ends, count);
    /* The sum is largest at a step where some item begins; the ends come last first. */
    for (int32_t i = 0; i < count && items[starts[i]].first < step_count; ++i) {
        const PackItem *item = &items[starts[i]];
        for (; items[ends[gone - 1]].last < item->first; --gone)
            alive -= aligned_size(&items[ends[gone - 1]], alignment);
        if (!checked_add_i64(alive, aligned_size(item, alignment), &alive)) return -1;
        if (alive > bound) top = item->first;
        bound = max_i64(bound, alive);
    }
    if (peak != NULL) *peak = top;
    return bound;
}

int64_t pack_items(PackItem *items, int32_t *scratch, int32_t count, int64_t alignment) {
    if (!items_are_valid(items, count, alignment)) return -1;
    int64_t trials = count == 0 ? 1 : TRIAL_WORK / ((int64_t)count * count);
    Search s = {.items = items,
                .order = scratch,
                .placed = count > 0 ? scratch + count : NULL,
                .best_order = count > 0 ? scratch + 2 * (size_t)count : NULL,
                .count = count,
                .trials = (int32_t)min_i64(max_i64(trials, 1), MOST_TRIALS),
                .alignment = alignment,
                .best = -1};
    s.bound = trials > 1 ? pack_lower_bound(items, scratch, count, INT32_MAX, alignment, NULL) : 0;
    for (int k = 0; k < ORDERS; ++k) {
        for (int fit = 0; fit < FITS && !is_done(&s); ++fit) {
            sort_order(items, orders[k], s.order, count);
            (void)try_order(&s, (Fit)fit, false);
        }
    }
    if (s.best >= 0 && !is_done(&s)) improve(&s);
    if (s.best < 0) return -1;
    return place_all(items, s.best_order, s.placed, count, alignment, s.best_fit);
}
