/* Squeeze-and-excite, the one region with several contractions: the means of an image's channels go through
 * two small products, and what comes out scales the channels. Each of its steps alone is but a launch, and
 * what is scaled has been read just before. */
#include "ops/conv.h"
#include "passes/contraction.h"
#include "passes/fusion.h"

enum { MOST_WEIGHTS = 1 << 18 /* elements of a product's weights */ };

/* The one node that reads a value, in this block and of no region yet; else NONE. */
static NodeId free_user(const Fusion *f, ValueId value) {
    NodeId user = only_user(f->graph, &f->uses, fusion_member(f, 0)->block, value);
    return user != NONE && fusion_place_refusal(f, user) == NULL ? user : NONE;
}

/* All that a node reads but the value. */
static bool has_constants(const Fusion *f, const Node *node, ValueId value) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && node->inputs[i] != value &&
            !value_is_constant(f->graph, node->inputs[i]))
            return false;
    return true;
}

static bool is_one_place(const Graph *graph, ValueId value) {
    const Shape *shape = &graph->values[value].shape;
    for (int32_t i = 2; i < shape->rank; ++i)
        if (shape->dim[i] != 1) return false;
    return shape->rank > 2;
}

/* Why a convolution is no product of an image's channels; NULL where it is one. */
static const char *product_refusal(const Fusion *f, const Node *node) {
    const Value *w = &f->graph->values[node->inputs[1]];
    if (!has_constants(f, node, node->inputs[0])) return "its weights are not constant";
    const ConvAttrs *conv = node->parsed;
    if (conv->group != 1) return "it has groups";
    if (window_has_pads(&conv->window)) return "its windows reach outside";
    if (!is_one_place(f->graph, node->outputs[0]) || !is_one_place(f->graph, node->inputs[1]))
        return "its windows have several places";
    return value_count(w) > MOST_WEIGHTS ? "its weights are too many for one launch" : NULL;
}

static void add_member(Fusion *f, NodeId node) {
    f->members[f->count++] = (Member){.node = node, .stage = f->stages};
}

/* Adds what is computed element by element from the last member's result; returns what else reads that, or
 * NONE. */
static NodeId add_elements(Fusion *f) {
    for (;;) {
        const Node *last = fusion_member(f, f->count - 1);
        NodeId user = free_user(f, last->outputs[0]);
        if (user == NONE || f->count == REGION_NODES) return NONE;
        const Node *node = &f->graph->nodes[user];
        if (node_form(f->graph, node, NULL) != FORM_ELEMENTS || !has_constants(f, node, last->outputs[0]) ||
            !shape_equal(&f->graph->values[node->outputs[0]].shape,
                         &f->graph->values[last->outputs[0]].shape))
            return user;
        add_member(f, user);
    }
}

/* Of the last member's result. */
static bool is_convolution(const Fusion *f, NodeId node) {
    return node != NONE && f->graph->nodes[node].op == OP_Conv &&
           f->graph->nodes[node].inputs[0] == fusion_member(f, f->count - 1)->outputs[0];
}

static bool scales(const Fusion *f, NodeId id, ValueId x) {
    if (id == NONE || f->count == REGION_NODES) return false;
    const Node *node = &f->graph->nodes[id];
    return node->op == OP_Mul && (node->inputs[0] == x) != (node->inputs[1] == x) &&
           shape_equal(&f->graph->values[node->outputs[0]].shape, &f->graph->values[x].shape);
}

void fusion_squeeze(Fusion *f) {
    NodeId reduce = free_user(f, fusion_member(f, 0)->outputs[0]);
    if (!is_convolution(f, reduce)) return;
    const char *why = product_refusal(f, &f->graph->nodes[reduce]);
    f->stages = 1;
    add_member(f, reduce);
    NodeId expand = add_elements(f);
    if (!is_convolution(f, expand))
        why = "there is no second product behind it";
    else if (why == NULL)
        why = product_refusal(f, &f->graph->nodes[expand]);
    if (why == NULL) {
        f->stages = 2;
        add_member(f, expand);
        NodeId scale = add_elements(f);
        f->stages = 3;
        if (scales(f, scale, fusion_member(f, 0)->inputs[0])) add_member(f, scale);
        return;
    }
    f->count = 1;
    pass_reject(f->ctx, reduce, "cannot be one step with the pool in front of it: %s", why);
}

bool fusion_squeezes(const Fusion *f, NodeId pool) {
    const Node *node = &f->graph->nodes[pool];
    const Block *block = &f->graph->blocks[node->block];
    int32_t next = node_position(f->graph, pool) + 1;
    if (node->op != OP_GlobalAveragePool || node->region == NONE || next >= block->node_count) return false;
    const Node *behind = &f->graph->nodes[block->nodes[next]];
    return behind->region == node->region && op_def(behind->op)->op_class == OPCLASS_CONTRACTION;
}
