/* Runs one operator on tensors, as the executor would: parse, infer, scratch, kernel. For unit tests. */
#ifndef SMELT_TESTS_OP_RUN_H
#define SMELT_TESTS_OP_RUN_H

#include "ops/op.h"
#include "test.h"

enum { OP_RUN_TENSORS = 16 };

/* Zero-initialise; op_run_end frees. */
typedef struct OpRun {
    Arena arena;
    Diag diag;
    AttrList attrs;
    int32_t input_count;
    Tensor input[OP_RUN_TENSORS];
    bool present[OP_RUN_TENSORS];
    Tensor output[OP_RUN_TENSORS];
    ThreadPool *pool; /* NULL: one thread; the caller's */
    uint64_t random;
    int32_t alias; /* output 0 overwrites input alias - 1; 0: none */
} OpRun;

static inline double op_run_random(OpRun *run) {
    run->random = run->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(run->random >> 33) / 1073741824.0 - 1;
}

/* Adds an input of the given dims (ending with -1) filled with values in [-range, range). */
static inline Tensor *op_run_input(OpRun *run, DType dtype, double range, const int64_t *dims) {
    Tensor *x = &run->input[run->input_count];
    int32_t rank = 0;
    while (dims[rank] >= 0) ++rank;
    if (tensor_describe(x, dtype, rank, dims, (size_t)1 << 30, &run->diag) != STATUS_OK) return NULL;
    x->data = arena_alloc(&run->arena, tensor_bytes(x));
    for (int64_t i = 0; i < tensor_count(x); ++i)
        dtype_store_f64(dtype, x->data, i, op_run_random(run) * range);
    run->present[run->input_count++] = true;
    return x;
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__, -1})

static inline void op_run_ints(OpRun *run, const char *name, int32_t count, const int64_t *values) {
    CHECK(attr_set_ints(&run->attrs, &run->arena, name, values, count));
}

static inline Status op_run_infer(OpRun *run, OpId id, const void *attrs, int32_t outputs) {
    TypeInfo types[OP_RUN_TENSORS] = {0}, results[OP_RUN_TENSORS] = {0};
    const TypeInfo *inputs[OP_RUN_TENSORS] = {0};
    for (int32_t i = 0; i < run->input_count; ++i) {
        if (!run->present[i]) continue;
        types[i] = (TypeInfo){
            .dtype = run->input[i].dtype, .shape = {.rank = run->input[i].rank}, .data = run->input[i].data};
        for (int32_t k = 0; k < run->input[i].rank; ++k) types[i].shape.dim[k] = run->input[i].dim[k];
        inputs[i] = &types[i];
    }
    InferCtx ctx = {attrs,       run->input_count, outputs, inputs, results, dim_table_create(&run->arena),
                    &run->arena, &run->diag};
    TRY(op_infer(id, &ctx));
    for (int32_t i = 0; i < outputs; ++i) {
        Tensor *y = &run->output[i];
        if (!shape_is_exact(&results[i].shape)) { /* the kernel sizes it */
            *y = (Tensor){.dtype = results[i].dtype, .rank = results[i].shape.rank};
            continue;
        }
        TRY(tensor_describe(y, results[i].dtype, results[i].shape.rank, results[i].shape.dim, (size_t)1 << 30,
                            &run->diag));
        y->data = arena_alloc(&run->arena, tensor_bytes(y));
        TRY_ALLOC(&run->diag, y->data);
        memset(y->data, 0x5a, tensor_bytes(y));
    }
    return STATUS_OK;
}

/* KernelCtx.allocate of a run. */
static inline Status op_run_allocate(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims) {
    OpRun *run = ctx->executor;
    Tensor *y = ctx->outputs[index], grown;
    TRY(tensor_describe(&grown, y->dtype, rank, dims, (size_t)1 << 30, ctx->diag));
    grown.data = arena_alloc(&run->arena, tensor_bytes(&grown));
    TRY_ALLOC(ctx->diag, grown.data);
    if (y->data != NULL)
        memcpy(grown.data, y->data, tensor_bytes(tensor_bytes(y) < tensor_bytes(&grown) ? y : &grown));
    *y = grown;
    return STATUS_OK;
}

/* Runs the operator; outputs are in run->output. */
static inline Status op_run(OpRun *run, OpId id, int32_t outputs) {
    const void *attrs;
    const Tensor *inputs[OP_RUN_TENSORS] = {0};
    Tensor *results[OP_RUN_TENSORS];
    ParseCtx parse = {&run->attrs, run->input_count, outputs, 0, &run->arena, &run->diag};
    for (int32_t i = 0; i < run->input_count; ++i) {
        if (run->present[i]) parse.inputs_present |= (uint64_t)1 << i;
        inputs[i] = run->present[i] ? &run->input[i] : NULL;
    }
    TRY(op_parse(id, &parse, &attrs));
    TRY(op_run_infer(run, id, attrs, outputs));
    for (int32_t i = 0; i < outputs; ++i) results[i] = &run->output[i];
    if (run->alias > 0) results[0]->data = run->input[run->alias - 1].data;
    Host host = {.pool = run->pool};
    KernelCtx ctx = {.attrs = attrs,
                     .input_count = run->input_count,
                     .output_count = outputs,
                     .inputs = inputs,
                     .outputs = results,
                     .host = &host,
                     .allocate = op_run_allocate,
                     .executor = run,
                     .diag = &run->diag};
    if (op_def(id)->scratch != NULL) host.scratch_size = op_def(id)->scratch(&ctx);
    host.scratch = mem_alloc(NULL, host.scratch_size);
    if (host.scratch != NULL) memset(host.scratch, 0x5a, host.scratch_size);
    Status status = op_def(id)->kernel(&ctx);
    mem_free(NULL, host.scratch);
    return status;
}

static inline void op_run_end(OpRun *run) {
    arena_reset(&run->arena);
    *run = (OpRun){.pool = run->pool, .random = run->random};
}

static inline double op_run_at(const Tensor *tensor, int64_t index) {
    return dtype_load_f64(tensor->dtype, tensor->data, index);
}

/* The test in one thread, and in several. */
static inline void op_run_with_pools(void (*test)(ThreadPool *pool)) {
    Diag diag = {0};
    ThreadPool *pool = NULL;
    CHECK_OK(thread_pool_create(3, NULL, &pool, &diag), &diag);
    test(NULL);
    test(pool);
    thread_pool_destroy(pool);
}

#endif
