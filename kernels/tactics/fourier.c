/* DFT and STFT: a table of the turns, then every frequency as the sum that defines it. */
#include "kernels/index_text.h"
#include "ops/signal.h"

enum { THREADS = 256, TURN_BYTES = 16 };

/* A transform as device code takes it. */
typedef struct Transform {
    Dim n, lines, bins, samples;
    Dim step;     /* STFT */
    int32_t axis; /* DFT */
    bool inverse, mirrored;
} Transform;

/* A scalar input as a Dim; fallback where it is omitted. */
static bool find_scalar(const Problem *problem, int32_t input, Dim fallback, Dim *out) {
    int32_t count;
    *out = fallback;
    if (anchor_input(problem, input) == NONE) return true;
    return problem_known_dims(problem, anchor_input(problem, input), 1, out, &count) && count == 1;
}

static const char *describe_dft(const Problem *problem, Transform *out) {
    DimTable *dims = problem->graph->dims;
    const DftAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *x = &problem_input(problem, 0)->shape, *y = &problem_output(problem, 0)->shape;
    Dim axis, length;
    if (!find_scalar(problem, 2, -2, &axis) || !dim_is_exact(axis)) return "the axis is not known";
    int32_t at = axis_of(axis, x->rank);
    out->axis = at;
    out->inverse = attrs->inverse;
    out->mirrored = attrs->inverse && attrs->one_sided;
    Dim fallback = out->mirrored ? y->dim[at] : x->dim[at];
    if (!find_scalar(problem, 1, fallback, &length)) return "the length is not known";
    if (!dim_is_exact(x->dim[x->rank - 1])) return "whether numbers are complex shows at run time only";
    out->n = length;
    out->bins = y->dim[at];
    out->samples = out->mirrored ? length : dim_min(dims, length, x->dim[at]);
    out->lines = dim_mul(dims, span_of(dims, x, 0, at), span_of(dims, x, at + 1, x->rank - 1));
    return NULL;
}

static const char *describe_stft(const Problem *problem, Transform *out) {
    DimTable *dims = problem->graph->dims;
    const Value *window = problem_input(problem, 2);
    const Shape *x = &problem_input(problem, 0)->shape, *y = &problem_output(problem, 0)->shape;
    if (!find_scalar(problem, 1, 1, &out->step)) return "the step is not known";
    if (!find_scalar(problem, 3, window != NULL ? window->shape.dim[0] : x->dim[1], &out->n))
        return "the frame's length is not known";
    if (x->rank == 3 && !dim_is_exact(x->dim[2])) return "whether numbers are complex shows at run time only";
    out->bins = y->dim[2];
    out->samples = window != NULL ? dim_min(dims, out->n, window->shape.dim[0]) : out->n;
    out->lines = dim_mul(dims, y->dim[0], y->dim[1]);
    return NULL;
}

static const char *describe(const Problem *problem, Transform *out) {
    *out = (Transform){0};
    const char *why =
        problem_anchor(problem)->op == OP_DFT ? describe_dft(problem, out) : describe_stft(problem, out);
    if (why != NULL) return why;
    int64_t low, high;
    dim_bounds(problem->graph->dims, out->n, &low, &high);
    return low < 1 ? "a length that might be zero" : NULL;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    Transform ignored;
    (void)device;
    if (node == NULL || (node->op != OP_DFT && node->op != OP_STFT)) return "not DFT or STFT";
    if (problem->node_count > 1) return "nodes behind it";
    const char *why = refuse_types(problem);
    return why != NULL ? why : describe(problem, &ignored);
}

/* -- text -- */

static const char *line_signal(KernelWriter *w, const Transform *t) {
    const Problem *problem = kernel_emission(w)->problem;
    ValueId x = problem_anchor(problem)->inputs[0];
    const Shape *shape = &problem_value(problem, x)->shape;
    Dim inner = span_of(kernel_emission(w)->graph->dims, shape, t->axis + 1, shape->rank - 1);
    return kernel_format(w, "LineSignal<%s>{%s, %s, %s, %s, %s, %s}",
                         cuda_type(problem_value(problem, x)->dtype), kernel_pointer(w, x),
                         kernel_number(w, t->n), kernel_dim(w, x, t->axis), kernel_number(w, inner),
                         kernel_dim(w, x, shape->rank - 1), t->mirrored ? "true" : "false");
}

static const char *frame_signal(KernelWriter *w, const Transform *t) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    ValueId x = node->inputs[0], window = anchor_input(problem, 2);
    const Shape *shape = &problem_value(problem, x)->shape;
    return kernel_format(w, "FrameSignal<%s>{%s, %s, %s, %s, %s, %s, %s}",
                         cuda_type(problem_value(problem, x)->dtype), kernel_pointer(w, x),
                         window == NONE ? "nullptr" : kernel_pointer(w, window),
                         kernel_dim(w, node->outputs[0], 1), kernel_number(w, t->step), kernel_dim(w, x, 1),
                         kernel_number(w, t->samples), shape->rank == 3 ? kernel_dim(w, x, 2) : "1");
}

static const char *result_text(KernelWriter *w, const Transform *t) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const Shape *y = &problem_output(problem, 0)->shape;
    Dim inner =
        node->op == OP_DFT ? span_of(kernel_emission(w)->graph->dims, y, t->axis + 1, y->rank - 1) : 1;
    const char *scale = t->inverse ? kernel_format(w, "1.0 / (double)%s", kernel_number(w, t->n)) : "1.0";
    return kernel_format(w, "LineResult<%s>{%s, %s, %s, %s, %s}",
                         cuda_type(problem_output(problem, 0)->dtype), kernel_result(w, node->outputs[0]),
                         kernel_number(w, t->bins), kernel_number(w, inner),
                         kernel_dim(w, node->outputs[0], y->rank - 1), scale);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    DimTable *dims = emission->graph->dims;
    Transform t;
    (void)config, (void)device;
    const char *why = describe(emission->problem, &t);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "a transform that was accepted: %s", why);
    emission->scratch_bytes = dim_mul(dims, t.n, TURN_BYTES);
    KernelWriter *w = kernel_begin(emission, "fourier_table");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "fourier.cuh");
    kernel_line(w, "fourier_table(%s, %s);", kernel_number(w, t.n), kernel_scratch(w, 0, "double"));
    TRY(kernel_finish(w, kernel_grid_for(emission, t.n, THREADS), 1, 1, THREADS, 0));
    w = kernel_begin(emission, "fourier_bins");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "fourier.cuh");
    const char *signal =
        problem_anchor(emission->problem)->op == OP_DFT ? line_signal(w, &t) : frame_signal(w, &t);
    kernel_line(w, "fourier_bins(%s, %s, %s, %s, %s, %s, %s, %s);", kernel_scratch(w, 0, "double"),
                kernel_number(w, t.n), kernel_number(w, t.lines), kernel_number(w, t.bins),
                kernel_number(w, t.samples), t.inverse ? "1.0" : "-1.0", signal, result_text(w, &t));
    Dim count = dim_mul(dims, t.lines, t.bins);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_fourier = {
    .name = "fourier", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
