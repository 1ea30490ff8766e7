// NonMaxSuppression: of boxes that overlap too much, the one with the highest score.
#ifndef SMELT_SUPPRESSION_CUH
#define SMELT_SUPPRESSION_CUH

#include "smelt/select.cuh"
#include "smelt/topk.cuh"

namespace smelt {

struct Box { float top, left, bottom, right; };

template <bool CENTER> SMELT_DEVICE Box read_box(const float *boxes, Index i) {
    const float a = boxes[4 * i], b = boxes[4 * i + 1], c = boxes[4 * i + 2], d = boxes[4 * i + 3];
    if (CENTER) return Box{b - d / 2, a - c / 2, b + d / 2, a + c / 2};
    return Box{smaller(a, c), smaller(b, d), larger(a, c), larger(b, d)};
}

SMELT_DEVICE float box_area(const Box &b) { return __fmul_rn(__fsub_rn(b.bottom, b.top), __fsub_rn(b.right, b.left)); }

// Each operation rounds on its own: results on the border must come out as elsewhere.
SMELT_DEVICE bool overlaps(const Box &a, const Box &b, float threshold) {
    const Box both = {larger(a.top, b.top), larger(a.left, b.left), smaller(a.bottom, b.bottom), smaller(a.right, b.right)};
    if (both.bottom <= both.top || both.right <= both.left) return false;
    const float common = box_area(both), area_a = box_area(a), area_b = box_area(b);
    const float joint = __fsub_rn(__fadd_rn(area_a, area_b), common);
    return area_a > 0 && area_b > 0 && joint > 0 && __fdiv_rn(common, joint) > threshold;
}

// A block of 256 threads for each pair of batch and class: up to `most` boxes go to selected[pair * count], their number to
// kept[pair]. Boxes are candidates where accepts(score). memory: count items for each pair.
template <bool CENTER, class Accepts>
SMELT_DEVICE void suppress_pairs(const float *boxes, const float *scores, Index pairs, Index classes, Index count, i64 most,
                                 float threshold, const Accepts &accepts, Ranked *memory, i64 *selected, i64 *kept) {
    for (Index pair = (Index)blockIdx.x; pair < pairs; pair += (Index)gridDim.x) {
        const float *own = scores + pair * count, *near = boxes + quotient(pair, classes) * count * 4;
        Ranked *items = memory + pair * count;
        Index candidates = 0, next = 0;
        i64 taken = 0;
        for (Index first = 0; first < count; first += BlockTeam::size) {
            const Index i = first + (Index)threadIdx.x;
            const bool in = i < count && accepts(own[i]);
            i64 chunk;
            const i64 before = Scan<BlockTeam>::before<Sum>((i64)(in ? 1 : 0), &chunk);
            if (in) items[candidates + (Index)before] = Ranked{order_key(own[i]), ~(u64)i};
            candidates += (Index)chunk;
        }
        sort_ranked(items, candidates);
        // A key, which is never 0, becomes 0 when the box is suppressed. `next` is the first that is not.
        while (next < candidates && taken < most) {
            const Index best = (Index)~items[next].place;
            const Box box = read_box<CENTER>(near, best);
            if (threadIdx.x == 0) selected[pair * count + (Index)taken] = (i64)best;
            ++taken;
            i64 free = (i64)candidates;
            for (Index i = next + 1 + (Index)threadIdx.x; i < candidates; i += BlockTeam::size) {
                if (items[i].key == 0) continue;
                if (overlaps(read_box<CENTER>(near, (Index)~items[i].place), box, threshold)) items[i].key = 0;
                else free = smaller(free, (i64)i);
            }
            next = (Index)BlockTeam::all<Smallest<i64>>(free);
        }
        if (threadIdx.x == 0) kept[pair] = taken;
        __syncthreads();
    }
}

// Rows (batch, class, box) of all pairs; offsets: rows before those of each.
SMELT_DEVICE void write_selected(const i64 *selected, const i64 *offsets, Index pairs, Index classes, Index count, Index found,
                                 i64 *rows) {
    for (Index pair = (Index)blockIdx.x; pair < pairs; pair += (Index)gridDim.x) {
        const i64 first = offsets[pair], last = smaller(pair + 1 < pairs ? offsets[pair + 1] : (i64)found, (i64)found);
        for (i64 i = first + (i64)threadIdx.x; i < last; i += (i64)blockDim.x) {
            rows[3 * i] = (i64)quotient(pair, classes);
            rows[3 * i + 1] = (i64)residue(pair, classes);
            rows[3 * i + 2] = selected[pair * count + (Index)(i - first)];
        }
    }
}

} // namespace smelt

#endif
