// RNN, GRU and LSTM: the inputs' part of the gates for all times at once, then a block of threads for each sequence and
// direction walks through time. Gates in the order of the weights: RNN i; GRU z r h; LSTM i o f c.
#ifndef SMELT_RECURRENT_CUH
#define SMELT_RECURRENT_CUH

#include "smelt/pointwise.cuh"
#include "smelt/team.cuh"

namespace smelt {

enum CellKind { CELL_RNN, CELL_GRU, CELL_LSTM };
enum CellFunction {
    CELL_AFFINE,
    CELL_ELU,
    CELL_HARD_SIGMOID,
    CELL_LEAKY_RELU,
    CELL_RELU,
    CELL_SCALED_TANH,
    CELL_SIGMOID,
    CELL_SOFTPLUS,
    CELL_SOFTSIGN,
    CELL_TANH,
    CELL_THRESHOLDED_RELU
};

struct Activation {
    CellFunction function;
    double alpha, beta, clip; // clip 0: none
    template <class A> SMELT_DEVICE A operator()(A x) const {
        const A a = (A)alpha, b = (A)beta, bound = (A)clip;
        if (clip > 0) x = x > bound ? bound : x < -bound ? -bound : x;
        switch (function) {
        case CELL_AFFINE: return a * x + b;
        case CELL_ELU: return x >= 0 ? x : a * (math::exp(x) - 1);
        case CELL_HARD_SIGMOID: return a * x + b < 0 ? A(0) : a * x + b > 1 ? A(1) : a * x + b;
        case CELL_LEAKY_RELU: return x >= 0 ? x : a * x;
        case CELL_RELU: return x > 0 ? x : A(0);
        case CELL_SCALED_TANH: return a * math::tanh(b * x);
        case CELL_SIGMOID: return 1 / (1 + math::exp(-x));
        case CELL_SOFTPLUS: return (x > 0 ? x : A(0)) + math::log1p(math::exp(x > 0 ? -x : x));
        case CELL_SOFTSIGN: return x / (1 + math::abs(x));
        case CELL_TANH: return math::tanh(x);
        default: return x >= a ? x : A(0);
        }
    }
};

// One layer. Tensors as ONNX lays them out; NULL where there is none or it is not wanted.
template <class T, class L> struct Layer {
    const T *x, *w, *r, *bias, *peepholes, *initial_h, *initial_c;
    const L *lengths;
    T *y, *y_h, *y_c;
    Index directions, steps, batch, input, hidden, gates;
    bool batch_first, reverse;
    bool linear_before_reset, input_forget;
};

// The team's lanes share the terms; all get the sum.
template <class A, class T, class X> SMELT_DEVICE A dot_in_warp(const T *row, const X *x, Index count) {
    A sum = A(0);
    for (Index k = WarpTeam::lane(); k < count; k += WarpTeam::size) sum += load_as<A>(row, k) * load_as<A>(x, k);
    return WarpTeam::all<Sum>(sum);
}

// gates[direction][sequence][time][gate] from the inputs, with the biases of both products; but without one that a reset gate
// scales.
template <CellKind KIND, class A, class T, class L> SMELT_DEVICE void project_inputs(const Layer<T, L> &l, A *gates) {
    const Index width = l.gates * l.hidden, count = l.directions * l.batch * l.steps * width;
    const Index both = KIND == CELL_GRU && l.linear_before_reset ? 2 * l.hidden : width;
    for (Index i = WarpTeam::first(); i < count; i += WarpTeam::step()) {
        const Index row = quotient(i, width), gate = i - row * width, sequence = quotient(row, l.steps);
        const Index time = row - sequence * l.steps, direction = quotient(sequence, l.batch), b = sequence - direction * l.batch;
        const Index from = l.batch_first ? b * l.steps + time : time * l.batch + b;
        A sum = dot_in_warp<A>(l.w + (direction * width + gate) * l.input, l.x + from * l.input, l.input);
        if (l.bias != nullptr) {
            const Index own = direction * 2 * width + gate;
            sum += load_as<A>(l.bias, own) + (gate < both ? load_as<A>(l.bias, own + width) : A(0));
        }
        if (WarpTeam::lane() == 0) gates[i] = sum;
    }
}

// to[j] = start(j) + r[j] . x for the rows [first, last) of r, by all warps of the block.
template <class A, class T, class Start>
SMELT_DEVICE void recur(const T *r, const A *x, Index hidden, Index first, Index last, A *to, const Start &start) {
    const Index warps = (Index)blockDim.x / 32;
    for (Index j = first + (Index)threadIdx.x / 32; j < last; j += warps) {
        const A sum = dot_in_warp<A>(r + j * hidden, x, hidden);
        if (threadIdx.x % 32 == 0) to[j] = start(j) + sum;
    }
}

// One sequence in one direction, number blockIdx.x. state has gates + 3 rows of `hidden` elements for each.
template <CellKind KIND, class A, class T, class L>
SMELT_DEVICE void run_sequence(const Layer<T, L> &l, const Activation &f, const Activation &g, const Activation &h_function,
                               Index direction, const A *projected, A *state) {
    const Index hidden = l.hidden, width = l.gates * hidden, number = (Index)blockIdx.x, b = number - direction * l.batch;
    const bool backward = direction == 1 || l.reverse, after = l.linear_before_reset;
    const T *r = l.r + direction * width * hidden, *p = l.peepholes == nullptr ? nullptr : l.peepholes + direction * 3 * hidden;
    const T *reset_bias = l.bias == nullptr ? nullptr : l.bias + (direction * 2 + 1) * width;
    const Index place = (l.batch_first ? b * l.directions + direction : direction * l.batch + b) * hidden;
    A *h = state + number * (l.gates + 3) * hidden, *c = h + hidden, *reset_h = c + hidden, *gates = reset_h + hidden;
    const i64 stated = l.lengths == nullptr ? (i64)l.steps : load_as<i64>(l.lengths, b);
    const Index length = (Index)larger((i64)0, smaller(stated, (i64)l.steps)), lane = (Index)threadIdx.x, lanes = (Index)blockDim.x;
    const auto output = [&](Index t) {
        return (l.batch_first ? (b * l.steps + t) * l.directions + direction : (t * l.directions + direction) * l.batch + b) * hidden;
    };
    for (Index i = lane; i < hidden; i += lanes) {
        h[i] = l.initial_h == nullptr ? A(0) : load_as<A>(l.initial_h, place + i);
        c[i] = l.initial_c == nullptr ? A(0) : load_as<A>(l.initial_c, place + i);
    }
    __syncthreads();
    for (Index step = 0; step < length; ++step) {
        const Index t = backward ? length - 1 - step : step;
        const A *own = projected + (number * l.steps + t) * width;
        const auto from_inputs = [&](Index j) { return own[j]; };
        if constexpr (KIND == CELL_GRU) {
            recur(r, h, hidden, 0, 2 * hidden, gates, from_inputs);
            if (after)
                recur(r, h, hidden, 2 * hidden, width, gates,
                      [&](Index j) { return reset_bias == nullptr ? A(0) : load_as<A>(reset_bias, j); });
            __syncthreads();
            for (Index i = lane; i < hidden; i += lanes) {
                const A reset = f(gates[hidden + i]);
                gates[i] = f(gates[i]);
                if (after) gates[2 * hidden + i] = own[2 * hidden + i] + reset * gates[2 * hidden + i];
                reset_h[i] = reset * h[i];
            }
            __syncthreads();
            if (!after) recur(r, reset_h, hidden, 2 * hidden, width, gates, from_inputs);
        } else {
            recur(r, h, hidden, 0, width, gates, from_inputs);
        }
        __syncthreads();
        for (Index i = lane; i < hidden; i += lanes) {
            if constexpr (KIND == CELL_RNN) {
                h[i] = f(gates[i]);
            } else if constexpr (KIND == CELL_GRU) {
                h[i] = (1 - gates[i]) * g(gates[2 * hidden + i]) + gates[i] * h[i];
            } else {
                const A before = c[i];
                const A in = f(gates[i] + (p == nullptr ? A(0) : load_as<A>(p, i) * before));
                const A forget = f(gates[2 * hidden + i] + (p == nullptr ? A(0) : load_as<A>(p, 2 * hidden + i) * before));
                const A cell = (l.input_forget ? 1 - in : forget) * before + in * g(gates[3 * hidden + i]);
                const A out = f(gates[hidden + i] + (p == nullptr ? A(0) : load_as<A>(p, hidden + i) * cell));
                c[i] = cell;
                h[i] = out * h_function(cell);
            }
            if (l.y != nullptr) store(l.y, output(t) + i, h[i]);
        }
        __syncthreads();
    }
    for (Index i = lane; i < hidden; i += lanes) {
        for (Index t = length; t < l.steps && l.y != nullptr; ++t) store(l.y, output(t) + i, A(0));
        if (l.y_h != nullptr) store(l.y_h, place + i, h[i]);
        if (l.y_c != nullptr) store(l.y_c, place + i, c[i]);
    }
}

} // namespace smelt

#endif
