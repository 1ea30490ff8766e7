#define REAL    float
#define RUN     recurrent_run_f32
#define PRODUCT GEMM_F32
#define EXP     exp_f32
#define TANH    tanh_f32
#define LOG1P   log1p_f32
#define WRITE   dtype_write_f32
#include "ops/fastmath.h"

#include "ops/recurrent_block.inc"
