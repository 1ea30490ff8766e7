/* What vertical fusion computes in front of an anchor, and of what joined behind it, where it is read. */
#include "ir/cost.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "passes/fusion.h"

enum {
    COPIED_CHANNELS = 8,       /* what matrix units copy at once, without looking at it */
    MOST_READS = 4,            /* of an element, by windows that overlap */
    MOST_CACHED = 1 << 22,     /* elements that stay in a GPU's cache from one pass over them to the next */
    FULL_OPERANDS = 2,         /* larger tensors that a prologue may read in place of one */
    LAUNCH_ELEMENTS = 1 << 20, /* that could be read and written in the time that a launch costs */
    TILE_LINES = 64,           /* of a contraction that share an element as it is read */
    FEW_LINES = 8,             /* of a product: then each line of the other side reads by itself */
    NORM_WORK = 3,             /* of a normalisation: its statistics, and what each element is done */
    FUNCTION_WORK = 4          /* of a function that is no arithmetic, in additions */
};

/* Whether the anchor can store elements as it reads them: each is read by one thread, which owns its row. */
static bool anchor_stores(const Node *anchor) {
    OpClass op_class = op_def(anchor->op)->op_class;
    return op_class == OPCLASS_NORMALIZATION || op_class == OPCLASS_REDUCTION;
}

/* Users outside the group of a value that is computed in it: they must come later. */
static const char *leaving_refusal(const Fusion *f, int32_t reader, ValueId value, NodeForm form) {
    const Node *anchor = fusion_member(f, reader);
    bool stored = reader == 0 && f->has_anchor && anchor_stores(anchor) && form == FORM_ELEMENTS;
    int32_t inside = 0;
    if (!stored) return "its result is used elsewhere, too";
    for (int32_t i = f->uses.first[value]; i < f->uses.first[value + 1]; ++i) {
        NodeId user = f->uses.uses[i].node;
        if (fusion_find(f, user) != NONE)
            inside++;
        else if (f->uses.uses[i].block != anchor->block)
            return "its result is used in another block, too";
        else if (user != NONE && f->order[user] <= f->order[f->members[0].node])
            return "its result is used earlier, too";
    }
    return inside > 1 ? "its result is used twice in the region, and elsewhere" : NULL;
}

static bool is_norm(const Node *node) {
    return op_def(node->op)->op_class == OPCLASS_NORMALIZATION;
}

/* Whether input i of a member may be computed where it is read. */
static bool is_place_for(const Fusion *f, int32_t reader, int32_t i) {
    const Node *node = fusion_member(f, reader);
    if (reader > 0 && is_norm(node)) return false; /* it reads rows, again and again */
    if (reader == 0 && f->has_anchor) return i == 0 && (op_def(node->op)->flags & OPF_PROLOGUE) != 0;
    return form_has_operand(node, i);
}

/* A tensor of full size from outside, which a member or a node more reads; one that `more` makes is none. */
static bool is_full_operand(const Fusion *f, const Node *node, int32_t i, NodeId more, int64_t size) {
    ValueId value = node->inputs[i];
    if (value == NONE || !form_has_operand(node, i)) return false;
    if (more != NONE && f->graph->values[value].producer == more) return false;
    return fusion_find_producer(f, value) == NONE && value_count_at_opt(f->graph, value) >= size;
}

/* How many such tensors what is in front of the anchor reads, with one node more (NONE: without), as far as
 * that matters. */
static int32_t full_operands(const Fusion *f, NodeId more, int64_t size) {
    ValueId found[FULL_OPERANDS + 1];
    int32_t count = 0;
    for (int32_t m = 0; m <= f->count; ++m) {
        if (m < f->count ? !f->members[m].in_front : more == NONE) continue;
        const Node *node = &f->graph->nodes[m < f->count ? f->members[m].node : more];
        for (int32_t i = 0; i < node->input_count && count <= FULL_OPERANDS; ++i) {
            int32_t seen = 0;
            if (!is_full_operand(f, node, i, more, size)) continue;
            while (seen < count && found[seen] != node->inputs[i]) ++seen;
            if (seen == count) found[count++] = node->inputs[i];
        }
    }
    return count;
}

/* Windows that cover an element. */
static int64_t window_reads(const Fusion *f, const Node *anchor) {
    const int64_t *kernel = NULL, *stride = NULL;
    int32_t axes = 0, strides = 0;
    int64_t reads = 1;
    if (attr_ints(&anchor->attrs, "kernel_shape", &kernel, &axes, f->ctx->diag) != STATUS_OK ||
        attr_ints(&anchor->attrs, "strides", &stride, &strides, f->ctx->diag) != STATUS_OK)
        return 1;
    for (int32_t i = 0; i < axes; ++i) {
        int64_t step = i < strides && stride[i] > 0 ? stride[i] : 1;
        int64_t along = kernel[i] / step < 1 ? 1 : kernel[i] / step;
        reads = reads > MOST_READS ? reads : reads * along;
    }
    return reads;
}

/* -- in front of a contraction -- */

static bool is_function(const Node *node) {
    static const OpId arithmetic[] = {OP_Add,
                                      OP_Sub,
                                      OP_Mul,
                                      OP_Neg,
                                      OP_Abs,
                                      OP_Max,
                                      OP_Min,
                                      OP_Relu,
                                      OP_Clip,
                                      OP_Cast,
                                      OP_PRelu,
                                      OP_LeakyRelu,
                                      OP_HardSigmoid,
                                      OP_HardSwish,
                                      OP_Sum,
                                      OP_Where,
                                      OP_DequantizeLinear};
    for (size_t i = 0; i < sizeof arithmetic / sizeof arithmetic[0]; ++i)
        if (node->op == arithmetic[i]) return false;
    return true;
}

/* Elements that are computed, where a contraction computes its input as it reads it: tiles of the result
 * share what they read, up to so many lines. */
static int64_t computed_elements(const Fusion *f) {
    const Node *anchor = fusion_member(f, 0);
    const Graph *graph = f->graph;
    const Shape *y = &graph->values[anchor->outputs[0]].shape, *w = &graph->values[anchor->inputs[1]].shape;
    int64_t lines = 1, rows = TILE_LINES;
    if (anchor->op == OP_Conv && w->rank > 0) {
        lines = dim_at_opt(graph, w->dim[0]) / ((const ConvAttrs *)anchor->parsed)->group;
    } else if (y->rank > 1) {
        lines = dim_at_opt(graph, y->dim[y->rank - 1]);
        rows = value_count_at_opt(graph, anchor->outputs[0]) / (lines > 0 ? lines : 1);
    }
    lines = rows <= FEW_LINES || lines < 1 ? 1 : lines < TILE_LINES ? lines : TILE_LINES;
    return node_macs(graph, f->members[0].node) / lines;
}

/* Whether to compute them takes longer than a pass of its own over the input, and its launch. */
static bool is_dear(const Fusion *f, const Node *more, int64_t size) {
    double work = is_norm(more) ? NORM_WORK : is_function(more) ? 1 + FUNCTION_WORK : 1;
    for (int32_t i = 0; i < f->count; ++i)
        if (f->members[i].in_front && is_function(fusion_member(f, i))) work += FUNCTION_WORK;
    return work * (double)computed_elements(f) > (double)size + LAUNCH_ELEMENTS;
}

/* Matrix units read fast only what lies there. A cast costs a convolution no more than the wider element
 * would, where the channels are too few for that. */
static const char *copied_refusal(const Fusion *f, const Node *node) {
    const Shape *shape = &f->graph->values[node->outputs[0]].shape;
    bool few = shape->rank > 1 && dim_is_exact(shape->dim[1]) && shape->dim[1] % COPIED_CHANNELS != 0;
    if (node->op == OP_Cast && fusion_member(f, 0)->op == OP_Conv && few) return NULL;
    return "kernels of such contractions copy what they read as it lies";
}

/* Other kernels read an element once for each tile of results and window that needs it. */
static const char *contraction_refusal(const Fusion *f, NodeId producer, NodeForm form) {
    const Node *node = &f->graph->nodes[producer], *anchor = fusion_member(f, 0);
    int64_t size = value_count_at_opt(f->graph, anchor->inputs[0]);
    if (pass_copies_channels(f->ctx, f->members[0].node)) return copied_refusal(f, node);
    if (form == FORM_PERMUTATION || form == FORM_SELECTION)
        return "contractions read their input many times, and in order";
    if (form == FORM_VIEW) return NULL;
    return is_dear(f, node, size) ? "it would be computed again for too many tiles and windows" : NULL;
}

/* One element for each of the last dimension. */
static bool is_row(const Graph *graph, ValueId id, Dim extent) {
    const Shape *shape = &graph->values[id].shape;
    for (int32_t i = 0; i + 1 < shape->rank; ++i)
        if (shape->dim[i] != 1) return false;
    return shape->rank > 0 && shape->dim[shape->rank - 1] == extent;
}

/* Why a product cannot normalise rows as it reads them; NULL where it can. */
static const char *norm_refusal(const Fusion *f, NodeId producer) {
    const Node *node = &f->graph->nodes[producer], *anchor = fusion_member(f, 0);
    const Shape *x = &f->graph->values[node->inputs[0]].shape;
    bool rows = node->op == OP_LayerNormalization || node->op == OP_RMSNormalization;
    if (!rows || (anchor->op != OP_MatMul && anchor->op != OP_Gemm))
        return "only rows of products are normalised by their mean and deviation as they are read";
    const char *why = fusion_place_refusal(f, producer);
    if (why != NULL) return why;
    int64_t axis = ((const NormAttrs *)node->parsed)->axis;
    bool turned = anchor->op == OP_Gemm && ((const GemmAttrs *)anchor->parsed)->trans_a != 0;
    if (x->rank < 2 || (axis != -1 && axis != x->rank - 1) || turned) return "it is not of what is summed up";
    for (int32_t i = 1; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && !is_row(f->graph, node->inputs[i], x->dim[x->rank - 1]))
            return "its parameters are other ones for each row";
    if (use_count(&f->uses, node->outputs[0]) != 1) return "its result is used elsewhere, too";
    for (int32_t o = 1; o < node->output_count; ++o)
        if (node->outputs[o] != NONE && use_count(&f->uses, node->outputs[o]) > 0)
            return "its statistics are used, too";
    if (pass_copies_channels(f->ctx, f->members[0].node)) return copied_refusal(f, node);
    return is_dear(f, node, value_count_at_opt(f->graph, node->inputs[0]))
               ? "it would be computed again for too many tiles"
               : NULL;
}

/* How often elements of a value are read by a member, if it is computed where it is read. */
static int64_t times_read(const Fusion *f, int32_t reader, NodeId producer) {
    const Node *node = fusion_member(f, reader);
    if (reader == 0 && f->has_anchor)
        return value_count_at_opt(f->graph, f->graph->nodes[producer].outputs[0]);
    return f->members[reader].stage == NONE ? f->members[reader].times
                                            : value_count_at_opt(f->graph, node->outputs[0]);
}

/* Why it costs more to compute the value where it is read than to read it; NULL when it does not. */
static const char *cost_refusal(const Fusion *f, int32_t reader, NodeId producer, NodeForm form,
                                bool stored) {
    const Node *node = &f->graph->nodes[producer];
    bool at_anchor = reader == 0 && f->has_anchor;
    int64_t size = value_count_at_opt(f->graph, node->outputs[0]);
    bool in_front = at_anchor || f->members[reader].in_front;
    bool contracts = in_front && op_def(fusion_member(f, 0)->op)->op_class == OPCLASS_CONTRACTION;
    if (contracts) {
        const char *why = contraction_refusal(f, producer, form);
        if (why != NULL) return why;
    }
    if ((form == FORM_PERMUTATION || form == FORM_SELECTION) && !form_keeps_rows(f->graph, node) &&
        size > MOST_SCATTERED)
        return "it would read too many elements far apart";
    if (form == FORM_ELEMENTS && node->op != OP_Cast && size < times_read(f, reader, producer))
        return "each element would be computed again for all that it is repeated for";
    if (at_anchor && !contracts && form == FORM_ELEMENTS && node->op != OP_Cast &&
        window_reads(f, fusion_member(f, reader)) > MOST_READS)
        return "each element would be computed again for all windows that cover it";
    if (in_front && !stored && size > MOST_CACHED && full_operands(f, producer, size) > FULL_OPERANDS)
        return "it would read many large tensors in several passes";
    return NULL;
}

/* What a contraction reads is a normalisation's result. */
static bool is_normalised(const Fusion *f, int32_t reader, NodeId producer) {
    return reader == 0 && f->has_anchor && is_norm(&f->graph->nodes[producer]) &&
           op_def(fusion_member(f, 0)->op)->op_class == OPCLASS_CONTRACTION;
}

/* Why the producer of a member's input is not pulled in; NULL when it can be. */
static const char *pull_refusal(Fusion *f, int32_t reader, int32_t input, NodeId producer) {
    const Node *node = fusion_member(f, reader);
    ValueId value = node->inputs[input];
    NodeForm form;
    if (is_normalised(f, reader, producer)) return norm_refusal(f, producer);
    const char *why = fusion_node_refusal(f, producer, &form);
    if (why != NULL) return why;
    for (int32_t i = f->uses.first[value]; i < f->uses.first[value + 1]; ++i) {
        int32_t member = fusion_find(f, f->uses.uses[i].node);
        if (member != NONE && !is_place_for(f, member, f->uses.uses[i].index))
            return "its result is also read as a whole";
    }
    bool leaves = fusion_value_escapes(f, value);
    if (leaves) why = leaving_refusal(f, reader, value, form);
    if (why != NULL) return why;
    why = cost_refusal(f, reader, producer, form, leaves);
    bool whole =
        value_count_at_opt(f->graph, value) == value_count_at_opt(f->graph, fusion_member(f, 0)->inputs[0]);
    if (why != NULL && whole && form == FORM_ELEMENTS && f->members[reader].in_front) f->cut = true;
    return why;
}

static bool pull_producer(Fusion *f, int32_t reader, int32_t input) {
    ValueId value = fusion_member(f, reader)->inputs[input];
    if (value == NONE || !is_place_for(f, reader, input)) return false;
    NodeId producer = f->graph->values[value].producer;
    if (producer == NONE || fusion_find(f, producer) != NONE) return false;
    bool at_anchor = reader == 0 && f->has_anchor;
    const char *why =
        f->count == REGION_NODES ? "the region is full" : pull_refusal(f, reader, input, producer);
    if (why != NULL) {
        if (is_normalised(f, reader, producer) ||
            node_form(f->graph, &f->graph->nodes[producer], NULL) != FORM_OTHER)
            pass_reject(f->ctx, producer, "cannot be computed as %s reads it: %s",
                        op_def(fusion_member(f, reader)->op)->name, why);
        return false;
    }
    bool in_front = at_anchor || f->members[reader].in_front;
    f->members[f->count] = (Member){.node = producer, .stage = NONE, .in_front = in_front};
    f->members[f->count++].times = times_read(f, reader, producer);
    return true;
}

/* Views of what lies in memory are free outside of the region. */
static void drop_views(Fusion *f) {
    for (int32_t i = f->count - 1; i >= 0; --i) {
        const Node *node = fusion_member(f, i);
        if (f->members[i].stage != NONE || node_form(f->graph, node, NULL) != FORM_VIEW ||
            fusion_find_producer(f, node->inputs[0]) != NONE)
            continue;
        f->members[i] = f->members[--f->count];
        i = f->count; /* what read it may be a view as well */
    }
}

/* A contraction gains nothing by a part of a chain, the rest of which would be a kernel all the same; nor
 * where it would read several tensors in place of one. */
static void check_front(Fusion *f) {
    const Node *anchor = fusion_member(f, 0);
    int64_t size = value_count_at_opt(f->graph, anchor->inputs[0]);
    bool many = size > 0 && full_operands(f, NONE, size) > 1;
    int32_t kept = 0;
    if (!many && !f->cut) return;
    if (many)
        pass_reject(f->ctx, f->graph->values[anchor->inputs[0]].producer,
                    "cannot be computed as %s reads it: it would read several large tensors many times",
                    op_def(anchor->op)->name);
    for (int32_t i = 0; i < f->count; ++i)
        if (!f->members[i].in_front) f->members[kept++] = f->members[i];
    f->count = kept;
}

void fusion_pull(Fusion *f) {
    bool contracts = f->has_anchor && op_def(fusion_member(f, 0)->op)->op_class == OPCLASS_CONTRACTION;
    f->cut = false;
    for (int32_t reader = 0; reader < f->count; ++reader)
        for (int32_t i = 0; i < fusion_member(f, reader)->input_count; ++i) (void)pull_producer(f, reader, i);
    if (contracts) check_front(f);
    drop_views(f);
}
