// What blocks keep of a tensor in shared memory until they know what becomes of it, while what they take next is on its way there.
#ifndef SMELT_KEPT_CUH
#define SMELT_KEPT_CUH

#include "smelt/mma.cuh"

namespace smelt {

// Rows of a pack of LANES elements for each of a block's threads: KEPT of a part of the tensor, of SLOTS that fit; none: 0 of 0.
// AHEAD are written at a time. ONCE: blocks have one part, or begin anew with each. ALL: of which all is kept.
template <int THREADS_, int LANES_, int KEPT_, int SLOTS_, int AHEAD_, bool ONCE_, bool ALL_> struct KeptRows {
    static const int THREADS = THREADS_, LANES = LANES_, KEPT = KEPT_, SLOTS = SLOTS_, AHEAD = AHEAD_;
    static const bool ONCE = ONCE_, ALL = ALL_;
    // Of so many rows, those that are not kept.
    static SMELT_DEVICE Index streamed(Index rows) { return ALL || rows <= KEPT ? 0 : rows - KEPT; }
};

// Rows of a thread, `step` elements apart, of which it has the first `count`.
struct RowSteps {
    Index step, count;
};

// The thread's packs: 16 bytes of each, those of all threads side by side.
template <class Rows, class T> struct KeptRing {
    static const int WORDS = sizeof(Pack<T, Rows::LANES>) / 16, STEP = 16 / (int)sizeof(T);
    static_assert(sizeof(Pack<T, Rows::LANES>) % 16 == 0, "whole copies");
    typedef Pack<u32, 4> Word;
    union Words { Word word[WORDS]; Pack<T, Rows::LANES> pack; SMELT_DEVICE Words() {} };
    static SMELT_DEVICE Word *at(int slot, int word) {
        return reinterpret_cast<Word *>(block_memory()) + ((slot * WORDS + word) * Rows::THREADS + (int)threadIdx.x);
    }
    static SMELT_DEVICE int next(int slot) { return slot + 1 == Rows::SLOTS ? 0 : slot + 1; }
    static SMELT_DEVICE Pack<T, Rows::LANES> get(int slot) {
        Words words;
#pragma unroll
        for (int i = 0; i < WORDS; ++i) words.word[i] = *at(slot, i);
        return words.pack;
    }
    static SMELT_DEVICE void copy(int slot, const T *from, bool there) {
#pragma unroll
        for (int i = 0; i < WORDS; ++i) copy_later(at(slot, i), from + i * STEP, there);
        close_copies();
    }
};

// Reads the kept rows, behind the first `streamed` ones, of one part after the other; base(n) is where the thread's first row of the
// block's part number n is, or below 0 where there is none.
template <class Rows, class T, class Base> struct KeptReader {
    const T *x;
    const Base &base;
    Index streamed, step, mine, first; // mine: rows of the thread that are kept
    int part, row, slot;
    SMELT_DEVICE KeptReader(const T *x, const Base &base, const RowSteps &steps, Index streamed)
        : x(x), base(base), streamed(streamed), step(steps.step), mine(steps.count - streamed) {
        begin(0);
    }
    SMELT_DEVICE void begin(int number) {
        part = number;
        row = slot = 0;
        first = base(number);
        read(Rows::SLOTS);
    }
    SMELT_DEVICE void read(int count) {
        for (; count > 0; --count) {
            const bool there = (Index)row < mine && first >= 0;
            KeptRing<Rows, T>::copy(slot, x + (there ? first + (streamed + row) * step : 0), there);
            if (Rows::ONCE) {
                slot = ++row;
                continue;
            }
            slot = KeptRing<Rows, T>::next(slot);
            if (++row < Rows::KEPT) continue;
            row = 0;
            first = base(++part);
        }
    }
};

// what(packs, row, count) for a part's rows that are kept, up to AHEAD at a time, from FIRST on, which lie in slots from `slot` on, once
// they are there. The reader has read all slots.
template <class Rows, class T, int FIRST = 0, class What> SMELT_DEVICE void for_kept(int slot, const What &what) {
    if constexpr (FIRST < Rows::KEPT) {
        const int COUNT = Rows::KEPT - FIRST < Rows::AHEAD ? Rows::KEPT - FIRST : Rows::AHEAD;
        wait_for_copies<Rows::SLOTS - FIRST - COUNT>();
#pragma unroll 1
        for (int row = 0; row < COUNT; row += Rows::AHEAD) {
            Pack<T, Rows::LANES> v[Rows::AHEAD];
#pragma unroll
            for (int i = 0; i < Rows::AHEAD; ++i) {
                if (row + i >= COUNT) break;
                v[i] = KeptRing<Rows, T>::get(slot);
                slot = KeptRing<Rows, T>::next(slot);
            }
            what(v, FIRST + row, smaller(COUNT - row, Rows::AHEAD));
        }
        for_kept<Rows, T, FIRST + COUNT>(slot, what);
    }
}

// The same once all are there, for AHEAD rows at a time but the last ones. Their slots are read into again.
template <class Rows, class T, class Reader, class What> SMELT_DEVICE void take_kept(int &slot, Reader &reader, const What &what) {
#pragma unroll 1
    for (int row = 0; row < Rows::KEPT; row += Rows::AHEAD) {
        const int count = smaller(Rows::KEPT - row, Rows::AHEAD);
        Pack<T, Rows::LANES> v[Rows::AHEAD];
#pragma unroll
        for (int i = 0; i < Rows::AHEAD; ++i) {
            if (i >= count) break;
            v[i] = KeptRing<Rows, T>::get(slot);
            slot = KeptRing<Rows, T>::next(slot);
            if (!Rows::ONCE) reader.read(1);
        }
        what(v, row, count);
    }
}

// what(packs, row, count) for the rows row, row - 1, .. of those that are not kept, the last ones first, which the caches may still
// have. first: where the first one is.
template <class Rows, class T, class What>
SMELT_DEVICE void again_streamed(const T *x, Index first, const RowSteps &steps, Index streamed, const What &what) {
    for (Index row = smaller(streamed, steps.count) - 1; row >= 0; row -= Rows::AHEAD) {
        const int count = (int)smaller(row + 1, (Index)Rows::AHEAD);
        Pack<T, Rows::LANES> v[Rows::AHEAD];
#pragma unroll
        for (int i = 0; i < Rows::AHEAD; ++i)
            if (i < count) v[i] = load_pack<Rows::LANES>(x, first + (row - i) * steps.step);
        what(v, row, count);
    }
}

// The first `count` of the packs that a thread has of AHEAD rows become make(packs[i], x) and are written: pack i is elements
// first + i * step and the next ones.
template <int AHEAD, int LANES, class T, class Make, class E>
SMELT_DEVICE void put_packs(const Pack<T, LANES> (&v)[AHEAD], int count, Index first, Index step, const Make &make, const E &epilogue) {
    typename E::Operands operands[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; ++i)
        if (i < count) epilogue.read(first + i * step, operands[i]);
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
        if (i >= count) break;
        float value[LANES];
#pragma unroll
        for (int l = 0; l < LANES; ++l) value[l] = make((float)fetch(v[i].at[l]), l);
        epilogue.write(first + i * step, value, operands[i]);
    }
}

} // namespace smelt

#endif
