/* Conversion between elements of every numeric type and f32, f64 and i64.
 *
 * Types whose elements are C numbers are rows of PLAIN_TYPES, from which the cases below are made; the others
 * (f16, bf16, 8-bit and packed types) go through their own code first. */
#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "base/half.h"
#include "base/simd.h"

/* X(dtype, C type, its limits, the largest double in its range) */
#define SMALL_INTEGERS(X)                                                                                    \
    X(U8, uint8_t, 0, UINT8_MAX, 0xffp0)                                                                     \
    X(I8, int8_t, INT8_MIN, INT8_MAX, 0x7fp0)                                                                \
    X(U16, uint16_t, 0, UINT16_MAX, 0xffffp0)                                                                \
    X(I16, int16_t, INT16_MIN, INT16_MAX, 0x7fffp0)
#define LARGE_INTEGERS(X)                                                                                    \
    X(U32, uint32_t, 0, UINT32_MAX, 0xffffffffp0)                                                            \
    X(I32, int32_t, INT32_MIN, INT32_MAX, 0x7fffffffp0)                                                      \
    X(U64, uint64_t, 0, UINT64_MAX, 0x1.fffffffffffffp63)                                                    \
    X(I64, int64_t, INT64_MIN, INT64_MAX, 0x1.fffffffffffffp62)
#define PLAIN_INTEGERS(X) SMALL_INTEGERS(X) LARGE_INTEGERS(X)

/* Rounds to the nearest integer, half to even, saturating; NaN becomes 0. top: the largest Real in range. The
 * conversion is always in range, so that loops over it need no branch. */
#define DEFINE_ROUND_FROM(name, Real, round, type, low, high, top)                                           \
    static inline type name(Real value) {                                                                    \
        Real rounded = round(value);                                                                         \
        Real inside = rounded < (Real)(low) ? (Real)(low) : rounded;                                         \
        inside = inside > (Real)(top) ? (Real)(top) : inside;                                                \
        type result = (type)(inside == inside ? inside : 0);                                                 \
        return rounded > (Real)(top) ? (high) : result;                                                      \
    }

/* to_U8 ... to_I64 */
#define DEFINE_ROUND(id, type, low, high, top) DEFINE_ROUND_FROM(to_##id, double, rint, type, low, high, top)
PLAIN_INTEGERS(DEFINE_ROUND)
#undef DEFINE_ROUND

/* The same from f32 for types whose limits are floats: the form that vectorises. */
#define DEFINE_ROUND_F32(id, type, low, high, top)                                                           \
    static inline type f32_to_##id(float value) {                                                            \
        float rounded = rintf(value);                                                                        \
        rounded = rounded < (float)(low) ? (float)(low) : rounded;                                           \
        rounded = rounded > (float)(top) ? (float)(top) : rounded;                                           \
        rounded = rounded == rounded ? rounded : 0;                                                          \
        return (type)(int32_t)rounded;                                                                       \
    }
SMALL_INTEGERS(DEFINE_ROUND_F32)
#undef DEFINE_ROUND_F32

/* And for the others. */
DEFINE_ROUND_FROM(f32_to_U32, float, rintf, uint32_t, 0, UINT32_MAX, 0x1.fffffep31)
DEFINE_ROUND_FROM(f32_to_I32, float, rintf, int32_t, INT32_MIN, INT32_MAX, 0x1.fffffep30)
DEFINE_ROUND_FROM(f32_to_U64, float, rintf, uint64_t, 0, UINT64_MAX, 0x1.fffffep63)
DEFINE_ROUND_FROM(f32_to_I64, float, rintf, int64_t, INT64_MIN, INT64_MAX, 0x1.fffffep62)

/* Sub-byte elements: low bits first. */
static unsigned packed_get(const void *data, int64_t index, unsigned bits) {
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)(index % per_byte) * bits;
    return (unsigned)((const uint8_t *)data)[index / per_byte] >> shift & ((1u << bits) - 1);
}

static void packed_set(void *data, int64_t index, unsigned bits, unsigned code) {
    unsigned per_byte = 8 / bits;
    unsigned shift = (unsigned)(index % per_byte) * bits;
    unsigned mask = ((1u << bits) - 1) << shift;
    uint8_t *byte = (uint8_t *)data + index / per_byte;
    *byte = (uint8_t)((*byte & ~mask) | (code << shift & mask));
}

/* The integer of a two's complement or unsigned field. */
static int64_t packed_integer(DType dtype, const void *data, int64_t index) {
    unsigned bits = (unsigned)dtype_bits(dtype);
    int64_t code = packed_get(data, index, bits);
    bool negative = dtype_kind(dtype) == DTYPE_KIND_SIGNED && code >> (bits - 1) != 0;
    return negative ? code - ((int64_t)1 << bits) : code;
}

static void packed_store_rounded(DType dtype, void *data, int64_t index, double value) {
    int bits = dtype_bits(dtype);
    bool is_signed = dtype_kind(dtype) == DTYPE_KIND_SIGNED;
    int low = is_signed ? -(1 << (bits - 1)) : 0;
    int high = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    int rounded = to_I8(value);
    rounded = rounded < low ? low : rounded > high ? high : rounded;
    packed_set(data, index, (unsigned)bits, (unsigned)rounded);
}

/* An integer as the nearest double, or one that is odd in its last bit where that is inexact, so that
 * rounding it once more to a float type is exact (see float_odd_from_double). */
static double double_odd_from_i64(int64_t value) {
    uint64_t magnitude = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    if (magnitude >> 53 != 0 && (magnitude & 0x7ff) != 0) {
        magnitude = (magnitude & ~(uint64_t)0x7ff) | 0x800;
    }
    return value < 0 ? -(double)magnitude : (double)magnitude;
}

double dtype_load_f64(DType dtype, const void *data, int64_t index) {
    switch (dtype) {
#define LOAD(id, type, low, high, top)                                                                       \
    case DTYPE_##id:                                                                                         \
        return (double)((const type *)data)[index];
        PLAIN_INTEGERS(LOAD)
#undef LOAD
    case DTYPE_F32:
        return (double)((const float *)data)[index];
    case DTYPE_F64:
        return ((const double *)data)[index];
    case DTYPE_BOOL:
        return ((const uint8_t *)data)[index] != 0;
    case DTYPE_F16:
        return (double)half_to_float(((const uint16_t *)data)[index]);
    case DTYPE_BF16:
        return (double)bf16_to_float(((const uint16_t *)data)[index]);
    case DTYPE_F8E4M3FN:
    case DTYPE_F8E4M3FNUZ:
    case DTYPE_F8E5M2:
    case DTYPE_F8E5M2FNUZ:
    case DTYPE_F8E8M0:
        return (double)minifloat_to_float(dtype, ((const uint8_t *)data)[index]);
    case DTYPE_F4E2M1:
        return (double)minifloat_to_float(dtype, (uint8_t)packed_get(data, index, 4));
    case DTYPE_U4:
    case DTYPE_I4:
    case DTYPE_U2:
    case DTYPE_I2:
        return (double)packed_integer(dtype, data, index);
    default:
        return 0;
    }
}

int64_t dtype_load_i64(DType dtype, const void *data, int64_t index) {
    switch (dtype) {
#define LOAD(id, type, low, high, top)                                                                       \
    case DTYPE_##id:                                                                                         \
        return (int64_t)((const type *)data)[index];
        PLAIN_INTEGERS(LOAD)
#undef LOAD
    case DTYPE_BOOL:
        return ((const uint8_t *)data)[index] != 0;
    case DTYPE_U4:
    case DTYPE_I4:
    case DTYPE_U2:
    case DTYPE_I2:
        return packed_integer(dtype, data, index);
    default:
        return to_I64(trunc(dtype_load_f64(dtype, data, index)));
    }
}

void dtype_store_f64(DType dtype, void *data, int64_t index, double value) {
    switch (dtype) {
#define STORE(id, type, low, high, top)                                                                      \
    case DTYPE_##id:                                                                                         \
        ((type *)data)[index] = to_##id(value);                                                              \
        break;
        PLAIN_INTEGERS(STORE)
#undef STORE
    case DTYPE_F32:
        ((float *)data)[index] = (float)value;
        break;
    case DTYPE_F64:
        ((double *)data)[index] = value;
        break;
    case DTYPE_BOOL:
        ((uint8_t *)data)[index] = value != 0;
        break;
    case DTYPE_F16:
        ((uint16_t *)data)[index] = half_from_double(value);
        break;
    case DTYPE_BF16:
        ((uint16_t *)data)[index] = bf16_from_float(float_odd_from_double(value));
        break;
    case DTYPE_F8E4M3FN:
    case DTYPE_F8E4M3FNUZ:
    case DTYPE_F8E5M2:
    case DTYPE_F8E5M2FNUZ:
    case DTYPE_F8E8M0:
        ((uint8_t *)data)[index] = minifloat_from_float(dtype, float_odd_from_double(value), true);
        break;
    case DTYPE_F4E2M1:
        packed_set(data, index, 4, minifloat_from_float(dtype, float_odd_from_double(value), true));
        break;
    case DTYPE_U4:
    case DTYPE_I4:
    case DTYPE_U2:
    case DTYPE_I2:
        packed_store_rounded(dtype, data, index, value);
        break;
    default:
        break;
    }
}

void dtype_store_i64(DType dtype, void *data, int64_t index, int64_t value) {
    switch (dtype) {
#define STORE(id, type, low, high, top)                                                                      \
    case DTYPE_##id:                                                                                         \
        ((type *)data)[index] = (type)value;                                                                 \
        break;
        PLAIN_INTEGERS(STORE)
#undef STORE
    case DTYPE_F64:
        ((double *)data)[index] = (double)value;
        break;
    case DTYPE_BOOL:
        ((uint8_t *)data)[index] = value != 0;
        break;
    case DTYPE_U4:
    case DTYPE_I4:
    case DTYPE_U2:
    case DTYPE_I2:
        packed_set(data, index, (unsigned)dtype_bits(dtype), (unsigned)value);
        break;
    default:
        dtype_store_f64(dtype, data, index, double_odd_from_i64(value));
        break;
    }
}

/* Runs. Loops over plain C numbers vectorise; everything else goes element by element. */

static SIMD_CLONES void read_f32(DType dtype, const void *data, int64_t first, int64_t count,
                                 float *restrict out) {
    switch (dtype) {
#define READ(id, type, low, high, top)                                                                       \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) out[i] = (float)((const type *)data)[first + i];                 \
        break;
        PLAIN_INTEGERS(READ)
#undef READ
    case DTYPE_F32:
        if (count > 0) memcpy(out, (const float *)data + first, (size_t)count * sizeof *out);
        break;
    case DTYPE_F64:
        for (int64_t i = 0; i < count; ++i) out[i] = (float)((const double *)data)[first + i];
        break;
    case DTYPE_BOOL:
        for (int64_t i = 0; i < count; ++i) out[i] = ((const uint8_t *)data)[first + i] != 0 ? 1.0f : 0.0f;
        break;
    case DTYPE_F16:
        half_to_float_run((const uint16_t *)data + first, count, out);
        break;
    case DTYPE_BF16:
        bf16_to_float_run((const uint16_t *)data + first, count, out);
        break;
    default:
        for (int64_t i = 0; i < count; ++i) out[i] = (float)dtype_load_f64(dtype, data, first + i);
        break;
    }
}

static SIMD_CLONES void write_f32(DType dtype, void *data, int64_t first, int64_t count,
                                  const float *restrict in) {
    switch (dtype) {
#define WRITE(id, type, low, high, top)                                                                      \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) ((type *)data)[first + i] = f32_to_##id(in[i]);                  \
        break;
        PLAIN_INTEGERS(WRITE)
#undef WRITE
    case DTYPE_F32:
        if (count > 0) memcpy((float *)data + first, in, (size_t)count * sizeof *in);
        break;
    case DTYPE_F64:
        for (int64_t i = 0; i < count; ++i) ((double *)data)[first + i] = (double)in[i];
        break;
    case DTYPE_BOOL:
        for (int64_t i = 0; i < count; ++i) ((uint8_t *)data)[first + i] = in[i] != 0;
        break;
    case DTYPE_F16:
        half_from_float_run(in, count, (uint16_t *)data + first);
        break;
    case DTYPE_BF16:
        bf16_from_float_run(in, count, (uint16_t *)data + first);
        break;
    default:
        for (int64_t i = 0; i < count; ++i) dtype_store_f64(dtype, data, first + i, (double)in[i]);
        break;
    }
}

void dtype_read_f32(DType dtype, const void *data, int64_t first, int64_t count, float *restrict out) {
    read_f32(dtype, data, first, count, out);
}

void dtype_write_f32(DType dtype, void *data, int64_t first, int64_t count, const float *restrict in) {
    write_f32(dtype, data, first, count, in);
}

static SIMD_CLONES void read_f64(DType dtype, const void *data, int64_t first, int64_t count,
                                 double *restrict out) {
    switch (dtype) {
#define READ(id, type, low, high, top)                                                                       \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) out[i] = (double)((const type *)data)[first + i];                \
        break;
        PLAIN_INTEGERS(READ)
#undef READ
    case DTYPE_F32:
        for (int64_t i = 0; i < count; ++i) out[i] = (double)((const float *)data)[first + i];
        break;
    case DTYPE_F64:
        if (count > 0) memcpy(out, (const double *)data + first, (size_t)count * sizeof *out);
        break;
    case DTYPE_BOOL:
        for (int64_t i = 0; i < count; ++i) out[i] = ((const uint8_t *)data)[first + i] != 0 ? 1.0 : 0.0;
        break;
    default:
        for (int64_t i = 0; i < count; ++i) out[i] = dtype_load_f64(dtype, data, first + i);
        break;
    }
}

/* By way of f32, which holds every value of 16-bit floats. */
static void read_halves(DType dtype, const void *data, int64_t first, int64_t count, double *restrict out) {
    float block[256];
    for (int64_t done = 0, length; done < count; done += length) {
        length = count - done < 256 ? count - done : 256;
        read_f32(dtype, data, first + done, length, block);
        read_f64(DTYPE_F32, block, 0, length, out + done);
    }
}

void dtype_read_f64(DType dtype, const void *data, int64_t first, int64_t count, double *restrict out) {
    if (dtype_is_half(dtype))
        read_halves(dtype, data, first, count, out);
    else
        read_f64(dtype, data, first, count, out);
}

static SIMD_CLONES void write_f64(DType dtype, void *data, int64_t first, int64_t count,
                                  const double *restrict in) {
    switch (dtype) {
    case DTYPE_F32:
        for (int64_t i = 0; i < count; ++i) ((float *)data)[first + i] = (float)in[i];
        break;
    case DTYPE_F64:
        if (count > 0) memcpy((double *)data + first, in, (size_t)count * sizeof *in);
        break;
#define WRITE(id, type, low, high, top)                                                                      \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) ((type *)data)[first + i] = to_##id(in[i]);                      \
        break;
        PLAIN_INTEGERS(WRITE)
#undef WRITE
    default:
        for (int64_t i = 0; i < count; ++i) dtype_store_f64(dtype, data, first + i, in[i]);
        break;
    }
}

void dtype_write_f64(DType dtype, void *data, int64_t first, int64_t count, const double *restrict in) {
    write_f64(dtype, data, first, count, in);
}

static SIMD_CLONES void read_i64(DType dtype, const void *data, int64_t first, int64_t count,
                                 int64_t *restrict out) {
    switch (dtype) {
#define READ(id, type, low, high, top)                                                                       \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) out[i] = (int64_t)((const type *)data)[first + i];               \
        break;
        PLAIN_INTEGERS(READ)
#undef READ
    case DTYPE_BOOL:
        for (int64_t i = 0; i < count; ++i) out[i] = ((const uint8_t *)data)[first + i] != 0;
        break;
    default:
        for (int64_t i = 0; i < count; ++i) out[i] = dtype_load_i64(dtype, data, first + i);
        break;
    }
}

void dtype_read_i64(DType dtype, const void *data, int64_t first, int64_t count, int64_t *restrict out) {
    read_i64(dtype, data, first, count, out);
}

static SIMD_CLONES void write_i64(DType dtype, void *data, int64_t first, int64_t count,
                                  const int64_t *restrict in) {
    switch (dtype) {
#define WRITE(id, type, low, high, top)                                                                      \
    case DTYPE_##id:                                                                                         \
        for (int64_t i = 0; i < count; ++i) ((type *)data)[first + i] = (type)in[i];                         \
        break;
        PLAIN_INTEGERS(WRITE)
#undef WRITE
    case DTYPE_BOOL:
        for (int64_t i = 0; i < count; ++i) ((uint8_t *)data)[first + i] = in[i] != 0;
        break;
    default:
        for (int64_t i = 0; i < count; ++i) dtype_store_i64(dtype, data, first + i, in[i]);
        break;
    }
}

void dtype_write_i64(DType dtype, void *data, int64_t first, int64_t count, const int64_t *restrict in) {
    write_i64(dtype, data, first, count, in);
}
