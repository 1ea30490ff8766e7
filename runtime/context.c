#include "runtime/cuda.h"

#include <string.h>

#include "ops/cost.h"

/* -- creation -- */

/* Every operator's operands as pointers to the tensors, which never move. */
static Status bind_operands(SmeltContext *context, int32_t index, Diag *diag) {
    const PlanOp *op = &context->plan->ops[index];
    OpState *state = &context->ops[index];
    state->inputs = ARENA_ARRAY(&context->arena, const Tensor *, op->input_count);
    state->outputs = ARENA_ARRAY(&context->arena, Tensor *, op->output_count);
    TRY_ALLOC(diag, state->inputs);
    TRY_ALLOC(diag, state->outputs);
    for (int32_t i = 0; i < op->input_count; ++i)
        state->inputs[i] = op->inputs[i] < 0 ? NULL : &context->tensors[op->inputs[i]];
    for (int32_t i = 0; i < op->output_count; ++i)
        state->outputs[i] = op->outputs[i] < 0 ? NULL : &context->tensors[op->outputs[i]];
    return STATUS_OK;
}

static Status allocate_tables(SmeltContext *context, Diag *diag) {
    const Plan *plan = context->plan;
    Arena *arena = &context->arena;
    context->symbols = ARENA_ARRAY(arena, int64_t, plan->symbol_count);
    context->tensors = ARENA_ARRAY(arena, Tensor, plan->value_count);
    context->values = ARENA_ARRAY(arena, ValueState, plan->value_count);
    context->ops = ARENA_ARRAY(arena, OpState, plan->op_count);
    context->bindings = ARENA_ARRAY(arena, BindingState, plan->binding_count);
    context->buffer_offsets = ARENA_ARRAY(arena, int64_t, plan->buffer_count);
    context->buffer_sizes = ARENA_ARRAY(arena, int64_t, plan->buffer_count);
    context->times = ARENA_ARRAY(arena, StepTime, plan->step_count);
    TRY_ALLOC(diag, context->symbols);
    TRY_ALLOC(diag, context->tensors);
    TRY_ALLOC(diag, context->values);
    TRY_ALLOC(diag, context->ops);
    TRY_ALLOC(diag, context->bindings);
    TRY_ALLOC(diag, context->buffer_offsets);
    TRY_ALLOC(diag, context->buffer_sizes);
    TRY_ALLOC(diag, context->times);
    return STATUS_OK;
}

/* Inputs without dynamic dims have their shape from the start. */
static void set_exact_shape(SmeltContext *context, int32_t input) {
    const PlanValue *value = &context->plan->values[context->plan->bindings[input].value];
    BindingState *state = &context->bindings[input];
    state->rank = value->rank;
    state->has_shape = true;
    for (int32_t i = 0; i < value->rank; ++i) {
        state->dims[i] = value->dim[i];
        if (!dim_is_exact(value->dim[i])) state->has_shape = false;
    }
}

static Status context_init(SmeltContext *context, const SmeltContextOptions *options, Diag *diag) {
    arena_init(&context->arena, &context->allocator);
    arena_init(&context->prepare_arena, &context->allocator);
    arena_init(&context->late_arena, &context->allocator);
    TRY(allocate_tables(context, diag));
    for (int32_t i = 0; i < context->plan->op_count; ++i) TRY(bind_operands(context, i, diag));
    for (int32_t i = 0; i < context->engine->input_count; ++i) set_exact_shape(context, i);
    TRY(thread_pool_create(options != NULL ? options->threads : 0, &context->allocator, &context->pool,
                           diag));
    context->host.pool = context->pool;
    context->host_offsets = context->buffer_offsets;
    return context->engine->cuda != NULL ? cuda_context_create(context, options, diag) : STATUS_OK;
}

int smelt_context_create(SmeltEngine *engine, const SmeltContextOptions *options, SmeltContext **out,
                         SmeltError *error) {
    Diag diag = {0};
    *out = NULL;
    SmeltContext *context = mem_alloc(NULL, sizeof *context);
    if (context == NULL) return report_status(FAIL(&diag, STATUS_NO_MEMORY, "out of memory"), &diag, error);
    memset(context, 0, sizeof *context);
    context->engine = engine;
    context->plan = &engine->plan;
    Status status = context_init(context, options, &diag);
    if (status == STATUS_OK)
        *out = context;
    else
        smelt_context_destroy(context);
    return report_status(status, &diag, error);
}

void smelt_context_destroy(SmeltContext *context) {
    if (context == NULL) return;
    cuda_context_destroy(context);
    thread_pool_destroy(context->pool);
    for (int32_t i = 0; context->values != NULL && i < context->plan->value_count; ++i) {
        mem_free(&context->allocator, context->values[i].own.data);
        mem_free(&context->allocator, context->values[i].other.data);
    }
    for (int32_t i = 0; context->ops != NULL && i < context->plan->op_count; ++i)
        mem_free(&context->allocator, context->ops[i].scratch.data);
    for (int32_t i = 0; context->bindings != NULL && i < context->plan->binding_count; ++i)
        mem_free(&context->allocator, context->bindings[i].own.data);
    mem_free(&context->allocator, context->buffers.data);
    mem_free(&context->allocator, context->scratch.data);
    arena_reset(&context->late_arena);
    arena_reset(&context->prepare_arena);
    arena_reset(&context->arena);
    mem_free(NULL, context);
}

/* -- shapes -- */

static Status check_binding(const SmeltContext *context, int index, bool is_output, Diag *diag) {
    const Plan *plan = context->plan;
    if (index < 0 || index >= plan->binding_count)
        return FAIL(diag, STATUS_USAGE, "there is no binding %d, of %d", index, plan->binding_count);
    if (plan->bindings[index].is_output != is_output)
        return FAIL(diag, STATUS_USAGE, "binding %d '%s' is an %s", index, plan->bindings[index].name,
                    is_output ? "input" : "output");
    return STATUS_OK;
}

static Status set_shape(SmeltContext *context, int input, int rank, const int64_t *dims, Diag *diag) {
    TRY(check_binding(context, input, false, diag));
    const PlanBinding *binding = &context->plan->bindings[input];
    const PlanValue *value = &context->plan->values[binding->value];
    BindingState *state = &context->bindings[input];
    if (rank != value->rank)
        return FAIL(diag, STATUS_BAD_DATA, "input '%s' has rank %d, expected %d", binding->name, rank,
                    value->rank);
    for (int32_t i = 0; i < rank; ++i) {
        if (dims[i] < 0)
            return FAIL(diag, STATUS_BAD_DATA, "input '%s': dimension %d is %lld", binding->name, i,
                        (long long)dims[i]);
        if (dim_is_exact(value->dim[i]) && dims[i] != value->dim[i])
            return FAIL(diag, STATUS_BAD_DATA, "input '%s': dimension %d is %lld, expected %lld",
                        binding->name, i, (long long)dims[i], (long long)value->dim[i]);
    }
    if (!state->has_shape || memcmp(state->dims, dims, (size_t)rank * sizeof *dims) != 0) {
        context->prepared = false;
        context->ran = false;
    }
    memcpy(state->dims, dims, (size_t)rank * sizeof *dims);
    state->has_shape = true;
    return STATUS_OK;
}

int smelt_context_set_shape(SmeltContext *context, int input, int rank, const int64_t *dims,
                            SmeltError *error) {
    Diag diag = {0};
    return report_status(set_shape(context, input, rank, dims, &diag), &diag, error);
}

int smelt_context_prepare(SmeltContext *context, SmeltError *error) {
    Diag diag = {0};
    return report_status(context_prepare(context, &diag), &diag, error);
}

static Status output_shape(SmeltContext *context, int index, int *rank, int64_t *dims, Diag *diag) {
    TRY(context_prepare(context, diag));
    int32_t index_of = context->plan->bindings[index].value;
    const PlanValue *value = &context->plan->values[index_of];
    bool known = context->values[index_of].known || context->ran;
    *rank = value->rank;
    for (int32_t i = 0; i < value->rank; ++i) {
        dims[i] = context->tensors[index_of].dim[i];
        if (!known && !plan_dim_eval(context->plan, value->dim[i], context->symbols, &dims[i])) dims[i] = -1;
    }
    return STATUS_OK;
}

int smelt_context_shape(SmeltContext *context, int index, int *rank, int64_t *dims, SmeltError *error) {
    Diag diag = {0};
    if (index >= 0 && index < context->engine->input_count) {
        const BindingState *state = &context->bindings[index];
        *rank = state->rank;
        for (int32_t i = 0; i < state->rank; ++i)
            dims[i] = dim_is_exact(state->dims[i]) ? state->dims[i] : -1;
        return report_status(STATUS_OK, &diag, error);
    }
    Status status = check_binding(context, index, true, &diag);
    if (status == STATUS_OK) status = output_shape(context, index, rank, dims, &diag);
    return report_status(status, &diag, error);
}

size_t smelt_context_workspace(const SmeltContext *context) {
    if (context->cuda != NULL) return (size_t)(context->cuda->arena_bytes + context->cuda->scratch_bytes);
    size_t total = context->buffers.capacity + context->scratch.capacity;
    for (int32_t i = 0; i < context->plan->value_count; ++i)
        total += context->values[i].own.capacity + context->values[i].other.capacity;
    for (int32_t i = 0; i < context->plan->op_count; ++i) total += context->ops[i].scratch.capacity;
    for (int32_t i = 0; i < context->plan->binding_count; ++i) total += context->bindings[i].own.capacity;
    return total;
}

/* -- runs -- */

static Status take_memory(SmeltContext *context, int32_t index, void *memory, size_t size, Diag *diag) {
    const PlanBinding *binding = &context->plan->bindings[index];
    const Tensor *tensor = &context->tensors[binding->value];
    BindingState *state = &context->bindings[index];
    bool known = context->values[binding->value].known;
    size_t bytes = known ? tensor_bytes(tensor) : 0, element = (size_t)dtype_bits(tensor->dtype) / 8;
    state->memory = memory;
    state->size = size;
    state->result = NULL;
    state->result_size = 0;
    if (memory == NULL && !binding->is_output && bytes > 0)
        return FAIL(diag, STATUS_USAGE, "input '%s' has no memory", binding->name);
    if (element > 1 && (uintptr_t)memory % element != 0)
        return FAIL(diag, STATUS_USAGE, "the memory of '%s' is not aligned to its elements of %zu bytes",
                    binding->name, element);
    if (memory != NULL && known && size < bytes)
        return FAIL(diag, STATUS_BAD_DATA, "'%s' needs %zu bytes, its memory has %zu", binding->name, bytes,
                    size);
    return STATUS_OK;
}

static Status run(SmeltContext *context, void *const *buffers, const size_t *sizes, Diag *diag) {
    TRY(context_prepare(context, diag));
    context->ran = false;
    for (int32_t i = 0; i < context->plan->binding_count; ++i)
        TRY(take_memory(context, i, buffers[i], sizes != NULL ? sizes[i] : SIZE_MAX, diag));
    TRY(context->cuda != NULL ? cuda_run(context, diag) : execute_plan(context, diag));
    context->ran = true;
    return STATUS_OK;
}

int smelt_context_run(SmeltContext *context, void *const *buffers, const size_t *sizes, SmeltError *error) {
    Diag diag = {0};
    return report_status(run(context, buffers, sizes, &diag), &diag, error);
}

static Status enqueue(SmeltContext *context, void *stream, void *const *buffers, const size_t *sizes,
                      Diag *diag) {
    if (context->cuda == NULL)
        return FAIL(diag, STATUS_USAGE, "a CPU plan has no stream to run on; smelt_context_run runs it");
    TRY(context_prepare(context, diag));
    context->ran = false;
    TRY(cuda_enqueue(context, stream, buffers, sizes, diag));
    context->ran = true;
    return STATUS_OK;
}

int smelt_context_enqueue(SmeltContext *context, void *stream, void *const *buffers, const size_t *sizes,
                          SmeltError *error) {
    Diag diag = {0};
    return report_status(enqueue(context, stream, buffers, sizes, &diag), &diag, error);
}

int smelt_context_output(SmeltContext *context, int index, const void **data, size_t *size,
                         SmeltError *error) {
    Diag diag = {0};
    Status status = check_binding(context, index, true, &diag);
    if (status == STATUS_OK && !context->ran) status = FAIL(&diag, STATUS_USAGE, "there has been no run");
    if (status == STATUS_OK) {
        *data = context->bindings[index].result;
        *size = context->bindings[index].result_size;
    }
    return report_status(status, &diag, error);
}

/* -- profile -- */

int smelt_context_profile(SmeltContext *context, int enable, SmeltError *error) {
    Diag diag = {0};
    if (enable != 0)
        for (int32_t i = 0; i < context->plan->step_count; ++i) {
            context->times[i].runs = 0;
            context->times[i].microseconds = 0.0;
        }
    Status status = enable != 0 && context->cuda != NULL ? profile_create(context, &diag) : STATUS_OK;
    context->profiling = enable != 0 && status == STATUS_OK;
    return report_status(status, &diag, error);
}

int smelt_context_step_count(const SmeltContext *context) {
    return context->plan->step_count;
}

/* The origins of a step's operators, joined when first asked for, and cut where they get too long. */
static Status step_origins(SmeltContext *context, int32_t index, Diag *diag) {
    enum { LONGEST_ORIGINS = 1 << 16 };
    const Plan *plan = context->plan;
    const PlanStep *step = &plan->steps[index];
    ByteWriter writer = byte_writer(&context->arena);
    for (int32_t i = 0; i < step->op_count && writer.size < LONGEST_ORIGINS; ++i) {
        const char *origins = plan->ops[step->op_first + i].origins;
        size_t length = strnlen(origins, LONGEST_ORIGINS);
        if (length > 0 && writer.size > 0) write_u8(&writer, '\n');
        write_bytes(&writer, origins, length);
    }
    write_u8(&writer, 0);
    if (writer.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    context->times[index].origins = (const char *)writer.data;
    return STATUS_OK;
}

/* Whether an operator of [first, end) makes the value, or (inputs) one of them reads it. */
static bool step_has(const Plan *plan, int32_t first, int32_t end, int32_t value, bool as_input) {
    for (int32_t op = first; op < end; ++op) {
        const PlanOp *row = &plan->ops[op];
        int32_t count = as_input ? row->input_count : row->output_count;
        for (int32_t i = 0; i < count; ++i)
            if ((as_input ? row->inputs[i] : row->outputs[i]) == value) return true;
    }
    return false;
}

enum { MOST_SHAPES = 64 };

/* Shapes of an operator's operands as they are now; those beyond the first MOST_SHAPES are left out. */
typedef struct OperandShapes {
    OpShapes all;
    Shape shape[2][MOST_SHAPES];
    const Shape *list[2][MOST_SHAPES];
} OperandShapes;

static void read_shapes(const SmeltContext *context, const PlanOp *op, OperandShapes *out) {
    const int32_t *values[2] = {op->inputs, op->outputs};
    const int32_t counts[2] = {op->input_count < MOST_SHAPES ? op->input_count : MOST_SHAPES,
                               op->output_count < MOST_SHAPES ? op->output_count : MOST_SHAPES};
    for (int side = 0; side < 2; ++side)
        for (int32_t i = 0; i < counts[side]; ++i) {
            int32_t value = values[side][i];
            out->list[side][i] = NULL;
            if (value < 0 || !context->values[value].known) continue;
            const Tensor *tensor = &context->tensors[value];
            out->shape[side][i].rank = tensor->rank;
            memcpy(out->shape[side][i].dim, tensor->dim, sizeof tensor->dim);
            out->list[side][i] = &out->shape[side][i];
        }
    out->all = (OpShapes){counts[0], counts[1], out->list[0], out->list[1]};
}

/* Bytes of an input that the operator must read. */
static size_t bytes_read(const SmeltContext *context, int32_t op, const OperandShapes *shapes,
                         int32_t input) {
    const Tensor *tensor = &context->tensors[context->plan->ops[op].inputs[input]];
    size_t bytes = tensor_bytes(tensor);
    if (input >= shapes->all.input_count) return bytes;
    int64_t elements = op_elements_read(context->engine->ops[op].id, &shapes->all, input);
    return elements < tensor_count(tensor) && dtype_storage(tensor->dtype, elements, &bytes)
               ? bytes
               : tensor_bytes(tensor);
}

static int matrix_bits(const SmeltContext *context, const PlanOp *contraction) {
    DType dtype = context->tensors[contraction->inputs[0]].dtype;
    const char *precision = plan_meta(context->plan, "option.precision");
    bool tf32 = dtype == DTYPE_F32 && precision != NULL && strcmp(precision, "tf32") == 0;
    return tf32 ? 19 : dtype_bits(dtype);
}

/* What goes into the step from outside and what it leaves in memory; views leave nothing new. */
static void step_cost(const SmeltContext *context, const PlanStep *step, SmeltStepProfile *out) {
    const Plan *plan = context->plan;
    size_t total = 0;
    for (int32_t op = step->op_first; op < step->op_first + step->op_count; ++op) {
        const PlanOp *row = &plan->ops[op];
        const EngineOp *bound = &context->engine->ops[op];
        OperandShapes shapes;
        if (bound->is_alias) continue;
        read_shapes(context, row, &shapes);
        out->flops += op_flops(bound->id, bound->attrs, &shapes.all);
        if (op_def(bound->id)->op_class == OPCLASS_CONTRACTION) out->matrix_bits = matrix_bits(context, row);
        for (int32_t i = 0; i < row->input_count; ++i)
            if (row->inputs[i] >= 0 && context->values[row->inputs[i]].known &&
                !step_has(plan, step->op_first, op, row->inputs[i], false) &&
                !step_has(plan, step->op_first, op, row->inputs[i], true))
                total += bytes_read(context, op, &shapes, i);
        for (int32_t i = 0; i < row->output_count; ++i)
            if (row->outputs[i] >= 0 && context->values[row->outputs[i]].known &&
                plan->values[row->outputs[i]].storage != PLAN_NOWHERE)
                total += tensor_bytes(&context->tensors[row->outputs[i]]);
    }
    out->bytes = total < INT64_MAX ? (int64_t)total : INT64_MAX;
}

static int count_calls(const Plan *plan, const PlanStep *step) {
    int count = 0;
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l)
        count += plan->launches[l].kernel < 0;
    return count;
}

static Status check_step(const SmeltContext *context, int index, Diag *diag) {
    if (index >= 0 && index < context->plan->step_count) return STATUS_OK;
    return FAIL(diag, STATUS_USAGE, "there is no step %d, of %d", index, context->plan->step_count);
}

static Status step_profile(SmeltContext *context, int index, SmeltStepProfile *profile, Diag *diag) {
    TRY(check_step(context, index, diag));
    const PlanStep *step = &context->plan->steps[index];
    StepTime *time = &context->times[index];
    if (time->origins == NULL) TRY(step_origins(context, index, diag));
    *profile = (SmeltStepProfile){.name = step->name,
                                  .origins = time->origins,
                                  .choice = step->reason,
                                  .runs = time->runs,
                                  .launches = step->launch_count,
                                  .library_calls = count_calls(context->plan, step),
                                  .operators = step->op_count};
    if (time->runs > 0) profile->microseconds = time->microseconds / (double)time->runs;
    if (context->cuda != NULL) profile_step(context, index, &profile->runs, &profile->microseconds);
    if (context->prepared) step_cost(context, step, profile);
    return STATUS_OK;
}

int smelt_context_step(SmeltContext *context, int index, SmeltStepProfile *profile, SmeltError *error) {
    Diag diag = {0};
    return report_status(step_profile(context, index, profile, &diag), &diag, error);
}

double smelt_context_profile_start(const SmeltContext *context) {
    return context->cuda != NULL ? profile_start(context) : 0;
}

static Status step_operator(SmeltContext *context, int index, int number, const char **origins, double *flops,
                            Diag *diag) {
    OperandShapes shapes;
    TRY(check_step(context, index, diag));
    const PlanStep *step = &context->plan->steps[index];
    if (number < 0 || number >= step->op_count)
        return FAIL(diag, STATUS_USAGE, "step %d has no operator %d, of %d", index, number, step->op_count);
    int32_t op = step->op_first + number;
    const EngineOp *bound = &context->engine->ops[op];
    *origins = context->plan->ops[op].origins;
    *flops = 0;
    if (!context->prepared || bound->is_alias) return STATUS_OK;
    read_shapes(context, &context->plan->ops[op], &shapes);
    *flops = op_flops(bound->id, bound->attrs, &shapes.all);
    return STATUS_OK;
}

int smelt_context_step_operator(SmeltContext *context, int index, int number, const char **origins,
                                double *flops, SmeltError *error) {
    Diag diag = {0};
    return report_status(step_operator(context, index, number, origins, flops, &diag), &diag, error);
}
