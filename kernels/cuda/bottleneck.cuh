// Blocks of three convolutions of channels-last images, from many channels to 64, 3x3 among those and back to
// many, in one launch on sm_90a's matrix units. What lies between them never leaves the multiprocessor.
#ifndef SMELT_BOTTLENECK_CUH
#define SMELT_BOTTLENECK_CUH

#include "smelt/wgmma_product.cuh"
#include "smelt/window.cuh"

namespace smelt {

// SHORTCUT: the sum with another product of the input, which has one part then.
// A tile of the result: REPEAT times 4 lines of 14 places, a warpgroup's alone. PARTS, STRIPS: 64 channels
// each of the input and of the result. STAGES: of 64 channels of a tile's input. In shared memory lines have
// 16 places, so that a piece of 64 rows has 4.
template <class ELEMENT, int REPEAT, int PARTS, int STRIPS, bool SHORTCUT, int STAGES> struct BottleneckTile {
    typedef ELEMENT Element;
    static const int repeat = REPEAT, parts = PARTS, strips = STRIPS, stages = STAGES, taps = 9;
    static const bool shortcut = SHORTCUT;
    static const int warpgroups = 2, consumers = warpgroups * 128;
    // Where registers suffice, biases stay in them, and what is added is read earlier.
    static const bool holds = REPEAT == 1;
    static const int ahead = holds ? 2 : 1;
    static const int line = 16, places = 14, lines = 4 * REPEAT,
                     rows = (lines + 2) * line; // rows: with the halo
    static const int pieces = (rows + 63) / 64;
    // Bytes: of a row, of 64 rows or the weights of 64 channels for 64, and of an input; where things begin.
    static const int row_bytes = 128, piece_bytes = 64 * row_bytes, input_bytes = rows * row_bytes;
    static const int windows_at = parts * piece_bytes, back_at = windows_at + taps * piece_bytes;
    static const int shortcut_at = back_at + strips * piece_bytes;
    static const int inputs_at = shortcut_at + (SHORTCUT ? strips : 0) * piece_bytes, middles_at = inputs_at + stages * input_bytes;
    static SMELT_DEVICE u64 form() { return operand_form<row_bytes>(16, 8 * row_bytes); }
};

struct BottleneckSizes {
    Index images, height, width;
};

// Where a tile begins.
struct BottleneckPlace {
    Index image, line, place;
};

template <class Tile> struct BottleneckTiles {
    BottleneckSizes sizes;
    SMELT_DEVICE Index down() const { return ceil_div(sizes.height, (Index)Tile::lines); }
    SMELT_DEVICE Index across() const { return ceil_div(sizes.width, (Index)Tile::places); }
    SMELT_DEVICE Index count() const { return sizes.images * down() * across(); }
    SMELT_DEVICE BottleneckPlace find(Index tile) const {
        const Index row = quotient(tile, across()), image = quotient(row, down());
        return {image, (row - image * down()) * Tile::lines, (tile - row * across()) * Tile::places};
    }
    // Number of a place of the image; of one beside it that of the nearest.
    SMELT_DEVICE Index number(Index image, Index line, Index place) const {
        line = larger((Index)0, smaller(line, sizes.height - 1));
        return (image * sizes.height + line) * sizes.width +
               larger((Index)0, smaller(place, sizes.width - 1));
    }
    SMELT_DEVICE bool holds(Index line, Index place) const {
        return line >= 0 && line < sizes.height && place >= 0 && place < sizes.width;
    }
};

// Shared memory: data, and barriers of 8 bytes for weights of each convolution, inputs that are there for a warpgroup, inputs
// that are free.
template <class Tile> struct BottleneckMemory {
    u32 data, barriers;
    static const int count = 4 + (Tile::warpgroups + 1) * Tile::stages;
    SMELT_DEVICE u32 weights(int which) const { return barriers + which * 8; }
    SMELT_DEVICE u32 full(int warpgroup, int stage) const { return barriers + (4 + warpgroup * Tile::stages + stage) * 8; }
    SMELT_DEVICE u32 free(int stage) const { return full(Tile::warpgroups, stage); }
    SMELT_DEVICE u32 input(int stage) const { return data + Tile::inputs_at + stage * Tile::input_bytes; }
    SMELT_DEVICE u32 middle(int warpgroup) const { return data + Tile::middles_at + warpgroup * Tile::input_bytes; }
};

// A warpgroup's place in the ring of inputs, of which it takes some and the other warpgroup the others; how often it has taken
// each, in a bit.
template <int STAGES> struct BottleneckStage {
    int at = 0;
    u32 rounds = 0;
    SMELT_DEVICE u32 round() const { return rounds >> at & 1; }
    SMELT_DEVICE void skip(int count) { at = residue(at + count, STAGES); }
    SMELT_DEVICE void next() {
        rounds ^= 1u << at;
        skip(1);
    }
};

// Maps of weights: (channel, tap, output channel), and those of the results spread (see WgmmaTile).
struct BottleneckWeights {
    const TensorMap &expand, &windows, &back, &shortcut;
};

// -- what is added to a product's columns --

// A bias: 8 neighbouring columns are read at a time, or the pairs of 64 that a thread has sums of.
template <class B> struct ColumnBias {
    const B *bias;
    typedef Pack<B, 8> Column;
    struct Pairs { Pack<B, 2> at[8]; };
    SMELT_DEVICE void fetch_column(Index col, Column &column) const { column = EarlyLoads::pack<8>(bias, col); }
    SMELT_DEVICE void fetch_pairs(Pairs &pairs) const {
#pragma unroll
        for (int p = 0; p < 8; ++p) pairs.at[p] = load_pack<2>(bias, (Index)(p * 8 + threadIdx.x % 4 * 2));
    }
    SMELT_DEVICE float apply(float sum, const Column &column, int k) const { return sum + fetch(column.at[k]); }
    SMELT_DEVICE float apply(float sum, const Pairs &pairs, int p, int k) const { return sum + fetch(pairs.at[p].at[k]); }
};
struct NoBias {
    struct Column {};
    struct Pairs {};
    SMELT_DEVICE void fetch_column(Index, Column &) const {}
    SMELT_DEVICE void fetch_pairs(Pairs &) const {}
    SMELT_DEVICE float apply(float sum, const Column &, int) const { return sum; }
    SMELT_DEVICE float apply(float sum, const Pairs &, int, int) const { return sum; }
};

// -- the copying thread --

template <class Tile>
SMELT_DEVICE void bottleneck_copy_weights(const BottleneckMemory<Tile> &memory,
                                          const BottleneckWeights &weights) {
    const int PIECE = Tile::piece_bytes;
    barrier_arrive_expecting(memory.weights(0), Tile::parts * PIECE);
    for (int i = 0; i < Tile::parts; ++i)
        copy_box(memory.data + i * PIECE, weights.expand, memory.weights(0), i * 64, 0, 0);
    barrier_arrive_expecting(memory.weights(1), Tile::taps * PIECE);
    for (int i = 0; i < Tile::taps; ++i)
        copy_box(memory.data + Tile::windows_at + i * PIECE, weights.windows, memory.weights(1), 0, i, 0);
    barrier_arrive_expecting(memory.weights(2), Tile::strips * PIECE);
    for (int i = 0; i < Tile::strips; ++i)
        copy_box(memory.data + Tile::back_at + i * PIECE, weights.back, memory.weights(2), 0, 0, 0, 0, i * 2);
    if (!Tile::shortcut) return;
    barrier_arrive_expecting(memory.weights(3), Tile::strips * PIECE);
    for (int i = 0; i < Tile::strips; ++i)
        copy_box(memory.data + Tile::shortcut_at + i * PIECE, weights.shortcut, memory.weights(3), 0, 0, 0, 0, i * 2);
}

// x: the input as (channel, place, line, plane, image).
template <class Tile>
SMELT_DEVICE void bottleneck_copy(const BottleneckMemory<Tile> &memory, const BottleneckTiles<Tile> &tiles,
                                  const TensorMap &x) {
    WgmmaStage stage;
    int warpgroup = 0;
    for (Index tile = (Index)blockIdx.x; tile < tiles.count(); tile += (Index)gridDim.x, warpgroup = residue(warpgroup + 1, Tile::warpgroups)) {
        const BottleneckPlace at = tiles.find(tile);
        for (int part = 0; part < Tile::parts; ++part) {
            const u32 full = memory.full(warpgroup, stage.at);
            barrier_wait(memory.free(stage.at), stage.round ^ 1);
            barrier_arrive_expecting(full, Tile::input_bytes);
            copy_box(memory.input(stage.at), x, full, part * 64, (int)at.place - 1,
                     (int)at.line - 1, 0, (int)at.image);
            stage.next<Tile::stages>();
        }
    }
}

// -- a warpgroup --

// A shortcut keeps the input.
template <class Tile>
SMELT_DEVICE void bottleneck_expand(const BottleneckMemory<Tile> &memory, int warpgroup,
                                    BottleneckStage<Tile::stages> &stage, float (&sums)[Tile::pieces][32]) {
    const bool announces = threadIdx.x % 128 == 0;
    u32 before = 0; // barrier of the input that instructions under way read
    for (int part = 0; part < Tile::parts; ++part) {
        barrier_wait(memory.full(warpgroup, stage.at), stage.round());
        const u64 a = operand_at(Tile::form(), memory.input(stage.at)),
                  b = operand_at(Tile::form(), memory.data + part * Tile::piece_bytes);
        wgmma_begin();
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int m = 0; m < Tile::pieces; ++m)
                Wgmma<typename Tile::Element, 64, false, false>::run(
                    sums[m], operand_behind(a, m * Tile::piece_bytes + k * 32), operand_behind(b, k * 32), part + k > 0);
        wgmma_commit();
        wgmma_wait<1>();
        if (announces && part > 0) barrier_arrive(before);
        before = memory.free(stage.at);
        stage.next();
    }
    wgmma_wait<0>();
    if (announces && !Tile::shortcut) barrier_arrive(before);
}

// What the windows see, zeros beside the image.
template <class Tile, class Bias, class Between>
SMELT_DEVICE void bottleneck_put_middle(u32 to, const BottleneckTiles<Tile> &tiles, const BottleneckPlace &at,
                                        const Bias &bias, const typename Bias::Pairs &pairs, const Between &between,
                                        const float (&sums)[Tile::pieces][32]) {
    const Index column = threadIdx.x % 4 * 2;
    const int first = (int)wgmma_row(); // what is exchanged in a row is the same in all of the thread's
    const u32 own = to + first * Tile::row_bytes + threadIdx.x % 4 * 4;
#pragma unroll
    for (int r = 0; r < 2 * Tile::pieces; ++r) {
        const int further = r / 2 * 64 + r % 2 * 8, row = first + further;
        if (row >= Tile::rows) continue;
        const Index line = at.line + row / Tile::line - 1, place = at.place + row % Tile::line - 1;
        const bool inside = tiles.holds(line, place);
        const Index number = tiles.number(at.image, line, place) * 64 + column;
#pragma unroll
        for (int p = 0; p < 8; ++p) {
            const float *sum = &sums[r / 2][p * 4 + r % 2 * 2];
            const u32 pair = pair_of<typename Tile::Element>(
                (float)between(number + p * 8, bias.apply(sum[0], pairs, p, 0)),
                (float)between(number + p * 8 + 1, bias.apply(sum[1], pairs, p, 1)));
            shared_put(own + ((p ^ first % 8) << 4) + further * Tile::row_bytes, float_of_bits(inside ? pair : 0));
        }
    }
}

// The windows' products begin.
template <class Tile>
SMELT_DEVICE void bottleneck_windows(u32 middle, u32 weights, float (&sums)[Tile::repeat][32]) {
    const u64 a = operand_at(Tile::form(), middle), b = operand_at(Tile::form(), weights);
    wgmma_begin();
#pragma unroll
    for (int tap = 0; tap < Tile::taps; ++tap)
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int m = 0; m < Tile::repeat; ++m)
                Wgmma<typename Tile::Element, 64, false, false>::run(
                    sums[m],
                    operand_behind(a, m * Tile::piece_bytes + (tap / 3 * Tile::line + tap % 3) * Tile::row_bytes + k * 32),
                    operand_behind(b, tap * Tile::piece_bytes + k * 32), tap + k > 0);
    wgmma_commit();
}

// Their sums as the left operand of the products behind them.
template <class Tile, class Bias, class Within>
SMELT_DEVICE void bottleneck_rows(const BottleneckTiles<Tile> &tiles, const BottleneckPlace &at,
                                  const Bias &bias, const typename Bias::Pairs &pairs, const Within &within,
                                  const float (&sums)[Tile::repeat][32], u32 (&rows)[Tile::repeat][4][4]) {
    const Index column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2 * Tile::repeat; ++r) {
        const int row = (int)wgmma_row() + r / 2 * 64 + r % 2 * 8;
        const Index number =
            tiles.number(at.image, at.line + row / Tile::line, at.place + row % Tile::line) * 64 + column;
#pragma unroll
        for (int p = 0; p < 8; ++p) {
            const float *sum = &sums[r / 2][p * 4 + r % 2 * 2];
            rows[r / 2][p / 2][p % 2 * 2 + r % 2] = pair_of<typename Tile::Element>(
                (float)within(number + p * 8, bias.apply(sum[0], pairs, p, 0)),
                (float)within(number + p * 8 + 1, bias.apply(sum[1], pairs, p, 1)));
        }
    }
}

// A thread's results of 64 channels: of each of its rows 8 of every 32. What they are finished with is read
// ahead.
template <class Tile, class Finish, class Epilogue> struct BottleneckPut {
    static const int rows = 2 * Tile::repeat;
    Index numbers[rows]; // of the first that the thread has in a row, or of another one's in the image, which is read for nothing
    bool inside[rows];
    struct Ahead {
        typename Epilogue::Operands operands[2][rows];
        typename Finish::Column columns[2];
    };
    SMELT_DEVICE BottleneckPut(const BottleneckTiles<Tile> &tiles, const BottleneckPlace &at) {
#pragma unroll
        for (int r = 0; r < rows; ++r) {
            const int row = (int)wgmma_row() + r / 2 * 64 + r % 2 * 8;
            const Index line = at.line + row / Tile::line, place = at.place + row % Tile::line;
            inside[r] = row % Tile::line < Tile::places && tiles.holds(line, place);
            numbers[r] = tiles.number(at.image, line, place) * (Tile::strips * 64) + threadIdx.x % 4 * 8;
        }
    }
    SMELT_DEVICE void ask(const Finish &finish, const Epilogue &epilogue, int strip, Ahead &ahead) const {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const Index channel = strip * 64 + half * 32;
            finish.fetch_column(channel + threadIdx.x % 4 * 8, ahead.columns[half]);
#pragma unroll
            for (int r = 0; r < rows; ++r) epilogue.template read<EarlyLoads>(numbers[r] + channel, ahead.operands[half][r]);
        }
    }
    SMELT_DEVICE void put(const Finish &finish, const Epilogue &epilogue, int strip, const Ahead &ahead,
                          const float (&sums)[Tile::repeat][32]) const {
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int r = 0; r < rows; ++r) {
                float x[8];
#pragma unroll
                for (int i = 0; i < 8; ++i)
                    x[i] = finish.apply(sums[r / 2][(half * 4 + i / 2) * 4 + r % 2 * 2 + i % 2],
                                        ahead.columns[half], i);
                if (inside[r])
                    epilogue.write(numbers[r] + strip * 64 + half * 32, x, ahead.operands[half][r]);
            }
    }
};

// input: of a shortcut.
template <class Tile>
SMELT_DEVICE void bottleneck_back(const u32 (&rows)[Tile::repeat][4][4], u32 data, u32 input, int strip, float (&sums)[Tile::repeat][32]) {
    const u64 back = operand_at(Tile::form(), data + Tile::back_at + strip * Tile::piece_bytes);
    const u64 a = operand_at(Tile::form(), input + (Tile::line + 1) * Tile::row_bytes);
    const u64 beside = operand_at(Tile::form(), data + Tile::shortcut_at + strip * Tile::piece_bytes);
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int m = 0; m < Tile::repeat; ++m)
            WgmmaRows<typename Tile::Element, 64>::run(sums[m], rows[m][k], operand_behind(back, k * 32), k > 0);
#pragma unroll
    for (int k = 0; k < (Tile::shortcut ? 4 : 0); ++k)
#pragma unroll
        for (int m = 0; m < Tile::repeat; ++m)
            Wgmma<typename Tile::Element, 64, false, false>::run(sums[m], operand_behind(a, m * Tile::piece_bytes + k * 32),
                                                                 operand_behind(beside, k * 32), 1);
    wgmma_commit();
}

// What finishes the sum of two products.
template <class First, class Second> struct FinishBoth {
    First first;
    Second second;
    struct Column {
        typename First::Column first;
        typename Second::Column second;
    };
    SMELT_DEVICE void fetch_column(Index col, Column &column) const {
        first.fetch_column(col, column.first);
        second.fetch_column(col, column.second);
    }
    SMELT_DEVICE float apply(float sum, const Column &column, int k) const {
        return second.apply(first.apply(sum, column.first, k), column.second, k);
    }
};
template <class First, class Second> SMELT_DEVICE FinishBoth<First, Second> finish_both(const First &first, const Second &second) {
    return {first, second};
}

// The biases of the first two convolutions and what the next ones read of their results; what finishes the
// last one's sums.
template <class ExpandBias, class Between, class WindowBias, class Within, class Finish, class Epilogue>
struct BottleneckChains {
    ExpandBias expand_bias;
    Between between;
    WindowBias window_bias;
    Within within;
    Finish finish;
    Epilogue epilogue;
};

template <class Tile, class A, class B, class C, class D, class F, class E>
SMELT_DEVICE void bottleneck_consume(const BottleneckMemory<Tile> &memory, const BottleneckTiles<Tile> &tiles,
                                     const BottleneckChains<A, B, C, D, F, E> &chains) {
    typedef BottleneckPut<Tile, F, E> Put;
    const int warpgroup = __shfl_sync(0xffffffffu, (int)threadIdx.x / 128, 0); // one number, known to be
    const u32 middle = memory.middle(warpgroup);
    BottleneckStage<Tile::stages> stage;
    int turn = 0;
    typename A::Pairs expand_pairs;
    typename C::Pairs window_pairs;
    if (Tile::holds) {
        chains.expand_bias.fetch_pairs(expand_pairs);
        chains.window_bias.fetch_pairs(window_pairs);
    }
    for (Index tile = (Index)blockIdx.x; tile < tiles.count(); tile += (Index)gridDim.x, turn = residue(turn + 1, Tile::warpgroups)) {
        if (turn != warpgroup) {
            stage.skip(Tile::parts);
            continue;
        }
        const BottleneckPlace at = tiles.find(tile);
        const int held = stage.at; // by a shortcut
        {
            float sums[Tile::pieces][32];
            barrier_wait(memory.weights(0), 0);
            if (!Tile::holds) chains.expand_bias.fetch_pairs(expand_pairs);
            bottleneck_expand<Tile>(memory, warpgroup, stage, sums);
            warpgroup_wait(); // nobody reads what was there before
            bottleneck_put_middle<Tile>(middle, tiles, at, chains.expand_bias, expand_pairs, chains.between, sums);
        }
        stores_done();
        warpgroup_wait();
        const Put put(tiles, at);
        typename Put::Ahead ahead[Tile::ahead];
        u32 rows[Tile::repeat][4][4];
        {
            float sums[Tile::repeat][32];
            barrier_wait(memory.weights(1), 0);
            bottleneck_windows<Tile>(middle, memory.data + Tile::windows_at, sums);
            if (!Tile::holds) chains.window_bias.fetch_pairs(window_pairs);
            if (Tile::ahead > 1) put.ask(chains.finish, chains.epilogue, 0, ahead[0]);
            wgmma_wait<0>();
            bottleneck_rows<Tile>(tiles, at, chains.window_bias, window_pairs, chains.within, sums, rows);
        }
        barrier_wait(memory.weights(2), 0);
        if (Tile::shortcut) barrier_wait(memory.weights(3), 0);
#pragma unroll
        for (int strip = 0; strip < Tile::strips; ++strip) {
            float sums[Tile::repeat][32];
            bottleneck_back<Tile>(rows, memory.data, memory.input(held), strip, sums);
            const int next = strip + Tile::ahead - 1;
            if (next < Tile::strips) put.ask(chains.finish, chains.epilogue, next, ahead[next % Tile::ahead]);
            wgmma_wait<0>();
            if (Tile::shortcut && strip + 1 == Tile::strips && threadIdx.x % 128 == 0) barrier_arrive(memory.free(held));
            put.put(chains.finish, chains.epilogue, strip, ahead[strip % Tile::ahead], sums);
        }
    }
}

// CONSTANT: weights can be read before other kernels are done.
template <class Tile, bool CONSTANT, class A, class B, class C, class D, class F, class E>
SMELT_DEVICE void bottleneck(const BottleneckTiles<Tile> &tiles, const TensorMap &x,
                             const BottleneckWeights &weights, const A &expand_bias, const B &between,
                             const C &window_bias, const D &within, const F &finish, const E &epilogue) {
    __shared__ u64 barriers[BottleneckMemory<Tile>::count];
    const BottleneckMemory<Tile> memory = {dynamic_memory() + 1023 & ~1023u, shared_address(barriers)};
    const bool copies = threadIdx.x == Tile::consumers;
    if (threadIdx.x == 0) {
        map_prefetch(x);
        map_prefetch(weights.expand);
        map_prefetch(weights.windows);
        map_prefetch(weights.back);
        for (int i = 0; i < memory.count; ++i) barrier_init(memory.barriers + i * 8, 1);
        barrier_init_done();
    }
    __syncthreads();
    if (CONSTANT && copies) bottleneck_copy_weights<Tile>(memory, weights);
    __syncwarp();
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        registers_to<40>();
        if (copies) {
            if (!CONSTANT) bottleneck_copy_weights<Tile>(memory, weights);
            bottleneck_copy<Tile>(memory, tiles, x);
        }
        __syncwarp();
    } else {
        registers_from<232>();
        const BottleneckChains<A, B, C, D, F, E> chains = {expand_bias, between, window_bias,
                                                           within,      finish,  epilogue};
        bottleneck_consume<Tile>(memory, tiles, chains);
    }
}

} // namespace smelt

#endif
