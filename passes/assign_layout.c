/* assign_layout: channels-last where convolutions on matrix units gain by it, plain elsewhere.
 *
 * Values that a step reads and writes element upon element share a layout, so that steps whose kernels take
 * any layout tie their values into components; a component becomes channels-last where what its convolutions
 * gain is more than what its borders cost. Graph inputs and outputs stay as the caller has them: the first
 * and last steps read and write them as they are. A Reformat stands only where a step that knows the plain
 * layout alone reads a channels-last value, or where a convolution would read a large plain one. On the host
 * every value is plain, and the pass does nothing. */
#include "ir/cost.h"
#include "ir/form.h"
#include "passes/pass.h"
#include "passes/rewrite.h"

enum { LEAST_CHANNELS = 8 /* of a convolution that gains: what a tensor core takes in one go */ };

/* A region, or a node of its own. */
typedef struct Step {
    int32_t first, count; /* positions in the main block */
    bool any_layout;
} Step;

typedef struct Assigner {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;
    int32_t step_count;
    Step *steps;
    int32_t *step_of; /* per node; NONE: of a body */
    ValueId *parent;  /* of the components' trees; NONE: the value stays plain */
    int64_t *gain;    /* of a component, at its root: bytes that need not be moved */
} Assigner;

static const Block *main_block(const Assigner *a) {
    return &a->graph->blocks[MAIN_BLOCK];
}

static const NodeId *step_nodes(const Assigner *a, const Step *step) {
    return main_block(a)->nodes + step->first;
}

/* -- steps -- */

/* What a region does with single elements it does wherever they lie. */
static bool node_takes_any_layout(const Graph *graph, const Node *node) {
    const OpDef *def = op_def(node->op);
    if (def->op_class == OPCLASS_POINTWISE || (def->flags & OPF_STRIDED) != 0) return true;
    return node->region != NONE && node_form(graph, node, NULL) != FORM_OTHER;
}

static Status find_steps(Assigner *a) {
    const Block *block = main_block(a);
    a->steps = ARENA_ARRAY(a->ctx->scratch, Step, block->node_count);
    a->step_of = ARENA_ARRAY(a->ctx->scratch, int32_t, a->graph->node_count);
    TRY_ALLOC(a->ctx->diag, a->steps);
    TRY_ALLOC(a->ctx->diag, a->step_of);
    for (NodeId n = 0; n < a->graph->node_count; ++n) a->step_of[n] = NONE;
    for (int32_t i = 0; i < block->node_count; ++i) {
        if (node_starts_step(a->graph, block, i))
            a->steps[a->step_count++] = (Step){.first = i, .any_layout = true};
        Step *step = &a->steps[a->step_count - 1];
        step->count++;
        a->step_of[block->nodes[i]] = a->step_count - 1;
        if (!node_takes_any_layout(a->graph, &a->graph->nodes[block->nodes[i]])) step->any_layout = false;
    }
    return STATUS_OK;
}

/* -- components -- */

/* Used in a body, where everything is as on the host, or given to the caller. */
static bool is_seen_outside(const Assigner *a, ValueId value) {
    for (int32_t i = a->uses.first[value]; i < a->uses.first[value + 1]; ++i)
        if (a->uses.uses[i].node == NONE || a->step_of[a->uses.uses[i].node] == NONE) return true;
    return false;
}

/* With spatial extents of 1 both layouts are the same. */
static bool has_two_layouts(const Value *value) {
    if (!value->has_shape || value->shape.rank < 3) return false;
    for (int32_t i = 2; i < value->shape.rank; ++i)
        if (value->shape.dim[i] != 1) return value->shape.dim[1] != 1;
    return false;
}

static bool moves_elements(const Assigner *a, NodeId id) {
    NodeForm form = node_form(a->graph, &a->graph->nodes[id], NULL);
    return form == FORM_VIEW || form == FORM_PERMUTATION || form == FORM_SELECTION;
}

/* A value that a region makes of its anchor's result, or of what it reads, under another shape or permuted:
 * its layout has nothing to do with theirs. */
static bool is_moved(const Assigner *a, NodeId producer) {
    const Step *step = &a->steps[a->step_of[producer]];
    const NodeId *nodes = step_nodes(a, step);
    RegionId region = a->graph->nodes[producer].region;
    bool moved = false;
    if (region == NONE) return false;
    for (int32_t n = 0; n < step->count; ++n) {
        if (nodes[n] == a->graph->regions[region].anchor) moved = false;
        moved = moved || moves_elements(a, nodes[n]);
        if (nodes[n] == producer) return moved;
    }
    return moved;
}

static bool may_change(const Assigner *a, ValueId id) {
    const Value *value = &a->graph->values[id];
    return value->producer != NONE && value->data == NULL && a->step_of[value->producer] != NONE &&
           a->steps[a->step_of[value->producer]].any_layout && has_two_layouts(value) &&
           !is_moved(a, value->producer) && !is_seen_outside(a, id);
}

static ValueId root_of(const Assigner *a, ValueId value) {
    while (a->parent[value] != value) {
        a->parent[value] = a->parent[a->parent[value]];
        value = a->parent[value];
    }
    return value;
}

static void tie(Assigner *a, ValueId x, ValueId y) {
    ValueId from = root_of(a, x), to = root_of(a, y);
    if (from == to) return;
    a->parent[from] = to;
    a->gain[to] += a->gain[from];
}

static bool is_free(const Assigner *a, ValueId value) {
    return value != NONE && a->parent[value] != NONE;
}

static int64_t bytes_of(const Assigner *a, ValueId value) {
    int64_t count = value_count_at_opt(a->graph, value);
    return count < 0 ? 0 : count * ((dtype_bits(a->graph->values[value].dtype) + 7) / 8);
}

/* All values of one step in one layout. */
static void tie_step(Assigner *a, const Step *step) {
    ValueId known = NONE;
    for (int32_t n = 0; n < step->count; ++n) {
        const Node *node = &a->graph->nodes[step_nodes(a, step)[n]];
        for (int32_t i = 0; i < node->input_count + node->output_count; ++i) {
            ValueId value = i < node->input_count ? node->inputs[i] : node->outputs[i - node->input_count];
            if (!is_free(a, value)) continue;
            if (known != NONE) tie(a, known, value);
            known = value;
        }
    }
}

/* A convolution that is faster where neighbours in memory are channels. */
static bool is_tensor_conv(const Assigner *a, NodeId id) {
    const Node *node = &a->graph->nodes[id];
    if (node->op != OP_Conv && node->op != OP_ConvTranspose) return false;
    const Value *x = &a->graph->values[node->inputs[0]], *w = &a->graph->values[node->inputs[1]];
    if (!x->has_shape || !w->has_shape || !pass_copies_channels(a->ctx, id)) return false;
    return dim_is_exact(w->shape.dim[1]) && w->shape.dim[1] >= LEAST_CHANNELS;
}

/* Each tensor that a convolution moves counts for it; each that a plain step moves counts against. */
static void weigh_step(Assigner *a, const Step *step) {
    for (int32_t n = 0; n < step->count; ++n) {
        const Node *node = &a->graph->nodes[step_nodes(a, step)[n]];
        bool tensor = step->any_layout && is_tensor_conv(a, step_nodes(a, step)[n]);
        if (step->any_layout && !tensor) continue;
        ValueId ends[] = {tensor ? node->inputs[0] : NONE, tensor ? node->outputs[0] : NONE};
        for (int i = 0; i < 2; ++i)
            if (is_free(a, ends[i])) a->gain[root_of(a, ends[i])] += bytes_of(a, ends[i]);
        for (int32_t i = 0; !step->any_layout && i < node->input_count; ++i)
            if (is_free(a, node->inputs[i]))
                a->gain[root_of(a, node->inputs[i])] -= 2 * bytes_of(a, node->inputs[i]);
    }
}

static Status find_components(Assigner *a) {
    int32_t count = a->graph->value_count;
    a->parent = ARENA_ARRAY(a->ctx->scratch, ValueId, count);
    a->gain = ARENA_ARRAY(a->ctx->scratch, int64_t, count);
    TRY_ALLOC(a->ctx->diag, a->parent);
    TRY_ALLOC(a->ctx->diag, a->gain);
    for (ValueId v = 0; v < count; ++v) {
        a->graph->values[v].layout = LAYOUT_PLAIN;
        a->parent[v] = may_change(a, v) ? v : NONE;
        a->gain[v] = 0;
    }
    for (int32_t s = 0; s < a->step_count; ++s)
        if (a->steps[s].any_layout) tie_step(a, &a->steps[s]);
    for (int32_t s = 0; s < a->step_count; ++s) weigh_step(a, &a->steps[s]);
    for (ValueId v = 0; v < count; ++v)
        if (is_free(a, v) && a->gain[root_of(a, v)] > 0) a->graph->values[v].layout = LAYOUT_CHANNELS_LAST;
    return STATUS_OK;
}

/* -- what the target takes -- */

static bool touches_channels_last(const Assigner *a, const Step *step) {
    for (int32_t n = 0; n < step->count; ++n) {
        const Node *node = &a->graph->nodes[step_nodes(a, step)[n]];
        for (int32_t i = 0; i < node->input_count; ++i)
            if (node->inputs[i] != NONE && a->graph->values[node->inputs[i]].layout == LAYOUT_CHANNELS_LAST)
                return true;
        for (int32_t i = 0; i < node->output_count; ++i)
            if (node->outputs[i] != NONE && a->graph->values[node->outputs[i]].layout == LAYOUT_CHANNELS_LAST)
                return true;
    }
    return false;
}

/* Steps whose values the target does not take this way know the plain layout from now on. */
static bool refuse_steps(Assigner *a) {
    bool changed = false;
    for (int32_t s = 0; s < a->step_count; ++s) {
        Step *step = &a->steps[s];
        if (!step->any_layout || !touches_channels_last(a, step)) continue;
        const char *why = pass_target_refuses(a->ctx, &a->uses, step_nodes(a, step), step->count);
        if (why == NULL) continue;
        pass_reject(a->ctx, step_nodes(a, step)[0], "stays plain: %s", why);
        step->any_layout = false;
        changed = true;
    }
    return changed;
}

/* -- changes of layout -- */

static Status add_reformat(Assigner *a, ValueId from, Layout layout, NodeId before, ValueId *out) {
    Graph *graph = a->graph;
    NodeId node;
    *out = graph_add_value(graph, NULL);
    if (*out == NONE) return FAIL(a->ctx->diag, STATUS_NO_MEMORY, "out of memory");
    Value *to = &graph->values[*out];
    to->dtype = graph->values[from].dtype;
    to->has_shape = true;
    to->shape = graph->values[from].shape;
    to->layout = layout;
    const AttrList none = {0};
    TRY(graph_insert_node(graph, before, true, OP_Reformat, "", &none, 1, &from, 1, out, &node,
                          a->ctx->diag));
    pass_count_add(a->ctx, "reformats", 1);
    return STATUS_OK;
}

/* What steps read in another layout than they want it in. */
typedef struct Change {
    ValueId from, to;
} Change;

static Status change_input(Assigner *a, Change *changes, int32_t *count, NodeId first, NodeId id,
                           int32_t input, Layout wanted) {
    ValueId from = a->graph->nodes[id].inputs[input];
    for (int32_t i = 0; i < *count; ++i)
        if (changes[i].from == from) {
            a->graph->nodes[id].inputs[input] = changes[i].to;
            return STATUS_OK;
        }
    ValueId to;
    TRY(add_reformat(a, from, wanted, first, &to));
    changes[(*count)++] = (Change){from, to};
    a->graph->nodes[id].inputs[input] = to;
    return STATUS_OK;
}

/* A convolution reads plain values badly; the graph's own inputs it has to, and what its own step makes. */
static bool wants_channels_last(const Assigner *a, NodeId id, int32_t input) {
    const Node *node = &a->graph->nodes[id];
    const Value *value = &a->graph->values[node->inputs[input]];
    if (value->producer != NONE && a->step_of[value->producer] == a->step_of[id]) return false;
    return input == 0 && value->producer != NONE && value->layout == LAYOUT_PLAIN && has_two_layouts(value) &&
           is_tensor_conv(a, id);
}

static Status change_step(Assigner *a, const Step *step, const NodeId *nodes, Change *changes,
                          int32_t *count) {
    for (int32_t n = 0; n < step->count; ++n) {
        for (int32_t i = 0; i < a->graph->nodes[nodes[n]].input_count; ++i) {
            const Node *node = &a->graph->nodes[nodes[n]];
            if (node->inputs[i] == NONE) continue;
            bool last = a->graph->values[node->inputs[i]].layout == LAYOUT_CHANNELS_LAST;
            if (!step->any_layout && last)
                TRY(change_input(a, changes, count, nodes[0], nodes[n], i, LAYOUT_PLAIN));
            else if (step->any_layout && wants_channels_last(a, nodes[n], i))
                TRY(change_input(a, changes, count, nodes[0], nodes[n], i, LAYOUT_CHANNELS_LAST));
        }
    }
    return STATUS_OK;
}

/* Later steps that want the same change get the same copy. */
static Status change_all(Assigner *a) {
    int32_t node_count = main_block(a)->node_count, count = 0;
    NodeId *nodes = ARENA_ARRAY(a->ctx->scratch, NodeId, node_count);
    Change *changes = ARENA_ARRAY(a->ctx->scratch, Change, a->graph->value_count);
    TRY_ALLOC(a->ctx->diag, nodes);
    TRY_ALLOC(a->ctx->diag, changes);
    for (int32_t i = 0; i < node_count; ++i) nodes[i] = main_block(a)->nodes[i];
    for (int32_t s = 0; s < a->step_count; ++s)
        TRY(change_step(a, &a->steps[s], nodes + a->steps[s].first, changes, &count));
    return STATUS_OK;
}

Status pass_assign_layout(PassCtx *ctx) {
    Assigner a = {.ctx = ctx, .graph = ctx->graph};
    int64_t changed = 0;
    if (!ctx->strided) return STATUS_OK;
    if (!use_table_build(ctx->graph, ctx->scratch, &a.uses))
        return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    TRY(find_steps(&a));
    do TRY(find_components(&a));
    while (refuse_steps(&a));
    for (ValueId v = 0; v < ctx->graph->value_count; ++v)
        if (ctx->graph->values[v].layout == LAYOUT_CHANNELS_LAST) changed++;
    pass_count_add(ctx, "channels_last", changed);
    return changed > 0 ? change_all(&a) : STATUS_OK;
}
