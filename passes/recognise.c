/* recognise: patterns of primitive nodes become the ONNX operator that they define.
 *
 * Rules are formulas (pattern.h) with a function that checks what a formula cannot say: axes, shapes, masks.
 * Nodes are visited from the last to the first, so that the largest pattern is found before its parts. What a
 * pattern covers must be of no use to anybody else. Sweeps repeat until none finds anything: what one makes
 * may be part of another pattern. */
#include <string.h>

#include "passes/recognise.h"

enum { MOST_SWEEPS = 8, MOST_RULES = 64 };

static const RuleList *const families[] = {&recognise_attention_rules, &recognise_norm_rules,
                                           &recognise_activation_rules, &recognise_block_rules,
                                           &recognise_movement_rules};

typedef struct ParsedRule {
    const Rule *rule;
    const Pattern *pattern;
} ParsedRule;

typedef struct RuleTable {
    int32_t count;
    ParsedRule rows[MOST_RULES];
} RuleTable;

static Status parse_rules(PassCtx *ctx, RuleTable *out) {
    out->count = 0;
    for (size_t f = 0; f < sizeof families / sizeof families[0]; ++f) {
        for (int32_t i = 0; i < families[f]->count; ++i) {
            ParsedRule *row = &out->rows[out->count++];
            if (out->count == MOST_RULES) return FAIL(ctx->diag, STATUS_INTERNAL, "too many rules");
            row->rule = &families[f]->rules[i];
            TRY(pattern_parse(row->rule->pattern, ctx->scratch, &row->pattern, ctx->diag));
        }
    }
    return STATUS_OK;
}

/* -- what families use -- */

const Shape *recognise_shape(const Recogniser *r, ValueId value) {
    return &r->graph->values[value].shape;
}

bool recognise_keeps_type(const Recogniser *r, const Match *match, ValueId value) {
    const Value *in = &r->graph->values[value],
                *out = &r->graph->values[r->graph->nodes[match->root].outputs[0]];
    return in->has_shape && out->has_shape && in->dtype == out->dtype && shape_equal(&in->shape, &out->shape);
}

static void touch(Recogniser *r, int32_t count, const ValueId *values) {
    for (int32_t i = 0; i < count; ++i)
        if (values[i] != NONE && values[i] < r->value_count) r->touched[values[i]] = true;
}

Status recognise_insert(Recogniser *r, NodeId before, OpId op, const AttrList *attrs, int32_t input_count,
                        const ValueId *inputs, ValueId *out) {
    NodeId node;
    ValueId result = graph_add_value(r->graph, NULL);
    if (result == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(graph_insert_node(r->graph, before, true, op, r->graph->nodes[before].name, attrs, input_count,
                          inputs, 1, &result, &node, r->ctx->diag));
    if (!node_add_origins(r->graph, node, before))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    touch(r, input_count, inputs);
    *out = result;
    return infer_outputs(r->graph, node, r->ctx->scratch, r->ctx->diag);
}

Status recognise_constant(Recogniser *r, DType dtype, int32_t rank, const int64_t *dims,
                          const double *elements, ValueId *out) {
    int64_t count = 1;
    size_t bytes;
    for (int32_t i = 0; i < rank; ++i) count *= dims[i];
    if (!dtype_storage(dtype, count, &bytes))
        return FAIL(r->ctx->diag, STATUS_INTERNAL, "a constant without a size");
    void *data = arena_alloc(r->graph->arena, bytes);
    TRY_ALLOC(r->ctx->diag, data);
    for (int64_t i = 0; i < count; ++i) dtype_store_f64(dtype, data, i, elements[i]);
    *out = graph_add_constant(r->graph, NULL, dtype, rank, dims, data);
    return *out == NONE ? FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

bool recognise_can_reshape(const Recogniser *r, const Shape *from, const Shape *to) {
    int64_t target[SMELT_MAX_RANK];
    return shape_equal(from, to) || reshape_target(r->graph->dims, from, to, target);
}

Status recognise_reshape(Recogniser *r, NodeId before, ValueId value, const Shape *shape, ValueId *out) {
    int64_t target[SMELT_MAX_RANK];
    const AttrList none = {0};
    *out = value;
    if (shape_equal(recognise_shape(r, value), shape)) return STATUS_OK;
    if (!reshape_target(r->graph->dims, recognise_shape(r, value), shape, target))
        return FAIL(r->ctx->diag, STATUS_INTERNAL, "a reshape that no constant can tell");
    ValueId inputs[2] = {value, graph_add_constant_i64(r->graph, NULL, shape->rank, target)};
    if (inputs[1] == NONE) return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(recognise_insert(r, before, OP_Reshape, &none, 2, inputs, out));
    r->graph->values[*out].shape = *shape;
    return STATUS_OK;
}

/* Covered nodes in order of their ids, which are in the order of the model. */
static void sort_nodes(Match *match) {
    for (int32_t i = 1; i < match->node_count; ++i)
        for (int32_t k = i; k > 0 && match->nodes[k - 1] > match->nodes[k]; --k) {
            NodeId node = match->nodes[k];
            match->nodes[k] = match->nodes[k - 1];
            match->nodes[k - 1] = node;
        }
}

Status recognise_add_origins(Recogniser *r, const Match *match, ValueId value) {
    Match sorted = *match;
    sort_nodes(&sorted);
    for (int32_t i = 0; i < sorted.node_count; ++i)
        if (sorted.nodes[i] != match->root &&
            !node_add_origins(r->graph, r->graph->values[value].producer, sorted.nodes[i]))
            return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

Status recognise_replace(Recogniser *r, const Match *match, OpId op, const AttrList *attrs,
                         int32_t input_count, const ValueId *inputs) {
    Graph *graph = r->graph;
    NodeId root = match->root, node;
    ValueId result = graph->nodes[root].outputs[0];
    Match sorted = *match;
    release_value(graph, result);
    TRY(graph_insert_node(graph, root, true, op, graph->nodes[root].name, attrs, input_count, inputs, 1,
                          &result, &node, r->ctx->diag));
    touch(r, input_count, inputs);
    sort_nodes(&sorted);
    for (int32_t i = 0; i < sorted.node_count; ++i) {
        if (!node_add_origins(graph, node, sorted.nodes[i]))
            return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
        graph_remove_node(graph, sorted.nodes[i]);
    }
    return STATUS_OK;
}

/* -- the sweep -- */

static bool is_covered(const Match *match, NodeId node) {
    for (int32_t i = 0; i < match->node_count; ++i)
        if (match->nodes[i] == node) return true;
    return false;
}

/* A result that is used outside the match, its root's apart; or NONE. */
static ValueId find_escape(const Recogniser *r, const Match *match) {
    for (int32_t i = 0; i < match->node_count; ++i) {
        const Node *node = &r->graph->nodes[match->nodes[i]];
        for (int32_t o = match->nodes[i] == match->root ? 1 : 0; o < node->output_count; ++o) {
            ValueId value = node->outputs[o];
            if (value == NONE) continue;
            if (value >= r->value_count || r->touched[value]) return value;
            for (int32_t u = r->uses.first[value]; u < r->uses.first[value + 1]; ++u)
                if (r->uses.uses[u].node == NONE || !is_covered(match, r->uses.uses[u].node)) return value;
        }
    }
    return NONE;
}

/* One reason is enough where several rules are built on the same values. */
static Status try_rule(Recogniser *r, const ParsedRule *row, NodeId root, bool is_first, bool *done) {
    Match match;
    const char *reason = NULL;
    if (!pattern_match(row->pattern, r->graph, &r->uses, root, false, &match)) return STATUS_OK;
    ValueId escape = find_escape(r, &match);
    if (escape != NONE && !is_first) return STATUS_OK;
    if (escape != NONE) {
        pass_reject(r->ctx, root, "%s: '%s' has other users", op_def(row->rule->becomes)->name,
                    r->graph->values[escape].name);
        return STATUS_OK;
    }
    TRY(row->rule->rewrite(r, row->rule, &match, &reason));
    *done = reason == NULL;
    if (*done) pass_count_add(r->ctx, op_def(row->rule->becomes)->name, 1);
    if (reason != NULL && *reason != '\0')
        pass_reject(r->ctx, root, "%s: %s", op_def(row->rule->becomes)->name, reason);
    return STATUS_OK;
}

/* Says why a node that looks like the end of a pattern is none. */
static void explain(Recogniser *r, const RuleTable *table, NodeId root) {
    for (int32_t i = 0; i < table->count; ++i) {
        Match match;
        const ParsedRule *row = &table->rows[i];
        if (!pattern_ends_with(row->pattern, r->graph->nodes[root].op) ||
            !pattern_match(row->pattern, r->graph, &r->uses, root, true, &match))
            continue;
        const char *name = op_def(row->rule->becomes)->name;
        ValueId escape = find_escape(r, &match);
        if (match.has_wrong_number)
            pass_reject(r->ctx, root, "%s: %.9g where %.9g is expected", name, match.found, match.expected);
        else if (escape != NONE)
            pass_reject(r->ctx, root, "%s: '%s' has other users", name, r->graph->values[escape].name);
        return;
    }
}

static bool is_candidate(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    if (node->op == OP_NONE || node->output_count == 0 || node->outputs[0] == NONE) return false;
    const Value *out = &graph->values[node->outputs[0]];
    return out->has_shape && out->dtype != DTYPE_NONE;
}

static Status visit_node(Recogniser *r, const RuleTable *table, NodeId id, bool last_sweep, bool *found) {
    bool done = false, matched = false;
    for (int32_t i = 0; i < table->count && !done; ++i) {
        int32_t reasons = r->ctx->rejection_count;
        if (!pattern_ends_with(table->rows[i].pattern, r->graph->nodes[id].op)) continue;
        TRY(try_rule(r, &table->rows[i], id, !matched, &done));
        matched = matched || r->ctx->rejection_count > reasons;
    }
    *found = *found || done;
    if (!done && !matched && last_sweep) explain(r, table, id);
    return STATUS_OK;
}

/* Reasons are kept of the last sweep alone, in which nothing is found any more. */
static Status sweep(Recogniser *r, const RuleTable *table, bool last, bool *found) {
    Graph *graph = r->graph;
    if (!use_table_build(graph, r->ctx->scratch, &r->uses))
        return FAIL(r->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    r->value_count = graph->value_count;
    r->touched = ARENA_ARRAY(r->ctx->scratch, bool, graph->value_count);
    TRY_ALLOC(r->ctx->diag, r->touched);
    int32_t reasons = r->ctx->rejection_count, blocks = graph->block_count;
    for (BlockId b = 0; b < blocks; ++b) {
        if (!block_is_live(graph, b)) continue;
        int32_t count = graph->blocks[b].node_count;
        NodeId *nodes =
            arena_grow(r->ctx->scratch, graph->blocks[b].nodes, (size_t)count, (size_t)count, sizeof *nodes);
        TRY_ALLOC(r->ctx->diag, nodes);
        for (int32_t i = count - 1; i >= 0; --i)
            if (is_candidate(graph, nodes[i])) TRY(visit_node(r, table, nodes[i], last, found));
    }
    if (*found || !last) r->ctx->rejection_count = reasons;
    return STATUS_OK;
}

Status pass_recognise(PassCtx *ctx) {
    Recogniser r = {.ctx = ctx, .graph = ctx->graph};
    RuleTable table;
    bool found = true;
    TRY(parse_rules(ctx, &table));
    for (int32_t i = 0; i < MOST_SWEEPS && found; ++i) {
        found = false;
        TRY(sweep(&r, &table, false, &found));
        TRY(remove_dead(ctx));
    }
    found = false;
    return sweep(&r, &table, true, &found);
}
