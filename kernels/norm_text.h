/* Normalisations of rows as arguments of device code (cuda/normalize.cuh, cuda/matmul.cuh). */
#ifndef SMELT_KERNELS_NORM_TEXT_H
#define SMELT_KERNELS_NORM_TEXT_H

#include "kernels/emit_writer.h"

/* Writes "V inverse(V variance) const", for any type of floats, of a Layer-, RMS-, Instance-, Group- or
 * MeanVarianceNormalization. */
void norm_write_inverse(KernelWriter *w, const Node *node, ByteWriter *out);

/* Writes "void statistics(Index row, double mean, double inverse) const", which stores the anchor's results 1
 * and 2, where they are wanted. */
void norm_write_statistics(KernelWriter *w, ByteWriter *out);

/* A product whose input 0 is a LayerNormalization or RMSNormalization over the depth, which the step computes
 * as it reads: that node, or NULL. */
const Node *problem_front_norm(const Problem *problem);
/* Why kernels cannot compute it so; NULL where they can, and where there is none. */
const char *problem_front_norm_refuses(const Problem *problem);
/* Writes the lines that turn `lines`, the product's MatrixLines, into `normal`: `count` of them from `first`
 * on (text). type: of the sums. */
void norm_write_lines(KernelWriter *w, const char *lines, const char *type, int32_t count, const char *first);

#endif
