#include "ops/reduce_block.h"

#include "base/checked.h"
#include "base/simd.h"
#include "ops/pointwise_math.h"

/* The vectoriser wants a loop over the lanes, not its unrolled form. */
#ifdef __clang__
#define KEEP_LOOP
#else
#define KEEP_LOOP _Pragma("GCC unroll 1")
#endif

#define abs    BLOCK_MATH(abs)
#define square BLOCK_MATH(square)
#define divide BLOCK_MATH(divide)

/* -- floats, in double -- */
#define BLOCK_MATH(name)    name##_f64
#define START_SUM           0
#define START_MAX_SUM       0
#define START_PRODUCT       1
#define START_MAX           (-(double)INFINITY)
#define START_MIN           ((double)INFINITY)
#define MERGE_SUM(a, b)     ((a) + (b))
#define MERGE_MAX_SUM(a, b) ((a) + (b))
#define MERGE_PRODUCT(a, b) ((a) * (b))
#define MERGE_MAX           max_f64
#define MERGE_MIN           min_f64

#define BLOCK_INPUT      float
#define BLOCK_TYPE       double
#define BLOCK_MEMBER     f64
#define BLOCK_NAME(name) name##_f32
#define BLOCK_ATTRIBUTES SIMD_CLONES
#define BLOCK_REAL       PRESENT
#include "ops/reduce_block.inc"

#define BLOCK_INPUT      double
#define BLOCK_TYPE       double
#define BLOCK_MEMBER     f64
#define BLOCK_NAME(name) name##_f64
#define BLOCK_ATTRIBUTES
#define BLOCK_REAL PRESENT
#include "ops/reduce_block.inc"

/* -- integers, wrapping -- */
#undef START_MAX
#undef START_MIN
#undef MERGE_SUM
#undef MERGE_PRODUCT
#undef MERGE_MAX
#undef MERGE_MIN

#undef BLOCK_MATH
#define BLOCK_MATH(name)    name##_i64
#define START_MAX           INT64_MIN
#define START_MIN           INT64_MAX
#define MERGE_SUM(a, b)     ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define MERGE_PRODUCT(a, b) ((int64_t)((uint64_t)(a) * (uint64_t)(b)))
#define MERGE_MAX           max_i64
#define MERGE_MIN           min_i64

#define BLOCK_INPUT      int64_t
#define BLOCK_TYPE       int64_t
#define BLOCK_MEMBER     i64
#define BLOCK_NAME(name) name##_i64
#define BLOCK_ATTRIBUTES
#define BLOCK_REAL ABSENT
#include "ops/reduce_block.inc"

#undef BLOCK_MATH
#undef START_MAX
#undef START_MIN
#undef MERGE_SUM
#undef MERGE_PRODUCT
#undef MERGE_MAX
#undef MERGE_MIN
#define BLOCK_MATH(name)    name##_u64
#define START_MAX           0
#define START_MIN           UINT64_MAX
#define MERGE_SUM(a, b)     ((a) + (b))
#define MERGE_PRODUCT(a, b) ((a) * (b))
#define MERGE_MAX           max_u64
#define MERGE_MIN           min_u64

#define BLOCK_INPUT      uint64_t
#define BLOCK_TYPE       uint64_t
#define BLOCK_MEMBER     u64
#define BLOCK_NAME(name) name##_u64
#define BLOCK_ATTRIBUTES
#define BLOCK_REAL ABSENT
#include "ops/reduce_block.inc"
