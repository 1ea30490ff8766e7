/* Det. */
#include <math.h>

#include "ops/kit.h"

Status parse_Det(const ParseCtx *ctx, const void **attrs) {
    return kit_parse_none(ctx, attrs);
}

Status infer_Det(InferCtx *ctx) {
    const Shape *in = &ctx->inputs[0]->shape;
    Shape *out = &ctx->outputs[0].shape;
    Dim ignored;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_rank(ctx, 0, 2, SMELT_MAX_RANK));
    TRY(kit_same_dim(ctx, in->dim[in->rank - 2], in->dim[in->rank - 1], "rows and columns", &ignored));
    ctx->outputs[0].dtype = ctx->inputs[0]->dtype;
    *out = *in;
    out->rank -= 2;
    return STATUS_OK;
}

/* Gaussian elimination with row pivoting; destroys the n x n matrix. */
static double determinant(double *m, int64_t n) {
    double product = 1;
    for (int64_t c = 0; c < n; ++c) {
        int64_t pivot = c;
        for (int64_t r = c + 1; r < n; ++r)
            if (fabs(m[r * n + c]) > fabs(m[pivot * n + c])) pivot = r;
        if (m[pivot * n + c] == 0) return 0;
        for (int64_t k = c; pivot != c && k < n; ++k) {
            double swap = m[c * n + k];
            m[c * n + k] = m[pivot * n + k];
            m[pivot * n + k] = swap;
        }
        product *= pivot == c ? m[c * n + c] : -m[c * n + c];
        for (int64_t r = c + 1; r < n; ++r) {
            double factor = m[r * n + c] / m[c * n + c];
            for (int64_t k = c + 1; k < n; ++k) m[r * n + k] -= factor * m[c * n + k];
        }
    }
    return product;
}

size_t scratch_Det(const KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    if (tensor_count(in) == 0) return 0;
    return (size_t)(in->dim[in->rank - 2] * in->dim[in->rank - 1]) * sizeof(double);
}

Status kernel_Det(KernelCtx *ctx) {
    const Tensor *in = ctx->inputs[0];
    Tensor *out = ctx->outputs[0];
    double *matrix = ctx->host->scratch;
    int64_t n = in->dim[in->rank - 1], count = tensor_count(out);
    for (int64_t i = 0; i < count; ++i) {
        dtype_read_f64(in->dtype, in->data, i * n * n, n * n, matrix);
        dtype_store_f64(out->dtype, out->data, i, determinant(matrix, n));
    }
    return STATUS_OK;
}
