/* ScatterElements and ScatterND. Where an element is written more than once, the updates count in the order
 * in which they are given, as on the host. */
#include "ir/cost.h"
#include "kernels/index_text.h"
#include "ops/indexing.h"

enum { THREADS = 256 };

/* How updates are merged into the data. */
typedef enum Form {
    FORM_MARKS, /* each run of the data takes the last update for it */
    FORM_LINES, /* ScatterElements: a thread for each line of the indices along the axis */
    FORM_RUNS,  /* ScatterND: a thread for each place within a run */
    FORM_EACH   /* a thread for each element, all of which go through all updates */
} Form;

/* So many updates are looked at by all threads of FORM_EACH in the time that one thread needs to merge one.
 */
#define VISITS_PER_STEP 5e5

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_ScatterElements && node->op != OP_ScatterND)) return "not a scatter";
    if (problem->node_count > 1) return "nodes behind it";
    const char *why = refuse_types(problem);
    if (why != NULL) return why;
    const Shape *data = &problem_input(problem, 0)->shape, *indices = &problem_input(problem, 1)->shape;
    const Shape *updates = &problem_input(problem, 2)->shape;
    if (node->op == OP_ScatterElements) {
        const ScatterAttrs *attrs = node->parsed;
        if (!shape_equal(indices, updates)) return "whether indices and updates fit shows at run time only";
        return index_refuse_elements(indices, data, axis_of(attrs->axis, data->rank));
    }
    why = index_refuse_tuples(indices, data, 0);
    if (why != NULL) return why;
    int32_t lead = indices->rank - 1, depth = (int32_t)indices->dim[lead];
    if (updates->rank != lead + data->rank - depth) return "updates of another rank than the data";
    for (int32_t i = 0; i < updates->rank; ++i)
        if (updates->dim[i] != (i < lead ? indices->dim[i] : data->dim[depth + i - lead]))
            return "whether indices and updates fit shows at run time only";
    return NULL;
}

/* Elements that stay together; how many such runs the data and the updates are. */
typedef struct Runs {
    Dim inner, data, updates, elements;
} Runs;

static Runs find_runs(const Problem *problem) {
    const Shape *data = &problem_input(problem, 0)->shape, *indices = &problem_input(problem, 1)->shape;
    DimTable *dims = problem->graph->dims;
    Runs runs = {.inner = 1, .elements = shape_count(dims, data), .updates = shape_count(dims, indices)};
    runs.data = runs.elements;
    if (problem_anchor(problem)->op == OP_ScatterElements) return runs;
    int32_t depth = (int32_t)indices->dim[indices->rank - 1];
    runs.inner = span_of(dims, data, depth, data->rank);
    runs.data = span_of(dims, data, 0, depth);
    runs.updates = span_of(dims, indices, 0, indices->rank - 1);
    return runs;
}

/* Updates that one thread merges one after the other in the form that walks through them. */
static double serial_steps(const Problem *problem, const Runs *runs) {
    const Node *node = problem_anchor(problem);
    if (node->op == OP_ScatterND) return (double)dim_at_opt(problem->graph, runs->updates);
    Slices lines = slices_along(problem->graph->dims, &problem_input(problem, 1)->shape,
                                ((const ScatterAttrs *)node->parsed)->axis);
    return (double)dim_at_opt(problem->graph, lines.extent);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    const Node *node = problem_anchor(problem);
    Runs runs = find_runs(problem);
    (void)device;
    if (((const ScatterAttrs *)node->parsed)->reduction == SCATTER_REPLACE) {
        out[0] = (Config){.count = 1, .number = {FORM_MARKS}};
        return 1;
    }
    Form serial = node->op == OP_ScatterND ? FORM_RUNS : FORM_LINES;
    double visits =
        (double)dim_at_opt(problem->graph, runs.elements) * (double)dim_at_opt(problem->graph, runs.updates);
    bool each = visits <= serial_steps(problem, &runs) * VISITS_PER_STEP;
    out[0] = (Config){.count = 1, .number = {(int32_t)(each ? FORM_EACH : serial)}};
    out[1] = (Config){.count = 1, .number = {(int32_t)(each ? serial : FORM_EACH)}};
    return 2;
}

/* -- text -- */

static const char *declare_target(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    const Shape *data = &problem_input(problem, 0)->shape;
    if (node->op == OP_ScatterND) return index_declare_tuples(w, "Target", node->inputs[1], data, 0);
    return index_declare_elements(w, "Target", node->inputs[1], data,
                                  axis_of(((const ScatterAttrs *)node->parsed)->axis, data->rank));
}

static KernelWriter *begin(Emission *emission, const char *family) {
    KernelWriter *w = kernel_begin(emission, family);
    if (w != NULL) kernel_include(w, "indexing.cuh");
    return w;
}

static Status finish(KernelWriter *w, Dim threads) {
    return kernel_finish(w, kernel_grid_for(kernel_emission(w), threads, THREADS), 1, 1, THREADS, 0);
}

static Status emit_marks(Emission *emission, const Runs *runs) {
    const Node *node = problem_anchor(emission->problem);
    int64_t low, high;
    dim_bounds(emission->graph->dims, runs->updates, &low, &high);
    bool narrow = high < UINT32_MAX;
    const char *type = narrow ? "unsigned int" : "unsigned long long";
    emission->scratch_bytes = dim_mul(emission->graph->dims, runs->data, narrow ? 4 : 8);
    KernelWriter *w = begin(emission, "scatter_clear");
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "clear_marks(%s, %s);", kernel_number(w, runs->data), kernel_scratch(w, 0, type));
    TRY(finish(w, runs->data));
    w = begin(emission, "scatter_mark");
    TRY_ALLOC(emission->diag, w);
    const char *target = declare_target(w);
    kernel_line(w, "mark_updates(%s, %s, %s, %s);", kernel_number(w, runs->updates),
                kernel_number(w, runs->inner), target, kernel_scratch(w, 0, type));
    TRY(finish(w, runs->updates));
    w = begin(emission, "scatter_place");
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "place_updates(raw(%s), raw(%s), raw(%s), %s, %s, %s);",
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[2]),
                kernel_result(w, node->outputs[0]), kernel_number(w, runs->elements),
                kernel_number(w, runs->inner), kernel_scratch(w, 0, type));
    return finish(w, runs->elements);
}

static const char *merge_text(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const char *type = cuda_type(problem_input(problem, 0)->dtype);
    switch (((const ScatterAttrs *)problem_anchor(problem)->parsed)->reduction) {
    case SCATTER_ADD:
        return "Sum";
    case SCATTER_MUL:
        return "Product";
    case SCATTER_MAX:
        return kernel_format(w, "Largest<%s>", type);
    default:
        return kernel_format(w, "Smallest<%s>", type);
    }
}

static Status emit_copy(Emission *emission, const Runs *runs) {
    const Node *node = problem_anchor(emission->problem);
    KernelWriter *w = begin(emission, "scatter_copy");
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "copy_elements(raw(%s), raw(%s), %s);", kernel_pointer(w, node->inputs[0]),
                kernel_result(w, node->outputs[0]), kernel_number(w, runs->elements));
    return finish(w, runs->elements);
}

static Status emit_lines(Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    Slices lines = slices_along(emission->graph->dims, &problem_input(emission->problem, 1)->shape,
                                ((const ScatterAttrs *)node->parsed)->axis);
    KernelWriter *w = begin(emission, "scatter_lines");
    TRY_ALLOC(emission->diag, w);
    const char *where = slices_declare(w, &lines), *target = declare_target(w);
    kernel_line(w, "merge_lines<%s>(%s, %s, %s, %s, %s, %s);", merge_text(w),
                kernel_pointer(w, node->inputs[2]), where, kernel_number(w, lines.rows),
                kernel_number(w, lines.extent), target, kernel_result(w, node->outputs[0]));
    return finish(w, lines.rows);
}

static Status emit_runs(Emission *emission, const Runs *runs) {
    const Node *node = problem_anchor(emission->problem);
    KernelWriter *w = begin(emission, "scatter_runs");
    TRY_ALLOC(emission->diag, w);
    const char *target = declare_target(w);
    kernel_line(w, "merge_runs<%s>(%s, %s, %s, %s, %s);", merge_text(w), kernel_pointer(w, node->inputs[2]),
                kernel_number(w, runs->updates), kernel_number(w, runs->inner), target,
                kernel_result(w, node->outputs[0]));
    return finish(w, runs->inner);
}

static Status emit_each(Emission *emission, const Runs *runs) {
    const Node *node = problem_anchor(emission->problem);
    KernelWriter *w = begin(emission, "scatter_each");
    TRY_ALLOC(emission->diag, w);
    const char *target = declare_target(w);
    kernel_line(w, "merge_each<%s>(%s, %s, %s, %s, %s, %s, %s);", merge_text(w),
                kernel_pointer(w, node->inputs[0]), kernel_pointer(w, node->inputs[2]),
                kernel_number(w, runs->updates), kernel_number(w, runs->elements),
                kernel_number(w, runs->inner), target, kernel_result(w, node->outputs[0]));
    return finish(w, runs->elements);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Runs runs = find_runs(emission->problem);
    (void)device;
    if (config->number[0] == FORM_MARKS) return emit_marks(emission, &runs);
    if (config->number[0] == FORM_EACH) return emit_each(emission, &runs);
    TRY(emit_copy(emission, &runs));
    return config->number[0] == FORM_LINES ? emit_lines(emission) : emit_runs(emission, &runs);
}

const Tactic tactic_scatter = {
    .name = "scatter", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
