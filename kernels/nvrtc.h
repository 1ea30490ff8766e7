/* NVIDIA's run-time compiler, found by dlopen. */
#ifndef SMELT_KERNELS_NVRTC_H
#define SMELT_KERNELS_NVRTC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct Nvrtc {
    void *library;
    char path[256]; /* that it was found under */
    int major, minor;
#define NVRTC(name, parameters) int(*name) parameters;
#include "kernels/nvrtc.def"
#undef NVRTC
} Nvrtc;

/* Looks for libnvrtc.so of any version: as the loader finds libraries, then in CUDA_HOME, CUDA_PATH and
 * /usr/local/cuda. Fails with WRONG_DEVICE and a hint when there is none or one lacks a function. */
Status nvrtc_open(Nvrtc *out, Diag *diag);
void nvrtc_close(Nvrtc *nvrtc); /* accepts a zeroed one */
bool nvrtc_supports(const Nvrtc *nvrtc, int32_t sm);

#endif
