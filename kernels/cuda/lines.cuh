// Normalisations and reductions of rows that lie in memory element behind element, each in the registers of its team (LineTeam): memory is
// read and written once, in packs.
//
// X and E are what kernel_pack_prologue and kernel_pack_epilogue generate, Slices as in reduce.cuh. packs: those of a row.
#ifndef SMELT_LINES_CUH
#define SMELT_LINES_CUH

#include "smelt/pointwise.cuh"
#include "smelt/reduce.cuh"

namespace smelt {

// What a thread has of a row: pack p is the row's pack number lane + p * size.
template <class Team, int PACKS, int LANES> struct Line {
    float x[PACKS][LANES];

    static SMELT_DEVICE int pack(int p) { return Team::lane() + p * Team::size; }

    template <class X> SMELT_DEVICE void read(const X &from, Index first, int packs) {
        typename X::Operands operands[PACKS];
#pragma unroll
        for (int p = 0; p < PACKS; ++p)
            if (pack(p) < packs) from.read(first + pack(p) * LANES, operands[p]);
#pragma unroll
        for (int p = 0; p < PACKS; ++p)
            if (pack(p) < packs) from.value(first + pack(p) * LANES, operands[p], x[p]);
    }

    // value(p, l) of the thread's elements, merged; those next to each other in tree order.
    template <class Merge, class A, class Value> static SMELT_DEVICE A merged(int packs, const Value &value) {
        A part[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) part[l] = pack(0) < packs ? (A)value(0, l) : Merge::template start<A>();
#pragma unroll
        for (int p = 1; p < PACKS; ++p)
#pragma unroll
            for (int l = 0; l < LANES; ++l)
                if (pack(p) < packs) part[l] = Merge::merge(part[l], value(p, l));
#pragma unroll
        for (int half = LANES / 2; half > 0; half /= 2)
#pragma unroll
            for (int l = 0; l < half; ++l) part[l] = Merge::merge(part[l], part[l + half]);
        return part[0];
    }

    // Gives value(p, l) to the epilogue, whose reads are made by then; begin(p) comes in front of those of a pack.
    template <class E, class Begin, class Value>
    SMELT_DEVICE void write(const E &epilogue, const typename E::Operands (&operands)[PACKS], Index first, int packs, const Begin &begin,
                            const Value &value) const {
#pragma unroll
        for (int p = 0; p < PACKS; ++p) {
            if (pack(p) >= packs) continue;
            begin(p);
            float y[LANES];
#pragma unroll
            for (int l = 0; l < LANES; ++l) y[l] = value(p, l);
            epilogue.write(first + pack(p) * LANES, y, operands[p]);
        }
    }

    template <class E> static SMELT_DEVICE void read_behind(const E &epilogue, typename E::Operands (&to)[PACKS], Index first, int packs) {
#pragma unroll
        for (int p = 0; p < PACKS; ++p)
            if (pack(p) < packs) epilogue.read(first + pack(p) * LANES, to[p]);
    }
};

struct Apart { float sum, squares; };
SMELT_DEVICE Apart add(const Apart &a, const Apart &b) { return Apart{a.sum + b.sum, a.squares + b.squares}; }
SMELT_DEVICE Apart shuffled(const Apart &a, int mask) { return Apart{shuffled(a.sum, mask), shuffled(a.squares, mask)}; }
struct SumApart {
    template <class A> static SMELT_DEVICE A start() { return A{0.0f, 0.0f}; }
    template <class A> static SMELT_DEVICE A merge(const A &a, const A &b) { return add(a, b); }
};

// Finish, generated:
//     struct Parameters                                        of a pack
//     void read(Index k, Parameters &p) const                  of the elements from number k of a row on; may come before the
//                                                              kernel in front has ended
//     V inverse(V variance) const                              what deviations are multiplied with
//     float value(const Parameters &p, int l, float normalized) const
//     void statistics(Index row, double mean, double inverse) const
// NEAR: deviations are at first from what a pack of the row has on average, which saves finding the mean beforehand and loses a few bits
// of float at most. LATE: read() comes where a pack is finished, as is better where blocks follow one another: its registers are free till then.
template <class Team, int PACKS, bool LATE, bool CENTERED, bool NEAR, class X, class S, class Finish, class E>
SMELT_DEVICE void moment_lines(const X &x, const S &slices, Index rows, int packs, const Finish &finish, const E &epilogue) {
    const int LANES = E::lanes;
    typedef Line<Team, PACKS, LANES> Row;
    typename Finish::Parameters parameters[PACKS];
#pragma unroll
    for (int p = 0; p < PACKS; ++p)
        if (!LATE && Row::pack(p) < packs) finish.read(Row::pack(p) * LANES, parameters[p]);
    wait_for_previous_kernel();
    const float part = 1.0f / (float)(packs * LANES);
    for (Index number = Team::first(); Team::goes_on(number, rows); number += Team::step()) {
        const Index to = slices.row(number);
        const int own = Team::packs_of(number, rows, packs);
        Row row;
        typename E::Operands operands[PACKS];
        row.read(x, slices.base(number), own);
        Row::read_behind(epilogue, operands, to, own);
        float mean = 0.0f;
        if constexpr (NEAR)
            mean = Team::of_first(1.0f / LANES * Row::template merged<Sum, float>(smaller(own, 1), [&](int p, int l) { return row.x[p][l]; }));
        else if (CENTERED)
            mean = part * Team::template all<Sum>(Row::template merged<Sum, float>(own, [&](int p, int l) { return row.x[p][l]; }));
        // The mean's rounding is taken off as well: elements near a large mean lose nothing to it.
        const Apart apart = Team::template all<SumApart>(Row::template merged<SumApart, Apart>(own, [&](int p, int l) {
            const float d = row.x[p][l] - mean;
            return Apart{d, d * d};
        }));
        const float low = CENTERED ? apart.sum * part : 0.0f;
        const float inverse = finish.inverse(larger(apart.squares * part - low * low, 0.0f));
        if (Team::lane() == 0 && own > 0) finish.statistics(number, (double)mean + (double)low, (double)inverse);
        const auto begin = [&](int p) {
            if (LATE) finish.read(Row::pack(p) * LANES, parameters[p]);
        };
        const float shift = low * inverse;
        row.write(epilogue, operands, to, own, begin, [&](int p, int l) {
            return finish.value(parameters[p], l, (row.x[p][l] - mean) * inverse - shift);
        });
    }
}

// QUICK: results are stored in 16 bits.
template <class Team, int PACKS, bool LOGARITHM, bool QUICK, class X, class S, class E>
SMELT_DEVICE void softmax_lines(const X &x, const S &slices, Index rows, int packs, const E &epilogue) {
    typedef Line<Team, PACKS, E::lanes> Row;
    for (Index number = Team::first(); Team::goes_on(number, rows); number += Team::step()) {
        const Index to = slices.row(number);
        const int own = Team::packs_of(number, rows, packs);
        Row row;
        typename E::Operands operands[PACKS];
        row.read(x, slices.base(number), own);
        Row::read_behind(epilogue, operands, to, own);
        const float m = Team::template all<LargestNumber>(
            Row::template merged<LargestNumber, float>(own, [&](int p, int l) { return row.x[p][l]; }));
        const float sum = Team::template all<Sum>(Row::template merged<Sum, float>(own, [&](int p, int l) {
            const float e = QUICK ? quick::exp(row.x[p][l] - m) : math::exp(row.x[p][l] - m);
            if (!LOGARITHM) row.x[p][l] = e;
            return e;
        }));
        const float factor = 1.0f / sum, shift = m + math::log(sum);
        row.write(epilogue, operands, to, own, [](int) {},
                  [&](int p, int l) { return LOGARITHM ? row.x[p][l] - shift : row.x[p][l] * factor; });
    }
}

// R as in reduce.cuh; E takes the result of a row.
template <class Team, int PACKS, int LANES, class R, class X, class S, class E>
SMELT_DEVICE void reduce_lines(const X &x, const S &slices, Index rows, int packs, const E &epilogue) {
    typedef Line<Team, PACKS, LANES> Row;
    typedef typename R::Number N;
    typedef typename R::Total A;
    for (Index number = Team::first(); Team::goes_on(number, rows); number += Team::step()) {
        const int own = Team::packs_of(number, rows, packs);
        Row row;
        row.read(x, slices.base(number), own);
        N m = N(0);
        if (R::shifts)
            m = finite_or_zero(Team::template all<Largest<float>>(
                Row::template merged<Largest<float>, float>(own, [&](int p, int l) { return row.x[p][l]; })));
        const A a = Team::template all<typename R::Merge>((A)Row::template merged<typename R::Merge, N>(
            own, [&](int p, int l) { return R::element((N)row.x[p][l], m); }));
        if (Team::lane() == 0 && own > 0) epilogue(number, R::result(a, (A)m, (A)(packs * LANES)));
    }
}

} // namespace smelt

#endif
