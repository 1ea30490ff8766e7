#include "passes/evaluate.h"

#include <string.h>

#include "base/clock.h"

bool op_is_foldable(OpId op) {
    const OpDef *def = op_def(op);
    return (def->flags & (OPF_RANDOM | OPF_NO_FOLD)) == 0 && def->op_class != OPCLASS_CONTROL;
}

bool op_moves_input(OpId op, int32_t input) {
    if ((op_def(op)->flags & OPF_SHAPE_VALUES) == 0) return false;
    if (op == OP_Pad) return input == 0 || input == 2;
    return input == 0 || op == OP_Concat;
}

Tensor constant_tensor(const Value *value) {
    Tensor out = {.dtype = value->dtype, .rank = value->shape.rank, .data = (void *)value->data};
    memcpy(out.dim, value->shape.dim, sizeof out.dim);
    return out;
}

enum { LATE_DIM = -1 }; /* of an output whose size only the kernel knows */

typedef struct Evaluator {
    KernelCtx kernel;
    Host host;
    Arena *arena;     /* of the outputs */
    size_t remaining; /* bytes that outputs may still take */
} Evaluator;

/* Within the limit: gives a tensor whose dims are set its memory. */
static Status take_memory(Evaluator *e, Tensor *tensor) {
    Tensor described;
    TRY(tensor_describe(&described, tensor->dtype, tensor->rank, tensor->dim, e->remaining, e->kernel.diag));
    size_t bytes = tensor_bytes(&described);
    tensor->data = arena_alloc(e->arena, bytes);
    TRY_ALLOC(e->kernel.diag, tensor->data);
    e->remaining -= bytes;
    return STATUS_OK;
}

static Status allocate_late(KernelCtx *kernel, int32_t index, int32_t rank, const int64_t *dims) {
    Evaluator *e = kernel->executor;
    Tensor *tensor = kernel->outputs[index];
    if (tensor->data != NULL) return STATUS_OK;
    TRY(tensor_describe(tensor, tensor->dtype, rank, dims, e->remaining, kernel->diag));
    return take_memory(e, tensor);
}

static Status run_kernel(Evaluator *e, const OpDef *def, const PassCtx *ctx, Arena *scratch) {
    enum { LEAST_SCRATCH = 4096 }; /* which an arena aligns to 64 bytes */
    Host *host = &e->host;
    *host = (Host){.pool = ctx->pool};
    e->kernel.host = host;
    e->kernel.executor = e;
    e->kernel.allocate = allocate_late;
    if (def->scratch != NULL) host->scratch_size = def->scratch(&e->kernel);
    if (host->scratch_size < LEAST_SCRATCH) host->scratch_size = LEAST_SCRATCH;
    host->scratch = arena_alloc(scratch, host->scratch_size);
    TRY_ALLOC(e->kernel.diag, host->scratch);
    return def->kernel(&e->kernel);
}

/* Output types from tensors with data, in a table of dims of their own: nothing is left behind in the
 * graph's. */
static Status infer_outputs(const Node *node, const Tensor *const *inputs, Arena *scratch, Tensor *outputs,
                            Diag *diag) {
    TypeInfo *types = ARENA_ARRAY(scratch, TypeInfo, (size_t)node->input_count + (size_t)node->output_count);
    const TypeInfo **pointers = ARENA_ARRAY(scratch, const TypeInfo *, node->input_count);
    DimTable *dims = dim_table_create(scratch);
    TRY_ALLOC(diag, types);
    TRY_ALLOC(diag, pointers);
    TRY_ALLOC(diag, dims);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (inputs[i] == NULL) continue;
        types[i].dtype = inputs[i]->dtype;
        types[i].shape.rank = inputs[i]->rank;
        memcpy(types[i].shape.dim, inputs[i]->dim, sizeof inputs[i]->dim);
        types[i].data = inputs[i]->data;
        pointers[i] = &types[i];
    }
    InferCtx infer = {.attrs = node->parsed,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .inputs = pointers,
                      .outputs = types + node->input_count,
                      .dims = dims,
                      .arena = scratch,
                      .diag = diag};
    TRY(op_infer(node->op, &infer));
    for (int32_t i = 0; i < node->output_count; ++i) {
        const Shape *shape = &infer.outputs[i].shape;
        outputs[i] = (Tensor){.dtype = infer.outputs[i].dtype, .rank = shape->rank};
        for (int32_t k = 0; k < shape->rank; ++k) {
            if (dim_is_exact(shape->dim[k]) && shape->dim[k] < 0)
                return FAIL(diag, STATUS_BAD_MODEL, "a negative dimension");
            outputs[i].dim[k] = dim_is_exact(shape->dim[k]) ? shape->dim[k] : LATE_DIM;
        }
    }
    return STATUS_OK;
}

static bool is_late(const Tensor *tensor) {
    for (int32_t i = 0; i < tensor->rank; ++i)
        if (tensor->dim[i] == LATE_DIM) return true;
    return false;
}

static Status bind_outputs(Evaluator *e, const Node *node, Tensor *outputs, Arena *scratch) {
    Tensor **pointers = ARENA_ARRAY(scratch, Tensor *, node->output_count);
    TRY_ALLOC(e->kernel.diag, pointers);
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        pointers[i] = &outputs[i];
        outputs[i].data = NULL;
        if (!is_late(&outputs[i])) TRY(take_memory(e, &outputs[i]));
    }
    e->kernel.outputs = pointers;
    return STATUS_OK;
}

static Status evaluate(Evaluator *e, const PassCtx *ctx, const Node *node, Tensor *outputs, Arena *scratch) {
    TRY(bind_outputs(e, node, outputs, scratch));
    TRY(run_kernel(e, op_def(node->op), ctx, scratch));
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) outputs[i].dtype = DTYPE_NONE;
        if (node->outputs[i] != NONE && outputs[i].data == NULL)
            return FAIL(e->kernel.diag, STATUS_INTERNAL, "output %d was not allocated", i);
    }
    return STATUS_OK;
}

static Evaluator evaluator_create(const Node *node, const Tensor *const *inputs, size_t byte_limit,
                                  Arena *arena, Diag *diag) {
    return (Evaluator){.kernel = {.attrs = node->parsed,
                                  .input_count = node->input_count,
                                  .output_count = node->output_count,
                                  .inputs = inputs,
                                  .diag = diag},
                       .arena = arena,
                       .remaining = byte_limit};
}

/* What a kernel says against its inputs is not the build's concern. */
static Status finish(const PassCtx *ctx, Status status, Arena *scratch, bool *done) {
    arena_reset(scratch);
    *done = status == STATUS_OK;
    if (status == STATUS_NO_MEMORY) return FAIL(ctx->diag, status, "out of memory");
    return STATUS_OK;
}

Status evaluate_node(PassCtx *ctx, const Node *node, const Tensor *const *inputs, size_t byte_limit,
                     Arena *arena, Tensor *outputs, bool *done) {
    double start = clock_seconds();
    Arena scratch = {.allocator = ctx->graph->arena->allocator};
    Diag diag = {0};
    Evaluator e = evaluator_create(node, inputs, byte_limit, arena, &diag);
    Status status = infer_outputs(node, inputs, &scratch, outputs, &diag);
    if (status == STATUS_OK) status = evaluate(&e, ctx, node, outputs, &scratch);
    pass_data_since(ctx, start);
    return finish(ctx, status, &scratch, done);
}

Status evaluate_movement(const PassCtx *ctx, const Node *node, const Tensor *const *inputs, Tensor *outputs,
                         bool *done) {
    Arena scratch = {.allocator = ctx->graph->arena->allocator};
    Diag diag = {0};
    Evaluator e = evaluator_create(node, inputs, SIZE_MAX / 2, ctx->scratch, &diag);
    return finish(ctx, evaluate(&e, ctx, node, outputs, &scratch), &scratch, done);
}
