/* Layer- and RMSNormalization and softmax of rows whose elements lie one behind the other and fit in the
 * registers of part of a warp or a few warps. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/index_text.h"
#include "kernels/lines_text.h"
#include "kernels/norm_text.h"
#include "kernels/window_text.h"
#include "ops/norm.h"
#include "ops/norm_axis.h"
#include "ops/softmax.h"

enum {
    WARP = 32,
    WAVE_THREADS = 1024, /* of a multiprocessor, that have rows at one time */
    MANY_WAVES = 4,
    WIDE = 64,       /* elements of a thread, of which three blocks of 256 fit on a multiprocessor */
    MANY_WORDS = 72, /* registers of what threads read, as floats and as it is, with which 1024 threads do */
    WIDE_BLOCKS = 3
};

static bool is_softmax(OpId op) {
    return op == OP_Softmax || op == OP_LogSoftmax;
}

static int64_t axis_of_node(const Node *node) {
    return is_softmax(node->op) ? ((const SoftmaxAttrs *)node->parsed)->axis
                                : ((const NormAttrs *)node->parsed)->axis;
}

static Slices find_slices(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    int32_t axis = axis_of(axis_of_node(node), x->rank);
    slices_mark(x, axis, is_softmax(node->op) ? axis + 1 : x->rank, walked);
    return slices_normalized(problem, walked);
}

/* -- whether rows fit -- */

/* An element for each of a row's, in their order, the same ones for all rows. */
static bool is_row(const Problem *problem, int32_t input, int32_t axis) {
    const Value *value = problem_input(problem, input), *x = problem_input(problem, 0);
    if (value == NULL) return true;
    if (x->layout != LAYOUT_PLAIN) return false;
    int32_t missing = x->shape.rank - value->shape.rank;
    bool same = missing >= 0 && missing <= axis && value_is_plain(value);
    for (int32_t i = 0; same && i < value->shape.rank; ++i)
        same = value->shape.dim[i] == (i + missing < axis ? 1 : x->shape.dim[i + missing]);
    return same;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL ||
        (!is_softmax(node->op) && node->op != OP_LayerNormalization && node->op != OP_RMSNormalization))
        return "not a normalisation of rows";
    if (problem_output(problem, 0) == NULL) return "only statistics are wanted";
    for (int32_t i = 1; i < node->output_count; ++i)
        if (node->outputs[i] != NONE && !value_is_plain(problem_output(problem, i)))
            return "statistics that are slices or in channels-last layout";
    const Value *x = problem_input(problem, 0);
    const char *why = refuse_unless_floats(problem);
    if (why != NULL) return why;
    if (problem_epilogue_lanes(problem) != LINE_LANES) return "results that do not come in packs";
    Slices slices = find_slices(problem);
    why = lines_refuse(problem, &slices);
    if (why == NULL && !access_is_linear(&slices.out_walk)) why = "results in another order";
    int32_t axis = axis_of(axis_of_node(node), x->shape.rank);
    if (why == NULL && !is_softmax(node->op) && (!is_row(problem, 1, axis) || !is_row(problem, 2, axis)))
        return "parameters that are no row";
    return why;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices slices = find_slices(problem);
    LineShare shares[MOST_LINE_SHARES];
    int32_t count = lines_shares(problem, device, &slices, shares);
    for (int32_t i = 0; i < count; ++i)
        out[i] = (Config){.count = 2, .number = {shares[i].threads, shares[i].rows}};
    return count;
}

/* -- what it costs -- */

/* Multiprocessors take one block after the other, under which the bytes move. Fitted to an H200, as the other
 * numbers of this file are. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    const double empty = 0.95, block_us = 0.147, pack_us = 0.03, warp_more = 0.1; /* that meet */
    Slices slices = find_slices(problem);
    double rows = (double)dim_at_opt(problem->graph, slices.rows), extent = (double)slices.extent;
    double size = (double)(dtype_bits(problem_input(problem, 0)->dtype) +
                           dtype_bits(problem_output(problem, 0)->dtype)) /
                  8;
    double blocks = ceil(rows / config->number[1]), packs = lines_packs(problem, &slices, config->number[0]);
    double moved = device_bytes_us(device, rows * extent * size),
           warps = fmax(config->number[0] / (double)WARP, 1),
           begun = blocks / device->sm_count * block_us * (1 + warp_more * (warps - 1));
    /* half sectors, as neighbouring packs are one thread's */
    if (config->number[0] == 1 && packs > 1) moved *= 2;
    return empty + pack_us * packs + pow(pow(moved, 1.5) + pow(begun, 1.5), 1 / 1.5);
}

/* -- text -- */

/* Blocks that could share a multiprocessor where registers allow it without losses; 0: nothing is asked. */
static int32_t most_resident(const Problem *problem, const Slices *slices, LineShare share, bool late) {
    int32_t elements = lines_packs(problem, slices, share.threads) * lines_lanes(problem), words = elements,
            block = share.threads * share.rows;
    if (is_softmax(problem_anchor(problem)->op))
        return elements == WIDE && share.threads == WAVE_THREADS / 4 ? WIDE_BLOCKS : 0;
    for (int32_t i = 1; i < 3; ++i)
        if (problem_input(problem, i) != NULL)
            words += elements * dtype_bits(problem_input(problem, i)->dtype) / 32;
    int64_t count = value_count_at_opt(problem->graph, problem_anchor(problem)->inputs[0]);
    for (int32_t i = 0; i < problem->input_count; ++i)
        if (problem->inputs[i] != problem_anchor(problem)->inputs[0] &&
            value_count_at_opt(problem->graph, problem->inputs[i]) == count)
            words += elements * dtype_bits(problem->graph->values[problem->inputs[i]].dtype) / 32;
    return words <= MANY_WORDS && !late && block < WAVE_THREADS ? WAVE_THREADS / block : 0;
}

/* Only where there are so many: constants that are read early would go to local memory for nothing. */
static int32_t resident_of(const Problem *problem, const Device *device, const Slices *slices,
                           LineShare share, bool late) {
    int32_t most = most_resident(problem, slices, share, late);
    int64_t blocks = ceil_div_i64(dim_at_opt(problem->graph, slices->rows), share.rows);
    return ceil_div_i64(blocks, device->sm_count) < most ? 0 : most;
}

/* "Finish{p1, p2}" */
static const char *declare_finish(KernelWriter *w) {
    static const char *const names[] = {"", "scale", "shift"};
    const Problem *problem = kernel_emission(w)->problem;
    const Node *node = problem_anchor(problem);
    int32_t lanes = lines_lanes(problem);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, node, &text);
    norm_write_statistics(w, &text);
    write_format(&text, "    struct Parameters {\n");
    for (int32_t i = 1; i < 3; ++i)
        if (problem_input(problem, i) != NULL)
            write_format(&text, "        Pack<%s, %d> %s;\n", cuda_type(problem_input(problem, i)->dtype),
                         lanes, names[i]);
    write_format(&text, "    };\n    SMELT_DEVICE void read(Index k, Parameters &p) const {\n");
    for (int32_t i = 1; i < 3; ++i)
        if (problem_input(problem, i) != NULL)
            write_format(&text, "        p.%s = load_pack<%d>(%s, k);\n", names[i], lanes,
                         kernel_pointer(w, node->inputs[i]));
    write_format(&text,
                 "    }\n    SMELT_DEVICE float value(const Parameters &p, int l, float x) const {\n"
                 "        return x%s%s;\n    }\n",
                 problem_input(problem, 1) == NULL ? "" : " * (float)fetch(p.scale.at[l])",
                 problem_input(problem, 2) == NULL ? "" : " + (float)fetch(p.shift.at[l])");
    return kernel_struct_end(w, "Finish", &text);
}

/* Whether so many blocks follow one another that what one waits for passes under others: on an H200 LayerNorm
 * of 65536 rows of 768 halves then takes 49.9 us instead of 54.2, that of 6144 rows 4.5 instead of 4.2. */
static bool has_waves(const Problem *problem, const Device *device, const Slices *slices, LineShare share) {
    double rows = (double)dim_at_opt(problem->graph, slices->rows);
    return rows * share.threads > (double)MANY_WAVES * WAVE_THREADS * device->sm_count;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    Slices slices = find_slices(problem);
    LineShare share = {config->number[0], config->number[1]};
    int32_t lanes = lines_lanes(problem);
    KernelWriter *w = kernel_begin(emission, "lines");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "lines.cuh");
    const char *x = kernel_pack_prologue(w, lanes), *where = slices_declare(w, &slices),
               *finish = is_softmax(node->op) ? "" : kernel_format(w, "%s, ", declare_finish(w)),
               *epilogue = kernel_pack_epilogue(w, lanes);
    bool quick = node->op == OP_Softmax && dtype_bits(problem_output(problem, 0)->dtype) <= 16;
    bool late = has_waves(problem, device, &slices, share), centered = node->op == OP_LayerNormalization,
         half = dtype_is_half(problem_input(problem, 0)->dtype);
    const char *flags = kernel_format(w, "%s, %s, %s", late ? "true" : "false", centered ? "true" : "false",
                                      centered && share.threads <= WARP && half ? "true" : "false");
    if (is_softmax(node->op))
        flags = kernel_format(w, "%s, %s", node->op == OP_LogSoftmax ? "true" : "false",
                              quick ? "true" : "false");
    kernel_line(w, "%s<%s, %s>(%s, %s, %s, %d, %s%s);",
                is_softmax(node->op) ? "softmax_lines" : "moment_lines", lines_text(w, &slices, share), flags,
                x, where, kernel_number(w, slices.rows), (int)(slices.extent / lanes), finish, epilogue);
    if (!is_softmax(node->op) && inputs_are_constant(problem, node, 1)) kernel_waits(w);
    int32_t resident = resident_of(problem, device, &slices, share, late);
    if (resident > 0) kernel_resident(w, resident);
    return lines_finish(w, &slices, share);
}

const Tactic tactic_lines = {.name = "lines",
                             .version = 5,
                             .strided = true,
                             .prologue = PROLOGUE_STORES,
                             .refuses = refuses,
                             .configs = configs,
                             .cost = cost,
                             .emit = emit};
