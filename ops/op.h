/* What an operator means, without graph, protobuf or CUDA: the table of operators and the three functions of
 * each.
 *
 * A row of ops.def, pointwise.def or reduce.def states everything about an operator once; this header and
 * op.c expand the rows into the enum, the prototypes (a missing function is a link error) and the table.
 * Operators have the meaning of their newest opset (frontend/opset.c rewrites older forms). */
#ifndef SMELT_OPS_OP_H
#define SMELT_OPS_OP_H

#include "base/log.h"
#include "base/parallel.h"
#include "ops/attr.h"

/* What a later stage needs to know to treat a whole family alike. */
typedef enum OpClass {
    OPCLASS_POINTWISE,     /* one expression per element, broadcasting */
    OPCLASS_REDUCTION,     /* over axes */
    OPCLASS_CONTRACTION,   /* convolutions, matrix products */
    OPCLASS_NORMALIZATION, /* softmax and layer norms: reduction, then pointwise with its result */
    OPCLASS_POOLING,
    OPCLASS_MOVEMENT, /* every output element is a copy of one input element or a constant, chosen by index
                         alone */
    OPCLASS_INDEXING, /* gathers and scatters by data */
    OPCLASS_RESAMPLING,
    OPCLASS_SORTING, /* top-k, arg-reductions, unique, non-zero, suppression: order or size depends on data */
    OPCLASS_RECURRENT,
    OPCLASS_QUANTIZATION,
    OPCLASS_GENERATOR, /* outputs that depend on shapes and attributes only */
    OPCLASS_CONTROL,   /* has body graphs */
    OPCLASS_OTHER
} OpClass;

/* The precision rule, a column of the tables. */
typedef enum HalfRule {
    HALF_OK,    /* may compute in f16 */
    HALF_ACC32, /* f16 in and out, f32 inside */
    HALF_NEVER, /* keeps f32 */
    HALF_MOVES  /* copies: follows its input */
} HalfRule;

enum {
    OPF_NONE = 0,
    OPF_VARIADIC = 1, /* the last input repeats up to max_in */
    OPF_COMMUTES = 2, /* input 0 and 1 may be swapped */
    OPF_VIEW = 4,     /* output 0 is input 0's bytes under another shape */
    OPF_IN_PLACE = 8, /* output 0 may overwrite an input of the same byte size: each element is read before it
                         is written */
    OPF_LATE_SIZE = 16, /* output sizes depend on data even when every input value is known beforehand: the
                           kernel allocates */
    OPF_RANDOM = 32,    /* never folded or merged */
    OPF_SHAPE_VALUES =
        64, /* moves elements without looking at them: run on symbolic contents to propagate shapes */
    OPF_NO_FOLD = 128, /* not evaluated at build time */
    OPF_STRIDED = 256, /* kernels for GPUs read and write all its tensors through strides: in any layout, and
                          slices of larger ones. Pointwise operators all do. */
    /* What fusions ask. */
    OPF_ELEMENTS = 512,  /* element i of the result comes from element i of input 0, the other inputs are
                            parameters; pointwise operators all do so, of all inputs, broadcast */
    OPF_PERMUTES = 1024, /* every element of input 0 goes to one place of output 0, by attributes alone */
    OPF_EPILOGUE = 2048, /* kernels for GPUs give each element of output 0 to the nodes behind */
    OPF_PROLOGUE = 4096, /* they take each element of input 0 from the nodes in front */
    OPF_SELECTS =
        8192 /* an element of output 0 is one of input 0, which its place says, or an index tensor */
};

typedef enum OpId {
    OP_NONE = 0,
#define OP(id, ...) OP_##id,
#include "ops/ops.def"
#undef OP
#define POINTWISE(id, ...) OP_##id,
#include "ops/pointwise.def"
#undef POINTWISE
#define REDUCE(id, ...) OP_##id,
#include "ops/reduce.def"
#undef REDUCE
    OP_COUNT
} OpId;

/* One operand during inference. */
typedef struct TypeInfo {
    DType dtype;
    Shape shape;
    const void *data;   /* the elements where they are known (constant, or running), else NULL */
    const Dim *content; /* integer tensors of few elements: each element as a Dim, else NULL */
} TypeInfo;

typedef struct InferCtx {
    const void *attrs; /* the operator's struct, from its parse */
    int32_t input_count, output_count;
    const TypeInfo *const *inputs; /* NULL where an optional input is omitted */
    TypeInfo *outputs;             /* zeroed; infer sets dtype and shape (and may set content, in arena) */
    DimTable *dims;
    Arena *arena;
    Diag *diag;
} InferCtx;

/* What host kernels run on; one per context. */
typedef struct Host {
    ThreadPool *pool; /* NULL: the calling thread alone */
    void *scratch;    /* at least what the kernel's scratch function asked for, 64-byte aligned; contents
                         undefined */
    size_t scratch_size;
} Host;

struct KernelCtx;
/* Runs a body (of If, Loop, Scan): inputs are bound to the body's parameters; *outputs receives tensors that
 * stay valid until the next call with the same body, which may get them as inputs, in any order. Bodies use
 * host->scratch: a control-flow operator's own is not shared with them. Provided by whoever executes. */
typedef Status (*RunBody)(void *executor, int32_t body, int32_t input_count, const Tensor *inputs,
                          int32_t output_count, Tensor *outputs, Diag *diag);

typedef struct KernelCtx {
    const void *attrs;
    int32_t input_count, output_count;
    const Tensor *const *inputs; /* NULL where omitted */
    /* NULL where the output is not wanted. Dims and memory are set, except for outputs whose dims inference
     * left late: those come with data NULL and the kernel calls kernel_output. */
    Tensor *const *outputs;
    Host *host;
    /* Gives output i its dims and memory; provided by whoever executes. */
    Status (*allocate)(struct KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims);
    RunBody run_body;
    void *executor;
    Diag *diag;
} KernelCtx;

/* Sets dims and memory of an output whose size only the kernel knows; the dtype is already set. A kernel may
 * call it again for the same output: the bytes that were there stay, as many as both sizes have. */
static inline Status kernel_output(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims) {
    return ctx->allocate(ctx, index, rank, dims);
}

typedef struct ParseCtx {
    const AttrList *list;
    int32_t input_count, output_count; /* as written on the node, trailing omitted ones cut */
    uint64_t inputs_present;           /* bit i: input i is there */
    Arena *arena;                      /* owns the struct */
    Diag *diag;
} ParseCtx;

/* Validates the attributes and returns the operator's own struct (NULL for operators without attributes). */
typedef Status (*OpParse)(const ParseCtx *ctx, const void **attrs);
/* Output dtypes and shapes from input types. Fails with BAD_MODEL (BAD_DATA wording is the caller's) for
 * inputs that do not fit. */
typedef Status (*OpInfer)(InferCtx *ctx);
/* The host kernel. Inputs have passed infer. */
typedef Status (*OpKernel)(KernelCtx *ctx);
/* Bytes of scratch that the kernel needs for these shapes (data may be NULL). NULL function: none. */
typedef size_t (*OpScratch)(const KernelCtx *ctx);

typedef struct OpDef {
    const char *name;   /* as in ONNX */
    const char *domain; /* "" for ai.onnx */
    int16_t since;      /* the opset whose meaning this is */
    int16_t min_in, max_in, min_out, max_out;
    OpClass op_class;
    HalfRule half;
    uint32_t flags;
    OpParse parse;
    OpInfer infer;
    OpKernel kernel;
    OpScratch scratch;
    const char *expression; /* pointwise and reductions: the expression's text, for generators; else NULL */
} OpDef;

const OpDef *op_def(OpId id);                       /* id in (OP_NONE, OP_COUNT) */
OpId op_find(const char *domain, const char *name); /* OP_NONE when unknown; "ai.onnx" = "" */
const char *op_class_name(OpClass op_class);

/* Checks counts and required inputs against the table, then parses. The same call serves importer, IR parser
 * and plan loader. */
Status op_parse(OpId id, const ParseCtx *ctx, const void **attrs);
/* Runs infer after checking input presence; adds nothing about the node (the caller's diag_context does). */
Status op_infer(OpId id, InferCtx *ctx);

#endif
