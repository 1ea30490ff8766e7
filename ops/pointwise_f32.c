#include "ops/pointwise_block.h"

#include "base/simd.h"
#include "ops/pointwise_math.h"

#define T(c)            ((float)(c))
#define exp             exp_f32
#define expm1           expm1_f32
#define log             log_f32
#define log1p           log1p_f32
#define tanh            tanh_f32
#define erf             erf_f32
#define sqrt            sqrtf
#define sin             sinf
#define cos             cosf
#define tan             tanf
#define asin            asin_f32
#define acos            acos_f32
#define atan            atan_f32
#define sinh            sinhf
#define cosh            coshf
#define asinh           asinhf
#define acosh           acoshf
#define atanh           atanhf
#define ceil            ceilf
#define floor           floorf
#define rint            rintf
#define pow             powf
#define abs             abs_f32
#define sign            sign_f32
#define max             max_f32
#define min             min_f32
#define divide          divide_f32
#define modulo(x, y, f) modulo_f32(x, y, (f) != 0)

#define BLOCK_TYPE                     float
#define BLOCK_TABLE                    pointwise_f32
#define BLOCK_ATTRIBUTES               SIMD_CLONES
#define BLOCK_KIND(f32, f64, i64, u64) f32
#include "ops/pointwise_block.inc"
