/* Attributes of GridSample and RoiAlign. */
#ifndef SMELT_OPS_SAMPLING_H
#define SMELT_OPS_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

typedef enum SampleMode { SAMPLE_LINEAR, SAMPLE_NEAREST, SAMPLE_CUBIC } SampleMode;
typedef enum SamplePadding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION } SamplePadding;

typedef struct SampleAttrs {
    SampleMode mode;
    SamplePadding padding;
    bool align_corners;
} SampleAttrs;

typedef struct RoiAttrs {
    bool half_pixel, max;
    int64_t height, width, sampling_ratio;
    float spatial_scale;
} RoiAttrs;

#endif
