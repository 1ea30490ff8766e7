// Convolutions of each channel by itself on matrix units, where channels are neighbours in memory: pixels side by side are multiplied
// with a band matrix that has the window's weights of two neighbouring places, and four channels at a time, each on a diagonal of its
// own. Most of that is zeros, on units that are much faster and take 16-bit elements as they are. An infinity or NaN makes NaNs of
// channels and places that share its matrix, too.
#ifndef SMELT_DEPTHWISE_STRIPS_CUH
#define SMELT_DEPTHWISE_STRIPS_CUH

#include "smelt/mma.cuh"
#include "smelt/window.cuh"

namespace smelt {

// A block computes 32 places, strips of WIDTH, in DEPTH planes, row by row, each of its GROUPS warps 16 of their channels. What the
// strips' windows read of the rows in front lies in a ring of STAGES in shared memory, a row at a time, or where strips have a single
// row (FLAT) all of it: for each four channels pixels one behind the other, two of which are a row of a matrix. Row r is what a pair
// of places, 2 r and 2 r + 1, reads. Sums go through shared memory, since a block copies and stores the channels of a place side by
// side. HELD: threads keep their weights in registers.
template <int KERNEL_Z_, int KERNEL_Y_, int KERNEL_X_, int STRIDE_Z_, int STRIDE_Y_, int STRIDE_X_, int DEPTH_, int WIDTH_, int STAGES_, int GROUPS_, bool FLAT_, bool HELD_>
struct DepthwiseStrip {
    static const int KERNEL_Y = KERNEL_Y_, KERNEL_X = KERNEL_X_, STRIDE_Y = FLAT_ ? 1 : STRIDE_Y_, STRIDE_X = STRIDE_X_;
    static const int KERNEL_Z = KERNEL_Z_, STRIDE_Z = STRIDE_Z_, DEPTH = DEPTH_, WIDTH = WIDTH_, STRIPS = 32 / WIDTH, STAGES = STAGES_, GROUPS = GROUPS_;
    static const bool FLAT = FLAT_, HELD = HELD_;
    static const int THREADS = GROUPS * 32, PACKS = GROUPS * 2, CHANNELS = GROUPS * 16; // of a block
    static const int PLANES = (DEPTH - 1) * STRIDE_Z + KERNEL_Z, LINES_Y = FLAT ? KERNEL_Y : 1;
    static const int LINES = PLANES * LINES_Y; // of the input in a stage
    static const int KERNEL_ROWS = KERNEL_Z * KERNEL_Y, TAPS = KERNEL_ROWS * KERNEL_X; // of a window
    static const int STEPS = (STRIDE_X + KERNEL_X + 1) / 2;                             // pairs of pixels that a pair of places reads
    static const int LIVE = FLAT ? 1 : (KERNEL_Y + STRIDE_Y - 1) / STRIDE_Y; // rows of the result that a row of the input is part of
    // Rows whose code is laid out one after the other, so that sums stay where they are; more would not stay in the instructions' cache.
    static const int TURN = LIVE <= 3 ? LIVE : 1;
    // Pixels of a strip, in pairs; where places are two apart, pairs of even numbers first: what a step reads is side by side.
    static const int PAIRS = STRIDE_X * (WIDTH - 2) / 2 + STEPS, EVEN = (PAIRS + 1) / 2, PIXELS = STRIDE_X == 1 ? 2 * PAIRS : 4 * EVEN;
    static SMELT_DEVICE int step(int k) { return STRIDE_X == 1 ? k : k % 2 * EVEN + k / 2; }
    // Threads for each four channels of a strip, which copy neighbouring pixels in ROUNDS. An odd number of pairs lies between four
    // channels and the next, for the banks' sake.
    static const int ACROSS = WIDTH / 4, ROUNDS = (PIXELS + ACROSS - 1) / ACROSS, LINE = STRIPS * PIXELS / 2 | 1;
    struct Stage { Pack<u32, 4> at[LINES][CHANNELS / 4][LINE]; };
    static SMELT_DEVICE int place(int round, int own) {
        if (STRIDE_X == 1) return round * ACROSS + own;
        if (ACROSS == 2) return (round % 2 * EVEN + round / 2) * 2 + own;
        return (own / 2 % 2 * EVEN + own / 4) * 2 + own % 2 + round * (ACROSS / 2);
    }
    // Sums of a row. Neighbours that threads access at the same time lie in different banks.
    struct Sums { Pack<float, 4> at[DEPTH][32][GROUPS > 2 ? 16 : 8]; };
    static SMELT_DEVICE int slot(int place, int four) { return four ^ place % 8 ^ four / 8; }
    // Of a window's rows, with zeros beside them: for each tap, 4 weights, one of each four channels, for each number among four.
    static const int COLUMNS = STRIDE_X + 2 * STEPS;
    struct Weights { u16 at[KERNEL_ROWS][COLUMNS][4][4]; };
};

// Where strip number `unit` of all begins.
struct StripPlace { Index entry, plane, row, column; };
template <class Tile> SMELT_DEVICE StripPlace strip_place(Index unit, const Window &window, Index band) {
    const Index strips = ceil_div(window.out[2], (Index)Tile::WIDTH), bands = ceil_div(window.out[1], band);
    const Index deep = ceil_div(window.out[0], (Index)Tile::DEPTH), rows = quotient(unit, strips), planes = quotient(rows, bands), entry = quotient(planes, deep);
    return StripPlace{entry, (planes - entry * deep) * Tile::DEPTH, (rows - planes * bands) * band, (unit - rows * strips) * Tile::WIDTH};
}

// Where a thread reads the next lines of a set of strips: its first pixel's place and row, and which of its pixels and planes are there.
template <class Tile> struct StripSource {
    static const int FOURS = Tile::CHANNELS / 4;
    Index place, y;
    u32 pixels, planes;
    static SMELT_DEVICE int strip() { return (int)threadIdx.x / FOURS / Tile::ACROSS; }
    static SMELT_DEVICE int own() { return (int)threadIdx.x / FOURS % Tile::ACROSS; }
    SMELT_DEVICE void find(Index set, Index units, const Strides &strides, const Window &window, Index band, Index channel, bool is_channel) {
        const Index unit = set * Tile::STRIPS + strip();
        const StripPlace at = strip_place<Tile>(unit, window, band);
        const Index x = window.start(2, at.column) + own(), z = window.start(0, at.plane);
        y = window.start(1, at.row);
        place = strides.plane(at.entry, channel) + strides.place(z, y, x);
        pixels = planes = 0;
#pragma unroll
        for (int i = 0; i < Tile::ROUNDS; ++i)
            pixels |= (u32)(is_channel && unit < units && inside(x + i * Tile::ACROSS, window.in[2])) << i;
#pragma unroll
        for (int k = 0; k < Tile::PLANES; ++k) planes |= (u32)inside(z + k * window.dilation[0], window.in[0]) << k;
    }
    // Begins to copy lines, and goes on to the next.
    template <class T> SMELT_DEVICE void copy(const T *x, const Strides &strides, const Window &window, typename Tile::Stage &to) {
#pragma unroll
        for (int line = 0; line < Tile::LINES; ++line) {
            const int z = line / Tile::LINES_Y, down = line % Tile::LINES_Y;
            Pack<T, 4> *const to_line = reinterpret_cast<Pack<T, 4> *>(to.at[line][(int)threadIdx.x % FOURS]) + strip() * Tile::PIXELS;
            const T *const from = x + (place + z * window.dilation[0] * strides.axis[0] + down * strides.axis[1]);
            const u32 there = (planes >> z & 1) && inside(y + down, window.in[1]) ? pixels : 0;
#pragma unroll
            for (int i = 0; i < Tile::ROUNDS; ++i)
                if ((i + 1) * Tile::ACROSS <= Tile::PIXELS || i * Tile::ACROSS + own() < Tile::PIXELS)
                    copy_later<8>(to_line + Tile::place(i, own()), from + i * Tile::ACROSS * strides.axis[2], there >> i & 1);
        }
        place += strides.axis[1];
        ++y;
    }
};

// A thread's elements of the band matrices, as it finds them in shared memory or from the beginning: lane l has rows 2 (l % 4) and
// one more of a step, channels of pixel l % 4 / 2, and column l / 4, channel l / 4 % 4 of place l / 16. Only one of its rows can be of
// its column's channel. g counts fours of channels.
template <class Tile> struct StripWeights {
    const u16 *own;
    u32 choice[2], held[Tile::HELD ? Tile::KERNEL_ROWS : 1][Tile::HELD ? Tile::STEPS : 1][4];
    SMELT_DEVICE explicit StripWeights(const typename Tile::Weights &of_all) {
        const int lane = (int)threadIdx.x % 32;
        const u32 half = (u32)lane / 4 % 2;
        const bool is_any = lane / 8 % 2 == lane % 2;
        own = of_all.at[0][lane % 4 / 2 + (1 - lane / 16) * Tile::STRIDE_X][lane / 4 % 4];
        choice[0] = !is_any ? 0x4444 : half ? 0x1044 : 0x4410;
        choice[1] = !is_any ? 0x4444 : half ? 0x3244 : 0x4432;
        if (Tile::HELD)
#pragma unroll
            for (int row = 0; row < Tile::KERNEL_ROWS; ++row)
#pragma unroll
                for (int k = 0; k < Tile::STEPS; ++k)
#pragma unroll
                    for (int g = 0; g < 4; ++g) held[Tile::HELD ? row : 0][Tile::HELD ? k : 0][g] = read(row, k, g);
    }
    SMELT_DEVICE u32 read(int row, int k, int g) const {
        const Pack<u32, 2> four = *reinterpret_cast<const Pack<u32, 2> *>(own + (row * Tile::COLUMNS + 2 * k) * 16);
        return __byte_perm(four.at[g / 2], 0, choice[g % 2]);
    }
    SMELT_DEVICE u32 get(int row, int k, int g) const {
        return Tile::HELD ? held[Tile::HELD ? row : 0][Tile::HELD ? k : 0][g] : read(row, k, g);
    }
};

// Adds what the lines of a stage give, the j-th of STRIDE_Y behind those that the rows of the result in front have seen: to rows
// `from` to `to` from the first on that is not whole, whose sums are number `first`, the next one's behind them and around.
template <class Tile, class T>
SMELT_DEVICE void add_strip_lines(const typename Tile::Stage &stage, int j, const StripWeights<Tile> &weights, int first, Index from, Index to,
                                  float (&sum)[Tile::LIVE][Tile::DEPTH][4][4]) {
    const int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32, row = lane % 16, more = lane / 16;
    const int place = 2 * row / Tile::WIDTH * (Tile::PIXELS / 2) + row % (Tile::WIDTH / 2);
#pragma unroll
    for (int line = 0; line < Tile::LINES; ++line)
#pragma unroll
        for (int k = 0; k < Tile::STEPS; k += 2) {
            const bool both = k + 1 < Tile::STEPS;
            u32 v[4][4];
            const Pack<u32, 4>(&fours)[Tile::CHANNELS / 4][Tile::LINE] = stage.at[line];
#pragma unroll
            for (int g = 0; g < 4; g += both ? 1 : 2)
                load_matrices<false>(v[g], both ? &fours[group * 4 + g][place + Tile::step(k) + more * Tile::step(1)] : &fours[group * 4 + g + more][place + Tile::step(k)]);
            const auto add = [&](int d, int g) {
                const int y = Tile::FLAT ? line % Tile::LINES_Y : Tile::KERNEL_Y - Tile::STRIDE_Y + j - d / Tile::DEPTH * Tile::STRIDE_Y;
                const int z = line / Tile::LINES_Y - d % Tile::DEPTH * Tile::STRIDE_Z;
                if (y < 0 || y >= Tile::KERNEL_Y || z < 0 || z >= Tile::KERNEL_Z) return;
                u32 b[2] = {weights.get(z * Tile::KERNEL_Y + y, k, g), 0};
                if (both) b[1] = weights.get(z * Tile::KERNEL_Y + y, k + 1, g);
                float(&own)[4] = sum[(d / Tile::DEPTH + first) % Tile::LIVE][d % Tile::DEPTH][g];
                if (both) {
                    multiply_matrices<T>(own, v[g], b[0], b[1]);
                } else {
                    const u32 a[4] = {v[g / 2 * 2][g % 2 * 2], v[g / 2 * 2][g % 2 * 2 + 1], 0, 0};
                    if (Same<T, smelt_half>::value) multiply_shallow(own, a[0], a[1], b[0]);
                    else multiply_matrices<T>(own, a, b[0], 0);
                }
            };
#pragma unroll
            for (int row = 0; row < Tile::LIVE; ++row) {
                if (Tile::TURN > 1 && (row < from || row >= to)) continue;
#pragma unroll
                for (int i = 0; i < Tile::DEPTH * 4; ++i)
                    if (Tile::HELD) add(row * Tile::DEPTH + i % Tile::DEPTH, i / Tile::DEPTH);
                    else add(row * Tile::DEPTH + i / 4, i % 4);
            }
        }
}

template <class Tile> SMELT_DEVICE void keep_strip_sums(const float (&sum)[Tile::DEPTH][4][4], typename Tile::Sums &to) {
    const int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < Tile::DEPTH * 8; ++i) {
        const int h = i % 2, g = i / 2 % 4, z = i / 8, place = lane / 4 * 2 + lane % 4 / 2 + 16 * h;
        Pack<float, 4> &four = to.at[z][place][Tile::slot(place, group * 4 + g)];
        reinterpret_cast<Pack<float, 2> *>(&four)[lane % 2] = Pack<float, 2>{{sum[z][g][2 * h], sum[z][g][2 * h + 1]}};
    }
}

// Where a thread stores its pack of two places: the first row's numbers, and how many rows and planes there are.
template <class Tile> struct StripResult {
    Index number[2], rows[2], planes[2];
    SMELT_DEVICE void find(Index set, Index units, const Window &window, Index band, Index channels, Index channel) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int place = (int)threadIdx.x / Tile::PACKS + 16 * h;
            const Index unit = set * Tile::STRIPS + place / Tile::WIDTH;
            const StripPlace own = strip_place<Tile>(unit, window, band);
            const Index column = own.column + place % Tile::WIDTH, left = window.out[1] - own.row;
            rows[h] = unit < units && channel < channels && column < window.out[2] ? (left < band ? left : band) : 0;
            planes[h] = window.out[0] - own.plane;
            number[h] = (((own.entry * window.out[0] + own.plane) * window.out[1] + own.row) * window.out[2] + column) * channels + channel;
        }
    }
    // Row i; a row and a plane further on are so many numbers.
    template <class E>
    SMELT_DEVICE void put(const typename Tile::Sums &sum, Index i, Index row_step, Index plane_step, const E &epilogue) const {
        const int pack = (int)threadIdx.x % Tile::PACKS;
#pragma unroll
        for (int j = 0; j < 2 * Tile::DEPTH; ++j) {
            const int h = j % 2, z = j / 2, place = (int)threadIdx.x / Tile::PACKS + 16 * h;
            if (i >= rows[h] || z >= planes[h]) continue;
            const Index at = number[h] + i * row_step + z * plane_step;
            typename E::Operands operands;
            epilogue.read(at, operands);
            float value[8];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const Pack<float, 4> four = sum.at[z][place][Tile::slot(place, pack * 2 + half)];
#pragma unroll
                for (int l = 0; l < 4; ++l) value[half * 4 + l] = four.at[l];
            }
            epilogue.write(at, value, operands);
        }
    }
};

// Brings the weights of a block's channels, from [channels, TAPS], to shared memory as they lie, and then where threads read them.
// Channels come in packs of 8.
template <class Tile, class T> SMELT_DEVICE void begin_strip_weights(const T *w, Index group, Index channels, T *raw) {
    const int there = channels - group < Tile::CHANNELS ? (int)(channels - group) : Tile::CHANNELS;
    for (int i = (int)threadIdx.x * 8; i < Tile::CHANNELS * Tile::TAPS; i += Tile::THREADS * 8)
        copy_later(raw + i, w + group * Tile::TAPS + i, i < there * Tile::TAPS);
    close_copies();
}
template <class Tile, class T> SMELT_DEVICE void put_strip_weights(const T *raw, typename Tile::Weights *to) {
    const int THREADS = Tile::THREADS, WORDS = (int)sizeof(typename Tile::Weights) / 16 * Tile::GROUPS;
    for (int i = (int)threadIdx.x; i < WORDS; i += THREADS) reinterpret_cast<Pack<u32, 4> *>(to)[i] = Pack<u32, 4>{};
    wait_for_copies<Tile::STAGES - 1>();
    __syncthreads();
    const int c = (int)threadIdx.x % Tile::CHANNELS;
#pragma unroll 4
    for (int tap = (int)threadIdx.x / Tile::CHANNELS; tap < Tile::TAPS; tap += THREADS / Tile::CHANNELS)
        to[c / 16].at[tap / Tile::KERNEL_X][tap % Tile::KERNEL_X + Tile::STRIDE_X][c % 4][c % 16 / 4] = raw[c * Tile::TAPS + tap].bits;
    __syncthreads();
}

// blockIdx.y counts groups of channels; blockIdx.x goes through sets of strips of `band` rows. CONSTANT: the weights and what finish
// reads are, and so can be read before other kernels are done.
template <class Tile, bool CONSTANT, class T, class Finish, class E>
SMELT_DEVICE void depthwise_strips(const T *x, const T *w, const Strides &strides, const Window &window, Index batch, Index channels,
                                   Index band, const Finish &finish, const E &epilogue) {
    typedef typename Tile::Stage Stage;
    typedef typename Tile::Sums Sums;
    typedef typename Tile::Weights Weights;
    const int STAGES = Tile::STAGES, LIVE = Tile::LIVE, DEPTH = Tile::DEPTH;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const Index group = (Index)blockIdx.y * Tile::CHANNELS, own = group + warp * 16 + lane % 2 * 2; // channels of its sums, ..
    const Index source_channel = group + (int)threadIdx.x % (Tile::CHANNELS / 4) * 4;               // of what it copies, ..
    const Index channel = group + (int)threadIdx.x % Tile::PACKS * 8;                               // and of what it stores
    Stage *const ring = reinterpret_cast<Stage *>(block_memory());
    Sums *const kept = reinterpret_cast<Sums *>(block_memory() + sizeof(Stage) * STAGES);
    Weights *const all_weights = reinterpret_cast<Weights *>(block_memory() + sizeof(Stage) * STAGES + sizeof(Sums) * 2);
    if (!CONSTANT) wait_for_previous_kernel();
    static_assert(Tile::CHANNELS * Tile::TAPS * sizeof(T) <= sizeof(Sums) * 2, "weights as they lie are where sums will be");
    T *const raw = reinterpret_cast<T *>(kept);
    begin_strip_weights<Tile>(w, group, channels, raw);
    float shift[8];
#pragma unroll
    for (int l = 0; l < 8; ++l) {
        const Index c = own + l / 2 * 4 + l % 2;
        shift[l] = c < channels ? finish(c, 0.0f) : 0.0f;
    }
    if (CONSTANT) wait_for_previous_kernel();

    const Index deep = ceil_div(window.out[0], (Index)DEPTH), strips = ceil_div(window.out[2], (Index)Tile::WIDTH);
    const Index units = batch * deep * ceil_div(window.out[1], band) * strips, sets = ceil_div(units, (Index)Tile::STRIPS);
    const Index lines = Tile::FLAT ? 1 : (band - 1) * Tile::STRIDE_Y + Tile::KERNEL_Y, across = window.out[2] * channels;
    Index next = (Index)blockIdx.x, left = lines;
    StripSource<Tile> source;
    source.find(next, units, strides, window, band, source_channel, source_channel < channels);
    const auto copy_next = [&](int stage) {
        if (next < sets) {
            source.copy(x, strides, window, ring[stage]);
            if (--left == 0) {
                left = lines;
                next += (Index)gridDim.x;
                source.find(next, units, strides, window, band, source_channel, source_channel < channels);
            }
        }
        close_copies();
    };
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) copy_next(s);
    put_strip_weights<Tile>(raw, all_weights);
    const StripWeights<Tile> weights(all_weights[warp]);
    StripResult<Tile> result, found;
    int stage = 0, other = 0; // of the ring; of the sums, those that are free
    Index kept_row = -1;
    const auto put_kept = [&] {
        if (kept_row >= 0) result.put(kept[other ^ 1], kept_row, across, window.out[1] * across, epilogue);
        kept_row = -1;
    };
    for (Index set = (Index)blockIdx.x; set < sets; set += (Index)gridDim.x) {
        const Index start = Tile::FLAT ? 0 : -(Index)((Tile::KERNEL_Y - 1) / Tile::STRIDE_Y);
        found.find(set, units, window, band, channels, channel);
        float sum[LIVE][DEPTH][4][4];
        const auto begin_row = [&](int row) {
#pragma unroll
            for (int k = 0; k < DEPTH * 16; ++k) sum[row][k / 16][k / 4 % 4][k % 4] = shift[k / 4 % 4 * 2 + k % 2];
        };
#pragma unroll
        for (int row = 0; row < LIVE; ++row) begin_row(row);
        for (Index turn = start; turn < band; turn += Tile::TURN)
#pragma unroll
            for (int first = 0; first < Tile::TURN; ++first) {
                const Index i = turn + first;
                if (i >= band) break;
#pragma unroll
                for (int j = 0; j < Tile::STRIDE_Y; ++j) {
                    if (Tile::STRIDE_Y > 1 && i * Tile::STRIDE_Y + Tile::KERNEL_Y - Tile::STRIDE_Y + j < 0) continue;
                    wait_for_copies<STAGES - 2>();
                    __syncthreads();
                    copy_next(stage == 0 ? STAGES - 1 : stage - 1);
                    put_kept();
                    add_strip_lines<Tile, T>(ring[stage], j, weights, first, -i, band - i, sum);
                    stage = stage + 1 == STAGES ? 0 : stage + 1;
                }
                if (i == start) result = found; // what is kept of the set before has left
                if (i >= 0) {
                    keep_strip_sums<Tile>(sum[first], kept[other]);
                    other ^= 1;
                    kept_row = i;
                }
#pragma unroll
                for (int k = 0; Tile::TURN == 1 && k < (LIVE - 1) * DEPTH * 16; ++k)
                    sum[k / 16 / DEPTH][k / 16 % DEPTH][k / 4 % 4][k % 4] = sum[k / 16 / DEPTH + 1][k / 16 % DEPTH][k / 4 % 4][k % 4];
                begin_row(Tile::TURN == 1 ? LIVE - 1 : first);
            }
    }
    __syncthreads();
    put_kept();
}

} // namespace smelt

#endif
