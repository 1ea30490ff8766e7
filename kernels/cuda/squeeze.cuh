// Squeeze-and-excite: the means of an image's channels go through two small products, in one launch.
// Source: Hu et al., "Squeeze-and-Excitation Networks", 2018.
#ifndef SMELT_SQUEEZE_CUH
#define SMELT_SQUEEZE_CUH

#include "smelt/kept.cuh"
#include "smelt/team.cuh"
#include "smelt/wgmma.cuh"
#include "smelt/window.cuh"

namespace smelt {

static const int SQUEEZE_THREADS = 512;

// A cluster of BLOCKS has an image at a time. GROUPS of its blocks divide the channels among themselves, SLICE for each, and those of
// a group the places. The first product's results are SQUEEZED numbers. Channels come in packs of LANES. A row is a place for each
// line of PACKS threads, kept from when it is summed up until it is scaled, HELD in registers: all rows of the only image, or in shared
// memory. STAGED: the block's weights fit into its shared memory.
template <int LANES_, int BLOCKS_, int GROUPS_, int SLICE_, int SQUEEZED_, bool STAGED_, bool HELD_, class Rows_> struct SqueezeTile {
    static const int LANES = LANES_, BLOCKS = BLOCKS_, GROUPS = GROUPS_, SLICE = SLICE_, SQUEEZED = SQUEEZED_;
    static const bool STAGED = STAGED_, HELD = HELD_;
    static const int PACKS = SLICE / LANES, LINES = SQUEEZE_THREADS / PACKS;
    // Threads that add up what the lines have of a channel.
    static const int WHOLE_TEAMS = SQUEEZE_THREADS / SLICE < 1 ? 1 : SQUEEZE_THREADS / SLICE;
    static const int TEAMS = WHOLE_TEAMS < LINES ? WHOLE_TEAMS : LINES;
    typedef Rows_ Rows;
};

// What a thread keeps of an image, as KeptReader, or in registers.
template <bool HELD, class Rows, class T, class Base> struct SqueezeReader : KeptReader<Rows, T, Base> {
    SMELT_DEVICE SqueezeReader(const T *x, const Base &base, const RowSteps &steps, Index streamed)
        : KeptReader<Rows, T, Base>(x, base, steps, streamed) {}
};
template <class Rows, class T, class Base> struct SqueezeReader<true, Rows, T, Base> {
    Pack<T, Rows::LANES> v[Rows::KEPT];
    SMELT_DEVICE SqueezeReader(const T *x, const Base &base, const RowSteps &steps, Index) {
        const Index first = base(0);
#pragma unroll
        for (int i = 0; i < Rows::KEPT; ++i) v[i] = load_pack_if<Rows::LANES>(i < steps.count, x, first + i * steps.step);
    }
};

// Lines of weights, each `step` behind the one before.
template <class W> struct SqueezeLines {
    const W *p;
    Index step;
};

// Copies COUNT packs of each of `lines` lines.
template <int LANES, int LINES, int COUNT, class W>
SMELT_DEVICE void stage_lines(const W *from, Index step, Index packs, Index lines, Pack<W, LANES> *to) {
#pragma unroll 4
    for (int e = (int)threadIdx.x; e < LINES * COUNT; e += SQUEEZE_THREADS) {
        const int line = e / COUNT, pack = e % COUNT;
        if (line < lines && pack < packs) to[e] = load_pack<LANES>(from, line * step + pack * LANES);
    }
}

template <class T, int LANES> SMELT_DEVICE void add_pack(const Pack<T, LANES> &v, Pack<float, LANES> &sum) {
#pragma unroll
    for (int l = 0; l < LANES; ++l) sum.at[l] += (float)fetch(v.at[l]);
}

// The sums of the block's channels over its places, from those of its threads, in the same order every time. All threads take
// part.
template <class Tile>
SMELT_DEVICE void pool_sums(const Pack<float, Tile::LANES> &sum, int own, int line, Pack<float, Tile::LANES> (&pooled)[Tile::PACKS]) {
    const int LANES = Tile::LANES, TEAMS = Tile::TEAMS;
    __shared__ Pack<float, LANES> part[Tile::LINES][Tile::PACKS];
    if (line < Tile::LINES) part[line][own] = sum;
    __syncthreads();
    for (int e = (int)threadIdx.x; e < Tile::SLICE * TEAMS; e += SQUEEZE_THREADS) {
        const int c = e % Tile::SLICE, team = e / Tile::SLICE;
        float total = 0.0f;
#pragma unroll 8
        for (int n = team; n < Tile::LINES; n += TEAMS) total += part[n][c / LANES].at[c % LANES];
        part[team][c / LANES].at[c % LANES] = total;
    }
    __syncthreads();
    for (int c = (int)threadIdx.x; c < Tile::SLICE; c += SQUEEZE_THREADS) {
        float total = 0.0f;
#pragma unroll
        for (int n = 0; n < TEAMS; ++n) total += part[n][c / LANES].at[c % LANES];
        pooled[c / LANES].at[c % LANES] = total;
    }
    __syncthreads();
}

// What each block of the cluster gives to the first product's results, and the barrier that counts what comes.
template <class Tile> struct SqueezeParts {
    float of[Tile::BLOCKS][Tile::SQUEEZED];
    alignas(8) u64 there;
};

// What the block's sums give to each of the first product's, for all blocks of the cluster: a warp for some in turn. All threads go on
// when what all blocks give is there, for the round-th time.
template <class Tile, class W>
SMELT_DEVICE void squeeze_channels(const SqueezeLines<W> &lines, Index packs, const Pack<float, Tile::LANES> (&pooled)[Tile::PACKS], int rank,
                                   SqueezeParts<Tile> &parts, u32 round) {
    const int LANES = Tile::LANES, lane = (int)threadIdx.x % 32, WARPS = SQUEEZE_THREADS / 32;
    const int ALL = (Tile::SQUEEZED + WARPS - 1) / WARPS, TOGETHER = ALL < 4 ? ALL : 4; // of a warp
    for (int first = (int)threadIdx.x / 32; first < Tile::SQUEEZED; first += WARPS * TOGETHER) {
        float sum[TOGETHER] = {};
        for (int pack = lane; pack < packs; pack += 32) {
            const Pack<float, LANES> own = pooled[pack];
#pragma unroll
            for (int k = 0; k < TOGETHER; ++k) {
                const int s = smaller(first + k * WARPS, Tile::SQUEEZED - 1);
                const Pack<W, LANES> w = load_pack<LANES>(lines.p, s * lines.step + pack * LANES);
#pragma unroll
                for (int l = 0; l < LANES; ++l) sum[k] += (float)fetch(w.at[l]) * own.at[l];
            }
        }
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2)
#pragma unroll
            for (int k = 0; k < TOGETHER; ++k) sum[k] += shuffled(sum[k], mask);
#pragma unroll
        for (int k = 0; k < TOGETHER; ++k) {
            const int s = first + k * WARPS;
            if (s >= Tile::SQUEEZED) continue;
            if constexpr (Tile::BLOCKS == 1) {
                if (lane == 0) parts.of[0][s] = sum[k];
            } else if (lane < Tile::BLOCKS) {
                shared_put_later(shared_address(&parts.of[rank][s]), (u32)lane, shared_address(&parts.there), sum[k]);
            }
        }
    }
    if constexpr (Tile::BLOCKS == 1) {
        __syncthreads();
    } else {
        if (threadIdx.x == 0) barrier_arrive_expecting(shared_address(&parts.there), sizeof parts.of);
        barrier_wait<true>(shared_address(&parts.there), round);
    }
}

// The first product of the whole image, and what is made of it by `between`.
template <class Tile, class Between>
SMELT_DEVICE void squeeze_whole(const SqueezeParts<Tile> &parts, float inverse, Index image, const float (&bias)[Tile::SQUEEZED],
                                const Between &between, float (&hidden)[Tile::SQUEEZED]) {
    for (int s = (int)threadIdx.x; s < Tile::SQUEEZED; s += SQUEEZE_THREADS) {
        float sum = 0.0f;
#pragma unroll
        for (int block = 0; block < Tile::BLOCKS; ++block) sum += parts.of[block][s];
        hidden[s] = (float)between(image * Tile::SQUEEZED + s, sum * inverse + bias[s]);
    }
    __syncthreads();
}

// The second product's results for the block's channels: up to four threads for each. What is made of them leaves by put(c, sum).
template <class Tile, class W, class Put>
SMELT_DEVICE void excite_channels(const SqueezeLines<W> &lines, Index first, Index channels, const float (&hidden)[Tile::SQUEEZED],
                                  const Put &put) {
    const int TEAM = Tile::SLICE * 4 <= SQUEEZE_THREADS ? 4 : Tile::SLICE * 2 <= SQUEEZE_THREADS ? 2 : 1;
    const int PACK = Tile::SQUEEZED % 4 == 0 ? 4 : Tile::SQUEEZED % 2 == 0 ? 2 : 1, lane = (int)threadIdx.x % TEAM;
    for (int round = 0; round < Tile::SLICE; round += SQUEEZE_THREADS / TEAM) {
        const int c = round + (int)threadIdx.x / TEAM;
        const bool is_there = c < Tile::SLICE && first + c < channels;
        float sum = 0.0f;
#pragma unroll 4
        for (int s = lane * PACK; s < Tile::SQUEEZED; s += TEAM * PACK) {
            if (!is_there) continue;
            const Pack<W, PACK> w = load_pack<PACK>(lines.p, c * lines.step + s);
#pragma unroll
            for (int k = 0; k < PACK; ++k) sum += (float)fetch(w.at[k]) * hidden[s + k];
        }
#pragma unroll
        for (int mask = TEAM / 2; mask > 0; mask /= 2) sum += shuffled(sum, mask);
        if (lane == 0 && is_there) put(c, sum);
    }
}

// What the second product gives is the result, and nothing is scaled.
struct NoScales {};

// Weights: [SQUEEZED, channels] and [channels, SQUEEZED]; reduce and expand add the products' biases. CONSTANT: they can be read before
// other kernels are done. Images lie `batch_step` apart. Scales: what scales an element of the input, from one of the second product,
// or NoScales.
template <class Tile, bool CONSTANT, class T, class W, class V, class Reduce, class Between, class Expand, class Scales, class E>
SMELT_DEVICE void squeeze_excite(const T *x, Index images, Index batch_step, Index step, Index places, Index channels, const W *w1,
                                 const V *w2, const Reduce &reduce, const Between &between, const Expand &expand,
                                 const Scales &scales, const E &epilogue) {
    typedef typename Tile::Rows Rows;
    const int LANES = Tile::LANES, BLOCKS = Tile::BLOCKS, PARTS = BLOCKS / Tile::GROUPS, AHEAD = 2 * Rows::AHEAD;
    __shared__ Pack<W, LANES> slice[Tile::STAGED ? Tile::SQUEEZED * Tile::PACKS : 1];
    __shared__ Pack<V, LANES> lines[Tile::STAGED ? Tile::SQUEEZED * Tile::PACKS : 1];
    __shared__ Pack<float, LANES> pooled[Tile::PACKS];
    __shared__ SqueezeParts<Tile> parts[Rows::ONCE ? 1 : 2]; // of one image and the next
    __shared__ float hidden[Tile::SQUEEZED], reduce_bias[Tile::SQUEEZED], expand_bias[Tile::SLICE];
    if constexpr (BLOCKS > 1) {
        if (threadIdx.x == 0) {
            barrier_init(shared_address(&parts[0].there), 1);
            if (!Rows::ONCE) barrier_init(shared_address(&parts[Rows::ONCE ? 0 : 1].there), 1);
            barrier_init_done();
        }
        cluster_arrive_relaxed();
    }
    const int rank = (int)blockIdx.x % BLOCKS, own = (int)threadIdx.x % Tile::PACKS, line = (int)threadIdx.x / Tile::PACKS;
    const Index first = rank % Tile::GROUPS * Tile::SLICE;
    const Index left = channels > first ? (channels - first) / LANES : 0, packs = smaller(left, (Index)Tile::PACKS);
    SqueezeLines<W> reducing = {w1 + first, channels};
    SqueezeLines<V> expanding = {w2 + first * Tile::SQUEEZED, Tile::SQUEEZED};
    if (!CONSTANT) wait_for_previous_kernel();
    for (int s = (int)threadIdx.x; s < Tile::SQUEEZED; s += SQUEEZE_THREADS) reduce_bias[s] = reduce((Index)s, 0.0f);
    for (int c = (int)threadIdx.x; c < Tile::SLICE; c += SQUEEZE_THREADS)
        expand_bias[c] = first + c < channels ? expand(first + c, 0.0f) : 0.0f;
    if (Tile::STAGED) {
        stage_lines<LANES, Tile::SQUEEZED, Tile::PACKS>(reducing.p, channels, packs, (Index)Tile::SQUEEZED, slice);
        stage_lines<LANES, Tile::PACKS, Tile::SQUEEZED>(expanding.p, (Index)(LANES * Tile::SQUEEZED), (Index)Tile::SQUEEZED, packs,
                                                        lines); // a line for each pack of channels
        reducing = SqueezeLines<W>{slice[0].at, Tile::SLICE};
        expanding = SqueezeLines<V>{lines[0].at, Tile::SQUEEZED};
    }
    if (CONSTANT) wait_for_previous_kernel();
    const Index each = ceil_div(places, (Index)PARTS), begin = rank / Tile::GROUPS * each, end = smaller(begin + each, places);
    const Index rows = ceil_div(each, (Index)Tile::LINES), streamed = Rows::streamed(rows), place = begin + line;
    const bool works = line < Tile::LINES && own < packs && place < end;
    const RowSteps steps = {Tile::LINES * step, works ? ceil_div(end - place, (Index)Tile::LINES) : 0};
    const Index clusters = quotient((Index)gridDim.x, (Index)BLOCKS), cluster = quotient((Index)blockIdx.x, (Index)BLOCKS);
    const auto base = [&](Index n) {
        const Index image = cluster + n * clusters;
        return image < images ? image * batch_step + place * step + first + own * LANES : (Index)-1;
    };
    SqueezeReader<Tile::HELD, Rows, T, decltype(base)> reader(x, base, steps, streamed);
    int slot = 0; // of the image's first row that is kept
    for (Index number = 0; cluster + number * clusters < images; ++number) {
        const Index image = cluster + number * clusters, last = smaller(streamed, steps.count), from = base(number);
        Pack<float, LANES> sum = {};
        for (Index row = 0; row < last; row += AHEAD) {
            Pack<T, LANES> v[AHEAD];
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) v[i] = load_pack_if<LANES>(row + i < last, x, from + (row + i) * steps.step);
#pragma unroll
            for (int i = 0; i < AHEAD; ++i) add_pack(v[i], sum);
        }
        if constexpr (Tile::HELD) {
#pragma unroll
            for (int i = 0; i < Rows::KEPT; ++i) add_pack(reader.v[i], sum); // zeros where there is none
        } else {
            for_kept<Rows, T>(slot, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], int, int count) {
#pragma unroll
                for (int i = 0; i < Rows::AHEAD; ++i)
                    if (i < count) add_pack(v[i], sum);
            });
        }
        pool_sums<Tile>(sum, own, line, pooled);
        if constexpr (BLOCKS > 1)
            if (number == 0) cluster_wait(); // all have begun
        SqueezeParts<Tile> &own_parts = parts[Rows::ONCE ? 0 : number % 2];
        squeeze_channels<Tile>(reducing, packs, pooled, rank, own_parts, (u32)(Rows::ONCE ? 0 : number / 2 % 2));
        squeeze_whole<Tile>(own_parts, 1.0f / (float)places, image, reduce_bias, between, hidden);
        if constexpr (Same<Scales, NoScales>::value) {
            if (rank < Tile::GROUPS)
                excite_channels<Tile>(expanding, first, channels, hidden, [&](int c, float result) {
                    epilogue(image * channels + first + c, result + expand_bias[c]);
                });
        } else {
            excite_channels<Tile>(expanding, first, channels, hidden, [&](int c, float result) {
                pooled[c / LANES].at[c % LANES] = (float)scales(image * channels + first + c, result + expand_bias[c]);
            });
            __syncthreads();
            const Pack<float, LANES> scale = pooled[own];
            const Index to = (image * places + place) * channels + first + own * LANES, apart = Tile::LINES * channels;
            const auto make = [&](float v, int l) { return v * scale.at[l]; };
            if constexpr (Tile::HELD)
                put_packs(reader.v, (int)steps.count, to, apart, make, epilogue);
            else
                take_kept<Rows, T>(slot, reader, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], int row, int count) {
                    const int mine = (int)smaller((Index)count, steps.count - streamed - row);
                    if (mine > 0) put_packs(v, mine, to + (streamed + row) * apart, apart, make, epilogue);
                });
            again_streamed<Rows>(x, from, steps, streamed, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], Index row, int count) {
                put_packs(v, count, to + row * apart, -apart, make, epilogue);
            });
        }
    }
    wait_for_copies<0>();
}

} // namespace smelt

#endif
