#include "ops/norm.h"

#include <string.h>

#include "base/checked.h"
#include "base/simd.h"
#include "ops/kit.h"

enum { NORM_BLOCK = 512, LANES = 16 };

/* Sums in double, in several lanes so that they are not one chain of dependent additions. */

SIMD_CLONES static double sum_f32(int64_t count, const float *x) {
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; count - i >= LANES; i += LANES)
        for (int j = 0; j < LANES; ++j) lane[j] += (double)x[i + j];
    for (int j = 0; j < LANES; ++j) sum += lane[j];
    for (; i < count; ++i) sum += (double)x[i];
    return sum;
}

SIMD_CLONES static double square_sum_f32(int64_t count, const float *x, double mean) {
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; count - i >= LANES; i += LANES)
        for (int j = 0; j < LANES; ++j) {
            double d = (double)x[i + j] - mean;
            lane[j] += d * d;
        }
    for (int j = 0; j < LANES; ++j) sum += lane[j];
    for (; i < count; ++i) sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    return sum;
}

/* Sum of (x - mean) or, squared, of its square. */
static double sum_of(const Tensor *x, int64_t first, int64_t count, double mean, bool squared) {
    double block[NORM_BLOCK], sum = 0;
    if (x->dtype == DTYPE_F32) {
        const float *elements = (const float *)x->data + first;
        return squared ? square_sum_f32(count, elements, mean) : sum_f32(count, elements);
    }
    for (int64_t done = 0; done < count; done += NORM_BLOCK) {
        int64_t length = min_i64(NORM_BLOCK, count - done);
        dtype_read_f64(x->dtype, x->data, first + done, length, block);
        for (int64_t i = 0; i < length; ++i) {
            double d = block[i] - mean;
            sum += squared ? d * d : d;
        }
    }
    return sum;
}

void norm_moments(const Tensor *x, int64_t first, int64_t count, bool centered, double *mean,
                  double *variance) {
    *mean = centered ? sum_of(x, first, count, 0, false) / (double)count : 0;
    *variance = sum_of(x, first, count, *mean, true) / (double)count;
}

/* Where elements are near their mean, both terms are much larger than what is left of them. */
SIMD_CLONES static void scale_f32(int64_t count, const float *x, double factor, double shift, float *y) {
    for (int64_t i = 0; i < count; ++i) y[i] = (float)(x[i] * factor + shift);
}

void norm_scale(const Tensor *x, Tensor *y, int64_t first, int64_t count, double factor, double shift) {
    double block[NORM_BLOCK];
    if (x->dtype == DTYPE_F32) {
        scale_f32(count, (const float *)x->data + first, factor, shift, (float *)y->data + first);
        return;
    }
    for (int64_t done = 0; done < count; done += NORM_BLOCK) {
        int64_t length = min_i64(NORM_BLOCK, count - done);
        dtype_read_f64(x->dtype, x->data, first + done, length, block);
        for (int64_t i = 0; i < length; ++i) block[i] = block[i] * factor + shift;
        dtype_write_f64(y->dtype, y->data, first + done, length, block);
    }
}

/* -- parameters that broadcast -- */

/* True where the parameter's dims, less leading ones, are the last dims of x. */
static bool is_trailing(const Tensor *tensor, const Tensor *x) {
    int32_t lead = 0;
    while (lead < tensor->rank && tensor->dim[lead] == 1) ++lead;
    for (int32_t i = lead; i < tensor->rank; ++i)
        if (tensor->dim[i] != x->dim[x->rank - tensor->rank + i]) return false;
    return true;
}

void norm_parameter_set(NormParameter *parameter, const Tensor *tensor, double absent, const Tensor *x) {
    *parameter = (NormParameter){.tensor = tensor, .absent = absent, .rank = x->rank, .period = 1};
    if (tensor == NULL) return;
    parameter->period = is_trailing(tensor, x) ? tensor_count(tensor) : 0;
    memcpy(parameter->dim, x->dim, sizeof parameter->dim);
    kit_broadcast_strides(tensor, x->rank, parameter->stride);
}

static int64_t parameter_index(const NormParameter *parameter, int64_t i) {
    int64_t index = 0;
    if (parameter->period > 0) return i % parameter->period;
    for (int32_t k = parameter->rank - 1; k >= 0; --k) {
        index += i % parameter->dim[k] * parameter->stride[k];
        i /= parameter->dim[k];
    }
    return index;
}

/* The parameter's elements for elements [first, first + count) of x: its own memory where they lie there as
 * f32, else block. */
static const float *parameter_f32(const NormParameter *parameter, int64_t first, int64_t count,
                                  float *block) {
    const Tensor *tensor = parameter->tensor;
    if (tensor == NULL) {
        for (int64_t i = 0; i < count; ++i) block[i] = (float)parameter->absent;
        return block;
    }
    if (parameter->period > 0 && first % parameter->period + count <= parameter->period) {
        int64_t start = first % parameter->period;
        if (tensor->dtype == DTYPE_F32) return (const float *)tensor->data + start;
        dtype_read_f32(tensor->dtype, tensor->data, start, count, block);
        return block;
    }
    for (int64_t i = 0; i < count; ++i)
        block[i] = (float)dtype_load_f64(tensor->dtype, tensor->data, parameter_index(parameter, first + i));
    return block;
}

static double parameter_at(const NormParameter *parameter, int64_t i) {
    if (parameter->tensor == NULL) return parameter->absent;
    return dtype_load_f64(parameter->tensor->dtype, parameter->tensor->data, parameter_index(parameter, i));
}

SIMD_CLONES static void affine_f32(int64_t count, const float *x, float mean, float inverse,
                                   const float *scale, const float *bias, float *y) {
    for (int64_t i = 0; i < count; ++i) y[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
}

void norm_affine(const Tensor *x, Tensor *y, int64_t first, int64_t count, double mean, double inverse,
                 const NormParameter *scale, const NormParameter *bias) {
    float scales[NORM_BLOCK], biases[NORM_BLOCK];
    double block[NORM_BLOCK];
    for (int64_t done = 0; done < count; done += NORM_BLOCK) {
        int64_t at = first + done, length = min_i64(NORM_BLOCK, count - done);
        if (x->dtype == DTYPE_F32) {
            affine_f32(length, (const float *)x->data + at, (float)mean, (float)inverse,
                       parameter_f32(scale, at, length, scales), parameter_f32(bias, at, length, biases),
                       (float *)y->data + at);
            continue;
        }
        dtype_read_f64(x->dtype, x->data, at, length, block);
        for (int64_t i = 0; i < length; ++i)
            block[i] = (block[i] - mean) * inverse * parameter_at(scale, at + i) + parameter_at(bias, at + i);
        dtype_write_f64(y->dtype, y->data, at, length, block);
    }
}
