#include <string.h>

#include "base/pack.h"
#include "runtime/cuda.h"

Status own_reserve(SmeltContext *context, OwnMemory *own, size_t size, Diag *diag) {
    if (own->data != NULL && size <= own->capacity) return STATUS_OK;
    mem_free(&context->allocator, own->data);
    *own = (OwnMemory){0};
    void *memory = mem_alloc(&context->allocator, size);
    if (memory == NULL) return FAIL(diag, STATUS_NO_MEMORY, "out of memory: %zu bytes are needed", size);
    *own = (OwnMemory){memory, size};
    return STATUS_OK;
}

Status own_grow(SmeltContext *context, OwnMemory *own, size_t size, Diag *diag) {
    if (own->data == NULL) return own_reserve(context, own, size, diag);
    if (size <= own->capacity) return STATUS_OK;
    size_t roomy = own->capacity + own->capacity / 2;
    OwnMemory old = *own;
    *own = (OwnMemory){0};
    Status status = own_reserve(context, own, size > roomy ? size : roomy, diag);
    if (status == STATUS_OK) memcpy(own->data, old.data, old.capacity);
    mem_free(&context->allocator, old.data);
    return status;
}

/* -- symbols -- */

static Status bind_symbol(SmeltContext *context, int32_t input, int32_t axis, int32_t index, Diag *diag) {
    const Symbol *symbol = &context->plan->symbols[index];
    const char *name = context->plan->bindings[input].name;
    int64_t dim = context->bindings[input].dims[axis];
    if (context->symbols[index] >= 0 && context->symbols[index] != dim)
        return FAIL(diag, STATUS_BAD_DATA, "input '%s': dimension %d ('%s') is %lld, and %lld elsewhere",
                    name, axis, symbol->name, (long long)dim, (long long)context->symbols[index]);
    if (dim >= symbol->min && dim <= symbol->max) {
        context->symbols[index] = dim;
        return STATUS_OK;
    }
    if (symbol->max == INT64_MAX)
        return FAIL(diag, STATUS_BAD_DATA,
                    "input '%s': dimension %d ('%s') is %lld; the plan is for %lld or more", name, axis,
                    symbol->name, (long long)dim, (long long)symbol->min);
    return FAIL(diag, STATUS_BAD_DATA,
                "input '%s': dimension %d ('%s') is %lld; the plan is for %lld to %lld", name, axis,
                symbol->name, (long long)dim, (long long)symbol->min, (long long)symbol->max);
}

static Status check_shape_is_set(SmeltContext *context, int32_t input, Diag *diag) {
    const BindingState *state = &context->bindings[input];
    if (state->has_shape) return STATUS_OK;
    (void)FAIL(diag, STATUS_USAGE, "input '%s' has dynamic dimensions and no shape has been set",
               context->plan->bindings[input].name);
    diag_hint(diag, "call smelt_context_set_shape for it");
    return STATUS_USAGE;
}

/* Dims that are a symbol bind it; the others are compared once all symbols have values. */
static Status bind_symbols(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < plan->symbol_count; ++i) context->symbols[i] = -1;
    for (int32_t b = 0; b < context->engine->input_count; ++b) {
        const PlanValue *value = &plan->values[plan->bindings[b].value];
        TRY(check_shape_is_set(context, b, diag));
        for (int32_t axis = 0; axis < value->rank; ++axis) {
            int32_t symbol = plan_dim_symbol(plan, value->dim[axis]);
            if (symbol >= 0) TRY(bind_symbol(context, b, axis, symbol, diag));
        }
    }
    return STATUS_OK;
}

static Status check_input_shape(SmeltContext *context, int32_t input, Diag *diag) {
    const Plan *plan = context->plan;
    const PlanValue *value = &plan->values[plan->bindings[input].value];
    const int64_t *dims = context->bindings[input].dims;
    for (int32_t axis = 0; axis < value->rank; ++axis) {
        int64_t expected;
        if (!plan_dim_eval(plan, value->dim[axis], context->symbols, &expected))
            return FAIL(diag, STATUS_BAD_DATA,
                        "input '%s': dimension %d cannot be computed from the other inputs' shapes",
                        plan->bindings[input].name, axis);
        if (dims[axis] != expected)
            return FAIL(diag, STATUS_BAD_DATA, "input '%s': dimension %d is %lld, expected %lld",
                        plan->bindings[input].name, axis, (long long)dims[axis], (long long)expected);
    }
    return STATUS_OK;
}

/* -- shapes -- */

/* Says which operator makes a value. */
static Status fail_value(const Plan *plan, int32_t index, Diag *diag) {
    for (int32_t op = 0; op < plan->op_count; ++op)
        for (int32_t i = 0; i < plan->ops[op].output_count; ++i)
            if (plan->ops[op].outputs[i] == index) diag_operator(diag, plan, op);
    return diag->status;
}

static Status describe_value(SmeltContext *context, int32_t index, Diag *diag) {
    const Plan *plan = context->plan;
    const PlanValue *value = &plan->values[index];
    Tensor *tensor = &context->tensors[index];
    int64_t least[SMELT_MAX_RANK]; /* of what is late, 1 */
    size_t bytes;
    *tensor = (Tensor){.dtype = (DType)value->dtype, .rank = value->rank};
    context->values[index].known = true;
    for (int32_t i = 0; i < value->rank; ++i) {
        bool late = plan_dim_is_late(plan, value->dim[i]);
        least[i] = 1;
        if (!late && (!plan_dim_eval(plan, value->dim[i], context->symbols, &least[i]) || least[i] < 0)) {
            (void)FAIL(diag, STATUS_BAD_DATA,
                       "the inputs' shapes give value %d '%s' an impossible dimension %d", index, value->name,
                       i);
            return fail_value(plan, index, diag);
        }
        tensor->dim[i] = late ? -1 : least[i];
        if (late) context->values[index].known = false;
    }
    if (!dims_storage(tensor->dtype, value->rank, least, &bytes)) {
        (void)FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes give value %d '%s' more than 2^63 bytes", index,
                   value->name);
        return fail_value(plan, index, diag);
    }
    if (value->storage == PLAN_WEIGHT) tensor->data = (void *)(plan->weights + value->offset); /* only read */
    return STATUS_OK;
}

/* -- memory -- */

static Status evaluate_buffers(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    for (int32_t i = 0; i < plan->buffer_count; ++i) {
        const PlanBuffer *buffer = &plan->buffers[i];
        int64_t size;
        if (!plan_dim_eval(plan, buffer->size, context->symbols, &size) || size < 0)
            return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes give buffer %d an impossible size", i);
        if (plan->fixed && size > buffer->capacity)
            return FAIL(diag, STATUS_BAD_PLAN,
                        "buffer %d needs %lld bytes for these shapes; the plan keeps %lld", i,
                        (long long)size, (long long)buffer->capacity);
        context->buffer_sizes[i] = size;
        context->buffer_offsets[i] = buffer->offset;
    }
    return STATUS_OK;
}

Status pack_buffers(SmeltContext *context, const bool *wanted, int64_t *offsets, int64_t *total, Diag *diag) {
    const Plan *plan = context->plan;
    PackItem *items = ARENA_ARRAY(&context->prepare_arena, PackItem, plan->buffer_count);
    int32_t *scratch =
        ARENA_ARRAY(&context->prepare_arena, int32_t, PACK_SCRATCH * (size_t)plan->buffer_count);
    TRY_ALLOC(diag, items);
    TRY_ALLOC(diag, scratch);
    for (int32_t i = 0; i < plan->buffer_count; ++i)
        items[i] = (PackItem){.size = wanted == NULL || wanted[i] ? context->buffer_sizes[i] : 0,
                              .first = plan->buffers[i].first,
                              .last = plan->buffers[i].last};
    *total = pack_items(items, scratch, plan->buffer_count, PLAN_ALIGNMENT);
    if (*total < 0) return FAIL(diag, STATUS_BAD_DATA, "the inputs' shapes need more than 2^63 bytes");
    for (int32_t i = 0; i < plan->buffer_count; ++i)
        offsets[i] = wanted == NULL || wanted[i] ? items[i].offset : -1;
    return STATUS_OK;
}

/* Plans without a layout for all shapes get one for these. */
static Status lay_out_buffers(SmeltContext *context, Diag *diag) {
    int64_t total = context->plan->arena_size;
    TRY(evaluate_buffers(context, diag));
    if (!context->plan->fixed) TRY(pack_buffers(context, NULL, context->buffer_offsets, &total, diag));
    if (context->cuda != NULL) return cuda_lay_out(context, total, diag);
    TRY(own_reserve(context, &context->buffers, (size_t)total, diag));
    context->host_arena = context->buffers.data;
    return STATUS_OK;
}

static Status place_in_buffer(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanValue *value = &context->plan->values[index];
    Tensor *tensor = &context->tensors[index];
    int64_t offset, size = context->buffer_sizes[value->index], element = dtype_bits(tensor->dtype) / 8;
    int64_t span = 0;
    size_t bytes = tensor_bytes(tensor);
    if (!plan_dim_eval(context->plan, value->span, context->symbols, &span) || span < 0)
        return FAIL(diag, STATUS_BAD_PLAN, "value %d '%s' spans an impossible number of bytes", index,
                    value->name);
    if ((size_t)span > bytes) bytes = (size_t)span;
    if (!plan_dim_eval(context->plan, value->offset, context->symbols, &offset) || offset < 0 ||
        offset > size || bytes > (size_t)(size - offset) || (element > 1 && offset % element != 0))
        return FAIL(diag, STATUS_BAD_PLAN, "value %d '%s' with %zu bytes does not fit in buffer %d of %lld",
                    index, value->name, bytes, value->index, (long long)size);
    context->values[index].offset = context->buffer_offsets[value->index] + offset;
    int64_t host_offset = context->host_offsets[value->index];
    tensor->data = host_offset < 0 ? NULL : context->host_arena + host_offset + offset;
    return STATUS_OK;
}

/* Memory for what an operator writes; the caller's comes with each run. */
static Status place_output_value(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanValue *value = &context->plan->values[index];
    Tensor *tensor = &context->tensors[index];
    if (value->storage == PLAN_BUFFER && !context->values[index].known)
        return FAIL(diag, STATUS_BAD_PLAN, "value %d '%s' lies in a buffer, and its size depends on data",
                    index, value->name);
    if (value->storage == PLAN_BUFFER) return place_in_buffer(context, index, diag);
    if (value->storage != PLAN_OWN || !context->values[index].known) return STATUS_OK;
    TRY(own_reserve(context, &context->values[index].own, tensor_bytes(tensor), diag));
    tensor->data = context->values[index].own.data;
    return STATUS_OK;
}

/* -- operators -- */

static bool ranges_overlap(const Tensor *a, const Tensor *b) {
    const uint8_t *x = a->data, *y = b->data;
    return x < y + tensor_bytes(b) && y < x + tensor_bytes(a);
}

/* Both have places in the arena. */
static bool in_arena(const SmeltContext *context, int32_t value) {
    return value >= 0 && context->plan->values[value].storage == PLAN_BUFFER &&
           context->tensors[value].data != NULL;
}

/* An output must be apart from the operator's other operands, but for in-place results and views, which lie
 * exactly where an input lies, and parts (parts.c). */
static Status check_overlap(SmeltContext *context, int32_t index, int32_t output, Diag *diag) {
    const PlanOp *op = &context->plan->ops[index];
    const EngineOp *bound = &context->engine->ops[index];
    const Tensor *out = &context->tensors[op->outputs[output]];
    bool may_share = output == 0 && (bound->is_alias || (op_def(bound->id)->flags & OPF_IN_PLACE) != 0);
    for (int32_t i = 0; i < op->input_count + output; ++i) {
        int32_t value = i < op->input_count ? op->inputs[i] : op->outputs[i - op->input_count];
        if (!in_arena(context, value)) continue;
        if (i < op->input_count && is_part(context->plan, bound, op, value, op->outputs[output])) continue;
        const Tensor *other = &context->tensors[value];
        bool same = other->data == out->data && tensor_bytes(other) == tensor_bytes(out) &&
                    (bound->is_alias || other->dtype == out->dtype);
        if (!ranges_overlap(out, other) || (may_share && same)) continue;
        (void)FAIL(diag, STATUS_BAD_PLAN, "its output %d (value %d) overlaps value %d", output,
                   op->outputs[output], value);
        diag_operator(diag, context->plan, index);
        return STATUS_BAD_PLAN;
    }
    return STATUS_OK;
}

/* A view shows as many bytes as it is a view of. */
static Status check_alias(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanOp *op = &context->plan->ops[index];
    const Tensor *in = &context->tensors[op->inputs[0]], *out = &context->tensors[op->outputs[0]];
    bool known = context->values[op->inputs[0]].known && context->values[op->outputs[0]].known;
    if (known && tensor_bytes(in) == tensor_bytes(out)) {
        note_same_data(context, op->inputs[0], op->outputs[0]);
        return STATUS_OK;
    }
    (void)FAIL(diag, STATUS_BAD_PLAN, "its output is a view, and not known to have the size of its input");
    diag_operator(diag, context->plan, index);
    return STATUS_BAD_PLAN;
}

static Status place_op(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanOp *op = &context->plan->ops[index];
    for (int32_t i = 0; i < op->output_count; ++i)
        if (op->outputs[i] >= 0) TRY(place_output_value(context, op->outputs[i], diag));
    if (context->engine->ops[index].is_alias) TRY(check_alias(context, index, diag));
    TRY(check_parts(context, index, diag));
    for (int32_t i = 0; i < op->output_count; ++i)
        if (in_arena(context, op->outputs[i])) TRY(check_overlap(context, index, i, diag));
    return STATUS_OK;
}

/* What the operators of a host step ask for, at most. Those with bodies have memory of their own. */
static void step_scratch(SmeltContext *context, const PlanStep *step, size_t *most, Diag *diag) {
    for (int32_t i = step->op_first; i < step->op_first + step->op_count; ++i) {
        const OpDef *def = op_def(context->engine->ops[i].id);
        if (def->scratch == NULL || context->ops[i].late || def->op_class == OPCLASS_CONTROL) continue;
        KernelCtx ctx = kernel_context(context, i, diag);
        bool shapes_known = true; /* an input's may be late where the output's is not */
        for (int32_t k = 0; k < ctx.input_count; ++k)
            if (ctx.inputs[k] != NULL && !context->values[context->plan->ops[i].inputs[k]].known)
                shapes_known = false;
        size_t size = shapes_known ? def->scratch(&ctx) : 0;
        if (!shapes_known) context->ops[i].late = true;
        if (size > *most) *most = size;
    }
}

static Status prepare_host_steps(SmeltContext *context, Diag *diag) {
    size_t most = 0;
    for (int32_t i = 0; i < context->plan->step_count; ++i) {
        if (context->plan->steps[i].kind != PLAN_STEP_HOST) continue;
        step_scratch(context, &context->plan->steps[i], &most, diag);
        find_chains(context, &context->plan->steps[i]);
    }
    return own_reserve(context, &context->scratch, most, diag);
}

static Status prepare_all(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    TRY(bind_symbols(context, diag));
    for (int32_t b = 0; b < context->engine->input_count; ++b) TRY(check_input_shape(context, b, diag));
    for (int32_t i = 0; i < plan->value_count; ++i) TRY(describe_value(context, i, diag));
    TRY(infer_all(context, diag));
    TRY(lay_out_buffers(context, diag));
    TRY(start_same_data(context, diag));
    for (int32_t i = 0; i < plan->op_count; ++i) TRY(place_op(context, i, diag));
    TRY(check_tenants(context, diag));
    TRY(prepare_host_steps(context, diag));
    return context->cuda != NULL ? cuda_prepare(context, diag) : STATUS_OK;
}

Status context_prepare(SmeltContext *context, Diag *diag) {
    if (context->prepared) return STATUS_OK;
    context->ran = false;
    if (context->cuda != NULL) TRY(cuda_enter(context->cuda->engine, diag));
    Status status = prepare_all(context, diag);
    if (context->cuda != NULL) cuda_leave(context->cuda->engine);
    arena_reset(&context->prepare_arena);
    context->prepared = status == STATUS_OK;
    return status;
}
