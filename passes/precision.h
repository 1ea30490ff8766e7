/* What lower_precision is told. */
#ifndef SMELT_PASSES_PRECISION_H
#define SMELT_PASSES_PRECISION_H

#include "passes/pass.h"

typedef struct PrecisionOptions {
    DType half;     /* the narrow type: DTYPE_F16 or DTYPE_BF16 */
    bool lower;     /* nodes compute in the narrow type where that is safe */
    bool tf32;      /* contractions of f32 tensors may round their operands to TF32 */
    bool narrow_io; /* f32 inputs and outputs of the graph become narrow; else they keep their types */
    /* Names of nodes as the user knows them, or of operators, with * and ?. */
    const char *const *keep, *const *force;
    int32_t keep_count, force_count;
    /* Calibration: sample_count sets of one tensor for each graph input, in order. */
    const Tensor *samples;
    int32_t sample_count;
    int64_t most_work; /* no calibration where one run takes more (graph_work) */
    /* Largest error of a node, relative to the largest magnitude of its result, that rounding its operands
     * may cause; 0: PRECISION_TOLERANCE units of the type's rounding error. */
    double tolerance;
} PrecisionOptions;

enum { PRECISION_TOLERANCE = 32 };

/* Multiply-adds of the main block, or pairs of other operations, at the symbols' opt values. */
int64_t graph_work(const Graph *graph);
/* The host runs the graph on the samples: there are some, and it is not too much work. */
bool precision_calibrates(const Graph *graph, const PrecisionOptions *options);

#endif
