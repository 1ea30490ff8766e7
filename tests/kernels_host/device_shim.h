// Device code as C++ of the host: CUDA's words, and what kernels/cuda has instructions for, by the functions
// of gpu.h.
#ifndef SMELT_TESTS_DEVICE_SHIM_H
#define SMELT_TESTS_DEVICE_SHIM_H

#include <math.h>
#include <string.h>

#include "gpu.h"

#define SMELT_ON_HOST
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __shared__ static // each block of a cluster runs a copy of the library
#define __restrict__ __restrict

// In the library's data: where shared memory is counted from.
extern "C" __attribute__((visibility("default"))) char gpu_data = 1;

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
// Four of the bytes of two words, low ones first, each named by 4 bits.
static inline unsigned __byte_perm(unsigned low, unsigned high, unsigned places) {
    const unsigned long long bytes = (unsigned long long)high << 32 | low;
    unsigned picked = 0;
    for (int i = 0; i < 4; ++i) picked |= (unsigned)(bytes >> (places >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return picked;
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
    const unsigned magnitude = (bits & 0x7fffu) << 13, sign = (bits & 0x8000u) << 16;
    const float scaled = __uint_as_float(magnitude) * 0x1p112f;
    return __uint_as_float((magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : __float_as_uint(scaled)) |
                           sign);
}
static inline unsigned short half_of_float(float x) {
    const unsigned sign = __float_as_uint(x) >> 16 & 0x8000, magnitude = __float_as_uint(x) & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00);
    if (magnitude >= 0x47800000u) return (unsigned short)(sign | 0x7c00);
    // Below 2^-14 an addition rounds: 0.5 has the least half as its last bit.
    if (magnitude < 0x38800000u)
        return (unsigned short)(sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u));
    return (unsigned short)(sign | (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
static inline float power_of_two(float x) {
    return exp2f(x);
}
static inline float reciprocal(float x) {
    return 1.0f / x;
}
static inline unsigned larger_halves(unsigned a, unsigned b) {
    unsigned y = 0;
    for (int i = 0; i < 32; i += 16)
        y |= (unsigned)half_of_float(
                 fmaxf(half_to_float((unsigned short)(a >> i)), half_to_float((unsigned short)(b >> i))))
             << i;
    return y;
}
static inline unsigned larger_bf16s(unsigned a, unsigned b) {
    const float low = fmaxf(__uint_as_float(a << 16), __uint_as_float(b << 16));
    const float high = fmaxf(__uint_as_float(a & 0xffff0000u), __uint_as_float(b & 0xffff0000u));
    return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
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

static inline void __syncthreads(void) {
    gpu_wait_for_block();
}
// All lanes of a warp take part in everything below.
static inline void __syncwarp(unsigned = ~0u) {
    gpu_wait_for_warp();
}
template <class T> static inline T shim_exchange(T value, unsigned from) {
    static_assert(sizeof(T) <= 8, "a value of up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = gpu_exchange(bits, from);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> static inline T __shfl_sync(unsigned, T x, int lane, int = 32) {
    return shim_exchange(x, (unsigned)lane);
}
template <class T> static inline T __shfl_xor_sync(unsigned, T x, int mask, int = 32) {
    return shim_exchange(x, threadIdx.x % 32 ^ (unsigned)mask);
}
template <class T> static inline T __shfl_down_sync(unsigned, T x, unsigned by, int = 32) {
    return shim_exchange(x, threadIdx.x % 32 + by);
}
template <class T> static inline T __shfl_up_sync(unsigned, T x, unsigned by, int = 32) {
    return shim_exchange(x, threadIdx.x % 32 >= by ? threadIdx.x % 32 - by : 32);
}

namespace smelt {
struct smelt_half;
struct smelt_bf16;
template <class T> struct ShimNumbers;
template <> struct ShimNumbers<smelt_half> { static const GpuNumbers value = GPU_HALF; };
template <> struct ShimNumbers<float> { static const GpuNumbers value = GPU_TF32; };
template <> struct ShimNumbers<smelt_bf16> { static const GpuNumbers value = GPU_BF16; };

// -- mma.cuh --

template <class T>
static inline void multiply_matrices(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    gpu_multiply(c, a, b, 16, ShimNumbers<T>::value);
}
static inline void multiply_shallow(float (&c)[4], unsigned a0, unsigned a1, unsigned b) {
    const unsigned a[4] = {a0, a1, 0, 0};
    multiply_matrices<smelt_half>(c, a, b, 0);
}
static inline void multiply_floats(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    gpu_multiply(c, a, b, 8, GPU_TF32);
}
static inline unsigned tf32_of(float x) {
    const unsigned bits = __float_as_uint(x);
    return isfinite(x) ? bits + 0x1000 & 0xffffe000u : bits;
}
template <bool TRANSPOSED> static inline void load_matrices(unsigned (&to)[4], const void *row) {
    gpu_load_matrices(to, row, 4, TRANSPOSED);
}
template <int BYTES> struct LaterCopy {
    void begin(void *to, const void *from, int there) { gpu_copy_later(to, from, BYTES, (unsigned)there); }
    void end() {}
};
template <int BYTES = 16> static inline void copy_later(void *to, const void *from, bool inside) {
    gpu_copy_later(to, from, BYTES, inside ? BYTES : 0);
}
static inline unsigned char *block_memory() {
    return (unsigned char *)gpu_shared_memory(GPU_DYNAMIC);
}
static inline void close_copies() {
    gpu_close_copies();
}
template <int OPEN> static inline void wait_for_copies() {
    gpu_wait_for_copies(OPEN);
}

// -- wgmma.cuh --

struct TensorMap;
template <int AXES> struct WindowPlace;

static inline unsigned shared_address(const void *p) {
    return gpu_shared_address(p);
}
static inline unsigned dynamic_memory() {
    return GPU_DYNAMIC;
}
template <class T> static inline T &shared_object(unsigned address) {
    return *(T *)gpu_shared_memory(address);
}
static inline void barrier_init(unsigned barrier, unsigned arrivals) {
    gpu_barrier_init(barrier, arrivals);
}
static inline void barrier_init_done() {}
static inline void barrier_arrive(unsigned barrier) {
    gpu_barrier_arrive(barrier, 0);
}
static inline void barrier_arrive_at(unsigned barrier, unsigned block) {
    gpu_barrier_arrive_at(barrier, block);
}
static inline void barrier_arrive_expecting(unsigned barrier, unsigned bytes) {
    gpu_barrier_arrive(barrier, bytes);
}
template <bool STORED = false> static inline void barrier_wait(unsigned barrier, unsigned parity) {
    gpu_barrier_wait(barrier, parity);
}
static inline unsigned cluster_rank() {
    return gpu_cluster_rank();
}
static inline void cluster_arrive() {
    gpu_cluster_arrive();
}
static inline void cluster_arrive_relaxed() {
    gpu_cluster_arrive();
}
static inline void cluster_wait() {
    gpu_cluster_wait();
}
static inline void grid_meet() {
    gpu_grid_meet();
}
static inline float shared_get_from(unsigned address, unsigned block) {
    return gpu_get_from(address, block);
}
static inline void shared_put_to(unsigned address, unsigned block, float x) {
    gpu_put_to(address, block, x);
}
static inline void shared_put(unsigned address, float x) {
    gpu_put(address, x);
}
static inline void shared_put(unsigned address, float x, float y, float z, float w) {
    const float numbers[4] = {x, y, z, w};
    for (int i = 0; i < 4; ++i) gpu_put(address + 4 * i, numbers[i]);
}
static inline void global_put(void *to, float x, float y, float z, float w) {
    float *numbers = (float *)to;
    numbers[0] = x, numbers[1] = y, numbers[2] = z, numbers[3] = w;
}
template <int THREADS> static inline void consumers_wait() {
    gpu_wait_for_threads(THREADS);
}
static inline void warpgroup_wait() {
    gpu_wait_for_warpgroup();
}
static inline void shared_put_later(unsigned address, unsigned block, unsigned barrier, float x, float y,
                                    float z, float w) {
    const float numbers[4] = {x, y, z, w};
    gpu_put_later(address, block, barrier, numbers, 4);
}
static inline void shared_put_later(unsigned address, unsigned block, unsigned barrier, float x) {
    gpu_put_later(address, block, barrier, &x, 1);
}
static inline void shared_get(unsigned address, float &x, float &y, float &z, float &w) {
    const float *numbers = (const float *)gpu_get(address);
    x = numbers[0], y = numbers[1], z = numbers[2], w = numbers[3];
}
static inline void map_prefetch(const TensorMap &) {}
template <bool PAIR = false>
static inline void copy_box(unsigned to, const TensorMap &map, unsigned barrier, int x, int y, int z) {
    const int at[3] = {x, y, z};
    gpu_copy_box(to, &map, barrier, 3, at, PAIR);
}
template <bool PAIR = false>
static inline void copy_box(unsigned to, const TensorMap &map, unsigned barrier, int x, int y, int z, int u,
                            int v) {
    const int at[5] = {x, y, z, u, v};
    gpu_copy_box(to, &map, barrier, 5, at, PAIR);
}
template <bool PAIR = false, int AXES>
static inline void copy_windows(unsigned to, const TensorMap &map, unsigned barrier, int channel,
                                const WindowPlace<AXES> &at, const unsigned short (&tap)[3]) {
    int place[AXES + 1];
    memcpy(place, &at, sizeof place);
    gpu_copy_windows(to, &map, barrier, AXES, channel, place, tap, PAIR);
}
template <class Count> static inline void prefetch_part(const void *, Count) {}
template <int COUNT> static inline void registers_to() {}
template <int COUNT> static inline void registers_from() {}
static inline void stores_done() {}
static inline void wgmma_begin() {}
static inline void wgmma_commit() {
    gpu_commit_group();
}
template <int PENDING> static inline void wgmma_wait() {
    gpu_wait_for_groups(PENDING);
}
static inline int wgmma_unknown(int number) {
    return number;
}
template <int COUNT> static inline void wgmma_settle(float (&)[COUNT]) {}
template <class T, int N, bool OUTER_A, bool OUTER_B> struct Wgmma {
    static inline void run(float (&d)[N / 2], unsigned long long a, unsigned long long b, int add) {
        gpu_multiply_group(d, NULL, a, b, add != 0, N, OUTER_A, OUTER_B, ShimNumbers<T>::value);
    }
};
template <class T, int N> struct WgmmaRows {
    static inline void run(float (&d)[N / 2], const unsigned (&a)[4], unsigned long long b, int add) {
        gpu_multiply_group(d, a, 0, b, add != 0, N, false, false, ShimNumbers<T>::value);
    }
};
} // namespace smelt

#endif
