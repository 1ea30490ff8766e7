/* kernels/gpus/<name>.gpu as a table, sorted by name; generated (cmake/devices.cmake). */
#ifndef SMELT_KERNELS_DEVICE_TABLE_H
#define SMELT_KERNELS_DEVICE_TABLE_H

#include "kernels/device.h"

extern const Device device_table[];
extern const int32_t device_table_count;

#endif
