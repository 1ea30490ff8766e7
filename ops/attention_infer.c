/* Shapes of Attention. */
#include "ops/attention.h"
#include "ops/kit.h"

/* Q, K or V as [batch, heads, length, size]. */
typedef struct HeadDims {
    Dim batch, heads, length, size;
} HeadDims;

static Status head_dims(InferCtx *ctx, int32_t input, int64_t heads, HeadDims *out) {
    const Shape *shape = &ctx->inputs[input]->shape;
    TRY(kit_expect_rank(ctx, input, 3, 4));
    TRY(kit_expect_rank(ctx, input, ctx->inputs[0]->shape.rank, ctx->inputs[0]->shape.rank));
    const Dim *dim = shape->dim;
    if (shape->rank == 4) {
        *out = (HeadDims){dim[0], dim[1], dim[2], dim[3]};
        return STATUS_OK;
    }
    if (heads == 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "inputs of rank 3 need q_num_heads and kv_num_heads");
    if (dim_is_exact(dim[2]) && dim[2] % heads != 0)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld features of input %d do not divide into %lld heads",
                    (long long)dim[2], input, (long long)heads);
    *out = (HeadDims){dim[0], heads, dim[1], dim_floor_div(ctx->dims, dim[2], heads)};
    return STATUS_OK;
}

static Status expect_equal(InferCtx *ctx, const char *what, Dim a, Dim b) {
    if (!dim_is_exact(a) || !dim_is_exact(b) || a == b) return STATUS_OK;
    return FAIL(ctx->diag, STATUS_BAD_MODEL, "%s differ: %lld and %lld", what, (long long)a, (long long)b);
}

static Status check_heads(InferCtx *ctx, const HeadDims *q, const HeadDims *k, const HeadDims *v) {
    TRY(expect_equal(ctx, "batches of queries and keys", q->batch, k->batch));
    TRY(expect_equal(ctx, "batches of keys and values", k->batch, v->batch));
    TRY(expect_equal(ctx, "sizes of query and key heads", q->size, k->size));
    TRY(expect_equal(ctx, "numbers of key and value heads", k->heads, v->heads));
    TRY(expect_equal(ctx, "lengths of keys and values", k->length, v->length));
    if (dim_is_exact(q->heads) && dim_is_exact(k->heads) && (k->heads == 0 || q->heads % k->heads != 0))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "%lld query heads do not share %lld key heads evenly",
                    (long long)q->heads, (long long)k->heads);
    return STATUS_OK;
}

static Status check_past(InferCtx *ctx, int32_t input, const HeadDims *of) {
    TRY(kit_expect_dtype_like(ctx, input, 0));
    TRY(kit_expect_rank(ctx, input, 4, 4));
    const Dim *dim = ctx->inputs[input]->shape.dim;
    TRY(expect_equal(ctx, "batches of cache and input", dim[0], of->batch));
    TRY(expect_equal(ctx, "heads of cache and input", dim[1], of->heads));
    return expect_equal(ctx, "head sizes of cache and input", dim[3], of->size);
}

/* The mask broadcasts to [batch, q heads, q length, total]; its last extent may be shorter. */
static Status check_mask(InferCtx *ctx, const HeadDims *q, Dim total) {
    const TypeInfo *mask = infer_input(ctx, ATTENTION_MASK);
    if (mask == NULL) return STATUS_OK;
    if (mask->dtype != DTYPE_BOOL && !dtype_is_float(mask->dtype))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "the mask is %s, expected bool or floating-point",
                    dtype_name(mask->dtype));
    TRY(kit_expect_rank(ctx, ATTENTION_MASK, 0, 4));
    const Dim wanted[4] = {q->batch, q->heads, q->length, total};
    for (int32_t i = 0; i < mask->shape.rank; ++i) {
        Dim own = mask->shape.dim[i], full = wanted[4 - mask->shape.rank + i];
        bool last = i == mask->shape.rank - 1;
        if (dim_is_exact(own) && dim_is_exact(full) && own != 1 && (last ? own > full : own != full))
            return FAIL(ctx->diag, STATUS_BAD_MODEL, "the mask has extent %lld on axis %d, expected %lld",
                        (long long)own, i, (long long)full);
    }
    return STATUS_OK;
}

static void set_output(InferCtx *ctx, int32_t index, Dim a, Dim b, Dim c, Dim d) {
    if (index >= ctx->output_count) return;
    ctx->outputs[index].dtype = ctx->inputs[0]->dtype;
    ctx->outputs[index].shape = (Shape){.rank = 4, .dim = {a, b, c, d}};
}

Status infer_Attention(InferCtx *ctx) {
    const AttentionAttrs *attrs = ctx->attrs;
    HeadDims q, k, v;
    TRY(kit_expect_float(ctx, 0));
    TRY(kit_expect_dtype_like(ctx, 1, 0));
    TRY(kit_expect_dtype_like(ctx, 2, 0));
    TRY(head_dims(ctx, 0, attrs->q_heads, &q));
    TRY(head_dims(ctx, 1, attrs->kv_heads, &k));
    TRY(head_dims(ctx, 2, attrs->kv_heads, &v));
    TRY(check_heads(ctx, &q, &k, &v));
    const TypeInfo *past_key = infer_input(ctx, ATTENTION_PAST_KEY),
                   *valid = infer_input(ctx, ATTENTION_VALID);
    const TypeInfo *past_value = infer_input(ctx, ATTENTION_PAST_VALUE);
    if ((past_key == NULL) != (past_value == NULL))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "past_key and past_value belong together");
    Dim total = k.length;
    if (past_key != NULL) {
        TRY(check_past(ctx, ATTENTION_PAST_KEY, &k));
        TRY(check_past(ctx, ATTENTION_PAST_VALUE, &v));
        TRY(expect_equal(ctx, "lengths of the caches", past_key->shape.dim[2], past_value->shape.dim[2]));
        total = dim_add(ctx->dims, past_key->shape.dim[2], total);
    }
    if (valid != NULL) {
        TRY(kit_expect_rank(ctx, ATTENTION_VALID, 1, 1));
        TRY(expect_equal(ctx, "batches of nonpad_kv_seqlen and queries", valid->shape.dim[0], q.batch));
    }
    TRY(check_mask(ctx, &q, total));
    set_output(ctx, 0, q.batch, q.heads, q.length, v.size);
    if (ctx->inputs[0]->shape.rank == 3)
        ctx->outputs[0].shape =
            (Shape){.rank = 3, .dim = {q.batch, q.length, dim_mul(ctx->dims, q.heads, v.size)}};
    set_output(ctx, 1, q.batch, k.heads, total, k.size);
    set_output(ctx, 2, q.batch, k.heads, total, v.size);
    set_output(ctx, 3, q.batch, q.heads, q.length, total);
    return STATUS_OK;
}
