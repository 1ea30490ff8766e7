// Device code as C++ of the host: a grid runs one thread after the other; threads that wait for each other
// are fibers.
#ifndef SMELT_TESTS_DEVICE_SHIM_H
#define SMELT_TESTS_DEVICE_SHIM_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define SMELT_ON_HOST
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__ __restrict

struct Dim3 {
    unsigned x, y, z;
};
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

// -- numbers --

static inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline long long __double_as_longlong(double x) {
    long long bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline double __longlong_as_double(long long bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline float __fdiv_rn(float x, float y) {
    return x / y;
}
static inline float __fsub_rn(float x, float y) {
    return x - y;
}
static inline float __fadd_rn(float x, float y) {
    return x + y;
}
static inline float __fmul_rn(float x, float y) {
    return x * y;
}
// Towards zero.
static inline float shim_cut(double x, float nearest) {
    return fabs((double)nearest) > fabs(x) ? nextafterf(nearest, 0.0f) : nearest;
}
static inline float __double2float_rz(double x) {
    return isinf(x) ? (float)x : shim_cut(x, (float)x);
}
static inline float __ull2float_rz(unsigned long long x) {
    float nearest = (float)x;
    return nearest >= 0x1p64f || (unsigned long long)nearest > x ? nextafterf(nearest, 0.0f) : nearest;
}

namespace smelt {
static inline float half_to_float(unsigned short bits) {
    const unsigned sign = (unsigned)(bits & 0x8000) << 16, exponent = bits >> 10 & 31,
                   fraction = bits & 0x3ff;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    const float value =
        exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(fraction | 0x400), (int)exponent - 25);
    return sign != 0 ? -value : value;
}
static inline unsigned short half_of_float(float x) {
    const unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    const float magnitude = fabsf(x);
    if (x != x) return (unsigned short)(sign | 0x7e00);
    if (magnitude >= 65520.0f) return (unsigned short)(sign | 0x7c00);
    if (magnitude < 0x1p-14f) return (unsigned short)(sign | (unsigned)rintf(magnitude * 0x1p24f));
    int exponent;
    const float fraction = frexpf(magnitude, &exponent); // [0.5, 1)
    return (unsigned short)(sign | ((unsigned)(exponent + 13) << 10) + ((unsigned)rintf(fraction * 0x1p11f)));
}
} // namespace smelt

// Threads never run at the same time.
template <class T> static inline T atomicAdd(T *to, T x) {
    const T old = *to;
    *to = old + x;
    return old;
}
template <class T> static inline T atomicMax(T *to, T x) {
    const T old = *to;
    if (x > old) *to = x;
    return old;
}

// -- threads of a block --

enum { SHIM_THREADS = 1024, SHIM_STACK = 256 << 10 };

struct ShimBarrier {
    unsigned count, generation;
};
static ucontext_t shim_scheduler, shim_fibers[SHIM_THREADS];
static char *shim_stacks;
static bool shim_done[SHIM_THREADS];
static unsigned shim_thread, shim_progress, shim_alive;
static ShimBarrier shim_block, shim_warps[SHIM_THREADS / 32];
static void (*shim_kernel)(void);
static unsigned long long shim_slots[SHIM_THREADS];

static void shim_wait(ShimBarrier *barrier, unsigned expected) {
    const unsigned generation = barrier->generation;
    if (++barrier->count == expected) {
        barrier->count = 0;
        ++barrier->generation;
        ++shim_progress;
        return;
    }
    while (barrier->generation == generation) {
        const unsigned own = shim_thread;
        swapcontext(&shim_fibers[own], &shim_scheduler);
    }
}

static inline void __syncthreads(void) {
    shim_wait(&shim_block, blockDim.x);
}

// All lanes of a warp take part in everything below.
static inline unsigned shim_lanes(void) {
    const unsigned first = shim_thread / 32 * 32;
    return blockDim.x - first < 32 ? blockDim.x - first : 32;
}
static inline void __syncwarp(unsigned = ~0u) {
    shim_wait(&shim_warps[shim_thread / 32], shim_lanes());
}
template <class T> static inline T shim_exchange(T value, unsigned from) {
    static_assert(sizeof(T) <= sizeof shim_slots[0], "a value of up to 8 bytes");
    memcpy(&shim_slots[shim_thread], &value, sizeof value);
    __syncwarp();
    T result;
    memcpy(&result, &shim_slots[shim_thread / 32 * 32 + (from < shim_lanes() ? from : shim_thread % 32)],
           sizeof result);
    __syncwarp();
    return result;
}
template <class T> static inline T __shfl_sync(unsigned, T x, int lane, int = 32) {
    return shim_exchange(x, (unsigned)lane);
}
template <class T> static inline T __shfl_xor_sync(unsigned, T x, int mask, int = 32) {
    return shim_exchange(x, shim_thread % 32 ^ (unsigned)mask);
}
template <class T> static inline T __shfl_down_sync(unsigned, T x, unsigned by, int = 32) {
    return shim_exchange(x, shim_thread % 32 + by);
}
template <class T> static inline T __shfl_up_sync(unsigned, T x, unsigned by, int = 32) {
    return shim_exchange(x, shim_thread % 32 >= by ? shim_thread % 32 - by : 32);
}

// -- matrix units (mma.cuh); all lanes of a warp take part --

namespace smelt {
struct smelt_half;
struct smelt_bf16;

static inline float shim_part(const smelt_half *, unsigned bits, unsigned part) {
    return half_to_float((unsigned short)(bits >> part * 16));
}
static inline float shim_part(const smelt_bf16 *, unsigned bits, unsigned part) {
    return __uint_as_float(bits >> part * 16 << 16);
}
static inline float shim_part(const float *, unsigned bits, unsigned) {
    return __uint_as_float(bits & ~0x1fffu);
}

// c (16 x 8) += a (16 x DEPTH) * b (DEPTH x 8), PARTS elements in a register.
static unsigned shim_fragments[SHIM_THREADS][6];
template <class T, unsigned DEPTH, unsigned PARTS>
static inline void shim_multiply(float (&c)[4], const unsigned *a, const unsigned *b) {
    const unsigned first = shim_thread / 32 * 32, lane = shim_thread % 32, across = 4 * PARTS;
    unsigned *const own = shim_fragments[shim_thread];
    for (unsigned i = 0; i < DEPTH / across * 2; ++i) own[i] = a[i];
    for (unsigned i = 0; i < DEPTH / across; ++i) own[4 + i] = b[i];
    __syncwarp();
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (unsigned k = 0; k < DEPTH; ++k) {
            const unsigned from = k % across / PARTS;
            const unsigned left = shim_fragments[first + row % 8 * 4 + from][row / 8 + k / across * 2];
            const unsigned right = shim_fragments[first + column * 4 + from][4 + k / across];
            c[i] += shim_part((const T *)0, left, k % PARTS) * shim_part((const T *)0, right, k % PARTS);
        }
    }
    __syncwarp();
}
template <class T>
static inline void multiply_matrices(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    shim_multiply<T, 16, 2>(c, a, b);
}
template <class T> static inline void multiply_shallow(float (&c)[4], const unsigned (&a)[2], unsigned b) {
    shim_multiply<T, 8, 2>(c, a, &b);
}
static inline void multiply_floats(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    shim_multiply<float, 8, 1>(c, a, b);
}

template <bool TRANSPOSED, unsigned COUNT>
static inline void load_matrices(unsigned (&to)[COUNT], const void *row) {
    const unsigned lane = shim_thread % 32;
    for (unsigned i = 0; i < COUNT; ++i) {
        to[i] = 0;
        for (unsigned k = 0; k < 2; ++k) {
            const unsigned r = TRANSPOSED ? lane % 4 * 2 + k : lane / 4,
                           c = TRANSPOSED ? lane / 4 : lane % 4 * 2 + k;
            const unsigned short *const from = shim_exchange((const unsigned short *)row, i * 8 + r);
            to[i] |= (unsigned)from[c] << k * 16;
        }
    }
}

template <int BYTES = 16> static inline void copy_later(void *to, const void *from, bool inside) {
    if (inside)
        memcpy(to, from, BYTES);
    else
        memset(to, 0, BYTES);
}
static inline void close_copies() {}
template <int OPEN> static inline void wait_for_copies() {}
static inline float power_of_two(float x) {
    return exp2f(x);
}
} // namespace smelt

static void shim_fiber(void) {
    shim_kernel();
    shim_done[shim_thread] = true;
    ++shim_progress;
    swapcontext(&shim_fibers[shim_thread], &shim_scheduler);
}

static void shim_run_block(void) {
    memset(shim_done, 0, sizeof shim_done);
    memset(&shim_block, 0, sizeof shim_block);
    memset(shim_warps, 0, sizeof shim_warps);
    for (unsigned t = 0; t < blockDim.x; ++t) {
        getcontext(&shim_fibers[t]);
        shim_fibers[t].uc_stack.ss_sp = shim_stacks + (size_t)t * SHIM_STACK;
        shim_fibers[t].uc_stack.ss_size = SHIM_STACK;
        shim_fibers[t].uc_link = NULL;
        makecontext(&shim_fibers[t], shim_fiber, 0);
    }
    for (shim_alive = blockDim.x; shim_alive > 0;) {
        const unsigned before = shim_progress;
        shim_alive = 0;
        for (unsigned t = 0; t < blockDim.x; ++t) {
            if (shim_done[t]) continue;
            shim_thread = t;
            threadIdx.x = t;
            swapcontext(&shim_scheduler, &shim_fibers[t]);
            shim_alive += !shim_done[t];
        }
        if (shim_progress == before && shim_alive > 0) {
            fprintf(stderr, "threads wait for each other forever\n");
            exit(1);
        }
    }
}

static void shim_run(void (*kernel)(void), const long long *grid, unsigned threads) {
    shim_kernel = kernel;
    shim_stacks = (char *)malloc((size_t)threads * SHIM_STACK);
    if (threads > SHIM_THREADS || shim_stacks == NULL) exit(1);
    gridDim = Dim3{(unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2]};
    blockDim = Dim3{threads, 1, 1};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) shim_run_block();
    free(shim_stacks);
}

#endif
