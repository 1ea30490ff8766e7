#include "ops/order.h"

#include "base/checked.h"

/* Merges the sorted runs [first, middle) and [middle, last). */
static void merge_runs(const int64_t *from, int64_t *to, int64_t first, int64_t middle, int64_t last,
                       OrderBefore before, const void *context) {
    int64_t a = first, b = middle;
    for (int64_t i = first; i < last; ++i) {
        bool take_b = a == middle || (b < last && before(context, from[b], from[a]));
        to[i] = from[take_b ? b++ : a++];
    }
}

void order_sort(int64_t *items, int64_t *spare, int64_t count, OrderBefore before, const void *context) {
    int64_t *from = items, *to = spare;
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t first = 0; first < count; first += 2 * width)
            merge_runs(from, to, first, min_i64(first + width, count), min_i64(first + 2 * width, count),
                       before, context);
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, (size_t)count * sizeof *items);
}
