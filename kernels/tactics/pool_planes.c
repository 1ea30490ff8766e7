/* GlobalAveragePool, GlobalMaxPool and GlobalLpPool: a block for each plane. */
#include "kernels/pool_text.h"
#include "kernels/slices.h"

enum { MOST_BLOCKS = 1 << 16, LEAST_THREADS = 32, MOST_THREADS = 1024, COLUMNS = 32 };

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL ||
        (node->op != OP_GlobalAveragePool && node->op != OP_GlobalMaxPool && node->op != OP_GlobalLpPool))
        return "not a global pool";
    if (!input_has_rank(problem, 0, 2, SMELT_MAX_RANK)) return "ranks that do not fit";
    return refuse_unless_floats(problem);
}

static Slices planes_of(const Problem *problem) {
    static const int32_t order[SMELT_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    slices_mark(x, 2, x->rank, walked);
    return slices_in(problem->graph, problem_anchor(problem)->inputs[0], walked, order, NONE);
}

/* About four elements for each thread. Neighbouring planes are read together where they lie side by side. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices planes = planes_of(problem);
    int32_t threads = LEAST_THREADS, columns = planes.along ? 1 : COLUMNS;
    (void)device;
    while (threads < MOST_THREADS &&
           (!dim_is_exact(planes.extent) || planes.extent * columns > 4 * (int64_t)threads))
        threads *= 2;
    out[0] = (Config){.count = 2, .number = {threads, columns}};
    return 1;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    KernelWriter *w = kernel_begin(emission, "pool_planes");
    int32_t threads = config->number[0], columns = config->number[1];
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool.cuh");
    const char *type = float_type(x->dtype), *pool = pool_type_text(w, node, type);
    Slices planes = planes_of(problem);
    const char *elements = kernel_prologue(w), *where = slices_declare(w, &planes),
               *epilogue = kernel_epilogue(w);
    kernel_line(w, "pool_planes<%s, %s, %d, %d>(%s, %s, %s, %s, %s);", type, pool, threads, columns, elements,
                where, kernel_number(w, planes.rows), kernel_number(w, planes.extent), epilogue);
    Dim blocks = dim_ceil_div(dims, planes.rows, columns);
    return kernel_finish(w, dim_min(dims, blocks, MOST_BLOCKS), 1, 1, threads, 0);
}

const Tactic tactic_pool_planes = {.name = "pool_planes",
                                   .version = 2,
                                   .prologue = PROLOGUE_READS,
                                   .strided = true,
                                   .refuses = refuses,
                                   .configs = configs,
                                   .emit = emit};
