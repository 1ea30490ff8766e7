/* Comparing elements of any numeric type, and sorting indices. */
#ifndef SMELT_OPS_ORDER_H
#define SMELT_OPS_ORDER_H

#include <string.h>

#include "base/dtype.h"

static inline uint64_t order_key_f64(double value) {
    uint64_t bits;
    value += 0.0; /* -0 becomes +0 */
    if (value != value) return UINT64_MAX;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

/* Maps element i to a number that orders as the elements do: equal for equal ones (-0 and 0 too), NaN above
 * everything. dtype has a numeric kind. */
static inline uint64_t order_key(DType dtype, const void *data, int64_t i) {
    const uint64_t sign = (uint64_t)1 << 63;
    switch (dtype) {
    case DTYPE_F32:
        return order_key_f64((double)((const float *)data)[i]);
    case DTYPE_I64:
        return (uint64_t)((const int64_t *)data)[i] ^ sign;
    case DTYPE_I32:
        return (uint64_t)((const int32_t *)data)[i] ^ sign;
    case DTYPE_U8:
        return ((const uint8_t *)data)[i];
    default:
        break;
    }
    if (dtype_kind(dtype) == DTYPE_KIND_FLOAT) return order_key_f64(dtype_load_f64(dtype, data, i));
    uint64_t value = (uint64_t)dtype_load_i64(dtype, data, i);
    return dtype_kind(dtype) == DTYPE_KIND_SIGNED ? value ^ sign : value;
}

/* Whether item a comes before item b, strictly. */
typedef bool (*OrderBefore)(const void *context, int64_t a, int64_t b);

/* Sorts count items, keeping the order of equal ones; spare has room for as many. O(n log n) comparisons. */
void order_sort(int64_t *items, int64_t *spare, int64_t count, OrderBefore before, const void *context);

/* The same by ascending keys, which are sorted along; spare_keys likewise. O(n) for each byte in which any
 * two keys differ. */
void order_sort_keys(uint64_t *keys, int64_t *items, uint64_t *spare_keys, int64_t *spare, int64_t count);

#endif
