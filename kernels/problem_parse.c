#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/problem.h"

enum {
    MOST_OUTPUTS = 64,   /* of a node */
    MOST_BYTES = 1 << 30 /* of all constants */
};

/* "$1", "%3.0" or "-". */
typedef struct Operand {
    int32_t node;  /* NONE: an input of the step */
    int32_t index; /* NONE: omitted */
} Operand;

typedef struct LineNode {
    OpId op;
    bool anchors;
    AttrList attrs;
    int32_t input_count, input_capacity, output_count;
    uint64_t wanted; /* results that are named: 1 << index */
    Operand *inputs;
    ValueId *outputs; /* MOST_OUTPUTS */
} LineNode;

/* Where a result lies, for after inference, which finds the rest. */
typedef struct LineResult {
    ValueId id;
    Layout layout;
    int32_t channel_padding;
    const Dim *strides;
} LineResult;

typedef struct LineReading {
    const char *line, *at;
    Arena *arena;
    Graph *graph;
    Diag *diag;
    int32_t node_count, node_capacity, input_count, input_capacity, result_count, result_capacity;
    LineNode *nodes;
    LineResult *results;
    ValueId *inputs;
    size_t constant_bytes;
} LineReading;

/* -- words -- */

static Status expected(const LineReading *r, const char *what) {
    return FAIL(r->diag, STATUS_USAGE, "the problem's line, character %d: expected %s",
                (int)(r->at - r->line) + 1, what);
}

static Status no_memory(const LineReading *r) {
    return FAIL(r->diag, STATUS_NO_MEMORY, "out of memory");
}

static bool take(LineReading *r, const char *text) {
    size_t length = strlen(text);
    if (strncmp(r->at, text, length) != 0) return false;
    r->at += length;
    return true;
}

static Status take_integer(LineReading *r, int64_t least, int64_t most, int64_t *out) {
    const char *digits = r->at + (*r->at == '-');
    char *end;
    if (!isdigit((unsigned char)*digits)) return expected(r, "a number");
    *out = strtoll(r->at, &end, 10); /* saturates */
    if (*out < least || *out > most) return expected(r, "a number within its limits");
    r->at = end;
    return STATUS_OK;
}

/* Letters, digits and underscores, in the arena; "" where there are none. */
static char *take_word(LineReading *r) {
    const char *begin = r->at;
    while (isalnum((unsigned char)*r->at) || *r->at == '_') r->at++;
    return arena_strndup(r->arena, begin, (size_t)(r->at - begin));
}

/* -- attributes -- */

typedef struct List {
    AttrKind kind; /* ATTR_INTS, ATTR_FLOATS or ATTR_STRINGS; 0: empty so far */
    int32_t count, capacity;
    union Element {
        int64_t integer;
        float number;
        const char *text;
    } * items;
} List;

static Status take_quoted(LineReading *r, const char **out) {
    char *text = arena_alloc(r->arena, strlen(r->at)), *to = text;
    if (text == NULL) return no_memory(r);
    for (r->at++; *r->at != '"'; ++r->at) {
        if (*r->at == '\\') r->at++;
        if (*r->at == '\0') return expected(r, "'\"'");
        *to++ = *r->at;
    }
    *to = '\0';
    r->at++;
    *out = text;
    return STATUS_OK;
}

static bool is_real(const char *text) {
    text += *text == '-';
    return strncmp(text, "0x", 2) == 0 || strncmp(text, "inf", 3) == 0 || strncmp(text, "nan", 3) == 0;
}

static Status take_element(LineReading *r, AttrKind *kind, union Element *out) {
    char *end;
    if (*r->at == '"') {
        *kind = ATTR_STRINGS;
        return take_quoted(r, &out->text);
    }
    if (is_real(r->at)) {
        *kind = ATTR_FLOATS;
        out->number = strtof(r->at, &end);
        r->at = end;
        return STATUS_OK;
    }
    if (isalpha((unsigned char)*r->at)) {
        *kind = ATTR_STRINGS;
        out->text = take_word(r);
        return out->text != NULL ? STATUS_OK : no_memory(r);
    }
    *kind = ATTR_INTS;
    return take_integer(r, INT64_MIN, INT64_MAX, &out->integer);
}

static Status take_list(LineReading *r, List *list, bool *scalar) {
    *list = (List){.kind = ATTR_INTS};
    *scalar = false;
    while (*r->at != ' ' && *r->at != '\0') {
        AttrKind kind;
        union Element element;
        if (take(r, ",") && (*r->at == ' ' || *r->at == '\0')) return STATUS_OK;
        TRY(take_element(r, &kind, &element));
        if (list->count > 0 && kind != list->kind) return expected(r, "elements of one kind");
        list->kind = kind;
        if (!ARENA_RESERVE(r->arena, list->items, list->count, list->capacity)) return no_memory(r);
        list->items[list->count++] = element;
        if (*r->at != ',' && *r->at != ' ' && *r->at != '\0') return expected(r, "',' or ' '");
    }
    *scalar = list->count == 1;
    return list->count > 0 ? STATUS_OK : expected(r, "a value");
}

static bool set_list(LineReading *r, AttrList *attrs, const char *name, const List *list) {
    int64_t *integers = ARENA_ARRAY(r->arena, int64_t, list->count);
    float *numbers = ARENA_ARRAY(r->arena, float, list->count);
    const char **texts = ARENA_ARRAY(r->arena, const char *, list->count);
    if (integers == NULL || numbers == NULL || texts == NULL) return false;
    for (int32_t i = 0; i < list->count; ++i) {
        if (list->kind == ATTR_INTS) integers[i] = list->items[i].integer;
        if (list->kind == ATTR_FLOATS) numbers[i] = list->items[i].number;
        if (list->kind == ATTR_STRINGS) texts[i] = list->items[i].text;
    }
    if (list->kind == ATTR_INTS) return attr_set_ints(attrs, r->arena, name, integers, list->count);
    if (list->kind == ATTR_FLOATS) return attr_set_floats(attrs, r->arena, name, numbers, list->count);
    return attr_set_strings(attrs, r->arena, name, texts, list->count);
}

static bool set_scalar(LineReading *r, AttrList *attrs, const char *name, const List *list) {
    if (list->kind == ATTR_INTS) return attr_set_int(attrs, r->arena, name, list->items[0].integer);
    if (list->kind == ATTR_FLOATS) return attr_set_float(attrs, r->arena, name, list->items[0].number);
    return attr_set_string(attrs, r->arena, name, list->items[0].text);
}

static Status read_attribute(LineReading *r, AttrList *attrs) {
    List list;
    bool scalar;
    char *name = take_word(r);
    if (name == NULL) return no_memory(r);
    if (name[0] == '\0' || !take(r, "=")) return expected(r, "an attribute: name=value");
    if (strncmp(r->at, "tensor:", 7) == 0)
        return FAIL(r->diag, STATUS_UNSUPPORTED,
                    "attribute '%s' is a tensor, which the problem's line does not hold", name);
    TRY(take_list(r, &list, &scalar));
    bool set = scalar ? set_scalar(r, attrs, name, &list) : set_list(r, attrs, name, &list);
    return set ? STATUS_OK : no_memory(r);
}

/* -- nodes -- */

static OpId find_op(const char *name) {
    for (int32_t id = OP_NONE + 1; id < OP_COUNT; ++id)
        if (strcmp(op_def((OpId)id)->name, name) == 0) return (OpId)id;
    return OP_NONE;
}

/* Results are there by being named. */
static Status read_operand(LineReading *r, Operand *out) {
    int64_t node, index;
    *out = (Operand){NONE, NONE};
    if (take(r, "-")) return STATUS_OK;
    if (take(r, "$")) {
        TRY(take_integer(r, 0, INT32_MAX, &index));
        out->index = (int32_t)index;
        return STATUS_OK;
    }
    if (!take(r, "%")) return expected(r, "an operand: '$0', '%0.0' or '-'");
    TRY(take_integer(r, 0, r->node_count - 1, &node));
    if (!take(r, ".")) return expected(r, "'.'");
    TRY(take_integer(r, 0, MOST_OUTPUTS - 1, &index));
    *out = (Operand){(int32_t)node, (int32_t)index};
    if (r->nodes[node].output_count <= index) r->nodes[node].output_count = (int32_t)index + 1;
    r->nodes[node].wanted |= (uint64_t)1 << index;
    return STATUS_OK;
}

static Status read_node(LineReading *r) {
    LineNode node = {.output_count = 1, .outputs = ARENA_ARRAY(r->arena, ValueId, MOST_OUTPUTS)};
    node.anchors = take(r, "*");
    char *name = take_word(r);
    if (name == NULL || node.outputs == NULL) return no_memory(r);
    node.op = find_op(name);
    if (node.op == OP_NONE || !take(r, "(")) return expected(r, "an operator and its operands in brackets");
    while (!take(r, ")")) {
        Operand operand;
        if (node.input_count > 0 && !take(r, " ")) return expected(r, "' ' or ')'");
        TRY(read_operand(r, &operand));
        if (!ARENA_RESERVE(r->arena, node.inputs, node.input_count, node.input_capacity)) return no_memory(r);
        node.inputs[node.input_count++] = operand;
    }
    while (strncmp(r->at, " + ", 3) != 0 && strncmp(r->at, " |", 2) != 0) {
        if (!take(r, " ")) return expected(r, "' '");
        TRY(read_attribute(r, &node.attrs));
    }
    if (!ARENA_RESERVE(r->arena, r->nodes, r->node_count, r->node_capacity)) return no_memory(r);
    r->nodes[r->node_count++] = node;
    return STATUS_OK;
}

/* -- values -- */

static Status read_dims(LineReading *r, Shape *out) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    *out = (Shape){0};
    if (!take(r, "[")) return expected(r, "'['");
    while (!take(r, "]")) {
        if (out->rank == SMELT_MAX_RANK) return expected(r, "at most 8 dimensions");
        if (out->rank > 0 && !take(r, ", ")) return expected(r, "', ' or ']'");
        if (strcspn(r->at, letters) < strcspn(r->at, ",]"))
            return FAIL(
                r->diag, STATUS_UNSUPPORTED,
                "the problem's line, character %d: a size that is not a number; write one in its place",
                (int)(r->at - r->line) + 1);
        TRY(take_integer(r, 0, INT64_MAX / 2, &out->dim[out->rank++]));
    }
    return STATUS_OK;
}

/* Where elements lie, as far as it is not plain. */
static Status read_order(LineReading *r, Value *value) {
    int64_t padding;
    Shape strides;
    if (take(r, " channels_last")) value->layout = LAYOUT_CHANNELS_LAST;
    if (take(r, " padding ")) {
        TRY(take_integer(r, 0, 1 << 20, &padding));
        value->channel_padding = (int32_t)padding;
    }
    if (!take(r, " strides")) return STATUS_OK;
    TRY(read_dims(r, &strides));
    if (strides.rank != value->shape.rank) return expected(r, "as many strides as dimensions");
    Dim *copy = ARENA_ARRAY(r->graph->arena, Dim, strides.rank);
    if (copy == NULL) return no_memory(r);
    memcpy(copy, strides.dim, (size_t)strides.rank * sizeof(Dim));
    value->strides = copy;
    return STATUS_OK;
}

static Status read_value(LineReading *r, Value *value) {
    char *type = take_word(r);
    if (type == NULL) return no_memory(r);
    value->dtype = dtype_from_name(type);
    if (value->dtype == DTYPE_NONE) return expected(r, "a type: 'f16[1, 64, 56, 56]'");
    value->has_shape = true;
    TRY(read_dims(r, &value->shape));
    return read_order(r, value);
}

/* Elements that nobody minds: between 0 and 1/4, so that long sums stay small. */
static void make_up(DType dtype, void *data, int64_t count) {
    uint32_t state = 1;
    for (int64_t i = 0; i < count; ++i) {
        state = state * 1664525U + 1013904223U;
        dtype_store_f64(dtype, data, i,
                        dtype_is_float(dtype) ? (double)(state >> 8) * 0x1p-26 : (double)(state >> 31));
    }
}

static Status read_integer(LineReading *r, DType dtype, void *data, int64_t index) {
    int64_t element;
    TRY(take_integer(r, INT64_MIN, INT64_MAX, &element));
    dtype_store_i64(dtype, data, index, element);
    return STATUS_OK;
}

static Status read_real(LineReading *r, DType dtype, void *data, int64_t index) {
    char *end;
    if (!is_real(r->at)) return expected(r, "an element: 0x1.8p+0");
    dtype_store_f64(dtype, data, index, strtod(r->at, &end));
    r->at = end;
    return STATUS_OK;
}

static Status read_elements(LineReading *r, DType dtype, void *data, int64_t count) {
    bool shown = *r->at == '-' || isdigit((unsigned char)*r->at);
    if (!dtype_is_integer(dtype) && !shown) {
        make_up(dtype, data, count);
        return STATUS_OK;
    }
    if (!shown && count > 0)
        return FAIL(r->diag, STATUS_UNSUPPORTED,
                    "the problem's line does not hold the elements of a constant of %lld", (long long)count);
    for (int64_t i = 0; i < count; ++i) {
        if (i > 0 && !take(r, ",")) return expected(r, "','");
        TRY(dtype_is_integer(dtype) ? read_integer(r, dtype, data, i) : read_real(r, dtype, data, i));
    }
    return STATUS_OK;
}

/* Behind the '='. */
static Status read_constant(LineReading *r, Value *value) {
    int64_t count = 1;
    size_t bytes = 0;
    bool fits = true;
    for (int32_t i = 0; i < value->shape.rank; ++i)
        fits = fits && checked_mul_i64(count, value->shape.dim[i], &count);
    fits = fits && dtype_storage(value->dtype, count, &bytes) && bytes <= MOST_BYTES - r->constant_bytes;
    if (!fits) return FAIL(r->diag, STATUS_UNSUPPORTED, "the problem has more than 1 GiB of constants");
    r->constant_bytes += bytes;
    void *data = arena_alloc(r->graph->arena, bytes);
    if (data == NULL) return no_memory(r);
    value->data = data;
    return read_elements(r, value->dtype, data, count);
}

static Status read_input(LineReading *r) {
    Value value = {.producer = NONE, .buffer = NONE};
    TRY(read_value(r, &value));
    if (take(r, "=")) TRY(read_constant(r, &value));
    ValueId id = graph_add_value(r->graph, NULL);
    if (id == NONE || !ARENA_RESERVE(r->arena, r->inputs, r->input_count, r->input_capacity))
        return no_memory(r);
    value.name = r->graph->values[id].name;
    r->graph->values[id] = value;
    r->inputs[r->input_count++] = id;
    return value.data != NULL || block_add_param(r->graph, MAIN_BLOCK, id) ? STATUS_OK : no_memory(r);
}

static Status read_output(LineReading *r) {
    Operand operand;
    Value value = {0};
    TRY(read_operand(r, &operand));
    if (operand.node == NONE || !take(r, ":")) return expected(r, "a result: '%0.0:f32[4]'");
    TRY(read_value(r, &value));
    if (!ARENA_RESERVE(r->arena, r->results, r->result_count, r->result_capacity)) return no_memory(r);
    ValueId id = r->nodes[operand.node].outputs[operand.index];
    r->results[r->result_count++] = (LineResult){id, value.layout, value.channel_padding, value.strides};
    return block_add_result(r->graph, MAIN_BLOCK, id) ? STATUS_OK : no_memory(r);
}

/* -- the graph -- */

static Status find_value(const LineReading *r, Operand operand, ValueId *out) {
    *out = NONE;
    if (operand.index == NONE) return STATUS_OK;
    if (operand.node == NONE && operand.index >= r->input_count)
        return FAIL(r->diag, STATUS_USAGE, "the problem's line: there is no input $%d", operand.index);
    *out = operand.node == NONE ? r->inputs[operand.index] : r->nodes[operand.node].outputs[operand.index];
    return STATUS_OK;
}

static Status add_node(LineReading *r, LineNode *node, RegionId region) {
    ValueId *inputs = ARENA_ARRAY(r->arena, ValueId, node->input_count);
    NodeId id;
    if (inputs == NULL) return no_memory(r);
    for (int32_t i = 0; i < node->input_count; ++i) TRY(find_value(r, node->inputs[i], &inputs[i]));
    TRY(graph_add_node(r->graph, MAIN_BLOCK, node->op, "", &node->attrs, node->input_count, inputs,
                       node->output_count, node->outputs, &id, r->diag));
    r->graph->nodes[id].region = region;
    if (region != NONE && node->anchors) r->graph->regions[region].anchor = id;
    return STATUS_OK;
}

static Status add_nodes(LineReading *r) {
    RegionId region = r->node_count > 1 ? graph_add_region(r->graph, NONE, "problem") : NONE;
    if (r->node_count > 1 && region == NONE) return no_memory(r);
    for (int32_t n = 0; n < r->node_count; ++n) TRY(add_node(r, &r->nodes[n], region));
    return STATUS_OK;
}

/* Values inside lie as the first input does in front of the anchor, and as the first result does from it on:
 * the line does not say. */
static void place_values(LineReading *r) {
    Graph *graph = r->graph;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    RegionId region = graph->nodes[block->nodes[0]].region;
    NodeId anchor = region != NONE ? graph->regions[region].anchor : block->nodes[0];
    Layout layout =
        anchor != NONE && r->input_count > 0 ? graph->values[r->inputs[0]].layout : r->results[0].layout;
    for (int32_t n = 0; n < block->node_count; ++n) {
        const Node *node = &graph->nodes[block->nodes[n]];
        if (block->nodes[n] == anchor) layout = r->results[0].layout;
        for (int32_t o = 0; o < node->output_count; ++o)
            if (node->outputs[o] != NONE) graph->values[node->outputs[o]].layout = layout;
    }
    for (int32_t i = 0; i < r->result_count; ++i) {
        Value *value = &graph->values[r->results[i].id];
        value->layout = r->results[i].layout;
        value->channel_padding = r->results[i].channel_padding;
        value->strides = r->results[i].strides;
    }
}

/* The graph's own key tells whether all of the line was understood. */
static Status compare(LineReading *r) {
    UseTable uses;
    Problem problem;
    const Block *block = &r->graph->blocks[MAIN_BLOCK];
    if (!use_table_build(r->graph, r->arena, &uses)) return no_memory(r);
    TRY(problem_create(r->graph, &uses, block->nodes, block->node_count, r->arena, &problem, r->diag));
    if (strcmp(problem.key, r->line) == 0) return STATUS_OK;
    return FAIL(r->diag, STATUS_USAGE, "the problem's line is not as smelt writes it: '%.700s'", problem.key);
}

static Status make_outputs(LineReading *r) {
    for (int32_t n = 0; n < r->node_count; ++n)
        for (int32_t o = 0; o < MOST_OUTPUTS; ++o) {
            bool wanted = (r->nodes[n].wanted >> o & 1) != 0;
            r->nodes[n].outputs[o] = wanted ? graph_add_value(r->graph, NULL) : NONE;
            if (wanted && r->nodes[n].outputs[o] == NONE) return no_memory(r);
        }
    return STATUS_OK;
}

/* Counts results that only the list behind "->" names. */
static Status count_outputs(LineReading *r) {
    const char *begin = r->at;
    for (const char *at = strstr(begin, " %"); at != NULL; at = strstr(at + 1, " %")) {
        Operand operand;
        r->at = at + 1;
        TRY(read_operand(r, &operand));
    }
    r->at = begin;
    return make_outputs(r);
}

static Status read_line(LineReading *r) {
    do TRY(read_node(r));
    while (take(r, " + "));
    if (!take(r, " |")) return expected(r, "' |'");
    while (strncmp(r->at, " ->", 3) != 0) {
        if (!take(r, " ")) return expected(r, "' '");
        TRY(read_input(r));
    }
    r->at += 3;
    TRY(count_outputs(r));
    do {
        if (!take(r, " ")) return expected(r, "' '");
        TRY(read_output(r));
        r->graph->tf32 = strcmp(r->at, " tf32") == 0;
    } while (*r->at != '\0' && !r->graph->tf32);
    return add_nodes(r);
}

Status problem_parse(const char *line, GraphInfer infer, Arena *arena, Graph **out, Diag *diag) {
    LineReading reading = {
        .line = line, .at = line, .arena = arena, .graph = graph_create(arena, "problem"), .diag = diag};
    TRY_ALLOC(diag, reading.graph);
    TRY(read_line(&reading));
    TRY(infer(reading.graph, diag));
    place_values(&reading);
    *out = reading.graph;
    return compare(&reading);
}
