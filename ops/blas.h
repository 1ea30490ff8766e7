/* OpenBLAS, if it is on this machine. */
#ifndef SMELT_OPS_BLAS_H
#define SMELT_OPS_BLAS_H

#include "ops/op.h"

/* Looks for OpenBLAS by dlopen and sets it to one thread a call: smelt splits the work itself. *out is zeroed
 * where there is none, which is no failure. The library stays one per process; each Blas holds a reference.
 */
void blas_open(Blas *out);
/* Accepts a zeroed Blas. */
void blas_close(Blas *blas);

#endif
