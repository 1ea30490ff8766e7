#include "base/dtype.h"

#include <string.h>

#include "base/checked.h"

typedef struct DTypeRow {
    const char *name;
    uint8_t bits;
    DTypeKind kind;
} DTypeRow;

static const DTypeRow rows[DTYPE_COUNT] = {
#define DTYPE(id, number, text, width, class) [number] = {text, width, DTYPE_KIND_##class},
#include "base/dtype.def"
#undef DTYPE
};

bool dtype_is_valid(int64_t number) {
    return number >= 0 && number < DTYPE_COUNT && rows[number].name != NULL;
}

static const DTypeRow *row_of(DType dtype) {
    static const DTypeRow none = {"none", 0, DTYPE_KIND_OTHER};
    return dtype_is_valid((int64_t)dtype) ? &rows[dtype] : &none;
}

const char *dtype_name(DType dtype) {
    return row_of(dtype)->name;
}

DType dtype_from_name(const char *name) {
    for (int number = 0; number < DTYPE_COUNT; ++number) {
        if (rows[number].name != NULL && strcmp(rows[number].name, name) == 0) return (DType)number;
    }
    return DTYPE_NONE;
}

DTypeKind dtype_kind(DType dtype) {
    return row_of(dtype)->kind;
}

int dtype_bits(DType dtype) {
    return row_of(dtype)->bits;
}

bool dtype_storage(DType dtype, int64_t count, size_t *bytes) {
    size_t bits = row_of(dtype)->bits;
    if (count < 0 || bits == 0) return false;
    if (bits >= 8) return checked_mul_size((size_t)count, bits / 8, bytes);
    size_t per_byte = 8 / bits;
    *bytes = (size_t)count / per_byte + ((size_t)count % per_byte != 0);
    return true;
}
