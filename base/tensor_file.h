/* Tensor files: NumPy's .npy (format 1.0 to 3.0, little-endian, C or Fortran order) and ONNX's TensorProto
 * (.pb). The TensorProto reader is a few lines of protobuf wire format, so that whoever runs plans needs no
 * protobuf. */
#ifndef SMELT_BASE_TENSOR_FILE_H
#define SMELT_BASE_TENSOR_FILE_H

#include "base/tensor.h"

/* Reads by the file's extension: .npy, or .pb, whose name goes to *name (NULL when it has none). data is in
 * arena; bools are 0 or 1. Fails with BAD_DATA naming what is wrong in the file, UNSUPPORTED for strings and
 * external data in a .pb, USAGE for another extension, IO when it can't be read. name may be NULL. */
Status tensor_file_read(const char *path, Arena *arena, Tensor *out, const char **name, Diag *diag);
/* The same from memory. */
Status tensor_from_npy(const void *bytes, size_t size, Arena *arena, Tensor *out, Diag *diag);
Status tensor_from_pb(const void *bytes, size_t size, Arena *arena, Tensor *out, const char **name,
                      Diag *diag);
/* Headerless little-endian file of exactly the bytes that *out (dtype, rank, dims set) needs. */
Status tensor_file_read_raw(const char *path, Arena *arena, Tensor *out, Diag *diag);

/* Writes by extension (.npy or .pb), replacing the file whole. Types without an .npy form go out there as the
 * bits of each element: bf16 as u16, f8 and f4 as u8; packed integers as i8 or u8. Fails with UNSUPPORTED for
 * strings. name may be NULL. */
Status tensor_file_write(const char *path, const Tensor *tensor, const char *name, Diag *diag);

#endif
