/* Element types and ranks of values as far as they show without inference. Rewrites need them for constants
 * and permutations; nothing else may rely on them. */
#include <string.h>

#include "frontend/importer.h"

struct Guess {
    DType dtype;        /* NONE: unknown */
    int32_t rank_and_1; /* 0: unknown */
};

static Status reserve_guess(Importer *im, ValueId value) {
    if (value < im->guess_count) return STATUS_OK;
    int32_t wanted = im->graph->value_capacity;
    Guess *grown =
        arena_grow(&im->scratch, im->guesses, (size_t)im->guess_count, (size_t)wanted, sizeof *grown);
    TRY_ALLOC(im->diag, grown);
    im->guesses = grown;
    im->guess_count = wanted;
    return STATUS_OK;
}

Status guess_set(Importer *im, ValueId value, DType dtype) {
    TRY(reserve_guess(im, value));
    im->guesses[value].dtype = dtype;
    return STATUS_OK;
}

Status guess_rank(Importer *im, ValueId value, int32_t rank) {
    TRY(reserve_guess(im, value));
    im->guesses[value].rank_and_1 = rank + 1;
    return STATUS_OK;
}

DType dtype_of(const Importer *im, ValueId value) {
    if (value == NONE) return DTYPE_F32;
    DType known = im->graph->values[value].dtype;
    if (known == DTYPE_NONE && value < im->guess_count) known = im->guesses[value].dtype;
    return known == DTYPE_NONE ? DTYPE_F32 : known;
}

int32_t rank_of(const Importer *im, ValueId value) {
    if (value == NONE) return -1;
    const Value *row = &im->graph->values[value];
    if (row->has_shape) return row->shape.rank;
    return value < im->guess_count ? im->guesses[value].rank_and_1 - 1 : -1;
}

/* -- element types -- */

/* Element types of results whose operator does not hand through that of its first input. */
static DType result_type(const Importer *im, const OpDef *def, const AttrList *attrs, int32_t count,
                         const ValueId *inputs, int32_t output) {
    static const struct {
        const char *op;
        DType dtype;  /* NONE: that of an input or attribute */
        int8_t input; /* whose type it is */
        const char *attribute;
    } rules[] = {
        {"Shape", DTYPE_I64, 0, NULL},
        {"Size", DTYPE_I64, 0, NULL},
        {"ArgMax", DTYPE_I64, 0, NULL},
        {"ArgMin", DTYPE_I64, 0, NULL},
        {"NonZero", DTYPE_I64, 0, NULL},
        {"NonMaxSuppression", DTYPE_I64, 0, NULL},
        {"Equal", DTYPE_BOOL, 0, NULL},
        {"Less", DTYPE_BOOL, 0, NULL},
        {"Greater", DTYPE_BOOL, 0, NULL},
        {"LessOrEqual", DTYPE_BOOL, 0, NULL},
        {"GreaterOrEqual", DTYPE_BOOL, 0, NULL},
        {"IsNaN", DTYPE_BOOL, 0, NULL},
        {"IsInf", DTYPE_BOOL, 0, NULL},
        {"Cast", DTYPE_NONE, 0, "to"},
        {"RandomNormal", DTYPE_NONE, 0, "dtype"},
        {"RandomUniform", DTYPE_NONE, 0, "dtype"},
        {"Where", DTYPE_NONE, 1, NULL},
        {"CastLike", DTYPE_NONE, 1, NULL},
        {"OneHot", DTYPE_NONE, 2, NULL},
        {"DequantizeLinear", DTYPE_NONE, 1, NULL},
        {"MatMulInteger", DTYPE_I32, 0, NULL},
        {"ConvInteger", DTYPE_I32, 0, NULL},
        {"QLinearConv", DTYPE_NONE, 7, NULL},
        {"QLinearMatMul", DTYPE_NONE, 7, NULL},
    };
    if ((strcmp(def->name, "TopK") == 0 || strcmp(def->name, "MaxPool") == 0) && output == 1)
        return DTYPE_I64;
    if (strcmp(def->name, "QuantizeLinear") == 0) return count > 2 ? dtype_of(im, inputs[2]) : DTYPE_U8;
    if (strcmp(def->name, "ConstantOfShape") == 0) {
        const Attr *value = attr_find(attrs, "value");
        return value != NULL && value->kind == ATTR_TENSOR ? value->tensor->dtype : DTYPE_F32;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; ++i) {
        if (strcmp(rules[i].op, def->name) != 0) continue;
        const Attr *attr = rules[i].attribute == NULL ? NULL : attr_find(attrs, rules[i].attribute);
        if (attr != NULL && attr->kind == ATTR_INT && dtype_is_valid(attr->ints[0]))
            return (DType)attr->ints[0];
        if (rules[i].dtype != DTYPE_NONE) return rules[i].dtype;
        return rules[i].input < count ? dtype_of(im, inputs[rules[i].input]) : DTYPE_F32;
    }
    return count > 0 && inputs[0] != NONE ? dtype_of(im, inputs[0]) : DTYPE_F32;
}

/* -- ranks -- */

static bool is_one_of(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; ++i)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static bool keeps_rank(const OpDef *def) {
    static const char *const names[] = {
        "Identity",     "Dropout",         "Transpose", "Cast",          "CastLike",
        "Pad",          "Slice",           "Tile",      "Trilu",         "Concat",
        "Split",        "CumSum",          "Conv",      "ConvTranspose", "ConvInteger",
        "TopK",         "ReverseSequence", "LRN",       "QLinearConv",   "DepthToSpace",
        "SpaceToDepth", "ScatterElements", "ScatterND"};
    return def->op_class == OPCLASS_NORMALIZATION || def->op_class == OPCLASS_POOLING ||
           def->op_class == OPCLASS_QUANTIZATION || def->op_class == OPCLASS_RESAMPLING ||
           is_one_of(def->name, names, sizeof names / sizeof names[0]);
}

/* The largest rank of all inputs, -1 when one is unknown. */
static int32_t widest_input(const Importer *im, const Node *node) {
    int32_t widest = -1;
    for (int32_t i = 0; i < node->input_count; ++i) {
        int32_t rank = rank_of(im, node->inputs[i]);
        if (node->inputs[i] == NONE) continue;
        if (rank < 0) return -1;
        widest = rank > widest ? rank : widest;
    }
    return widest;
}

/* Elements of an input such as `axes` or `shape`; -1: unknown. */
static int32_t list_length(const Importer *im, const Node *node, int32_t input) {
    if (input >= node->input_count || node->inputs[input] == NONE) return -1;
    const Value *value = &im->graph->values[node->inputs[input]];
    if (value->has_shape && value->shape.rank == 1 && dim_is_exact(value->shape.dim[0]) &&
        value->shape.dim[0] <= SMELT_MAX_RANK)
        return (int32_t)value->shape.dim[0];
    if (value->producer == NONE) return -1;
    const Node *producer = &im->graph->nodes[value->producer];
    bool whole_shape = strcmp(op_def(producer->op)->name, "Shape") == 0 && producer->attrs.count == 0;
    return whole_shape ? rank_of(im, producer->inputs[0]) : -1;
}

static int32_t result_rank(const Importer *im, const Node *node) {
    const OpDef *def = op_def(node->op);
    int32_t first = node->input_count > 0 ? rank_of(im, node->inputs[0]) : -1;
    int32_t length = list_length(im, node, 1);
    if (def->op_class == OPCLASS_POINTWISE) return widest_input(im, node);
    if (keeps_rank(def)) return first;
    if (strcmp(def->name, "Flatten") == 0 || strcmp(def->name, "Gemm") == 0) return 2;
    if (strcmp(def->name, "Shape") == 0) return 1;
    if (strcmp(def->name, "Reshape") == 0) return length;
    if (strcmp(def->name, "ConstantOfShape") == 0) return list_length(im, node, 0);
    if (strcmp(def->name, "Unsqueeze") == 0) return first < 0 || length < 0 ? -1 : first + length;
    if (strcmp(def->name, "Squeeze") == 0) return length < 0 || first < length ? -1 : first - length;
    if (strcmp(def->name, "MatMul") == 0) {
        int32_t widest = widest_input(im, node);
        return rank_of(im, node->inputs[0]) < 2 || rank_of(im, node->inputs[1]) < 2 ? -1 : widest;
    }
    if (def->op_class != OPCLASS_REDUCTION) return -1;
    const Attr *keepdims = attr_find(&node->attrs, "keepdims");
    return keepdims == NULL || (keepdims->kind == ATTR_INT && keepdims->ints[0] != 0) ? first : -1;
}

Status guess_outputs(Importer *im, NodeId node) {
    const Node *row = &im->graph->nodes[node];
    const OpDef *def = op_def(row->op);
    if (def->op_class == OPCLASS_CONTROL) return STATUS_OK; /* what the model declares, if anything, stands */
    int32_t rank = result_rank(im, row);
    for (int32_t i = 0; i < row->output_count; ++i) {
        if (row->outputs[i] == NONE) continue;
        TRY(guess_set(im, row->outputs[i],
                      result_type(im, def, &row->attrs, row->input_count, row->inputs, i)));
        if (rank >= 0 && rank <= SMELT_MAX_RANK) TRY(guess_rank(im, row->outputs[i], rank));
    }
    return STATUS_OK;
}
