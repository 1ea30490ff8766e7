/* Which input positions an output position of Resize reads along one axis, and with what weights. */
#ifndef SMELT_OPS_RESIZE_TABLE_H
#define SMELT_OPS_RESIZE_TABLE_H

#include "ops/op.h"

typedef enum ResizeMode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } ResizeMode;
typedef enum ResizeCoordinates {
    RESIZE_HALF_PIXEL,
    RESIZE_HALF_PIXEL_SYMMETRIC,
    RESIZE_PYTORCH_HALF_PIXEL,
    RESIZE_ALIGN_CORNERS,
    RESIZE_ASYMMETRIC,
    RESIZE_TF_HALF_PIXEL_FOR_NN, /* of opset 11; later ones dropped it */
    RESIZE_TF_CROP
} ResizeCoordinates;
typedef enum ResizeRounding {
    RESIZE_ROUND_PREFER_FLOOR,
    RESIZE_ROUND_PREFER_CEIL,
    RESIZE_FLOOR,
    RESIZE_CEIL
} ResizeRounding;

typedef struct ResizeRule {
    ResizeMode mode;
    ResizeCoordinates coordinates;
    ResizeRounding rounding;
    double cubic_a;
    bool antialias, exclude_outside;
} ResizeRule;

typedef enum ResizePolicy { RESIZE_STRETCH, RESIZE_NOT_LARGER, RESIZE_NOT_SMALLER } ResizePolicy;

typedef struct ResizeAttrs {
    ResizeRule rule;
    ResizePolicy policy;
    float extrapolation;
    int32_t axis_count; /* -1: all axes */
    int64_t axes[SMELT_MAX_RANK];
} ResizeAttrs;

enum { RESIZE_INPUT_ROI = 1, RESIZE_INPUT_SCALES = 2, RESIZE_INPUT_SIZES = 3 };

/* The axis that entry i of scales, sizes and roi speaks of, for each i; *count is how many there are. */
Status resize_axes(const ResizeAttrs *attrs, int32_t rank, int32_t axes[SMELT_MAX_RANK], int32_t *count,
                   Diag *diag);

/* The one scale that keeps the aspect ratio, for inputs of extents `in` and the wanted sizes of count axes.
 */
double resize_common_scale(ResizePolicy policy, const int64_t *in, const int64_t *sizes, const int32_t *axes,
                           int32_t count);

/* One axis. `first` has an entry per output position: the first input position read, or -1 where tf_crop
 * leaves the input; NULL: position i reads position i. `weights` has taps entries per output position; NULL:
 * one tap of weight 1. */
typedef struct ResizeAxis {
    int64_t in, out;
    double scale;      /* out / in as the operator was asked for, > 0 */
    double begin, end; /* of the region of interest, normalized; 0 and 1 without */
    int64_t taps;      /* <= in */
    int64_t *first;
    double *weights;
} ResizeAxis;

/* Where output position x lies in the input: a sum of what the position is multiplied by and another number,
 * which for half_pixel, asymmetric and tf_half_pixel_for_nn depend on the scale alone. */
double resize_source(const ResizeRule *rule, const ResizeAxis *axis, double x);
/* The input position nearest to an output position, -1 where tf_crop leaves the input. */
int64_t resize_nearest(const ResizeRule *rule, const ResizeAxis *axis, int64_t x);
/* Whether output equals input along the axis. */
bool resize_axis_is_identity(const ResizeRule *rule, const ResizeAxis *axis);
/* Sets taps from in, out and scale; returns the bytes of both tables. */
size_t resize_axis_size(const ResizeRule *rule, ResizeAxis *axis);
/* Fills first and weights, which the caller has placed in memory of that size. */
void resize_axis_fill(const ResizeRule *rule, ResizeAxis *axis);

#endif
