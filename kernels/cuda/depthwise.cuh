// Convolutions of each channel by itself, where channels are neighbours in memory.
#ifndef SMELT_DEPTHWISE_CUH
#define SMELT_DEPTHWISE_CUH

#include "smelt/window.cuh"

namespace smelt {

static const int DEPTHWISE_THREADS = 128;

// A thread computes LANES channels of WIDTH places side by side along the last axis, whose windows overlap: each column of the
// input is read once. A block has PACKS threads side by side in the channels, blockIdx.y counts such groups; their weights
// [channels, TAPS] are in shared memory. KERNEL, STRIDE, DILATION: of the last axis.
template <int LANES, int WIDTH, int PACKS, int TAPS, int KERNEL, int STRIDE, int DILATION, class T, class W, class Finish, class E>
SMELT_DEVICE void depthwise_packs(const T *x, const W *w, const Strides &strides, const Window &window, Index batch,
                                  Index channels, const Finish &finish, const E &epilogue) {
    const int COLUMNS = (WIDTH - 1) * STRIDE + (KERNEL - 1) * DILATION + 1, LINES = DEPTHWISE_THREADS / PACKS;
    __shared__ Pack<W, LANES> weights[TAPS][PACKS];
    const Index group = (Index)blockIdx.y * (PACKS * LANES);
    for (int e = (int)threadIdx.x; e < PACKS * LANES * TAPS; e += DEPTHWISE_THREADS) {
        const int c = e / TAPS, tap = e % TAPS;
        if (group + c < channels) weights[tap][c / LANES].at[c % LANES] = w[(group + c) * TAPS + tap];
    }
    __syncthreads();
    const int own = (int)threadIdx.x % PACKS;
    const Index channel = group + own * LANES, across = ceil_div(window.out[2], (Index)WIDTH);
    const Index tiles = channel < channels ? batch * window.out[0] * window.out[1] * across : 0;
    for (Index tile = (Index)blockIdx.x * LINES + (Index)threadIdx.x / PACKS; tile < tiles; tile += (Index)gridDim.x * LINES) {
        const Index row = quotient(tile, across), plane = quotient(row, window.out[1]), entry = quotient(plane, window.out[0]);
        const Index first = (tile - row * across) * WIDTH, left = window.start(2, first);
        const Index top = window.start(1, row - plane * window.out[1]), front = window.start(0, plane - entry * window.out[0]);
        float sum[WIDTH][LANES];
#pragma unroll
        for (int o = 0; o < WIDTH; ++o)
#pragma unroll
            for (int l = 0; l < LANES; ++l) sum[o][l] = 0.0f;
        for (Index z = 0; z < window.kernel[0]; ++z) {
            const Index at_z = front + z * window.dilation[0];
            if (!inside(at_z, window.in[0])) continue;
            for (Index y = 0; y < window.kernel[1]; ++y) {
                const Index at_y = top + y * window.dilation[1];
                if (!inside(at_y, window.in[1])) continue;
                const Index line = strides.plane(entry, channel) + strides.place(at_z, at_y, 0);
                const int tap = (int)(z * window.kernel[1] + y) * KERNEL;
#pragma unroll
                for (int column = 0; column < COLUMNS; ++column) {
                    const Index at_x = left + column;
                    if (!inside(at_x, window.in[2])) continue;
                    const Pack<T, LANES> v = load_pack<LANES>(x, line + at_x * strides.axis[2]);
#pragma unroll
                    for (int k = 0; k < KERNEL; ++k) {
                        const int o = (column - k * DILATION) / STRIDE;
                        if (column < k * DILATION || o >= WIDTH || o * STRIDE + k * DILATION != column) continue;
                        const Pack<W, LANES> u = weights[tap + k][own];
#pragma unroll
                        for (int l = 0; l < LANES; ++l) sum[o][l] += (float)fetch(v.at[l]) * (float)fetch(u.at[l]);
                    }
                }
            }
        }
#pragma unroll
        for (int o = 0; o < WIDTH; ++o) {
            if (first + o >= window.out[2]) continue;
            const Index number = (row * window.out[2] + first + o) * channels + channel;
            typename E::Operands operands;
            epilogue.read(number, operands);
#pragma unroll
            for (int l = 0; l < LANES; ++l) sum[o][l] = finish(channel + l, sum[o][l]);
            epilogue.write(number, sum[o], operands);
        }
    }
}

} // namespace smelt

#endif
