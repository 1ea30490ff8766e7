// RNN, GRU and LSTM: the inputs of all steps are projected by one product; then a block runs along each sequence of each
// direction.
//
// Cell, generated, says what the layer is:
//     typedef Number                          what is computed in
//     int kind
//     bool batch_first, reverse               layouts; whether a single direction runs backwards
//     bool after                              GRU: the reset gate scales the finished product
//     bool coupled                            LSTM: forget = 1 - input
//     Number activate(int which, Number x)    function `which` of a direction, direction by direction
//     Number clip(Number x)
#ifndef SMELT_RECURRENT_CUH
#define SMELT_RECURRENT_CUH

#include "smelt/product.cuh"
#include "smelt/team.cuh"

namespace smelt {

enum CellKind { CELL_RNN, CELL_GRU, CELL_LSTM };

// -- activations --

template <class A> SMELT_DEVICE A exponential(A x);
template <> SMELT_DEVICE float exponential(float x) { return ::expf(x); }
template <> SMELT_DEVICE double exponential(double x) { return ::exp(x); }

template <class A> SMELT_DEVICE A cell_affine(A x, A alpha, A beta) { return alpha * x + beta; }
template <class A> SMELT_DEVICE A cell_elu(A x, A alpha, A) { return x >= A(0) ? x : alpha * (exponential(x) - A(1)); }
template <class A> SMELT_DEVICE A cell_hard_sigmoid(A x, A alpha, A beta) {
    const A y = alpha * x + beta;
    return y < A(0) ? A(0) : y > A(1) ? A(1) : y;
}
template <class A> SMELT_DEVICE A cell_leaky_relu(A x, A alpha, A) { return x >= A(0) ? x : alpha * x; }
template <class A> SMELT_DEVICE A cell_relu(A x, A, A) { return x > A(0) ? x : A(0); }
SMELT_DEVICE float cell_tanh(float x, float, float) { return ::tanhf(x); }
SMELT_DEVICE double cell_tanh(double x, double, double) { return ::tanh(x); }
template <class A> SMELT_DEVICE A cell_scaled_tanh(A x, A alpha, A beta) { return alpha * cell_tanh(beta * x, A(0), A(0)); }
template <class A> SMELT_DEVICE A cell_sigmoid(A x, A, A) { return A(1) / (A(1) + exponential(-x)); }
SMELT_DEVICE float cell_softplus(float x, float, float) { return (x > 0 ? x : 0) + ::log1pf(::expf(x > 0 ? -x : x)); }
SMELT_DEVICE double cell_softplus(double x, double, double) { return (x > 0 ? x : 0) + ::log1p(::exp(x > 0 ? -x : x)); }
template <class A> SMELT_DEVICE A cell_softsign(A x, A, A) { return x / (A(1) + (x < A(0) ? -x : x)); }
template <class A> SMELT_DEVICE A cell_thresholded_relu(A x, A alpha, A) { return x >= alpha ? x : A(0); }

template <class A> SMELT_DEVICE A clipped(A x, A bound) { return x > bound ? bound : x < -bound ? -bound : x; }

// -- projection of the inputs --

template <class A, class T> struct LayerLines {
    const T *p;
    Index lines, depth;
    struct Line { Index base; bool is_inside; };
    SMELT_DEVICE Line line(Index i) const { return Line{i < lines ? i * depth : 0, i < lines}; }
    SMELT_DEVICE A at(const Line &l, Index k) const { return l.is_inside && k < depth ? load_as<A>(p, l.base + k) : A(0); }
};

// projected[direction][row][column] = x[row] . w[direction][column] with the biases of both products, the second of which
// (may all be NULL) is left out behind `both` columns.
template <class A, class Tile, class T>
SMELT_DEVICE void project_inputs(const T *x, const T *w, const T *bias, Index rows, Index columns, Index depth, Index both, A *projected) {
    const Index direction = (Index)blockIdx.y;
    const LayerLines<A, T> inputs{x, rows, depth}, weights{w + direction * columns * depth, columns, depth};
    multiply<A, Tile, true, true>(rows, inputs, weights, depth, [&](Index row, Index column, A sum) {
        if (row >= rows || column >= columns) return;
        if (bias != nullptr) {
            const Index own = direction * 2 * columns + column;
            sum += load_as<A>(bias, own) + (column < both ? load_as<A>(bias, own + columns) : A(0));
        }
        projected[(direction * rows + row) * columns + column] = sum;
    });
}

// -- the recurrence --

// What is as ONNX lays it out; NULL where it is absent or not wanted.
template <class A, class T, class L> struct RecurrentLayer {
    const T *r, *bias, *peepholes, *initial_h, *initial_c;
    const L *lengths;
    T *y, *y_h, *y_c;
    const A *projected;
    Index steps, batch, hidden, directions;
};

// sums[n] = w[n] . h for n in [first, last), a warp for each.
template <class A, class T> SMELT_DEVICE void dot_rows(const T *w, const A *h, Index hidden, Index first, Index last, A *sums) {
    const Index lane = (Index)threadIdx.x % 32, warps = (Index)blockDim.x / 32;
    for (Index n = first + (Index)threadIdx.x / 32; n < last; n += warps) {
        A sum = A(0);
#pragma unroll 4
        for (Index k = lane; k < hidden; k += 32) sum += load_as<A>(w, n * hidden + k) * h[k];
        sum = WarpTeam::all<Sum>(sum);
        if (lane == 0) sums[n] = sum;
    }
}

// One direction of one sequence.
template <class Cell, class T, class L> struct Recurrence {
    typedef typename Cell::Number A;
    static const int gates = Cell::kind == CELL_LSTM ? 4 : Cell::kind == CELL_GRU ? 3 : 1;
    static const int functions = Cell::kind == CELL_LSTM ? 3 : Cell::kind == CELL_GRU ? 2 : 1;
    const RecurrentLayer<A, T, L> &layer;
    const T *r, *peepholes;
    Index direction, b;
    A *h, *c, *sums; // of `hidden`, `hidden` and gates * hidden elements; a GRU has the reset state in c

    SMELT_DEVICE A activate(int which, A x) const { return Cell::activate((int)direction * functions + which, Cell::clip(x)); }

    SMELT_DEVICE A peephole(Index which, Index j, A cell) const {
        return peepholes == nullptr ? A(0) : load_as<A>(peepholes, which * layer.hidden + j) * cell;
    }

    SMELT_DEVICE void advance_lstm(Index j, const A *p) const {
        const Index n = layer.hidden;
        const A cell = c[j], in = activate(0, p[j] + sums[j] + peephole(0, j, cell));
        const A forget = Cell::coupled ? A(1) - in : activate(0, p[2 * n + j] + sums[2 * n + j] + peephole(2, j, cell));
        const A next = forget * cell + in * activate(1, p[3 * n + j] + sums[3 * n + j]);
        const A out = activate(0, p[n + j] + sums[n + j] + peephole(1, j, next));
        c[j] = next;
        h[j] = out * Cell::activate((int)direction * functions + 2, next); // not clipped
    }

    SMELT_DEVICE void step_plain(const A *p) const {
        const Index n = layer.hidden;
        dot_rows(r, h, n, 0, gates * n, sums);
        __syncthreads();
        for (Index j = (Index)threadIdx.x; j < n; j += (Index)blockDim.x) {
            if constexpr (Cell::kind == CELL_LSTM) advance_lstm(j, p);
            else h[j] = activate(0, p[j] + sums[j]);
        }
    }

    SMELT_DEVICE void step_gru(const A *p) const {
        const Index n = layer.hidden;
        dot_rows(r, h, n, 0, (Cell::after ? 3 : 2) * n, sums);
        __syncthreads();
        for (Index j = (Index)threadIdx.x; j < n; j += (Index)blockDim.x) {
            const A reset = activate(0, p[n + j] + sums[n + j]);
            sums[j] = activate(0, p[j] + sums[j]);
            if (Cell::after) {
                const A bias = layer.bias == nullptr ? A(0) : load_as<A>(layer.bias, (direction * 6 + 5) * n + j);
                sums[2 * n + j] = reset * (sums[2 * n + j] + bias);
            } else {
                c[j] = reset * h[j];
            }
        }
        __syncthreads();
        if (!Cell::after) {
            dot_rows(r, c, n, 2 * n, 3 * n, sums);
            __syncthreads();
        }
        for (Index j = (Index)threadIdx.x; j < n; j += (Index)blockDim.x)
            h[j] = (A(1) - sums[j]) * activate(1, p[2 * n + j] + sums[2 * n + j]) + sums[j] * h[j];
    }

    SMELT_DEVICE Index state_row() const { return Cell::batch_first ? b * layer.directions + direction : direction * layer.batch + b; }

    SMELT_DEVICE void load_state() const {
        for (Index j = (Index)threadIdx.x; j < layer.hidden; j += (Index)blockDim.x) {
            const Index at = state_row() * layer.hidden + j;
            h[j] = layer.initial_h == nullptr ? A(0) : load_as<A>(layer.initial_h, at);
            c[j] = layer.initial_c == nullptr ? A(0) : load_as<A>(layer.initial_c, at);
        }
    }

    SMELT_DEVICE void store_state() const {
        for (Index j = (Index)threadIdx.x; j < layer.hidden; j += (Index)blockDim.x) {
            if (layer.y_h != nullptr) store(layer.y_h, state_row() * layer.hidden + j, h[j]);
            if (layer.y_c != nullptr) store(layer.y_c, state_row() * layer.hidden + j, c[j]);
        }
    }

    SMELT_DEVICE void store_step(Index t, bool is_zero) const {
        const Index row = Cell::batch_first ? (b * layer.steps + t) * layer.directions + direction
                                            : (t * layer.directions + direction) * layer.batch + b;
        if (layer.y == nullptr) return;
        for (Index j = (Index)threadIdx.x; j < layer.hidden; j += (Index)blockDim.x)
            store(layer.y, row * layer.hidden + j, is_zero ? A(0) : h[j]);
    }

    // Lengths outside the steps, which the host refuses, are cut.
    SMELT_DEVICE Index length() const {
        if (layer.lengths == nullptr) return layer.steps;
        return (Index)larger(smaller(load_as<i64>(layer.lengths, b), (i64)layer.steps), (i64)0);
    }

    SMELT_DEVICE void run() const {
        const Index end = length(), width = gates * layer.hidden;
        load_state();
        __syncthreads();
        for (Index step = 0; step < end; ++step) {
            const Index t = direction == 1 || Cell::reverse ? end - 1 - step : step;
            const Index row = Cell::batch_first ? b * layer.steps + t : t * layer.batch + b;
            const A *p = layer.projected + (direction * layer.steps * layer.batch + row) * width;
            if constexpr (Cell::kind == CELL_GRU) step_gru(p);
            else step_plain(p);
            __syncthreads();
            store_step(t, false);
        }
        for (Index t = end; t < layer.steps; ++t) store_step(t, true);
        store_state();
    }
};

// SHARED: elements of a sequence's state, in shared memory; 0: it is in `memory`, sequence by sequence.
template <class Cell, int SHARED, class T, class L>
SMELT_DEVICE void run_recurrent(const RecurrentLayer<typename Cell::Number, T, L> &layer, typename Cell::Number *memory) {
    typedef Recurrence<Cell, T, L> R;
    typedef typename Cell::Number A;
    __shared__ A shared[SHARED > 0 ? SHARED : 1];
    const Index n = layer.hidden, tasks = layer.directions * layer.batch;
    for (Index task = (Index)blockIdx.x; task < tasks; task += (Index)gridDim.x) {
        const Index direction = quotient(task, layer.batch);
        A *state = SHARED > 0 ? shared : memory + task * (R::gates + 2) * n;
        __syncthreads();
        const R recurrence{layer,
                           layer.r + direction * R::gates * n * n,
                           layer.peepholes == nullptr ? nullptr : layer.peepholes + direction * 3 * n,
                           direction,
                           task - direction * layer.batch,
                           state,
                           state + n,
                           state + 2 * n};
        recurrence.run();
    }
}

} // namespace smelt

#endif
