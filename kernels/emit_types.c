/* Element types as device code names them, and numbers in its notation. */
#include <math.h>

#include "kernels/emit.h"

typedef struct TypeNames {
    const char *stored, *computed, *held; /* in memory, in compute, in a register between operators */
} TypeNames;

static const TypeNames type_names[DTYPE_COUNT] = {
    [DTYPE_F32] = {"float", "float", "float"},
    [DTYPE_F64] = {"double", "double", "double"},
    [DTYPE_F16] = {"smelt_half", "float", "float"},
    [DTYPE_BF16] = {"smelt_bf16", "float", "float"},
    [DTYPE_F8E4M3FN] = {"smelt_f8e4m3fn", "float", "float"},
    [DTYPE_F8E4M3FNUZ] = {"smelt_f8e4m3fnuz", "float", "float"},
    [DTYPE_F8E5M2] = {"smelt_f8e5m2", "float", "float"},
    [DTYPE_F8E5M2FNUZ] = {"smelt_f8e5m2fnuz", "float", "float"},
    [DTYPE_F8E8M0] = {"smelt_f8e8m0", "float", "float"},
    [DTYPE_I8] = {"signed char", "long long", "signed char"},
    [DTYPE_I16] = {"short", "long long", "short"},
    [DTYPE_I32] = {"int", "long long", "int"},
    [DTYPE_I64] = {"long long", "long long", "long long"},
    [DTYPE_U8] = {"unsigned char", "unsigned long long", "unsigned char"},
    [DTYPE_U16] = {"unsigned short", "unsigned long long", "unsigned short"},
    [DTYPE_U32] = {"unsigned int", "unsigned long long", "unsigned int"},
    [DTYPE_U64] = {"unsigned long long", "unsigned long long", "unsigned long long"},
    [DTYPE_BOOL] = {"smelt_bool", "unsigned long long", "bool"},
};

static const TypeNames *names_of(DType dtype) {
    static const TypeNames none = {NULL, NULL, NULL};
    return dtype_is_valid((int64_t)dtype) ? &type_names[dtype] : &none;
}

const char *cuda_type(DType dtype) {
    return names_of(dtype)->stored;
}

const char *cuda_compute_type(DType dtype) {
    return names_of(dtype)->computed;
}

const char *cuda_register_type(DType dtype) {
    return names_of(dtype)->held;
}

const char *cuda_type_refusal(DType dtype) {
    if (cuda_type(dtype) != NULL) return NULL;
    return dtype_bits(dtype) < 8 ? "elements of fewer than 8 bits" : "elements that are no numbers";
}

const char *cuda_real_literal(Arena *arena, double value, bool narrow) {
    if (isnan(value)) return narrow ? "nan_f32()" : "nan_f64()";
    if (isinf(value))
        return arena_printf(arena, "%sinfinity_%s()", value < 0 ? "-" : "", narrow ? "f32" : "f64");
    return arena_printf(arena, "%s%a%s%s", value < 0 ? "(" : "", value, narrow ? "f" : "",
                        value < 0 ? ")" : "");
}

const char *cuda_literal(Arena *arena, DType dtype, const void *data, int64_t index) {
    if (dtype_is_float(dtype))
        return cuda_real_literal(arena, dtype_load_f64(dtype, data, index), dtype != DTYPE_F64);
    int64_t value = dtype_load_i64(dtype, data, index);
    if (dtype == DTYPE_BOOL) return value != 0 ? "true" : "false";
    if (dtype == DTYPE_U64) return arena_printf(arena, "0x%llxull", (unsigned long long)value);
    if (value == INT64_MIN) return "(-0x7fffffffffffffffll - 1)";
    return arena_printf(arena, "(%s)%lldll", cuda_register_type(dtype), (long long)value);
}
