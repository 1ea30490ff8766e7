// Squeeze-and-excite: the means of an image's channels go through two small products, in one launch.
// Source: Hu et al., "Squeeze-and-Excitation Networks", 2018.
#ifndef SMELT_SQUEEZE_CUH
#define SMELT_SQUEEZE_CUH

#include "smelt/mma.cuh"
#include "smelt/team.cuh"
#include "smelt/wgmma.cuh"
#include "smelt/window.cuh"

namespace smelt {

static const int SQUEEZE_THREADS = 512;

// A cluster of BLOCKS has an image. GROUPS of its blocks divide the channels among themselves, SLICE for each, and those of a
// group the places. The first product's results are SQUEEZED numbers. Channels come in packs of LANES. A thread holds HELD packs
// from when they are summed up until they are scaled, in registers or, STORED, in shared memory, which leaves room for another
// block; 0: it reads them again. STAGED: the block's weights fit into its shared memory.
template <int LANES_, int BLOCKS_, int GROUPS_, int SLICE_, int SQUEEZED_, int HELD_, bool STORED_, bool STAGED_> struct SqueezeTile {
    static const int LANES = LANES_, BLOCKS = BLOCKS_, GROUPS = GROUPS_, SLICE = SLICE_, SQUEEZED = SQUEEZED_, HELD = HELD_;
    static const bool STORED = STORED_, STAGED = STAGED_;
    static const int PACKS = SLICE / LANES, LINES = SQUEEZE_THREADS / PACKS;
    // Threads that add up what the lines have of a channel.
    static const int WHOLE_TEAMS = SQUEEZE_THREADS / SLICE < 1 ? 1 : SQUEEZE_THREADS / SLICE;
    static const int TEAMS = WHOLE_TEAMS < LINES ? WHOLE_TEAMS : LINES;
};

// A block's part of an image, channels last: packs of channels from number `first` on, and places before `last`.
struct SqueezePart {
    Index base, step, first, last;
    // Pack `own` of channels at a place.
    SMELT_DEVICE Index at(int own, Index i, int lanes) const { return base + i * step + first + own * lanes; }
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

// A thread's packs of the places from i on, those of `LINES` threads in turn.
template <class Tile, int COUNT, class T>
SMELT_DEVICE void load_places(const T *x, const SqueezePart &part, int own, Index i, Pack<T, Tile::LANES> (&v)[COUNT]) {
#pragma unroll
    for (int a = 0; a < COUNT; ++a) {
        const Index at = i + a * Tile::LINES;
        v[a] = load_pack_if<Tile::LANES>(at < part.last, x, part.at(own, at, Tile::LANES));
    }
}

// Begins to copy the thread's packs of its places to its places in shared memory.
template <class Tile, class T>
SMELT_DEVICE void store_places(const T *x, const SqueezePart &part, int own, Index i, Pack<T, Tile::LANES> *to) {
    static_assert(sizeof(Pack<T, Tile::LANES>) == 16, "of one copy");
#pragma unroll
    for (int a = 0; a < Tile::HELD; ++a) {
        const Index at = i + a * Tile::LINES;
        copy_later(to + a * SQUEEZE_THREADS, x + (at < part.last ? part.at(own, at, Tile::LANES) : 0), at < part.last);
    }
    close_copies();
}

template <int COUNT, class T, int LANES> SMELT_DEVICE void add_places(const Pack<T, LANES> (&v)[COUNT], Pack<float, LANES> &sum) {
#pragma unroll
    for (int a = 0; a < COUNT; ++a)
#pragma unroll
        for (int l = 0; l < LANES; ++l) sum.at[l] += (float)fetch(v[a].at[l]);
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

// What the block's sums give to each of the first product's: a warp for each in turn.
template <class Tile, class W>
SMELT_DEVICE void squeeze_channels(const SqueezeLines<W> &lines, Index packs, const Pack<float, Tile::LANES> (&pooled)[Tile::PACKS],
                                   float (&part)[Tile::SQUEEZED]) {
    const int LANES = Tile::LANES, lane = (int)threadIdx.x % 32;
#pragma unroll 4
    for (int s = (int)threadIdx.x / 32; s < Tile::SQUEEZED; s += SQUEEZE_THREADS / 32) {
        float sum = 0.0f;
        for (int pack = lane; pack < packs; pack += 32) {
            const Pack<W, LANES> w = load_pack<LANES>(lines.p, s * lines.step + pack * LANES);
            const Pack<float, LANES> own = pooled[pack];
#pragma unroll
            for (int l = 0; l < LANES; ++l) sum += (float)fetch(w.at[l]) * own.at[l];
        }
        sum = WarpTeam::all<Sum>(sum);
        if (lane == 0) part[s] = sum;
    }
    __syncthreads();
}

// The first product of the whole image, and what is made of it. reduce: of its bias; between: of its results.
template <class Tile, class Reduce, class Between>
SMELT_DEVICE void squeeze_whole(const float (&part)[Tile::SQUEEZED], float inverse, Index image, const Reduce &reduce,
                                const Between &between, float (&hidden)[Tile::SQUEEZED]) {
    for (int s = (int)threadIdx.x; s < Tile::SQUEEZED; s += SQUEEZE_THREADS) {
        float of[Tile::BLOCKS], sum = 0.0f;
#pragma unroll
        for (int block = 0; block < Tile::BLOCKS; ++block)
            if constexpr (Tile::BLOCKS == 1) of[block] = part[s];
            else of[block] = shared_get_from(shared_address(part + s), (u32)block);
#pragma unroll
        for (int block = 0; block < Tile::BLOCKS; ++block) sum += of[block];
        hidden[s] = (float)between(image * Tile::SQUEEZED + s, reduce(s, sum * inverse));
    }
    __syncthreads();
}

// The second product's results for the block's channels: four threads for each. What is made of them leaves by put(c, sum).
template <class Tile, class W, class Put>
SMELT_DEVICE void excite_channels(const SqueezeLines<W> &lines, Index first, Index channels, const float (&hidden)[Tile::SQUEEZED],
                                  const Put &put) {
    const int TEAM = 4, lane = (int)threadIdx.x % TEAM;
    for (int round = 0; round < Tile::SLICE; round += SQUEEZE_THREADS / TEAM) {
        const int c = round + (int)threadIdx.x / TEAM;
        const bool is_there = c < Tile::SLICE && first + c < channels;
        float sum = 0.0f;
#pragma unroll 4
        for (int s = lane; s < Tile::SQUEEZED; s += TEAM)
            if (is_there) sum += (float)fetch(lines.p[c * lines.step + s]) * hidden[s];
#pragma unroll
        for (int mask = TEAM / 2; mask > 0; mask /= 2) sum += shuffled(sum, mask);
        if (lane == 0 && is_there) put(c, sum);
    }
}

// Packs of the places from i on, as load_places reads them, times what scales the channels. number: of the pack of place 0;
// the next place's is `channels` further.
template <class Tile, int COUNT, class T, class E>
SMELT_DEVICE void scale_places(const Pack<T, Tile::LANES> (&v)[COUNT], const Pack<float, Tile::LANES> &scale, Index number, Index i,
                               Index last, Index channels, const E &epilogue) {
#pragma unroll
    for (int a = 0; a < COUNT; ++a) {
        const Index at = i + a * Tile::LINES, element = number + at * channels;
        if (at >= last) continue;
        float product[Tile::LANES];
        typename E::Operands operands;
        epilogue.read(element, operands);
#pragma unroll
        for (int l = 0; l < Tile::LANES; ++l) product[l] = (float)fetch(v[a].at[l]) * scale.at[l];
        epilogue.write(element, product, operands);
    }
}

// What the second product gives is the result, and nothing is scaled.
struct NoScales {};

// Weights: [SQUEEZED, channels] and [channels, SQUEEZED]. CONSTANT: they can be read before other kernels are done. Images lie
// `batch_step` apart. Scales: what scales an element of the input, from one of the second product, or NoScales.
template <class Tile, bool CONSTANT, class T, class W, class V, class Reduce, class Between, class Expand, class Scales, class E>
SMELT_DEVICE void squeeze_excite(const T *x, Index batch_step, Index step, Index places, Index channels, const W *w1, const V *w2,
                                 const Reduce &reduce, const Between &between, const Expand &expand, const Scales &scales,
                                 const E &epilogue) {
    const int LANES = Tile::LANES, BLOCKS = Tile::BLOCKS, PARTS = BLOCKS / Tile::GROUPS, AHEAD = 8;
    __shared__ Pack<W, LANES> slice[Tile::STAGED ? Tile::SQUEEZED * Tile::PACKS : 1];
    __shared__ Pack<V, LANES> rows[Tile::STAGED ? Tile::SQUEEZED * Tile::PACKS : 1];
    __shared__ Pack<float, LANES> pooled[Tile::PACKS];
    __shared__ float part[Tile::SQUEEZED], hidden[Tile::SQUEEZED];
    const int rank = (int)blockIdx.x % BLOCKS, own = (int)threadIdx.x % Tile::PACKS, line = (int)threadIdx.x / Tile::PACKS;
    const Index image = quotient((Index)blockIdx.x, BLOCKS), first = rank % Tile::GROUPS * Tile::SLICE;
    const Index left = channels > first ? (channels - first) / LANES : 0, packs = smaller(left, (Index)Tile::PACKS);
    SqueezeLines<W> reducing = {w1 + first, channels};
    SqueezeLines<V> expanding = {w2 + first * Tile::SQUEEZED, Tile::SQUEEZED};
    if (!CONSTANT) wait_for_previous_kernel();
    if (Tile::STAGED) {
        stage_lines<LANES, Tile::SQUEEZED, Tile::PACKS>(reducing.p, channels, packs, (Index)Tile::SQUEEZED, slice);
        stage_lines<LANES, Tile::PACKS, Tile::SQUEEZED>(expanding.p, (Index)(LANES * Tile::SQUEEZED), (Index)Tile::SQUEEZED, packs,
                                                        rows); // a line for each pack of channels
        reducing = SqueezeLines<W>{slice[0].at, Tile::SLICE};
        expanding = SqueezeLines<V>{rows[0].at, Tile::SQUEEZED};
    }
    if (CONSTANT) wait_for_previous_kernel();
    const Index each = ceil_div(places, (Index)PARTS), place = rank / Tile::GROUPS * each;
    const SqueezePart own_part = {image * batch_step, step, first, smaller(place + each, places)};
    const bool works = line < Tile::LINES && own < packs;
    const int TIMES = Tile::HELD > 0 && !Tile::STORED ? Tile::HELD : AHEAD, ROUNDS = Tile::HELD > 0 ? (Tile::HELD + TIMES - 1) / TIMES : 0;
    Pack<T, LANES> held[TIMES];
    Pack<T, LANES> *stored = nullptr;
    if constexpr (Tile::STORED) stored = reinterpret_cast<Pack<T, LANES> *>(block_memory()) + threadIdx.x;
    const auto take = [&](int round) { // what is stored
#pragma unroll
        for (int a = 0; a < TIMES; ++a) held[a] = round + a < Tile::HELD ? stored[(round + a) * SQUEEZE_THREADS] : Pack<T, LANES>{};
    };
    Pack<float, LANES> sum = {};
    if constexpr (Tile::STORED) {
        if (works) {
            store_places<Tile>(x, own_part, own, place + line, stored);
            wait_for_copies<0>();
#pragma unroll
            for (int round = 0; round < ROUNDS; ++round) {
                take(round * TIMES);
                add_places(held, sum);
            }
        }
    } else {
        for (Index i = place + line; works && i < own_part.last; i += Tile::LINES * AHEAD) {
            load_places<Tile>(x, own_part, own, i, held);
            add_places(held, sum);
            if (Tile::HELD > 0) break; // that was all
        }
    }
    pool_sums<Tile>(sum, own, line, pooled);
    squeeze_channels<Tile>(reducing, packs, pooled, part);
    if constexpr (BLOCKS > 1) {
        cluster_arrive();
        cluster_wait();
    }
    squeeze_whole<Tile>(part, 1.0f / (float)places, image, reduce, between, hidden);
    if constexpr (BLOCKS > 1) cluster_arrive();
    if constexpr (Same<Scales, NoScales>::value) {
        if (rank < Tile::GROUPS)
            excite_channels<Tile>(expanding, first, channels, hidden, [&](int c, float result) {
                epilogue(image * channels + first + c, expand(first + c, result));
            });
    } else {
        excite_channels<Tile>(expanding, first, channels, hidden, [&](int c, float result) {
            pooled[c / LANES].at[c % LANES] = (float)scales(image * channels + first + c, expand(first + c, result));
        });
        __syncthreads();
        const Index element = image * places * channels + first + own * LANES;
        int round = 0;
        for (Index i = place + line; works && i < own_part.last; i += Tile::LINES * TIMES) {
            if (Tile::HELD == 0) load_places<Tile>(x, own_part, own, i, held);
            if (Tile::STORED) take(round);
            round += TIMES;
            scale_places<Tile>(held, pooled[own], element, i, own_part.last, channels, epilogue);
            if (Tile::HELD > 0 && !Tile::STORED) break;
        }
    }
    if constexpr (BLOCKS > 1) cluster_wait(); // others may still read what this block has
}

} // namespace smelt

#endif
