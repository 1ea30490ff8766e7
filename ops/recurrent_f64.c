#define REAL    double
#define RUN     recurrent_run_f64
#define PRODUCT GEMM_F64
#define EXP     exp
#define TANH    tanh
#define LOG1P   log1p
#define WRITE   dtype_write_f64
#include <math.h>

#include "ops/recurrent_block.inc"
