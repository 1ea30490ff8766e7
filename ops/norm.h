/* What the normalisations over contiguous rows share: statistics of a run of elements, and writing it back
 * scaled. */
#ifndef SMELT_OPS_NORM_H
#define SMELT_OPS_NORM_H

#include "ops/op.h"

/* Layer-, RMS-, Instance-, Group- and BatchNormalization */
typedef struct NormAttrs {
    float epsilon;
    int64_t axis;   /* Layer, RMS: the first normalized one */
    int64_t groups; /* Group */
    DType stash;    /* Layer: type of the statistics' outputs; all computing is in double */
} NormAttrs;

/* Mean and mean square deviation (from the mean, or from 0 where centered is false; *mean is then 0) of
 * elements [first, first + count) of x, in double, in two passes. count >= 1. */
void norm_moments(const Tensor *x, int64_t first, int64_t count, bool centered, double *mean,
                  double *variance);

/* y[i] = x[i] * factor + shift for elements [first, first + count); y may be x. */
void norm_scale(const Tensor *x, Tensor *y, int64_t first, int64_t count, double factor, double shift);

/* Elements of a parameter that broadcasts over x: parameter element for x element i. */
typedef struct NormParameter {
    const Tensor *tensor; /* NULL: every element is `absent` */
    double absent;
    int32_t rank; /* of x */
    int64_t dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK];
    int64_t period; /* > 0: element i % period, a plain copy of trailing dims; 0: by strides */
} NormParameter;

void norm_parameter_set(NormParameter *parameter, const Tensor *tensor, double absent, const Tensor *x);

/* y[i] = (x[i] - mean) * inverse * scale[i] + bias[i]; y may be x. */
void norm_affine(const Tensor *x, Tensor *y, int64_t first, int64_t count, double mean, double inverse,
                 const NormParameter *scale, const NormParameter *bias);

#endif
