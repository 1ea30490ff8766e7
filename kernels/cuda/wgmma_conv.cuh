// Convolutions of channels-last tensors as products, sm_90a alone: the copy engine gathers the matrix of windows.
#ifndef SMELT_WGMMA_CONV_CUH
#define SMELT_WGMMA_CONV_CUH

#include "smelt/wgmma_product.cuh"

namespace smelt {

// Numbers of a convolution with AXES spatial axes, slowest first in each list as in Window, the fastest at [AXES - 1].
template <int AXES> struct WgmmaWindow {
    Index out[AXES];
    int kernel[AXES], stride[AXES], dilation[AXES], pad[AXES];
    int channels, outputs; // of a group
};

SMELT_DEVICE WindowPlace<1> window_place(const int (&at)[1], int n) { return {at[0], n}; }
SMELT_DEVICE WindowPlace<2> window_place(const int (&at)[2], int n) { return {at[1], at[0], n}; }
SMELT_DEVICE WindowPlace<3> window_place(const int (&at)[3], int n) { return {at[2], at[1], at[0], n}; }

// Rows are the windows of all images; the depth goes through the channels of each tap. x: the input in im2col mode;
// w: the weights as (channel, tap, output channel). Matrices are groups.
template <class Tile, int AXES> struct WgmmaWindows {
    const TensorMap &x, &w;
    WgmmaWindow<AXES> window;
    struct Cursor {
        WindowPlace<AXES> place;
        int col, first, channel, tap; // first: channel of the group
        int offset[AXES];
    };
    SMELT_DEVICE void prefetch() const {
        map_prefetch(x);
        map_prefetch(w);
    }
    // part: how many parts of the depth lie in front.
    SMELT_DEVICE Cursor begin(Index row, Index col, Index group, int part) const {
        const int parts = (window.channels + Tile::depth - 1) / Tile::depth, tap = part / parts;
        int at[AXES], rest = tap;
#pragma unroll
        for (int i = AXES - 1; i >= 0; --i) {
            at[i] = (int)residue(row, window.out[i]) * window.stride[i] - window.pad[i];
            row = quotient(row, window.out[i]);
        }
        Cursor cursor = {window_place(at, (int)row), (int)(group * window.outputs + col), (int)group * window.channels, part % parts * Tile::depth, tap, {}};
#pragma unroll
        for (int i = AXES - 1; i >= 0; --i) {
            cursor.offset[i] = rest % window.kernel[i];
            rest /= window.kernel[i];
        }
        return cursor;
    }
    SMELT_DEVICE void copy_rows(const Cursor &at, u32 to, u32 full) const {
        u16 tap[3] = {};
#pragma unroll
        for (int i = 0; i < AXES; ++i) tap[i] = (u16)(at.offset[AXES - 1 - i] * window.dilation[AXES - 1 - i]);
        copy_windows<Tile::shares_rows>(to, x, full, at.first + at.channel, at.place, tap);
    }
    SMELT_DEVICE void copy_columns(const Cursor &at, u32 to, u32 full) const {
        wgmma_copy_columns<Tile, Tile::shares_cols>(to, w, full, Tile::spread ? at.tap * window.channels + at.channel : at.channel,
                                 Tile::spread ? at.col : at.tap, at.col);
    }
    SMELT_DEVICE void next(Cursor &at) const {
        at.channel += Tile::depth;
        if (at.channel < window.channels) return;
        at.channel = 0;
        ++at.tap;
#pragma unroll
        for (int i = AXES - 1; i >= 0; --i) {
            if (++at.offset[i] < window.kernel[i]) return;
            at.offset[i] = 0;
        }
    }
};

} // namespace smelt

#endif
