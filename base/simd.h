/* SIMD_CLONES before a function with a hot loop: the compiler emits it for AVX-512, AVX2 and the baseline,
 * and the loader picks. For static functions: GCC exports the dispatcher of any other whatever its
 * visibility. Off under sanitizers, whose start-up cannot run the loader's resolvers. */
#ifndef SMELT_BASE_SIMD_H
#define SMELT_BASE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&     \
    !defined(__SANITIZE_THREAD__) && !defined(SMELT_NO_CLONES)
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

#endif
