// Convolutions of few channels on matrix units: what a window holds of all channels is one sum, of up to 256 terms.
#ifndef SMELT_CONV_STEM_CUH
#define SMELT_CONV_STEM_CUH

#include "smelt/mma.cuh"
#include "smelt/window.cuh"

namespace smelt {

// A term of the sums: where its element lies from the window's first one, and how far along each axis.
struct StemTerm {
    Index offset;
    int step[3];
    bool is_there;
};

// A place of the result: its window's first element and where that is.
struct StemPlace {
    Index base, start[3];
    bool is_there;
};

// T: smelt_half or smelt_bf16. A block computes COLS channels, a multiple of 32, of 16 places a warp and time; STEPS * 16
// terms hold all. The result is channels-last, its channels a multiple of 8; x as in load_as, bias may be nullptr.
template <class T, int COLS, int STEPS, class X, class W, class B, class E> struct ConvStem {
    static const int tiles = COLS / 8, terms = STEPS * 16;
    const X &x;
    const W *weights;
    Strides strides;
    Window window;
    Index batch, channels, outputs;
    const B *bias;
    const E &epilogue;

    struct alignas(8) Fragment { u32 at[2]; };
    struct Shared {
        Fragment b[STEPS][tiles][32];
        StemTerm term[terms];
    };

    SMELT_DEVICE float weight(Index channel, Index k) const {
        const Index depth = channels * window.taps();
        return channel < outputs && k < depth ? load_as<float>(weights, channel * depth + k) : 0.0f;
    }
    // Columns of the right operand are spread so that a thread gets 8 neighbouring channels of a row.
    SMELT_DEVICE void fill(Shared &shared, Index first) const {
        for (int e = threadIdx.x; e < STEPS * tiles * 32; e += blockDim.x) {
            const int lane = e % 32, tile = e / 32 % tiles, step = e / 32 / tiles, column = lane / 4;
            const Index channel = first + tile / 4 * 32 + column / 2 * 8 + tile % 4 * 2 + column % 2;
            const Index k = step * 16 + lane % 4 * 2;
            shared.b[step][tile][lane] = {{pair_of<T>(weight(channel, k), weight(channel, k + 1)),
                                           pair_of<T>(weight(channel, k + 8), weight(channel, k + 9))}};
        }
        for (int k = threadIdx.x; k < terms; k += blockDim.x) {
            const Index channel = quotient((Index)k, window.taps());
            const Place tap = place_in(window.kernel, k - channel * window.taps());
            StemTerm term = {channel * strides.channel, {}, channel < channels};
            for (int i = 0; i < 3; ++i) {
                term.step[i] = (int)(tap.at[i] * window.dilation[i]);
                term.offset += term.step[i] * strides.axis[i];
            }
            shared.term[k] = term;
        }
    }
    SMELT_DEVICE StemPlace place(Index row) const {
        const Index entry = quotient(row, window.out_count());
        const Place out = place_in(window.out, row - entry * window.out_count());
        StemPlace place = {entry * strides.batch, {}, row < batch * window.out_count()};
        for (int i = 0; i < 3; ++i) {
            place.start[i] = window.start(i, out.at[i]);
            place.base += place.start[i] * strides.axis[i];
        }
        return place;
    }
    SMELT_DEVICE float element(const StemPlace &at, const StemTerm &term) const {
        bool found = at.is_there && term.is_there;
        for (int i = 0; i < 3; ++i) found = found && inside(at.start[i] + term.step[i], window.in[i]);
        return found ? load_as<float>(x, at.base + term.offset) : 0.0f;
    }
    SMELT_DEVICE void store(Index row, Index col, const float (&sums)[tiles][4], int group, int half) const {
        if (row >= batch * window.out_count() || col >= outputs) return;
        typename E::Operands operands;
        float y[8];
        epilogue.read(row * outputs + col, operands);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            y[k] = sums[group * 4 + k / 2][half * 2 + k % 2];
            if (bias != nullptr) y[k] += load_as<float>(bias, col + k);
        }
        epilogue.write(row * outputs + col, y, operands);
    }
    SMELT_DEVICE void run() const {
        __shared__ Shared shared;
        const Index first_col = (Index)blockIdx.y * COLS, warps = (Index)blockDim.x / 32;
        const Index rows = batch * window.out_count();
        const int lane = threadIdx.x % 32;
        fill(shared, first_col);
        __syncthreads();
        for (Index first = ((Index)blockIdx.x * warps + threadIdx.x / 32) * 16; first < rows; first += (Index)gridDim.x * warps * 16) {
            const Index upper = first + lane / 4, lower = upper + 8;
            const StemPlace high = place(upper), low = place(lower);
            float sums[tiles][4] = {};
            for (int step = 0; step < STEPS; ++step) {
                const StemTerm *term = &shared.term[step * 16 + lane % 4 * 2];
                const u32 a[4] = {pair_of<T>(element(high, term[0]), element(high, term[1])),
                                  pair_of<T>(element(low, term[0]), element(low, term[1])),
                                  pair_of<T>(element(high, term[8]), element(high, term[9])),
                                  pair_of<T>(element(low, term[8]), element(low, term[9]))};
#pragma unroll
                for (int tile = 0; tile < tiles; ++tile) {
                    const Fragment b = shared.b[step][tile][lane];
                    multiply_matrices<T>(sums[tile], a, b.at[0], b.at[1]);
                }
            }
#pragma unroll
            for (int group = 0; group < tiles / 4; ++group) {
                const Index col = first_col + group * 32 + lane % 4 * 8;
                store(upper, col, sums, group, 0);
                store(lower, col, sums, group, 1);
            }
        }
    }
};

template <class T, int COLS, int STEPS, class X, class W, class B, class E>
SMELT_DEVICE void conv_stem(const X &x, const W *weights, const Strides &strides, const Window &window, Index batch, Index channels,
                            Index outputs, const B *bias, const E &epilogue) {
    ConvStem<T, COLS, STEPS, X, W, B, E>{x, weights, strides, window, batch, channels, outputs, bias, epilogue}.run();
}

} // namespace smelt

#endif
