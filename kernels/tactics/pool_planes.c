/* GlobalAveragePool, GlobalMaxPool and GlobalLpPool: a block for each plane. */
#include "kernels/window_text.h"

enum { MOST_BLOCKS = 1 << 16, LEAST_THREADS = 32, MOST_THREADS = 1024 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL ||
        (node->op != OP_GlobalAveragePool && node->op != OP_GlobalMaxPool && node->op != OP_GlobalLpPool))
        return "not a global pool";
    if (!input_has_rank(problem, 0, 2, SMELT_MAX_RANK)) return "ranks that do not fit";
    return refuse_unless_floats(problem);
}

static Dim plane_of(const Problem *problem) {
    Shape plane = problem_input(problem, 0)->shape;
    plane.dim[0] = plane.dim[1] = 1;
    return shape_count(problem->graph->dims, &plane);
}

/* About four elements for each thread. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Dim plane = plane_of(problem);
    int32_t threads = LEAST_THREADS;
    (void)device;
    while (threads < MOST_THREADS && (!dim_is_exact(plane) || plane > 4 * threads)) threads *= 2;
    out[0] = (Config){.count = 1, .number = {threads}};
    return 1;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    KernelWriter *w = kernel_begin(emission, "pool_planes");
    int32_t threads = config->number[0];
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    const char *type = float_type(x->dtype), *pool = kernel_format(w, "MaxOf<%s>", type);
    if (node->op == OP_GlobalAveragePool) pool = kernel_format(w, "MeanOf<%s>", type);
    if (node->op == OP_GlobalLpPool)
        pool = kernel_format(w, "NormOf<%s, %d>", type, (int)*(const int64_t *)node->parsed);
    Dim planes = dim_mul(dims, x->shape.dim[0], x->shape.dim[1]);
    kernel_line(w, "pool_planes<%s, %s, %d>(%s, %s, %s, %s);", type, pool, threads,
                kernel_pointer(w, node->inputs[0]), kernel_number(w, planes),
                kernel_number(w, plane_of(problem)), kernel_epilogue(w));
    return kernel_finish(w, dim_min(dims, planes, MOST_BLOCKS), 1, 1, threads, 0);
}

const Tactic tactic_pool_planes = {
    .name = "pool_planes", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
