// Products of matrices by Hopper's matrix instruction, sm_90a alone. One warp copies tiles of both operands to a ring of
// stages in shared memory; one to three warpgroups multiply them and store the sums. Blocks take tiles until none is left.
#ifndef SMELT_WGMMA_PRODUCT_CUH
#define SMELT_WGMMA_PRODUCT_CUH

#include "smelt/sums.cuh"
#include "smelt/wgmma.cuh"

namespace smelt {

// An operand's tile of LINES x DEPTH elements of SIZE bytes: lines along the depth, one every 32, 64 or 128 bytes, or (OUTER,
// of two bytes) the depth outside, in strips of 64 lines.
template <int LINES, int DEPTH, bool OUTER, int SIZE = 2> struct WgmmaOperand {
    static const int line = DEPTH * SIZE > 64 ? 128 : DEPTH * SIZE > 32 ? 64 : 32;
    static const int swizzle = OUTER ? 128 : line;
    static const int copied = LINES * DEPTH * SIZE, bytes = OUTER ? copied : LINES * line;
    static const int instructions = DEPTH * SIZE / 32;
    // From 64 lines to the next 64, from one instruction's depth to the next.
    static const int next_lines = OUTER ? DEPTH * 128 : 64 * swizzle;
    static const int next_depth = OUTER ? 2048 : 32;
    static SMELT_DEVICE u64 form() { return operand_form<swizzle>(OUTER ? DEPTH * 128 : 16, 8 * swizzle); }
};

// A block's work: WARPGROUPS * REPEAT * 64 rows, COLS columns; a stage has BLOCKS parts of DEPTH. SLICES blocks, a cluster,
// divide a tile's depth among themselves, add up each other's sums and store a part each; but for PlanesBehind a tile has a
// cluster of its own then. RESIDENT blocks share a multiprocessor. Or blocks of a cluster of two have neighbouring tiles and the
// same part of an operand, of which each copies one half to both: what SHARES says. Or a block copies the columns' operand once, for
// all of its tiles, which have the same columns: KEEP_COLUMNS, of one matrix.
// A run of the sums has RUN parts, of the last of which LAST instructions have something to multiply; then a stage is a run or
// one part. SPREAD: 32, columns lie in shared memory so that the 8 of each 32 that one thread gets are neighbours: column
// 8 q + 2 p + e in line 8 p + 2 q + e. Its map has the dimensions depth, e, q, p and 32 columns. 16, a thread gets 4 neighbours
// of each 16: column 4 q + 2 p + e in line 8 p + 2 q + e; the map has depth, e, q, p and 16 columns. 0: they lie in order. GROUP:
// see SumUnits.
enum WgmmaShares { SHARE_NOTHING, SHARE_ROWS, SHARE_COLUMNS, KEEP_COLUMNS };
template <class ELEMENT, int WARPGROUPS, int REPEAT, int COLS, int DEPTH, int BLOCKS, int STAGES, int SLICES, int RESIDENT,
          int RUN, int LAST, bool OUTER_A, bool OUTER_B, int SPREAD, int GROUP, WgmmaShares SHARES>
struct WgmmaTile {
    typedef ELEMENT Element;
    static const int warpgroups = WARPGROUPS, repeat = REPEAT, cols = COLS, depth = DEPTH, blocks = BLOCKS, stages = STAGES;
    static const int slices = SLICES, rows = WARPGROUPS * REPEAT * 64;
    static const bool shares_rows = SHARES == SHARE_ROWS, shares_cols = SHARES == SHARE_COLUMNS;
    static const bool shares = shares_rows || shares_cols, keeps = SHARES == KEEP_COLUMNS;
    static const int cluster = shares ? 2 : SLICES;
    static const int copied_rows = shares_rows ? rows / 2 : rows, copied_cols = shares_cols ? COLS / 2 : COLS;
    // Where registers are short, the copying warp gets a warpgroup of its own, which leaves most of them to the others.
    static const bool moves_registers = WARPGROUPS >= 2 && RESIDENT == 1;
    static const int copying = WARPGROUPS == 2 ? 40 : 32, consuming = WARPGROUPS == 2 ? 232 : 160; // registers
    static const int consumers = WARPGROUPS * 128, threads = consumers + (moves_registers ? 128 : 32);
    // Registers for eight packs beside the sums. Nine warps of two blocks have 96 registers each, three warpgroups 160: beside many
    // sums too few to keep what the results' store reads while they multiply.
    static const bool many = WARPGROUPS == 3 && COLS > 160, roomy = RESIDENT == 1 && !many;
    static const bool crowded = many || WARPGROUPS == 2 && RESIDENT > 1 && REPEAT * COLS >= 96;
    static const bool outer_a = OUTER_A, outer_b = OUTER_B;
    static const int spread = SPREAD, group = GROUP, run = RUN, last = LAST;
    typedef WgmmaOperand<rows, DEPTH, OUTER_A, sizeof(ELEMENT)> A;
    typedef WgmmaOperand<COLS, DEPTH, OUTER_B, sizeof(ELEMENT)> B;
    static const int stage_bytes = BLOCKS * (A::bytes + (keeps ? 0 : B::bytes));
    static const int copied_bytes = BLOCKS * (A::copied + (keeps ? 0 : B::copied));
    static_assert(LAST == A::instructions || BLOCKS == 1 || BLOCKS == RUN || RUN == 1, "a run ends within a stage");
    // Tiles begin at multiples of 1024 bytes, which dynamic shared memory does not promise.
    static SMELT_DEVICE u32 a_at(u32 stage) { return stage; }
    static SMELT_DEVICE u32 b_at(u32 stage) { return stage + BLOCKS * A::bytes; }
    // Where what the block copies of them begins.
    static SMELT_DEVICE u32 own_a_at(u32 stage) { return a_at(stage) + (shares_rows ? cluster_rank() * (A::bytes / 2) : 0); }
    static SMELT_DEVICE u32 own_b_at(u32 stage) { return b_at(stage) + (shares_cols ? cluster_rank() * (B::bytes / 2) : 0); }
};

// The tiles of a cluster: numbers count clusters, and tiles are pairs where operands are shared.
template <class Tile> struct WgmmaTiles {
    ProductTiles pairs;
    SMELT_DEVICE Index first() const { return (Index)blockIdx.x / Tile::cluster; }
    SMELT_DEVICE Index step() const { return (Index)gridDim.x / Tile::cluster; }
    SMELT_DEVICE Index count() const { return pairs.count(); }
    SMELT_DEVICE void find(Index number, Index &row, Index &col, Index &matrix) const {
        if (Tile::keeps) { // a round of the grid has tiles of all columns
            row = quotient(number, pairs.cols);
            col = number - row * pairs.cols;
            matrix = 0;
            return;
        }
        pairs.find(number, row, col, matrix);
        if (Tile::shares_rows) col = col * 2 + (Index)cluster_rank();
        if (Tile::shares_cols) row = row * 2 + (Index)cluster_rank();
    }
    // At what the block copies of a tile.
    template <class Load> SMELT_DEVICE typename Load::Cursor begin(const Load &load, Index number, int part) const {
        Index row, col, matrix;
        find(number, row, col, matrix);
        return load.begin(row * Tile::rows + (Tile::shares_rows ? (Index)cluster_rank() * Tile::copied_rows : 0),
                          col * Tile::cols + (Tile::shares_cols ? (Index)cluster_rank() * Tile::copied_cols : 0), matrix, part);
    }
};

// A place in the ring: its number and how often the ring has been round.
struct WgmmaStage {
    int at = 0;
    u32 round = 0;
    template <int STAGES> SMELT_DEVICE void next() {
        if (++at == STAGES) {
            at = 0;
            round ^= 1;
        }
    }
    template <int STAGES> SMELT_DEVICE void skip(int count) {
        round ^= (at + count) / STAGES & 1;
        at = (at + count) % STAGES;
    }
};

template <class Tile> struct WgmmaRing {
    u32 data, full, empty, joined; // shared memory: stages and what lies behind them; barriers of 8 bytes
    SMELT_DEVICE u32 stage(int i) const { return data + i * Tile::stage_bytes; }
    // Of the columns' operand that the block keeps, counted by the barrier `joined`.
    SMELT_DEVICE u32 kept(int part) const { return stage(Tile::stages) + part * Tile::B::bytes; }
    SMELT_DEVICE u32 filled(int i) const { return full + i * 8; }
    SMELT_DEVICE u32 freed(int i) const { return empty + i * 8; }
};

// The steps of a tile that the block does.
template <class Tile> struct WgmmaShare {
    int first, count;
    SMELT_DEVICE WgmmaShare(int steps) : first(0), count(steps) {
        if (Tile::slices > 1) {
            const int rank = (int)cluster_rank();
            first = steps * rank / Tile::slices;
            count = steps * (rank + 1) / Tile::slices - first;
        }
    }
};

// The weights of the first stages, which no kernel in front writes: before those have ended. Returns how many stages.
template <class Tile, class Load>
SMELT_DEVICE int wgmma_copy_ahead(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, const Load &load, int steps) {
    const WgmmaShare<Tile> share(steps);
    const int ahead = smaller(share.count, (int)Tile::stages);
    typename Load::Cursor cursor = tiles.begin(load, tiles.first(), share.first * Tile::blocks);
    for (int step = 0; step < ahead; ++step) {
        barrier_arrive_expecting(ring.filled(step), Tile::copied_bytes);
#pragma unroll
        for (int j = 0; j < Tile::blocks; ++j) {
            load.copy_columns(cursor, Tile::own_b_at(ring.stage(step)) + j * Tile::B::bytes, ring.filled(step));
            load.next(cursor);
        }
    }
    return ahead;
}

// All parts of the columns' operand that the block keeps.
template <class Tile, class Load>
SMELT_DEVICE void wgmma_copy_kept(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, const Load &load, int steps) {
    typename Load::Cursor cursor = tiles.begin(load, tiles.first(), 0);
    barrier_arrive_expecting(ring.joined, steps * Tile::blocks * Tile::B::copied);
    for (int part = 0; part < steps * Tile::blocks; ++part) {
        load.copy_columns(cursor, ring.kept(part), ring.joined);
        load.next(cursor);
    }
}

// A tile. ahead: stages that have their weights.
template <class Tile, class Load>
SMELT_DEVICE void wgmma_copy(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, const Load &load, int steps, Index tile,
                             WgmmaStage &stage, int &ahead) {
    const WgmmaShare<Tile> share(steps);
    typename Load::Cursor cursor = tiles.begin(load, tile, share.first * Tile::blocks);
    for (int step = 0; step < share.count; ++step, --ahead) {
        const u32 full = ring.filled(stage.at), at = ring.stage(stage.at);
        if (ahead <= 0) {
            barrier_wait(ring.freed(stage.at), stage.round ^ 1);
            barrier_arrive_expecting(full, Tile::copied_bytes);
        }
#pragma unroll
        for (int j = 0; j < Tile::blocks; ++j) {
            load.copy_rows(cursor, Tile::own_a_at(at) + j * Tile::A::bytes, full);
            if (!Tile::keeps && ahead <= 0) load.copy_columns(cursor, Tile::own_b_at(at) + j * Tile::B::bytes, full);
            load.next(cursor);
        }
        stage.next<Tile::stages>();
    }
}

// All threads of a cluster, whose slices are of one tile after the other: what a block has got from others for one it must have
// read before they send more.
SMELT_DEVICE void wgmma_next_round() {
    __syncwarp();
    cluster_arrive();
    cluster_wait();
}

// By the first thread of a warp, where the blocks of a cluster meet between tiles (ROUNDS) by all of its warpgroup.
template <class Tile, bool ROUNDS, class Load>
SMELT_DEVICE void wgmma_copy_all(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, const Load &load, int steps, int ahead) {
    WgmmaStage stage;
    if (!ROUNDS && threadIdx.x != Tile::consumers) return;
    for (Index tile = tiles.first(); tile < tiles.count(); tile += tiles.step()) {
        if (ROUNDS && tile != tiles.first()) wgmma_next_round();
        if (threadIdx.x == Tile::consumers) wgmma_copy<Tile>(ring, tiles, load, steps, tile, stage, ahead);
    }
}

// Products of a part from one instruction to another. a, b: of the part's begin.
template <class Tile, int BEGIN, int END>
SMELT_DEVICE void wgmma_multiply_part(u64 a, u64 b, float (&sums)[Tile::repeat][Tile::cols / 2], bool first) {
    typedef typename Tile::A A;
    typedef typename Tile::B B;
#pragma unroll
    for (int k = BEGIN; k < END; ++k)
#pragma unroll
        for (int m = 0; m < Tile::repeat; ++m)
            Wgmma<typename Tile::Element, Tile::cols, Tile::outer_a, Tile::outer_b>::run(
                sums[m], a + (u64)(m * A::next_lines + k * A::next_depth >> 4), b + (u64)(k * B::next_depth >> 4),
                k > 0 || !first);
}
// One stage's products. columns: where its part of their operand lies. part: of its run, the stage's first.
template <class Tile>
SMELT_DEVICE void wgmma_multiply(u32 at, u32 columns, int warpgroup, int part, float (&sums)[Tile::repeat][Tile::cols / 2], bool first) {
    typedef typename Tile::A A;
    typedef typename Tile::B B;
    const u64 a = operand_at(A::form(), Tile::a_at(at) + warpgroup * Tile::repeat * A::next_lines);
    const u64 b = operand_at(B::form(), columns);
    wgmma_begin();
#pragma unroll
    for (int j = 0; j < Tile::blocks; ++j) {
        const u64 aj = a + (u64)(j * A::bytes >> 4), bj = b + (u64)(j * B::bytes >> 4);
        wgmma_multiply_part<Tile, 0, Tile::last>(aj, bj, sums, first && j == 0);
        if (Tile::blocks > 1 ? Tile::run > 1 && j < Tile::run - 1 : part < Tile::run - 1)
            wgmma_multiply_part<Tile, Tile::last, A::instructions>(aj, bj, sums, false);
    }
    wgmma_commit();
}

// What the left operand of a stage has of rows of the matrix, by the consumers. first: channel of the stage's first column.
template <class Tile, class Normal>
SMELT_DEVICE void wgmma_normalize(u32 at, int first, const Normal &normal, const typename Normal::Scales &scales) {
    typedef typename Tile::A A;
    const int PACKS = Tile::depth / 8, LINES = Tile::consumers / PACKS; // of 6 packs some threads have none
    const int pack = threadIdx.x % PACKS, line = (int)threadIdx.x / PACKS;
#pragma unroll
    for (int j = 0; j < Tile::blocks; ++j) {
        const int channel = first + j * Tile::depth + pack * 8;
        if (line >= LINES || channel >= Normal::channels) continue;
        const auto factors = normal.factors(scales, channel);
        for (int row = line; row < Tile::rows; row += LINES)
            normal.template apply<typename Tile::Element>(
                Tile::a_at(at) + j * A::bytes + swizzled<A::swizzle>(row, pack), factors);
    }
    stores_done();
    consumers_wait<Tile::consumers>();
}

// The row of a warpgroup's first 64 that the thread has parts of; the other is 8 below.
SMELT_DEVICE Index wgmma_row() { return (Index)(threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4); }
// The first row of a tile that the thread has parts of.
template <class Tile> SMELT_DEVICE Index wgmma_first(Index row) {
    return row * Tile::rows + threadIdx.x / 128 * Tile::repeat * 64 + wgmma_row();
}

// The row number `line` that a thread has in a tile, of groups of 32 columns.
template <class Tile> SMELT_DEVICE Index wgmma_row_of(Index tile_row, int line) {
    return wgmma_first<Tile>(tile_row) + line / 2 * 64 + line % 2 * 8;
}

// How slices share their sums. A unit is what a thread stores together; unit u is added up by block u % slices, in the order of
// the blocks, which gets the others' sums through its shared memory.
template <class Tile> struct WgmmaUnits {
    typedef SumUnits<Tile, 2 * Tile::repeat> Units;
    static const int lines = Units::lines, all = Units::groups * lines, most = (all + Tile::slices - 1) / Tile::slices;
    static const u32 half = Tile::consumers * 16; // bytes of half a unit of all threads
    static SMELT_DEVICE u32 count(u32 block) { return (all + Tile::slices - 1 - block) / Tile::slices; }
    // Bytes that the block gets.
    static SMELT_DEVICE u32 bytes(u32 block) { return count(block) * (Tile::slices - 1) * 2 * half; }
    // Where its unit of a block lies, from the first on.
    static SMELT_DEVICE u32 at(int unit, u32 owner, u32 block) {
        return (unit / Tile::slices * (Tile::slices - 1) + (block < owner ? block : block - 1)) * 2 * half;
    }
};

// What of a tile the block stores, in groups of 32 columns: of `groups` of them `per` rows of a thread.
template <class Tile> struct WgmmaOwn {
    static const int slices = Tile::slices, lines = Tile::repeat * 2, all = Tile::cols / 32;
    static const int per = slices < lines ? lines / slices : 1, groups = slices > lines ? (all * lines + slices - 1) / slices : all;
    typedef float Results[groups * per][8];
    static SMELT_DEVICE int group(int k) { return slices > lines ? k * (slices / lines) + (int)cluster_rank() / lines : k; }
    static SMELT_DEVICE bool has(int k) { return slices <= lines || group(k) < all; }
    // The number of the thread's row, and which of the classes that rows belong to by their blocks it has.
    static const int classes = slices < lines ? slices : lines;
    static SMELT_DEVICE int own() { return slices > 1 ? (int)cluster_rank() % classes : 0; }
    static SMELT_DEVICE int line(int j) { return j * classes + own(); }
};

// The results of the block's units are stored, or, where STAYS, left to the caller. round: which time it is.
template <class Tile, bool STAYS, class Put, class Store>
SMELT_DEVICE void wgmma_join(const WgmmaRing<Tile> &ring, const Put &put, const Store &store, u32 round,
                             const float (&sums)[Tile::repeat][Tile::cols / 2], typename WgmmaOwn<Tile>::Results &results) {
    typedef WgmmaUnits<Tile> Units;
    const u32 rank = cluster_rank(), own = ring.data + Tile::stages * Tile::stage_bytes + threadIdx.x * 16;
    typename Store::Operands operands[Units::most];
    typename Store::Column columns[Units::most];
#pragma unroll
    for (int unit = 0; unit < Units::all; ++unit) {
        const u32 owner = unit % Tile::slices;
        const int r = unit % Units::lines, group = unit / Units::lines;
        if (owner == rank) {
            store.fetch_column(put.col + group * Put::group, put.matrix, columns[unit / Tile::slices]);
            if (!STAYS) store.fetch(put.rows[r], put.col + group * Put::group, put.matrix, operands[unit / Tile::slices]);
            continue;
        }
        float part[8];
        Put::pick(sums, group, r, part);
#pragma unroll
        for (int i = 0; i < 2; ++i)
            shared_put_later(own + Units::at(unit, owner, rank) + i * Units::half, owner, ring.joined, part[i * 4],
                             part[i * 4 + 1], part[i * 4 + 2], part[i * 4 + 3]);
    }
    barrier_wait<true>(ring.joined, round);
#pragma unroll
    for (int unit = 0; unit < Units::all; ++unit) {
        if (unit % Tile::slices != rank) continue;
        const int r = unit % Units::lines, group = unit / Units::lines;
        float mine[8] = {}, whole[8];
#pragma unroll
        for (int block = 0; block < Tile::slices; ++block) {
            const u32 at = own + Units::at(unit, unit % Tile::slices, block);
            float part[8];
            if (block == unit % Tile::slices) {
                Put::pick(sums, group, r, part);
            } else {
                shared_get(at, part[0], part[1], part[2], part[3]);
                shared_get(at + Units::half, part[4], part[5], part[6], part[7]);
            }
#pragma unroll
            for (int i = 0; i < 8; ++i) mine[i] += part[i];
        }
        Put::join(mine, whole);
        if constexpr (STAYS)
            store.apply(whole, columns[unit / Tile::slices], results[unit / Tile::slices]);
        else
            store.put(put.rows[r], put.col + group * Put::group, put.matrix, whole, columns[unit / Tile::slices],
                      operands[unit / Tile::slices]);
    }
}

// The same of a tile that no slices divide.
template <class Tile, class Put, class Store>
SMELT_DEVICE void wgmma_results(Put &put, const Store &store, const float (&sums)[Tile::repeat][Tile::cols / 2],
                                typename WgmmaOwn<Tile>::Results &results) {
#pragma unroll
    for (int g = 0; g < Put::groups; ++g) {
        store.fetch_column(put.col + g * 32, put.matrix, put.columns[g % Put::ahead]);
#pragma unroll
        for (int r = 0; r < 2 * Tile::repeat; ++r)
            put.take(store, sums, g, r, reinterpret_cast<float(&)[1][8]>(results[g * 2 * Tile::repeat + r]));
    }
}

// The warpgroup does not read the stage any more: said to all blocks that copy to it, by a thread each.
template <class Tile> SMELT_DEVICE void wgmma_free(u32 freed) {
    if (threadIdx.x % 128 >= (Tile::shares ? 2 : 1)) return;
    if (Tile::shares)
        barrier_arrive_at(freed, threadIdx.x % 128);
    else
        barrier_arrive(freed);
}

// What the block keeps of its tiles' moments.
template <class Tile, class Moments> SMELT_DEVICE auto block_moments(const Moments &moments, const NoBehind &) {
    return tile_moments<Tile>(moments);
}
template <class Tile, class Moments, class Behind>
SMELT_DEVICE typename Behind::template Block<Tile> block_moments(const Moments &, const Behind &) {
    return {};
}

template <class Tile, class Store, class Moments, class Normal, class Behind>
SMELT_DEVICE void wgmma_consume(const WgmmaRing<Tile> &ring, const WgmmaTiles<Tile> &tiles, const Store &store, int steps,
                                const Moments &moment_parts, const Normal &normal, const Behind &behind) {
    auto moments = block_moments<Tile>(moment_parts, behind);
    if constexpr (Normal::normalizes) normal.template find<Tile::consumers>(scales_of<Normal>());
    const int warpgroup = threadIdx.x / 128;
    const WgmmaShare<Tile> share(steps);
    WgmmaStage stage;
    float sums[Tile::repeat][Tile::cols / 2];
    u32 round = 0; // of slices that meet
    if (Tile::keeps) barrier_wait(ring.joined, 0);
    for (Index tile = tiles.first(); tile < tiles.count(); tile += tiles.step()) {
        Index row, col, matrix;
        tiles.find(tile, row, col, matrix);
        SumPut<Tile, Store, 2 * Tile::repeat> put;
        put.place(wgmma_first<Tile>(row), col * Tile::cols, matrix);
        const Index part = row;
        if (Tile::slices == 1 && !Behind::normalizes && !Tile::crowded) put.begin(store);
        if (!Behind::normalizes && tile + tiles.step() < tiles.count()) {
            tiles.find(tile + tiles.step(), row, col, matrix);
            put.prefetch(store, wgmma_first<Tile>(row) - threadIdx.x % 32 / 4, col * Tile::cols, matrix);
        }
        int run = Tile::run > 1 ? share.first * Tile::blocks % Tile::run : 0; // its part
        u32 before = 0; // the stage that the instructions under way read
        for (int step = 0; step < share.count; ++step) {
            barrier_wait(ring.filled(stage.at), stage.round);
            if constexpr (Normal::normalizes)
                wgmma_normalize<Tile>(ring.stage(stage.at), (share.first + step) * Tile::blocks * Tile::depth, normal,
                                      scales_of<Normal>());
            const u32 at = ring.stage(stage.at);
            wgmma_multiply<Tile>(at, Tile::keeps ? ring.kept(step * Tile::blocks) : Tile::b_at(at), warpgroup, run, sums, step == 0);
            run = run + Tile::blocks == Tile::run ? 0 : run + Tile::blocks;
            wgmma_wait<1>();
            if (step > 0) wgmma_free<Tile>(before);
            before = ring.freed(stage.at);
            stage.next<Tile::stages>();
        }
        wgmma_wait<0>();
        wgmma_free<Tile>(before);
        typename WgmmaOwn<Tile>::Results results; // where they are not stored yet
        if constexpr (Tile::slices > 1) {
            wgmma_join<Tile, Behind::normalizes>(ring, put, store, round, sums, results);
        } else if constexpr (Behind::normalizes) {
            wgmma_results<Tile>(put, store, sums, results);
        } else {
            if (Tile::crowded) put.begin(store);
            put.finish(store, sums, moments);
            moments.leave_tile(part, put.col - put.first_col());
        }
        if constexpr (Behind::normalizes) {
            behind.finish_tile(ring, tiles, tile, store, results, moments);
            if (Tile::slices > 1 && tile + tiles.step() < tiles.count()) {
                stores_done();
                consumers_wait<Tile::consumers>(); // all have seen this round, before the next one may be complete
                if (threadIdx.x == 0) barrier_arrive_expecting(ring.joined, WgmmaUnits<Tile>::bytes(cluster_rank()));
                wgmma_next_round();
                round ^= 1;
            }
        }
    }
    if constexpr (!Behind::normalizes) moments.leave_block();
}

// tiles: of the products, pairs of them where operands are shared. steps: stages of one tile, at least as many as there are
// slices. AHEAD: the columns' operand is constant, as it is where blocks keep it. moments: NoMoments, or MomentParts of one slice. normal: NoNormal, or of the
// rows' operand, whose depth is the channels. behind: NoBehind, or PlanesBehind, which
// has moments of its own.
template <class Tile, bool AHEAD, class Load, class Store, class Moments = NoMoments, class Normal = NoNormal,
          class Behind = NoBehind>
SMELT_DEVICE void wgmma_product(const ProductTiles &pairs, const Load &load, const Store &store, int steps,
                                const Moments &moments = {}, const Normal &normal = {}, const Behind &behind = {}) {
    const WgmmaTiles<Tile> tiles = {pairs};
    __shared__ u64 barriers[2 * Tile::stages + 1];
    const WgmmaRing<Tile> ring = {dynamic_memory() + 1023 & ~1023u, shared_address(barriers),
                                  shared_address(barriers + Tile::stages), shared_address(barriers + 2 * Tile::stages)};
    if (threadIdx.x == 0) {
        load.prefetch();
        for (int i = 0; i < Tile::stages; ++i) {
            barrier_init(ring.filled(i), 1);
            barrier_init(ring.freed(i), Tile::warpgroups * (Tile::shares ? 2 : 1));
        }
        if (Tile::slices > 1 || Tile::keeps) barrier_init(ring.joined, 1);
        barrier_init_done();
        if (Tile::slices > 1) barrier_arrive_expecting(ring.joined, WgmmaUnits<Tile>::bytes(cluster_rank()));
    }
    __syncthreads();
    if (Tile::cluster > 1) cluster_arrive_relaxed(); // others may count on the barriers, or copy here
    if (Tile::shares) cluster_wait();
    int ahead = 0;
    if (AHEAD && threadIdx.x == Tile::consumers) {
        if constexpr (Tile::keeps)
            wgmma_copy_kept<Tile>(ring, tiles, load, steps);
        else
            ahead = wgmma_copy_ahead<Tile>(ring, tiles, load, steps);
    }
    __syncwarp();
    if (Tile::slices > 1) cluster_wait();
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        if (Tile::moves_registers) registers_to<Tile::copying>();
        wgmma_copy_all<Tile, (Behind::normalizes && Tile::slices > 1)>(ring, tiles, load, steps, ahead);
        __syncwarp();
    } else {
        if (Tile::moves_registers) registers_from<Tile::consuming>();
        wgmma_consume<Tile>(ring, tiles, store, steps, moments, normal, behind);
        __syncwarp();
    }
    if (Tile::cluster > 1) { // nobody's memory may be another's before all that others send has come
        if (Tile::shares)
            cluster_arrive();
        else
            cluster_arrive_relaxed();
        cluster_wait();
    }
}

// -- matrices --

// A tile of the columns' operand, or a half of it to a PAIR of blocks: lines along the depth, from line `line` of matrix `z`.
template <class Tile, bool PAIR = false>
SMELT_DEVICE void wgmma_copy_columns(u32 to, const TensorMap &map, u32 full, int depth, int line, int z) {
    if constexpr (Tile::spread != 0)
        copy_box<PAIR>(to, map, full, depth, 0, 0, 0, line / Tile::spread);
    else
        copy_box<PAIR>(to, map, full, depth, line, z);
}

// Operands of a batch of products, from maps of three dimensions: elements of a line (or lines, where the depth is outer),
// lines (depth), matrices. A map of one matrix is shared by all products.
template <class Tile> struct WgmmaMatrices {
    const TensorMap &a, &b;
    bool many_a, many_b;
    struct Cursor {
        int row, col, a, b, depth;
    };
    SMELT_DEVICE void prefetch() const {
        map_prefetch(a);
        map_prefetch(b);
    }
    SMELT_DEVICE Cursor begin(Index row, Index col, Index matrix, int part) const {
        return {(int)row, (int)col, many_a ? (int)matrix : 0, many_b ? (int)matrix : 0, part * Tile::depth};
    }
    SMELT_DEVICE void copy_rows(const Cursor &at, u32 to, u32 full) const {
        if (Tile::outer_a) {
#pragma unroll
            for (int i = 0; i < Tile::copied_rows; i += 64)
                copy_box<Tile::shares_rows>(to + i * Tile::depth * 2, a, full, at.row + i, at.depth, at.a);
        } else {
            copy_box<Tile::shares_rows>(to, a, full, at.depth, at.row, at.a);
        }
    }
    SMELT_DEVICE void copy_columns(const Cursor &at, u32 to, u32 full) const {
        if (Tile::outer_b) {
#pragma unroll
            for (int i = 0; i < Tile::copied_cols; i += 64)
                copy_box<Tile::shares_cols>(to + i * Tile::depth * 2, b, full, at.col + i, at.depth, at.b);
        } else {
            wgmma_copy_columns<Tile, Tile::shares_cols>(to, b, full, at.depth, at.col, at.b);
        }
    }
    SMELT_DEVICE void next(Cursor &at) const { at.depth += Tile::depth; }
};

} // namespace smelt

#endif
