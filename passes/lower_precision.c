/* lower_precision: nodes compute in f16 or bf16 where that is safe.
 *
 * Analysis decides for every node of the main block (precision_rules.c, precision_range.c,
 * precision_calibrate.c); then values change their type, constants are converted, and a Cast stands at each
 * border, one for each value, next to where it is made. What stays f32 is reported with the reason. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "passes/precision_work.h"
#include "passes/rewrite.h"

/* Where a typed value is to be had in either type; NONE: not yet. */
typedef struct Forms {
    ValueId full, half;
    ValueId same; /* what a Cast that does nothing any more gives */
} Forms;

typedef struct Rewriter {
    PrecisionWork *work;
    Graph *graph;
    Forms *forms;    /* per value */
    bool *is_result; /* per value: of the main block */
} Rewriter;

static HalfType half_type(DType dtype) {
    return dtype == DTYPE_BF16 ? (HalfType){dtype, 3.3895313892515355e38, 0x1p-126, 0x1p-9}
                               : (HalfType){dtype, 65504, 0x1p-14, 0x1p-11};
}

/* -- new values -- */

/* "x.f16" beside x. */
static Status add_form(Rewriter *r, ValueId from, DType dtype, ValueId *out) {
    Graph *graph = r->graph;
    const char *name = arena_printf(graph->arena, "%s.%s", graph->values[from].name, dtype_name(dtype));
    TRY_ALLOC(r->work->ctx->diag, name);
    *out = graph_add_value(graph, name);
    if (*out == NONE) return FAIL(r->work->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    Value *to = &graph->values[*out];
    to->dtype = dtype;
    to->has_shape = graph->values[from].has_shape;
    to->shape = graph->values[from].shape;
    return STATUS_OK;
}

/* Finite elements stay finite. */
static Status narrow_constant(Rewriter *r, ValueId from, ValueId *out) {
    Graph *graph = r->graph;
    const Value value = graph->values[from];
    const HalfType *half = &r->work->half;
    int64_t count = value_count(&value);
    size_t bytes;
    double start = clock_seconds();
    if (!dtype_storage(half->dtype, count, &bytes))
        return FAIL(r->work->ctx->diag, STATUS_INTERNAL, "a constant without a size");
    void *data = arena_alloc(graph->arena, bytes);
    TRY_ALLOC(r->work->ctx->diag, data);
    dtype_write_f32(half->dtype, data, 0, count, value.data);
    for (int64_t i = 0; r->work->values[from].huge && i < count; ++i) {
        double x = dtype_load_f64(DTYPE_F32, value.data, i);
        if (isfinite(x) && fabs(x) > half->largest)
            dtype_store_f64(half->dtype, data, i, copysign(half->largest, x));
    }
    pass_data_since(r->work->ctx, start);
    TRY(add_form(r, from, half->dtype, out));
    graph->values[*out].data = data;
    return STATUS_OK;
}

/* A Cast directly behind the node that makes `from`, or before `user` where none does. */
static Status add_cast(Rewriter *r, ValueId from, ValueId to, NodeId user) {
    Graph *graph = r->graph;
    Diag *diag = r->work->ctx->diag;
    NodeId producer = graph->values[from].producer, cast;
    AttrList attrs = {0};
    if (!attr_set_int(&attrs, r->work->ctx->scratch, "to", graph->values[to].dtype))
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    pass_count_add(r->work->ctx, "casts", 1);
    if (producer != NONE)
        return graph_insert_node(graph, producer, false, OP_Cast, "", &attrs, 1, &from, 1, &to, &cast, diag);
    if (user != NONE)
        return graph_insert_node(graph, user, true, OP_Cast, "", &attrs, 1, &from, 1, &to, &cast, diag);
    return graph_add_node(graph, MAIN_BLOCK, OP_Cast, "", &attrs, 1, &from, 1, &to, &cast, diag);
}

/* The value in the wanted type, for `user` (NONE: at the end of the block). */
static Status take_form(Rewriter *r, ValueId id, bool half, NodeId user, ValueId *out) {
    Forms *forms = &r->forms[id];
    *out = half ? forms->half : forms->full;
    if (*out != NONE) return STATUS_OK;
    if (half && value_is_constant(r->graph, id)) {
        TRY(narrow_constant(r, id, &forms->half));
    } else {
        ValueId made;
        TRY(add_form(r, id, half ? r->work->half.dtype : DTYPE_F32, &made));
        TRY(add_cast(r, half ? forms->full : forms->half, made, user));
        *(half ? &forms->half : &forms->full) = made;
    }
    *out = half ? forms->half : forms->full;
    return STATUS_OK;
}

/* -- nodes -- */

/* A result becomes narrow. What the graph gives out keeps its name and type. */
static Status narrow_result(Rewriter *r, NodeId id, int32_t output) {
    Graph *graph = r->graph;
    ValueId value = graph->nodes[id].outputs[output], made;
    if (!r->is_result[value] || r->work->options->narrow_io) {
        graph->values[value].dtype = r->work->half.dtype;
        r->forms[value] = (Forms){NONE, value, NONE};
        return STATUS_OK;
    }
    TRY(add_form(r, value, r->work->half.dtype, &made));
    graph->nodes[id].outputs[output] = made;
    graph->values[made].producer = id;
    graph->values[made].output_index = output;
    graph->values[value].producer = NONE;
    graph->values[value].output_index = 0;
    r->forms[value] = (Forms){value, made, NONE};
    return add_cast(r, made, value, NONE);
}

/* A Cast of the model's own: from f32 to the narrow type it may be there already; from the narrow type to f32
 * its operand is the narrow form of its result. */
static Status rewrite_cast(Rewriter *r, NodeId id) {
    Graph *graph = r->graph;
    ValueId from = graph->nodes[id].inputs[0], to = graph->nodes[id].outputs[0];
    if (r->work->values[to].typed && graph->values[from].dtype == r->work->half.dtype &&
        !r->work->values[from].typed)
        r->forms[to].half = from;
    if (!r->work->values[from].typed) return STATUS_OK;
    ValueId half = r->forms[from].half;
    if (half != NONE && graph->values[to].dtype == r->work->half.dtype) {
        if (r->is_result[to]) {
            graph->nodes[id].inputs[0] = half;
            return STATUS_OK;
        }
        r->forms[to].same = half;
        return STATUS_OK;
    }
    graph->nodes[id].inputs[0] = r->forms[from].full != NONE ? r->forms[from].full : half;
    return STATUS_OK;
}

/* Only now: a user of the old value was not to be taken for one of the new. */
static void cancel_casts(Rewriter *r) {
    for (ValueId v = 0; v < r->work->value_count; ++v) {
        if (r->forms[v].same == NONE) continue;
        graph_remove_node(r->graph, r->graph->values[v].producer);
        graph_replace_uses(r->graph, v, r->forms[v].same);
        pass_count_add(r->work->ctx, "casts_cancelled", 1);
    }
}

/* CastLike says which type it gives by an operand that may change its own. */
static Status settle_cast_like(Rewriter *r, NodeId id) {
    Graph *graph = r->graph;
    AttrList attrs = {0};
    Node *node = &graph->nodes[id];
    if (!attr_copy(&node->attrs, &attrs, r->work->ctx->scratch) ||
        !attr_set_int(&attrs, r->work->ctx->scratch, "to", graph->values[node->outputs[0]].dtype))
        return FAIL(r->work->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    node->op = OP_Cast;
    node->input_count = 1;
    return node_set_attrs(graph, id, &attrs, r->work->ctx->diag);
}

static Status rewrite_node(Rewriter *r, NodeId id) {
    Graph *graph = r->graph;
    if (graph->nodes[id].op == OP_Cast) return rewrite_cast(r, id);
    bool any = node_takes_any(&graph->nodes[id]), half = r->work->nodes[id].state == NODE_HALF;
    for (int32_t i = 0; i < graph->nodes[id].input_count; ++i) {
        ValueId input = graph->nodes[id].inputs[i];
        if (input == NONE || !r->work->values[input].typed) continue;
        ValueId form = r->forms[input].full != NONE ? r->forms[input].full : r->forms[input].half;
        if (!any)
            TRY(take_form(r, input, half && operand_is_typed(r->work, &graph->nodes[id], i), id, &form));
        graph->nodes[id].inputs[i] = form;
    }
    for (int32_t i = 0; half && i < graph->nodes[id].output_count; ++i) {
        ValueId output = graph->nodes[id].outputs[i];
        if (output != NONE && r->work->values[output].narrows) TRY(narrow_result(r, id, i));
    }
    return STATUS_OK;
}

/* -- borders of the block -- */

static void narrow_inputs(Rewriter *r) {
    const Block *block = &r->graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; r->work->options->narrow_io && i < block->param_count; ++i) {
        ValueId id = block->params[i];
        if (!r->work->values[id].typed) continue;
        r->graph->values[id].dtype = r->work->half.dtype;
        r->forms[id] = (Forms){NONE, id, NONE};
    }
}

/* Results that are f32 still; each keeps its name. */
static Status narrow_results(Rewriter *r) {
    Graph *graph = r->graph;
    if (!r->work->options->narrow_io) return STATUS_OK;
    for (int32_t i = 0; i < graph->blocks[MAIN_BLOCK].result_count; ++i) {
        ValueId id = graph->blocks[MAIN_BLOCK].results[i], half;
        if (id >= r->work->value_count || !r->work->values[id].typed ||
            graph->values[id].dtype == r->work->half.dtype)
            continue;
        TRY(take_form(r, id, true, NONE, &half));
        if (!graph_swap_names(graph, id, half))
            return FAIL(r->work->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        for (int32_t k = i; k < graph->blocks[MAIN_BLOCK].result_count; ++k)
            if (graph->blocks[MAIN_BLOCK].results[k] == id) graph->blocks[MAIN_BLOCK].results[k] = half;
    }
    return STATUS_OK;
}

/* Bodies of control flow read f32, as before. */
static void restore_bodies(Rewriter *r, const UseTable *uses) {
    Graph *graph = r->graph;
    for (ValueId v = 0; v < r->work->value_count; ++v) {
        if (!r->work->values[v].typed || r->forms[v].full == v || r->forms[v].full == NONE) continue;
        for (int32_t u = uses->first[v]; u < uses->first[v + 1]; ++u) {
            const struct Use *use = &uses->uses[u];
            if (use->block == MAIN_BLOCK) continue;
            if (use->node == NONE)
                graph->blocks[use->block].results[use->index] = r->forms[v].full;
            else
                graph->nodes[use->node].inputs[use->index] = r->forms[v].full;
        }
    }
}

static bool is_read_in_body(const UseTable *uses, ValueId id) {
    for (int32_t u = uses->first[id]; u < uses->first[id + 1]; ++u)
        if (uses->uses[u].block != MAIN_BLOCK) return true;
    return false;
}

/* What a body reads must be there in f32 before its owner runs. */
static Status widen_for_bodies(Rewriter *r, NodeId id) {
    const Node node = r->graph->nodes[id];
    ValueId full;
    for (int32_t i = 0; i < node.output_count; ++i) {
        ValueId v = node.outputs[i];
        /* A result of the graph that became narrow has f32 under its own id. */
        if (v == NONE || v >= r->work->value_count || !r->work->values[v].typed) continue;
        if (is_read_in_body(&r->work->uses, v)) TRY(take_form(r, v, false, NONE, &full));
    }
    return STATUS_OK;
}

static Status widen_inputs_for_bodies(Rewriter *r) {
    const Block *block = &r->graph->blocks[MAIN_BLOCK];
    NodeId first = block->node_count > 0 ? block->nodes[0] : NONE;
    ValueId full;
    for (int32_t i = 0; i < block->param_count; ++i)
        if (r->work->values[block->params[i]].typed && is_read_in_body(&r->work->uses, block->params[i]))
            TRY(take_form(r, block->params[i], false, first, &full));
    return STATUS_OK;
}

static Status rewrite(PrecisionWork *work) {
    Graph *graph = work->graph;
    Rewriter r = {.work = work, .graph = graph};
    Arena *scratch = work->ctx->scratch;
    int32_t count = graph->blocks[MAIN_BLOCK].node_count;
    NodeId *order = ARENA_ARRAY(scratch, NodeId, count);
    r.forms = ARENA_ARRAY(scratch, Forms, work->value_count);
    r.is_result = ARENA_ARRAY(scratch, bool, work->value_count);
    TRY_ALLOC(work->ctx->diag, order);
    TRY_ALLOC(work->ctx->diag, r.forms);
    TRY_ALLOC(work->ctx->diag, r.is_result);
    for (ValueId v = 0; v < work->value_count; ++v) r.forms[v] = (Forms){v, NONE, NONE};
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->result_count; ++i) r.is_result[block->results[i]] = true;
    if (count > 0) memcpy(order, block->nodes, (size_t)count * sizeof *order);
    for (int32_t i = 0; i < count; ++i)
        if (graph->nodes[order[i]].op == OP_CastLike) TRY(settle_cast_like(&r, order[i]));
    narrow_inputs(&r);
    TRY(widen_inputs_for_bodies(&r));
    for (int32_t i = 0; i < count; ++i) {
        TRY(rewrite_node(&r, order[i]));
        if (graph->nodes[order[i]].op != OP_NONE) TRY(widen_for_bodies(&r, order[i]));
    }
    restore_bodies(&r, &work->uses);
    TRY(narrow_results(&r));
    cancel_casts(&r);
    return remove_dead(work->ctx);
}

/* -- the pass -- */

static Status begin(PrecisionWork *work) {
    const Graph *graph = work->graph;
    Arena *scratch = work->ctx->scratch;
    work->node_count = graph->node_count;
    work->value_count = graph->value_count;
    work->nodes = ARENA_ARRAY(scratch, NodePrecision, graph->node_count);
    work->values = ARENA_ARRAY(scratch, ValuePrecision, graph->value_count);
    TRY_ALLOC(work->ctx->diag, work->nodes);
    TRY_ALLOC(work->ctx->diag, work->values);
    for (ValueId v = 0; v < graph->value_count; ++v) {
        ValuePrecision *value = &work->values[v];
        NodeId producer = graph->values[v].producer;
        bool outside = producer != NONE && graph->nodes[producer].block != MAIN_BLOCK;
        *value = (ValuePrecision){.typed = graph->values[v].dtype == DTYPE_F32 && !outside,
                                  .low = -INFINITY,
                                  .high = INFINITY,
                                  .seen = -1,
                                  .error = -1,
                                  .need = INFINITY};
    }
    for (BlockId b = MAIN_BLOCK + 1; b < graph->block_count; ++b)
        for (int32_t i = 0; i < graph->blocks[b].param_count; ++i)
            work->values[graph->blocks[b].params[i]].typed = false;
    return use_table_build(graph, scratch, &work->uses)
               ? STATUS_OK
               : FAIL(work->ctx->diag, STATUS_NO_MEMORY, "out of memory");
}

static void report(PrecisionWork *work) {
    const Block *block = &work->graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->node_count; ++i) {
        const NodePrecision *node = &work->nodes[block->nodes[i]];
        pass_count_add(work->ctx, "narrow", node->state == NODE_HALF);
        pass_count_add(work->ctx, "f32", node->state == NODE_FULL);
        if (node->state == NODE_FULL && node->reason != NULL)
            pass_reject(work->ctx, block->nodes[i], "stays f32: %s", node->reason);
    }
}

Status pass_lower_precision(PassCtx *ctx) {
    const PrecisionOptions *options = ctx->precision;
    if (options == NULL) return STATUS_OK;
    ctx->graph->tf32 = options->tf32;
    if (!options->lower && !options->narrow_io) return STATUS_OK;
    if (ctx->graph->region_count > 0)
        return FAIL(ctx->diag, STATUS_USAGE,
                    "precision is lowered before nodes are fused, and these are already");
    PrecisionWork work = {.ctx = ctx,
                          .graph = ctx->graph,
                          .options = options,
                          .half = half_type(options->half),
                          .arena = ctx->graph->arena};
    work.tolerance = options->tolerance > 0 ? options->tolerance : PRECISION_TOLERANCE * work.half.roundoff;
    TRY(begin(&work));
    if (options->lower) {
        TRY(precision_match(&work));
        precision_constants(&work);
        TRY(precision_calibrate(&work));
        precision_ranges(&work);
        TRY(precision_rules(&work));
        TRY(precision_decide(&work));
        report(&work);
    }
    return rewrite(&work);
}
