// Hopper's machinery for products of matrices, sm_90a alone: barriers in shared memory that count bytes, the engine that
// copies tiles of tensors to shared memory (TMA), and the matrix instruction of four warps (wgmma).
//
// All of it is instructions, which SMELT_ON_HOST something else stands in for.
// Source: PTX ISA 8.0, "Asynchronous Warpgroup Level Matrix Instructions", "mbarrier", "cp.async.bulk.tensor".
#ifndef SMELT_WGMMA_CUH
#define SMELT_WGMMA_CUH

#include "smelt/core.cuh"

namespace smelt {

// A tensor as the copy engine knows it: a kernel parameter (`const __grid_constant__ TensorMap`).
struct alignas(64) TensorMap { u8 bytes[128]; };

// Where a column of windows begins: channel and input coordinates of the first window's first element, with the offset
// of a tap within windows. AXES is the number of spatial axes.
template <int AXES> struct WindowPlace;
template <> struct WindowPlace<1> { int x, n; };
template <> struct WindowPlace<2> { int x, y, n; };
template <> struct WindowPlace<3> { int x, y, z, n; };

#ifndef SMELT_ON_HOST

// Addresses in shared memory are 32-bit numbers.
SMELT_DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
// Of what the launch asks for.
SMELT_DEVICE u32 dynamic_memory() {
    extern __shared__ u8 memory[];
    return shared_address(memory);
}

template <class T> SMELT_DEVICE T &shared_object(u32 address) { return *static_cast<T *>(__cvta_shared_to_generic(address)); }

// -- barriers: 8 bytes in shared memory --

SMELT_DEVICE void barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine.
SMELT_DEVICE void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
SMELT_DEVICE void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
SMELT_DEVICE void barrier_arrive_expecting(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Until the phase of this parity is complete. What the copy engine has brought can be read then; STORED: what other blocks of
// the cluster have stored and counted there too, for which L1 is emptied.
template <bool STORED = false> SMELT_DEVICE void barrier_wait(u32 barrier, u32 parity) {
#define SMELT_WAIT(SCOPE)                                                                                              \
    asm volatile("{\n.reg .pred done;\nAGAIN:\n"                                                                      \
                 "mbarrier.try_wait.parity.acquire." SCOPE ".shared::cta.b64 done, [%0], %1;\n@!done bra AGAIN;\n}" ::"r"(barrier), \
                 "r"(parity)                                                                                           \
                 : "memory")
    if (STORED)
        SMELT_WAIT("cluster");
    else
        SMELT_WAIT("cta");
#undef SMELT_WAIT
}

// -- clusters --

SMELT_DEVICE u32 cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
SMELT_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
// Orders no memory but what a fence in front does (barrier_init_done), and so waits for none.
SMELT_DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
SMELT_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// The same address in the shared memory of a block of the cluster.
SMELT_DEVICE float shared_get_from(u32 address, u32 block) {
    float x;
    asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %1, %2;\n"
                 "ld.shared::cluster.f32 %0, [remote];\n}"
                 : "=f"(x)
                 : "r"(address), "r"(block)
                 : "memory");
    return x;
}
SMELT_DEVICE void shared_put_to(u32 address, u32 block, float x) {
    asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
                 "st.shared::cluster.f32 [remote], %2;\n}" ::"r"(address),
                 "r"(block), "f"(x)
                 : "memory");
}
// At the same barrier of a block of the cluster. What the thread has written is not made visible to that block, which a release
// for the cluster would wait for.
SMELT_DEVICE void barrier_arrive_at(u32 barrier, u32 block) {
    asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(barrier),
                 "r"(block)
                 : "memory");
}
SMELT_DEVICE void shared_put(u32 address, float x) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(x) : "memory");
}
// 16 bytes to the same address in the shared memory of a block of the cluster, counted by its barrier of the same address.
SMELT_DEVICE void shared_put_later(u32 address, u32 block, u32 barrier, float x, float y, float z, float w) {
    asm volatile("{\n.reg .b32 to, counter;\nmapa.shared::cluster.u32 to, %0, %1;\nmapa.shared::cluster.u32 counter, %2, %1;\n"
                 "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [to], {%3, %4, %5, %6}, [counter];\n}" ::"r"(
                     address),
                 "r"(block), "r"(barrier), "f"(x), "f"(y), "f"(z), "f"(w)
                 : "memory");
}
// 4 bytes.
SMELT_DEVICE void shared_put_later(u32 address, u32 block, u32 barrier, float x) {
    asm volatile("{\n.reg .b32 to, counter;\nmapa.shared::cluster.u32 to, %0, %1;\nmapa.shared::cluster.u32 counter, %2, %1;\n"
                 "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.f32 [to], %3, [counter];\n}" ::"r"(address),
                 "r"(block), "r"(barrier), "f"(x)
                 : "memory");
}
// From the own memory.
SMELT_DEVICE void shared_get(u32 address, float &x, float &y, float &z, float &w) {
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x), "=f"(y), "=f"(z), "=f"(w)
                 : "r"(address)
                 : "memory");
}
SMELT_DEVICE void shared_put(u32 address, float x, float y, float z, float w) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x), "f"(y), "f"(z), "f"(w) : "memory");
}
// 16 bytes of global memory, where the compiler would take smaller ones.
SMELT_DEVICE void global_put(void *to, float x, float y, float z, float w) {
    asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(x), "f"(y), "f"(z), "f"(w) : "memory");
}

// The first THREADS threads of the block wait for each other.
template <int THREADS> SMELT_DEVICE void consumers_wait() { asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory"); }
// Those of the thread's warpgroup do.
SMELT_DEVICE void warpgroup_wait() { asm volatile("bar.sync %0, 128;" ::"r"(2 + threadIdx.x / 128) : "memory"); }

// All blocks of a launch that are there together (kernel_together of emit.h) wait for each other, by one thread of each, in front
// of which the block's others have stored what all are to see. The counter is what the driver gives such launches, zero but for
// its highest bit, which each meeting turns over.
// Source: CUDA 13.0, cooperative_groups/details/{driver_abi,sync}.h.
SMELT_DEVICE void grid_meet() {
    u32 high, low, before, now;
    asm volatile("mov.u32 %0, %%envreg1;\n\tmov.u32 %1, %%envreg2;" : "=r"(high), "=r"(low));
    const u64 counter = ((u64)high << 32 | low) + 4; // behind its size
    const u32 own = blockIdx.x + blockIdx.y + blockIdx.z == 0 ? 0x80000000u - (gridDim.x * gridDim.y * gridDim.z - 1) : 1;
    asm volatile("fence.acq_rel.gpu;\n\tatom.add.release.gpu.global.u32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(counter), "r"(own)
                 : "memory");
    do
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(counter) : "memory");
    while (((before ^ now) & 0x80000000u) == 0);
}

// -- the copy engine --

SMELT_DEVICE void map_prefetch(const TensorMap &map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// PAIR: to this place of both blocks of a cluster of two, and to the barrier of each.
#define SMELT_COPY(FORM, AT, ...)                                                                                      \
    if (PAIR)                                                                                                          \
        asm volatile("cp.async.bulk.tensor." FORM ".mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, " AT    \
                     ", %3;" ::"r"(to),                                                                                \
                     "l"(&map), "r"(barrier), "h"((u16)3), __VA_ARGS__                                                 \
                     : "memory");                                                                                      \
    else                                                                                                               \
        asm volatile("cp.async.bulk.tensor." FORM ".mbarrier::complete_tx::bytes [%0], [%1, " AT ";" ::"r"(to),        \
                     "l"(&map), "r"(barrier), "h"((u16)3), __VA_ARGS__                                                 \
                     : "memory")

// Boxes of a map that lies as it is: coordinates of the first element, fastest first.
template <bool PAIR = false> SMELT_DEVICE void copy_box(u32 to, const TensorMap &map, u32 barrier, int x, int y, int z) {
    SMELT_COPY("3d.shared::cluster.global", "{%4, %5, %6}], [%2]", "r"(x), "r"(y), "r"(z));
}
template <bool PAIR = false>
SMELT_DEVICE void copy_box(u32 to, const TensorMap &map, u32 barrier, int x, int y, int z, int u, int v) {
    SMELT_COPY("5d.shared::cluster.global", "{%4, %5, %6, %7, %8}], [%2]", "r"(x), "r"(y), "r"(z), "r"(u), "r"(v));
}
template <bool PAIR = false>
SMELT_DEVICE void copy_windows(u32 to, const TensorMap &map, u32 barrier, int channel, const WindowPlace<1> &at,
                               const u16 (&tap)[3]) {
    SMELT_COPY("3d.shared::cluster.global.im2col", "{%4, %5, %6}], [%2], {%7}", "r"(channel), "r"(at.x), "r"(at.n),
               "h"(tap[0]));
}
template <bool PAIR = false>
SMELT_DEVICE void copy_windows(u32 to, const TensorMap &map, u32 barrier, int channel, const WindowPlace<2> &at,
                               const u16 (&tap)[3]) {
    SMELT_COPY("4d.shared::cluster.global.im2col", "{%4, %5, %6, %7}], [%2], {%8, %9}", "r"(channel), "r"(at.x),
               "r"(at.y), "r"(at.n), "h"(tap[0]), "h"(tap[1]));
}
template <bool PAIR = false>
SMELT_DEVICE void copy_windows(u32 to, const TensorMap &map, u32 barrier, int channel, const WindowPlace<3> &at,
                               const u16 (&tap)[3]) {
    SMELT_COPY("5d.shared::cluster.global.im2col", "{%4, %5, %6, %7, %8}], [%2], {%9, %10, %11}", "r"(channel),
               "r"(at.x), "r"(at.y), "r"(at.z), "r"(at.n), "h"(tap[0]), "h"(tap[1]), "h"(tap[2]));
}
#undef SMELT_COPY

// Asks for a part of these bytes to come to L2; all blocks together ask for all. One thread of a block calls it.
SMELT_DEVICE void prefetch_part(const void *p, Index bytes) {
    const Index each = (quotient(bytes, (Index)gridDim.x) + 127) / 128 * 128, first = (Index)blockIdx.x * each;
    const Index count = smaller(each, bytes - first) / 16 * 16;
    if (count > 0)
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(reinterpret_cast<const u8 *>(p) + first), "r"((u32)count)
                     : "memory");
}

// -- registers of a warpgroup's threads: given back, or taken from what others gave back --

template <int COUNT> SMELT_DEVICE void registers_to() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT)); }
template <int COUNT> SMELT_DEVICE void registers_from() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT)); }

// -- the matrix instruction --

// What the thread has stored to shared memory is seen by instructions and copies that are begun behind a wait for it.
SMELT_DEVICE void stores_done() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

SMELT_DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
SMELT_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING> SMELT_DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
// A number that the compiler does not know: where it sees that a loop has one turn, it may put an instruction that it needs
// itself into another one's way, and all wait for each other.
SMELT_DEVICE int wgmma_unknown(int number) {
    asm volatile("" : "+r"(number));
    return number;
}
// Behind a wait: sums are not read in front of it.
template <int COUNT> SMELT_DEVICE void wgmma_settle(float (&sums)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}

#define SMELT_F8(i)                                                                                                    \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),        \
        "+f"(d[i + 7])
#define SMELT_R0 "%0,%1,%2,%3,%4,%5,%6,%7"
#define SMELT_R1 SMELT_R0 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define SMELT_R2 SMELT_R1 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define SMELT_R3 SMELT_R2 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define SMELT_R4 SMELT_R3 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define SMELT_R5 SMELT_R4 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define SMELT_R6 SMELT_R5 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define SMELT_R7 SMELT_R6 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define SMELT_R8 SMELT_R7 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define SMELT_R9 SMELT_R8 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define SMELT_R10 SMELT_R9 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define SMELT_R11 SMELT_R10 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define SMELT_R12 SMELT_R11 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define SMELT_R13 SMELT_R12 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define SMELT_R14 SMELT_R13 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define SMELT_R15 SMELT_R14 ",%120,%121,%122,%123,%124,%125,%126,%127"
#define SMELT_O0 SMELT_F8(0)
#define SMELT_O1 SMELT_O0, SMELT_F8(8)
#define SMELT_O2 SMELT_O1, SMELT_F8(16)
#define SMELT_O3 SMELT_O2, SMELT_F8(24)
#define SMELT_O4 SMELT_O3, SMELT_F8(32)
#define SMELT_O5 SMELT_O4, SMELT_F8(40)
#define SMELT_O6 SMELT_O5, SMELT_F8(48)
#define SMELT_O7 SMELT_O6, SMELT_F8(56)
#define SMELT_O8 SMELT_O7, SMELT_F8(64)
#define SMELT_O9 SMELT_O8, SMELT_F8(72)
#define SMELT_O10 SMELT_O9, SMELT_F8(80)
#define SMELT_O11 SMELT_O10, SMELT_F8(88)
#define SMELT_O12 SMELT_O11, SMELT_F8(96)
#define SMELT_O13 SMELT_O12, SMELT_F8(104)
#define SMELT_O14 SMELT_O13, SMELT_F8(112)
#define SMELT_O15 SMELT_O14, SMELT_F8(120)

// d (64 x N) += or = a (64 x 16) b (16 x N) with both operands in shared memory, by 128 threads of a warpgroup; OUTER_A,
// OUTER_B: the depth of the operand is its outer dimension. Of float the depth is 8, operands are cut off to TF32, and their
// depth is their inner dimension. Thread t has of d row t / 32 * 16 + t % 32 / 4 + 8 * h, column
// p * 8 + t % 4 * 2 + e in d[p * 4 + h * 2 + e].
template <class T, int N, bool OUTER_A, bool OUTER_B> struct Wgmma;

#define SMELT_WGMMA_OF(TYPE, NAME, N, K, A, B, P, TA, TB)                                                              \
    template <bool OUTER_A, bool OUTER_B> struct Wgmma<TYPE, N, OUTER_A, OUTER_B> {                                    \
        static SMELT_DEVICE void run(float (&d)[N / 2], u64 a, u64 b, int add) {                                       \
            asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " P ", 0;\n"                                            \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " {" SMELT_R##K "}, " A ", " B\
                         ", add, 1, 1, " TA ", " TB ";\n}"                                                             \
                         : SMELT_O##K                                                                                  \
                         : "l"(a), "l"(b), "r"(add), "n"((int)OUTER_A), "n"((int)OUTER_B));                            \
        }                                                                                                              \
    };
// The left operand in registers: of rows and depth as d has rows and columns, two neighbours in each, [depth / 8 * 2 + h].
template <class T, int N> struct WgmmaRows;
#define SMELT_WGMMA_ROWS(TYPE, NAME, N, K, A0, A1, A2, A3, B, P)                                                       \
    template <> struct WgmmaRows<TYPE, N> {                                                                            \
        static SMELT_DEVICE void run(float (&d)[N / 2], const u32 (&a)[4], u64 b, int add) {                           \
            asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " P ", 0;\n"                                            \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " {" SMELT_R##K "}, {" A0 "," \
                         A1 "," A2 "," A3 "}, " B ", add, 1, 1, 0;\n}"                                                 \
                         : SMELT_O##K                                                                                  \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));                              \
        }                                                                                                              \
    };
#define SMELT_WGMMA_TF32(N, K, A, B, P)                                                                                \
    template <> struct Wgmma<float, N, false, false> {                                                                 \
        static SMELT_DEVICE void run(float (&d)[N / 2], u64 a, u64 b, int add) {                                       \
            asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " P ", 0;\n"                                            \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" SMELT_R##K "}, " A ", " B         \
                         ", add, 1, 1;\n}"                                                                             \
                         : SMELT_O##K                                                                                  \
                         : "l"(a), "l"(b), "r"(add));                                                                  \
        }                                                                                                              \
    };
#define SMELT_WGMMA(N, K, A, B, P, TA, TB)                                                                             \
    SMELT_WGMMA_TF32(N, K, A, B, P)                                                                                    \
    SMELT_WGMMA_OF(smelt_half, "f16", N, K, A, B, P, TA, TB)                                                           \
    SMELT_WGMMA_OF(smelt_bf16, "bf16", N, K, A, B, P, TA, TB)
SMELT_WGMMA(32, 1, "%16", "%17", "%18", "%19", "%20")
SMELT_WGMMA(48, 2, "%24", "%25", "%26", "%27", "%28")
SMELT_WGMMA(64, 3, "%32", "%33", "%34", "%35", "%36")
SMELT_WGMMA(80, 4, "%40", "%41", "%42", "%43", "%44")
SMELT_WGMMA(96, 5, "%48", "%49", "%50", "%51", "%52")
SMELT_WGMMA(112, 6, "%56", "%57", "%58", "%59", "%60")
SMELT_WGMMA(128, 7, "%64", "%65", "%66", "%67", "%68")
SMELT_WGMMA(144, 8, "%72", "%73", "%74", "%75", "%76")
SMELT_WGMMA(160, 9, "%80", "%81", "%82", "%83", "%84")
SMELT_WGMMA(176, 10, "%88", "%89", "%90", "%91", "%92")
SMELT_WGMMA(192, 11, "%96", "%97", "%98", "%99", "%100")
SMELT_WGMMA(208, 12, "%104", "%105", "%106", "%107", "%108")
SMELT_WGMMA(224, 13, "%112", "%113", "%114", "%115", "%116")
SMELT_WGMMA(240, 14, "%120", "%121", "%122", "%123", "%124")
SMELT_WGMMA(256, 15, "%128", "%129", "%130", "%131", "%132")
SMELT_WGMMA_ROWS(smelt_half, "f16", 64, 3, "%32", "%33", "%34", "%35", "%36", "%37")
#undef SMELT_WGMMA
#undef SMELT_WGMMA_TF32
#undef SMELT_WGMMA_ROWS
#undef SMELT_WGMMA_OF
#undef SMELT_F8
#undef SMELT_R0
#undef SMELT_R1
#undef SMELT_R2
#undef SMELT_R3
#undef SMELT_R4
#undef SMELT_R5
#undef SMELT_R6
#undef SMELT_R7
#undef SMELT_R8
#undef SMELT_R9
#undef SMELT_R10
#undef SMELT_R11
#undef SMELT_R12
#undef SMELT_R13
#undef SMELT_R14
#undef SMELT_R15
#undef SMELT_O0
#undef SMELT_O1
#undef SMELT_O2
#undef SMELT_O3
#undef SMELT_O4
#undef SMELT_O5
#undef SMELT_O6
#undef SMELT_O7
#undef SMELT_O8
#undef SMELT_O9
#undef SMELT_O10
#undef SMELT_O11
#undef SMELT_O12
#undef SMELT_O13
#undef SMELT_O14
#undef SMELT_O15

#endif

// What the instruction is told about an operand in shared memory, but its address. SWIZZLE: bytes of a line, over which
// its 16-byte parts are exchanged. Lines along the depth: group is the distance in bytes from 8 lines to the next 8, strip
// means nothing. Lines across the depth: group is that from 8 lines (of the depth) to the next 8, strip that from SWIZZLE
// bytes of lines to the next.
template <int SWIZZLE> SMELT_DEVICE u64 operand_form(u32 strip, u32 group) {
    const u64 mode = SWIZZLE == 128 ? 1 : SWIZZLE == 64 ? 2 : 3;
    return mode << 62 | (u64)(group >> 4) << 32 | (u64)(strip >> 4) << 16;
}
SMELT_DEVICE u64 operand_at(u64 form, u32 address) { return form | (u64)((address & 0x3ffff) >> 4); }
// The same so many bytes further, which are known to the compiler: only one half of the number changes.
SMELT_DEVICE u64 operand_behind(u64 operand, u32 bytes) { return operand >> 32 << 32 | (u32)((u32)operand + (bytes >> 4)); }
// Where 16 bytes of a line of LINE bytes lie in a tile, from the tile's beginning on.
template <int LINE> SMELT_DEVICE u32 swizzled(u32 line, u32 part) {
    const u32 at = line * LINE + part * 16;
    return at ^ (at >> 3 & (LINE - 16));
}

// What is done to a kernel's input in shared memory: nothing, or as PlaneNormal of wgmma_normal.cuh says.
struct NoNormal { static const bool normalizes = false; };
// The block's.
template <class Normal> SMELT_DEVICE typename Normal::Scales &scales_of() {
    __shared__ typename Normal::Scales scales;
    return scales;
}

// What a kernel does with its results besides: nothing, or as PlanesBehind of wgmma_behind.cuh says.
struct NoBehind { static const bool normalizes = false; };

} // namespace smelt

#endif
