/* NonZero and Compress: the kept are counted, the run waits for their number, then each goes to its place. */
#include "kernels/select_text.h"
#include "kernels/window_text.h"
#include "ops/indexing.h"

enum { PLACE_BYTES = 8 };

typedef struct Work {
    const Problem *problem;
    const Node *node;
    Dim places; /* in scratch memory, of Compress */
} Work;

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_NonZero && node->op != OP_Compress)) return "not NonZero or Compress";
    if (problem->node_count != 1) return "nodes behind it";
    if (problem_output(problem, 0) == NULL) return "no result is wanted";
    if (node->op == OP_Compress && !input_has_rank(problem, 1, 1, 1)) return "a condition of another rank";
    return refuse_types(problem);
}

static const char *keep(KernelWriter *w, const void *context) {
    const Work *work = context;
    ValueId looked_at = work->node->inputs[work->node->op == OP_Compress ? 1 : 0];
    return kernel_format(w, "IsNonZero<%s>{%s}", cuda_type(problem_value(work->problem, looked_at)->dtype),
                         kernel_pointer(w, looked_at));
}

static const char *coordinates(KernelWriter *w, const void *context) {
    const Work *work = context;
    const Shape *in = &problem_input(work->problem, 0)->shape;
    const char *to = kernel_result(w, work->node->outputs[0]);
    const char *found = kernel_dim(w, work->node->outputs[0], 1);
    return kernel_format(w, "Coordinates<%d>{%s, %s, %s}", in->rank, to, found,
                         extents_text(w, in->dim, in->rank));
}

static const char *places(KernelWriter *w, const void *context) {
    const Work *work = context;
    return kernel_format(w, "Places{%s}", kernel_scratch(w, work->places, "i64"));
}

static Status emit_compress(Emission *emission, const Selection *selection, Work *work) {
    DimTable *dims = emission->graph->dims;
    const CompressAttrs *attrs = work->node->parsed;
    const Shape *in = &problem_input(work->problem, 0)->shape,
                *out = &problem_output(work->problem, 0)->shape;
    int32_t axis = (int32_t)(attrs->axis < 0 ? attrs->axis + in->rank : attrs->axis);
    Dim outer = 1, inner = 1, extent = attrs->has_axis ? in->dim[axis] : shape_count(dims, in);
    for (int32_t i = 0; attrs->has_axis && i < in->rank; ++i) {
        if (i < axis) outer = dim_mul(dims, outer, in->dim[i]);
        if (i > axis) inner = dim_mul(dims, inner, in->dim[i]);
    }
    work->places = scratch_take(emission, dim_mul(dims, selection->count, PLACE_BYTES));
    TRY(selection_place(emission, selection, places));
    return take_lines(emission, "compress", work->node->inputs[0], work->node->outputs[0], work->places,
                      outer, extent, inner, out->dim[attrs->has_axis ? axis : 0]);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Node *node = problem_anchor(emission->problem);
    DimTable *dims = emission->graph->dims;
    const Shape *in = &problem_input(emission->problem, 0)->shape;
    bool compress = node->op == OP_Compress;
    Work work = {.problem = emission->problem, .node = node};
    Selection selection = {.family = compress ? "compress" : "nonzero", .keep = keep, .context = &work};
    (void)config, (void)device;
    selection.count = compress ? problem_input(emission->problem, 1)->shape.dim[0] : shape_count(dims, in);
    selection.found = scratch_take(emission, PLACE_BYTES);
    selection.offsets = scratch_take(emission, selection_bytes(dims, selection.count));
    TRY(selection_count(emission, &selection));
    if (compress) return emit_compress(emission, &selection, &work);
    return in->rank == 0 ? STATUS_OK : selection_place(emission, &selection, coordinates);
}

const Tactic tactic_select = {.name = "select",
                              .version = 1,
                              .finds_sizes = true,
                              .refuses = refuses,
                              .configs = only_config,
                              .emit = emit};
