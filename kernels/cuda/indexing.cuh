// Gathers and scatters. Indices outside their extent, which the host's kernels refuse, read zeros and write nothing.
#ifndef SMELT_INDEXING_CUH
#define SMELT_INDEXING_CUH

#include "smelt/team.cuh"

namespace smelt {

// Element i of an index tensor in [0, extent), negative ones counted from the end; -1 where it is outside.
template <class I> SMELT_DEVICE Index index_at(const I *indices, Index i, Index extent) {
    const i64 index = load_as<i64>(indices, i), own = index < 0 ? index + (i64)extent : index;
    return own >= 0 && own < (i64)extent ? (Index)own : -1;
}

// Run n of the result, `inner` elements, comes from source.at(n) on (generated; -1: nowhere).
template <class T, class Source> struct Gather {
    const T *from;
    T *to;
    Index inner;
    Source source;
    template <int N> SMELT_DEVICE void run(Index i) const {
        const Index n = quotient(i, inner), at = source.at(n);
        Pack<T, N> pack = {};
        if (at >= 0) pack = load_pack<N>(from, at + (i - n * inner));
        store_pack(to, i, pack);
    }
};
template <class T, class Source>
SMELT_DEVICE Gather<T, Source> gather(const T *from, T *to, Index inner, const Source &source) {
    return Gather<T, Source>{from, to, inner, source};
}

// -- scatters: run n of the updates goes to target.at(n) (generated; -1: nowhere) --

// The last of the updates that go to each run of the data, from 1; 0: none. Marks begin as zeros.
template <class M, class Target> SMELT_DEVICE void mark_updates(Index updates, Index inner, const Target &target, M *marks) {
    for (Index n = thread_index(); n < updates; n += thread_count()) {
        const Index at = target.at(n);
        if (at >= 0) atomicMax(&marks[quotient(at, inner)], (M)n + 1);
    }
}
template <class M> SMELT_DEVICE void clear_marks(Index count, M *marks) {
    for (Index i = thread_index(); i < count; i += thread_count()) marks[i] = 0;
}
template <class T, class M>
SMELT_DEVICE void place_updates(const T *data, const T *updates, T *to, Index count, Index inner, const M *marks) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index run = quotient(i, inner);
        const M mark = marks[run];
        to[i] = mark == 0 ? data[i] : updates[((Index)mark - 1) * inner + (i - run * inner)];
    }
}

template <class T> SMELT_DEVICE void copy_elements(const T *from, T *to, Index count) {
    for (Index i = thread_index(); i < count; i += thread_count()) to[i] = from[i];
}

template <class Merge, class T> SMELT_DEVICE void merge_update(T *to, Index at, const T *updates, Index i) {
    store(to, at, Merge::merge(load(to, at), load(updates, i)));
}

// Merges the updates of each line of the index tensor in order: no two lines write the same element.
template <class Merge, class T, class S, class Target>
SMELT_DEVICE void merge_lines(const T *updates, const S &slices, Index lines, Index extent, const Target &target, T *to) {
    for (Index line = thread_index(); line < lines; line += thread_count()) {
        const Index base = slices.base(line);
        for (Index k = 0; k < extent; ++k) {
            const Index n = base + slices.at(k), at = target.at(n);
            if (at >= 0) merge_update<Merge>(to, at, updates, n);
        }
    }
}

// Each thread goes through all updates in order: for one place within the runs, in every run of the data ...
template <class Merge, class T, class Target>
SMELT_DEVICE void merge_runs(const T *updates, Index count, Index inner, const Target &target, T *to) {
    for (Index j = thread_index(); j < inner; j += thread_count())
        for (Index n = 0; n < count; ++n) {
            const Index at = target.at(n);
            if (at >= 0) merge_update<Merge>(to, at + j, updates, n * inner + j);
        }
}
// ... or for one element.
template <class Merge, class T, class Target>
SMELT_DEVICE void merge_each(const T *data, const T *updates, Index updates_count, Index count, Index inner, const Target &target,
                             T *to) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index j = residue(i, inner), start = i - j;
        T own = data[i];
        for (Index n = 0; n < updates_count; ++n)
            if (target.at(n) == start) merge_update<Merge>(&own, 0, updates, n * inner + j);
        to[i] = own;
    }
}

// The cache [batch, middle, length, inner] with `written` entries from starts[batch] on replaced. starts: NULL for 0.
template <bool CIRCULAR, class T, class I>
SMELT_DEVICE void scatter_cache(const T *cache, const T *update, const I *starts, T *to, Index count, Index middle, Index length,
                                Index written, Index inner) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index entry = quotient(i, inner), row = quotient(entry, length), place = entry - row * length;
        const i64 start = starts == nullptr ? 0 : load_as<i64>(starts, quotient(row, middle));
        i64 own = (i64)place - start;
        if (CIRCULAR && own < 0) own += (i64)length;
        const bool is_new = own >= 0 && own < (i64)written;
        to[i] = is_new ? update[(row * written + (Index)own) * inner + (i - entry * inner)] : cache[i];
    }
}

} // namespace smelt

#endif
