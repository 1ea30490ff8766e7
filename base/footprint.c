#include "base/footprint.h"

#include "base/checked.h"

enum { MAX_RANK = 8 };

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Dimensions that walk, by stride, smallest first. -1: some stride is not known. */
static int32_t sort_dimensions(int32_t rank, const int64_t *extents, const int64_t *strides, int32_t *order) {
    int32_t count = 0;
    for (int32_t i = 0; i < rank; ++i) {
        if (extents[i] == 1 || strides[i] == 0) continue;
        if (strides[i] < 0) return -1;
        int32_t at = count++;
        for (; at > 0 && strides[order[at - 1]] > strides[i]; --at) order[at] = order[at - 1];
        order[at] = i;
    }
    return count;
}

static bool is_empty(int32_t rank, const int64_t *extents) {
    for (int32_t i = 0; i < rank; ++i)
        if (extents[i] == 0) return true;
    return false;
}

/* Elements from the first to behind the last; -1: not known. */
static int64_t span_of(int32_t count, const int32_t *order, const int64_t *extents, const int64_t *strides) {
    int64_t span = 1, steps;
    for (int32_t i = 0; i < count; ++i) {
        if (extents[order[i]] < 0 || !checked_mul_i64(extents[order[i]] - 1, strides[order[i]], &steps) ||
            !checked_add_i64(span, steps, &span))
            return -1;
    }
    return span;
}

Footprint footprint_of(int64_t offset, int64_t element_bytes, int32_t rank, const int64_t *extents,
                       const int64_t *strides) {
    int32_t order[MAX_RANK];
    if (is_empty(rank, extents)) return (Footprint){0};
    int32_t count = sort_dimensions(rank, extents, strides, order);
    if (offset < 0 || count < 0) return (Footprint){.end = INT64_MAX};
    int64_t span = span_of(count, order, extents, strides), run = 1, pitch = 0, bytes, end;
    bool known = true;
    for (int32_t i = 0; i < count; ++i) {
        int64_t extent = extents[order[i]], stride = strides[order[i]];
        if (pitch == 0 && stride == run)
            known = extent > 0 && checked_mul_i64(run, extent, &run) && known;
        else
            pitch = common_divisor(stride, pitch);
    }
    Footprint footprint = {.begin = offset, .end = INT64_MAX};
    if (span >= 0 && checked_mul_i64(span, element_bytes, &bytes) && checked_add_i64(offset, bytes, &end))
        footprint.end = end;
    if (!known || run > pitch || !checked_mul_i64(pitch, element_bytes, &pitch)) return footprint;
    footprint.run = run * element_bytes;
    footprint.pitch = pitch;
    return footprint;
}

bool footprint_apart(const Footprint *a, const Footprint *b) {
    if (a->begin == a->end || b->begin == b->end) return true;
    if (a->end <= b->begin || b->end <= a->begin) return true;
    /* Both repeat with a common period: they are apart where their runs are, within it. */
    int64_t period = common_divisor(a->pitch, b->pitch);
    int64_t run_a = a->pitch > 0 ? a->run : a->end - a->begin;
    int64_t run_b = b->pitch > 0 ? b->run : b->end - b->begin;
    if (period == 0 || run_a > period || run_b > period) return false;
    int64_t distance = (b->begin - a->begin) % period;
    if (distance < 0) distance += period;
    return distance >= run_a && distance <= period - run_b;
}
