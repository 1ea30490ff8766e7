/* Device code compiled as C++: many units by one start of a compiler, and several of those at a time. */
#ifndef SMELT_TESTS_KERNELS_HOST_UNITS_H
#define SMELT_TESTS_KERNELS_HOST_UNITS_H

#include "kernels/emit.h"
#include "tests/kernels_host/gpu.h"

typedef struct Units Units;

/* compiler: a program; shim: folder of device_shim.h; work: folder for what is compiled, with kernels/cuda as
 * "smelt". */
Units *units_create(const char *compiler, const char *shim, const char *work);
void units_destroy(Units *units);

void units_add(Units *units, const KernelLaunch *launch);
/* Whether a unit that has been added has the text in it. */
bool units_have(const Units *units, const char *text);
/* All that have been added. False: a compiler has failed, and said why. */
bool units_compile(Units *units);
/* Sets kernel, data and cluster of a launch whose unit is compiled. */
void units_find(Units *units, const KernelLaunch *launch, GpuLaunch *out);

#endif
