// Samples at positions between elements: GridSample, the grids of AffineGrid, RoiAlign.
#ifndef SMELT_SAMPLE_CUH
#define SMELT_SAMPLE_CUH

#include "smelt/core.cuh"

namespace smelt {

// -- GridSample --

enum { SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC };
enum { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION };

// Mirrors x at low and high until it is between them.
SMELT_DEVICE double reflect(double x, double low, double high) {
    const double range = high - low;
    if (!(range > 0)) return low;
    const double past = ::fmod(::fabs(x - low), 2 * range);
    return past <= range ? low + past : high - (past - range);
}

// The taps of one point on one axis: element positions, -1 for a zero, and weights.
template <int MODE> struct SampleTaps {
    static const int count = MODE == SAMPLE_NEAREST ? 1 : MODE == SAMPLE_LINEAR ? 2 : 4;
    Index at[count];
    double weight[count];
};

// Cubic convolution with a = -0.75 at distance x.
SMELT_DEVICE double sample_cubic(double x) {
    const double a = -0.75;
    x = ::fabs(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : a * (((x - 5) * x + 8) * x - 4);
}

template <int MODE, int PADDING, bool ALIGN_CORNERS> struct Sampler {
    static SMELT_DEVICE Index element(Index extent, double x) {
        const double last = (double)(extent - 1);
        if (x < 0 || x > last) {
            if (PADDING == PADDING_ZEROS) return -1;
            if (PADDING == PADDING_REFLECTION) x = ALIGN_CORNERS ? reflect(x, 0, last) : reflect(x, -0.5, last + 0.5);
            x = ::fmin(::fmax(x, 0.0), last);
        }
        return (Index)x;
    }
    // Where the normalized coordinate lies, after padding. Not a number counts as before everything.
    static SMELT_DEVICE double position(Index size, double coordinate) {
        const double extent = (double)size, limit = 1e9;
        const double low = ALIGN_CORNERS ? 0 : -0.5, high = ALIGN_CORNERS ? extent - 1 : extent - 0.5;
        double x = ALIGN_CORNERS ? (coordinate + 1) / 2 * (extent - 1) : ((coordinate + 1) * extent - 1) / 2;
        if (x != x) x = -limit;
        if (MODE == SAMPLE_NEAREST) x = ::rint(x);
        if (x < low || x > high) {
            if (PADDING == PADDING_BORDER) x = ::fmin(::fmax(x, 0.0), extent - 1);
            if (PADDING == PADDING_REFLECTION) x = reflect(x, low, high);
        }
        return ::fmin(::fmax(x, -limit), extent + limit);
    }
    static SMELT_DEVICE SampleTaps<MODE> taps(Index extent, double coordinate) {
        SampleTaps<MODE> taps;
        const double x = position(extent, coordinate), whole = ::floor(x), part = x - whole;
#pragma unroll
        for (int i = 0; i < SampleTaps<MODE>::count; ++i) {
            const int shift = MODE == SAMPLE_CUBIC ? i - 1 : i;
            taps.at[i] = element(extent, MODE == SAMPLE_NEAREST ? x : whole + shift);
            taps.weight[i] = MODE == SAMPLE_NEAREST  ? 1
                             : MODE == SAMPLE_LINEAR ? (i == 0 ? 1 - part : part)
                                                     : sample_cubic(part - shift);
        }
        return taps;
    }
};

// The sum over the taps of axis D and those behind it.
template <class A, int MODE, int D, int AXES> struct SampleSum {
    template <class T>
    static SMELT_DEVICE A run(const T *x, const Index *extents, const SampleTaps<MODE> *taps, Index base) {
        A sum = A(0);
#pragma unroll
        for (int i = 0; i < SampleTaps<MODE>::count; ++i)
            if (taps[D].at[i] >= 0)
                sum += (A)taps[D].weight[i] *
                       SampleSum<A, MODE, D + 1, AXES>::run(x, extents, taps, base * extents[D] + taps[D].at[i]);
        return sum;
    }
};
template <class A, int MODE, int AXES> struct SampleSum<A, MODE, AXES, AXES> {
    template <class T> static SMELT_DEVICE A run(const T *x, const Index *, const SampleTaps<MODE> *, Index base) {
        return load_as<A>(x, base);
    }
};

template <int AXES> struct Extents { Index at[AXES]; };

// x [batch, channels, extents], grid [batch, points, AXES] with the last axis named first, output [batch, channels, points].
template <class A, class S, int MODE, int AXES, class T, class G, class E>
SMELT_DEVICE void grid_sample(const T *x, const G *grid, const Extents<AXES> &extents, Index batch, Index channels,
                              Index points, S, const E &epilogue) {
    const Index count = batch * channels * points;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, points), point = quotient(plane, channels) * points + i - plane * points;
        SampleTaps<MODE> taps[AXES];
        bool is_empty = false;
#pragma unroll
        for (int axis = 0; axis < AXES; ++axis) {
            taps[axis] = S::taps(extents.at[axis], load_as<double>(grid, point * AXES + AXES - 1 - axis));
            is_empty = is_empty || extents.at[axis] == 0;
        }
        epilogue(i, is_empty ? A(0) : SampleSum<A, MODE, 0, AXES>::run(x, extents.at, taps, plane));
    }
}

// -- AffineGrid --

// theta [batch, AXES, AXES + 1], output [batch, extents, AXES].
template <bool ALIGN_CORNERS, int AXES, class T, class E>
SMELT_DEVICE void affine_grid(const T *theta, const Extents<AXES> &extents, Index count, const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        Index rest = quotient(i, AXES);
        const Index row = i - rest * AXES;
        double at[AXES + 1]; // the last axis first, then a 1
        at[AXES] = 1;
#pragma unroll
        for (int axis = 0; axis < AXES; ++axis) {
            const Index extent = extents.at[AXES - 1 - axis], up = quotient(rest, extent), position = rest - up * extent;
            at[axis] = !ALIGN_CORNERS ? (2 * (double)position + 1) / (double)extent - 1
                       : extent > 1   ? 2 * (double)position / (double)(extent - 1) - 1
                                      : 0;
            rest = up;
        }
        double sum = 0;
#pragma unroll
        for (int col = 0; col <= AXES; ++col)
            sum += at[col] * load_as<double>(theta, (rest * AXES + row) * (AXES + 1) + col);
        epilogue(i, sum);
    }
}

// -- RoiAlign --

// Samples of one bin along one axis: position begin + (i + 0.5) * step, for i in [first, last); the others of `count` are
// outside the input and read 0.
struct RoiSamples {
    double begin, step, count;
    Index extent, first, last;
    // The two elements that sample i lies between, and the weight of the second.
    SMELT_DEVICE void neighbours(Index i, Index at[2], double *part) const {
        const double x = ::fmin(::fmax(begin + ((double)i + 0.5) * step, 0.0), (double)(extent - 1));
        at[0] = (Index)x;
        at[1] = smaller(at[0] + 1, extent - 1);
        *part = x - (double)at[0];
    }
};

SMELT_DEVICE RoiSamples roi_samples(double begin, double bin, int ratio, Index extent) {
    RoiSamples samples = {begin, 0, 0, extent, 0, 0};
    samples.count = ratio > 0 ? (double)ratio : ::fmax(::ceil(bin), 0.0);
    samples.step = samples.count > 0 ? bin / samples.count : 0;
    samples.last = (Index)::fmin(samples.count, 1e9);
    if (samples.step == 0) {
        if (begin < -1 || begin > (double)extent) samples.last = 0;
        return samples;
    }
    const double low = (-1 - begin) / samples.step - 0.5, high = ((double)extent - begin) / samples.step - 0.5;
    samples.first = (Index)::fmin(::fmax(::ceil(::fmin(low, high)), 0.0), samples.count);
    samples.last = (Index)::fmin(::fmax(::floor(::fmax(low, high)) + 1, (double)samples.first), samples.count);
    return samples;
}

struct RoiSizes {
    Index batch, channels, height, width; // of the input
    Index regions, rows, cols;            // bins
    int ratio;
    double scale;
};

// x [batch, channels, height, width], rois [regions, 4]; a region of no batch entry gives zeros. The maximum is that over
// the weighted corners, as the standard has it.
template <class A, bool MAXIMUM, bool HALF_PIXEL, class T, class R, class B, class E>
SMELT_DEVICE void roi_align(const T *x, const R *rois, const B *entries, const RoiSizes &sizes, const E &epilogue) {
    const Index bins = sizes.rows * sizes.cols, count = sizes.regions * sizes.channels * bins;
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index plane = quotient(i, bins), bin = i - plane * bins, region = quotient(plane, sizes.channels);
        const i64 entry = load_as<i64>(entries, region);
        double box[4];
#pragma unroll
        for (int k = 0; k < 4; ++k)
            box[k] = load_as<double>(rois, region * 4 + k) * sizes.scale - (HALF_PIXEL ? 0.5 : 0.0);
        double width = box[2] - box[0], height = box[3] - box[1];
        if (!HALF_PIXEL) {
            width = ::fmax(width, 1.0);
            height = ::fmax(height, 1.0);
        }
        const double step_y = height / (double)sizes.rows, step_x = width / (double)sizes.cols;
        const Index bin_y = quotient(bin, sizes.cols), bin_x = bin - bin_y * sizes.cols;
        const RoiSamples rows = roi_samples(box[1] + (double)bin_y * step_y, step_y, sizes.ratio, sizes.height);
        const RoiSamples cols = roi_samples(box[0] + (double)bin_x * step_x, step_x, sizes.ratio, sizes.width);
        A sum = A(0), most = lowest<A>();
        if (entry < 0 || entry >= sizes.batch || sizes.height == 0 || sizes.width == 0) {
            epilogue(i, A(0));
            continue;
        }
        const Index base = ((Index)entry * sizes.channels + plane - region * sizes.channels) * sizes.height;
        for (Index r = rows.first; r < rows.last; ++r)
            for (Index c = cols.first; c < cols.last; ++c) {
                Index at_y[2], at_x[2];
                double part_y, part_x;
                rows.neighbours(r, at_y, &part_y);
                cols.neighbours(c, at_x, &part_x);
#pragma unroll
                for (int corner = 0; corner < 4; ++corner) {
                    const double weight = (corner < 2 ? 1 - part_y : part_y) * (corner % 2 == 0 ? 1 - part_x : part_x);
                    const A value = (A)weight * load_as<A>(x, (base + at_y[corner / 2]) * sizes.width + at_x[corner % 2]);
                    sum += value;
                    most = larger(most, value);
                }
            }
        const double all = rows.count * cols.count;
        const double within = (double)(rows.last - rows.first) * (double)(cols.last - cols.first);
        if (MAXIMUM)
            epilogue(i, within < all || within == 0 ? larger(most, A(0)) : most);
        else
            epilogue(i, sum / (A)::fmax(all, 1.0));
    }
}

} // namespace smelt

#endif
