/* The architectures of arch.def. */
#ifndef SMELT_KERNELS_ARCH_H
#define SMELT_KERNELS_ARCH_H

#include "kernels/device.h"

int32_t arch_count(void);
/* Its default description. */
const Device *arch_at(int32_t index);
/* By name, with or without the letter: "sm_90", "sm_90a". NULL: unknown. */
const Device *arch_find(const char *name);
/* Code runs on later GPUs of the same major number; with a letter in the name, on the very one only. */
bool arch_is_exact(const Device *device);
/* The newest one whose code runs on a GPU of compute capability 10 * major + minor; NULL: none. */
const Device *arch_for_sm(int32_t sm);
/* What all of a list can do: the lowest sm, the least shared memory; the rest of the first, and no name where
 * there are several. */
Device arch_common(const DeviceList *list);

#endif
