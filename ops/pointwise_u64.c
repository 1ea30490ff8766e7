#include "ops/pointwise_block.h"

#include "base/simd.h"
#include "ops/pointwise_math.h"

#define abs                abs_u64
#define sign               sign_u64
#define max                max_u64
#define min                min_u64
#define pow                pow_u64
#define divide             divide_u64
#define modulo(x, y, f)    modulo_u64(x, y, (f) != 0)
#define shift(x, y, right) shift_u64(x, y, (right) != 0)

#define BLOCK_TYPE                     uint64_t
#define BLOCK_TABLE                    pointwise_u64
#define BLOCK_ATTRIBUTES               SIMD_CLONES
#define BLOCK_KIND(f32, f64, i64, u64) u64
#include "ops/pointwise_block.inc"
