/* Files for people who want to see what is compiled. */
#ifndef SMELT_KERNELS_JIT_DUMP_H
#define SMELT_KERNELS_JIT_DUMP_H

#include "base/file.h"

enum { JIT_PATH = 512 };

/* Makes <folder>/kernels with the device headers below it, so that a dumped unit compiles with
 * -I<folder>/kernels. */
Status jit_dump_begin(const char *folder, Arena *arena, Diag *diag);
/* Writes <folder>/kernels/<entry><suffix>; the path goes to `path` where it is not NULL. */
Status jit_dump_file(const char *folder, const char *entry, const char *suffix, const void *data, size_t size,
                     char path[JIT_PATH], Diag *diag);
/* Disassembles <entry>.<arch>.cubin beside it, where CUDA's tools are on the PATH. */
void jit_dump_sass(const char *folder, const char *entry, const char *arch);

#endif
