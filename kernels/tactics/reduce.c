/* Reductions over axes: a team of threads for each output element, or several of them for long rows of few
 * outputs. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/lines_text.h"
#include "kernels/window_text.h"
#include "ops/reduce.h"

enum {
    WARP = 32,
    PART_BYTES = 8,     /* a partial result */
    LEAST_PART = 256,   /* elements of a part, for each of its threads 16 */
    LEAST_COLUMN = 64,  /* the same where a team has 8 threads */
    BLOCKS_PER_SM = 4,  /* that parts are made for */
    LINES = TEAM_COUNT, /* in the place of a team: rows in registers */
    COLUMNS,            /* packs of neighbouring rows */
    PACK_PARTS,         /* parts of rows that are read in packs */
    FEW_THREADS = 256,  /* of a block for columns */
    MOST_THREADS = 512,
    MOST_SLICES = 8,        /* blocks of a cluster; more: all blocks meet */
    MOST_STATIC = 48 << 10, /* bytes of shared memory */
    FEW_ELEMENTS = 128,     /* halves that a thread adds up as floats */
    LEAST_SIDE = 2,
    LEAST_LINE = 8,   /* packs side by side */
    MOVED_LINE = 128, /* bytes that are read at the full rate */
    NUMBERS = 4 /* of a config: the team, parts of a row; lines' threads for a row, rows of a block; columns'
                   packs side by side, blocks of a cluster */
};

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

/* Rows in registers, in front of the others: as many packs of a thread as can be where rows are many, which
 * are read together. */
static int32_t line_configs(const Problem *problem, const Device *device, const Slices *slices,
                            Config out[MOST_CONFIGS]) {
    LineShare shares[MOST_LINE_SHARES];
    if (lines_refuse(problem, slices) != NULL || number_type(problem)[0] != 'f') return 0;
    int32_t count = lines_shares(problem, device, slices, shares), best = 0;
    bool many = dim_at_opt(problem->graph, slices->rows) > 2 * (int64_t)device->sm_count;
    for (int32_t i = 0; i < count; ++i) {
        out[i] = (Config){.count = NUMBERS, .number = {LINES, 1, shares[i].threads, shares[i].rows}};
        if (many && shares[i].threads >= LEAST_LINE && shares[i].threads < shares[best].threads) best = i;
    }
    if (count > 0) config_prefer(out, best);
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

static int32_t doublings(int32_t count) {
    int32_t doubled = 0;
    while (1 << doubled < count) ++doubled;
    return doubled;
}

/* Microseconds of a config of columns, fitted to times on an H200: blocks, of which as many as fit run at a
 * time, each read alone at some rate and with others at their share of the device's. Lines below 128 bytes
 * are read more slowly, threads that have few elements take long to merge them, and those that share no rows
 * store elements one by one. Clusters leave some multiprocessors without blocks; slower outside L2. */
static double columns_us(const Problem *problem, const Device *device, const Slices *slices,
                         const Config *config) {
    static const double merge_us[] = {0.21, 0.8, 0.91, 0.79}; /* of 1, 2, 4, 8 blocks */
    const double begin_us = 1.07, met_us = 1.23, part_us = 0.0148, alone = 289e3, few_alone = 98.7e3,
                 far = 62e3, far_few = 47e3, cached_share = 0.85, least = 0.42, narrow = 0.16,
                 short_us = 0.74, apart = 1.03, far_cluster = 1.17, in_clusters = 0.91, more = 0.05;
    int32_t threads = config->number[1], side = config->number[2], parts = config->number[3];
    double size = dtype_bits(problem_input(problem, 0)->dtype) / 8.0, line = side * LINE_LANES * size,
           extent = (double)dim_at_opt(problem->graph, slices->extent),
           groups = (double)ceil_div_i64(dim_at_opt(problem->graph, slices->rows), side * LINE_LANES),
           bytes = extent * line / parts, blocks = groups * parts, each = extent * side / threads / parts;
    bool cached = bytes * blocks<device->l2_bytes, met = parts> MOST_SLICES, clusters = !met && parts > 2;
    double most = (double)device->sm_count * (met ? 1 : 2 * MOST_THREADS / threads);
    if (clusters) most *= in_clusters;
    double together = fmax(fmin(blocks, most), least * device->sm_count),
           rate = threads < MOST_THREADS ? (cached ? few_alone : far_few)
                  : cached               ? alone
                                         : far,
           share = (cached ? cached_share * device->l2_gb_per_s : device->dram_gb_per_s) * 1e3 / together,
           merge = met ? met_us + part_us * parts : merge_us[doublings(parts)];
    if (line < MOVED_LINE) bytes *= 1 + narrow * (MOVED_LINE / line - 1);
    if (side == threads) bytes *= apart;
    if (parts == 1 && threads == MOST_THREADS) bytes *= apart;
    if (clusters && !cached) bytes *= far_cluster;
    return begin_us + merge +
           fmax(blocks / most + more, 1) *
               (short_us * fmax(LINE_LANES / each - 1, 0) + bytes / fmin(rate, share));
}

/* Blocks that are there together, which meet: as many slices as there are blocks for a group of rows. */
static int32_t met_configs(const Problem *problem, const Device *device, const Slices *slices, Config *out) {
    int64_t packs = dim_at_opt(problem->graph, slices->rows) / LINE_LANES,
            extent = dim_at_opt(problem->graph, slices->extent);
    int32_t count = 0;
    if (device->sm < CLUSTERS_SM) return 0;
    for (int32_t side = MOST_THREADS; side >= LEAST_LINE; side /= 2) {
        int64_t parts = device->sm_count / ceil_div_i64(packs > 0 ? packs : 1, side),
                lines = MOST_THREADS / side;
        if (side > packs || parts <= MOST_SLICES || extent < 2 * lines * parts) continue;
        out[count++] = (Config){.count = NUMBERS, .number = {COLUMNS, MOST_THREADS, side, (int32_t)parts}};
    }
    return count;
}

/* Bytes that a block of a cluster has of its lines' results and of the slices'. */
static int64_t cluster_shared(int32_t threads, int32_t side, int32_t parts) {
    int32_t apart = threads / (side < WARP ? WARP : side);
    return (int64_t)(apart + parts) * side * LINE_LANES * PART_BYTES;
}

/* The one first that takes least time; wide ones among equals. */
static int32_t column_configs(const Problem *problem, const Device *device, const Slices *slices,
                              Config out[MOST_CONFIGS]) {
    int64_t packs = dim_at_opt(problem->graph, slices->rows) / LINE_LANES,
            extent = dim_at_opt(problem->graph, slices->extent);
    int32_t count = 0, best = 0;
    if (!has_columns(problem, slices)) return 0;
    for (int32_t threads = MOST_THREADS; threads >= FEW_THREADS; threads /= 2)
        for (int32_t side = threads; side >= LEAST_SIDE; side /= 2)
            for (int32_t parts = 1; parts <= MOST_SLICES; parts *= 2) {
                int64_t lines = threads / side * parts;
                if (parts > 1 && (device->sm < CLUSTERS_SM || side * LINE_LANES > threads ||
                                  cluster_shared(threads, side, parts) > MOST_STATIC))
                    break;
                if ((lines > 1 && extent < 2 * lines) || (side > packs && side > LEAST_SIDE)) continue;
                out[count++] = (Config){.count = NUMBERS, .number = {COLUMNS, threads, side, parts}};
            }
    count += met_configs(problem, device, slices, out + count);
    for (int32_t i = 1; i < count; ++i)
        if (columns_us(problem, device, slices, &out[i]) < columns_us(problem, device, slices, &out[best]))
            best = i;
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
    int32_t merge = ((const ReduceAttrs *)node->parsed)->merge;
    bool exact = merge == REDUCE_BY_MAX || merge == REDUCE_BY_MIN;
    const char *total = number[0] == 'f' && !exact ? "double" : number;
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

static Status emit_columns(Emission *emission, const Device *device, const Slices *slices,
                           const Config *config) {
    DimTable *dims = emission->graph->dims;
    int32_t threads = config->number[1], side = config->number[2], parts = config->number[3];
    bool met = parts > MOST_SLICES, halves = dtype_bits(problem_input(emission->problem, 0)->dtype) <= 16;
    Dim groups = dim_ceil_div(dims, slices->rows, side * LINE_LANES);
    bool few =
        dim_at_opt(emission->graph, groups) * parts * threads <= (int64_t)device->sm_count * MOST_THREADS;
    if (met) {
        emission->scratch_bytes = dim_mul(dims, groups, (int64_t)side * LINE_LANES * parts * PART_BYTES);
    }
    KernelWriter *w = kernel_begin(emission, "reduce_columns");
    TRY_ALLOC(emission->diag, w);
    const char *total = declare_reducer(w, emission->problem);
    kernel_include(w, "columns.cuh");
    const char *x = kernel_pack_prologue(w, LINE_LANES), *where = slices_declare(w, slices),
               *epilogue = kernel_epilogue(w);
    int64_t each = dim_is_exact(slices->extent) ? slices->extent / (threads / side * parts) : INT32_MAX;
    bool crowded = !few || (parts > 2 && !met);
    kernel_declare(w, "typedef ColumnTile<%d, %d, %d, %d, %s, Reducer> Tile;", LINE_LANES, threads, side,
                   !crowded || halves ? 8 : 4, halves && each <= FEW_ELEMENTS ? "true" : "false");
    if (crowded) kernel_resident(w, 2 * MOST_THREADS / threads);
    if (met)
        kernel_line(w, "reduce_columns_met<Tile>(%s, %s, %s, %s, %d, %s, %s);", x, where,
                    kernel_number(w, slices->rows), kernel_number(w, slices->extent), parts,
                    kernel_scratch(w, 0, total), epilogue);
    else
        kernel_line(w, "reduce_columns<Tile, %d>(%s, %s, %s, %s, %s);", parts, x, where,
                    kernel_number(w, slices->rows), kernel_number(w, slices->extent), epilogue);
    if (met)
        kernel_together(w);
    else
        kernel_cluster(w, parts);
    return kernel_finish(w, dim_mul(dims, groups, parts), 1, 1, threads, 0);
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
    if (config->number[0] == COLUMNS) return emit_columns(emission, device, &slices, config);
    if (config->number[1] > 1) return emit_parts(emission, &slices, config->number[0], config->number[1]);
    return emit_whole(emission, &slices, config->number[0]);
}

const Tactic tactic_reduce = {.name = "reduce",
                              .version = 6,
                              .strided = true,
                              .prologue = PROLOGUE_STORES,
                              .refuses = refuses,
                              .configs = configs,
                              .emit = emit};
