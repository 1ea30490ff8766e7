/* Which nodes may compute in the narrow type: patterns, what operators and constants say, and what follows
 * from calibration. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/cost.h"
#include "ops/cast.h"
#include "passes/precision_work.h"

enum {
    LONG_SUM = 4096,          /* terms of a sum whose size nothing bounds */
    LONG_CONTRACTION = 65536, /* terms of an element of a convolution or matrix product */
    MOST_EXCESS = 1024        /* f32 has not more digits than that to offer */
};

static const char *const no_reason = "there is no memory for the reason";

void precision_keep(PrecisionWork *work, NodeId id, const char *format, ...) {
    char text[256];
    NodePrecision *node = &work->nodes[id];
    if (node->state != NODE_HALF || node->forced) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *copy = arena_strdup(work->arena, text);
    node->state = NODE_FULL;
    node->reason = copy != NULL ? copy : no_reason;
}

/* -- patterns -- */

/* "*" is any text, "?" any one character. */
static bool glob_match(const char *pattern, const char *text) {
    const char *star = NULL, *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == '\0';
}

static bool node_matches(const Node *node, const char *pattern) {
    if (glob_match(pattern, op_def(node->op)->name)) return true;
    if (node->name[0] != '\0' && glob_match(pattern, node->name)) return true;
    for (int32_t i = 0; i < node->origin_count; ++i)
        if (glob_match(pattern, node->origins[i])) return true;
    return false;
}

static Status contradict(PrecisionWork *work, NodeId node, const char *text) {
    Status status = FAIL(work->ctx->diag, STATUS_USAGE, "%s", text);
    diag_node(work->ctx->diag, work->graph, node);
    return status;
}

/* Bodies of control flow keep f32 anyway. */
static bool matches_in_body(const Graph *graph, const char *pattern) {
    for (BlockId b = MAIN_BLOCK + 1; b < graph->block_count; ++b)
        for (int32_t i = 0; i < graph->blocks[b].node_count; ++i)
            if (node_matches(&graph->nodes[graph->blocks[b].nodes[i]], pattern)) return true;
    return false;
}

static Status match_pattern(PrecisionWork *work, const char *option, const char *pattern, bool force) {
    const Block *block = &work->graph->blocks[MAIN_BLOCK];
    bool found = !force && matches_in_body(work->graph, pattern);
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodePrecision *node = &work->nodes[block->nodes[i]];
        if (!node_matches(&work->graph->nodes[block->nodes[i]], pattern)) continue;
        found = true;
        if (force ? node->kept : node->forced)
            return contradict(work, block->nodes[i], "--keep-fp32 and --force-fp16 both name it");
        *(force ? &node->forced : &node->kept) = true;
    }
    if (found) return STATUS_OK;
    diag_hint(work->ctx->diag, "patterns are compared with names of nodes and of operators; smelt inspect "
                               "lists them");
    return FAIL(work->ctx->diag, STATUS_USAGE, "%s '%s' matches no node", option, pattern);
}

Status precision_match(PrecisionWork *work) {
    const PrecisionOptions *options = work->options;
    for (int32_t i = 0; i < options->keep_count; ++i)
        TRY(match_pattern(work, "--keep-fp32", options->keep[i], false));
    for (int32_t i = 0; i < options->force_count; ++i)
        TRY(match_pattern(work, "--force-fp16", options->force[i], true));
    return STATUS_OK;
}

/* -- operands -- */

/* Operands with a type of their own, whatever the node computes in. */
static const struct {
    OpId op;
    int32_t input;
} own_types[] = {
    {OP_Resize, 1}, {OP_Resize, 2}, {OP_Attention, 3}, {OP_OneHot, 0}, {OP_OneHot, 1}, {OP_CastLike, 1},
};

/* Scale and shift of channels: a kernel reads each once for thousands of elements, so that f32 costs nothing,
 * and their rounding would be an error that all elements of a channel share. */
static bool is_channel_factor(const PrecisionWork *work, const Node *node, int32_t input) {
    return (node->op == OP_InstanceNormalization || node->op == OP_GroupNormalization) && input > 0 &&
           value_is_constant(work->graph, node->inputs[input]);
}

bool operand_is_typed(const PrecisionWork *work, const Node *node, int32_t input) {
    ValueId value = node->inputs[input];
    if (value == NONE || !work->values[value].typed || is_channel_factor(work, node, input)) return false;
    for (size_t i = 0; i < sizeof own_types / sizeof own_types[0]; ++i)
        if (own_types[i].op == node->op && own_types[i].input == input) return false;
    return true;
}

bool node_takes_any(const Node *node) {
    return node->op == OP_Cast || node->op == OP_Shape || node->op == OP_Size;
}

static bool is_typed(const PrecisionWork *work, const Node *node) {
    if (node_takes_any(node)) return false;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (operand_is_typed(work, node, i)) return true;
    return false;
}

/* -- rules that look at one node -- */

static bool has_late_result(const Graph *graph, const Node *node) {
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        const Value *value = &graph->values[node->outputs[i]];
        if (!value->has_shape || shape_is_late(graph->dims, &value->shape)) return true;
    }
    return false;
}

/* Asks the operator's inference what it gives for narrow operands; *taken false where it refuses them. */
static Status ask_inference(PrecisionWork *work, NodeId id, bool *taken) {
    const Node *node = &work->graph->nodes[id];
    Arena *scratch = work->ctx->scratch;
    Diag refused = {0};
    TypeInfo *types = ARENA_ARRAY(scratch, TypeInfo, (size_t)node->input_count + (size_t)node->output_count);
    const TypeInfo **inputs = ARENA_ARRAY(scratch, const TypeInfo *, node->input_count);
    TRY_ALLOC(work->ctx->diag, types);
    TRY_ALLOC(work->ctx->diag, inputs);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        const Value *value = &work->graph->values[node->inputs[i]];
        bool typed = operand_is_typed(work, node, i);
        types[i] = (TypeInfo){.dtype = typed ? work->half.dtype : value->dtype,
                              .shape = value->shape,
                              .data = typed ? NULL : value->data,
                              .content = value->content};
        inputs[i] = &types[i];
    }
    InferCtx infer = {.attrs = node->parsed,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .inputs = inputs,
                      .outputs = types + node->input_count,
                      .dims = work->graph->dims,
                      .arena = scratch,
                      .diag = &refused};
    *taken = op_infer(node->op, &infer) == STATUS_OK;
    for (int32_t i = 0; *taken && i < node->output_count; ++i)
        if (node->outputs[i] != NONE)
            work->values[node->outputs[i]].narrows = infer.outputs[i].dtype == work->half.dtype;
    return refused.status == STATUS_NO_MEMORY ? FAIL(work->ctx->diag, STATUS_NO_MEMORY, "out of memory")
                                              : STATUS_OK;
}

/* Terms behind each element of the result; 0 where it is no sum. */
static int64_t sum_length(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    int64_t in = node->inputs[0] != NONE ? value_count_at_opt(graph, node->inputs[0]) : -1,
            out = node->outputs[0] != NONE ? value_count_at_opt(graph, node->outputs[0]) : -1;
    if (out <= 0) return 0;
    if (op_def(node->op)->op_class == OPCLASS_CONTRACTION) return node_macs(graph, id) / out;
    bool sums = node->op == OP_ReduceSum || node->op == OP_ReduceL1 || node->op == OP_ReduceLogSum;
    return sums && in > 0 ? in / out : 0;
}

static bool is_proven(const PrecisionWork *work, ValueId value) {
    return work->values[value].low >= -work->half.largest && work->values[value].high <= work->half.largest;
}

static void check_sum(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    int64_t terms = sum_length(work->graph, id);
    bool contraction = op_def(node->op)->op_class == OPCLASS_CONTRACTION;
    if (terms < (contraction ? LONG_CONTRACTION : LONG_SUM) || work->half.dtype != DTYPE_F16) return;
    if (is_proven(work, node->outputs[0])) return;
    precision_keep(work, id, "sums of %lld terms", (long long)terms);
    work->values[node->outputs[0]].full |= work->nodes[id].state == NODE_FULL;
}

/* x * x, as in a variance: its range is the square of x's. */
static void check_square(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    if (node->op != OP_Mul || node->inputs[0] != node->inputs[1] || work->half.dtype != DTYPE_F16) return;
    if (is_proven(work, node->outputs[0])) return;
    precision_keep(work, id, "squares");
    work->values[node->outputs[0]].full |= work->nodes[id].state == NODE_FULL;
}

/* Constants that are lost, or out of range. */
static void check_constants(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (!operand_is_typed(work, node, i) || !value_is_constant(work->graph, node->inputs[i])) continue;
        const ValuePrecision *value = &work->values[node->inputs[i]];
        if (value->seen > 0 && value->seen < work->half.smallest_normal) {
            precision_keep(work, id, "the constant %.3g vanishes in %s", value->seen,
                           dtype_name(work->half.dtype));
            if (work->nodes[id].state == NODE_FULL && op_def(node->op)->op_class == OPCLASS_POINTWISE)
                work->values[node->outputs[0]].full = true;
        }
        if (value->huge && !operand_is_bound(node, i) && !mask_is_clampable(work, node, i))
            precision_keep(work, id, "the constant %.3g is beyond %s", value->seen,
                           dtype_name(work->half.dtype));
    }
}

/* Where sizes depend on data, inference would invent new ones: it is not asked, but known of these classes
 * that results have the type of the operands; of a normalisation's only the first. */
static void assume_types(PrecisionWork *work, const Node *node, bool *taken) {
    OpClass op_class = op_def(node->op)->op_class;
    bool product = node->op == OP_MatMul || node->op == OP_Gemm || node->op == OP_Conv;
    *taken = op_class == OPCLASS_POINTWISE || op_class == OPCLASS_MOVEMENT || op_class == OPCLASS_INDEXING ||
             op_class == OPCLASS_REDUCTION || op_class == OPCLASS_NORMALIZATION || product;
    for (int32_t i = 0; *taken && i < node->output_count; ++i)
        if (node->outputs[i] != NONE && work->values[node->outputs[i]].typed)
            work->values[node->outputs[i]].narrows = i == 0 || op_class != OPCLASS_NORMALIZATION;
}

static Status check_operator(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    const OpDef *def = op_def(node->op);
    bool taken = false;
    if (def->op_class == OPCLASS_CONTROL)
        precision_keep(work, id, "control flow");
    else if (has_late_result(work->graph, node))
        assume_types(work, node, &taken);
    else
        TRY(ask_inference(work, id, &taken));
    if (!taken && work->nodes[id].forced)
        return contradict(work, id, "--force-fp16 names it, but it cannot take such operands");
    if (def->half == HALF_NEVER) precision_keep(work, id, "%s computes in f32", def->name);
    if (!taken) precision_keep(work, id, "%s takes no %s", def->name, dtype_name(work->half.dtype));
    return STATUS_OK;
}

Status precision_rules(PrecisionWork *work) {
    const Block *block = &work->graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodeId id = block->nodes[i];
        if (!is_typed(work, &work->graph->nodes[id])) continue;
        work->nodes[id].state = NODE_HALF;
        TRY(check_operator(work, id));
        if (work->nodes[id].kept) precision_keep(work, id, "--keep-fp32 names it");
        check_sum(work, id);
        check_square(work, id);
        check_constants(work, id);
    }
    return STATUS_OK;
}

/* -- what follows from values -- */

/* The sum of a value and a mask that is cut to the narrow range is in that range. */
static bool is_masked(const PrecisionWork *work, ValueId id) {
    NodeId producer = work->graph->values[id].producer;
    if (producer == NONE || work->graph->nodes[producer].op != OP_Add) return false;
    const Node *node = &work->graph->nodes[producer];
    return mask_is_clampable(work, node, 0) || mask_is_clampable(work, node, 1);
}

/* Why a value must not be stored narrow, in words for the node that has it; NULL: it may. */
static const char *value_objection(PrecisionWork *work, ValueId id) {
    const ValuePrecision *value = &work->values[id];
    const char *name = work->graph->values[id].name, *type = dtype_name(work->half.dtype), *text = NULL;
    bool proven = is_proven(work, id);
    if ((proven && value->seen < 0) || is_masked(work, id)) return NULL;
    if (value->huge)
        text =
            arena_printf(work->arena, "'%s' may reach the size of a constant that is beyond %s", name, type);
    else if (!proven && value->seen * PRECISION_MARGIN > work->half.largest)
        text = arena_printf(work->arena, "'%s' reaches %.3g, and %s ends at %.5g", name, value->seen, type,
                            work->half.largest);
    else if (value->seen > 0 && value->seen < 2 * work->half.smallest_normal)
        text =
            arena_printf(work->arena, "'%s' is at most %.3g, where %s loses digits", name, value->seen, type);
    else
        return NULL;
    return text != NULL ? text : no_reason;
}

static void mark_values(PrecisionWork *work) {
    for (ValueId v = 0; v < work->value_count; ++v) {
        ValuePrecision *value = &work->values[v];
        if (!value->typed || work->graph->values[v].data != NULL) continue;
        const char *objection = value_objection(work, v);
        if (objection == NULL) continue;
        value->full = true;
        value->reason = objection;
    }
}

static void keep_for_values(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (!operand_is_typed(work, node, i) || !work->values[node->inputs[i]].full) continue;
        const ValuePrecision *value = &work->values[node->inputs[i]];
        precision_keep(work, id, "%s", value->reason != NULL ? value->reason : "an operand must stay f32");
    }
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE || !work->values[node->outputs[i]].full) continue;
        const ValuePrecision *value = &work->values[node->outputs[i]];
        precision_keep(work, id, "%s", value->reason != NULL ? value->reason : "its result must stay f32");
    }
}

/* -- errors of calibration, backwards -- */

/* How much too large the error is that rounded operands cause; at most 1: fine. *stored: with the rounding of
 * the results. */
static double excess_of(PrecisionWork *work, const Node *node, double *stored) {
    double excess = 0;
    *stored = 0;
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        const ValuePrecision *value = &work->values[node->outputs[i]];
        DType dtype = work->graph->values[node->outputs[i]].dtype;
        double need = value->need;
        if (value->error < 0 || value->seen < 0) continue;
        if (dtype_is_float(dtype)) need = fmin(need, work->tolerance * value->seen);
        if (dtype_is_integer(dtype)) need = fmin(need, 0.5);
        if (need <= 0 && value->error <= 0) continue;
        double rounding = value->typed ? work->half.roundoff * value->seen : 0;
        excess = fmax(excess, value->error / need);
        *stored = fmax(*stored, (value->error + rounding) / need);
    }
    return excess;
}

/* A node whose operands lose too much by rounding needs them more exactly than the narrow type has them. */
static void weigh_error(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    double stored, excess = excess_of(work, node, &stored);
    if (stored > 1)
        precision_keep(work, id, "rounding to %s changes its result by %.2g times what is allowed",
                       dtype_name(work->half.dtype), stored);
    if (excess <= 1 || work->nodes[id].forced) return;
    excess = fmin(excess, MOST_EXCESS);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (!operand_is_typed(work, node, i)) continue;
        ValuePrecision *value = &work->values[node->inputs[i]];
        value->need = fmin(value->need, work->half.roundoff * value->seen / excess);
    }
}

/* -- index arithmetic -- */

static bool leads_to_index(const PrecisionWork *work, const Node *node) {
    if (node->op != OP_Cast) return false;
    DType to = work->graph->values[node->outputs[0]].dtype;
    return work->values[node->inputs[0]].typed && (to == DTYPE_I64 || to == DTYPE_I32);
}

static bool is_arithmetic(const Node *node) {
    const OpDef *def = op_def(node->op);
    return def->op_class == OPCLASS_POINTWISE || def->half == HALF_MOVES;
}

/* Backwards: what a float that becomes an index is made of. */
static void keep_indices(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    bool index = leads_to_index(work, node);
    for (int32_t i = 0; i < node->output_count && is_arithmetic(node); ++i)
        index = index || (node->outputs[i] != NONE && work->values[node->outputs[i]].typed &&
                          work->values[node->outputs[i]].reason != NULL &&
                          strcmp(work->values[node->outputs[i]].reason, "it becomes an index") == 0);
    for (int32_t i = 0; index && i < node->input_count; ++i) {
        if (node->inputs[i] == NONE || !work->values[node->inputs[i]].typed) continue;
        work->values[node->inputs[i]].full = true;
        work->values[node->inputs[i]].reason = "it becomes an index";
    }
}

/* -- order -- */

/* What is only compared is to be compared as it is: rounding would make ties. */
static void follow_operand(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    NodePrecision *own = &work->nodes[id];
    bool compares = op_def(node->op)->op_class == OPCLASS_SORTING || node->op == OP_Hardmax;
    if (!compares || own->state != NODE_HALF || own->forced || !operand_is_typed(work, node, 0)) return;
    NodeId producer = work->graph->values[node->inputs[0]].producer;
    if (producer == NONE || work->nodes[producer].state != NODE_HALF) own->state = NODE_FULL;
}

/* -- islands -- */

/* Costs the same in either type: alone among f32 nodes it gains nothing. */
static bool is_light(const Node *node) {
    const OpDef *def = op_def(node->op);
    return def->op_class == OPCLASS_POINTWISE || def->half == HALF_MOVES;
}

static int32_t find_root(int32_t *parent, int32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

/* Joins narrow nodes that hand values to one another. */
static void join_neighbours(PrecisionWork *work, int32_t *parent, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (!operand_is_typed(work, node, i)) continue;
        NodeId producer = work->graph->values[node->inputs[i]].producer;
        if (producer != NONE && work->nodes[producer].state == NODE_HALF)
            parent[find_root(parent, producer)] = find_root(parent, id);
    }
}

static bool is_worth(const PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    if (work->nodes[id].forced || !is_light(node)) return true;
    if (!work->options->narrow_io) return false;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (operand_is_typed(work, node, i) && !value_is_constant(work->graph, node->inputs[i]) &&
            work->graph->values[node->inputs[i]].producer == NONE)
            return true;
    return false;
}

static Status dissolve_islands(PrecisionWork *work) {
    const Block *block = &work->graph->blocks[MAIN_BLOCK];
    int32_t *parent = ARENA_ARRAY(work->ctx->scratch, int32_t, work->node_count);
    bool *worth = ARENA_ARRAY(work->ctx->scratch, bool, work->node_count);
    TRY_ALLOC(work->ctx->diag, parent);
    TRY_ALLOC(work->ctx->diag, worth);
    for (int32_t i = 0; i < work->node_count; ++i) parent[i] = i;
    for (int32_t i = 0; i < block->node_count; ++i)
        if (work->nodes[block->nodes[i]].state == NODE_HALF) join_neighbours(work, parent, block->nodes[i]);
    for (int32_t i = 0; i < block->node_count; ++i)
        if (work->nodes[block->nodes[i]].state == NODE_HALF && is_worth(work, block->nodes[i]))
            worth[find_root(parent, block->nodes[i])] = true;
    for (int32_t i = 0; i < block->node_count; ++i) {
        NodePrecision *node = &work->nodes[block->nodes[i]];
        if (node->state != NODE_HALF || worth[find_root(parent, block->nodes[i])]) continue;
        node->state = NODE_FULL; /* without a reason: nothing speaks against it, and nothing for it */
        pass_count_add(work->ctx, "islands", 1);
    }
    return STATUS_OK;
}

/* All users want f32. */
static bool is_read_full(const PrecisionWork *work, ValueId id) {
    for (int32_t u = work->uses.first[id]; u < work->uses.first[id + 1]; ++u) {
        const struct Use *use = &work->uses.uses[u];
        if (use->block != MAIN_BLOCK) continue;
        if (use->node == NONE ? work->options->narrow_io : work->nodes[use->node].state != NODE_FULL)
            return false;
    }
    return true;
}

/* A view whose result is read in f32 shows f32: the Cast stands in front of it, where it can join what makes
 * the value. */
static void widen_view(PrecisionWork *work, NodeId id) {
    const Node *node = &work->graph->nodes[id];
    NodePrecision *own = &work->nodes[id];
    bool view = (op_def(node->op)->flags & OPF_VIEW) != 0 && node->output_count == 1;
    if (view && own->state == NODE_HALF && !own->forced && is_read_full(work, node->outputs[0]))
        own->state = NODE_FULL;
}

Status precision_decide(PrecisionWork *work) {
    const Block *block = &work->graph->blocks[MAIN_BLOCK];
    mark_values(work);
    for (int32_t i = block->node_count - 1; i >= 0; --i) {
        NodeId id = block->nodes[i];
        keep_indices(work, id);
        keep_for_values(work, id);
        weigh_error(work, id);
    }
    for (int32_t i = 0; i < block->node_count; ++i) follow_operand(work, block->nodes[i]);
    TRY(dissolve_islands(work));
    for (int32_t i = block->node_count - 1; i >= 0; --i) widen_view(work, block->nodes[i]);
    return STATUS_OK;
}
