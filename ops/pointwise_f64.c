#include "ops/pointwise_block.h"

#include "ops/pointwise_math.h"

#define T(c)            ((double)(c))
#define abs             abs_f64
#define sign            sign_f64
#define max             max_f64
#define min             min_f64
#define divide          divide_f64
#define modulo(x, y, f) modulo_f64(x, y, (f) != 0)

#define BLOCK_TYPE  double
#define BLOCK_TABLE pointwise_f64
#define BLOCK_ATTRIBUTES
#define BLOCK_KIND(f32, f64, i64, u64) f64
#include "ops/pointwise_block.inc"
