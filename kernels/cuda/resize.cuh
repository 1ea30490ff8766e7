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
    template <class A> SMELT_DEVICE A filter(A x) const {
        const A a = (A)cubic_a;
        x = x < 0 ? -x : x;
        if (MODE == RESIZE_LINEAR) return x < 1 ? 1 - x : 0;
        if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
        return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
    }
    // Of the TAPS places from `place` on, for what lies between the middle two, `part` behind the first of these. Of two places one
    // is inside, and what is read for the other is that one, too: none need be left out.
    template <int TAPS> SMELT_DEVICE void weights(float (&out)[TAPS], float part, Index place, Index in) const {
        float sum = 0;
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            out[t] = TAPS == 1 ? 1 : MODE == RESIZE_LINEAR ? (t == 0 ? 1 - part : part) : filter((float)(t + 1 - TAPS / 2) - part);
            if (EXCLUDE_OUTSIDE && TAPS > 2 && (place + t < 0 || place + t >= in)) out[t] = 0;
            sum += out[t];
        }
#pragma unroll
        for (int t = 0; t < TAPS && EXCLUDE_OUTSIDE && TAPS > 2; ++t) out[t] = sum != 0 ? out[t] / sum : 0;
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

// -- tiles --

static const int RESIZE_FRACTION = 40;
static const int RESIZE_WEIGHT_BITS = 24; // that positions between places are rounded to
static const int RESIZE_AHEAD = 12;       // packs that a thread reads at a time, at most, unless a line has more

// An axis of which threads take tiles, which begin at multiples of their width less shift. pitch: from one position to the next
// in the results' numbers. Output position p lies at start + p * step in the input, in units of 2^-RESIZE_FRACTION; negative
// step: where the rule says.
struct ResizeLine {
    ResizeAxis axis;
    Index pitch, shift;
    i64 start, step;
};
template <int RANK> struct ResizeLines { ResizeLine at[RANK]; };

// The places of the input that WIDTH neighbours of an axis read, TAPS_ each. STEP: that of the axis; PHASE: how far tiles begin
// behind a place of the input, -1 where that differs. One place is that at or before a position.
template <int TAPS_, int WIDTH_, i64 STEP, i64 PHASE> struct ResizeTile {
    static const int TAPS = TAPS_, WIDTH = WIDTH_;
    // Whether a neighbour may begin one place behind what first() says.
    static const int EXTRA = WIDTH > 1 && PHASE < 0 && (STEP & ((1ll << RESIZE_FRACTION) - 1)) != 0 ? 1 : 0;
    // The place, counted from the tile's first, that neighbour number i begins with.
    static SMELT_DEVICE constexpr int first(int i) { return (int)(((PHASE < 0 ? 0 : PHASE) + i * STEP) >> RESIZE_FRACTION); }
    static const int READS = TAPS + EXTRA;
    // Whether every place has a weight that is not 0, or one that is known when this is compiled.
    static const bool SURE = PHASE >= 0 || (TAPS == 2 && WIDTH == 1);
    static const int PLACES = (int)(((PHASE < 0 ? 0 : PHASE) + (WIDTH - 1) * STEP) >> RESIZE_FRACTION) + READS;

    Index begin;               // position of the first neighbour
    Index at[PLACES];          // in the input's memory
    float weight[WIDTH][TAPS]; // of the places from first(i) on,
    bool later[WIDTH];         // or from the one behind it

    ResizeTile() = default;
    template <class Rule> SMELT_DEVICE ResizeTile(const Rule &rule, const ResizeLine &line, Index number) {
        const ResizeAxis &axis = line.axis;
        const i64 unit = 1ll << RESIZE_FRACTION, half = TAPS > 1 ? 1ll << (RESIZE_FRACTION - RESIZE_WEIGHT_BITS - 1) : 0;
        i64 part = 0; // between the place before the first neighbour and the one behind it
        Index place = 0;
        begin = number * WIDTH - line.shift;
        if (line.step < 0 && TAPS == 1) { // each has a place of its own
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) at[i] = rule.nearest(axis, smaller(begin + i, axis.out - 1)) * axis.stride;
            return;
        }
        if (line.step < 0) {
            const double at = rule.source(axis, begin), whole = ::floor(at);
            part = (i64)((at - whole) * (double)unit) + half;
            place = (Index)whole + (part >= unit);
            part &= unit - 1;
        } else if (PHASE < 0) {
            const i64 from = line.start + (i64)begin * line.step + half;
            place = (Index)(from >> RESIZE_FRACTION);
            part = from & (unit - 1);
        } else {
            place = (Index)((line.start - line.shift * STEP) >> RESIZE_FRACTION) + number * (Index)(WIDTH * STEP >> RESIZE_FRACTION);
            part = PHASE;
        }
        if (TAPS > 1) place += 1 - TAPS / 2;
#pragma unroll
        for (int p = 0; p < PLACES; ++p) at[p] = smaller(larger(place + p, (Index)0), axis.in - 1) * axis.stride;
#pragma unroll
        for (int i = 0; i < WIDTH; ++i) {
            const i64 own = part + i * STEP;
            later[i] = EXTRA && (int)(own >> RESIZE_FRACTION) > first(i);
            const u32 behind = (u32)((u64)own >> (RESIZE_FRACTION - RESIZE_WEIGHT_BITS)) & ((1u << RESIZE_WEIGHT_BITS) - 1);
            rule.weights(weight[i], (float)behind / (1u << RESIZE_WEIGHT_BITS), place + first(i) + (later[i] ? 1 : 0), axis.in);
        }
        if (SURE && PHASE < 0 && weight[0][TAPS - 1] == 0) { // half of the same twice
            at[TAPS - 1] = at[0];
            weight[0][0] = weight[0][TAPS - 1] = 0.5f;
        }
    }
    SMELT_DEVICE bool has(int i, Index out) const { return begin + i >= 0 && begin + i < out; }
};
// One position of an axis.
template <int TAPS> using ResizePoint = ResizeTile<TAPS, 1, 0, -1>;

// What has no weight may be no number.
SMELT_DEVICE void add_weighted(float &sum, float weight, float x) {
#ifdef SMELT_ON_HOST
    if (weight != 0) sum += weight * x;
#else
    asm("{\n\t.reg .pred counts;\n\tsetp.neu.f32 counts, %1, 0f00000000;\n\t@counts fma.rn.f32 %0, %1, %2, %0;\n\t}" : "+f"(sum) : "f"(weight), "f"(x));
#endif
}
// SURE: that a weight is 0 is known when this is compiled. The first of two never is.
template <bool SURE, int READS, int LANES, class At>
SMELT_DEVICE void blend_taps(const float (&weight)[READS], const At &at, float (&out)[LANES]) {
#pragma unroll
    for (int t = 0; t < READS; ++t) {
        const float(&x)[LANES] = at(t);
#pragma unroll
        for (int l = 0; l < LANES; ++l) {
            if (t == 0 && READS <= 2) {
                out[l] = READS == 1 ? x[l] : weight[t] * x[l];
                continue;
            }
            if (t == 0) out[l] = 0;
            if (!SURE) add_weighted(out[l], weight[t], x[l]);
            else if (weight[t] != 0) out[l] += weight[t] * x[l];
        }
    }
}

// The places of a tile, vectors of LANES, for its neighbour number i. UNIFORM: the threads of a warp mostly have the same tile.
template <bool UNIFORM, class Tile, int LANES, class At>
SMELT_DEVICE void blend_neighbour(const Tile &tile, int i, const At &at, float (&out)[LANES]) {
    const int first = Tile::first(i);
    if constexpr (Tile::EXTRA == 0) {
        blend_taps<Tile::SURE>(tile.weight[i], [&](int t) -> const float(&)[LANES] { return at(first + t); }, out);
    } else if constexpr (UNIFORM || Tile::TAPS == 1) {
        if (tile.later[i])
            blend_taps<false>(tile.weight[i], [&](int t) -> const float(&)[LANES] { return at(first + 1 + t); }, out);
        else
            blend_taps<false>(tile.weight[i], [&](int t) -> const float(&)[LANES] { return at(first + t); }, out);
    } else {
        float weight[Tile::READS];
#pragma unroll
        for (int t = 0; t < Tile::READS; ++t) {
            const float early = t < Tile::TAPS ? tile.weight[i][t % Tile::TAPS] : 0.0f;
            weight[t] = !tile.later[i] ? early : t > 0 ? tile.weight[i][(t + Tile::TAPS - 1) % Tile::TAPS] : 0.0f;
        }
        blend_taps<false>(weight, [&](int t) -> const float(&)[LANES] { return at(first + t); }, out);
    }
}

constexpr SMELT_DEVICE int power(int base, int exponent) { return exponent == 0 ? 1 : base * power(base, exponent - 1); }

// Blends packs, from number `first` on, that lie side by side along the axes from D on.
template <int D, int OTHERS, int TAPS, class T, int LANES, int PACKS>
SMELT_DEVICE void blend_others(const ResizePoint<TAPS> (&others)[OTHERS + 1], const Pack<T, LANES> (&packs)[PACKS], int first, float (&out)[LANES]) {
    if constexpr (D == OTHERS) {
#pragma unroll
        for (int l = 0; l < LANES; ++l) out[l] = (float)fetch(packs[first].at[l]);
    } else {
        float part[TAPS][LANES];
#pragma unroll
        for (int t = 0; t < TAPS; ++t) blend_others<D + 1, OTHERS, TAPS>(others, packs, first * TAPS + t, part[t]);
        blend_taps<ResizePoint<TAPS>::SURE>(others[D].weight[0], [&](int t) -> const float(&)[LANES] { return part[t]; }, out);
    }
}

// A thread has a tile of Down x Across results, LANES neighbours each. Its lines: those that keep their extent, that of Down,
// OTHERS that are resized, that of Across, and the one that packs lie along. GROUP tiles stand side by side before threads go on
// along the other axes. Results are stored as packs of LANES, or (WHOLE) of all that are across, or one by one.
template <class Across, class Down, int OTHERS, int GROUP, int LANES, bool WHOLE> struct ResizeTiles {
    static const int TAPS = Across::TAPS, WIDTH = Across::WIDTH, EACH = power(TAPS, OTHERS); // packs at a place
    static const int WANTED = RESIZE_AHEAD / (EACH * Across::PLACES), AHEAD = WANTED < 1 ? 1 : WANTED < Down::PLACES ? WANTED : Down::PLACES; // lines
    typedef ResizePoint<TAPS> Others[OTHERS + 1];

    // Where a thread is.
    struct Place {
        Across across;
        Down down;
        Others others;
        Index from, number; // in memory, but for the axes that are resized; of the first result
        bool is_there;
        template <int RANK, class Rule> SMELT_DEVICE void find(const Rule &rule, const ResizeLines<RANK> &lines, Index rest) {
            const ResizeLine &wide = lines.at[RANK - 2], &high = lines.at[RANK - 3 - OTHERS];
            const Index strips = ceil_div(wide.axis.out + wide.shift, (Index)WIDTH);
            number = next_digit(rest, lines.at[RANK - 1].axis.out / LANES) * LANES;
            from = number * lines.at[RANK - 1].axis.stride;
            Index strip = next_digit(rest, GROUP);
#pragma unroll
            for (int d = 0; d < OTHERS; ++d) {
                const ResizeLine &line = lines.at[RANK - 3 - d];
                others[d] = ResizePoint<TAPS>(rule, line, next_digit(rest, line.axis.out));
                number += others[d].begin * line.pitch;
            }
            down = Down(rule, high, next_digit(rest, ceil_div(high.axis.out + high.shift, (Index)Down::WIDTH)));
            strip += next_digit(rest, ceil_div(strips, (Index)GROUP)) * GROUP;
            across = Across(rule, wide, strip);
#pragma unroll
            for (int d = RANK - 4 - OTHERS; d >= 0; --d) {
                const Index position = next_digit(rest, lines.at[d].axis.out);
                number += position * lines.at[d].pitch;
                from += position * lines.at[d].axis.stride;
            }
            number += down.begin * high.pitch + across.begin * wide.pitch;
            is_there = strip < strips;
        }
    };

    template <class E>
    static SMELT_DEVICE void put(const ResizeLine &line, const Across &across, Index number, const float (&value)[WIDTH][LANES],
                                 const E &epilogue) {
        if constexpr (WHOLE) {
            float all[WIDTH];
            typename E::Operands operands;
            epilogue.read(number, operands);
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) all[i] = value[i][0];
            epilogue.write(number, all, operands);
        } else {
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) {
                if (!across.has(i, line.axis.out)) continue;
                if constexpr (LANES > 1) {
                    typename E::Operands operands;
                    epilogue.read(number + i * line.pitch, operands);
                    epilogue.write(number + i * line.pitch, value[i], operands);
                } else {
                    epilogue(number + i * line.pitch, value[i][0]);
                }
            }
        }
    }

    template <class T> struct Line { Pack<T, LANES> at[Across::PLACES][EACH]; };
    template <class T> static SMELT_DEVICE void read_line(const Place &own, const T *x, int r, Line<T> &out) {
#pragma unroll
        for (int p = 0; p < Across::PLACES; ++p)
#pragma unroll
            for (int e = 0; e < EACH; ++e) {
                Index from = own.from + own.down.at[r] + own.across.at[p];
                int rest = e;
#pragma unroll
                for (int d = OTHERS - 1; d >= 0; --d, rest /= TAPS) from += own.others[d].at[rest % TAPS];
                out.at[p][e] = EarlyLoads::pack<LANES>(x, from);
            }
    }

    // Goes down the lines of the input that the tile reads; a line of results is stored when its last one is there.
    template <class T, class E>
    static SMELT_DEVICE void blend(const ResizeLine &wide, const ResizeLine &high, const Place &own, const T *x, const E &epilogue) {
        float line[Down::PLACES][WIDTH][LANES];
        Line<T> ahead[AHEAD];
#pragma unroll
        for (int r = 0; r < AHEAD; ++r) read_line(own, x, r, ahead[r]);
#pragma unroll
        for (int r = 0; r < Down::PLACES; ++r) {
            float place[Across::PLACES][LANES];
#pragma unroll
            for (int p = 0; p < Across::PLACES; ++p)
                blend_others<0, OTHERS, TAPS>(own.others, ahead[r % AHEAD].at[p], 0, place[p]);
            if (r + AHEAD < Down::PLACES) read_line(own, x, r + AHEAD, ahead[r % AHEAD]);
#pragma unroll
            for (int i = 0; i < WIDTH; ++i)
                blend_neighbour<false>(own.across, i, [&](int p) -> const float(&)[LANES] { return place[p]; }, line[r][i]);
#pragma unroll
            for (int i = 0; i < Down::WIDTH; ++i) {
                if (Down::first(i) + Down::READS - 1 != r || !own.down.has(i, high.axis.out)) continue;
                float value[WIDTH][LANES];
#pragma unroll
                for (int k = 0; k < WIDTH; ++k)
                    blend_neighbour<true>(own.down, i, [&](int p) -> const float(&)[LANES] { return line[p][k]; }, value[k]);
                put(wide, own.across, own.number + i * high.pitch, value, epilogue);
            }
        }
    }

    // count: of threads' tiles.
    template <int RANK, class Rule, class T, class E>
    static SMELT_DEVICE void run(const Rule &rule, const ResizeLines<RANK> &lines, const T *x, Index count, const E &epilogue) {
        Place own;
        Index e = thread_index();
        own.find(rule, lines, e);
        wait_for_previous_kernel();
        while (e < count) {
            if (own.is_there) blend(lines.at[RANK - 2], lines.at[RANK - 3 - OTHERS], own, x, epilogue);
            e += thread_count();
            if (e < count) own.find(rule, lines, e);
        }
    }
};

} // namespace smelt

#endif
