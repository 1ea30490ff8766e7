// Convolutions of channels-last tensors with stride 1, sm_90a alone: a block goes through an image plane by
// plane, for the same lines and places of each, and multiplies what it has of a plane by the weights of all
// planes of the window at once, side by side: the sums of as many planes of the result, one of which is whole
// afterwards.
#ifndef SMELT_WGMMA_PLANES_CUH
#define SMELT_WGMMA_PLANES_CUH

#include "smelt/wgmma_inputs.cuh"

namespace smelt {

// A block's work: 2 warpgroups with BLOCKS pieces of 64 places of a plane each, COLS columns; windows of FOLD
// planes, and of PLACES places of a line. Stages of DEPTH channels of the input, INPUTS of INPUT_BYTES, and
// of weights of DEPTH channels of PLACES taps in each plane. KEEP: all weights have stages, and stay.
template <class ELEMENT, int BLOCKS, int COLS, int DEPTH, int FOLD, int PLACES, int INPUTS, int INPUT_BYTES,
          int STAGES, bool KEEP, bool SPREAD>
struct PlaneTile {
    typedef ELEMENT Element;
    static const int warpgroups = 2, repeat = BLOCKS, cols = COLS, depth = DEPTH, fold = FOLD,
                     places = PLACES;
    static const int inputs = INPUTS, stages = STAGES, resident = 1;
    static const bool keep = KEEP;
    static const int spread = SPREAD ? 32 : 0, group = 32;
    static const int consumers = warpgroups * 128;
    static const int line = DEPTH * 2; // bytes
    // Of an input, rounded up to where the next may begin; of the weights of a place in all planes.
    static const int input_bytes = INPUT_BYTES, tap_bytes = FOLD * COLS * line,
                     stage_bytes = PLACES * tap_bytes;
};

// Numbers of planes, lines and places, in this order, with 1 and 0 for what there is not; planes have no
// dilation. A block has `tile` lines and places of the result's plane and `box` (tile + (kernel - 1) *
// dilation) of the input's. A piece is 8 lines of 8 places, or (flat) 64 places of a line.
struct PlaneWindow {
    Index in, out[3]; // in: planes
    int kernel[3], dilation[3], pad[3], tile[2], box[2];
    bool flat;
    int channels;
    Index step[3];             // of the result: from one plane, line and place to the next, in places
    Index images, parts, cols; // parts of an image that are a block's each; tiles of columns
    SMELT_DEVICE Index count() const { return out[0] * out[1] * out[2]; }
    // Of a place of a piece, within the tile.
    SMELT_DEVICE int line_of(int piece, int inside) const {
        return flat ? piece / (tile[1] / 64) : piece / (tile[1] / 8) * 8 + inside / 8;
    }
    SMELT_DEVICE int place_of(int piece, int inside) const {
        return flat ? piece % (tile[1] / 64) * 64 + inside : piece % (tile[1] / 8) * 8 + inside % 8;
    }
    // Number of a place of a tile's piece in the image's first plane, or -1 outside.
    SMELT_DEVICE Index row(Index image, Index line, Index place, int piece, int inside) const {
        line += line_of(piece, inside);
        place += place_of(piece, inside);
        return line < out[1] && place < out[2] ? image * count() + line * step[1] + place * step[2] : -1;
    }
};

// What a block does at one go: the planes from `first` to before `end` of one tile.
struct PlaneRun {
    Index image, line, place, first, end;
};

template <class Tile> struct PlaneWork {
    const PlaneWindow &window;
    Index col, part, image, at, end; // the planes of the image's tiles, one tile's after the other's
    SMELT_DEVICE Index along(int axis) const {
        return ceil_div(window.out[axis], (Index)window.tile[axis - 1]);
    }
    SMELT_DEVICE PlaneWork(const PlaneWindow &all, Index number) : window(all) {
        const Index planes = along(1) * along(2) * window.out[0];
        col = residue(number, window.cols) * Tile::cols;
        part = quotient(number, window.cols);
        image = quotient(part, window.parts);
        const Index inside = part - image * window.parts;
        at = (Index)quotient((i64)planes * inside, (i64)window.parts);
        end = (Index)quotient((i64)planes * (inside + 1), (i64)window.parts);
    }
    SMELT_DEVICE bool next(PlaneRun &run) {
        if (at >= end) return false;
        const Index tile = quotient(at, window.out[0]), line = quotient(tile, along(2));
        run.image = image;
        run.line = line * window.tile[0];
        run.place = (tile - line * along(2)) * window.tile[1];
        run.first = at - tile * window.out[0];
        run.end = smaller(window.out[0], run.first + end - at);
        at += run.end - run.first;
        return true;
    }
    SMELT_DEVICE static Index count(const PlaneWindow &window) {
        return window.images * window.parts * window.cols;
    }
};

// x: the input as (channel, place, line, plane, image); w: the weights as for WgmmaWindows.
template <class Tile>
SMELT_DEVICE void plane_copy_weights(const InputRing<Tile> &ring, const PlaneWindow &window,
                                     const TensorMap &w, WgmmaStage &stage, int channel, Index col) {
#pragma unroll 1
    for (int line = 0; line < window.kernel[1]; ++line) {
        const u32 full = ring.full + stage.at * 8;
        u32 at = ring.weights + stage.at * Tile::stage_bytes;
        barrier_wait(ring.free + stage.at * 8, stage.round ^ 1);
        barrier_arrive_expecting(full, Tile::stage_bytes);
#pragma unroll
        for (int place = 0; place < Tile::places; ++place)
#pragma unroll
            for (int slot = 0; slot < Tile::fold; ++slot, at += Tile::cols * Tile::line) {
                const int tap = ((Tile::fold - 1 - slot) * window.kernel[1] + line) * Tile::places + place;
                wgmma_copy_columns<Tile>(at, w, full,
                                         Tile::spread ? tap * window.channels + channel : channel,
                                         Tile::spread ? (int)col : tap, (int)col);
            }
        stage.next<Tile::stages>();
    }
}

template <class Tile>
SMELT_DEVICE void plane_copy(const InputRing<Tile> &ring, const PlaneWindow &window, const TensorMap &x,
                             const TensorMap &w) {
    WgmmaStage input, stage;
    bool first = true;
    for (Index number = (Index)blockIdx.x; number < PlaneWork<Tile>::count(window);
         number += (Index)gridDim.x) {
        PlaneWork<Tile> work(window, number);
        PlaneRun run;
        while (work.next(run)) {
            const Index end = smaller(window.in, run.end - window.pad[0] + Tile::fold - 1);
            for (Index plane = larger(run.first - window.pad[0], (Index)0); plane < end;
                 ++plane, first = false)
#pragma unroll 1
                for (int channel = 0; channel < window.channels; channel += Tile::depth) {
                    barrier_wait(ring.input_free + input.at * 8, input.round ^ 1);
                    barrier_arrive_expecting(ring.input_full + input.at * 8,
                                             window.box[0] * window.box[1] * Tile::line);
                    copy_box(ring.inputs + input.at * Tile::input_bytes, x, ring.input_full + input.at * 8,
                             channel, (int)run.place - window.pad[2], (int)run.line - window.pad[1],
                             (int)plane, (int)run.image);
                    input.next<Tile::inputs>();
                    if (!Tile::keep || first)
                        plane_copy_weights<Tile>(ring, window, w, stage, channel, work.col);
                }
        }
    }
}

// The sums of FOLD planes of the result: of the one that is whole next, of that behind it, ...
template <class Tile> struct PlaneSums {
    static const int each = Tile::cols / 2;
    float sums[Tile::repeat][Tile::fold * each], whole[Tile::repeat][each];
    // Nothing is under way; a plane's sums are whole.
    SMELT_DEVICE void shift() {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j) {
#pragma unroll
            for (int i = 0; i < each; ++i) whole[j][i] = sums[j][i];
#pragma unroll
            for (int i = 0; i < (Tile::fold - 1) * each; ++i) sums[j][i] = sums[j][i + each];
#pragma unroll
            for (int i = 0; i < each; ++i) sums[j][(Tile::fold - 1) * each + i] = 0.0f;
        }
    }
    SMELT_DEVICE void clear() {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j) {
#pragma unroll
            for (int i = 0; i < Tile::fold * each; ++i) sums[j][i] = 0.0f;
#pragma unroll
            for (int i = 0; i < each; ++i) whole[j][i] = 0.0f;
        }
    }
    // The first plane's sums, which lie in `whole`.
    SMELT_DEVICE void enter() {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j) {
#pragma unroll
            for (int i = 0; i < each; ++i) sums[j][(Tile::fold - 2) * each + i] = whole[j][i];
        }
    }
};

// What a thread knows of the input and of the weights. begins: of pieces in an input, in bytes.
template <class Tile> struct PlaneOperands {
    const InputRing<Tile> &ring;
    const PlaneWindow &window;
    const u64 a_form, b_form;
    u32 begins[Tile::repeat];
    WgmmaStage input, stage;
    bool first = true; // the weights that stay are waited for
    SMELT_DEVICE PlaneOperands(const InputRing<Tile> &all, const PlaneWindow &numbers)
        : ring(all), window(numbers),
          a_form(operand_form<Tile::line>(16, (numbers.flat ? 8 : numbers.box[1]) * Tile::line)),
          b_form(operand_form<Tile::line>(16, 8 * Tile::line)) {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j)
            begins[j] = (window.line_of(threadIdx.x / 128 * Tile::repeat + j, 0) * window.box[1] +
                         window.place_of(threadIdx.x / 128 * Tile::repeat + j, 0)) *
                        Tile::line;
    }
    // Begins the products of a line of taps with the weights of the planes of the window from number `slot`
    // on, the last first.
    template <int SUMS> SMELT_DEVICE void multiply(float (&sums)[Tile::repeat][SUMS], int slot, u32 from) {
        const u64 b =
            operand_at(b_form, ring.weights + stage.at * Tile::stage_bytes + slot * Tile::cols * Tile::line);
        wgmma_begin();
#pragma unroll
        for (int t = 0; t < Tile::places; ++t)
#pragma unroll
            for (int k = 0; k < Tile::depth / 16; ++k)
#pragma unroll
                for (int j = 0; j < Tile::repeat; ++j)
                    Wgmma<typename Tile::Element, 2 * SUMS, false, false>::run(
                        sums[j],
                        operand_at(a_form, from + begins[j] + t * window.dilation[2] * Tile::line + k * 32),
                        b + (t * Tile::tap_bytes + k * 32 >> 4), 1);
        wgmma_commit();
    }
    // A plane of the input. meanwhile(): while products are on their way.
    template <int SUMS, class Meanwhile>
    SMELT_DEVICE void plane(float (&sums)[Tile::repeat][SUMS], int slot, const Meanwhile &meanwhile) {
        const int lines = wgmma_unknown(window.kernel[1]);
        const bool announces = threadIdx.x % 128 == 0;
        u32 weights_before = 0, input_before = 0; // barriers of what instructions under way read
#pragma unroll 1
        for (int channel = 0; channel < window.channels; channel += Tile::depth) {
            const u32 box = ring.inputs + input.at * Tile::input_bytes;
            barrier_wait(ring.input_full + input.at * 8, input.round);
#pragma unroll 1
            for (int line = 0; line < lines; ++line) {
                if (!Tile::keep || first) barrier_wait(ring.full + stage.at * 8, stage.round);
                multiply(sums, slot, box + line * window.dilation[1] * window.box[1] * Tile::line);
                if (line > 0 || lines == 1) meanwhile();
                wgmma_wait<1>();
                if (!Tile::keep && announces && weights_before != 0) barrier_arrive(weights_before);
                if (announces && input_before != 0) barrier_arrive(input_before);
                weights_before = ring.free + stage.at * 8;
                input_before = 0;
                stage.next<Tile::stages>();
            }
            input_before = ring.input_free + input.at * 8;
            input.next<Tile::inputs>();
        }
        wgmma_wait<0>();
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j) wgmma_settle(sums[j]);
        if (!Tile::keep && announces) barrier_arrive(weights_before);
        if (announces) barrier_arrive(input_before);
        first = false;
    }
};

template <class Tile, class Store, class Moments>
SMELT_DEVICE void plane_consume(const InputRing<Tile> &ring, const PlaneWindow &window, const Store &store,
                                const Moments &moment_parts) {
    auto moments = tile_moments<Tile>(moment_parts);
    PlaneOperands<Tile> operands(ring, window);
    PlaneSums<Tile> own;
    for (Index number = (Index)blockIdx.x; number < PlaneWork<Tile>::count(window);
         number += (Index)gridDim.x) {
        PlaneWork<Tile> work(window, number);
        PlaneRun run;
        while (work.next(run)) {
            const Index begin = run.first - window.pad[0], last = run.end - window.pad[0] + Tile::fold - 2;
            Index rows[2 * Tile::repeat]; // of the result's first plane; -1: not stored
#pragma unroll
            for (int r = 0; r < 2 * Tile::repeat; ++r)
                rows[r] = window.row(run.image, run.line, run.place, threadIdx.x / 128 * Tile::repeat + r / 2,
                                     (int)wgmma_row() + r % 2 * 8);
            Index ready = -1; // plane of the result that own.whole has
            const auto leave = [&] {
                if (ready < 0) return;
                SumPut<Tile, Store, 2 * Tile::repeat> put;
#pragma unroll
                for (int r = 0; r < 2 * Tile::repeat; ++r)
                    put.rows[r] =
                        rows[r] < 0 ? window.images * window.count() : rows[r] + ready * window.step[0];
                put.place(work.col, 0);
                put.begin(store);
                put.finish(store, own.whole, moments);
                ready = -1;
            };
            own.clear();
            for (Index plane = begin; plane <= last; ++plane) {
                const bool inside = plane >= 0 && plane < window.in;
                if (plane == begin || plane == last) { // of use to one plane of the result
                    leave();
                    own.shift();
                    if (inside) operands.plane(own.whole, plane == begin ? Tile::fold - 1 : 0, [] {});
                    if (plane == begin) own.enter();
                    ready = plane == last ? run.end - 1 : -1;
                    continue;
                }
                if (inside)
                    operands.plane(own.sums, 0, leave);
                else
                    leave();
                own.shift();
                ready = plane - begin >= Tile::fold - 1 ? plane + window.pad[0] - (Tile::fold - 1) : -1;
            }
            leave();
        }
        moments.leave_tile(work.part, work.col);
    }
    moments.leave_block();
}

// moments: MomentParts of each part, or NoMoments.
template <class Tile, class Store, class Moments>
SMELT_DEVICE void plane_product(const PlaneWindow &window, const TensorMap &x, const TensorMap &w,
                                const Store &store, const Moments &moments) {
    const InputRing<Tile> ring = input_ring<Tile>(x, w);
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        registers_to<40>();
        if (threadIdx.x == Tile::consumers) plane_copy<Tile>(ring, window, x, w);
        __syncwarp();
    } else {
        registers_from<232>();
        plane_consume<Tile>(ring, window, store, moments);
    }
}

} // namespace smelt

#endif
