#include "kernels/extract.h"

#include <string.h>

#include "ir/cost.h"

typedef struct Extraction {
    const Problem *problem;
    Graph *graph;
    ValueId *values; /* of the problem's graph -> of the new one; NONE: not yet */
    Diag *diag;
} Extraction;

static Status exact_shape(const Extraction *e, const Value *from, Shape *out) {
    out->rank = from->shape.rank;
    for (int32_t i = 0; i < out->rank; ++i) {
        out->dim[i] = dim_at_opt(e->problem->graph, from->shape.dim[i]);
        if (out->dim[i] < 0) return FAIL(e->diag, STATUS_UNSUPPORTED, "sizes that depend on data");
    }
    return STATUS_OK;
}

static Status add_value(Extraction *e, const Value *from, Layout layout, ValueId *out) {
    Shape shape;
    if (!from->has_shape) return FAIL(e->diag, STATUS_UNSUPPORTED, "a value of unknown shape");
    TRY(exact_shape(e, from, &shape));
    *out = graph_add_value(e->graph, from->name);
    if (*out == NONE) return FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
    Value *value = &e->graph->values[*out];
    value->dtype = from->dtype;
    value->has_shape = true;
    value->shape = shape;
    value->layout = layout;
    return STATUS_OK;
}

static Status add_reformat(Extraction *e, ValueId from, ValueId to) {
    const AttrList none = {0};
    NodeId node;
    return graph_add_node(e->graph, MAIN_BLOCK, OP_Reformat, "", &none, 1, &from, 1, &to, &node, e->diag);
}

/* Small integer tensors that inference knows decide what is done. */
static Status add_known(Extraction *e, const Value *from, ValueId *out) {
    int64_t elements[SMELT_MAX_RANK * 2];
    int64_t count = value_count(from);
    for (int64_t i = 0; i < count; ++i) elements[i] = dim_at_opt(e->problem->graph, from->content[i]);
    *out = graph_add_constant_i64(e->graph, from->name, (int32_t)count, elements);
    return *out != NONE ? STATUS_OK : FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
}

static bool has_known_elements(const Value *value) {
    return value->content != NULL && value->dtype == DTYPE_I64 && value->shape.rank == 1 &&
           value_is_exact(value) && value_count(value) <= 2 * SMELT_MAX_RANK;
}

static Status add_input(Extraction *e, ValueId id) {
    const Value *from = &e->problem->graph->values[id];
    ValueId *to = &e->values[id];
    if (from->data != NULL) {
        *to = graph_add_constant(e->graph, from->name, from->dtype, from->shape.rank, from->shape.dim,
                                 from->data);
        return *to != NONE ? STATUS_OK : FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
    }
    if (has_known_elements(from)) return add_known(e, from, to);
    TRY(add_value(e, from, LAYOUT_PLAIN, to));
    if (!block_add_param(e->graph, MAIN_BLOCK, *to)) return FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
    if (from->layout == LAYOUT_PLAIN) return STATUS_OK;
    ValueId plain = *to;
    TRY(add_value(e, from, from->layout, to));
    return add_reformat(e, plain, *to);
}

/* anchor: of the region. */
static Status add_node(Extraction *e, NodeId id, RegionId region, NodeId anchor) {
    const Node *from = &e->problem->graph->nodes[id];
    ValueId *inputs = ARENA_ARRAY(e->graph->arena, ValueId, from->input_count);
    ValueId *outputs = ARENA_ARRAY(e->graph->arena, ValueId, from->output_count);
    TRY_ALLOC(e->diag, inputs);
    TRY_ALLOC(e->diag, outputs);
    for (int32_t i = 0; i < from->attrs.count; ++i)
        if (from->attrs.items[i].kind == ATTR_BLOCK)
            return FAIL(e->diag, STATUS_UNSUPPORTED, "an operator with a body");
    for (int32_t i = 0; i < from->input_count; ++i)
        inputs[i] = from->inputs[i] == NONE ? NONE : e->values[from->inputs[i]];
    for (int32_t o = 0; o < from->output_count; ++o) {
        outputs[o] = NONE;
        if (from->outputs[o] == NONE) continue;
        const Value *value = &e->problem->graph->values[from->outputs[o]];
        TRY(add_value(e, value, value->layout, &outputs[o]));
        e->values[from->outputs[o]] = outputs[o];
    }
    NodeId node;
    TRY(graph_add_node(e->graph, MAIN_BLOCK, from->op, from->name, &from->attrs, from->input_count, inputs,
                       from->output_count, outputs, &node, e->diag));
    e->graph->nodes[node].region = region;
    if (region != NONE && id == anchor) e->graph->regions[region].anchor = node;
    return STATUS_OK;
}

static Status add_output(Extraction *e, ValueId id) {
    const Value *from = &e->problem->graph->values[id];
    ValueId result = e->values[id];
    if (from->layout != LAYOUT_PLAIN) {
        TRY(add_value(e, from, LAYOUT_PLAIN, &result));
        TRY(add_reformat(e, e->values[id], result));
    }
    return block_add_result(e->graph, MAIN_BLOCK, result) ? STATUS_OK
                                                          : FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
}

/* As one step. */
static Status add_step(Extraction *e, const NodeId *nodes, int32_t count, NodeId anchor) {
    RegionId region = NONE;
    if (count > 1) {
        region = graph_add_region(e->graph, NONE, "problem");
        if (region == NONE) return FAIL(e->diag, STATUS_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < count; ++i) TRY(add_node(e, nodes[i], region, anchor));
    return STATUS_OK;
}

static Status begin(Extraction *e, const Problem *problem, Arena *arena, Diag *diag) {
    *e = (Extraction){.problem = problem, .graph = graph_create(arena, "problem"), .diag = diag};
    e->values = ARENA_ARRAY(arena, ValueId, problem->graph->value_count);
    TRY_ALLOC(diag, e->graph);
    TRY_ALLOC(diag, e->values);
    e->graph->tf32 = problem->graph->tf32;
    for (int32_t i = 0; i < problem->graph->value_count; ++i) e->values[i] = NONE;
    for (int32_t i = 0; i < problem->input_count; ++i) TRY(add_input(e, problem->inputs[i]));
    return STATUS_OK;
}

static Status finish(Extraction *e, Graph **out) {
    for (int32_t i = 0; i < e->problem->output_count; ++i) TRY(add_output(e, e->problem->outputs[i]));
    *out = e->graph;
    return STATUS_OK;
}

Status problem_extract(const Problem *problem, Arena *arena, Graph **out, Diag *diag) {
    Extraction e;
    TRY(begin(&e, problem, arena, diag));
    TRY(add_step(&e, problem->nodes, problem->node_count, problem->anchor));
    return finish(&e, out);
}

Status way_extract(const Graph *graph, const UseTable *uses, const Way *way, Arena *arena, Graph **out,
                   Diag *diag) {
    Extraction e;
    Problem all, step;
    int32_t count;
    TRY(problem_describe(graph, uses, way->nodes, way->ends[way->step_count - 1], arena, &all, diag));
    TRY(begin(&e, &all, arena, diag));
    for (int32_t s = 0; s < way->step_count; ++s) {
        const NodeId *nodes = way_step(way, s, &count);
        TRY(problem_create_around(graph, uses, nodes, count, way->anchors[s], arena, &step, diag));
        TRY(add_step(&e, nodes, count, step.anchor));
    }
    return finish(&e, out);
}
