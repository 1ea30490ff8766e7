// What all device code shares: the index type, element types and their conversions, vectors of elements.
//
// Compiles with NVRTC without any include path and with nvcc, for sm_75 and up. A unit that defines SMELT_INDEX before it
// includes this chooses the type of indices.
#ifndef SMELT_CORE_CUH
#define SMELT_CORE_CUH

#ifndef SMELT_INDEX
#define SMELT_INDEX int
#endif
#define SMELT_DEVICE __device__ __forceinline__

namespace smelt {

typedef SMELT_INDEX Index;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

// -- types without compiler support, as they lie in memory --

struct smelt_bool { u8 bits; };
struct smelt_half { u16 bits; };
struct smelt_bf16 { u16 bits; };
struct smelt_f8e4m3fn { u8 bits; };
struct smelt_f8e4m3fnuz { u8 bits; };
struct smelt_f8e5m2 { u8 bits; };
struct smelt_f8e5m2fnuz { u8 bits; };
struct smelt_f8e8m0 { u8 bits; };

template <class A, class B> struct Same { static const bool value = false; };
template <class A> struct Same<A, A> { static const bool value = true; };

// What registers hold an element in between operators: floats for narrow floats, bool, else the type itself.
template <class T> struct RegisterOf { typedef T type; };
template <> struct RegisterOf<smelt_bool> { typedef bool type; };
template <> struct RegisterOf<smelt_half> { typedef float type; };
template <> struct RegisterOf<smelt_bf16> { typedef float type; };
template <> struct RegisterOf<smelt_f8e4m3fn> { typedef float type; };
template <> struct RegisterOf<smelt_f8e4m3fnuz> { typedef float type; };
template <> struct RegisterOf<smelt_f8e5m2> { typedef float type; };
template <> struct RegisterOf<smelt_f8e5m2fnuz> { typedef float type; };
template <> struct RegisterOf<smelt_f8e8m0> { typedef float type; };
template <class T> using Register = typename RegisterOf<T>::type;

// What sums and expressions compute in: float, double for f64, 64-bit integers.
template <class R> struct ComputeOfRegister { typedef R type; };
template <> struct ComputeOfRegister<signed char> { typedef i64 type; };
template <> struct ComputeOfRegister<short> { typedef i64 type; };
template <> struct ComputeOfRegister<int> { typedef i64 type; };
template <> struct ComputeOfRegister<bool> { typedef u64 type; };
template <> struct ComputeOfRegister<u8> { typedef u64 type; };
template <> struct ComputeOfRegister<u16> { typedef u64 type; };
template <> struct ComputeOfRegister<u32> { typedef u64 type; };
template <class T> using Compute = typename ComputeOfRegister<Register<T>>::type;

template <class T> struct IsFloat { static const bool value = Same<T, float>::value || Same<T, double>::value; };

// -- numbers --

SMELT_DEVICE float float_of_bits(u32 bits) { return __uint_as_float(bits); }
SMELT_DEVICE u32 bits_of_float(float x) { return __float_as_uint(x); }
SMELT_DEVICE float infinity_f32() { return float_of_bits(0x7f800000u); }
SMELT_DEVICE float nan_f32() { return float_of_bits(0x7fc00000u); }
SMELT_DEVICE double infinity_f64() { return (double)infinity_f32(); }
SMELT_DEVICE double nan_f64() { return (double)nan_f32(); }

template <class T> SMELT_DEVICE T smaller(T a, T b) { return b < a ? b : a; }
template <class T> SMELT_DEVICE T larger(T a, T b) { return a < b ? b : a; }
// NaN when either is NaN.
SMELT_DEVICE float larger_or_nan(float a, float b) {
#if !defined(SMELT_ON_HOST) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
#else
    return a > b || a != a ? a : b;
#endif
}
template <class T> SMELT_DEVICE T ceil_div(T a, T b) { return (a + b - 1) / b; }

// Division of indices, which are never negative: cheaper without signs.
SMELT_DEVICE int quotient(int a, int b) { return (int)((u32)a / (u32)b); }
SMELT_DEVICE i64 quotient(i64 a, i64 b) { return (i64)((u64)a / (u64)b); }
SMELT_DEVICE i64 quotient(i64 a, int b) { return quotient(a, (i64)b); }
SMELT_DEVICE int residue(int a, int b) { return (int)((u32)a % (u32)b); }
SMELT_DEVICE i64 residue(i64 a, i64 b) { return (i64)((u64)a % (u64)b); }
SMELT_DEVICE i64 residue(i64 a, int b) { return residue(a, (i64)b); }

// The lowest and highest value of a compute type.
template <class T> SMELT_DEVICE T lowest();
template <> SMELT_DEVICE float lowest<float>() { return -infinity_f32(); }
template <> SMELT_DEVICE double lowest<double>() { return -infinity_f64(); }
template <> SMELT_DEVICE i64 lowest<i64>() { return -0x7fffffffffffffffll - 1; }
template <> SMELT_DEVICE u64 lowest<u64>() { return 0; }
template <class T> SMELT_DEVICE T highest();
template <> SMELT_DEVICE float highest<float>() { return infinity_f32(); }
template <> SMELT_DEVICE double highest<double>() { return infinity_f64(); }
template <> SMELT_DEVICE i64 highest<i64>() { return 0x7fffffffffffffffll; }
template <> SMELT_DEVICE u64 highest<u64>() { return ~0ull; }

// -- narrow floats --

// The float next to the number that is odd in its last bit, or the number itself where it is exact: rounding that again
// to a narrower type rounds once. Source: Boldo & Melquiond, "When double rounding is odd", 2005.
SMELT_DEVICE float odd_float(float x) { return x; }
SMELT_DEVICE float odd_float(double x) {
    float cut = __double2float_rz(x);
    bool exact = (double)cut == x || x != x;
    return exact ? cut : float_of_bits(bits_of_float(cut) | 1);
}
SMELT_DEVICE float odd_float(u64 x) {
    float cut = __ull2float_rz(x);
    return (u64)cut == x ? cut : float_of_bits(bits_of_float(cut) | 1);
}
SMELT_DEVICE float odd_float(i64 x) {
    float magnitude = odd_float(x < 0 ? 0 - (u64)x : (u64)x);
    return x < 0 ? -magnitude : magnitude;
}

#ifndef SMELT_ON_HOST
SMELT_DEVICE float half_to_float(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
SMELT_DEVICE u16 half_of_float(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

// 2^x and 1 / x, to about 2 units in the last place; numbers below the normal ones are 0.
SMELT_DEVICE float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
SMELT_DEVICE float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Two halves, or two bf16, in a register: the larger of each; the number where one of two is NaN.
SMELT_DEVICE u32 larger_halves(u32 a, u32 b) {
    u32 y;
#if __CUDA_ARCH__ >= 800
    asm("max.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
#else
    const float low = ::fmaxf(half_to_float((u16)a), half_to_float((u16)b));
    y = half_of_float(low) | (u32)half_of_float(::fmaxf(half_to_float((u16)(a >> 16)), half_to_float((u16)(b >> 16)))) << 16;
#endif
    return y;
}
SMELT_DEVICE u32 larger_bf16s(u32 a, u32 b) {
    u32 y;
#if __CUDA_ARCH__ >= 800
    asm("max.bf16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
#else
    const float low = ::fmaxf(float_of_bits(a << 16), float_of_bits(b << 16));
    const float high = ::fmaxf(float_of_bits(a & 0xffff0000u), float_of_bits(b & 0xffff0000u));
    y = bits_of_float(low) >> 16 | (bits_of_float(high) & 0xffff0000u);
#endif
    return y;
}
#endif

// The u16 that bf16 rounds to, to nearest even.
SMELT_DEVICE u16 bf16_of_float(float x) {
#if !defined(SMELT_ON_HOST) && __CUDA_ARCH__ >= 800
    u16 rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
    return rounded;
#else
    u32 bits = bits_of_float(x);
    u32 rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (u16)(x != x ? bits >> 16 | 0x40 : rounded);
#endif
}

SMELT_DEVICE u16 narrow_bits(smelt_half, float x) { return half_of_float(x); }
SMELT_DEVICE u16 narrow_bits(smelt_bf16, float x) { return bf16_of_float(x); }
// Two neighbours of 16 bits, smelt_half or smelt_bf16, in a register.
template <class T> SMELT_DEVICE u32 pair_of(float first, float second) {
#if !defined(SMELT_ON_HOST) && __CUDA_ARCH__ >= 800
    u32 pair;
    if (Same<T, smelt_half>::value) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
#else
    return narrow_bits(T{}, first) | (u32)narrow_bits(T{}, second) << 16;
#endif
}

// An 8-bit format: mantissa bits, exponent bias, code of the largest magnitude, of infinity (that of NaN where there is
// none) and NaN. FNUZ formats have one zero and one NaN, the code of the sign alone.
template <int MANTISSA, int BIAS, int LARGEST, int INFINITE, int NAN_CODE, bool FNUZ> struct Minifloat {
    static SMELT_DEVICE float widen(u8 code) {
        const u32 sign = (u32)(code & 0x80) << 24, magnitude = code & 0x7f;
        if (FNUZ && code == 0x80) return nan_f32();
        if (!FNUZ && magnitude > LARGEST)
            return float_of_bits((magnitude == INFINITE && INFINITE != NAN_CODE ? 0x7f800000u : 0x7fc00000u) | sign);
        const u32 exponent = magnitude >> MANTISSA, fraction = magnitude & ((1u << MANTISSA) - 1);
        const float scale = float_of_bits((larger(exponent, 1u) + 127 - BIAS - MANTISSA) << 23);
        const float value = (float)(exponent == 0 ? fraction : fraction | 1u << MANTISSA) * scale;
        return float_of_bits(bits_of_float(value) | sign);
    }
    // To nearest even; out of range becomes the largest value (saturate), else infinity or NaN.
    static SMELT_DEVICE u8 narrow(float x, bool saturate) {
        const u32 sign = bits_of_float(x) >> 24 & 0x80, magnitude = bits_of_float(x) & 0x7fffffff;
        if (magnitude > 0x7f800000u) return (u8)(FNUZ ? NAN_CODE : NAN_CODE | sign);
        const int exponent = (int)(magnitude >> 23) - 127, least = 1 - BIAS;
        u32 code = 0;
        if (exponent >= least - MANTISSA - 1) {
            const int kept = larger(exponent, least), shift = 23 - MANTISSA + (kept - exponent);
            const u32 significand = (magnitude & 0x7fffff) | 0x800000;
            code = ((u32)(kept - least) << MANTISSA) +
                   ((significand + (1u << (shift - 1)) - 1 + (significand >> shift & 1)) >> shift);
        }
        if (code > LARGEST) {
            if (!saturate && FNUZ) return NAN_CODE;
            code = saturate ? LARGEST : INFINITE;
        }
        return (u8)(FNUZ && code == 0 ? 0 : code | sign);
    }
};
typedef Minifloat<3, 7, 0x7e, 0x7f, 0x7f, false> E4M3FN;
typedef Minifloat<3, 8, 0x7f, 0x80, 0x80, true> E4M3FNUZ;
typedef Minifloat<2, 15, 0x7b, 0x7c, 0x7e, false> E5M2;
typedef Minifloat<2, 16, 0x7f, 0x80, 0x80, true> E5M2FNUZ;

SMELT_DEVICE float e8m0_to_float(u8 code) {
    return code == 0xff ? nan_f32() : code == 0 ? float_of_bits(0x00400000u) : float_of_bits((u32)code << 23);
}

// -- conversion between types of registers --

// A real as an integer: cut off towards zero, bounded by the target's range, NaN as 0.
template <class R> SMELT_DEVICE R integer_of_real(double x) {
    const bool is_signed = (R)-1 < (R)0;
    const double limit = 2.0 * (double)(1ull << (sizeof(R) * 8 - 1 - (is_signed ? 1 : 0)));
    if (!(x == x)) return 0;
    if (x >= limit) return is_signed ? (R)((1ull << (sizeof(R) * 8 - 1)) - 1) : (R)~0ull;
    if (is_signed ? x < -limit : x <= 0) return is_signed ? (R)(1ull << (sizeof(R) * 8 - 1)) : (R)0;
    return is_signed ? (R)(i64)x : (R)(u64)x;
}

template <class To, class From, bool REAL_TO_INTEGER> struct Converter {
    static SMELT_DEVICE To apply(From x) { return (To)x; }
};
template <class To, class From> struct Converter<To, From, true> {
    static SMELT_DEVICE To apply(From x) { return integer_of_real<To>((double)x); }
};
template <class From> struct Converter<bool, From, true> {
    static SMELT_DEVICE bool apply(From x) { return x != 0; }
};

// Integers wrap; reals become integers by truncation, within the range; bool is x != 0. Integers become floats rounding
// once.
template <class To, class From> SMELT_DEVICE To convert(From x) {
    return Converter<To, From, IsFloat<From>::value && !IsFloat<To>::value>::apply(x);
}

// -- memory --

// An element in the register that holds it.
template <class T> SMELT_DEVICE T fetch(T x) { return x; }
SMELT_DEVICE bool fetch(smelt_bool x) { return x.bits != 0; }
SMELT_DEVICE float fetch(smelt_half x) { return half_to_float(x.bits); }
SMELT_DEVICE float fetch(smelt_bf16 x) { return float_of_bits((u32)x.bits << 16); }
SMELT_DEVICE float fetch(smelt_f8e4m3fn x) { return E4M3FN::widen(x.bits); }
SMELT_DEVICE float fetch(smelt_f8e4m3fnuz x) { return E4M3FNUZ::widen(x.bits); }
SMELT_DEVICE float fetch(smelt_f8e5m2 x) { return E5M2::widen(x.bits); }
SMELT_DEVICE float fetch(smelt_f8e5m2fnuz x) { return E5M2FNUZ::widen(x.bits); }
SMELT_DEVICE float fetch(smelt_f8e8m0 x) { return e8m0_to_float(x.bits); }

// Stores any number as an element: to nearest even for floats (8-bit ones saturate), as convert() for integers.
template <class T, class A> SMELT_DEVICE void put(T &to, A x) { to = convert<T>(x); }
template <class A> SMELT_DEVICE void put(smelt_bool &to, A x) { to.bits = x != 0; }
template <class A> SMELT_DEVICE float rounds_once(A x) { return odd_float((Compute<A>)x); }
template <class A> SMELT_DEVICE void put(smelt_half &to, A x) { to.bits = half_of_float(rounds_once(x)); }
template <class A> SMELT_DEVICE void put(smelt_bf16 &to, A x) { to.bits = bf16_of_float(rounds_once(x)); }
template <class A> SMELT_DEVICE void put(smelt_f8e4m3fn &to, A x) { to.bits = E4M3FN::narrow(rounds_once(x), true); }
template <class A> SMELT_DEVICE void put(smelt_f8e4m3fnuz &to, A x) { to.bits = E4M3FNUZ::narrow(rounds_once(x), true); }
template <class A> SMELT_DEVICE void put(smelt_f8e5m2 &to, A x) { to.bits = E5M2::narrow(rounds_once(x), true); }
template <class A> SMELT_DEVICE void put(smelt_f8e5m2fnuz &to, A x) { to.bits = E5M2FNUZ::narrow(rounds_once(x), true); }
// The nearest power of two, ties up.
template <class A> SMELT_DEVICE void put(smelt_f8e8m0 &to, A x) {
    const u32 magnitude = bits_of_float(rounds_once(x)) & 0x7fffffff;
    const u32 code = magnitude < 0x800000u ? magnitude >= 0x600000u : magnitude + 0x400000 >> 23;
    to.bits = magnitude > 0x7f800000u ? 0xff : (u8)smaller(code, 0xfeu);
}

// What a store as T and a load make of a number.
template <class T, class A> SMELT_DEVICE Register<T> stored(A x) {
    T element;
    put(element, x);
    return fetch(element);
}

// The place among `extent`, at least one, that an element of an index tensor names; negative ones count from the end. What is
// outside, which the host's kernels refuse, is the nearest place.
SMELT_DEVICE Index selected(i64 index, Index extent) {
    const i64 own = index < 0 ? index + (i64)extent : index;
    return (Index)smaller(larger(own, (i64)0), (i64)extent - 1);
}

// An element in its compute type, as the number type A ("load_as<float>(p, i)"), and back.
template <class A, class T> SMELT_DEVICE A load_as(const T *p, Index i) { return convert<A>(fetch(p[i])); }
template <class T> SMELT_DEVICE Compute<T> load(const T *p, Index i) { return convert<Compute<T>>(fetch(p[i])); }
template <class T, class A> SMELT_DEVICE void store(T *p, Index i, A x) { put(p[i], x); }

// Operands that are computed or do not lie one behind the other, generated: element i is x.at<A>(i), and x.first<A>(i) where it
// is read for the first time.
template <class A, class X, class = typename X::Element> SMELT_DEVICE A load_as(const X &x, Index i) {
    return x.template at<A>(i);
}
template <class X> SMELT_DEVICE Compute<typename X::Element> load(const X &x, Index i) {
    return x.template at<Compute<typename X::Element>>(i);
}
template <class A, class T> SMELT_DEVICE A load_first(const T *p, Index i) { return load_as<A>(p, i); }
template <class A, class X, class = typename X::Element> SMELT_DEVICE A load_first(const X &x, Index i) {
    return x.template first<A>(i);
}
// The type of the elements, whatever qualifies the pointer.
template <class T> struct TypeOf { typedef T type; };
template <class T> __device__ TypeOf<T> element_of(const T *p);
template <class X> __device__ TypeOf<typename X::Element> element_of(const X &x);
template <class X> using ElementOf = typename decltype(element_of(*static_cast<const X *>(nullptr)))::type;

// N elements that are read and written with one access, or several of 16 bytes; index multiples of N of aligned arrays.
template <class T, int N> struct alignas(sizeof(T) * N > 16 ? 16 : sizeof(T) * N) Pack { T at[N]; };
template <int N, class T> SMELT_DEVICE Pack<T, N> load_pack(const T *p, Index i) {
    return *reinterpret_cast<const Pack<T, N> *>(p + i);
}
template <class T, int N> SMELT_DEVICE void store_pack(T *p, Index i, const Pack<T, N> &pack) {
    *reinterpret_cast<Pack<T, N> *>(p + i) = pack;
}

// How packs are loaded: where the compiler sees fit; or begun right here, so that what follows goes on while they come.
struct PackLoads {
    template <int N, class T> static SMELT_DEVICE Pack<T, N> pack(const T *p, Index i) { return load_pack<N>(p, i); }
};
struct EarlyLoads {
    template <int N, class T> static SMELT_DEVICE Pack<T, N> pack(const T *p, Index i) {
#ifndef SMELT_ON_HOST
        if constexpr (sizeof(Pack<T, N>) == 16) {
            Pack<T, N> pack;
            u32 *words = reinterpret_cast<u32 *>(&pack);
            asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                         : "l"(p + i));
            return pack;
        }
#endif
        return load_pack<N>(p, i);
    }
};

// The pack where there is one, else the other; 16 bytes as one instruction, so that many can be under way together.
template <int N, class T> SMELT_DEVICE Pack<T, N> load_pack_if(bool is_there, const T *p, Index i, Pack<T, N> pack = {}) {
#ifndef SMELT_ON_HOST
    if constexpr (sizeof(pack) % 16 == 0) {
        u32 *words = reinterpret_cast<u32 *>(&pack);
#pragma unroll
        for (int w = 0; w < (int)sizeof(pack) / 4; w += 4)
            asm volatile("{\n\t.reg .pred there;\n\tsetp.ne.u32 there, %5, 0;\n\t"
                         "@there ld.global.v4.u32 {%0, %1, %2, %3}, [%4];\n\t}"
                         : "+r"(words[w]), "+r"(words[w + 1]), "+r"(words[w + 2]), "+r"(words[w + 3])
                         : "l"(reinterpret_cast<const u32 *>(p + i) + w), "r"((u32)is_there));
        return pack;
    }
#endif
    return is_there ? load_pack<N>(p, i) : pack;
}

// What put makes of each; T: of 16 bits.
template <class T, int N> SMELT_DEVICE Pack<T, N> narrowed(const float (&x)[N]) {
    union { u32 pairs[(N + 1) / 2]; Pack<T, N> pack; } all;
    if constexpr (N % 2 == 0) {
#pragma unroll
        for (int k = 0; k < N; k += 2) all.pairs[k / 2] = pair_of<T>(x[k], x[k + 1]);
    } else {
#pragma unroll
        for (int k = 0; k < N; ++k) put(all.pack.at[k], x[k]);
    }
    return all.pack;
}

// Asks for what lies there to come to the L2 cache.
template <class T> SMELT_DEVICE void prefetch_l2(const T *p) {
#ifndef SMELT_ON_HOST
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

// The unsigned integer of so many bytes: what moves elements without looking at them.
template <int BYTES> struct RawOf;
template <> struct RawOf<1> { typedef u8 type; };
template <> struct RawOf<2> { typedef u16 type; };
template <> struct RawOf<4> { typedef u32 type; };
template <> struct RawOf<8> { typedef u64 type; };
template <class T> using Raw = typename RawOf<sizeof(T)>::type;
template <class T> SMELT_DEVICE const Raw<T> *raw(const T *p) { return reinterpret_cast<const Raw<T> *>(p); }
template <class T> SMELT_DEVICE Raw<T> *raw(T *p) { return reinterpret_cast<Raw<T> *>(p); }

// -- kernels one behind the other --

// From sm_90 on a kernel may begin while those in front of it still run. Every thread comes here before it touches memory:
// it goes on when they have ended and what they wrote is seen. Then the next kernel may be put in place, to wait itself.
SMELT_DEVICE void wait_for_previous_kernel() {
#if !defined(SMELT_ON_HOST) && defined(__CUDA_ARCH__)
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
#endif
}

// -- loops --

SMELT_DEVICE Index thread_index() { return (Index)blockIdx.x * (Index)blockDim.x + (Index)threadIdx.x; }
SMELT_DEVICE Index thread_count() { return (Index)gridDim.x * (Index)blockDim.x; }

// Takes the last digit, of one that counts to extent, from a number.
SMELT_DEVICE Index next_digit(Index &rest, Index extent) {
    const Index up = quotient(rest, extent), digit = rest - up * extent;
    rest = up;
    return digit;
}

// Runs body.run<N>(i) for i = 0, N, 2N, ... below count, and body.run<1>(i) for each i of the rest; this is block number `block`
// of so many.
template <int N, class Body> SMELT_DEVICE void for_each_pack_of(Index block, Index blocks, Index count, const Body &body) {
    const Index whole = count / N * N, own = block * (Index)blockDim.x + (Index)threadIdx.x;
    for (Index i = own * N; i < whole; i += blocks * (Index)blockDim.x * N) body.template run<N>(i);
    if (N > 1 && whole + own < count) body.template run<1>(whole + own);
}
template <int N, class Body> SMELT_DEVICE void for_each_pack(Index count, const Body &body) {
    for_each_pack_of<N>((Index)blockIdx.x, (Index)gridDim.x, count, body);
}

} // namespace smelt

#endif
