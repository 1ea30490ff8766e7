// Matrix units as every architecture has them: products of small matrices whose elements are spread over the
// registers of a warp, and what brings them there.
//
// Lane l holds of a 16 x 16 left operand rows l / 4 and l / 4 + 8, columns 2 (l % 4) and 8 more, two neighbours in a register;
// of a 16 x 8 right operand column l / 4, rows 2 (l % 4) and 8 more; of the 16 x 8 result rows l / 4 and l / 4 + 8, columns
// 2 (l % 4) and the next.
//
// All of it is instructions, which SMELT_ON_HOST something else stands in for.
#ifndef SMELT_MMA_CUH
#define SMELT_MMA_CUH

#include "smelt/core.cuh"

namespace smelt {

#ifndef SMELT_ON_HOST

// c += a * b of smelt_half, 8 deep: lane l holds a's columns 2 (l % 4) and the next, of b those rows.
SMELT_DEVICE void multiply_shallow(float (&c)[4], u32 a0, u32 a1, u32 b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
}

// c += a * b. T: smelt_half, whose products sm_75 does in two halves of the depth, or smelt_bf16 (from sm_80 on).
template <class T> SMELT_DEVICE void multiply_matrices(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
    if (Same<T, smelt_half>::value)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    if (Same<T, smelt_half>::value) {
        multiply_shallow(c, a[0], a[1], b0);
        multiply_shallow(c, a[2], a[3], b1);
    }
#endif
}

// c += a * b of floats with 10 bits of fraction (TF32; the others count for nothing) and a depth of 8: lane l holds of a rows l / 4
// and l / 4 + 8 of column l % 4, then of column 4 more; of b column l / 4, rows l % 4 and 4 more. From sm_80 on.
SMELT_DEVICE void multiply_floats(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Such a float: the nearest, ties away from zero.
SMELT_DEVICE u32 tf32_of(float x) {
    u32 bits = bits_of_float(x);
#if __CUDA_ARCH__ >= 800
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
    return bits;
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane l gives the place of row l % 8 of matrix l / 8. Lane l gets
// row l / 4, columns 2 (l % 4) and the next of each; TRANSPOSED: column l / 4, rows 2 (l % 4) and the next.
template <bool TRANSPOSED> SMELT_DEVICE void load_matrices(u32 (&to)[4], const void *row) {
    const u32 place = (u32)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(place) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(place) : "memory");
}

// BYTES (4, 8 or 16) to shared memory, of which the first `there` are read and the others zeros; done once a wait has seen the
// group that is closed behind it. sm_75 has no such copies: it reads with begin and stores with end, which the others ignore.
template <int BYTES> struct LaterCopy {
#if __CUDA_ARCH__ >= 800
    SMELT_DEVICE void begin(void *to, const void *from, int there) {
        const u32 place = (u32)__cvta_generic_to_shared(to);
        if (BYTES == 16)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(there) : "memory");
        else
            asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(place), "l"(from), "n"(BYTES), "r"(there) : "memory");
    }
    SMELT_DEVICE void end() {}
#else
    typedef Pack<u8, BYTES> Bytes;
    Bytes held;
    Bytes *place;
    SMELT_DEVICE void begin(void *to, const void *from, int there) {
        place = static_cast<Bytes *>(to);
        held = Bytes{};
        if (there == BYTES)
            held = *static_cast<const Bytes *>(from);
        else
#pragma unroll
            for (int i = 0; i < BYTES; ++i)
                if (i < there) held.at[i] = static_cast<const u8 *>(from)[i];
    }
    SMELT_DEVICE void end() { *place = held; }
#endif
};
// BYTES, zeros unless `inside`.
template <int BYTES = 16> SMELT_DEVICE void copy_later(void *to, const void *from, bool inside) {
    LaterCopy<BYTES> copy;
    copy.begin(to, from, inside ? BYTES : 0);
    copy.end();
}
SMELT_DEVICE void close_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until all groups but the last OPEN ones are there, for the calling thread's copies.
template <int OPEN> SMELT_DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
#endif
}

// The block's dynamic shared memory.
SMELT_DEVICE u8 *block_memory() {
    extern __shared__ uint4 block[];
    return reinterpret_cast<u8 *>(block);
}

#endif

} // namespace smelt

#endif
