#include "kernels/problem.h"

#include <ctype.h>
#include <string.h>

#include "kernels/planes_text.h"
#include "kernels/tactic.h"
#include "ops/attr.h"
#include "ops/conv.h"

enum { SHOWN_ELEMENTS = 32 }; /* integer constants up to this length are part of the key */

/* -- what goes in and out -- */

typedef struct Boundary {
    const Graph *graph;
    const UseTable *uses;
    const NodeId *nodes;
    int32_t node_count;
    ValueId *inputs, *outputs;
    int32_t input_count, output_count;
} Boundary;

static bool list_has(const ValueId *list, int32_t count, ValueId value) {
    for (int32_t i = 0; i < count; ++i)
        if (list[i] == value) return true;
    return false;
}

static bool has_node(const Boundary *b, NodeId node) {
    for (int32_t i = 0; i < b->node_count; ++i)
        if (b->nodes[i] == node) return true;
    return false;
}

/* Whether any other node or a block's result uses the value. */
static bool is_used_outside(const Boundary *b, ValueId value) {
    for (int32_t i = b->uses->first[value]; i < b->uses->first[value + 1]; ++i)
        if (b->uses->uses[i].node == NONE || !has_node(b, b->uses->uses[i].node)) return true;
    return false;
}

static void collect_inputs(Boundary *b, const Node *node) {
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId value = node->inputs[i];
        if (value == NONE || list_has(b->inputs, b->input_count, value)) continue;
        NodeId producer = b->graph->values[value].producer;
        if (producer == NONE || !has_node(b, producer)) b->inputs[b->input_count++] = value;
    }
}

/* What a step makes and only the step reads stays inside. A lone node's outputs always leave. */
static void collect_outputs(Boundary *b, const Node *node) {
    for (int32_t i = 0; i < node->output_count; ++i) {
        ValueId value = node->outputs[i];
        if (value != NONE && (b->node_count == 1 || is_used_outside(b, value)))
            b->outputs[b->output_count++] = value;
    }
}

static Status find_boundary(Boundary *b, Arena *arena, Diag *diag) {
    int32_t inputs = 0, outputs = 0;
    for (int32_t i = 0; i < b->node_count; ++i) {
        inputs += b->graph->nodes[b->nodes[i]].input_count;
        outputs += b->graph->nodes[b->nodes[i]].output_count;
    }
    b->inputs = ARENA_ARRAY(arena, ValueId, inputs);
    b->outputs = ARENA_ARRAY(arena, ValueId, outputs);
    TRY_ALLOC(diag, b->inputs);
    TRY_ALLOC(diag, b->outputs);
    for (int32_t i = 0; i < b->node_count; ++i) {
        collect_inputs(b, &b->graph->nodes[b->nodes[i]]);
        collect_outputs(b, &b->graph->nodes[b->nodes[i]]);
    }
    return STATUS_OK;
}

/* -- key -- */

/* As it is where it is a word that is no number, else in quotes. */
static void write_word(const char *text, ByteWriter *out) {
    bool plain = isalpha((unsigned char)text[0]) && strcmp(text, "inf") != 0 && strcmp(text, "nan") != 0;
    for (const char *c = text; *c != '\0'; ++c) plain = plain && (isalnum((unsigned char)*c) || *c == '_');
    if (!plain) write_u8(out, '"');
    for (const char *c = text; *c != '\0'; ++c)
        write_format(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    if (!plain) write_u8(out, '"');
}

/* "axis=1", "axes=1,2"; a comma ends lists of fewer than two. */
static void write_attribute(const Attr *attr, ByteWriter *out) {
    write_format(out, " %s=", attr->name);
    if (attr->kind == ATTR_TENSOR) {
        write_format(out, "tensor:%016llx",
                     (unsigned long long)hash_bytes(attr->tensor->data, tensor_bytes(attr->tensor)));
        return;
    }
    for (int32_t i = 0; i < attr->count; ++i) {
        if (i > 0) write_u8(out, ',');
        if (attr->kind == ATTR_INT || attr->kind == ATTR_INTS || attr->kind == ATTR_BLOCK)
            write_format(out, "%lld", (long long)attr->ints[i]);
        else if (attr->kind == ATTR_FLOAT || attr->kind == ATTR_FLOATS)
            write_format(out, "%a", (double)attr->floats[i]);
        else
            write_word(attr->strings[i], out);
    }
    if (attr->count < 2 &&
        (attr->kind == ATTR_INTS || attr->kind == ATTR_FLOATS || attr->kind == ATTR_STRINGS))
        write_u8(out, ',');
}

/* " channels_last", " strides[9, 1]" where it does not lie plainly. */
static void write_order(const Graph *graph, const Value *value, Arena *arena, ByteWriter *out) {
    if (value->layout == LAYOUT_CHANNELS_LAST) write_format(out, " channels_last");
    if (value->channel_padding != 0) write_format(out, " padding %d", value->channel_padding);
    if (value->strides == NULL) return;
    Shape strides = {.rank = value->shape.rank};
    memcpy(strides.dim, value->strides, (size_t)strides.rank * sizeof(Dim));
    const char *text = shape_print(graph->dims, &strides, arena);
    if (text == NULL) out->failed = true;
    write_format(out, " strides%s", text != NULL ? text : "");
}

/* Factors and such, of which sizes are made. */
static bool decides_sizes(const Boundary *b, ValueId id) {
    for (int32_t n = 0; n < b->node_count; ++n) {
        const Node *node = &b->graph->nodes[b->nodes[n]];
        for (int32_t i = node->op == OP_Range ? 0 : 1; i < node->input_count; ++i)
            if ((node->op == OP_Range || node->op == OP_Resize) && node->inputs[i] == id) return true;
    }
    return false;
}

static void write_elements(const Value *value, ByteWriter *out) {
    for (int64_t i = 0; i < value_count(value); ++i) {
        if (i > 0) write_u8(out, ',');
        if (dtype_is_integer(value->dtype))
            write_format(out, "%lld", (long long)dtype_load_i64(value->dtype, value->data, i));
        else
            write_format(out, "%a", dtype_load_f64(value->dtype, value->data, i));
    }
}

/* "f32[1, 64]"; short constants that decide what is done with their elements: "i64[2]=3,4". */
static void write_value(const Boundary *b, ValueId id, Arena *arena, ByteWriter *out) {
    const Graph *graph = b->graph;
    const Value *value = &graph->values[id];
    const char *shape = shape_print(graph->dims, &value->shape, arena);
    if (shape == NULL) out->failed = true;
    write_format(out, "%s%s", dtype_name(value->dtype), shape != NULL ? shape : "");
    write_order(graph, value, arena, out);
    if (value->data == NULL || !value_is_exact(value)) return;
    write_format(out, "=");
    bool shown = dtype_is_integer(value->dtype) || decides_sizes(b, id);
    if (shown && value_count(value) <= SHOWN_ELEMENTS) write_elements(value, out);
}

/* "%3" for what the step's node 3 makes, "$1" for its input 1. */
static void write_operand(const Boundary *b, ValueId value, ByteWriter *out) {
    if (value == NONE) write_format(out, "-");
    for (int32_t i = 0; i < b->input_count; ++i)
        if (b->inputs[i] == value) write_format(out, "$%d", i);
    for (int32_t i = 0; i < b->node_count; ++i) {
        const Node *node = &b->graph->nodes[b->nodes[i]];
        for (int32_t o = 0; value != NONE && o < node->output_count; ++o)
            if (node->outputs[o] == value) write_format(out, "%%%d.%d", i, o);
    }
}

/* A contraction of f32 operands that the graph lets round them to TF32. */
static bool may_round(const Boundary *b) {
    for (int32_t n = 0; b->graph->tf32 && n < b->node_count; ++n) {
        const Node *node = &b->graph->nodes[b->nodes[n]];
        if (op_def(node->op)->op_class == OPCLASS_CONTRACTION && node->inputs[0] != NONE &&
            b->graph->values[node->inputs[0]].dtype == DTYPE_F32)
            return true;
    }
    return false;
}

static bool contracts(const Graph *graph, NodeId node) {
    return op_def(graph->nodes[node].op)->op_class == OPCLASS_CONTRACTION;
}

/* A region says what its anchor is; a node alone is one unless it is pointwise. */
static NodeId find_anchor(const Graph *graph, const NodeId *nodes, int32_t count) {
    const Node *first = &graph->nodes[nodes[0]];
    if (count == 1) return op_def(first->op)->op_class == OPCLASS_POINTWISE ? NONE : nodes[0];
    NodeId anchor = first->region != NONE ? graph->regions[first->region].anchor : NONE;
    for (int32_t i = 0; i < count; ++i)
        if (nodes[i] == anchor) return anchor;
    OpClass first_class = op_def(first->op)->op_class; /* of a part of a region with several of these */
    return first_class == OPCLASS_CONTRACTION || first_class == OPCLASS_NORMALIZATION ? nodes[0] : NONE;
}

static void write_key(const Boundary *b, NodeId anchor, Arena *arena, ByteWriter *out) {
    for (int32_t n = 0; n < b->node_count; ++n) {
        const Node *node = &b->graph->nodes[b->nodes[n]];
        bool starred = b->node_count > 1 && b->nodes[n] == anchor;
        write_format(out, "%s%s%s(", n > 0 ? " + " : "", starred ? "*" : "", op_def(node->op)->name);
        for (int32_t i = 0; i < node->input_count; ++i) {
            if (i > 0) write_u8(out, ' ');
            write_operand(b, node->inputs[i], out);
        }
        write_format(out, ")");
        for (int32_t i = 0; i < node->attrs.count; ++i) write_attribute(&node->attrs.items[i], out);
    }
    write_format(out, " |");
    for (int32_t i = 0; i < b->input_count; ++i) {
        write_u8(out, ' ');
        write_value(b, b->inputs[i], arena, out);
    }
    write_format(out, " ->");
    for (int32_t i = 0; i < b->output_count; ++i) {
        write_u8(out, ' ');
        write_operand(b, b->outputs[i], out);
        write_u8(out, ':');
        write_value(b, b->outputs[i], arena, out);
    }
    if (may_round(b)) write_format(out, " tf32");
    write_u8(out, 0);
}

/* -- */

/* The first pool behind a contraction. */
static NodeId find_pooling(const Graph *graph, const NodeId *nodes, int32_t count, NodeId anchor) {
    if (anchor == NONE || !contracts(graph, anchor)) return NONE;
    for (int32_t i = 0; i < count; ++i)
        if (op_def(graph->nodes[nodes[i]].op)->op_class == OPCLASS_POOLING) return nodes[i];
    return NONE;
}

/* The node that normalises the planes of a convolution's result. */
static NodeId find_normalization(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    for (int32_t i = 0; anchor != NULL && anchor->op == OP_Conv && i < problem->node_count; ++i) {
        const Node *node = &problem->graph->nodes[problem->nodes[i]];
        if (planes_are_normalized_by(node) && node->inputs[0] == anchor->outputs[0]) return problem->nodes[i];
    }
    return NONE;
}

/* The node scales the pool's input. */
static bool scales(const Problem *problem, const Node *node) {
    ValueId x = problem_anchor(problem)->inputs[0];
    return node->op == OP_Mul && (node->inputs[0] == x) != (node->inputs[1] == x);
}

/* The first contractions behind the anchor. */
static int32_t find_contractions(const Problem *problem, int32_t most, NodeId *found) {
    int32_t count = 0;
    bool behind = false;
    for (int32_t i = 0; i < problem->node_count && count < most; ++i) {
        if (behind && contracts(problem->graph, problem->nodes[i])) found[count++] = problem->nodes[i];
        behind = behind || problem->nodes[i] == problem->anchor;
    }
    return count;
}

/* Two contractions behind a pool. */
static void find_squeeze(Problem *problem) {
    NodeId found[2];
    if (find_contractions(problem, 2, found) < 2) return;
    problem->squeeze = found[0];
    problem->excite = found[1];
    bool behind = false;
    for (int32_t i = 0; i < problem->node_count && problem->scale == NONE; ++i) {
        if (behind && scales(problem, &problem->graph->nodes[problem->nodes[i]]))
            problem->scale = problem->nodes[i];
        behind = behind || problem->nodes[i] == problem->excite;
    }
}

static bool is_depthwise(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    return node->op == OP_Conv && conv_is_depthwise(node->parsed, &graph->values[node->inputs[1]].shape);
}

/* The sum of a block's result and its shortcut's. */
static void find_sum(Problem *problem) {
    const Node *nodes = problem->graph->nodes;
    ValueId y = nodes[problem->project].outputs[0], beside = nodes[problem->shortcut].outputs[0];
    for (int32_t i = 0; i < problem->node_count; ++i) {
        const Node *node = &nodes[problem->nodes[i]];
        if (node->op == OP_Add && ((node->inputs[0] == y && node->inputs[1] == beside) ||
                                   (node->inputs[1] == y && node->inputs[0] == beside)))
            problem->sum = problem->nodes[i];
    }
}

/* Convolutions behind a convolution. */
static void find_block(Problem *problem) {
    NodeId found[3];
    int32_t count = find_contractions(problem, 3, found);
    const Node *nodes = problem->graph->nodes;
    for (int32_t i = 0; i < count && count == 3; ++i) {
        if (nodes[found[i]].inputs[0] != problem_anchor(problem)->inputs[0]) continue;
        problem->shortcut = found[i];
        memmove(found + i, found + i + 1, sizeof *found * (size_t)(--count - i));
    }
    if (count == 2 || (count == 1 && is_depthwise(problem->graph, found[0]))) {
        problem->middle = found[0];
        problem->project = count == 2 ? found[1] : NONE;
    } else if (count == 1 && is_depthwise(problem->graph, problem->anchor)) {
        problem->middle = problem->anchor;
        problem->project = found[0];
    }
    if (problem->shortcut != NONE && problem->project != NONE) find_sum(problem);
}

/* anchor NONE: as regions say. */
static Status describe(Boundary *b, NodeId anchor, Arena *arena, Problem *out, Diag *diag) {
    NodeId *copy = ARENA_ARRAY(arena, NodeId, b->node_count);
    TRY_ALLOC(diag, copy);
    memcpy(copy, b->nodes, sizeof(NodeId) * (size_t)b->node_count);
    TRY(find_boundary(b, arena, diag));
    if (anchor == NONE) anchor = find_anchor(b->graph, b->nodes, b->node_count);
    *out = (Problem){.graph = b->graph,
                     .node_count = b->node_count,
                     .nodes = copy,
                     .anchor = anchor,
                     .pooling = find_pooling(b->graph, b->nodes, b->node_count, anchor),
                     .normalization = NONE,
                     .squeeze = NONE,
                     .excite = NONE,
                     .scale = NONE,
                     .middle = NONE,
                     .project = NONE,
                     .shortcut = NONE,
                     .sum = NONE,
                     .input_count = b->input_count,
                     .output_count = b->output_count,
                     .inputs = b->inputs,
                     .outputs = b->outputs};
    if (anchor != NONE && op_def(problem_anchor(out)->op)->op_class == OPCLASS_POOLING) find_squeeze(out);
    if (anchor != NONE && contracts(b->graph, anchor)) find_block(out);
    out->normalization = find_normalization(out);
    return STATUS_OK;
}

Status problem_describe(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t node_count,
                        Arena *arena, Problem *out, Diag *diag) {
    Boundary b = {.graph = graph, .uses = uses, .nodes = nodes, .node_count = node_count};
    return describe(&b, NONE, arena, out, diag);
}

Status problem_create(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t node_count,
                      Arena *arena, Problem *out, Diag *diag) {
    return problem_create_around(graph, uses, nodes, node_count, NONE, arena, out, diag);
}

Status problem_create_around(const Graph *graph, const UseTable *uses, const NodeId *nodes,
                             int32_t node_count, NodeId anchor, Arena *arena, Problem *out, Diag *diag) {
    Boundary b = {.graph = graph, .uses = uses, .nodes = nodes, .node_count = node_count};
    ByteWriter key = byte_writer(arena);
    TRY(describe(&b, anchor, arena, out, diag));
    write_key(&b, out->anchor, arena, &key);
    if (key.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    out->key = (const char *)key.data;
    return STATUS_OK;
}

void problem_find_symbols(const Graph *graph, const NodeId *nodes, int32_t node_count, bool *known,
                          int32_t symbol_count) {
    for (int32_t n = 0; n < node_count; ++n) {
        const Node *node = &graph->nodes[nodes[n]];
        for (int32_t o = 0; o < node->output_count; ++o) {
            const Shape *shape = node->outputs[o] != NONE ? &graph->values[node->outputs[o]].shape : NULL;
            for (int32_t i = 0; shape != NULL && i < shape->rank; ++i) {
                int32_t symbol = dim_symbol_index(graph->dims, shape->dim[i]);
                if (symbol >= 0 && symbol < symbol_count) known[symbol] = true;
            }
        }
    }
}

const Node *problem_anchor(const Problem *problem) {
    return problem->anchor == NONE ? NULL : &problem->graph->nodes[problem->anchor];
}

const Node *problem_last(const Problem *problem) {
    NodeId last = problem->pooling != NONE         ? problem->pooling
                  : problem->normalization != NONE ? problem->normalization
                  : problem->scale != NONE         ? problem->scale
                  : problem->excite != NONE        ? problem->excite
                  : problem->sum != NONE           ? problem->sum
                  : problem->project != NONE       ? problem->project
                                                   : problem->middle;
    return last == NONE ? problem_anchor(problem) : &problem->graph->nodes[last];
}

const Value *problem_value(const Problem *problem, ValueId value) {
    return &problem->graph->values[value];
}

const Value *problem_input(const Problem *problem, int32_t i) {
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || i >= anchor->input_count || anchor->inputs[i] == NONE) return NULL;
    return problem_value(problem, anchor->inputs[i]);
}

const Value *problem_output(const Problem *problem, int32_t i) {
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || i >= anchor->output_count || anchor->outputs[i] == NONE) return NULL;
    return problem_value(problem, anchor->outputs[i]);
}

bool problem_known_dims(const Problem *problem, ValueId id, int32_t capacity, Dim *out, int32_t *count) {
    *count = 0;
    if (id == NONE) return true;
    const Value *value = problem_value(problem, id);
    if (!dtype_is_integer(value->dtype) || !value_is_exact(value) || value->shape.rank > 1) return false;
    int64_t elements = value_count(value);
    if (elements > capacity || (value->data == NULL && value->content == NULL)) return false;
    for (int32_t i = 0; i < elements; ++i) {
        int64_t number = value->data != NULL ? dtype_load_i64(value->dtype, value->data, i) : 0;
        out[i] = value->data == NULL ? value->content[i] : number < DIM_EXACT_MIN ? DIM_EXACT_MIN : number;
    }
    *count = (int32_t)elements;
    return true;
}
