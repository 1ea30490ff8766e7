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

/* Moves keys and items to where the byte of the key above `shift` orders them; ends[v] is where those of
 * value v begin, afterwards where they end. */
static void distribute(const uint64_t *keys, const int64_t *items, int64_t count, int shift, int64_t *ends,
                       uint64_t *to_keys, int64_t *to_items) {
    for (int64_t i = 0; i < count; ++i) {
        int64_t at = ends[keys[i] >> shift & 0xff]++;
        to_keys[at] = keys[i];
        to_items[at] = items[i];
    }
}

/* Radix sort from the lowest byte up: each pass keeps the order of the one before among equal bytes. */
void order_sort_keys(uint64_t *keys, int64_t *items, uint64_t *spare_keys, int64_t *spare, int64_t count) {
    uint64_t *from_keys = keys, *to_keys = spare_keys;
    int64_t *from = items, *to = spare;
    for (int shift = 0; shift < 64; shift += 8) {
        int64_t ends[256] = {0}, start = 0;
        for (int64_t i = 0; i < count; ++i) ends[from_keys[i] >> shift & 0xff]++;
        if (count == 0 || ends[from_keys[0] >> shift & 0xff] == count) continue; /* the same in all keys */
        for (int value = 0; value < 256; ++value) {
            int64_t next = start + ends[value];
            ends[value] = start;
            start = next;
        }
        distribute(from_keys, from, count, shift, ends, to_keys, to);
        uint64_t *swap_keys = from_keys;
        int64_t *swap = from;
        from_keys = to_keys, from = to;
        to_keys = swap_keys, to = swap;
    }
    if (from == items || count == 0) return;
    memcpy(items, from, (size_t)count * sizeof *items);
    memcpy(keys, from_keys, (size_t)count * sizeof *keys);
}
