// Convolutions of channels-last tensors, stride 1 or 2, sm_90a alone: a block goes through an image plane by
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
// STRIDE: from one plane or place to the next, 1 or 2. With 2 windows have 3 planes, and every second place
// has its lines at equal distances in shared memory: all channels of two neighbouring places are a line, or
// (APART, where they are no neighbours in memory) an input has two boxes, of the even and the odd places.
template <class ELEMENT, int BLOCKS, int COLS, int DEPTH, int FOLD, int PLACES, int STRIDE, int INPUTS,
          int INPUT_BYTES, int STAGES, bool KEEP, bool SPREAD, bool APART>
struct PlaneTile {
    typedef ELEMENT Element;
    static const int warpgroups = 2, repeat = BLOCKS, cols = COLS, depth = DEPTH, fold = FOLD,
                     places = PLACES, stride = STRIDE;
    static const int inputs = INPUTS, stages = STAGES;
    static const bool roomy = true;
    static const bool keep = KEEP;
    static const int spread = SPREAD ? 32 : 0, group = 32;
    static const int consumers = warpgroups * 128;
    static const int normalizers = STRIDE == 1 ? 3 : 7; // warps beside the copying one
    // Bytes of an input's line, of which one place has tap_line; of the weights of a column.
    static const int tap_line = DEPTH * 2, line = APART ? tap_line : STRIDE * tap_line;
    static const int boxes = APART ? STRIDE : 1, box_bytes = INPUT_BYTES / boxes; // of an input
    // Of an input, rounded up to where the next may begin; of the weights of a place in all planes.
    static const int input_bytes = INPUT_BYTES, tap_bytes = FOLD * COLS * tap_line,
                     stage_bytes = PLACES * tap_bytes;
    // The window's plane whose weights have this number: the last first, with stride 2 the one between the
    // others last.
    static SMELT_DEVICE int plane_of(int slot) {
        return STRIDE == 1 ? FOLD - 1 - slot : slot == 0 ? 2 : slot - 1;
    }
    // Of a place of the input: its line in shared memory, and where it begins in it.
    static SMELT_DEVICE int line_of(int place) { return STRIDE == 1 ? place : place >> 1; }
    static SMELT_DEVICE int begin_of(int place) {
        return STRIDE == 1 ? 0 : (place & 1) * (APART ? box_bytes : tap_line);
    }
};

// Numbers of planes, lines and places, in this order, with 1 and 0 for what there is not; planes have no
// dilation. A block has `tile` lines and places of the result's plane and a box of the input's: as many lines
// and (with stride 2 pairs of) places as its windows have. A piece is 8 lines of 8 places, or (flat) 64
// places of a line. down: lines from one window to the next.
struct PlaneWindow {
    Index in[3], out[3];
    int kernel[3], dilation[3], pad[3], tile[2], box[2], down;
    bool flat;
    int channels, apart;       // apart: from a place's channels to the next one's, where boxes are apart
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
    // The first plane, line or place of windows.
    SMELT_DEVICE Index first_plane(Index plane, int stride) const { return plane * stride - pad[0]; }
    SMELT_DEVICE int first_line(Index line) const { return (int)line * down - pad[1]; }
    SMELT_DEVICE int first_place(Index place, int stride) const { return (int)place * stride - pad[2]; }
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
            for (int slot = 0; slot < Tile::fold; ++slot, at += Tile::cols * Tile::tap_line) {
                const int tap = (Tile::plane_of(slot) * window.kernel[1] + line) * Tile::places + place;
                wgmma_copy_columns<Tile>(at, w, full,
                                         Tile::spread ? tap * window.channels + channel : channel,
                                         Tile::spread ? (int)col : tap, (int)col);
            }
        stage.next<Tile::stages>();
    }
}

// What comes of the input, in turn: take(input, work, run, plane, channel).
template <class Tile, class Take>
SMELT_DEVICE void plane_inputs(const PlaneWindow &window, const Take &take) {
    WgmmaStage input;
    for (Index number = (Index)blockIdx.x; number < PlaneWork<Tile>::count(window);
         number += (Index)gridDim.x) {
        PlaneWork<Tile> work(window, number);
        PlaneRun run;
        while (work.next(run)) {
            const Index end =
                smaller(window.in[0], window.first_plane(run.end - 1, Tile::stride) + Tile::fold);
            for (Index plane = larger(window.first_plane(run.first, Tile::stride), (Index)0); plane < end;
                 ++plane)
#pragma unroll 1
                for (int channel = 0; channel < window.channels; channel += Tile::depth) {
                    take(input, work, run, plane, channel);
                    input.next<Tile::inputs>();
                }
        }
    }
}

template <class Tile>
SMELT_DEVICE void plane_copy(const InputRing<Tile> &ring, const PlaneWindow &window, const TensorMap &x,
                             const TensorMap &w) {
    WgmmaStage stage;
    int missing = window.channels; // channels whose weights have not come, where they stay
    plane_inputs<Tile>(window, [&](const WgmmaStage &input, const PlaneWork<Tile> &work, const PlaneRun &run,
                                   Index plane, int channel) {
        barrier_wait(ring.input_free + input.at * 8, input.round ^ 1);
        barrier_arrive_expecting(ring.input_full + input.at * 8,
                                 Tile::boxes * window.box[0] * window.box[1] * Tile::line);
#pragma unroll
        for (int i = 0; i < Tile::boxes; ++i)
            copy_box(ring.inputs + input.at * Tile::input_bytes + i * Tile::box_bytes, x,
                     ring.input_full + input.at * 8, channel + i * window.apart,
                     Tile::line_of(window.first_place(run.place, Tile::stride)), window.first_line(run.line),
                     (int)plane, (int)run.image);
        if (Tile::keep && missing <= 0) return;
        plane_copy_weights<Tile>(ring, window, w, stage, channel, work.col);
        missing -= Tile::depth;
    });
}

// A thread of those that normalise: packs of the same 8 channels in the lines of boxes.
template <class Tile, class Normal> struct PlaneNormalizer {
    typedef Pack<typename Tile::Element, 8> Eight;
    static const int packs = Tile::line / 16, lines = Tile::normalizers * 32 / packs; // of a line; at a time
    static const int ahead = 4, turn = 2 * lines * Tile::line;
    static_assert(turn % 1024 == 0, "lines of a turn lie alike");
    const PlaneWindow &window;
    const Normal &normal;
    int first, channel, beside; // line; of the input; which place of a pair
    u32 begins[2];              // of the first two lines, in a box
    // Of the box under way: the first line and place, those that are kept, whether the image has all of it.
    int line, place, kept_line, kept_place;
    Index plane;
    bool whole, keeps;
    SMELT_DEVICE PlaneNormalizer(const PlaneWindow &numbers, const Normal &what)
        : window(numbers), normal(what) {
        const int thread = (int)threadIdx.x - Tile::consumers - 32, pack = thread % packs;
        first = thread / packs;
        channel = pack % (packs / Tile::stride) * 8;
        beside = pack / (packs / Tile::stride);
        begins[0] = swizzled<Tile::line>(first, pack);
        begins[1] = swizzled<Tile::line>(first + lines, pack);
    }
    SMELT_DEVICE void begin(const PlaneWork<Tile> &work, const PlaneRun &run, Index own_plane) {
        plane = own_plane;
        line = window.first_line(run.line);
        place = Tile::line_of(window.first_place(run.place, Tile::stride)) * Tile::stride;
        kept_line = (int)run.line * window.down;
        kept_place = (int)run.place * Tile::stride;
        whole = line >= 0 && place >= 0 && line + window.box[0] <= window.in[1] &&
                place + window.box[1] * Tile::stride <= window.in[2];
        keeps = work.col == 0 && plane >= run.first * Tile::stride && plane < run.end * Tile::stride;
    }
    // CHECKS: some places are not in the image, whose zeros stay.
    template <bool CHECKS, class Factors>
    SMELT_DEVICE void box(u32 at, int first_channel, const Factors &factors) const {
        const int all = window.box[0] * window.box[1];
        for (int row = first; row < all; row += ahead * lines, at += ahead / 2 * turn) {
            Eight eights[ahead];
#pragma unroll
            for (int i = 0; i < ahead; ++i)
                if (row + i * lines < all) normal.get(at + begins[i % 2] + i / 2 * turn, eights[i]);
#pragma unroll
            for (int i = 0; i < ahead; ++i) {
                const int own = row + i * lines,
                          down = CHECKS || Normal::Keeps::keeps ? quotient(own, window.box[1]) : 0;
                const int own_line = line + down,
                          own_place = place + beside + (own - down * window.box[1]) * Tile::stride;
                if (own >= all) continue;
                if (CHECKS && ((u32)own_line >= (u32)window.in[1] || (u32)own_place >= (u32)window.in[2]))
                    continue;
                const Eight made = normal.put_normal(at + begins[i % 2] + i / 2 * turn, eights[i], factors);
                if constexpr (Normal::Keeps::keeps)
                    if (keeps && (u32)(own_line - kept_line) < (u32)(window.tile[0] * window.down) &&
                        (u32)(own_place - kept_place) < (u32)(window.tile[1] * Tile::stride))
                        normal.keep.put(plane, own_line, own_place, first_channel + channel, made);
            }
        }
    }
};

// What the warps beside the copying thread do: each box of the input is normalised where it lies. What is
// kept of it belongs to one tile alone.
template <class Tile, class Normal>
SMELT_DEVICE void plane_normalize(const InputRing<Tile> &ring, const PlaneWindow &window,
                                  const Normal &normal) {
    PlaneNormalizer<Tile, Normal> own(window, normal);
    barrier_wait(ring.factors, 0);
    plane_inputs<Tile>(window, [&](const WgmmaStage &input, const PlaneWork<Tile> &work, const PlaneRun &run,
                                   Index plane, int channel) {
        const auto factors = normal.factors(scales_of<Normal>(), channel + own.channel);
        const u32 box = ring.inputs + input.at * Tile::input_bytes;
        own.begin(work, run, plane);
        barrier_wait(ring.input_full + input.at * 8, input.round);
        if (own.whole)
            own.template box<false>(box, channel, factors);
        else
            own.template box<true>(box, channel, factors);
        stores_done();
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(ring.input_done + input.at * 8);
    });
}

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
          a_form(
              operand_form<Tile::line>(16, (numbers.flat ? 8 : numbers.box[1] * numbers.down) * Tile::line)),
          b_form(operand_form<Tile::tap_line>(16, 8 * Tile::tap_line)) {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j)
            begins[j] =
                (window.line_of(threadIdx.x / 128 * Tile::repeat + j, 0) * window.down * window.box[1] +
                 window.place_of(threadIdx.x / 128 * Tile::repeat + j, 0)) *
                Tile::line;
    }
    // From where the window of a piece's first place begins to a tap, in bytes.
    SMELT_DEVICE u32 tap_at(int t) const {
        const int place = (Tile::stride == 1 ? 0 : window.pad[2] & 1) + t * window.dilation[2];
        return Tile::line_of(place) * Tile::line + Tile::begin_of(place);
    }
    // Begins the products of a line of taps with the weights of the planes of the window from number `slot`
    // on: SUMS of a thread, the first of those that there are.
    template <int SUMS, int ALL>
    SMELT_DEVICE void multiply(float (&sums)[Tile::repeat][ALL], int slot, u32 from) {
        const u64 b = operand_at(b_form, ring.weights + stage.at * Tile::stage_bytes +
                                             slot * Tile::cols * Tile::tap_line);
        wgmma_begin();
#pragma unroll
        for (int t = 0; t < Tile::places; ++t)
#pragma unroll
            for (int k = 0; k < Tile::depth / 16; ++k)
#pragma unroll
                for (int j = 0; j < Tile::repeat; ++j)
                    Wgmma<typename Tile::Element, 2 * SUMS, false, false>::run(
                        reinterpret_cast<float(&)[SUMS]>(sums[j]),
                        operand_at(a_form, from + begins[j] + tap_at(t) + k * 32),
                        b + (t * Tile::tap_bytes + k * 32 >> 4), 1);
        wgmma_commit();
    }
    // A plane of the input. meanwhile(): while products are on their way.
    template <int SUMS, int ALL, class Meanwhile>
    SMELT_DEVICE void plane(float (&sums)[Tile::repeat][ALL], int slot, const Meanwhile &meanwhile) {
        const int lines = wgmma_unknown(window.kernel[1]), channels = wgmma_unknown(window.channels);
        InputReads<Tile> reads;
#pragma unroll 1
        for (int channel = 0; channel < channels; channel += Tile::depth) {
            const u32 box = ring.inputs + input.at * Tile::input_bytes;
            barrier_wait(ring.input_done + input.at * 8, input.round);
#pragma unroll 1
            for (int line = 0; line < lines; ++line) {
                if (!Tile::keep || first) barrier_wait(ring.full + stage.at * 8, stage.round);
                multiply<SUMS>(sums, slot, box + line * window.dilation[1] * window.box[1] * Tile::line);
                if (line > 0 || lines == 1) meanwhile();
                reads.pass_on(ring.free + stage.at * 8);
                stage.next<Tile::stages>();
            }
            reads.input = ring.input_free + input.at * 8;
            input.next<Tile::inputs>();
        }
        wgmma_wait<0>();
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j) wgmma_settle(sums[j]);
        reads.free_weights();
        reads.free_input();
        first = false;
    }
};

template <class Tile> struct PlaneSums {
    static const int each = Tile::cols / 2;
    typedef float Plane[Tile::repeat][each];
    Plane whole; // of the plane of the result that is whole
    template <int COUNT>
    static SMELT_DEVICE void clear(float (&sums)[Tile::repeat][COUNT], int begin = 0, int count = COUNT) {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j)
#pragma unroll
            for (int i = 0; i < count; ++i) sums[j][begin + i] = 0.0f;
    }
    // Sums from number `begin` on to those from number `at` on.
    template <int FROM, int TO>
    static SMELT_DEVICE void move(const float (&from)[Tile::repeat][FROM], int begin,
                                  float (&to)[Tile::repeat][TO], int at, int count) {
#pragma unroll
        for (int j = 0; j < Tile::repeat; ++j)
#pragma unroll
            for (int i = 0; i < count; ++i) to[j][at + i] = from[j][begin + i];
    }
};

// What a block does of a run: leave(plane) stores `own.whole` as a plane of the result, while products of the
// next plane of the input are on their way. The sums of FOLD planes of the result: of the one that is whole
// next, of that behind it, ...
template <class Tile, int STRIDE = Tile::stride> struct PlaneMarch {
    typedef PlaneSums<Tile> Sums;
    template <class Leave>
    static SMELT_DEVICE void run(PlaneOperands<Tile> &operands, const PlaneRun &run, Sums &own,
                                 const Leave &leave) {
        const PlaneWindow &window = operands.window;
        const int each = Sums::each, more = (Tile::fold - 1) * each;
        const Index begin = run.first - window.pad[0], last = run.end - window.pad[0] + Tile::fold - 2;
        float sums[Tile::repeat][Tile::fold * each];
        Index ready = -1; // plane of the result that own.whole has
        const auto leave_ready = [&] {
            if (ready >= 0) leave(ready);
            ready = -1;
        };
        const auto shift = [&] { // nothing is under way; a plane's sums are whole
            Sums::move(sums, 0, own.whole, 0, each);
            Sums::move(sums, each, sums, 0, more);
            Sums::clear(sums, more, each);
        };
        Sums::clear(sums);
        Sums::clear(own.whole);
        for (Index plane = begin; plane <= last; ++plane) {
            const bool inside = plane >= 0 && plane < window.in[0];
            if (plane == begin || plane == last) { // of use to one plane of the result
                leave_ready();
                shift();
                if (inside)
                    operands.template plane<each>(own.whole, plane == begin ? Tile::fold - 1 : 0, [] {});
                if (plane == begin) Sums::move(own.whole, 0, sums, more - each, each);
                ready = plane == last ? run.end - 1 : -1;
                continue;
            }
            if (inside)
                operands.template plane<Tile::fold * each>(sums, 0, leave_ready);
            else
                leave_ready();
            shift();
            ready = plane - begin >= Tile::fold - 1 ? plane + window.pad[0] - (Tile::fold - 1) : -1;
        }
        leave_ready();
    }
};

// Every second plane of the input is of use to two planes of the result, the last one of the one's windows
// and the first of the other's; the one between them to one.
template <class Tile> struct PlaneMarch<Tile, 2> {
    typedef PlaneSums<Tile> Sums;
    template <class Leave>
    static SMELT_DEVICE void run(PlaneOperands<Tile> &operands, const PlaneRun &run, Sums &own,
                                 const Leave &leave) {
        const PlaneWindow &window = operands.window;
        const int each = Sums::each;
        float sums[Tile::repeat][2 * each];
        const auto inside = [&](Index plane) { return plane >= 0 && plane < window.in[0]; };
        Sums::clear(sums, 0, each);
        if (inside(window.first_plane(run.first, 2))) operands.template plane<each>(sums, 1, [] {});
        Index ready = -1; // plane of the result that own.whole has
        const auto leave_ready = [&] {
            if (ready >= 0) leave(ready);
            ready = -1;
        };
        for (Index plane = run.first; plane < run.end; ++plane) {
            const Index first = window.first_plane(plane, 2);
            if (inside(first + 1))
                operands.template plane<each>(sums, 2, leave_ready);
            else
                leave_ready();
            Sums::clear(sums, each, each);
            if (inside(first + 2)) operands.template plane<2 * each>(sums, 0, [] {});
            Sums::move(sums, 0, own.whole, 0, each);
            Sums::move(sums, each, sums, 0, each);
            ready = plane;
        }
        leave_ready();
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
            Index rows[2 * Tile::repeat]; // of the result's first plane; -1: not stored
#pragma unroll
            for (int r = 0; r < 2 * Tile::repeat; ++r)
                rows[r] = window.row(run.image, run.line, run.place, threadIdx.x / 128 * Tile::repeat + r / 2,
                                     (int)wgmma_row() + r % 2 * 8);
            PlaneMarch<Tile>::run(operands, run, own, [&](Index plane) {
                SumPut<Tile, Store, 2 * Tile::repeat> put;
#pragma unroll
                for (int r = 0; r < 2 * Tile::repeat; ++r)
                    put.rows[r] =
                        rows[r] < 0 ? window.images * window.count() : rows[r] + plane * window.step[0];
                put.place(work.col, 0);
                put.begin(store);
                put.finish(store, own.whole, moments);
            });
        }
        moments.leave_tile(work.part, work.col);
    }
    moments.leave_block();
}

// moments: MomentParts of each part, or NoMoments. normal: of the input, or NoNormal.
template <class Tile, class Store, class Moments, class Normal>
SMELT_DEVICE void plane_product(const PlaneWindow &window, const TensorMap &x, const TensorMap &w,
                                const Store &store, const Moments &moments, const Normal &normal) {
    const bool NORMAL = Normal::normalizes;
    const bool MANY = NORMAL && Tile::normalizers > 3;
    const int BESIDE = !NORMAL ? 40 : MANY ? 64 : 72, OWN = !NORMAL ? 232 : MANY ? 192 : 216; // registers
    const InputRing<Tile> ring = input_ring<Tile, (NORMAL ? Tile::normalizers : 0)>(x, w);
    wait_for_previous_kernel();
    if (threadIdx.x >= Tile::consumers) {
        registers_to<BESIDE>();
        if (threadIdx.x == Tile::consumers) plane_copy<Tile>(ring, window, x, w);
        if constexpr (NORMAL)
            if (threadIdx.x >= Tile::consumers + 32) plane_normalize<Tile>(ring, window, normal);
        __syncwarp();
    } else {
        registers_from<OWN>();
        if constexpr (NORMAL) {
            normal.template find<Tile::consumers>(scales_of<Normal>());
            if (threadIdx.x == 0) barrier_arrive(ring.factors);
        }
        plane_consume<Tile>(ring, window, store, moments);
    }
}

} // namespace smelt

#endif
