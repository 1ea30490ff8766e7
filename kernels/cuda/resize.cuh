// Resize: every output element blends the input elements that its position reads, axis by axis. ops/resize_table.c has
// the same formulas.
#ifndef SMELT_RESIZE_CUH
#define SMELT_RESIZE_CUH

#include "smelt/core.cuh"

namespace smelt {

enum { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC };
enum {
    RESIZE_HALF_PIXEL,
    RESIZE_HALF_PIXEL_SYMMETRIC,
    RESIZE_PYTORCH_HALF_PIXEL,
    RESIZE_ALIGN_CORNERS,
    RESIZE_ASYMMETRIC,
    RESIZE_TF_HALF_PIXEL_FOR_NN,
    RESIZE_TF_CROP
};
enum { RESIZE_ROUND_PREFER_FLOOR, RESIZE_ROUND_PREFER_CEIL, RESIZE_FLOOR, RESIZE_CEIL };

// One axis; keeps: output position i is input position i. stride: of the input, in memory.
struct ResizeAxis {
    Index in, out, stride;
    bool keeps;
    double scale, begin, end; // out / in as asked for; the region of interest
};

template <int MODE, int COORDINATES, int ROUNDING, bool ANTIALIAS, bool EXCLUDE_OUTSIDE> struct ResizeRule {
    double cubic_a;

    // Where an output position lies in the input.
    SMELT_DEVICE double source(const ResizeAxis &axis, Index position) const {
        const double in = (double)axis.in, out = (double)axis.out, scale = axis.scale, x = (double)position;
        switch (COORDINATES) {
        case RESIZE_HALF_PIXEL: return (x + 0.5) / scale - 0.5;
        case RESIZE_HALF_PIXEL_SYMMETRIC: return in / 2 * (1 - out / (scale * in)) + (x + 0.5) / scale - 0.5;
        case RESIZE_PYTORCH_HALF_PIXEL: return axis.out > 1 ? (x + 0.5) / scale - 0.5 : 0;
        case RESIZE_ALIGN_CORNERS: return axis.out > 1 ? x * (in - 1) / (scale * in - 1) : 0;
        case RESIZE_ASYMMETRIC: return x / scale;
        case RESIZE_TF_HALF_PIXEL_FOR_NN: return (x + 0.5) / scale;
        default:
            if (axis.out == 1) return 0.5 * (axis.begin + axis.end) * (in - 1);
            return axis.begin * (in - 1) + x * (axis.end - axis.begin) * (in - 1) / (out - 1);
        }
    }

    // -- nearest --

    // In single precision where the host has it so: what lies at exact halves decides.
    SMELT_DEVICE double source_for_nearest(const ResizeAxis &axis, Index position) const {
        const float x = (float)position, scale = (float)axis.scale;
        if (COORDINATES == RESIZE_HALF_PIXEL) return (double)__fsub_rn(__fdiv_rn(x + 0.5f, scale), 0.5f);
        if (COORDINATES == RESIZE_ASYMMETRIC) return (double)__fdiv_rn(x, scale);
        return source(axis, position);
    }
    // -1: outside of the input.
    SMELT_DEVICE Index nearest(const ResizeAxis &axis, Index position) const {
        const double at = source_for_nearest(axis, position), last = (double)(axis.in - 1);
        if (COORDINATES == RESIZE_TF_CROP && (at < 0 || at > last)) return -1;
        const double whole = ROUNDING == RESIZE_ROUND_PREFER_FLOOR  ? ::ceil(at - 0.5)
                             : ROUNDING == RESIZE_ROUND_PREFER_CEIL ? ::floor(at + 0.5)
                             : ROUNDING == RESIZE_FLOOR             ? ::floor(at)
                                                                    : ::ceil(at);
        return (Index)::fmin(::fmax(whole, 0.0), last);
    }

    // -- filters --

    SMELT_DEVICE double narrowing(const ResizeAxis &axis) const { return ANTIALIAS ? ::fmin(axis.scale, 1.0) : 1.0; }
    // Taps on each side.
    SMELT_DEVICE Index reach(const ResizeAxis &axis) const {
        const int radius = MODE == RESIZE_CUBIC ? 2 : 1;
        return !ANTIALIAS || axis.scale >= 1 ? radius : (Index)-::floor(-radius / axis.scale);
    }
    SMELT_DEVICE double filter(double x) const {
        x = ::fabs(x);
        if (MODE == RESIZE_LINEAR) return ::fmax(1 - x, 0.0);
        if (x <= 1) return ((cubic_a + 2) * x - (cubic_a + 3)) * x * x + 1;
        return x < 2 ? cubic_a * (((x - 5) * x + 8) * x - 4) : 0;
    }
};

// The taps [first, first + count) of one output position on one axis.
struct ResizeTaps {
    Index first, count, last; // last: of the input
    double at, narrowing, inverse; // inverse of the sum of weights
    bool is_outside;
};

template <class Rule> SMELT_DEVICE double tap_weight(const Rule &rule, const ResizeTaps &taps, Index i) {
    return rule.filter(((double)i - taps.at) * taps.narrowing);
}

template <class Rule, bool EXCLUDE_OUTSIDE>
SMELT_DEVICE ResizeTaps resize_taps(const Rule &rule, const ResizeAxis &axis, Index position, bool crops) {
    ResizeTaps taps;
    taps.at = rule.source(axis, position);
    taps.last = axis.in - 1;
    taps.narrowing = rule.narrowing(axis);
    taps.is_outside = crops && !(taps.at >= 0 && taps.at <= (double)taps.last);
    const Index side = rule.reach(axis);
    const double limit = 1e9; // far outside everything is the last element
    taps.first = (Index)::fmin(::fmax(::ceil(taps.at), -limit), limit) - side;
    taps.count = 2 * side;
    double sum = 0;
    for (Index i = taps.first; i < taps.first + taps.count; ++i)
        if (!EXCLUDE_OUTSIDE || (i >= 0 && i <= taps.last)) sum += tap_weight(rule, taps, i);
    taps.inverse = sum != 0 ? 1 / sum : 1;
    return taps;
}

// Blends along axis D and those behind it; base: where the axes before it put us.
template <class A, bool EXCLUDE_OUTSIDE, int D, int RANK> struct Blend {
    template <class Rule, class T>
    static SMELT_DEVICE A run(const Rule &rule, const ResizeAxis *axes, const ResizeTaps *taps, const T *x, Index base) {
        typedef Blend<A, EXCLUDE_OUTSIDE, D + 1, RANK> Rest;
        if (axes[D].keeps) return Rest::run(rule, axes, taps, x, base + taps[D].first * axes[D].stride);
        A sum = 0;
        for (Index i = taps[D].first; i < taps[D].first + taps[D].count; ++i) {
            if (EXCLUDE_OUTSIDE && (i < 0 || i > taps[D].last)) continue;
            const A weight = (A)(tap_weight(rule, taps[D], i) * taps[D].inverse);
            const Index at = smaller(larger(i, (Index)0), taps[D].last);
            if (weight != 0) sum += weight * Rest::run(rule, axes, taps, x, base + at * axes[D].stride);
        }
        return sum;
    }
};
template <class A, bool EXCLUDE_OUTSIDE, int RANK> struct Blend<A, EXCLUDE_OUTSIDE, RANK, RANK> {
    template <class Rule, class T>
    static SMELT_DEVICE A run(const Rule &, const ResizeAxis *, const ResizeTaps *, const T *x, Index base) {
        return load_as<A>(x, base);
    }
};

template <int RANK> struct ResizeAxes { ResizeAxis axis[RANK]; };

// Where element number i is read; -1: outside.
template <int RANK, class Rule> SMELT_DEVICE Index nearest_place(const Rule &rule, const ResizeAxes<RANK> &axes, Index i) {
    Index from = 0;
    bool is_outside = false;
#pragma unroll
    for (int d = RANK - 1; d >= 0; --d) {
        const ResizeAxis &axis = axes.axis[d];
        const Index up = quotient(i, axis.out), position = i - up * axis.out;
        const Index at = axis.keeps ? position : rule.nearest(axis, position);
        is_outside = is_outside || at < 0;
        from += at * axis.stride;
        i = up;
    }
    return is_outside ? -1 : from;
}

template <int RANK, class Rule, class T, class V, class E>
SMELT_DEVICE void resize_nearest(const Rule &rule, const ResizeAxes<RANK> &axes, const T *x, Index count, V extrapolation,
                                 const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        const Index from = nearest_place(rule, axes, i);
        if (from < 0)
            epilogue(i, convert<Register<T>>(extrapolation));
        else
            epilogue(i, fetch(x[from]));
    }
}

// A: what is blended in. Outside of the region `out` stays as it is.
template <class A, int RANK, int MODE, int COORDINATES, int ROUNDING, bool ANTIALIAS, bool EXCLUDE_OUTSIDE, class T>
SMELT_DEVICE void blend_at(const ResizeRule<MODE, COORDINATES, ROUNDING, ANTIALIAS, EXCLUDE_OUTSIDE> &rule,
                           const ResizeAxes<RANK> &axes, const T *x, Index i, A &out) {
    typedef ResizeRule<MODE, COORDINATES, ROUNDING, ANTIALIAS, EXCLUDE_OUTSIDE> Rule;
    ResizeTaps taps[RANK];
    bool is_outside = false;
#pragma unroll
    for (int d = RANK - 1; d >= 0; --d) {
        const ResizeAxis &axis = axes.axis[d];
        const Index up = quotient(i, axis.out), position = i - up * axis.out;
        if (axis.keeps) {
            taps[d].first = position;
            taps[d].is_outside = false;
        } else {
            taps[d] = resize_taps<Rule, EXCLUDE_OUTSIDE>(rule, axis, position, COORDINATES == RESIZE_TF_CROP);
        }
        is_outside = is_outside || taps[d].is_outside;
        i = up;
    }
    if (!is_outside) out = Blend<A, EXCLUDE_OUTSIDE, 0, RANK>::run(rule, axes.axis, taps, x, 0);
}

// Integers are cut off.
template <class A, int RANK, class Rule, class T, class E>
SMELT_DEVICE void resize_blended(const Rule &rule, const ResizeAxes<RANK> &axes, const T *x, Index count, A extrapolation,
                                 const E &epilogue) {
    for (Index i = thread_index(); i < count; i += thread_count()) {
        A value = extrapolation;
        blend_at(rule, axes, x, i, value);
        epilogue(i, value);
    }
}

static const int RESIZE_THREADS = 256, RESIZE_PLACES = 128;

// Where a place of the result is read: along each of the axes that are resized so many places, with their weights.
template <int TAPS, int SCALED> struct ResizePlace {
    Index base, at[SCALED][TAPS];
    float weight[SCALED][TAPS];
    bool is_outside;
};

// place: counts those of all axes but the last, along which packs lie.
template <int TAPS, int SCALED, int MODE, int COORDINATES, int ROUNDING, bool EXCLUDE_OUTSIDE, int RANK>
SMELT_DEVICE void find_place(const ResizeRule<MODE, COORDINATES, ROUNDING, false, EXCLUDE_OUTSIDE> &rule, const ResizeAxes<RANK> &axes, Index place,
                             ResizePlace<TAPS, SCALED> &out) {
    typedef ResizeRule<MODE, COORDINATES, ROUNDING, false, EXCLUDE_OUTSIDE> Rule;
    int n = SCALED;
    out.base = 0;
    out.is_outside = false;
#pragma unroll
    for (int d = RANK - 2; d >= 0; --d) {
        const ResizeAxis &axis = axes.axis[d];
        const Index up = quotient(place, axis.out), position = place - up * axis.out;
        place = up;
        if (axis.keeps) {
            out.base += position * axis.stride;
            continue;
        }
        --n;
        if constexpr (TAPS == 1) {
            const Index at = rule.nearest(axis, position);
            out.is_outside = out.is_outside || at < 0;
            out.at[n][0] = at * axis.stride;
        } else {
            const ResizeTaps taps = resize_taps<Rule, EXCLUDE_OUTSIDE>(rule, axis, position, COORDINATES == RESIZE_TF_CROP);
            out.is_outside = out.is_outside || taps.is_outside;
#pragma unroll
            for (int t = 0; t < TAPS; ++t) {
                const Index i = taps.first + t;
                const bool counts = !EXCLUDE_OUTSIDE || (i >= 0 && i <= taps.last);
                out.at[n][t] = smaller(larger(i, (Index)0), taps.last) * axis.stride;
                out.weight[n][t] = counts ? (float)(tap_weight(rule, taps, i) * taps.inverse) : 0.0f;
            }
        }
    }
}

// Blends packs along axis D of the resized ones and those behind it; what has no weight is not read.
template <int D, int TAPS, int SCALED, class T, int LANES>
SMELT_DEVICE void blend_packs(const ResizePlace<TAPS, SCALED> &place, const T *x, Index from, bool counts, float (&out)[LANES]) {
    if constexpr (D == SCALED) {
        const Pack<T, LANES> v = load_pack_if<LANES>(counts, x, from);
#pragma unroll
        for (int l = 0; l < LANES; ++l) out[l] = (float)fetch(v.at[l]);
    } else if constexpr (TAPS == 1) {
        blend_packs<D + 1>(place, x, from + place.at[D][0], counts, out);
    } else {
        float part[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) out[l] = 0;
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            const float weight = place.weight[D][t];
            blend_packs<D + 1>(place, x, from + place.at[D][t], counts && weight != 0, part);
#pragma unroll
            for (int l = 0; l < LANES; ++l) out[l] += weight * part[l];
        }
    }
}

// Nearest or blended, LANES neighbouring elements at a time, whose places differ along the last axis only, which keeps its extent;
// without antialiasing. A block finds out first where it reads. TAPS: places of a filter; SCALED: axes that are resized.
template <int LANES, int TAPS, int SCALED, int RANK, class Rule, class T, class E>
SMELT_DEVICE void resize_places(const Rule &rule, const ResizeAxes<RANK> &axes, const T *x, Index places, float extrapolation,
                                const E &epilogue) {
    __shared__ ResizePlace<TAPS, SCALED> own[RESIZE_PLACES];
    const Index packs = axes.axis[RANK - 1].out / LANES;
    for (Index first = (Index)blockIdx.x * RESIZE_PLACES; first < places; first += (Index)gridDim.x * RESIZE_PLACES) {
        const Index there = smaller(places - first, (Index)RESIZE_PLACES);
        __syncthreads();
        if ((int)threadIdx.x < there) find_place(rule, axes, first + (int)threadIdx.x, own[threadIdx.x]);
        __syncthreads();
        for (Index e = (int)threadIdx.x; e < there * packs; e += RESIZE_THREADS) {
            const Index place = quotient(e, packs), number = (first * packs + e) * LANES;
            float value[LANES];
            typename E::Operands operands;
            epilogue.read(number, operands);
            if (own[place].is_outside)
#pragma unroll
                for (int l = 0; l < LANES; ++l) value[l] = extrapolation;
            else
                blend_packs<0>(own[place], x, own[place].base + (e - place * packs) * LANES, true, value);
            epilogue.write(number, value, operands);
        }
    }
}

} // namespace smelt

#endif
