/* Input tensors: from ONNX's test layout, or seeded random ones. */
#ifndef SMELT_CLI_SAMPLES_H
#define SMELT_CLI_SAMPLES_H

#include "base/tensor.h"
#include "cli/cli.h"

/* FOLDER/input_<index>.pb, or .npy where that is not there. */
Status sample_read_input(App *app, const char *folder, int index, Tensor *out);
/* A tensor of these dims in arena: floats in [-1, 1), integers in [0, most]; state goes on from one tensor to
 * the next. */
Status sample_random(DType dtype, int32_t rank, const int64_t *dims, uint64_t most, uint64_t *state,
                     Arena *arena, Tensor *out, Diag *diag);

#endif
