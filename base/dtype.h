/* Element types: ONNX's numbers, names, sizes, and conversion of single elements and runs. */
#ifndef SMELT_BASE_DTYPE_H
#define SMELT_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are those of ONNX's TensorProto.DataType. */
typedef enum DType {
    DTYPE_NONE = 0,
#define DTYPE(id, number, name, bits, kind) DTYPE_##id = number,
#include "base/dtype.def"
#undef DTYPE
    DTYPE_COUNT = 27
} DType;

typedef enum DTypeKind {
    DTYPE_KIND_OTHER,
    DTYPE_KIND_FLOAT,
    DTYPE_KIND_SIGNED,
    DTYPE_KIND_UNSIGNED,
    DTYPE_KIND_BOOL
} DTypeKind;

bool dtype_is_valid(int64_t number);     /* names a row of dtype.def */
const char *dtype_name(DType dtype);     /* "f32"; "none" for DTYPE_NONE or an invalid number */
DType dtype_from_name(const char *name); /* DTYPE_NONE when unknown */
DTypeKind dtype_kind(DType dtype);
int dtype_bits(DType dtype);
static inline bool dtype_is_float(DType dtype) {
    return dtype_kind(dtype) == DTYPE_KIND_FLOAT;
}
/* f16, bf16 */
static inline bool dtype_is_half(DType dtype) {
    return dtype_is_float(dtype) && dtype_bits(dtype) == 16;
}
/* signed, unsigned */
static inline bool dtype_is_integer(DType dtype) {
    return dtype_kind(dtype) == DTYPE_KIND_SIGNED || dtype_kind(dtype) == DTYPE_KIND_UNSIGNED;
}

/* Bytes of count elements (sub-byte types packed, low bits first, as ONNX stores them). False: overflow or
 * count < 0. */
bool dtype_storage(DType dtype, int64_t count, size_t *bytes);

/* One element as double or int64 and back. Loading a float as int64 truncates towards zero and saturates.
 * Storing rounds to nearest even, to integers too (for C's conversion, truncate first); integers wrap on
 * dtype_store_i64 and saturate (NaN becomes 0) on dtype_store_f64; bool stores value != 0. f8 kinds saturate.
 * Each value is rounded once. index counts elements. Types of kind OTHER read as 0 and are not written. */
double dtype_load_f64(DType dtype, const void *data, int64_t index);
int64_t dtype_load_i64(DType dtype, const void *data, int64_t index);
void dtype_store_f64(DType dtype, void *data, int64_t index, double value);
void dtype_store_i64(DType dtype, void *data, int64_t index, int64_t value);

/* Runs of elements to and from f32/f64/i64, vectorised for the common types; any dtype with a numeric kind.
 * first counts elements of data. */
void dtype_read_f32(DType dtype, const void *data, int64_t first, int64_t count, float *out);
void dtype_write_f32(DType dtype, void *data, int64_t first, int64_t count, const float *in);
void dtype_read_f64(DType dtype, const void *data, int64_t first, int64_t count, double *out);
void dtype_write_f64(DType dtype, void *data, int64_t first, int64_t count, const double *in);
void dtype_read_i64(DType dtype, const void *data, int64_t first, int64_t count, int64_t *out);
void dtype_write_i64(DType dtype, void *data, int64_t first, int64_t count, const int64_t *in);

#endif
