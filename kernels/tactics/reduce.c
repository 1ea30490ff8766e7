/* Reductions over axes: a team of threads for each output element, or several of them for long rows of few
 * outputs. */
#include <string.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/lines_text.h"
#include "kernels/window_text.h"
#include "ops/reduce.h"

enum {
    PART_BYTES = 8,     /* a partial result */
    LEAST_PART = 256,   /* elements of a part, for each of its threads 16 */
    LEAST_COLUMN = 64,  /* the same where a team has 8 threads */
    BLOCKS_PER_SM = 4,  /* that parts are made for */
    LINES = TEAM_COUNT, /* in the place of a team: rows in registers */
    COLUMNS,            /* packs of neighbouring rows */
    PACK_PARTS,         /* parts of rows that are read in packs */
    COLUMN_THREADS = 512,
    MOST_SLICES = 8,       /* blocks of a cluster */
    MOST_SLICED_SIDE = 64, /* packs side by side in one of several */
    LEAST_SIDE = 2,
    LEAST_LINE = 8,
    NUMBERS = 4 /* of a config: the team, parts of a row; lines' threads for a row, rows of a block; columns'
                   packs side by side, blocks of a cluster */
};

static const double MUCH_MORE = 1.5;

/* -- what is reduced -- */

/* The axes as they are written in input 1, or NULL and why not. */
static const char *find_axes(const Problem *problem, bool walked[SMELT_MAX_RANK]) {
    const Node *node = problem_anchor(problem);
    const ReduceAttrs *attrs = node->parsed;
    int32_t rank = problem_input(problem, 0)->shape.rank, count;
    Dim axes[SMELT_MAX_RANK];
    if (!problem_known_dims(problem, anchor_input(problem, 1), SMELT_MAX_RANK, axes, &count))
        return "the axes are not known";
    memset(walked, count == 0 && !attrs->noop_with_empty_axes, SMELT_MAX_RANK * sizeof *walked);
    for (int32_t i = 0; i < count; ++i) {
        if (!dim_is_exact(axes[i])) return "the axes are not known";
        Dim axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 0 || axis >= rank) return "an axis that the input lacks";
        walked[axis] = true;
    }
    return NULL;
}

static Slices find_slices(const Problem *problem) {
    bool walked[SMELT_MAX_RANK] = {0};
    (void)find_axes(problem, walked);
    return slices_reduced(problem, walked);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    bool walked[SMELT_MAX_RANK];
    (void)device;
    if (node == NULL || op_def(node->op)->op_class != OPCLASS_REDUCTION) return "not a reduction";
    const char *why = refuse_types(problem);
    if (why == NULL && problem_output(problem, 0) == NULL) why = "no result is wanted";
    return why != NULL ? why : find_axes(problem, walked);
}

/* -- configs: the team, and in how many parts rows are -- */

/* Parts that keep the device busy where the rows do not; 1: rows stay whole. */
static int32_t choose_parts(const Problem *problem, const Device *device, const Slices *slices,
                            int32_t team) {
    const ReduceAttrs *attrs = problem_anchor(problem)->parsed;
    int64_t rows = dim_at_opt(problem->graph, slices->rows);
    int64_t extent = dim_at_opt(problem->graph, slices->extent);
    int64_t blocks = (rows + team_rows(team) - 1) / team_rows(team);
    int64_t wanted = (int64_t)device->sm_count * BLOCKS_PER_SM;
    int64_t least = team == TEAM_COLUMN ? LEAST_COLUMN : LEAST_PART * 16;
    if (attrs->merge == REDUCE_BY_MAX_SUM || blocks < 1 || (team != TEAM_BLOCK && team != TEAM_COLUMN))
        return 1;
    int64_t parts = wanted / blocks < extent / least ? wanted / blocks : extent / least;
    return parts < 2 ? 1 : (int32_t)parts;
}

/* Sums of floats are taken in runs of floats that are added up in double, all else in the wide type. */
static const char *number_type(const Problem *problem) {
    const ReduceAttrs *attrs = problem_anchor(problem)->parsed;
    DType dtype = problem_input(problem, 0)->dtype;
    bool exact = attrs->signature == REDUCE_REAL || attrs->merge == REDUCE_BY_PRODUCT;
    if (attrs->signature == REDUCE_REAL || (dtype_is_float(dtype) && exact)) return "double";
    return cuda_compute_type(dtype);
}

/* Rows in registers, in front of the others. */
static int32_t line_configs(const Problem *problem, const Device *device, const Slices *slices,
                            Config out[MOST_CONFIGS]) {
    LineShare shares[MOST_LINE_SHARES];
    if (lines_refuse(problem, slices) != NULL || number_type(problem)[0] != 'f') return 0;
    int32_t count = lines_shares(problem, device, slices, shares);
    for (int32_t i = 0; i < count; ++i)
        out[i] = (Config){.count = NUMBERS, .number = {LINES, 1, shares[i].threads, shares[i].rows}};
    return count;
}

/* Whether rows come in packs that lie one behind the other, all elements of which do. */
static bool has_columns(const Problem *problem, const Slices *slices) {
    const ReduceAttrs *attrs = problem_anchor(problem)->parsed;
    bool packed = slices->along == false && number_type(problem)[0] == 'f' &&
                  attrs->merge != REDUCE_BY_MAX_SUM &&
                  cuda_compute_type(problem_input(problem, 0)->dtype)[0] == 'f' &&
                  access_is_packed(&slices->kept, LINE_LANES) && problem_is_aligned(problem);
    for (int32_t i = 0; packed && i < slices->walked.rank; ++i)
        packed = dim_is_exact(slices->walked.stride[i]) && slices->walked.stride[i] % LINE_LANES == 0;
    return packed;
}

/* As many blocks as the device has multiprocessors, if there are elements for them: wide ones first, then of
 * clusters. */
static int32_t column_configs(const Problem *problem, const Device *device, const Slices *slices,
                              Config out[MOST_CONFIGS]) {
    int64_t packs = dim_at_opt(problem->graph, slices->rows) / LINE_LANES,
            extent = dim_at_opt(problem->graph, slices->extent);
    int32_t count = 0, best = 0;
    double most = 0;
    if (!has_columns(problem, slices)) return 0;
    for (int32_t side = COLUMN_THREADS; side >= LEAST_SIDE; side /= 2)
        for (int32_t parts = 1; parts <= MOST_SLICES; parts *= 2) {
            int64_t lines = COLUMN_THREADS / side * parts, blocks = ceil_div_i64(packs, side) * parts;
            if (parts > 1 && (device->sm < CLUSTERS_SM || side > MOST_SLICED_SIDE)) break;
            if ((lines > 1 && extent < 2 * lines) || (side > packs && side > LEAST_SIDE)) continue;
            /* A line of few packs is a part of what comes from memory together. */
            double filled = (double)(blocks < 2 * device->sm_count ? blocks : 2 * device->sm_count) *
                            (side >= LEAST_LINE ? 1 : (double)side / LEAST_LINE);
            if (filled > most * MUCH_MORE) {
                most = filled;
                best = count;
            }
            out[count++] = (Config){.count = NUMBERS, .number = {COLUMNS, 1, side, parts}};
        }
    if (count > 0) config_prefer(out, best);
    return count;
}

/* Parts of a few long rows, whose elements are neighbours: about as many blocks as are under way at a time.
 */
static int32_t part_configs(const Problem *problem, const Device *device, const Slices *slices,
                            Config out[MOST_CONFIGS]) {
    const ReduceAttrs *attrs = problem_anchor(problem)->parsed;
    int64_t rows = dim_at_opt(problem->graph, slices->rows);
    int32_t count = 0;
    if (!access_is_linear(&slices->walked) || !dim_is_exact(slices->extent) ||
        slices->extent % LINE_LANES != 0 || number_type(problem)[0] != 'f' ||
        attrs->merge == REDUCE_BY_MAX_SUM || !problem_is_aligned(problem) ||
        cuda_compute_type(problem_input(problem, 0)->dtype)[0] != 'f')
        return 0;
    for (int32_t resident = BLOCKS_PER_SM; resident >= 1; resident /= 2) {
        int64_t parts = (int64_t)device->sm_count * resident / (rows > 0 ? rows : 1),
                most = slices->extent / (LINE_LANES * TEAM_THREADS);
        if (parts > most) parts = most;
        if (parts > 1 && (count == 0 || parts < out[count - 1].number[1]))
            out[count++] = (Config){.count = NUMBERS, .number = {PACK_PARTS, (int32_t)parts, 0, 0}};
    }
    return count;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    Config teams[MOST_CONFIGS];
    int32_t team_count = team_configs(problem, &slices, teams);
    int32_t parts = choose_parts(problem, device, &slices, teams[0].number[0]);
    int32_t count = column_configs(problem, device, &slices, out);
    count += part_configs(problem, device, &slices, out + count);
    if (parts > 1) out[count++] = (Config){.count = NUMBERS, .number = {teams[0].number[0], parts, 0, 0}};
    count += line_configs(problem, device, &slices, out + count);
    for (int32_t i = 0; i < team_count; ++i)
        out[count++] = (Config){.count = NUMBERS, .number = {teams[i].number[0], 1, 0, 0}};
    return count;
}

/* -- text -- */

static const char *merge_text(KernelWriter *w, const Problem *problem) {
    const ReduceAttrs *attrs = problem_anchor(problem)->parsed;
    const char *type = cuda_type(problem_input(problem, 0)->dtype);
    switch (attrs->merge) {
    case REDUCE_BY_MAX:
        return kernel_format(w, "Largest<%s>", type);
    case REDUCE_BY_MIN:
        return kernel_format(w, "Smallest<%s>", type);
    case REDUCE_BY_PRODUCT:
        return "Product";
    default:
        return "Sum";
    }
}

/* The row of reduce.def as struct Reducer. Returns the type of totals. */
static const char *declare_reducer(KernelWriter *w, const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const char *expression = op_def(node->op)->expression, *split = strstr(expression, " ; ");
    const char *number = number_type(problem);
    const char *total = number[0] == 'f' ? "double" : number;
    bool shifts = ((const ReduceAttrs *)node->parsed)->merge == REDUCE_BY_MAX_SUM;
    kernel_include(w, "pointwise.cuh");
    kernel_include(w, "reduce.cuh");
    kernel_declare(w, "struct Reducer {");
    kernel_declare(w, "    typedef %s Number;\n    typedef %s Total;\n    typedef %s Merge;", number, total,
                   merge_text(w, problem));
    kernel_declare(w, "    static const bool shifts = %s;", shifts ? "true" : "false");
    kernel_declare(w,
                   "    static SMELT_DEVICE Number element(Number x, Number m) {\n"
                   "        using namespace math;\n        return %.*s;\n    }",
                   (int)(split - expression), expression);
    kernel_declare(w,
                   "    static SMELT_DEVICE Total result(Total a, Total m, Total n) {\n"
                   "        using namespace math;\n        return %s;\n    }\n};",
                   split + 3);
    return total;
}

static Status emit_whole(Emission *emission, const Slices *slices, int32_t team) {
    const Problem *problem = emission->problem;
    KernelWriter *w = kernel_begin(emission, "reduce");
    TRY_ALLOC(emission->diag, w);
    declare_reducer(w, problem);
    const char *x = kernel_prologue(w), *where = slices_declare(w, slices), *epilogue = kernel_epilogue(w);
    kernel_line(w, "reduce_rows<%s, Reducer>(%s, %s, %s, %s, %s);", team_name(team), x, where,
                kernel_number(w, slices->rows), kernel_number(w, slices->extent), epilogue);
    return kernel_finish(w, team_grid(emission, team, slices->rows), 1, 1, TEAM_THREADS, 0);
}

static Status emit_lines(Emission *emission, const Slices *slices, LineShare share) {
    KernelWriter *w = kernel_begin(emission, "reduce_lines");
    TRY_ALLOC(emission->diag, w);
    int32_t lanes = lines_lanes(emission->problem);
    declare_reducer(w, emission->problem);
    kernel_include(w, "lines.cuh");
    const char *x = kernel_pack_prologue(w, lanes), *where = slices_declare(w, slices),
               *epilogue = kernel_epilogue(w);
    kernel_line(w, "reduce_lines<%s, %d, Reducer>(%s, %s, %s, %d, %s);", lines_text(w, slices, share), lanes,
                x, where, kernel_number(w, slices->rows), (int)(slices->extent / lanes), epilogue);
    return lines_finish(w, slices, share);
}

static Status emit_columns(Emission *emission, const Device *device, const Slices *slices, int32_t side,
                           int32_t parts) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "reduce_columns");
    TRY_ALLOC(emission->diag, w);
    declare_reducer(w, emission->problem);
    kernel_include(w, "columns.cuh");
    const char *x = kernel_pack_prologue(w, LINE_LANES), *where = slices_declare(w, slices),
               *epilogue = kernel_epilogue(w);
    Dim groups = dim_ceil_div(dims, slices->rows, side * LINE_LANES);
    bool few = dim_at_opt(emission->graph, groups) * parts <= device->sm_count;
    if (!few) kernel_resident(w, 2);
    kernel_line(w, "reduce_columns<%d, %d, %d, %d, Reducer>(%s, %s, %s, %s, %s);", LINE_LANES, side, parts,
                few ? 8 : 4, x, where, kernel_number(w, slices->rows), kernel_number(w, slices->extent),
                epilogue);
    kernel_cluster(w, parts);
    return kernel_finish(w, dim_mul(dims, groups, parts), 1, 1, COLUMN_THREADS, 0);
}

static Status emit_parts(Emission *emission, const Slices *slices, int32_t team, int32_t parts) {
    const Problem *problem = emission->problem;
    Dim pieces = dim_mul(emission->graph->dims, slices->rows, parts);
    emission->scratch_bytes = dim_mul(emission->graph->dims, pieces, PART_BYTES);
    KernelWriter *w = kernel_begin(emission, "reduce_parts");
    TRY_ALLOC(emission->diag, w);
    const char *total = declare_reducer(w, problem);
    kernel_number(w, pieces); /* is indexed with */
    if (team == PACK_PARTS) {
        kernel_include(w, "columns.cuh");
        const char *x = kernel_pack_prologue(w, LINE_LANES), *where = slices_declare(w, slices);
        kernel_line(w, "reduce_pack_parts<%d, Reducer>(%s, %s, %lld, %d, %s);", LINE_LANES, x, where,
                    (long long)(slices->extent / LINE_LANES), parts, kernel_scratch(w, 0, total));
        TRY(kernel_finish(w, pieces, 1, 1, TEAM_THREADS, 0));
    } else {
        const char *x = kernel_prologue(w), *where = slices_declare(w, slices);
        kernel_line(w, "reduce_parts<%s, Reducer>(%s, %s, %s, %s, %d, %s);", team_name(team), x, where,
                    kernel_number(w, slices->rows), kernel_number(w, slices->extent), parts,
                    kernel_scratch(w, 0, total));
        TRY(kernel_finish(w, team_grid(emission, team, pieces), 1, 1, TEAM_THREADS, 0));
    }
    w = kernel_begin(emission, "reduce_finish");
    TRY_ALLOC(emission->diag, w);
    declare_reducer(w, problem);
    const char *epilogue = kernel_epilogue(w);
    kernel_line(w, "reduce_finish<WarpTeam, Reducer>(%s, %s, %s, %d, %s);", kernel_scratch(w, 0, total),
                kernel_number(w, slices->rows), kernel_number(w, slices->extent), parts, epilogue);
    return kernel_finish(w, team_grid(emission, TEAM_WARP, slices->rows), 1, 1, TEAM_THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Slices slices = find_slices(emission->problem);
    if (config->number[0] == LINES)
        return emit_lines(emission, &slices, (LineShare){config->number[2], config->number[3]});
    if (config->number[0] == COLUMNS)
        return emit_columns(emission, device, &slices, config->number[2], config->number[3]);
    if (config->number[1] > 1) return emit_parts(emission, &slices, config->number[0], config->number[1]);
    return emit_whole(emission, &slices, config->number[0]);
}

const Tactic tactic_reduce = {.name = "reduce",
                              .version = 4,
                              .strided = true,
                              .prologue = PROLOGUE_STORES,
                              .refuses = refuses,
                              .configs = configs,
                              .emit = emit};
