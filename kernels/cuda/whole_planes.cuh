// Normalisation by mean and deviation in one launch, where channels are neighbours in memory: blocks keep what they read in shared
// memory until they know what becomes of it. A unit here is a group of channels of one batch entry, with means of its own.
#ifndef SMELT_WHOLE_PLANES_CUH
#define SMELT_WHOLE_PLANES_CUH

#include "smelt/kept.cuh"
#include "smelt/moments.cuh"

namespace smelt {

// A block has PACKS threads side by side, each with LANES channels; a row is a place for each line of them.
template <int LANES_, int PACKS_, class Rows_> struct WholeTile {
    static const int LANES = LANES_, PACKS = PACKS_, LINES = MOMENT_THREADS / PACKS, CHANNELS = PACKS * LANES;
    typedef Rows_ Rows;
};

// Units of `side` channels, `groups` of them in an entry; `together` at a time, each divided into so many parts.
struct WholeUnits {
    Index count, groups, side, together, parts;
    SMELT_DEVICE Index entry(Index unit) const { return quotient(unit, groups); }
    SMELT_DEVICE Index channel(Index unit) const { return (unit - entry(unit) * groups) * side; }
};

// Parts of units in memory: [units, parts, side], mean and squares, where all blocks meet, which are there together.
template <class P> struct MetParts {
    static const bool SEVERAL = true; // units of a block, where there is no room for a block for each
    P *moments;
    SMELT_DEVICE P *of(const WholeUnits &units, Index unit) const { return moments + unit * units.parts * units.side * 2; }
    SMELT_DEVICE void exchange(P *, Index, Index) const {
        __syncthreads();
        if (threadIdx.x == 0) grid_meet();
        __syncthreads();
    }
    SMELT_DEVICE void end() const {}
};
// Those of the blocks of a cluster, which have a unit: in the shared memory of each.
template <int BLOCKS, class P> struct ClusterParts {
    static const bool SEVERAL = false;
    P *moments;
    SMELT_DEVICE P *of(const WholeUnits &, Index) const { return moments; }
    // count: numbers of a part.
    SMELT_DEVICE void exchange(P *parts, Index own, Index count) const {
        if constexpr (BLOCKS > 1) {
            const Index WORDS = sizeof(P) / 4;
            float *const words = reinterpret_cast<float *>(parts);
            cluster_arrive();
            cluster_wait();
            for (Index i = (Index)threadIdx.x; i < BLOCKS * count * WORDS; i += MOMENT_THREADS) {
                const Index block = quotient(i, count * WORDS);
                if (block != own) words[i] = shared_get_from(shared_address(words + i), (u32)block);
            }
            cluster_arrive(); // nobody leaves before all have read
        }
        __syncthreads();
    }
    SMELT_DEVICE void end() const {
        if constexpr (BLOCKS > 1) cluster_wait();
    }
};

// x: entries and places lie so far apart. channels: of an entry; width: of those that have a mean together, of which units have whole
// ones. Finish as for merge_parts.
template <class Tile, class P, class Parts, class T, class Finish, class E>
SMELT_DEVICE void whole_planes(const T *x, Index entry_step, Index place_step, Index places, Index channels, const WholeUnits &units,
                               Index width, const Parts &all_parts, const Finish &finish, const E &epilogue) {
    typedef typename Tile::Rows Rows;
    const int LANES = Tile::LANES, PACKS = Tile::PACKS, LINES = Tile::LINES;
    __shared__ P mean[Tile::CHANNELS], inverse[Tile::CHANNELS];
    const Index rows = ceil_div(places, units.parts * LINES), streamed = Rows::streamed(rows);
    const Index lane = quotient((Index)blockIdx.x, units.parts), part = (Index)blockIdx.x - lane * units.parts;
    const Index own = own_channel<LANES, PACKS>(), place = part * LINES + (Index)((int)threadIdx.x / PACKS), stride = units.parts * LINES;
    const bool works = lane < units.together && own < units.side && place < places;
    const RowSteps steps = {stride * place_step, works ? ceil_div(places - place, stride) : 0};
    const Planes planes = {places, units.side, units.parts, (Index)LINES};
    const auto base = [&](Index n) {
        const Index unit = lane + n * units.together;
        return unit < units.count ? units.entry(unit) * entry_step + units.channel(unit) + own + place * place_step : (Index)-1;
    };
    KeptReader<Rows, T, decltype(base)> reader(x, base, steps, streamed);
    int slot = 0; // of the unit's first row that is kept
    for (Index number = 0; number * units.together < units.count; ++number) {
        const Index unit = lane + number * units.together;
        const bool there = lane < units.together && unit < units.count; // for all threads of the block
        if (Rows::ONCE && Parts::SEVERAL && number > 0) reader.begin((int)number);
        ThreadMoments<LANES> moments;
        if (there) {
            const Index first = base(number), last = smaller(streamed, steps.count);
            for (Index row = 0; row < last; row += Rows::AHEAD) {
                Pack<T, LANES> v[Rows::AHEAD];
#pragma unroll
                for (int i = 0; i < Rows::AHEAD; ++i)
                    if (row + i < last) v[i] = load_pack<LANES>(x, first + (row + i) * steps.step);
                moments.begin(v[0]);
#pragma unroll
                for (int i = 0; i < Rows::AHEAD; ++i)
                    if (row + i < last) moments.add(v[i]);
            }
        }
        for_kept<Rows, T>(slot, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], int row, int count) {
            if (!there || streamed + row >= steps.count) return;
            moments.begin(v[0]);
#pragma unroll
            for (int i = 0; i < Rows::AHEAD; ++i)
                if (i < count && streamed + row + i < steps.count) moments.add(v[i]);
        });
        P *const parts = all_parts.of(units, unit);
        if (there)
            block_moments<LANES, PACKS, P>(moments, [&](Index i, P mean_of_part, P squares) {
                if (i < units.side) store_pack(parts, 2 * (part * units.side + i), Pack<P, 2>{{mean_of_part, squares}});
            });
        const Index channel = units.channel(there ? unit : 0) + own;
        const PlaneFactors<LANES> factors(finish, channel, there && works ? channels : 0);
        all_parts.exchange(parts, part, units.side * 2);
        if (there) merge_parts<Tile::CHANNELS>((const P *)parts, planes, planes, 0, width, 0, finish, mean, inverse);
        PlaneScale<P> scales[LANES];
        if (there && works)
#pragma unroll
            for (int l = 0; l < LANES; ++l) {
                const Index at = quotient(own + l, width);
                scales[l].set(mean[at], inverse[at], factors.factor[l], factors.add[l]);
            }
        const Index to = (units.entry(there ? unit : 0) * places + place) * channels + channel, apart = stride * channels;
        const auto make = [&](float v, int l) { return scales[l](v); };
        take_kept<Rows, T>(slot, reader, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], int row, int count) {
            const int mine = (int)smaller((Index)count, steps.count - streamed - row);
            if (there && mine > 0) put_packs(v, mine, to + (streamed + row) * apart, apart, make, epilogue);
        });
        if (there)
            again_streamed<Rows>(x, base(number), steps, streamed, [&](const Pack<T, LANES>(&v)[Rows::AHEAD], Index row, int count) {
                put_packs(v, count, to + row * apart, -apart, make, epilogue);
            });
    }
    wait_for_copies<0>();
    all_parts.end();
}

} // namespace smelt

#endif
