#include "ops/pointwise_block.h"

#include "base/checked.h"
#include "base/simd.h"
#include "ops/pointwise_math.h"

#define abs             abs_i64
#define sign            sign_i64
#define pow             pow_i64
#define divide          divide_i64
#define modulo(x, y, f) modulo_i64(x, y, (f) != 0)
#define max             max_i64
#define min             min_i64

#define BLOCK_TYPE                     int64_t
#define BLOCK_TABLE                    pointwise_i64
#define BLOCK_ATTRIBUTES               SIMD_CLONES
#define BLOCK_KIND(f32, f64, i64, u64) i64
#include "ops/pointwise_block.inc"
