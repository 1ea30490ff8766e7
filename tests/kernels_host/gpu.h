/* The GPU that units run on where there is none: threads that meet, shared memory, copies that are under way,
 * matrix units. device_shim.h gives device code its instructions by these functions; run_units.c launches
 * kernels.
 *
 * Threads run one after the other until they wait, forwards in one block and backwards in the next. What the
 * hardware does at some time of its own (copies, products of warpgroups) is done at once or when somebody
 * waits for it, by chance: what waits too little, or frees memory too early, gives wrong results. What no GPU
 * does either (addresses that are not aligned, memory that the launch did not ask for, threads that wait for
 * each other forever) ends the program with a message. */
#ifndef SMELT_TESTS_KERNELS_HOST_GPU_H
#define SMELT_TESTS_KERNELS_HOST_GPU_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* -- threads -- */

typedef struct GpuPlace {
    unsigned x, y, z;
} GpuPlace;
extern GpuPlace threadIdx, blockIdx, blockDim, gridDim;

void gpu_wait_for_block(void);
void gpu_wait_for_warp(void);
void gpu_wait_for_threads(unsigned count); /* barrier 1 of the block */
void gpu_wait_for_warpgroup(void);
/* What another lane of the warp gives; lanes that there are not: the own one. */
uint64_t gpu_exchange(uint64_t own, unsigned lane);

/* All blocks of a launch, one thread of each. */
void gpu_grid_meet(void);
unsigned gpu_cluster_rank(void);
void gpu_cluster_arrive(void);
void gpu_cluster_wait(void);

/* -- matrix units of a warp (mma.cuh) -- */

typedef enum GpuNumbers { GPU_HALF, GPU_BF16, GPU_TF32 } GpuNumbers;

/* c (16 x 8) += a (16 x depth) b (depth x 8), spread over the warp. */
void gpu_multiply(float *c, const unsigned *a, const unsigned *b, unsigned depth, GpuNumbers numbers);
void gpu_load_matrices(unsigned *to, const void *row, unsigned count, bool transposed);

/* -- copies of a thread (mma.cuh) -- */

/* The first `there` bytes, and zeros. */
void gpu_copy_later(void *to, const void *from, unsigned bytes, unsigned there);
void gpu_close_copies(void);
void gpu_wait_for_copies(unsigned open);

/* -- shared memory by numbers, barriers in it, the copy engine and warpgroups (wgmma.cuh) -- */

enum { GPU_DYNAMIC = 0x410 /* where dynamic shared memory begins: no better aligned than promised */ };

unsigned gpu_shared_address(const void *memory);
void *gpu_shared_memory(unsigned address);
float gpu_get_from(unsigned address, unsigned rank);
void gpu_put_to(unsigned address, unsigned rank, float x);
void gpu_put(unsigned address, float x);
/* One number or four in shared memory, at a multiple of their bytes: in that of a block of the cluster, whose
 * barrier counts them; four in the own. */
void gpu_put_later(unsigned address, unsigned rank, unsigned barrier, const float *numbers, unsigned count);
const float *gpu_get(unsigned address);

void gpu_barrier_init(unsigned barrier, unsigned arrivals);
void gpu_barrier_arrive(unsigned barrier, unsigned bytes);   /* bytes that are expected from now on */
void gpu_barrier_arrive_at(unsigned barrier, unsigned rank); /* of a block of the cluster */
void gpu_barrier_wait(unsigned barrier, unsigned parity);

enum { GPU_MAP_RANK = 5, GPU_MAP_AXES = 3 };
/* A tensor map, see KernelMap; strides in bytes. What kernels get as one begins with a pointer to this. */
typedef struct GpuMap {
    const char *memory;
    int32_t rank, element, swizzle; /* bytes */
    int64_t dim[GPU_MAP_RANK], stride[GPU_MAP_RANK];
    int32_t box[GPU_MAP_RANK];
    bool windows;
    int32_t pixels, step[GPU_MAP_AXES], low[GPU_MAP_AXES], high[GPU_MAP_AXES];
} GpuMap;

/* pair: to both blocks of a cluster of two. */
void gpu_copy_box(unsigned to, const void *map, unsigned barrier, int rank, const int *at, bool pair);
/* at: of each axis, then the image. */
void gpu_copy_windows(unsigned to, const void *map, unsigned barrier, int axes, int channel, const int *at,
                      const unsigned short *tap, bool pair);

/* d (64 x cols) += or = a b, see Wgmma; rows: the thread's registers of a, which are read when the product is
 * done, NULL: a lies in shared memory. */
void gpu_multiply_group(float *d, const unsigned *rows, uint64_t a, uint64_t b, bool add, unsigned cols,
                        bool outer_a, bool outer_b, GpuNumbers numbers);
void gpu_commit_group(void);
void gpu_wait_for_groups(unsigned pending);

/* -- launches -- */

enum { GPU_BLOCKS = 8 /* that run together, at most */, GPU_SHARED = 227 << 10 };

typedef struct GpuLaunch {
    unsigned grid[3], threads, cluster, shared_bytes; /* cluster: blocks along x */
    unsigned together; /* blocks that run at one time: a cluster, or all that there are */
    /* For each of these code with static shared memory of its own, and an address within the code's data. */
    void (*kernel[GPU_BLOCKS])(const long long *args);
    const char *data[GPU_BLOCKS];
    const long long *args;
} GpuLaunch;

void gpu_run(const GpuLaunch *launch);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
