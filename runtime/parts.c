/* Operands of Concat, Split and Slice that lie in one another: parts that are not copied must lie exactly
 * where a copy would have put them. */
#include "ops/movement.h"
#include "runtime/context.h"

typedef struct Parts {
    SmeltContext *context;
    int32_t op;
    InferCtx types;
    Diag *diag;
} Parts;

/* The operands' types as they are for these shapes; an unwanted output has none. */
static Status describe_operands(Parts *parts) {
    SmeltContext *context = parts->context;
    const PlanOp *op = &context->plan->ops[parts->op];
    Arena *arena = &context->prepare_arena;
    int32_t count = op->input_count + op->output_count;
    TypeInfo *types = ARENA_ARRAY(arena, TypeInfo, count);
    const TypeInfo **inputs = ARENA_ARRAY(arena, const TypeInfo *, op->input_count);
    DimTable *dims = dim_table_create(arena);
    TRY_ALLOC(parts->diag, types);
    TRY_ALLOC(parts->diag, inputs);
    TRY_ALLOC(parts->diag, dims);
    for (int32_t i = 0; i < count; ++i) {
        int32_t value = i < op->input_count ? op->inputs[i] : op->outputs[i - op->input_count];
        if (value < 0) continue;
        const Tensor *tensor = &context->tensors[value];
        types[i] = (TypeInfo){.dtype = tensor->dtype, .shape = {.rank = tensor->rank}};
        for (int32_t k = 0; k < tensor->rank; ++k) types[i].shape.dim[k] = tensor->dim[k];
        if (context->plan->values[value].storage == PLAN_WEIGHT) types[i].data = tensor->data;
        if (i < op->input_count) inputs[i] = &types[i];
    }
    parts->types = (InferCtx){.attrs = context->engine->ops[parts->op].attrs,
                              .input_count = op->input_count,
                              .output_count = op->output_count,
                              .inputs = inputs,
                              .outputs = types + op->input_count,
                              .dims = dims,
                              .arena = arena};
    return STATUS_OK;
}

/* Bytes from one element to the next of a value that lies without gaps. False: it does not. */
static bool dense_strides(const SmeltContext *context, int32_t index, int64_t strides[SMELT_MAX_RANK]) {
    const PlanValue *value = &context->plan->values[index];
    const Tensor *tensor = &context->tensors[index];
    bool last = value->channels_last && tensor->rank > 2;
    int64_t stride = dtype_bits(tensor->dtype) / 8;
    if (value->span != 0) return false;
    if (last) {
        strides[1] = stride;
        stride *= tensor->dim[1];
    }
    for (int32_t i = tensor->rank - 1; i >= 0; --i) {
        if (last && i == 1) continue;
        strides[i] = stride;
        stride *= tensor->dim[i];
    }
    return true;
}

/* A part without gaps has its own strides, which must be those of the whole; one with gaps has them by the
 * plan's word, within its span. */
static bool lies_in_place(const SmeltContext *context, int32_t part, int32_t whole, const Dim *start) {
    const Tensor *small = &context->tensors[part], *large = &context->tensors[whole];
    int64_t own[SMELT_MAX_RANK] = {0}, strides[SMELT_MAX_RANK] = {0}, offset = context->values[whole].offset;
    if (small->dtype != large->dtype || dtype_bits(small->dtype) % 8 != 0) return false;
    if (context->plan->values[part].channels_last != context->plan->values[whole].channels_last) return false;
    if (tensor_count(small) == 0) return true;
    if (!dense_strides(context, whole, strides)) return true; /* place_in_buffer has checked its range */
    for (int32_t i = 0; i < large->rank; ++i) offset += start[i] * strides[i];
    if (context->values[part].offset != offset) return false;
    if (!dense_strides(context, part, own)) return true;
    for (int32_t i = 0; i < small->rank; ++i)
        if (small->dim[i] != 1 && own[i] != strides[i]) return false;
    return true;
}

static Status fail_part(Parts *parts, int32_t part, int32_t whole) {
    (void)FAIL(parts->diag, STATUS_BAD_PLAN,
               "value %d is to lie in value %d, and lies elsewhere in buffer %d", part, whole,
               parts->context->plan->values[whole].index);
    diag_operator(parts->diag, parts->context->plan, parts->op);
    return STATUS_BAD_PLAN;
}

bool is_part(const Plan *plan, const EngineOp *bound, const PlanOp *op, int32_t a, int32_t b) {
    if (part_count(bound->id, op->input_count, op->output_count) == 0 || a < 0 || b < 0) return false;
    const PlanValue *first = &plan->values[a], *second = &plan->values[b];
    return first->storage == PLAN_BUFFER && second->storage == PLAN_BUFFER && first->index == second->index;
}

/* Some part that is this value is in its place. */
static bool has_place(const PlanOp *op, int32_t count, const bool *in_place, int32_t value) {
    for (int32_t i = 0; i < count; ++i)
        if (in_place[i] && op->inputs[i] == value) return true;
    return false;
}

static Status find_places(Parts *parts, int32_t count, bool *in_place) {
    const SmeltContext *context = parts->context;
    const PlanOp *op = &context->plan->ops[parts->op];
    const EngineOp *bound = &context->engine->ops[parts->op];
    bool joins = bound->id == OP_Concat, known = true;
    Dim start[SMELT_MAX_RANK] = {0};
    TRY(describe_operands(parts));
    for (int32_t i = 0; i < count; ++i) {
        int32_t part = joins ? op->inputs[i] : op->outputs[i], whole = joins ? op->outputs[0] : op->inputs[0];
        known = known && part_start(bound->id, &parts->types, i, start);
        in_place[i] = known && is_part(context->plan, bound, op, part, whole) &&
                      context->values[part].known && context->values[whole].known &&
                      lies_in_place(context, part, whole, start);
    }
    return STATUS_OK;
}

Status check_parts(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanOp *op = &context->plan->ops[index];
    const EngineOp *bound = &context->engine->ops[index];
    Parts parts = {.context = context, .op = index, .diag = diag};
    int32_t count = part_count(bound->id, op->input_count, op->output_count);
    if (count == 0) return STATUS_OK;
    bool *in_place = ARENA_ARRAY(&context->prepare_arena, bool, count);
    TRY_ALLOC(diag, in_place);
    TRY(find_places(&parts, count, in_place));
    bool joins = bound->id == OP_Concat;
    for (int32_t i = 0; i < count; ++i) {
        int32_t part = joins ? op->inputs[i] : op->outputs[i], whole = joins ? op->outputs[0] : op->inputs[0];
        if (in_place[i]) note_same_data(context, part, whole);
        if (in_place[i] || !is_part(context->plan, bound, op, part, whole)) continue;
        /* what is twice in a Concat is copied from its place */
        if (bound->is_idle || !joins || !has_place(op, count, in_place, part))
            return fail_part(&parts, part, whole);
    }
    return STATUS_OK;
}
