/* What the files of emit.h share. */
#ifndef SMELT_KERNELS_EMIT_WRITER_H
#define SMELT_KERNELS_EMIT_WRITER_H

#include "kernels/emit.h"

Emission *kernel_emission(KernelWriter *w);
/* Passes text on; NULL (out of memory) becomes "" and kernel_finish fails. */
const char *kernel_text(KernelWriter *w, const char *text);

/* Between begin and end, parameters that are asked for are remembered. end declares `struct <name>` with them
 * as members in front of the text of its functions; returns the text that constructs it from the parameters
 * of the same names. */
void kernel_struct_begin(KernelWriter *w);
const char *kernel_struct_end(KernelWriter *w, const char *name, const ByteWriter *functions);

#endif
