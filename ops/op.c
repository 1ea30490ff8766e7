#include "ops/op.h"

#include <string.h>

#include "ops/pointwise.h"
#include "ops/reduce.h"

/* Prototypes of every row: a function that is missing is a link error. */
#define OP(id, ...)                                                                                          \
    Status parse_##id(const ParseCtx *ctx, const void **attrs);                                              \
    Status infer_##id(InferCtx *ctx);                                                                        \
    Status kernel_##id(KernelCtx *ctx);                                                                      \
    size_t scratch_##id(const KernelCtx *ctx);
#include "ops/ops.def"
#undef OP

#define SCRATCH_YES(id) scratch_##id
#define SCRATCH_NO(id)  NULL

static const OpDef op_table[OP_COUNT] = {
#define OP(id, name_, domain_, since_, min_in_, max_in_, min_out_, max_out_, class_, half_, flags_,          \
           scratch_)                                                                                         \
    [OP_##id] = {.name = (name_),                                                                            \
                 .domain = (domain_),                                                                        \
                 .since = (since_),                                                                          \
                 .min_in = (min_in_),                                                                        \
                 .max_in = (max_in_),                                                                        \
                 .min_out = (min_out_),                                                                      \
                 .max_out = (max_out_),                                                                      \
                 .op_class = OPCLASS_##class_,                                                               \
                 .half = HALF_##half_,                                                                       \
                 .flags = (flags_),                                                                          \
                 .parse = parse_##id,                                                                        \
                 .infer = infer_##id,                                                                        \
                 .kernel = kernel_##id,                                                                      \
                 .scratch = SCRATCH_##scratch_(id)},
#include "ops/ops.def"
#undef OP
#define POINTWISE(id, ...) [OP_##id] = POINTWISE_ROW(id, __VA_ARGS__),
#include "ops/pointwise.def"
#undef POINTWISE
#define REDUCE(id, ...) [OP_##id] = REDUCE_ROW(id, __VA_ARGS__),
#include "ops/reduce.def"
#undef REDUCE
};

const OpDef *op_def(OpId id) {
    return &op_table[id];
}

OpId op_find(const char *domain, const char *name) {
    if (strcmp(domain, "ai.onnx") == 0) domain = "";
    for (int id = OP_NONE + 1; id < OP_COUNT; ++id)
        if (strcmp(op_table[id].name, name) == 0 && strcmp(op_table[id].domain, domain) == 0) return (OpId)id;
    return OP_NONE;
}

const char *op_class_name(OpClass op_class) {
    static const char *const names[] = {
        [OPCLASS_POINTWISE] = "pointwise",       [OPCLASS_REDUCTION] = "reduction",
        [OPCLASS_CONTRACTION] = "contraction",   [OPCLASS_NORMALIZATION] = "normalization",
        [OPCLASS_POOLING] = "pooling",           [OPCLASS_MOVEMENT] = "movement",
        [OPCLASS_INDEXING] = "indexing",         [OPCLASS_RESAMPLING] = "resampling",
        [OPCLASS_SORTING] = "sorting",           [OPCLASS_RECURRENT] = "recurrent",
        [OPCLASS_QUANTIZATION] = "quantization", [OPCLASS_GENERATOR] = "generator",
        [OPCLASS_CONTROL] = "control",           [OPCLASS_OTHER] = "other",
    };
    return names[op_class];
}

static Status check_count(Diag *diag, const char *what, int32_t count, int32_t low, int32_t high) {
    if (count >= low && count <= high) return STATUS_OK;
    if (low == high) return FAIL(diag, STATUS_BAD_MODEL, "%d %s, expected %d", count, what, low);
    return FAIL(diag, STATUS_BAD_MODEL, "%d %s, expected %d to %d", count, what, low, high);
}

Status op_parse(OpId id, const ParseCtx *ctx, const void **attrs) {
    const OpDef *def = op_def(id);
    TRY(check_count(ctx->diag, "inputs", ctx->input_count, def->min_in, def->max_in));
    TRY(check_count(ctx->diag, "outputs", ctx->output_count, def->min_out, def->max_out));
    for (int32_t i = 0; i < def->min_in && i < 64; ++i)
        if ((ctx->inputs_present >> i & 1) == 0)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "required input %d is omitted", i);
    return def->parse(ctx, attrs);
}

/* What elements an input must have where the operator's own inference does not ask: a letter for each input,
 * r(eal), i(nteger), n(umber: either), q(uantized: integers and f8), b(ool), or . for any. */
static const char *const input_kinds[OP_COUNT] = {
    [OP_QLinearConv] = "iriiririi",
    [OP_QLinearMatMul] = "qrqqrqrq",
    [OP_ConvInteger] = "iiii",
    [OP_MatMulInteger] = "iiii",
    [OP_RoiAlign] = "rri",
    [OP_NonMaxSuppression] = "rrirr",
    [OP_Trilu] = ".i",
    [OP_Slice] = ".iiii",
    [OP_ReverseSequence] = ".i",
    [OP_OneHot] = "nn.",
    [OP_TopK] = "ni",
    [OP_CenterCropPad] = ".i",
    [OP_ArgMax] = "n",
    [OP_ArgMin] = "n",
    [OP_CumSum] = "ni",
    [OP_CumProd] = "ni",
    [OP_TensorScatter] = "..i",
    [OP_DFT] = "rii",
    [OP_STFT] = "riri",
    [OP_HannWindow] = "i",
    [OP_HammingWindow] = "i",
    [OP_BlackmanWindow] = "i",
    [OP_MelWeightMatrix] = "iiirr",
    [OP_Dropout] = "rrb",
    [OP_Resize] = ".rri",
    [OP_AffineGrid] = "ri",
    [OP_RotaryEmbedding] = "rrri",
#define REDUCE(id, ...) [OP_##id] = ".i",
#include "ops/reduce.def"
#undef REDUCE
};

static bool is_of_kind(DType dtype, char kind) {
    if (kind == 'r') return dtype_is_float(dtype);
    if (kind == 'i') return dtype_is_integer(dtype);
    if (kind == 'q') return dtype_is_integer(dtype) || (dtype_is_float(dtype) && dtype_bits(dtype) == 8);
    if (kind == 'n') return dtype_is_float(dtype) || dtype_is_integer(dtype);
    return kind == '.' || dtype == DTYPE_BOOL;
}

static Status check_kinds(const InferCtx *ctx, const char *kinds) {
    for (int32_t i = 0; kinds != NULL && kinds[i] != '\0' && i < ctx->input_count; ++i) {
        if (ctx->inputs[i] == NULL || is_of_kind(ctx->inputs[i]->dtype, kinds[i])) continue;
        const char *expected = kinds[i] == 'r'                      ? "reals"
                               : kinds[i] == 'i' || kinds[i] == 'q' ? "integers"
                               : kinds[i] == 'n'                    ? "numbers"
                                                                    : "truth values";
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected %s", i,
                    dtype_name(ctx->inputs[i]->dtype), expected);
    }
    return STATUS_OK;
}

Status op_infer(OpId id, InferCtx *ctx) {
    const OpDef *def = op_def(id);
    for (int32_t i = 0; i < def->min_in; ++i)
        if (i >= ctx->input_count || ctx->inputs[i] == NULL)
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "required input %d is omitted", i);
    TRY(check_kinds(ctx, input_kinds[id]));
    TRY(def->infer(ctx));
    return dim_table_check(ctx->dims, STATUS_BAD_MODEL, "a dimension of its output overflows 64 bits",
                           ctx->diag);
}
