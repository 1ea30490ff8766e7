// Normalisation by mean and deviation where channels are neighbours in memory: [batch, places, channels]. Each unit, a run of
// neighbouring channels of one batch entry, has a mean and a deviation of its own. One kernel leaves what parts of the places
// have, the next adds that up, always in the same order, and writes the result.
#ifndef SMELT_MOMENTS_CUH
#define SMELT_MOMENTS_CUH

#include "smelt/normalize.cuh"

namespace smelt {

static const int MOMENT_THREADS = 256;

// Of so many numbers: their mean, and the sum of squares of what they differ from it.
struct Moments { double count, mean, squares; };

SMELT_DEVICE Moments merged(const Moments &a, const Moments &b) {
    const double count = a.count + b.count, apart = b.mean - a.mean, part = count > 0 ? b.count / count : 0;
    return Moments{count, a.mean + apart * part, a.squares + b.squares + apart * apart * a.count * part};
}
SMELT_DEVICE Moments shuffled(const Moments &m, int mask) {
    return Moments{shuffled(m.count, mask), shuffled(m.mean, mask), shuffled(m.squares, mask)};
}

struct Planes { Index places, channels, chunks; }; // parts that the places are divided into

// What one part of the places of an entry is.
struct Chunk { Index first, last; };
SMELT_DEVICE Chunk chunk_of(const Planes &planes, Index chunk) {
    const Index length = ceil_div(planes.places, planes.chunks), first = smaller(chunk * length, planes.places);
    return Chunk{first, smaller(first + length, planes.places)};
}

// Part blockIdx.x of entry blockIdx.y; a block has PACKS threads side by side, each with LANES channels, blockIdx.z counts such
// groups. parts: mean and sum of squares for each entry, part and channel.
template <int LANES, int PACKS, class T, class S>
SMELT_DEVICE void plane_moments(const T *x, const S &steps, const Planes &planes, double *parts) {
    const int LINES = MOMENT_THREADS / PACKS, own = (int)threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS;
    __shared__ Moments shared[MOMENT_THREADS];
    const Index entry = (Index)blockIdx.y, channel = ((Index)blockIdx.z * PACKS + own) * LANES;
    const Chunk chunk = chunk_of(planes, (Index)blockIdx.x);
    const bool works = channel < planes.channels && chunk.first + line < chunk.last;
    float from[LANES], sum[LANES], squares[LANES]; // sums of what elements differ from the thread's first one
#pragma unroll
    for (int l = 0; l < LANES; ++l) from[l] = sum[l] = squares[l] = 0.0f;
    Index count = 0;
    if (works) {
        const Pack<T, LANES> first = load_pack<LANES>(x, steps.at(entry, chunk.first + line) + channel);
#pragma unroll
        for (int l = 0; l < LANES; ++l) from[l] = (float)fetch(first.at[l]);
        count = ceil_div(chunk.last - chunk.first - line, (Index)LINES);
#pragma unroll 4
        for (Index place = chunk.first + line; place < chunk.last; place += LINES) {
            const Pack<T, LANES> v = load_pack<LANES>(x, steps.at(entry, place) + channel);
#pragma unroll
            for (int l = 0; l < LANES; ++l) {
                const float apart = (float)fetch(v.at[l]) - from[l];
                sum[l] += apart;
                squares[l] += apart * apart;
            }
        }
    }
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        const double n = (double)count, mean = count > 0 ? (double)sum[l] / n : 0;
        __syncthreads();
        shared[threadIdx.x] = Moments{n, (double)from[l] + mean, larger((double)squares[l] - mean * (double)sum[l], 0.0)};
        for (int half = LINES / 2; half > 0; half /= 2) {
            __syncthreads();
            if (line < half) shared[threadIdx.x] = merged(shared[threadIdx.x], shared[(int)threadIdx.x + half * PACKS]);
        }
        if (line == 0 && channel < planes.channels) {
            const Index at = (entry * planes.chunks + (Index)blockIdx.x) * planes.channels + channel + l;
            parts[2 * at] = shared[own].mean;
            parts[2 * at + 1] = shared[own].squares;
        }
    }
}

// The result's part blockIdx.x of gridDim.x, for the same groups of channels. width: channels of a unit. Finish, generated:
//     double inverse(double variance)
//     void scales(Index channel, float &scale, float &shift)
template <int LANES, int PACKS, class T, class S, class Finish, class E>
SMELT_DEVICE void plane_normalize(const T *x, const S &steps, const Planes &planes, Index width, const double *parts,
                                  const Finish &finish, const E &epilogue) {
    const int LINES = MOMENT_THREADS / PACKS, own = (int)threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS;
    __shared__ double means[PACKS * LANES], inverses[PACKS * LANES];
    const Index entry = (Index)blockIdx.y, group = (Index)blockIdx.z * (PACKS * LANES);
    const Index end = smaller(group + PACKS * LANES, planes.channels);
    // A warp for each unit in turn.
    for (Index unit = quotient(group, width) + (Index)threadIdx.x / 32; unit * width < end; unit += MOMENT_THREADS / 32) {
        Moments own_part{0, 0, 0};
        const Index count = planes.chunks * width;
        for (Index i = (Index)threadIdx.x % 32; i < count; i += 32) {
            const Index number = quotient(i, width), c = unit * width + (i - number * width);
            const Chunk chunk = chunk_of(planes, number);
            const Index at = (entry * planes.chunks + number) * planes.channels + c;
            own_part = merged(own_part, Moments{(double)(chunk.last - chunk.first), parts[2 * at], parts[2 * at + 1]});
        }
        for (int mask = 16; mask > 0; mask /= 2) {
            const Moments other = shuffled(own_part, mask);
            const bool low = ((int)threadIdx.x & mask) == 0; // all lanes merge in the same order
            own_part = low ? merged(own_part, other) : merged(other, own_part);
        }
        const double inverse = finish.inverse(own_part.count > 0 ? own_part.squares / own_part.count : 0);
        for (Index c = larger(unit * width, group) + (Index)threadIdx.x % 32; c < smaller((unit + 1) * width, end); c += 32) {
            means[c - group] = own_part.mean;
            inverses[c - group] = inverse;
        }
    }
    __syncthreads();
    const Index channel = group + own * LANES;
    if (channel >= planes.channels) return;
    float high[LANES], low[LANES], scale[LANES], shift[LANES];
#pragma unroll
    for (int l = 0; l < LANES; ++l) {
        const Center<float> center(means[own * LANES + l]);
        high[l] = center.high;
        low[l] = center.low;
        finish.scales(channel + l, scale[l], shift[l]);
        scale[l] *= (float)inverses[own * LANES + l];
    }
#pragma unroll 2
    for (Index place = (Index)blockIdx.x * LINES + line; place < planes.places; place += (Index)gridDim.x * LINES) {
        const Index number = (entry * planes.places + place) * planes.channels + channel;
        const Pack<T, LANES> v = load_pack<LANES>(x, steps.at(entry, place) + channel);
        typename E::Operands operands;
        epilogue.read(number, operands);
        float value[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) value[l] = (((float)fetch(v.at[l]) - high[l]) - low[l]) * scale[l] + shift[l];
        epilogue.write(number, value, operands);
    }
}

} // namespace smelt

#endif
