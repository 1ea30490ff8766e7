// Squeeze-and-excite: the means of an image's channels go through two small products, in one launch.
// Source: Hu et al., "Squeeze-and-Excitation Networks", 2018.
#ifndef SMELT_SQUEEZE_CUH
#define SMELT_SQUEEZE_CUH

#include "smelt/team.cuh"
#include "smelt/wgmma.cuh"
#include "smelt/window.cuh"

namespace smelt {

static const int SQUEEZE_THREADS = 512;

// A cluster of BLOCKS has an image. GROUPS of its blocks divide the channels among themselves, SLICE for each, and the others
// the places, for what goes into the first product, whose sums are of SQUEEZED numbers; of the second product's results each
// block has SHARE. Channels come in packs of LANES. STAGED: the block's weights fit into its shared memory.
template <int LANES_, int BLOCKS_, int GROUPS_, int SLICE_, int SHARE_, int SQUEEZED_, bool STAGED_> struct SqueezeTile {
    static const int LANES = LANES_, BLOCKS = BLOCKS_, GROUPS = GROUPS_, SLICE = SLICE_, SHARE = SHARE_, SQUEEZED = SQUEEZED_;
    static const bool STAGED = STAGED_;
    static const int PACKS = SLICE / LANES, LINES = SQUEEZE_THREADS / PACKS;
    // Threads that add up what the lines have of a channel.
    static const int WHOLE_TEAMS = SQUEEZE_THREADS / SLICE < 1 ? 1 : SQUEEZE_THREADS / SLICE;
    static const int TEAMS = WHOLE_TEAMS < LINES ? WHOLE_TEAMS : LINES;
};

// An image's places, channels last, and how it is divided.
struct SqueezeImage { Index base, step, places, channels; };

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

// The sums of the block's channels over its places, in the same order every time. All threads take part.
template <class Tile, class T>
SMELT_DEVICE void squeeze_places(const T *x, const SqueezeImage &image, Index first, Index packs, Index place, Index last,
                                 Pack<float, Tile::LANES> (&pooled)[Tile::PACKS]) {
    const int LANES = Tile::LANES, AHEAD = 8;
    __shared__ Pack<float, LANES> part[Tile::LINES][Tile::PACKS];
    const int own = (int)threadIdx.x % Tile::PACKS, line = (int)threadIdx.x / Tile::PACKS;
    Pack<float, LANES> sum = {};
    if (line < Tile::LINES && own < packs) {
        const Index base = image.base + first + own * LANES;
        for (Index i = place + line; i < last; i += Tile::LINES * AHEAD) {
            Pack<T, LANES> v[AHEAD];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const Index at = i + a * Tile::LINES;
                v[a] = load_pack_if<LANES>(at < last, x, base + at * image.step);
            }
#pragma unroll
            for (int a = 0; a < AHEAD; ++a)
#pragma unroll
                for (int l = 0; l < LANES; ++l) sum.at[l] += (float)fetch(v[a].at[l]);
        }
    }
    if (line < Tile::LINES) part[line][own] = sum;
    __syncthreads();
    const int TEAMS = Tile::TEAMS;
    for (int e = (int)threadIdx.x; e < Tile::SLICE * TEAMS; e += SQUEEZE_THREADS) {
        const int c = e % Tile::SLICE, team = e / Tile::SLICE;
        float total = 0.0f;
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
        float sum = 0.0f;
        if constexpr (Tile::BLOCKS == 1) sum = part[s];
        else
            for (int block = 0; block < Tile::BLOCKS; ++block) sum += shared_get_from(shared_address(part + s), (u32)block);
        hidden[s] = (float)between(image * Tile::SQUEEZED + s, reduce(s, sum * inverse));
    }
    __syncthreads();
}

// The block's results of the second product: four threads for each. What is made of them leaves by put(c, sum).
template <class Tile, class W, class Put>
SMELT_DEVICE void excite_channels(const SqueezeLines<W> &lines, Index first, Index channels, const float (&hidden)[Tile::SQUEEZED],
                                  const Put &put) {
    const int TEAM = 4, lane = (int)threadIdx.x % TEAM;
    for (int round = 0; round < Tile::SHARE; round += SQUEEZE_THREADS / TEAM) {
        const int c = round + (int)threadIdx.x / TEAM;
        const bool is_there = c < Tile::SHARE && first + c < channels;
        float sum = 0.0f;
#pragma unroll 4
        for (int s = lane; s < Tile::SQUEEZED; s += TEAM)
            if (is_there) sum += (float)fetch(lines.p[c * lines.step + s]) * hidden[s];
#pragma unroll
        for (int mask = TEAM / 2; mask > 0; mask /= 2) sum += shuffled(sum, mask);
        if (lane == 0 && is_there) put(c, sum);
    }
}

// What scales the block's channels, from the blocks that have computed it.
template <class Tile>
SMELT_DEVICE void gather_scales(const float (&own)[Tile::SHARE], Index first, Index channels, Pack<float, Tile::LANES> (&scales)[Tile::PACKS]) {
    if constexpr (Tile::BLOCKS == 1) __syncthreads();
    else {
        cluster_arrive();
        cluster_wait();
    }
    for (int c = (int)threadIdx.x; c < Tile::SLICE && first + c < channels; c += SQUEEZE_THREADS) {
        const int at = (int)(first + c);
        float &scale = scales[c / Tile::LANES].at[c % Tile::LANES];
        if constexpr (Tile::BLOCKS == 1) scale = own[at];
        else scale = shared_get_from(shared_address(own + at % Tile::SHARE), (u32)(at / Tile::SHARE));
    }
    __syncthreads();
}

// The block's places and channels times what scales them.
template <class Tile, class T, class E>
SMELT_DEVICE void scale_places(const T *x, const SqueezeImage &image, Index number, Index first, Index packs, Index place, Index last,
                               const Pack<float, Tile::LANES> (&scales)[Tile::PACKS], const E &epilogue) {
    const int LANES = Tile::LANES, AHEAD = 4;
    const int own = (int)threadIdx.x % Tile::PACKS, line = (int)threadIdx.x / Tile::PACKS;
    if (line >= Tile::LINES || own >= packs) return;
    const Index channel = first + own * LANES;
    const Pack<float, LANES> scale = scales[own];
    for (Index i = place + line; i < last; i += Tile::LINES * AHEAD) {
        Pack<T, LANES> v[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            const Index at = i + a * Tile::LINES;
            v[a] = load_pack_if<LANES>(at < last, x, image.base + at * image.step + channel);
        }
#pragma unroll
        for (int a = 0; a < AHEAD; ++a) {
            const Index at = i + a * Tile::LINES, element = (number * image.places + at) * image.channels + channel;
            if (at >= last) continue;
            float product[LANES];
            typename E::Operands operands;
            epilogue.read(element, operands);
#pragma unroll
            for (int l = 0; l < LANES; ++l) product[l] = (float)fetch(v[a].at[l]) * scale.at[l];
            epilogue.write(element, product, operands);
        }
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
    const int LANES = Tile::LANES, BLOCKS = Tile::BLOCKS, PARTS = BLOCKS / Tile::GROUPS;
    __shared__ Pack<W, LANES> slice[Tile::STAGED ? Tile::SQUEEZED * Tile::PACKS : 1];
    __shared__ Pack<V, LANES> share[Tile::STAGED ? Tile::SQUEEZED * Tile::SHARE / LANES : 1];
    __shared__ Pack<float, LANES> pooled[Tile::PACKS];
    __shared__ float part[Tile::SQUEEZED], hidden[Tile::SQUEEZED], excited[Tile::SHARE];
    const int rank = (int)blockIdx.x % BLOCKS;
    const Index number = quotient((Index)blockIdx.x, BLOCKS);
    const Index first = rank % Tile::GROUPS * Tile::SLICE, own = rank * Tile::SHARE;
    const Index left = channels > first ? (channels - first) / LANES : 0, packs = smaller(left, (Index)Tile::PACKS);
    SqueezeLines<W> reducing = {w1 + first, channels};
    SqueezeLines<V> expanding = {w2 + own * Tile::SQUEEZED, Tile::SQUEEZED};
    if (!CONSTANT) wait_for_previous_kernel();
    if (Tile::STAGED) {
        stage_lines<LANES, Tile::SQUEEZED, Tile::PACKS>(reducing.p, channels, packs, (Index)Tile::SQUEEZED, slice);
        const Index rest = channels > own ? (channels - own) / LANES : 0; // lines of LANES channels
        stage_lines<LANES, Tile::SHARE / LANES, Tile::SQUEEZED>(expanding.p, (Index)(LANES * Tile::SQUEEZED), (Index)Tile::SQUEEZED,
                                                                rest, share);
        reducing = SqueezeLines<W>{slice[0].at, Tile::SLICE};
        expanding = SqueezeLines<V>{share[0].at, Tile::SQUEEZED};
    }
    if (CONSTANT) wait_for_previous_kernel();
    const SqueezeImage image = {number * batch_step, step, places, channels};
    const Index each = ceil_div(places, (Index)PARTS), place = rank / Tile::GROUPS * each, last = smaller(place + each, places);
    squeeze_places<Tile>(x, image, first, packs, place, last, pooled);
    squeeze_channels<Tile>(reducing, packs, pooled, part);
    if constexpr (BLOCKS > 1) {
        cluster_arrive();
        cluster_wait();
    }
    squeeze_whole<Tile>(part, 1.0f / (float)places, number, reduce, between, hidden);
    if constexpr (Same<Scales, NoScales>::value) {
        excite_channels<Tile>(expanding, own, channels, hidden, [&](int c, float sum) {
            epilogue(number * channels + own + c, expand(own + c, sum));
        });
    } else {
        excite_channels<Tile>(expanding, own, channels, hidden, [&](int c, float sum) {
            excited[c] = (float)scales(number * channels + own + c, expand(own + c, sum));
        });
        gather_scales<Tile>(excited, first, channels, pooled);
    }
    if constexpr (BLOCKS > 1) cluster_arrive();
    if constexpr (!Same<Scales, NoScales>::value)
        scale_places<Tile>(x, image, number, first, packs, place, last, pooled, epilogue);
    if constexpr (BLOCKS > 1) cluster_wait(); // others may still read what this block has
}

} // namespace smelt

#endif
