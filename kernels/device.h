/* GPUs that plans are made for: what cost models and limits are taken from. Built-in descriptions are the
 * files of kernels/gpus; users write their own (docs/devices.md). */
#ifndef SMELT_KERNELS_DEVICE_H
#define SMELT_KERNELS_DEVICE_H

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/status.h"

typedef struct Device {
    const char *name;  /* "h200" */
    const char *gpu;   /* what the driver calls it: "NVIDIA H200" */
    const char *arch;  /* as in arch.def: "sm_90a" */
    const char *label; /* where the numbers are from: "measured" or "specification" */
    int32_t sm;        /* 90 */
#define DEVICE_COUNT(key, least, most, what) int32_t key;
#define DEVICE_RATE(key, least, most, what)  double key;
#include "kernels/device.def"
#undef DEVICE_COUNT
#undef DEVICE_RATE
    const struct TacticSwitches *switches; /* of tactic.h, set by a build; NULL: none */
} Device;

enum { CLUSTERS_SM = 90 /* Device.sm from which on blocks come in clusters */ };

/* Built-in ones, by name in order. */
int32_t device_count(void);
const Device *device_at(int32_t index);
const Device *device_find(const char *name); /* NULL: none */
/* By what the driver calls it; NULL: none. */
const Device *device_for_gpu(const char *gpu);

/* Reads a description. Fails with BAD_DATA, naming the line, where the file is cut off, edited behind its
 * hash, of another version, or says something else than one GPU within the limits. */
Status device_read(const char *path, Arena *arena, const Device **out, Diag *diag);
/* The description as text, with a hash that shows edits. */
void device_write(const Device *device, ByteWriter *out);

enum { MOST_DEVICES = 16 };
typedef struct DeviceList {
    int32_t count;
    const Device *at[MOST_DEVICES];
} DeviceList;

/* What "native" stands for; fails where there is no GPU. */
typedef Status (*NativeDevice)(void *user, const Device **out);
/* "sm_80,h100,my.gpu": architectures (their default descriptions), built-in names, files (with a '/' or
 * ending in ".gpu") and, where the caller knows it, "native". Fails with USAGE for an unknown name or two
 * GPUs of one architecture, of which plans have one. */
Status device_list_parse(const char *text, NativeDevice native, void *user, Arena *arena, DeviceList *out,
                         Diag *diag);
/* "a100 (specification), h200 (measured)" in arena; NULL: out of memory. */
const char *device_list_text(const DeviceList *list, Arena *arena);

/* Bytes that each multiprocessor gets from L2 in a cycle while all read. */
double device_l2_per_clock(const Device *device);
/* Microseconds below which so many operations on elements of a type, and so many bytes of memory, cannot be
 * done; tf32: of f32, rounded. */
double device_roofline_us(const Device *device, DType dtype, bool tf32, double flops, double bytes);
/* Microseconds that so many bytes take from or to L2, or memory where that does not hold them. */
double device_bytes_us(const Device *device, double bytes);
/* Multiplications with additions, single precision, of a multiprocessor in a microsecond. */
double device_fp32_per_us(const Device *device);

#endif
