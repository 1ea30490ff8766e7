#include "ops/widen.h"

#include <string.h>

#include "ops/kit.h"

enum {
    MOST_TENSORS = 16, /* inputs, and outputs, of the operators that do this */
    ALIGNMENT = 64,
    GRAIN = 1 << 15
};

/* The same node with f32 in place of 16-bit elements. */
typedef struct Wide {
    KernelCtx ctx;
    Host host;
    Tensor tensors[2 * MOST_TENSORS];
    const Tensor *inputs[MOST_TENSORS];
    Tensor *outputs[MOST_TENSORS];
    size_t bytes; /* of the copies */
} Wide;

static bool is_narrow(const Tensor *tensor) {
    return tensor != NULL && dtype_is_half(tensor->dtype);
}

/* Gives a tensor of f32 its place behind the others; false where sizes overflow. */
static bool place(Wide *wide, const Tensor *from, Tensor *to) {
    size_t bytes, rounded;
    *to = *from;
    to->dtype = DTYPE_F32;
    to->data = NULL;
    if (!dtype_storage(DTYPE_F32, tensor_count(from), &bytes) || bytes > SIZE_MAX - ALIGNMENT) return false;
    rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (wide->bytes > SIZE_MAX - rounded) return false;
    wide->bytes += rounded;
    return true;
}

/* False where nothing is narrow, or it cannot be done. */
static bool describe(const KernelCtx *ctx, Wide *wide) {
    bool narrow = false;
    if (ctx->input_count > MOST_TENSORS || ctx->output_count > MOST_TENSORS) return false;
    wide->ctx = *ctx;
    wide->bytes = 0;
    wide->ctx.inputs = wide->inputs;
    wide->ctx.outputs = wide->outputs;
    for (int32_t i = 0; i < ctx->input_count; ++i) {
        wide->inputs[i] = ctx->inputs[i];
        if (!is_narrow(ctx->inputs[i])) continue;
        if (!place(wide, ctx->inputs[i], &wide->tensors[i])) return false;
        wide->inputs[i] = &wide->tensors[i];
        narrow = true;
    }
    for (int32_t i = 0; i < ctx->output_count; ++i) {
        wide->outputs[i] = ctx->outputs[i];
        if (!is_narrow(ctx->outputs[i])) continue;
        if (!place(wide, ctx->outputs[i], &wide->tensors[MOST_TENSORS + i])) return false;
        wide->outputs[i] = &wide->tensors[MOST_TENSORS + i];
    }
    return narrow;
}

size_t widen_scratch(const KernelCtx *ctx, OpScratch scratch) {
    Wide wide;
    size_t plain = scratch(ctx);
    if (!describe(ctx, &wide)) return plain;
    size_t own = scratch(&wide.ctx);
    own = own > SIZE_MAX - wide.bytes ? SIZE_MAX : own + wide.bytes;
    return own > plain ? own : plain;
}

typedef struct Conversion {
    const Tensor *narrow;
    float *wide;
    bool back;
} Conversion;

static void convert_range(void *context, int64_t first, int64_t last, int worker) {
    const Conversion *c = context;
    (void)worker;
    if (c->back)
        dtype_write_f32(c->narrow->dtype, c->narrow->data, first, last - first, c->wide + first);
    else
        dtype_read_f32(c->narrow->dtype, c->narrow->data, first, last - first, c->wide + first);
}

static void convert(const Host *host, const Tensor *narrow, float *wide, bool back) {
    Conversion conversion = {narrow, wide, back};
    parallel_for(host->pool, tensor_count(narrow), GRAIN, convert_range, &conversion);
}

/* The copies stand at the front of the scratch. */
static void bind(Wide *wide, char *at) {
    for (int32_t i = 0; i < 2 * MOST_TENSORS; ++i) {
        bool input = i < MOST_TENSORS;
        int32_t index = input ? i : i - MOST_TENSORS;
        if (index >= (input ? wide->ctx.input_count : wide->ctx.output_count)) continue;
        if ((input ? wide->inputs[index] : wide->outputs[index]) != &wide->tensors[i]) continue;
        wide->tensors[i].data = at;
        at += (tensor_bytes(&wide->tensors[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}

Status widen_run(KernelCtx *ctx, OpKernel kernel) {
    Wide wide;
    if (!describe(ctx, &wide) || ctx->host->scratch_size < wide.bytes) return kernel(ctx);
    wide.host = *ctx->host;
    wide.host.scratch = (char *)ctx->host->scratch + wide.bytes;
    wide.host.scratch_size -= wide.bytes;
    wide.ctx.host = &wide.host;
    bind(&wide, ctx->host->scratch);
    for (int32_t i = 0; i < ctx->input_count; ++i)
        if (wide.inputs[i] == &wide.tensors[i])
            convert(ctx->host, ctx->inputs[i], wide.tensors[i].data, false);
    TRY(kernel(&wide.ctx));
    for (int32_t i = 0; i < ctx->output_count; ++i)
        if (wide.outputs[i] == &wide.tensors[MOST_TENSORS + i])
            convert(ctx->host, ctx->outputs[i], wide.tensors[MOST_TENSORS + i].data, true);
    return STATUS_OK;
}
