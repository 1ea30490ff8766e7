// Unique: items, each of outer * inner elements, in sorted order; those that are equal form a group.
#ifndef SMELT_UNIQUE_CUH
#define SMELT_UNIQUE_CUH

#include "smelt/reduce.cuh"
#include "smelt/select.cuh"
#include "smelt/sort.cuh"

namespace smelt {

// Equal items go by their number.
template <class T> struct ItemBefore {
    const T *x;
    Index outer, count, inner;
    SMELT_DEVICE int compare(i64 a, i64 b) const {
        for (Index o = 0; o < outer; ++o) {
            for (Index i = 0; i < inner; ++i) {
                const Index base = o * count * inner + i;
                const u64 p = order_key(load(x, base + (Index)a * inner)), q = order_key(load(x, base + (Index)b * inner));
                if (p != q) return p < q ? -1 : 1;
            }
        }
        return 0;
    }
    SMELT_DEVICE bool operator()(i64 a, i64 b) const {
        const int order = compare(a, b);
        return order < 0 || (order == 0 && a < b);
    }
};

// Places in sorted order where a group begins, and what is known there.
template <class B> struct StartsGroup {
    B items;
    const i64 *order;
    SMELT_DEVICE bool operator()(Index i) const { return i == 0 || items.compare(order[i - 1], order[i]) != 0; }
};
struct Groups {
    const i64 *order;
    i64 *starts, *group_of;
    SMELT_DEVICE void operator()(i64 place, Index i, bool kept) const {
        const i64 group = place + (kept ? 1 : 0) - 1;
        group_of[order[i]] = group;
        if (kept) starts[group] = (i64)i;
    }
};

// Items that no equal one precedes, which numbers the groups by their first occurrence.
struct IsFirst {
    const i64 *order, *starts, *group_of;
    SMELT_DEVICE bool operator()(Index i) const { return order[starts[group_of[i]]] == (i64)i; }
};
struct Numbers {
    const i64 *group_of;
    i64 *number;
    SMELT_DEVICE void operator()(i64 place, Index i, bool kept) const {
        if (kept) number[group_of[i]] = place;
    }
};

// number: NULL where groups are numbered in sorted order. indices and counts may be NULL.
SMELT_DEVICE void write_groups(const i64 *order, const i64 *starts, const i64 *number, Index items, Index found, i64 *firsts,
                               i64 *indices, i64 *counts) {
    for (Index g = thread_index(); g < found; g += thread_count()) {
        const i64 to = number != nullptr ? number[g] : (i64)g, first = order[starts[g]];
        firsts[to] = first;
        if (indices != nullptr) indices[to] = first;
        if (counts != nullptr) counts[to] = (g + 1 < found ? starts[g + 1] : (i64)items) - starts[g];
    }
}

SMELT_DEVICE void write_inverse(const i64 *group_of, const i64 *number, Index items, i64 *inverse) {
    for (Index i = thread_index(); i < items; i += thread_count())
        inverse[i] = number != nullptr ? number[group_of[i]] : group_of[i];
}

} // namespace smelt

#endif
