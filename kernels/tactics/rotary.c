/* RotaryEmbedding: a thread for each element. */
#include "kernels/window_text.h"
#include "ops/attention.h"

enum { THREADS = 256, INPUT_COS = 1, INPUT_SIN = 2, INPUT_POSITIONS = 3 };

static bool shapes_fit(const Problem *problem) {
    const RotaryAttrs *attrs = problem_anchor(problem)->parsed;
    DimTable *dims = problem->graph->dims;
    const Shape *x = &problem_input(problem, 0)->shape, *cache = &problem_input(problem, INPUT_COS)->shape;
    Dim length = x->rank == 4 ? x->dim[2] : x->dim[1], size = x->dim[x->rank - 1];
    if (x->rank == 3) size = dim_floor_div(dims, size, attrs->heads);
    if (x->rank == 3 && dim_mul(dims, size, attrs->heads) != x->dim[2]) return false;
    Dim half = dim_floor_div(dims, attrs->dim != 0 ? attrs->dim : size, 2);
    const Dim rows[] = {x->dim[0], length, half}, table[] = {cache->dim[0], half};
    bool indexed = anchor_input(problem, INPUT_POSITIONS) != NONE;
    return input_has_shape(problem, INPUT_COS, indexed ? 2 : 3, indexed ? table : rows) &&
           input_has_shape(problem, INPUT_SIN, indexed ? 2 : 3, indexed ? table : rows) &&
           input_has_shape(problem, INPUT_POSITIONS, 2, rows);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_RotaryEmbedding) return "not RotaryEmbedding";
    if (!input_has_rank(problem, 0, 3, 4) || !input_has_rank(problem, INPUT_COS, 2, 3))
        return "ranks that do not fit";
    if (!shapes_fit(problem)) return "caches that may not fit the input";
    return refuse_types(problem);
}

/* "RotarySizes{heads, length, size, turned, cached}" */
static const char *sizes_text(KernelWriter *w, const Problem *problem) {
    const RotaryAttrs *attrs = problem_anchor(problem)->parsed;
    const Shape *x = &problem_input(problem, 0)->shape;
    bool packed = x->rank == 3;
    Dim heads = packed ? attrs->heads : x->dim[1], length = packed ? x->dim[1] : x->dim[2];
    Dim size = packed ? dim_floor_div(problem->graph->dims, x->dim[2], attrs->heads) : x->dim[3];
    return kernel_format(w, "RotarySizes{%s, %s, %s, %s, %s}", kernel_number(w, heads),
                         kernel_number(w, length), kernel_number(w, size),
                         kernel_number(w, attrs->dim != 0 ? attrs->dim : size),
                         kernel_number(w, problem_input(problem, INPUT_COS)->shape.dim[0]));
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    const RotaryAttrs *attrs = node->parsed;
    const Value *x = problem_input(problem, 0);
    ValueId positions = anchor_input(problem, INPUT_POSITIONS);
    KernelWriter *w = kernel_begin(emission, "rotary");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "attention.cuh");
    kernel_line(w, "rotary<%s, %s, %s>(%s, %s, %s, %s, %s, %s, %s);", float_type(x->dtype),
                x->shape.rank == 3 ? "true" : "false", attrs->interleaved ? "true" : "false",
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[INPUT_COS]),
                kernel_pointer(w, node->inputs[INPUT_SIN]),
                positions != NONE ? kernel_pointer(w, positions) : "(const long long *)nullptr",
                sizes_text(w, problem), kernel_count(w, node->inputs[0]), kernel_epilogue(w));
    Dim count = shape_count(emission->graph->dims, &x->shape);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_rotary = {
    .name = "rotary", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
