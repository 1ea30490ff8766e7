#include <string.h>

#include "base/checked.h"
#include "runtime/context.h"

/* Values up to this size are computed while shapes are set, since other shapes may depend on them. */
enum { FOLDED_ELEMENTS = 1024, FOLDED_INPUT_ELEMENTS = 65536 };

typedef struct ShapePass {
    SmeltContext *context;
    Arena *arena;
    DimTable *dims;
    TypeInfo *types; /* per value */
    Diag *diag;
} ShapePass;

static Shape exact_shape(const Tensor *tensor) {
    Shape shape = {.rank = tensor->rank};
    for (int32_t i = 0; i < tensor->rank; ++i) shape.dim[i] = tensor->dim[i];
    return shape;
}

/* A value's type before any operator is looked at: exact dims where the plan knows them, else late ones. */
static TypeInfo initial_type(const ShapePass *pass, int32_t index) {
    const Tensor *tensor = &pass->context->tensors[index];
    TypeInfo type = {.dtype = tensor->dtype, .shape = exact_shape(tensor)};
    for (int32_t i = 0; i < tensor->rank; ++i)
        if (tensor->dim[i] < 0) type.shape.dim[i] = dim_fresh(pass->dims, "late");
    if (pass->context->plan->values[index].storage == PLAN_WEIGHT) type.data = tensor->data;
    return type;
}

/* -- one operator -- */

/* Runs inference; its words for a bad model become those for bad shapes or a bad plan. */
static Status infer_op(const SmeltContext *context, int32_t index, InferCtx *infer, Diag *diag) {
    const EngineOp *bound = &context->engine->ops[index];
    Diag fault = {0};
    infer->attrs = bound->attrs;
    infer->diag = &fault;
    Status status = op_infer(bound->id, infer);
    if (status == STATUS_OK) return status;
    bool dynamic = context->plan->symbol_count > 0;
    if (status == STATUS_BAD_MODEL) status = dynamic ? STATUS_BAD_DATA : STATUS_BAD_PLAN;
    (void)FAIL(diag, status, "%s", fault.text);
    diag_operator(diag, context->plan, index);
    return status;
}

static Status dims_differ(const SmeltContext *context, int32_t op, int32_t output, const Shape *found,
                          DimTable *dims, Arena *arena, Diag *diag) {
    char stated[128];
    tensor_format(&context->tensors[context->plan->ops[op].outputs[output]], stated, sizeof stated);
    const char *text = shape_print(dims, found, arena);
    TRY_ALLOC(diag, text);
    (void)FAIL(diag, STATUS_BAD_PLAN, "its output %d has shape %s for these inputs; the plan says %s", output,
               text, stated);
    diag_operator(diag, context->plan, op);
    return STATUS_BAD_PLAN;
}

/* A late tensor has -1 in its dims; the shapes must agree wherever both are exact. */
static bool shape_agrees(const Tensor *tensor, const Shape *shape) {
    if (tensor->rank != shape->rank) return false;
    for (int32_t i = 0; i < shape->rank; ++i)
        if (tensor->dim[i] >= 0 && dim_is_exact(shape->dim[i]) && tensor->dim[i] != shape->dim[i])
            return false;
    return true;
}

/* Merges what inference found into the tensor of output i. *exact: it found all. */
static Status merge_output(ShapePass *pass, int32_t op, int32_t i, const TypeInfo *found, bool *exact) {
    SmeltContext *context = pass->context;
    int32_t value = context->plan->ops[op].outputs[i];
    Tensor *tensor = &context->tensors[value];
    if (found->dtype != tensor->dtype || !shape_agrees(tensor, &found->shape))
        return dims_differ(context, op, i, &found->shape, pass->dims, pass->arena, pass->diag);
    *exact = shape_is_exact(&found->shape);
    if (!*exact || context->values[value].known) return STATUS_OK;
    size_t bytes;
    for (int32_t d = 0; d < tensor->rank; ++d) tensor->dim[d] = found->shape.dim[d];
    if (!dims_storage(tensor->dtype, tensor->rank, tensor->dim, &bytes))
        return dims_differ(context, op, i, &found->shape, pass->dims, pass->arena, pass->diag);
    context->values[value].known = true;
    return STATUS_OK;
}

/* -- all operators, when shapes are set -- */

/* The elements of a content that is all exact numbers. */
static Status content_data(const ShapePass *pass, TypeInfo *type) {
    if (type->data != NULL || type->content == NULL || !shape_is_exact(&type->shape)) return STATUS_OK;
    Dim count = shape_count(pass->dims, &type->shape);
    size_t bytes;
    if (count > FOLDED_ELEMENTS || !dtype_storage(type->dtype, count, &bytes)) return STATUS_OK;
    for (int64_t i = 0; i < count; ++i)
        if (!dim_is_exact(type->content[i])) return STATUS_OK;
    void *data = arena_alloc(pass->arena, bytes);
    TRY_ALLOC(pass->diag, data);
    for (int64_t i = 0; i < count; ++i) dtype_store_i64(type->dtype, data, i, type->content[i]);
    type->data = data;
    return STATUS_OK;
}

static bool tensor_of_type(const TypeInfo *type, int64_t limit, Tensor *out) {
    int64_t count = 1;
    *out = (Tensor){.dtype = type->dtype, .rank = type->shape.rank};
    if (!shape_is_exact(&type->shape)) return false;
    for (int32_t i = 0; i < out->rank; ++i) {
        out->dim[i] = type->shape.dim[i];
        if (!checked_mul_i64(count, out->dim[i], &count) || count > limit) return false;
    }
    out->data = (void *)type->data; /* inputs are only read */
    return true;
}

static bool may_fold(const OpDef *def) {
    return (def->flags & (OPF_LATE_SIZE | OPF_RANDOM | OPF_NO_FOLD)) == 0 && def->op_class != OPCLASS_CONTROL;
}

/* Small operands of one folded operator. */
typedef struct FoldCall {
    Tensor *tensors;
    const Tensor **inputs;
    Tensor **outputs;
} FoldCall;

/* False where some input has no data yet, or something is large. */
static bool gather_fold(const ShapePass *pass, const InferCtx *infer, FoldCall *call) {
    for (int32_t i = 0; i < infer->input_count; ++i) {
        const TypeInfo *type = infer->inputs[i];
        if (type == NULL) continue;
        if (type->data == NULL || !tensor_of_type(type, FOLDED_INPUT_ELEMENTS, &call->tensors[i]))
            return false;
        call->inputs[i] = &call->tensors[i];
    }
    for (int32_t i = 0; i < infer->output_count; ++i) {
        Tensor *out = &call->tensors[infer->input_count + i];
        if (infer->outputs[i].dtype == DTYPE_NONE) continue;
        if (!tensor_of_type(&infer->outputs[i], FOLDED_ELEMENTS, out)) return false;
        size_t bytes = tensor_bytes(out);
        out->data = arena_alloc(pass->arena, bytes);
        if (out->data == NULL) return false;
        call->outputs[i] = out;
    }
    return true;
}

/* The kernel wants to size an output that inference had sized. */
static Status refuse_allocation(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims) {
    (void)dims;
    return FAIL(ctx->diag, STATUS_INTERNAL, "output %d of rank %d is not for the kernel to size", index,
                rank);
}

/* Computes outputs whose inputs are all known, as shape arithmetic is. That it fails here means nothing yet:
 * the operator runs again, with all its inputs. */
static Status fold_op(const ShapePass *pass, int32_t index, InferCtx *infer) {
    const EngineOp *bound = &pass->context->engine->ops[index];
    const OpDef *def = op_def(bound->id);
    int32_t count = infer->input_count + infer->output_count;
    FoldCall call = {.tensors = ARENA_ARRAY(pass->arena, Tensor, count),
                     .inputs = ARENA_ARRAY(pass->arena, const Tensor *, infer->input_count),
                     .outputs = ARENA_ARRAY(pass->arena, Tensor *, infer->output_count)};
    TRY_ALLOC(pass->diag, call.tensors);
    TRY_ALLOC(pass->diag, call.inputs);
    TRY_ALLOC(pass->diag, call.outputs);
    if (!may_fold(def) || !gather_fold(pass, infer, &call)) return STATUS_OK;
    Host host = {0};
    Diag ignored = {0};
    KernelCtx ctx = {.attrs = bound->attrs,
                     .input_count = infer->input_count,
                     .output_count = infer->output_count,
                     .inputs = call.inputs,
                     .outputs = call.outputs,
                     .host = &host,
                     .allocate = refuse_allocation,
                     .diag = &ignored};
    host.scratch_size = def->scratch != NULL ? def->scratch(&ctx) : 0;
    TRY(own_reserve(pass->context, &pass->context->scratch, host.scratch_size, pass->diag));
    host.scratch = pass->context->scratch.data;
    if (def->kernel(&ctx) != STATUS_OK) return STATUS_OK;
    for (int32_t i = 0; i < infer->output_count; ++i)
        if (call.outputs[i] != NULL) infer->outputs[i].data = call.outputs[i]->data;
    return STATUS_OK;
}

/* Inference's view of the operands: types of all inputs, empty ones for the outputs. */
static Status bind_operands(ShapePass *pass, int32_t index, InferCtx *infer) {
    const PlanOp *op = &pass->context->plan->ops[index];
    const TypeInfo **inputs = ARENA_ARRAY(pass->arena, const TypeInfo *, op->input_count);
    infer->outputs = ARENA_ARRAY(pass->arena, TypeInfo, op->output_count);
    TRY_ALLOC(pass->diag, inputs);
    TRY_ALLOC(pass->diag, infer->outputs);
    for (int32_t i = 0; i < op->input_count; ++i)
        inputs[i] = op->inputs[i] < 0 ? NULL : &pass->types[op->inputs[i]];
    infer->inputs = inputs;
    infer->input_count = op->input_count;
    infer->output_count = op->output_count;
    infer->dims = pass->dims;
    infer->arena = pass->arena;
    return STATUS_OK;
}

static Status infer_one(ShapePass *pass, int32_t index) {
    SmeltContext *context = pass->context;
    const PlanOp *op = &context->plan->ops[index];
    OpState *state = &context->ops[index];
    InferCtx infer = {0};
    TRY(bind_operands(pass, index, &infer));
    TRY(infer_op(context, index, &infer, pass->diag));
    state->late = state->check = false;
    for (int32_t i = 0; i < op->input_count; ++i)
        if (op->inputs[i] >= 0 && !context->values[op->inputs[i]].known) state->check = true;
    bool is_control = op_def(context->engine->ops[index].id)->op_class == OPCLASS_CONTROL;
    if (!is_control) TRY(fold_op(pass, index, &infer));
    for (int32_t i = 0; i < op->output_count; ++i) {
        bool exact = false;
        if (op->outputs[i] < 0) continue;
        /* Only bodies tell what a control-flow operator gives; the kernel sizes its outputs. */
        if (!is_control) TRY(merge_output(pass, index, i, &infer.outputs[i], &exact));
        state->late = state->late || !context->values[op->outputs[i]].known;
        state->check = state->check || (!exact && context->values[op->outputs[i]].known && !is_control);
        TypeInfo *type = &pass->types[op->outputs[i]];
        *type = initial_type(pass, op->outputs[i]);
        if (is_control) continue;
        type->data = infer.outputs[i].data;
        type->content = infer.outputs[i].content;
        if (exact) TRY(content_data(pass, type));
    }
    return STATUS_OK;
}

Status infer_all(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    ShapePass pass = {.context = context, .arena = &context->prepare_arena, .diag = diag};
    pass.dims = dim_table_create(pass.arena);
    pass.types = ARENA_ARRAY(pass.arena, TypeInfo, plan->value_count);
    TRY_ALLOC(diag, pass.dims);
    TRY_ALLOC(diag, pass.types);
    for (int32_t i = 0; i < plan->value_count; ++i) pass.types[i] = initial_type(&pass, i);
    for (int32_t i = 0; i < plan->op_count; ++i) TRY(infer_one(&pass, i));
    return STATUS_OK;
}

/* -- one operator, when it runs -- */

static Status place_output(ShapePass *pass, int32_t index, int32_t i, const TypeInfo *found) {
    SmeltContext *context = pass->context;
    int32_t value = context->plan->ops[index].outputs[i];
    Tensor *tensor = &context->tensors[value];
    bool known = context->values[value].known;
    if (found->dtype != tensor->dtype || (known && !shape_agrees(tensor, &found->shape)))
        return dims_differ(context, index, i, &found->shape, pass->dims, pass->arena, pass->diag);
    if (known) return STATUS_OK;
    tensor->data = NULL;
    if (!shape_is_exact(&found->shape)) return STATUS_OK;
    Status status = place_late(context, value, found->shape.rank, found->shape.dim, pass->diag);
    if (status != STATUS_OK) diag_operator(pass->diag, context->plan, index);
    return status;
}

static Status infer_running(ShapePass *pass, int32_t index) {
    SmeltContext *context = pass->context;
    const PlanOp *op = &context->plan->ops[index];
    bool is_control = op_def(context->engine->ops[index].id)->op_class == OPCLASS_CONTROL;
    const TypeInfo **inputs = ARENA_ARRAY(pass->arena, const TypeInfo *, op->input_count);
    TypeInfo *types = ARENA_ARRAY(pass->arena, TypeInfo, op->input_count);
    InferCtx infer = {.input_count = op->input_count,
                      .output_count = op->output_count,
                      .inputs = inputs,
                      .outputs = ARENA_ARRAY(pass->arena, TypeInfo, op->output_count),
                      .dims = pass->dims = dim_table_create(pass->arena),
                      .arena = pass->arena};
    TRY_ALLOC(pass->diag, inputs);
    TRY_ALLOC(pass->diag, types);
    TRY_ALLOC(pass->diag, infer.outputs);
    TRY_ALLOC(pass->diag, infer.dims);
    for (int32_t i = 0; i < op->input_count; ++i) {
        if (op->inputs[i] < 0) continue;
        const Tensor *tensor = &context->tensors[op->inputs[i]];
        types[i] = (TypeInfo){.dtype = tensor->dtype, .shape = exact_shape(tensor), .data = tensor->data};
        inputs[i] = &types[i];
    }
    TRY(infer_op(context, index, &infer, pass->diag));
    for (int32_t i = 0; i < op->output_count; ++i) {
        if (op->outputs[i] < 0) continue;
        if (!is_control)
            TRY(place_output(pass, index, i, &infer.outputs[i]));
        else if (!context->values[op->outputs[i]].known)
            context->tensors[op->outputs[i]].data = NULL;
    }
    return STATUS_OK;
}

Status infer_late(SmeltContext *context, int32_t op, Diag *diag) {
    ShapePass pass = {.context = context, .arena = &context->late_arena, .diag = diag};
    Status status = infer_running(&pass, op);
    arena_reset(&context->late_arena);
    return status;
}
