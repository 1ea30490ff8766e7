// Transposed convolutions whose windows lie side by side, as products, sm_90a alone: the sums of a row are scattered.
#ifndef SMELT_WGMMA_TAPS_CUH
#define SMELT_WGMMA_TAPS_CUH

#include "smelt/wgmma_product.cuh"

namespace smelt {

// Numbers of a channels-last result's elements: rows are the places of the input, slowest axis first, columns the channels of
// each tap. Every element belongs to one of them.
template <int AXES> struct WgmmaTaps {
    Index rows, cols, channels;
    Index in[AXES];
    int kernel[AXES];
    SMELT_DEVICE Index number(Index row, Index col, Index) const {
        Index tap = quotient(col, channels), place = 0, extent = 1;
        const Index channel = col - tap * channels;
#pragma unroll
        for (int i = AXES - 1; i >= 0; --i) {
            place += (residue(row, in[i]) * kernel[i] + residue(tap, (Index)kernel[i])) * extent;
            extent *= in[i] * kernel[i];
            row = quotient(row, in[i]);
            tap = quotient(tap, (Index)kernel[i]);
        }
        return (row * extent + place) * channels + channel;
    }
};

// What is added to the sums of a channel, for the columns of every tap.
template <class Scale> struct WgmmaEachTap {
    typedef typename Scale::Column Column;
    Scale scale;
    Index cols;
    SMELT_DEVICE void fetch_column(Index col, Column &column) const {
        if (col < cols) scale.fetch_column(residue(col, scale.cols), column);
    }
    SMELT_DEVICE float apply(float sum, const Column &column, int k) const { return scale.apply(sum, column, k); }
};
template <class Scale> SMELT_DEVICE WgmmaEachTap<Scale> wgmma_each_tap(const Scale &scale, Index cols) { return {scale, cols}; }

} // namespace smelt

#endif
