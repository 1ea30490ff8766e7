/* Unique: tiles are sorted and merged, beginnings of groups counted; the run waits for their number. */
#include "kernels/select_text.h"
#include "kernels/window_text.h"
#include "ops/sorting.h"

enum { THREADS = 256, SORT_TILE = 2048, PLACE_BYTES = 8, MERGES = 5, MOST_THREADS = 1024 };

typedef struct Work {
    const Problem *problem;
    const Node *node;
    Dim outer, count, inner, found;
    Dim order, spare, starts, group_of, number, firsts; /* in scratch memory, i64 for each item */
    bool sorted;
} Work;

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || node->op != OP_Unique) return "not Unique";
    if (problem->node_count != 1) return "nodes behind it";
    if (problem_output(problem, 0) == NULL) return "the values are not wanted";
    return refuse_types(problem);
}

static Work describe(Emission *emission) {
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(emission->problem);
    const UniqueAttrs *attrs = node->parsed;
    const Shape *in = &problem_input(emission->problem, 0)->shape;
    const Shape *out = &problem_output(emission->problem, 0)->shape;
    int32_t axis = (int32_t)(attrs->axis < 0 ? attrs->axis + in->rank : attrs->axis);
    Work work = {.problem = emission->problem,
                 .node = node,
                 .outer = 1,
                 .count = attrs->has_axis ? in->dim[axis] : shape_count(dims, in),
                 .inner = 1,
                 .found = out->dim[attrs->has_axis ? axis : 0],
                 .sorted = attrs->sorted};
    for (int32_t i = 0; attrs->has_axis && i < in->rank; ++i) {
        if (i < axis) work.outer = dim_mul(dims, work.outer, in->dim[i]);
        if (i > axis) work.inner = dim_mul(dims, work.inner, in->dim[i]);
    }
    return work;
}

static const char *items_type(const Work *work, KernelWriter *w) {
    return kernel_format(w, "ItemBefore<%s>", cuda_type(problem_input(work->problem, 0)->dtype));
}

static const char *items_text(const Work *work, KernelWriter *w) {
    return kernel_format(w, "%s{%s, %s, %s, %s}", items_type(work, w),
                         kernel_pointer(w, work->node->inputs[0]), kernel_number(w, work->outer),
                         kernel_number(w, work->count), kernel_number(w, work->inner));
}

static const char *starts_group(KernelWriter *w, const void *context) {
    const Work *work = context;
    return kernel_format(w, "StartsGroup<%s>{%s, %s}", items_type(work, w), items_text(work, w),
                         kernel_scratch(w, work->order, "i64"));
}

static const char *groups(KernelWriter *w, const void *context) {
    const Work *work = context;
    return kernel_format(w, "Groups{%s, %s, %s}", kernel_scratch(w, work->order, "i64"),
                         kernel_scratch(w, work->starts, "i64"), kernel_scratch(w, work->group_of, "i64"));
}

static const char *is_first(KernelWriter *w, const void *context) {
    const Work *work = context;
    return kernel_format(w, "IsFirst{%s, %s, %s}", kernel_scratch(w, work->order, "i64"),
                         kernel_scratch(w, work->starts, "i64"), kernel_scratch(w, work->group_of, "i64"));
}

static const char *numbers(KernelWriter *w, const void *context) {
    const Work *work = context;
    return kernel_format(w, "Numbers{%s, %s}", kernel_scratch(w, work->group_of, "i64"),
                         kernel_scratch(w, work->number, "i64"));
}

static KernelWriter *begin(Emission *emission) {
    KernelWriter *w = kernel_begin(emission, "unique");
    if (w != NULL) kernel_include(w, "unique.cuh");
    return w;
}

/* One launch of whole-grid merging; the order goes to `spare`, and the two change places. */
static Status merge_once(Emission *emission, Work *work, int64_t width) {
    KernelWriter *w = begin(emission);
    Dim order = work->order;
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "merge_runs(%s, %s, %s, %lld, thread_index(), thread_count(), %s);",
                kernel_scratch(w, work->order, "i64"), kernel_scratch(w, work->spare, "i64"),
                kernel_number(w, work->count), (long long)width, items_text(work, w));
    work->order = work->spare;
    work->spare = order;
    return kernel_finish(w, kernel_grid_for(emission, work->count, THREADS), 1, 1, THREADS, 0);
}

static Status sort_items(Emission *emission, Work *work) {
    DimTable *dims = emission->graph->dims;
    int64_t low, high, width = SORT_TILE;
    KernelWriter *w = begin(emission);
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "sort_tiles(%s, %s, %s);", kernel_scratch(w, work->order, "i64"),
                kernel_number(w, work->count), items_text(work, w));
    TRY(kernel_finish(w, dim_ceil_div(dims, work->count, SORT_TILE), 1, 1, THREADS, 0));
    dim_bounds(dims, work->count, &low, &high);
    for (int i = 0; i < MERGES && width < high; ++i, width *= 2) TRY(merge_once(emission, work, width));
    if (width >= high) return STATUS_OK;
    w = begin(emission);
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "merge_rest(%s, %s, %s, %lld, %s);", kernel_scratch(w, work->order, "i64"),
                kernel_scratch(w, work->spare, "i64"), kernel_number(w, work->count), (long long)width,
                items_text(work, w));
    return kernel_finish(w, 1, 1, 1, MOST_THREADS, 0);
}

static const char *number_text(const Work *work, KernelWriter *w) {
    return work->sorted ? "(const i64 *)nullptr" : kernel_scratch(w, work->number, "i64");
}

static const char *optional_result(const Work *work, KernelWriter *w, int32_t i) {
    return problem_output(work->problem, i) != NULL ? kernel_result(w, work->node->outputs[i])
                                                    : "(i64 *)nullptr";
}

static Status write_results(Emission *emission, const Work *work) {
    KernelWriter *w = begin(emission);
    TRY_ALLOC(emission->diag, w);
    if (problem_output(work->problem, 2) != NULL) {
        kernel_line(w, "write_inverse(%s, %s, %s, %s);", kernel_scratch(w, work->group_of, "i64"),
                    number_text(work, w), kernel_number(w, work->count), optional_result(work, w, 2));
        TRY(kernel_finish(w, kernel_grid_for(emission, work->count, THREADS), 1, 1, THREADS, 0));
        w = begin(emission);
        TRY_ALLOC(emission->diag, w);
    }
    kernel_line(w, "write_groups(%s, %s, %s, %s, %s, %s, %s, %s);", kernel_scratch(w, work->order, "i64"),
                kernel_scratch(w, work->starts, "i64"), number_text(work, w), kernel_number(w, work->count),
                kernel_number(w, work->found), kernel_scratch(w, work->firsts, "i64"),
                optional_result(work, w, 1), optional_result(work, w, 3));
    TRY(kernel_finish(w, kernel_grid_for(emission, work->found, THREADS), 1, 1, THREADS, 0));
    return take_lines(emission, "unique", work->node->inputs[0], work->node->outputs[0], work->firsts,
                      work->outer, work->count, work->inner, work->found);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    DimTable *dims = emission->graph->dims;
    Work work = describe(emission);
    Dim *const lists[] = {&work.order, &work.spare, &work.starts, &work.group_of, &work.number, &work.firsts};
    Selection starts = {.family = "unique",
                        .include = "unique.cuh",
                        .count = work.count,
                        .keep = starts_group,
                        .context = &work};
    (void)config, (void)device;
    starts.found = scratch_take(emission, PLACE_BYTES);
    starts.offsets = scratch_take(emission, selection_bytes(dims, work.count));
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; ++i)
        *lists[i] = scratch_take(emission, dim_mul(dims, work.count, PLACE_BYTES));
    TRY(sort_items(emission, &work));
    TRY(selection_count(emission, &starts));
    TRY(selection_place(emission, &starts, groups));
    if (!work.sorted) {
        Selection firsts = starts;
        firsts.keep = is_first;
        firsts.found = scratch_take(emission, PLACE_BYTES);
        TRY(selection_count(emission, &firsts));
        TRY(selection_place(emission, &firsts, numbers));
    }
    return write_results(emission, &work);
}

const Tactic tactic_unique = {.name = "unique",
                              .version = 1,
                              .finds_sizes = true,
                              .refuses = refuses,
                              .configs = only_config,
                              .emit = emit};
