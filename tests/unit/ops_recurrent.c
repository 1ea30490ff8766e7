/* RNN, GRU and LSTM against their equations, one number at a time. */
#include "op_values.h"

static ThreadPool *pool;

typedef struct Layer {
    const char *name;
    int gates;
    int64_t steps, batch, input, hidden, directions;
    bool batch_first, reverse, bias, lengths, states, peepholes, after, coupled;
    double clip;
} Layer;

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double clipped(const Layer *l, double x) {
    return l->clip > 0 ? fmax(-l->clip, fmin(l->clip, x)) : x;
}

/* The inputs as the operator has them; NULL where omitted. */
typedef struct Operands {
    const Tensor *x, *w, *r, *b, *lengths, *h, *c, *p;
} Operands;

static double value(const Tensor *tensor, int64_t i) {
    return tensor == NULL ? 0 : op_run_at(tensor, i);
}

/* Gate g of unit u before activation, without what a reset gate scales. */
static double projected(const Layer *l, const Operands *in, int64_t d, int64_t t, int64_t b, int64_t row) {
    int64_t rows = l->gates * l->hidden;
    double sum = value(in->b, d * 2 * rows + row);
    for (int64_t i = 0; i < l->input; ++i)
        sum += value(in->x, (l->batch_first ? b * l->steps + t : t * l->batch + b) * l->input + i) *
               value(in->w, (d * rows + row) * l->input + i);
    return sum;
}

static double recurrent(const Layer *l, const Operands *in, int64_t d, int64_t row, const double *h) {
    int64_t rows = l->gates * l->hidden;
    double sum = value(in->b, d * 2 * rows + rows + row);
    for (int64_t i = 0; i < l->hidden; ++i) sum += h[i] * value(in->r, (d * rows + row) * l->hidden + i);
    return sum;
}

enum { MOST_HIDDEN = 40 };

static void step_lstm(const Layer *l, const Operands *in, int64_t d, int64_t t, int64_t b, double *h,
                      double *c) {
    double next[MOST_HIDDEN];
    int64_t n = l->hidden;
    for (int64_t u = 0; u < n; ++u) {
        double gate[4], peephole[3];
        for (int g = 0; g < 4; ++g)
            gate[g] = projected(l, in, d, t, b, g * n + u) + recurrent(l, in, d, g * n + u, h);
        for (int g = 0; g < 3; ++g) peephole[g] = value(in->p, (d * 3 + g) * n + u);
        double i = sigmoid(clipped(l, gate[0] + peephole[0] * c[u]));
        double f = l->coupled ? 1 - i : sigmoid(clipped(l, gate[2] + peephole[2] * c[u]));
        c[u] = f * c[u] + i * tanh(clipped(l, gate[3]));
        next[u] = sigmoid(clipped(l, gate[1] + peephole[1] * c[u])) * tanh(c[u]);
    }
    memcpy(h, next, (size_t)n * sizeof *h);
}

static void step_gru(const Layer *l, const Operands *in, int64_t d, int64_t t, int64_t b, double *h) {
    double reset[MOST_HIDDEN], scaled[MOST_HIDDEN], next[MOST_HIDDEN];
    int64_t n = l->hidden;
    for (int64_t u = 0; u < n; ++u) {
        reset[u] = sigmoid(clipped(l, projected(l, in, d, t, b, n + u) + recurrent(l, in, d, n + u, h)));
        scaled[u] = reset[u] * h[u];
    }
    for (int64_t u = 0; u < n; ++u) {
        double z = sigmoid(clipped(l, projected(l, in, d, t, b, u) + recurrent(l, in, d, u, h)));
        double back =
            l->after ? reset[u] * recurrent(l, in, d, 2 * n + u, h) : recurrent(l, in, d, 2 * n + u, scaled);
        next[u] = (1 - z) * tanh(clipped(l, projected(l, in, d, t, b, 2 * n + u) + back)) + z * h[u];
    }
    memcpy(h, next, (size_t)n * sizeof *h);
}

static void step_rnn(const Layer *l, const Operands *in, int64_t d, int64_t t, int64_t b, double *h) {
    double next[MOST_HIDDEN];
    for (int64_t u = 0; u < l->hidden; ++u)
        next[u] = tanh(clipped(l, projected(l, in, d, t, b, u) + recurrent(l, in, d, u, h)));
    memcpy(h, next, (size_t)l->hidden * sizeof *h);
}

static double difference(const Tensor *tensor, int64_t row, const double *wanted, int64_t count) {
    double worst = 0;
    for (int64_t i = 0; i < count; ++i)
        worst = fmax(worst, fabs(op_run_at(tensor, row * count + i) - (wanted == NULL ? 0 : wanted[i])));
    return worst;
}

/* One sequence in one direction; returns the largest difference of any output. */
static double check_sequence(const Layer *l, const Operands *in, const OpRun *run, int64_t d, int64_t b) {
    double h[MOST_HIDDEN], c[MOST_HIDDEN], worst = 0;
    int64_t state = l->batch_first ? b * l->directions + d : d * l->batch + b;
    int64_t length = in->lengths == NULL ? l->steps : (int64_t)op_run_at(in->lengths, b);
    for (int64_t u = 0; u < l->hidden; ++u) {
        h[u] = value(in->h, state * l->hidden + u);
        c[u] = value(in->c, state * l->hidden + u);
    }
    for (int64_t s = 0; s < l->steps; ++s) {
        int64_t t = d == 1 || l->reverse ? (s < length ? length - 1 - s : s) : s;
        int64_t row =
            l->batch_first ? (b * l->steps + t) * l->directions + d : (t * l->directions + d) * l->batch + b;
        if (s < length && l->gates == 4) step_lstm(l, in, d, t, b, h, c);
        if (s < length && l->gates == 3) step_gru(l, in, d, t, b, h);
        if (s < length && l->gates == 1) step_rnn(l, in, d, t, b, h);
        worst = fmax(worst, difference(&run->output[0], row, s < length ? h : NULL, l->hidden));
    }
    worst = fmax(worst, difference(&run->output[1], state, h, l->hidden));
    if (l->gates == 4) worst = fmax(worst, difference(&run->output[2], state, c, l->hidden));
    return worst;
}

static const Tensor *optional_input(OpRun *run, bool present, DType dtype, int32_t rank,
                                    const int64_t *dims) {
    if (present) return op_noise(run, dtype, rank, dims, -1, 1);
    op_omit(run);
    return NULL;
}

static void add_inputs(const Layer *l, DType dtype, OpRun *run, Operands *in) {
    int64_t d = l->directions, rows = l->gates * l->hidden;
    int64_t x[3] = {l->steps, l->batch, l->input}, state[3] = {d, l->batch, l->hidden};
    if (l->batch_first) {
        x[0] = state[0] = l->batch;
        x[1] = l->steps;
        state[1] = d;
    }
    in->x = op_noise(run, dtype, 3, x, -1, 1);
    in->w = op_noise(run, dtype, 3, (const int64_t[]){d, rows, l->input}, -1, 1);
    double range = l->hidden > 8 ? 0.25 : 1; /* states that die away: rounding must not grow over the steps */
    in->r = op_noise(run, dtype, 3, (const int64_t[]){d, rows, l->hidden}, -range, range);
    in->b = optional_input(run, l->bias, dtype, 2, (const int64_t[]){d, 2 * rows});
    in->lengths = NULL;
    if (l->lengths) {
        Tensor *lengths = op_input(run, DTYPE_I32, 1, &l->batch);
        for (int64_t b = 0; b < l->batch; ++b)
            dtype_store_i64(DTYPE_I32, lengths->data, b, (b * 5 + 1) % (l->steps + 1));
        in->lengths = lengths;
    } else {
        op_omit(run);
    }
    in->h = optional_input(run, l->states, dtype, 3, state);
    in->c = in->p = NULL;
    if (l->gates < 4) return;
    in->c = optional_input(run, l->states, dtype, 3, state);
    in->p = optional_input(run, l->peepholes, dtype, 2, (const int64_t[]){d, 3 * l->hidden});
}

static void test_layer(const Layer *l, DType dtype, double tolerance) {
    OpRun run = {.pool = pool, .random = (uint64_t)(l->hidden * 31 + l->steps)};
    Operands in;
    double worst = 0;
    add_inputs(l, dtype, &run, &in);
    const char *direction = l->directions == 2 ? "bidirectional" : l->reverse ? "reverse" : "forward";
    CHECK(attr_set_string(&run.attrs, &run.arena, "direction", direction));
    CHECK(attr_set_int(&run.attrs, &run.arena, "hidden_size", l->hidden));
    CHECK(attr_set_int(&run.attrs, &run.arena, "layout", l->batch_first));
    CHECK(attr_set_int(&run.attrs, &run.arena, "linear_before_reset", l->after));
    CHECK(attr_set_int(&run.attrs, &run.arena, "input_forget", l->coupled));
    if (l->clip > 0) CHECK(attr_set_float(&run.attrs, &run.arena, "clip", (float)l->clip));
    CHECK_OK(op_run_name(&run, l->name, l->gates == 4 ? 3 : 2), &run.diag);
    for (int64_t d = 0; d < l->directions; ++d)
        for (int64_t b = 0; b < l->batch; ++b) worst = fmax(worst, check_sequence(l, &in, &run, d, b));
    CHECK_NEAR(worst, 0, tolerance);
    op_run_end(&run);
}

static const struct {
    const char *name;
    int gates;
} cells[] = {{"RNN", 1}, {"GRU", 3}, {"LSTM", 4}};

static void test_layers(void) {
    static const int64_t sizes[][4] = {
        {1, 1, 1, 1}, {5, 2, 3, 7}, {2, 9, 17, 16}, {3, 1, 40, 33}, {4, 11, 5, 3}};
    for (int k = 0; k < 3; ++k) {
        for (int n = 0; n < 40; ++n) {
            const int64_t *size = sizes[n % 5];
            Layer l = {.name = cells[k].name,
                       .gates = cells[k].gates,
                       .steps = size[0],
                       .batch = size[1],
                       .input = size[2],
                       .hidden = size[3],
                       .directions = 1 + n % 2,
                       .batch_first = n % 3 == 0,
                       .reverse = n % 4 == 0,
                       .bias = n % 3 != 1,
                       .lengths = n % 4 > 1,
                       .states = n % 5 > 1,
                       .peepholes = n % 3 > 0,
                       .after = n % 7 > 3,
                       .coupled = n % 5 == 3,
                       .clip = n % 6 == 5 ? 0.5 : 0};
            test_layer(&l, DTYPE_F32, 1e-5);
            if (n % 4 == 0) test_layer(&l, DTYPE_F64, 1e-12);
            if (n % 8 == 0) test_layer(&l, DTYPE_F16, 2e-3);
        }
    }
}

/* A projection of more steps than are kept at once. */
static void test_long_sequence(void) {
    for (int k = 0; k < 3; ++k) {
        Layer l = {.name = cells[k].name,
                   .gates = cells[k].gates,
                   .steps = 250,
                   .batch = 40,
                   .input = 2,
                   .hidden = 32,
                   .directions = 2,
                   .bias = true};
        test_layer(&l, DTYPE_F32, 1e-4);
    }
}

static void test_refusals(void) {
    static const double wrong[] = {4};
    OpRun run = {.pool = pool};
    op_noise(&run, DTYPE_F32, 3, (const int64_t[]){3, 1, 2}, -1, 1);
    op_noise(&run, DTYPE_F32, 3, (const int64_t[]){1, 5, 2}, -1, 1);
    op_noise(&run, DTYPE_F32, 3, (const int64_t[]){1, 5, 5}, -1, 1);
    op_omit(&run);
    op_values(&run, DTYPE_I32, 1, wrong);
    CHECK_INT(op_run_name(&run, "RNN", 1), STATUS_BAD_DATA);
    CHECK(strstr(run.diag.text, "sequence length 4 is outside 0 to 3") != NULL);
    diag_clear(&run.diag);
    CHECK_INT(op_run_name(&run, "LSTM", 1), STATUS_BAD_MODEL);
    op_run_end(&run);
}

int main(void) {
    Diag diag = {0};
    for (int threads = 1; threads <= 2; ++threads) {
        CHECK_OK(thread_pool_create(threads, NULL, &pool, &diag), &diag);
        test_layers();
        test_long_sequence();
        test_refusals();
        thread_pool_destroy(pool);
    }
    return test_result();
}
