/* Operators of reduce.def: reductions over axes. */
#ifndef SMELT_OPS_REDUCE_H
#define SMELT_OPS_REDUCE_H

#include "ops/op.h"

/* What the rows of reduce.def say. */
typedef enum ReduceSignature { REDUCE_EXACT, REDUCE_BOOLS, REDUCE_REAL } ReduceSignature;
typedef enum ReduceMerge {
    REDUCE_BY_SUM,
    REDUCE_BY_PRODUCT,
    REDUCE_BY_MAX,
    REDUCE_BY_MIN,
    REDUCE_BY_MAX_SUM
} ReduceMerge;

/* The struct that every reduction's parse makes, never NULL. The axes are input 1. */
typedef struct ReduceAttrs {
    OpId op;
    ReduceSignature signature;
    ReduceMerge merge;
    bool keepdims;
    bool noop_with_empty_axes; /* no axes: every element is a slice of its own; else all are one slice */
} ReduceAttrs;

#define REDUCE(id, ...) Status parse_##id(const ParseCtx *ctx, const void **attrs);
#include "ops/reduce.def"
#undef REDUCE
Status infer_reduce(InferCtx *ctx);
Status kernel_reduce(KernelCtx *ctx);

/* The OpDef of a row of reduce.def. */
#define REDUCE_ROW(id, name_, since_, signature_, half_, merge_, element_, result_)                          \
    {                                                                                                        \
        .name = (name_), .domain = "", .since = (since_), .min_in = 1, .max_in = 2, .min_out = 1,            \
        .max_out = 1, .op_class = OPCLASS_REDUCTION, .half = HALF_##half_,                                   \
        .flags = OPF_EPILOGUE | OPF_STRIDED | OPF_PROLOGUE, .parse = parse_##id, .infer = infer_reduce,      \
        .kernel = kernel_reduce, .scratch = NULL, .expression = #element_ " ; " #result_                     \
    }

#endif
