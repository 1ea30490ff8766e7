// Sorting by comparison. Before, a function object, tells whether one item goes before another, and is a strict order.
#ifndef SMELT_SORT_CUH
#define SMELT_SORT_CUH

#include "smelt/core.cuh"

namespace smelt {

// One block. A network of comparisons that all put the better one first: what would lie past the end never moves.
template <class T, class Before> SMELT_DEVICE void sort_block(T *items, Index count, const Before &before) {
    for (Index size = 2; size / 2 < count; size *= 2) {
        for (Index step = size; step > 1; step /= 2) {
            const Index flip = step == size ? size - 1 : step / 2;
            __syncthreads();
            for (Index i = (Index)threadIdx.x; i < count; i += (Index)blockDim.x) {
                const Index other = i ^ flip;
                if (other <= i || other >= count) continue;
                const T a = items[i], b = items[other];
                if (!before(b, a)) continue;
                items[i] = b;
                items[other] = a;
            }
        }
    }
    __syncthreads();
}

static const int SORT_TILE = 2048;

// The numbers 0, 1, ... below count, tile by tile in order. A block for each tile.
template <class Before> SMELT_DEVICE void sort_tiles(i64 *items, Index count, const Before &before) {
    __shared__ i64 tile[SORT_TILE];
    const Index first = (Index)blockIdx.x * SORT_TILE, own = smaller(count - first, (Index)SORT_TILE);
    for (Index i = (Index)threadIdx.x; i < own; i += (Index)blockDim.x) tile[i] = (i64)(first + i);
    sort_block(tile, own, before);
    for (Index i = (Index)threadIdx.x; i < own; i += (Index)blockDim.x) items[first + i] = tile[i];
}

// Merges each two neighbouring runs of `width` items, which are in order; every item looks for its place. Items from
// `first` on, `step` apart.
template <class Before>
SMELT_DEVICE void merge_runs(const i64 *from, i64 *to, Index count, i64 width, Index first, Index step, const Before &before) {
    for (Index i = first; i < count; i += step) {
        const i64 item = from[i], base = i / (2 * width) * 2 * width;
        const i64 middle = smaller(base + width, (i64)count), end = smaller(middle + width, (i64)count);
        const bool left = i < middle;
        const i64 begin = left ? middle : base;
        i64 low = begin, high = left ? end : middle; // of the other run's items, those below low go before
        while (low < high) {
            const i64 probe = (low + high) / 2;
            if (before(from[probe], item)) low = probe + 1;
            else high = probe;
        }
        to[i + (low - begin) - (left ? 0 : width)] = item;
    }
}

// Merges runs of `width` until all items are in order. One block.
template <class Before> SMELT_DEVICE void merge_rest(i64 *items, i64 *spare, Index count, i64 width, const Before &before) {
    i64 *from = items, *to = spare;
    for (; width < count; width *= 2) {
        merge_runs(from, to, count, width, (Index)threadIdx.x, (Index)blockDim.x, before);
        __syncthreads();
        i64 *const last = from;
        from = to;
        to = last;
    }
    for (Index i = (Index)threadIdx.x; from != items && i < count; i += (Index)blockDim.x) items[i] = from[i];
}

} // namespace smelt

#endif
