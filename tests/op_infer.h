/* Inference of one operator over symbolic shapes, given and checked as text. For unit tests. */
#ifndef SMELT_TESTS_OP_INFER_H
#define SMELT_TESTS_OP_INFER_H

#include "ops/op.h"
#include "test.h"

enum { OP_INFER_TENSORS = 8 };

/* Zero-initialise; op_infer_end frees. */
typedef struct OpInferRun {
    Arena arena;
    Diag diag;
    AttrList attrs;
    DimTable *dims;
    int32_t input_count;
    TypeInfo input[OP_INFER_TENSORS], output[OP_INFER_TENSORS];
    bool present[OP_INFER_TENSORS];
} OpInferRun;

/* Dimensions or elements in a text like "n; 3; 2*h". */
static inline int32_t op_infer_dims(OpInferRun *run, const char *text, Dim *dims) {
    int32_t count = 0;
    if (run->dims == NULL) run->dims = dim_table_create(&run->arena);
    for (const char *at = text; *at != 0;) {
        size_t length = strcspn(at, ";");
        const char *one = arena_strndup(&run->arena, at, length);
        CHECK_OK(dim_parse(run->dims, one, &dims[count++], &run->diag), &run->diag);
        at += length + (at[length] == ';');
    }
    return count;
}

/* An input of that shape whose elements are not known. */
static inline TypeInfo *op_infer_input(OpInferRun *run, DType dtype, const char *shape) {
    TypeInfo *type = &run->input[run->input_count];
    run->present[run->input_count++] = true;
    *type = (TypeInfo){.dtype = dtype};
    type->shape.rank = op_infer_dims(run, shape, type->shape.dim);
    return type;
}

/* A vector of i64 whose elements are Dims. */
static inline TypeInfo *op_infer_content(OpInferRun *run, const char *text) {
    Dim *content = ARENA_ARRAY(&run->arena, Dim, 16);
    TypeInfo *type = op_infer_input(run, DTYPE_I64, "");
    type->content = content;
    type->shape = (Shape){.rank = 1, .dim = {op_infer_dims(run, text, content)}};
    return type;
}

static inline void op_infer_omit(OpInferRun *run) {
    run->present[run->input_count++] = false;
}

static inline Status op_infer_run(OpInferRun *run, const char *name, int32_t outputs) {
    OpId id = op_find("", name);
    const void *attrs;
    const TypeInfo *inputs[OP_INFER_TENSORS] = {0};
    ParseCtx parse = {&run->attrs, run->input_count, outputs, 0, &run->arena, &run->diag};
    if (id == OP_NONE) return FAIL(&run->diag, STATUS_INTERNAL, "no operator %s", name);
    for (int32_t i = 0; i < run->input_count; ++i) {
        if (!run->present[i]) continue;
        parse.inputs_present |= (uint64_t)1 << i;
        inputs[i] = &run->input[i];
    }
    TRY(op_parse(id, &parse, &attrs));
    memset(run->output, 0, sizeof run->output);
    InferCtx ctx = {attrs,       run->input_count, outputs,     inputs,
                    run->output, run->dims,        &run->arena, &run->diag};
    return op_infer(id, &ctx);
}

static inline const char *op_infer_text(OpInferRun *run, int32_t output) {
    return shape_print(run->dims, &run->output[output].shape, &run->arena);
}

static inline void op_infer_end(OpInferRun *run) {
    arena_reset(&run->arena);
    memset(run, 0, sizeof *run);
}

/* Infers, and checks output 0's shape as text. */
#define CHECK_SHAPE(run, name, expected)                                                                     \
    do {                                                                                                     \
        CHECK_OK(op_infer_run((run), (name), 1), &(run)->diag);                                              \
        CHECK_STR(op_infer_text((run), 0), (expected));                                                      \
        op_infer_end(run);                                                                                   \
    } while (0)

/* Infers, and checks that it is refused with a text that contains `words`. */
#define CHECK_REFUSED(run, name, expected_status, words)                                                     \
    do {                                                                                                     \
        CHECK_INT(op_infer_run((run), (name), 1), (expected_status));                                        \
        CHECK(strstr((run)->diag.text, (words)) != NULL);                                                    \
        op_infer_end(run);                                                                                   \
    } while (0)

#endif
