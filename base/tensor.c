#include "base/tensor.h"

#include <stdio.h>

#include "base/checked.h"

int64_t tensor_count(const Tensor *tensor) {
    return tensor_span(tensor, 0, tensor->rank);
}

size_t tensor_bytes(const Tensor *tensor) {
    size_t bytes = 0;
    return dtype_storage(tensor->dtype, tensor_count(tensor), &bytes) ? bytes : 0;
}

int64_t tensor_span(const Tensor *tensor, int32_t first, int32_t last) {
    int64_t count = 1;
    for (int32_t i = first; i < last; ++i) count *= tensor->dim[i];
    return count;
}

bool tensor_same_shape(const Tensor *a, const Tensor *b) {
    if (a->rank != b->rank) return false;
    for (int32_t i = 0; i < a->rank; ++i) {
        if (a->dim[i] != b->dim[i]) return false;
    }
    return true;
}

bool dims_storage(DType dtype, int32_t rank, const int64_t *dims, size_t *bytes) {
    int64_t most = 1;
    bool is_empty = false;
    for (int32_t i = 0; i < rank; ++i) {
        if (dims[i] < 0 || !checked_mul_i64(most, max_i64(dims[i], 1), &most)) return false;
        is_empty = is_empty || dims[i] == 0;
    }
    if (!dtype_storage(dtype, most, bytes) || *bytes > INT64_MAX) return false;
    if (is_empty) *bytes = 0;
    return true;
}

Status tensor_describe(Tensor *tensor, DType dtype, int32_t rank, const int64_t *dims, size_t limit,
                       Diag *diag) {
    *tensor = (Tensor){.dtype = dtype};
    if (!dtype_is_valid(dtype)) return FAIL(diag, STATUS_BAD_DATA, "unknown element type %d", (int)dtype);
    if (rank < 0 || rank > SMELT_MAX_RANK) {
        return FAIL(diag, STATUS_BAD_DATA, "rank %d is outside 0 to %d", (int)rank, SMELT_MAX_RANK);
    }
    for (int32_t i = 0; i < rank; ++i) {
        if (dims[i] < 0) {
            return FAIL(diag, STATUS_BAD_DATA, "dimension %d is negative (%lld)", (int)i, (long long)dims[i]);
        }
        tensor->dim[i] = dims[i];
    }
    tensor->rank = rank;
    size_t bytes;
    if (!dims_storage(dtype, rank, dims, &bytes))
        return FAIL(diag, STATUS_BAD_DATA, "the dimensions' product overflows");
    if (bytes > limit) {
        return FAIL(diag, STATUS_BAD_DATA, "%lld elements of %s exceed the limit of %zu bytes",
                    (long long)tensor_count(tensor), dtype_name(dtype), limit);
    }
    return STATUS_OK;
}

void tensor_format(const Tensor *tensor, char *buffer, size_t size) {
    int used = snprintf(buffer, size, "%s[", dtype_name(tensor->dtype));
    for (int32_t i = 0; i < tensor->rank && used >= 0 && (size_t)used < size; ++i) {
        used += snprintf(buffer + used, size - (size_t)used, "%s%lld", i == 0 ? "" : ",",
                         (long long)tensor->dim[i]);
    }
    if (used >= 0 && (size_t)used < size) snprintf(buffer + used, size - (size_t)used, "]");
}
