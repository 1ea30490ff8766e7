/* Attribute structs of the gathers and scatters. Axes are as in the model, possibly negative. */
#ifndef SMELT_OPS_INDEXING_H
#define SMELT_OPS_INDEXING_H

#include "ops/op.h"

/* Gather, GatherElements */
typedef struct GatherAttrs {
    int64_t axis;
} GatherAttrs;

typedef struct GatherNdAttrs {
    int32_t batch_dims;
} GatherNdAttrs;

typedef enum ScatterReduction {
    SCATTER_REPLACE,
    SCATTER_ADD,
    SCATTER_MUL,
    SCATTER_MAX,
    SCATTER_MIN
} ScatterReduction;

/* ScatterElements, ScatterND (axis unused) */
typedef struct ScatterAttrs {
    int64_t axis;
    ScatterReduction reduction;
} ScatterAttrs;

typedef struct TensorScatterAttrs {
    int64_t axis;
    bool circular;
} TensorScatterAttrs;

typedef struct CompressAttrs {
    bool has_axis; /* else the input counts as one flat run */
    int64_t axis;
} CompressAttrs;

/* Fails with BAD_DATA for the first index outside [-extent, extent). */
Status index_check(const Tensor *indices, int64_t extent, Diag *diag);

/* Indices that are tuples: the last dimension of `indices` addresses the dimensions [first, first + depth) of
 * data. Used by GatherND and ScatterND. */
typedef struct TupleIndex {
    const Tensor *indices;
    int64_t depth, count;           /* of a tuple; tuples */
    int64_t extent[SMELT_MAX_RANK]; /* of the addressed dimensions */
    int64_t stride[SMELT_MAX_RANK]; /* in elements of data */
} TupleIndex;
void tuple_index_init(TupleIndex *tuples, const Tensor *indices, const Tensor *data, int32_t first);
/* Checks every tuple: BAD_DATA with the index and extent. */
Status tuple_index_check(const TupleIndex *tuples, Diag *diag);
/* The element of data that tuple n addresses, relative to its batch. */
int64_t tuple_index_offset(const TupleIndex *tuples, int64_t n);

#endif
