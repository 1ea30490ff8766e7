/* The files of kernels/cuda as text in the program; cmake/embed.cmake generates the table. */
#ifndef SMELT_KERNELS_DEVICE_SOURCE_H
#define SMELT_KERNELS_DEVICE_SOURCE_H

#include <stdint.h>

typedef struct DeviceSource {
    const char *path; /* as units include it: "smelt/core.cuh" */
    uint64_t hash;    /* of the text */
    const char *text;
} DeviceSource;

/* In order of path; ends with a path of NULL. */
extern const DeviceSource device_sources[];

#endif
