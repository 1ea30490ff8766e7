/* More ways to make the inputs of op_run.h: given values, exact noise, omitted ones. */
#ifndef SMELT_TESTS_OP_VALUES_H
#define SMELT_TESTS_OP_VALUES_H

#include "op_run.h"

/* A tensor of zeros. */
static inline Tensor *op_input(OpRun *run, DType dtype, int32_t rank, const int64_t *dims) {
    Tensor *tensor = &run->input[run->input_count];
    run->present[run->input_count++] = true;
    CHECK_OK(tensor_describe(tensor, dtype, rank, dims, (size_t)1 << 30, &run->diag), &run->diag);
    tensor->data = arena_alloc(&run->arena, tensor_bytes(tensor));
    return tensor;
}

static inline void op_omit(OpRun *run) {
    run->present[run->input_count++] = false;
}

/* A vector of the given values; a scalar where count is -1. */
static inline Tensor *op_values(OpRun *run, DType dtype, int64_t count, const double *values) {
    Tensor *tensor = op_input(run, dtype, count < 0 ? 0 : 1, &count);
    for (int64_t i = 0, n = tensor_count(tensor); i < n; ++i)
        dtype_store_f64(dtype, tensor->data, i, values[i]);
    return tensor;
}

/* Multiples of 1/64 in [low, high), which most types hold exactly. */
static inline Tensor *op_noise(OpRun *run, DType dtype, int32_t rank, const int64_t *dims, double low,
                               double high) {
    Tensor *tensor = op_input(run, dtype, rank, dims);
    for (int64_t i = 0, n = tensor_count(tensor); i < n; ++i)
        dtype_store_f64(dtype, tensor->data, i,
                        low + floor((high - low) * 64 * (op_run_random(run) / 2 + 0.5)) / 64);
    return tensor;
}

/* Runs the operator of that name. */
static inline Status op_run_name(OpRun *run, const char *name, int32_t outputs) {
    OpId id = op_find("", name);
    if (id == OP_NONE) return FAIL(&run->diag, STATUS_INTERNAL, "no operator %s", name);
    return op_run(run, id, outputs);
}

#endif
