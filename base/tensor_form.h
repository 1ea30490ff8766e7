/* What the tensor file formats give to tensor_file.c, and what it gives to them. */
#ifndef SMELT_BASE_TENSOR_FORM_H
#define SMELT_BASE_TENSOR_FORM_H

#include "base/bytes.h"
#include "base/tensor_file.h"

/* Sets tensor->data to tensor_bytes(tensor) zero bytes in arena. */
Status tensor_allocate(Tensor *tensor, Arena *arena, Diag *diag);
/* Makes bools 0 or 1, which kernels may rely on. Does nothing to other types. */
void tensor_normalise_bools(Tensor *tensor);
/* Both, with a copy of the bytes at data between. */
Status tensor_take(Tensor *tensor, const void *data, Arena *arena, Diag *diag);

/* Everything that stands before the elements in a file of the format, into an empty writer. npy fails with
 * UNSUPPORTED for types that it has no name for; strings have neither form. */
Status npy_write_header(ByteWriter *writer, const Tensor *tensor, Diag *diag);
void pb_write_header(ByteWriter *writer, const Tensor *tensor, const char *name);

#endif
