/* Types through the bodies of If, Loop, Scan and BeamSearch.
 *
 * What a body computes may have another shape in each run: dimensions that depend on it get late symbols
 * outside. A loop's state is what its body makes of it: where a dimension changes, it is late from the start
 * on. */
#include <string.h>

#include "base/checked.h"
#include "ops/control.h"
#include "passes/infer.h"
#include "passes/rewrite.h"

static Status find_body(Inference *inf, const Node *node, const char *name, BlockId *out) {
    const Attr *attr = attr_find(&node->attrs, name);
    if (attr == NULL || attr->kind != ATTR_BLOCK)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "body '%s' is missing", name);
    *out = (BlockId)attr->ints[0];
    return STATUS_OK;
}

/* The shape alone: what a value holds may change from run to run. */
static TypeInfo type_of(const Inference *inf, ValueId value) {
    return (TypeInfo){.dtype = inf->types[value].dtype, .shape = inf->types[value].shape};
}

static void set_late(Inference *inf, Dim *dim) {
    *dim = dim_fresh(inf->graph->dims, "body");
}

/* A late symbol that is bound within a body has no meaning outside. */
static void escape(Inference *inf, Shape *shape) {
    for (int32_t i = 0; i < shape->rank; ++i)
        if (dim_is_late(inf->graph->dims, shape->dim[i])) set_late(inf, &shape->dim[i]);
}

static Status check_same_kind(Inference *inf, const char *what, int32_t index, const TypeInfo *a,
                              const TypeInfo *b) {
    if (a->dtype != b->dtype)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "%s %d is %s in one place and %s in another", what,
                    index, dtype_name(a->dtype), dtype_name(b->dtype));
    if (a->shape.rank != b->shape.rank)
        return FAIL(inf->ctx->diag, STATUS_UNSUPPORTED, "%s %d has rank %d in one place and %d in another",
                    what, index, a->shape.rank, b->shape.rank);
    return STATUS_OK;
}

/* Dimensions of shape that differ from the other's become late ones; bits of *loose tell which already have.
 * True where one did. */
static bool loosen(Inference *inf, Shape *shape, const Shape *other, uint32_t *loose) {
    uint32_t before = *loose;
    for (int32_t i = 0; i < shape->rank; ++i) {
        if (shape->dim[i] == other->dim[i] || (*loose >> i & 1) != 0) continue;
        set_late(inf, &shape->dim[i]);
        *loose |= (uint32_t)1 << i;
    }
    return *loose != before;
}

/* A truth value that is known: 0 or 1, else -1. */
static int known_truth(const Inference *inf, ValueId value) {
    const TypeInfo *type = &inf->types[value];
    if (type->data == NULL || type->dtype != DTYPE_BOOL || shape_count(inf->graph->dims, &type->shape) != 1)
        return -1;
    return dtype_load_i64(DTYPE_BOOL, type->data, 0) != 0;
}

/* -- If -- */

static Status check_results(Inference *inf, const Node *node, BlockId body, int32_t wanted) {
    int32_t count = inf->graph->blocks[body].result_count;
    if (count == wanted) return STATUS_OK;
    return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "a body of %s gives %d results, expected %d",
                op_def(node->op)->name, count, wanted);
}

static Status merge_branches(Inference *inf, NodeId id, const BlockId branch[2]) {
    int32_t count = inf->graph->nodes[id].output_count;
    TRY(check_results(inf, &inf->graph->nodes[id], branch[0], count));
    TRY(check_results(inf, &inf->graph->nodes[id], branch[1], count));
    for (int32_t i = 0; i < count; ++i) {
        uint32_t loose = 0;
        TypeInfo types[2];
        for (int b = 0; b < 2; ++b) types[b] = type_of(inf, inf->graph->blocks[branch[b]].results[i]);
        if (types[0].dtype == types[1].dtype) TRY(repair_ranks(inf, id, branch, i, types));
        TRY(check_same_kind(inf, "result", i, &types[0], &types[1]));
        loosen(inf, &types[0].shape, &types[1].shape, &loose);
        escape(inf, &types[0].shape);
        ValueId output = inf->graph->nodes[id].outputs[i];
        if (output != NONE) infer_set(inf, output, &types[0]);
    }
    return STATUS_OK;
}

static Status infer_if(Inference *inf, NodeId id, bool *inlined) {
    const Node *node = &inf->graph->nodes[id];
    BlockId branch[2];
    TRY(find_body(inf, node, "else_branch", &branch[0]));
    TRY(find_body(inf, node, "then_branch", &branch[1]));
    int condition = known_truth(inf, node->inputs[0]);
    if (condition >= 0 && !inf->tentative) {
        *inlined = true;
        pass_count_add(inf->ctx, "inlined", 1);
        return inline_body(inf->ctx, id, branch[condition]);
    }
    if (condition >= 0) branch[!condition] = branch[condition];
    TRY(infer_block(inf, branch[0]));
    if (branch[1] != branch[0]) TRY(infer_block(inf, branch[1]));
    int squeezing = branch[1] != branch[0] && !inf->tentative ? repair_squeeze(inf, branch) : -1;
    if (squeezing >= 0) {
        *inlined = true;
        pass_count_add(inf->ctx, "squeezes_assumed", 1);
        return inline_body(inf->ctx, id, branch[squeezing]);
    }
    return merge_branches(inf, id, branch);
}

/* -- Loop and Scan: a state that goes through the body again and again -- */

typedef struct LoopShape {
    BlockId body;
    int32_t state_count;
    const ValueId *params, *results; /* of the states */
    TypeInfo *states;
    uint32_t *loose; /* per state: bits of dimensions that change from run to run */
} LoopShape;

static Status run_body(Inference *inf, const LoopShape *loop) {
    for (int32_t i = 0; i < loop->state_count; ++i) infer_set(inf, loop->params[i], &loop->states[i]);
    return infer_block(inf, loop->body);
}

/* Infers the body until its states keep their shapes, then once more for good. Every round makes a dimension
 * late that was not, so that there is an end to it. */
static Status settle(Inference *inf, LoopShape *loop) {
    bool outer = inf->tentative, changed = true;
    inf->tentative = true;
    while (changed) {
        changed = false;
        TRY(run_body(inf, loop));
        for (int32_t i = 0; i < loop->state_count; ++i) {
            TypeInfo result = type_of(inf, loop->results[i]);
            TRY(check_same_kind(inf, "state", i, &loop->states[i], &result));
            changed = loosen(inf, &loop->states[i].shape, &result.shape, &loop->loose[i]) || changed;
        }
    }
    inf->tentative = outer;
    return outer ? STATUS_OK : run_body(inf, loop);
}

static Status begin_loop(Inference *inf, const Node *node, const ValueId *inputs, LoopShape *loop) {
    loop->states = ARENA_ARRAY(inf->ctx->scratch, TypeInfo, loop->state_count);
    loop->loose = ARENA_ARRAY(inf->ctx->scratch, uint32_t, loop->state_count);
    TRY_ALLOC(inf->ctx->diag, loop->states);
    TRY_ALLOC(inf->ctx->diag, loop->loose);
    for (int32_t i = 0; i < loop->state_count; ++i) {
        if (inputs[i] == NONE)
            return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "state %d of %s is omitted", i,
                        op_def(node->op)->name);
        loop->states[i] = type_of(inf, inputs[i]);
    }
    return STATUS_OK;
}

/* Final states: what the body was last given or gave. */
static void set_states(Inference *inf, const Node *node, const LoopShape *loop) {
    for (int32_t i = 0; i < loop->state_count; ++i) {
        TypeInfo type = loop->states[i];
        escape(inf, &type.shape);
        if (node->outputs[i] != NONE) infer_set(inf, node->outputs[i], &type);
    }
}

/* An output that stacks what each run gives along `axis` (of the output). */
static Status set_stacked(Inference *inf, ValueId output, ValueId result, int64_t axis, Dim length) {
    TypeInfo type = type_of(inf, result);
    if (type.shape.rank >= SMELT_MAX_RANK)
        return FAIL(inf->ctx->diag, STATUS_UNSUPPORTED, "an output of rank %d", type.shape.rank + 1);
    if (axis < 0) axis += type.shape.rank + 1;
    if (axis < 0 || axis > type.shape.rank)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "an axis is outside the output's rank %d",
                    type.shape.rank + 1);
    escape(inf, &type.shape);
    memmove(type.shape.dim + axis + 1, type.shape.dim + axis, (size_t)(type.shape.rank - axis) * sizeof(Dim));
    type.shape.dim[axis] = length;
    type.shape.rank++;
    if (output != NONE) infer_set(inf, output, &type);
    return STATUS_OK;
}

/* Runs of a Loop, where they are known: a constant number of them, and a condition that stays true. */
static Dim trip_count(Inference *inf, const Node *node, const Block *body) {
    const TypeInfo *trips = node->inputs[0] == NONE ? NULL : &inf->types[node->inputs[0]];
    bool starts = node->input_count < 2 || node->inputs[1] == NONE || known_truth(inf, node->inputs[1]) == 1;
    ValueId condition = body->results[0];
    for (NodeId n; (n = inf->graph->values[condition].producer) != NONE;) {
        if (inf->graph->nodes[n].op != OP_Identity) break;
        condition = inf->graph->nodes[n].inputs[0];
    }
    bool stays = condition == body->params[1] || known_truth(inf, condition) == 1;
    bool known = trips != NULL && trips->data != NULL && trips->dtype == DTYPE_I64 &&
                 shape_count(inf->graph->dims, &trips->shape) == 1;
    if (!known || !starts || !stays) return dim_fresh(inf->graph->dims, "trips");
    int64_t count = dtype_load_i64(DTYPE_I64, trips->data, 0);
    return count > 0 ? count : 0;
}

static Status infer_loop(Inference *inf, NodeId id) {
    const Node *node = &inf->graph->nodes[id];
    LoopShape loop = {.state_count = node->input_count > 2 ? node->input_count - 2 : 0};
    TRY(find_body(inf, node, "body", &loop.body));
    const Block *body = &inf->graph->blocks[loop.body];
    int32_t scans = node->output_count - loop.state_count;
    if (body->param_count != 2 + loop.state_count || scans < 0)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "its body has %d parameters, expected %d",
                    body->param_count, 2 + loop.state_count);
    TRY(check_results(inf, node, loop.body, 1 + node->output_count));
    loop.params = body->params + 2;
    loop.results = body->results + 1;
    TRY(begin_loop(inf, node, node->inputs + 2, &loop));
    infer_set(inf, body->params[0], &(TypeInfo){.dtype = DTYPE_I64});
    infer_set(inf, body->params[1], &(TypeInfo){.dtype = DTYPE_BOOL});
    TRY(settle(inf, &loop));
    node = &inf->graph->nodes[id]; /* tables may have moved */
    body = &inf->graph->blocks[loop.body];
    set_states(inf, node, &loop);
    if (scans == 0) return STATUS_OK;
    Dim trips = trip_count(inf, node, body);
    for (int32_t i = 0; i < scans; ++i)
        TRY(set_stacked(inf, node->outputs[loop.state_count + i], body->results[1 + loop.state_count + i], 0,
                        trips));
    return STATUS_OK;
}

/* Element i of an optional list of axes. */
static Status list_axis(Inference *inf, const Node *node, const char *name, int32_t i, int64_t *out) {
    const int64_t *axes;
    int32_t count;
    TRY(attr_ints(&node->attrs, name, &axes, &count, inf->ctx->diag));
    *out = i < count ? axes[i] : 0;
    return STATUS_OK;
}

/* Gives the body's parameter the type of a slice; all inputs must agree on their number. */
static Status set_slice(Inference *inf, const Node *node, int32_t index, ValueId input, ValueId param,
                        Dim *length) {
    int64_t axis;
    TRY(list_axis(inf, node, "scan_input_axes", index, &axis));
    if (input == NONE) return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "scan input %d is omitted", index);
    TypeInfo type = type_of(inf, input);
    int32_t rank = type.shape.rank;
    if (axis < -rank || axis >= rank)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "axis %lld is outside rank %d", (long long)axis, rank);
    if (axis < 0) axis += rank;
    if (index == 0 || !dim_is_exact(*length)) *length = type.shape.dim[axis];
    memmove(type.shape.dim + axis, type.shape.dim + axis + 1, (size_t)(rank - axis - 1) * sizeof(Dim));
    type.shape.rank--;
    infer_set(inf, param, &type);
    return STATUS_OK;
}

static Status infer_scan(Inference *inf, NodeId id) {
    const Node *node = &inf->graph->nodes[id];
    LoopShape loop = {0};
    int64_t slices, axis;
    Dim length = 0;
    TRY(attr_int_in(&node->attrs, "num_scan_inputs", 1, 1, node->input_count, &slices, inf->ctx->diag));
    TRY(find_body(inf, node, "body", &loop.body));
    const Block *body = &inf->graph->blocks[loop.body];
    loop.state_count = node->input_count - (int32_t)slices;
    if (body->param_count != node->input_count || node->output_count < loop.state_count)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "its body has %d parameters, expected %d",
                    body->param_count, node->input_count);
    TRY(check_results(inf, node, loop.body, node->output_count));
    loop.params = body->params;
    loop.results = body->results;
    TRY(begin_loop(inf, node, node->inputs, &loop));
    for (int32_t i = 0; i < slices; ++i)
        TRY(set_slice(inf, node, i, node->inputs[loop.state_count + i], body->params[loop.state_count + i],
                      &length));
    TRY(settle(inf, &loop));
    node = &inf->graph->nodes[id]; /* tables may have moved */
    body = &inf->graph->blocks[loop.body];
    set_states(inf, node, &loop);
    for (int32_t i = loop.state_count; i < node->output_count; ++i) {
        TRY(list_axis(inf, node, "scan_output_axes", i - loop.state_count, &axis));
        TRY(set_stacked(inf, node->outputs[i], body->results[i], axis, length));
    }
    return STATUS_OK;
}

/* -- BeamSearch -- */

/* Rows are beams of the batch; with each step the decoder sees fewer tokens and has a longer state. */
static Status set_decoder_params(Inference *inf, const Node *node, const Block *body) {
    DimTable *dims = inf->graph->dims;
    int64_t heads, size;
    TRY(attr_int_in(&node->attrs, "num_heads", 0, 1, INT32_MAX, &heads, inf->ctx->diag));
    TRY(attr_int_in(&node->attrs, "head_size", 0, 1, INT32_MAX, &size, inf->ctx->diag));
    Dim rows = dim_fresh(dims, "rows"), tokens = dim_fresh(dims, "tokens"), past = dim_fresh(dims, "past");
    TypeInfo ids = {.dtype = DTYPE_I32, .shape = {.rank = 2, .dim = {rows, tokens}}};
    TypeInfo state = {.dtype = DTYPE_F32, .shape = {.rank = 5, .dim = {2, rows, heads, past, size}}};
    infer_set(inf, body->params[0], &ids);
    infer_set(inf, body->params[1], &ids);
    ids.shape.dim[1] = dim_add(dims, past, tokens);
    infer_set(inf, body->params[2], &ids);
    for (int32_t i = 3; i < body->param_count; ++i) infer_set(inf, body->params[i], &state);
    return STATUS_OK;
}

static Status check_decoder_results(Inference *inf, const Block *body) {
    for (int32_t i = 0; i < body->result_count; ++i) {
        const TypeInfo *type = &inf->types[body->results[i]];
        if (type->dtype != DTYPE_F32 || type->shape.rank != (i == 0 ? 3 : 5))
            return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "result %d of its decoder is %s%s, expected %s", i,
                        dtype_name(type->dtype),
                        shape_print(inf->graph->dims, &type->shape, inf->ctx->scratch),
                        i == 0 ? "f32 logits of rank 3" : "an f32 state of rank 5");
    }
    return STATUS_OK;
}

/* What an input of one element says, where that is known; else a late symbol. */
static Dim known_extent(Inference *inf, const Node *node, int32_t input, int64_t fallback, const char *stem) {
    if (input >= node->input_count || node->inputs[input] == NONE) return fallback;
    const TypeInfo *type = &inf->types[node->inputs[input]];
    if (type->data == NULL) return dim_fresh(inf->graph->dims, stem);
    return max_i64(dtype_load_i64(type->dtype, type->data, 0), 0);
}

static Status infer_beam_search(Inference *inf, NodeId id) {
    const Node *node = &inf->graph->nodes[id];
    BlockId body;
    int64_t layers;
    TRY(find_body(inf, node, "decoder", &body));
    TRY(attr_int_in(&node->attrs, "num_layers", 0, 1, INT32_MAX - 3, &layers, inf->ctx->diag));
    if (inf->graph->blocks[body].param_count != 3 + layers)
        return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "its decoder has %d parameters, expected %lld",
                    inf->graph->blocks[body].param_count, 3 + (long long)layers);
    TRY(check_results(inf, node, body, (int32_t)(1 + layers)));
    TRY(set_decoder_params(inf, node, &inf->graph->blocks[body]));
    TRY(infer_block(inf, body));
    TRY(check_decoder_results(inf, &inf->graph->blocks[body]));
    node = &inf->graph->nodes[id]; /* tables may have moved */
    TypeInfo result = {.dtype = DTYPE_I32, .shape = {.rank = 3}};
    result.shape.dim[0] = inf->types[node->inputs[0]].shape.dim[0];
    result.shape.dim[1] = known_extent(inf, node, 4, 1, "returned");
    result.shape.dim[2] = known_extent(inf, node, 1, BEAM_MAX_LENGTH, "max_length");
    if (node->outputs[0] != NONE) infer_set(inf, node->outputs[0], &result);
    result.dtype = DTYPE_F32;
    result.shape.rank = 2;
    if (node->output_count > 1 && node->outputs[1] != NONE) infer_set(inf, node->outputs[1], &result);
    return STATUS_OK;
}

Status infer_control(Inference *inf, NodeId id, bool *inlined) {
    switch (inf->graph->nodes[id].op) {
    case OP_If:
        return infer_if(inf, id, inlined);
    case OP_Loop:
        return infer_loop(inf, id);
    case OP_Scan:
        return infer_scan(inf, id);
    case OP_BeamSearch:
        return infer_beam_search(inf, id);
    default:
        return FAIL(inf->ctx->diag, STATUS_INTERNAL, "no rule for its bodies");
    }
}
