// Normalisation by mean and deviation where channels are neighbours in memory: [batch, places, channels]. Each unit, a run of
// neighbouring channels of one batch entry, has a mean and a deviation of its own. One kernel leaves what parts of the places
// have, the next adds that up, always in the same order, and writes the result.
#ifndef SMELT_MOMENTS_CUH
#define SMELT_MOMENTS_CUH

#include "smelt/normalize.cuh"
#include "smelt/wgmma.cuh"

namespace smelt {

static const int MOMENT_THREADS = 512;

// Places of each entry, which parts take in turns, a run of them at a time; channels that lie side by side.
struct Planes {
    Index places, channels, parts, run;
    SMELT_DEVICE Index runs() const { return ceil_div(places, run); }
    // Places of a part; none of a part's threads has one where the part's first thread has not.
    SMELT_DEVICE Index count(Index, Index part) const {
        const Index all = runs(), each = quotient(all, parts), more = all - each * parts;
        const bool last = part == (more > 0 ? more : parts) - 1; // which may be cut off
        return (each + (part < more ? 1 : 0)) * run - (last ? all * run - places : 0);
    }
};

// Places of parts that another kernel has made (sum_moments.cuh).
struct PartCounts {
    const float *counts;
    Index parts;
    SMELT_DEVICE float count(Index entry, Index part) const { return counts[entry * parts + part]; }
};

// What a thread has of its LANES channels: sums of what elements differ from its first one.
template <int LANES> struct ThreadMoments {
    float from[LANES] = {}, sum[LANES] = {}, squares[LANES] = {};
    int count = 0;
    // In front of the first add, its pack.
    template <class T> SMELT_DEVICE void begin(const Pack<T, LANES> &v) {
        if (count > 0) return;
#pragma unroll
        for (int l = 0; l < LANES; ++l) from[l] = (float)fetch(v.at[l]);
    }
    template <class T> SMELT_DEVICE void add(const Pack<T, LANES> &v) {
        ++count;
#pragma unroll
        for (int l = 0; l < LANES; ++l) {
            const float apart = (float)fetch(v.at[l]) - from[l];
            sum[l] += apart;
            squares[l] += apart * apart;
        }
    }
};

// Sums over what threads of a warp or warps of a block have: of differences from a mean among theirs, and of squares of such. That
// loses to rounding at most as many times as there are of them.
template <class P> struct NearMoments {
    P sum, squares;
    // Of so many elements; mean: as far from the one that all are near.
    SMELT_DEVICE NearMoments(P count, P mean, P squares) : sum(count * mean), squares(squares + count * mean * mean) {}
    SMELT_DEVICE P all_squares(P mean) const { return larger(squares - sum * mean, (P)0); }
};
template <class P> SMELT_DEVICE P inverse_or_zero(P count) { return count > 0 ? 1 / count : (P)0; }

// A part's moments from those of the block's threads, PACKS of them side by side. put(i, mean, squares): of channel i of the block,
// mean and sum of the squares of what elements differ from it.
template <int LANES, int PACKS, class P, class Put> SMELT_DEVICE void block_moments(const ThreadMoments<LANES> &m, const Put &put) {
    const int WARPS = MOMENT_THREADS / 32, lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    __shared__ P means[WARPS][PACKS * LANES], squares[WARPS][PACKS * LANES], counts[WARPS][PACKS];
    const P n = (P)m.count, each = inverse_or_zero(n);
    P count = n;
#pragma unroll
    for (int mask = 16; mask >= PACKS; mask /= 2) count += shuffled(count, mask);
    if (lane < PACKS) counts[warp][lane] = count;
    const P each_of_warp = inverse_or_zero(count);
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        const P mean = (P)m.from[l] + (P)m.sum[l] * each, near = __shfl_sync(0xffffffffu, mean, lane % PACKS);
        NearMoments<P> all(n, mean - near, larger((P)m.squares[l] - (P)m.sum[l] * (P)m.sum[l] * each, (P)0));
#pragma unroll
        for (int mask = 16; mask >= PACKS; mask /= 2) {
            all.sum += shuffled(all.sum, mask);
            all.squares += shuffled(all.squares, mask);
        }
        if (lane >= PACKS) continue;
        means[warp][lane * LANES + l] = near + all.sum * each_of_warp;
        squares[warp][lane * LANES + l] = all.all_squares(all.sum * each_of_warp);
    }
    __syncthreads();
    const int i = (int)threadIdx.x;
    if (i >= PACKS * LANES) return;
    const P near = means[0][i];
    P number = counts[0][i / LANES];
    NearMoments<P> all(number, 0, squares[0][i]);
#pragma unroll
    for (int w = 1; w < WARPS; ++w) {
        const P more = counts[w][i / LANES];
        const NearMoments<P> own(more, means[w][i] - near, squares[w][i]);
        number += more;
        all.sum += own.sum;
        all.squares += own.squares;
    }
    const P apart = all.sum * inverse_or_zero(number);
    put((Index)i, near + apart, all.all_squares(apart));
}

// A part of an entry, of channels from `group` to `end`: a block has PACKS threads side by side, each with LANES of them. A run is
// of AHEAD places for each thread, read at a time. put: as in block_moments, of channels that are there.
template <int LANES, int PACKS, int AHEAD, class P, class T, class S, class Put>
SMELT_DEVICE void part_moments(const T *x, const S &steps, const Planes &planes, Index entry, Index part, Index group, Index end,
                               const Put &put) {
    const int LINES = MOMENT_THREADS / PACKS, own = (int)threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS;
    const Index channel = group + own * LANES;
    ThreadMoments<LANES> moments;
    for (Index run = part; channel < end && run < planes.runs(); run += planes.parts) {
        Pack<T, LANES> v[AHEAD];
        const Index first = run * planes.run + line;
#pragma unroll
        for (int i = 0; i < AHEAD; ++i)
            if (first + i * LINES < planes.places) v[i] = load_pack<LANES>(x, steps.at(entry, first + i * LINES) + channel);
        if (first < planes.places) moments.begin(v[0]);
#pragma unroll
        for (int i = 0; i < AHEAD; ++i)
            if (first + i * LINES < planes.places) moments.add(v[i]);
    }
    block_moments<LANES, PACKS, P>(moments, [&](Index i, P mean, P squares) {
        if (group + i < end) put(i, mean, squares);
    });
}

// Part blockIdx.x of entry blockIdx.y, blockIdx.z counts groups of channels. parts: mean and squares for each entry, part and
// channel.
template <int LANES, int PACKS, int AHEAD, class T, class S, class P>
SMELT_DEVICE void plane_moments(const T *x, const S &steps, const Planes &planes, P *parts) {
    const Index entry = (Index)blockIdx.y, part = (Index)blockIdx.x, group = (Index)blockIdx.z * (PACKS * LANES);
    part_moments<LANES, PACKS, AHEAD, P>(x, steps, planes, entry, part, group, planes.channels,
                                         [&](Index i, P mean, P squares) {
                                             const Index at = (entry * planes.parts + part) * planes.channels + group + i;
                                             store_pack(parts, 2 * at, Pack<P, 2>{{mean, squares}});
                                         });
}

// What the units with channels of a group of CHANNELS have: mean and factor of unit number quotient(group, width) + i, which
// threads find from what an entry's parts left. counts.count(entry, part): places of a part. Finish, generated:
//     P inverse(P variance)
//     void scales(Index channel, float &scale, float &shift)
template <int CHANNELS, class P, class C, class Finish>
SMELT_DEVICE void merge_parts(const P *all_parts, const C &counts, const Planes &planes, Index entry, Index width, Index group,
                              const Finish &finish, P (&mean)[CHANNELS], P (&inverse)[CHANNELS]) {
    const P *parts = all_parts + entry * planes.parts * planes.channels * 2;
    const int TEAMS = MOMENT_THREADS / CHANNELS, own = (int)threadIdx.x % CHANNELS;
    __shared__ P sums[MOMENT_THREADS], squares[MOMENT_THREADS];
    const Index unit = quotient(group, width), end = smaller(group + CHANNELS, planes.channels);
    const Index mine = (unit + (Index)threadIdx.x) * width; // a unit for each thread, as long as there are some
    const bool works = threadIdx.x < CHANNELS && mine < end;
    const Index last = ceil_div(end, width) * width; // units may begin before the group and end behind it
    P all_sum = 0, all_squares = 0;
    for (Index first = unit * width; first < last; first += CHANNELS) {
        const Index channel = first + own;
        P sum = 0, square = 0; // of what differs from a number near all of the unit
        if (channel < last) {
            const P from = parts[2 * (quotient(channel, width) * width)];
#pragma unroll 8
            for (Index part = (Index)threadIdx.x / CHANNELS; part < planes.parts; part += TEAMS) {
                const Pack<P, 2> moments = load_pack<2>(parts, 2 * (part * planes.channels + channel));
                const P count = (P)counts.count(entry, part), apart = moments.at[0] - from;
                sum += count * apart;
                square += moments.at[1] + count * apart * apart;
            }
        }
        sums[threadIdx.x] = sum;
        squares[threadIdx.x] = square;
        __syncthreads();
        if (threadIdx.x < CHANNELS) {
#pragma unroll
            for (int i = 1; i < TEAMS; ++i) {
                sum += sums[own + i * CHANNELS];
                square += squares[own + i * CHANNELS];
            }
            sums[own] = sum;
            squares[own] = square;
        }
        __syncthreads();
        if (works)
            for (Index c = larger(mine, first); c < smaller(mine + width, first + CHANNELS); ++c) {
                all_sum += sums[c - first];
                all_squares += squares[c - first];
            }
        __syncthreads();
    }
    if (works) {
        const P count = (P)planes.places * (P)width, apart = all_sum / count;
        mean[threadIdx.x] = parts[2 * mine] + apart;
        inverse[threadIdx.x] = finish.inverse(larger(all_squares / count - apart * apart, (P)0));
    }
    __syncthreads();
}

// What becomes of a channel's elements. Of halves the mean is taken off with the shift: that loses less than they have lost.
template <class P> struct PlaneScale {
    Center<float> center;
    float scale, shift;
    SMELT_DEVICE float operator()(float x) const { return center.of(x) * scale + shift; }
    SMELT_DEVICE PlaneScale() : center(0) {}
    SMELT_DEVICE void set(double mean, double inverse, float factor, float add) {
        center = Center<float>(mean);
        scale = factor * (float)inverse;
        shift = add;
    }
};
template <> struct PlaneScale<float> {
    float scale, shift;
    SMELT_DEVICE float operator()(float x) const { return x * scale + shift; }
    SMELT_DEVICE void set(float mean, float inverse, float factor, float add) {
        scale = factor * inverse;
        shift = add - mean * scale;
    }
};

// The thread's first channel of its group.
template <int LANES, int PACKS> SMELT_DEVICE Index own_channel() { return (Index)((int)threadIdx.x % PACKS * LANES); }

// What a thread's channels are multiplied with and get added; asked for long before it is needed.
template <int LANES> struct PlaneFactors {
    float factor[LANES], add[LANES];
    template <class Finish> SMELT_DEVICE PlaneFactors(const Finish &finish, Index channel, Index end) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) factor[l] = add[l] = 0.0f;
        if (channel >= end) return;
#pragma unroll
        for (int l = 0; l < LANES; ++l) finish.scales(channel + l, factor[l], add[l]);
    }
};

// Runs blockIdx.x, blockIdx.x + gridDim.x, .. of the result's channels from `group` to `end`; the last ones first, which the caches
// may still have. Means and factors are those of units of `width` channels, from that of the group's first channel on.
template <int LANES, int PACKS, int AHEAD, class T, class S, class P, class E>
SMELT_DEVICE void put_places(const T *x, const S &steps, const Planes &planes, Index entry, Index group, Index end, Index width,
                             const P *mean, const P *inverse, const PlaneFactors<LANES> &factors, const E &epilogue) {
    const int LINES = MOMENT_THREADS / PACKS, RUN = LINES * AHEAD;
    const Index channel = group + own_channel<LANES, PACKS>(), unit = quotient(group, width);
    if (channel >= end) return;
    PlaneScale<P> scales[LANES];
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        const Index at = quotient(channel + l, width) - unit;
        scales[l].set(mean[at], inverse[at], factors.factor[l], factors.add[l]);
    }
    const Index runs = ceil_div(planes.places, (Index)RUN), turns = ceil_div(runs - (Index)blockIdx.x, (Index)gridDim.x);
    for (Index turn = turns - 1; turn >= 0; --turn) {
        const Index first = ((Index)blockIdx.x + turn * (Index)gridDim.x) * RUN + (Index)((int)threadIdx.x / PACKS);
        const Index number = (entry * planes.places + first) * planes.channels + channel;
        Pack<T, LANES> v[AHEAD];
        typename E::Operands operands[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (first + i * LINES >= planes.places) continue;
            v[i] = load_pack<LANES>(x, steps.at(entry, first + i * LINES) + channel);
            epilogue.read(number + i * LINES * planes.channels, operands[i]);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (first + i * LINES >= planes.places) continue;
            float value[LANES];
#pragma unroll
            for (int l = 0; l < LANES; ++l) value[l] = scales[l]((float)fetch(v[i].at[l]));
            epilogue.write(number + i * LINES * planes.channels, value, operands[i]);
        }
    }
}

// What is left to do where parts have moments, for the same groups of channels. width: channels of a unit.
template <int LANES, int PACKS, int AHEAD, class T, class S, class C, class P, class Finish, class E>
SMELT_DEVICE void plane_normalize(const T *x, const S &steps, const Planes &planes, Index width, const C &counts,
                                  const P *parts, const Finish &finish, const E &epilogue) {
    const int CHANNELS = PACKS * LANES;
    __shared__ P mean[CHANNELS], inverse[CHANNELS];
    const Index entry = (Index)blockIdx.y, group = (Index)blockIdx.z * CHANNELS;
    const PlaneFactors<LANES> factors(finish, group + own_channel<LANES, PACKS>(), planes.channels);
    merge_parts<CHANNELS>(parts, counts, planes, entry, width, group, finish, mean, inverse);
    put_places<LANES, PACKS, AHEAD>(x, steps, planes, entry, group, planes.channels, width, mean, inverse, factors, epilogue);
}

} // namespace smelt

#endif
