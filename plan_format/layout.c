#include "plan_format/layout.h"

#include <string.h>

const uint8_t plan_magic[8] = {0x89, 'S', 'M', 'L', 'P', '\r', '\n', 0x1a};

/* -- fields -- */

static void codec_problem(Codec *c, const char *problem, int64_t found, int64_t expected) {
    if (c->problem != NULL) return;
    c->problem = problem;
    c->found = found;
    c->expected = expected;
}

static void codec_u32(Codec *c, uint32_t *value) {
    if (c->writing)
        write_u32(&c->tables_out, *value);
    else
        *value = read_u32(&c->in);
}

static void codec_i32(Codec *c, int32_t *value) {
    uint32_t bits = (uint32_t)*value;
    codec_u32(c, &bits);
    *value = (int32_t)bits;
}

static void codec_i64(Codec *c, int64_t *value) {
    if (c->writing)
        write_i64(&c->tables_out, *value);
    else
        *value = read_i64(&c->in);
}

static void codec_reserved(Codec *c) {
    uint32_t value = 0;
    codec_u32(c, &value);
    if (value != 0 && !c->lenient) codec_problem(c, "its reserved field", value, 0);
}

/* A word of flags of which only bit 0 is used. */
static void codec_flag(Codec *c, bool *flag) {
    uint32_t value = *flag ? 1 : 0;
    codec_u32(c, &value);
    if (value > 1 && !c->lenient) codec_problem(c, "its flags", value, value & 1);
    *flag = (value & 1) != 0;
}

static uint32_t place_string(Codec *c, const char *text) {
    ByteWriter *pool = &c->pools_out[POOL_STRINGS];
    int32_t known = name_map_find(&c->places, text);
    if (known >= 0) return (uint32_t)known;
    size_t place = pool->size;
    write_bytes(pool, text, strlen(text) + 1);
    if (place > INT32_MAX || !name_map_set(&c->places, c->arena, text, (int32_t)place)) pool->failed = true;
    return (uint32_t)place;
}

static void codec_string(Codec *c, const char **text) {
    uint32_t place = c->writing ? place_string(c, *text) : 0;
    codec_u32(c, &place);
    if (c->writing) return;
    *text = "";
    if (place >= c->pool_count[POOL_STRINGS])
        codec_problem(c, "a string's place", place, c->pool_count[POOL_STRINGS]);
    else
        *text = c->strings + place;
}

static bool in_pool(Codec *c, CodecPool pool, uint32_t place, int64_t count) {
    if (count >= 0 && (int64_t)place + count <= (int64_t)c->pool_count[pool]) return true;
    codec_problem(c, pool == POOL_LISTS ? "the end of its list" : "the end of its bytes",
                  (int64_t)place + count, c->pool_count[pool]);
    return false;
}

static uint32_t place_list(Codec *c, const int32_t *items, int32_t count) {
    ByteWriter *pool = &c->pools_out[POOL_LISTS];
    size_t place = pool->size / sizeof(int32_t);
    for (int32_t i = 0; i < count; ++i) write_u32(pool, (uint32_t)items[i]);
    return (uint32_t)place;
}

static void codec_list(Codec *c, const int32_t **items, int32_t *count) {
    uint32_t place = c->writing ? place_list(c, *items, *count) : 0;
    codec_u32(c, &place);
    codec_i32(c, count);
    if (c->writing) return;
    bool fine = in_pool(c, POOL_LISTS, place, *count);
    *items = fine ? c->lists + place : NULL;
    if (!fine) *count = 0;
}

/* Place and number of bytes; each run of them begins at a multiple of alignment. */
static void codec_bytes(Codec *c, const uint8_t **bytes, uint32_t *size, size_t alignment) {
    ByteWriter *pool = &c->pools_out[POOL_BYTES];
    uint32_t place = 0;
    if (c->writing) {
        write_align(pool, alignment);
        place = (uint32_t)pool->size;
        write_bytes(pool, *bytes, *size);
        if (pool->size > INT32_MAX) pool->failed = true;
    }
    codec_u32(c, &place);
    codec_u32(c, size);
    if (c->writing) return;
    *bytes = NULL;
    if (in_pool(c, POOL_BYTES, place, *size)) *bytes = c->bytes + place;
    if (place % alignment != 0) codec_problem(c, "the place of its bytes", place, (int64_t)alignment);
}

/* -- records, in the order of FORMAT.md -- */

static void record_meta(Codec *c, void *record) {
    PlanMeta *meta = record;
    codec_string(c, &meta->key);
    codec_string(c, &meta->value);
}

static void record_binding(Codec *c, void *record) {
    PlanBinding *binding = record;
    codec_string(c, &binding->name);
    codec_i32(c, &binding->value);
    codec_flag(c, &binding->is_output);
    codec_reserved(c);
}

static void record_symbol(Codec *c, void *record) {
    Symbol *symbol = record;
    uint32_t kind = (uint32_t)symbol->kind;
    codec_string(c, &symbol->name);
    codec_u32(c, &kind);
    if (kind > SYMBOL_LATE) codec_problem(c, "its kind", kind, SYMBOL_LATE);
    symbol->kind = (SymbolKind)kind;
    codec_i64(c, &symbol->min);
    codec_i64(c, &symbol->opt);
    codec_i64(c, &symbol->max);
}

static void record_code(Codec *c, void *record) {
    DimCode *code = record;
    codec_i32(c, &code->op);
    codec_i32(c, &code->padding);
    codec_i64(c, &code->value);
    if (code->op < DIM_PUSH || code->op > DIM_BCAST) codec_problem(c, "its op", code->op, DIM_BCAST);
    if (code->padding != 0) codec_problem(c, "its reserved field", code->padding, 0);
    if (code->op > DIM_SYMBOL && code->value != 0) codec_problem(c, "its unused value", code->value, 0);
}

static void record_expression(Codec *c, void *record) {
    PlanExpression *expression = record;
    codec_i32(c, &expression->first);
    codec_i32(c, &expression->count);
}

static void record_layout(Codec *c, void *record) {
    Plan *plan = record;
    codec_i64(c, &plan->arena_size);
    codec_i64(c, &plan->arena_lower_bound);
    codec_flag(c, &plan->fixed);
    codec_reserved(c);
}

static void record_buffer(Codec *c, void *record) {
    PlanBuffer *buffer = record;
    codec_i64(c, &buffer->size);
    codec_i64(c, &buffer->capacity);
    codec_i64(c, &buffer->offset);
    codec_i32(c, &buffer->first);
    codec_i32(c, &buffer->last);
}

static void record_value(Codec *c, void *record) {
    PlanValue *value = record;
    codec_i32(c, &value->dtype);
    codec_i32(c, &value->rank);
    codec_i32(c, &value->storage);
    codec_i32(c, &value->index);
    codec_i64(c, &value->offset);
    for (int32_t i = 0; i < SMELT_MAX_RANK; ++i) codec_i64(c, &value->dim[i]);
    if (!c->writing) value->name = "";
}

static void record_place(Codec *c, void *record) {
    PlanValue *value = record;
    codec_i64(c, &value->span);
    codec_flag(c, &value->channels_last);
    codec_reserved(c);
}

static void record_program(Codec *c, void *record) {
    PlanProgram *program = record;
    codec_string(c, &program->name);
    codec_i32(c, &program->owner);
    codec_list(c, &program->params, &program->param_count);
    codec_list(c, &program->results, &program->result_count);
    codec_i32(c, &program->step_first);
    codec_i32(c, &program->step_count);
}

static void record_cubin(Codec *c, void *record) {
    PlanCubin *cubin = record;
    codec_i32(c, &cubin->sm);
    codec_flag(c, &cubin->accelerated);
    codec_bytes(c, &cubin->data, &cubin->size, PLAN_SECTION_ALIGNMENT);
}

static void record_kernel(Codec *c, void *record) {
    PlanKernel *kernel = record;
    codec_string(c, &kernel->entry);
    codec_i32(c, &kernel->param_count);
    codec_i32(c, &kernel->cubin_first);
    codec_i32(c, &kernel->cubin_count);
}

static void record_step(Codec *c, void *record) {
    PlanStep *step = record;
    codec_string(c, &step->name);
    codec_i32(c, &step->kind);
    codec_i32(c, &step->op_first);
    codec_i32(c, &step->op_count);
    codec_flag(c, &step->late);
    codec_reserved(c);
    if (!c->writing) step->reason = "";
}

static void record_step_launches(Codec *c, void *record) {
    PlanStep *step = record;
    codec_i32(c, &step->launch_first);
    codec_i32(c, &step->launch_count);
    codec_i64(c, &step->scratch_bytes);
}

static void record_arch_step(Codec *c, void *record) {
    PlanArchStep *step = record;
    codec_i32(c, &step->launch_first);
    codec_i32(c, &step->launch_count);
    codec_i64(c, &step->scratch_bytes);
}

static void record_launch(Codec *c, void *record) {
    PlanLaunch *launch = record;
    codec_i32(c, &launch->kernel);
    codec_i32(c, &launch->shared_bytes);
    codec_i32(c, &launch->arg_first);
    codec_i32(c, &launch->arg_count);
    for (int i = 0; i < 3; ++i) codec_i64(c, &launch->grid[i]);
    for (int i = 0; i < 3; ++i) codec_i32(c, &launch->block[i]);
    codec_flag(c, &launch->together);
}

static void record_arg(Codec *c, void *record) {
    PlanArg *arg = record;
    codec_i32(c, &arg->kind);
    codec_i32(c, &arg->value);
    codec_flag(c, &arg->written);
    codec_reserved(c);
    codec_i64(c, &arg->number);
}

static void record_map(Codec *c, void *record) {
    PlanMap *map = record;
    codec_i32(c, &map->rank);
    codec_i32(c, &map->swizzle);
    codec_flag(c, &map->windows);
    for (int i = 0; i < PLAN_MAP_RANK; ++i) codec_i32(c, &map->box[i]);
    for (int i = 0; i < PLAN_MAP_RANK; ++i) codec_i64(c, &map->dim[i]);
    for (int i = 0; i < PLAN_MAP_RANK - 1; ++i) codec_i64(c, &map->stride[i]);
    for (int i = 0; i < PLAN_MAP_AXES; ++i) codec_i32(c, &map->step[i]);
    for (int i = 0; i < PLAN_MAP_AXES; ++i) codec_i32(c, &map->low[i]);
    for (int i = 0; i < PLAN_MAP_AXES; ++i) codec_i32(c, &map->high[i]);
    codec_reserved(c);
}

static void record_operand(Codec *c, void *record) {
    PlanOperand *operand = record;
    codec_i32(c, &operand->dtype);
    codec_i32(c, &operand->rank);
    for (int i = 0; i < PLAN_CALL_RANK; ++i) codec_i64(c, &operand->dim[i]);
    for (int i = 0; i < PLAN_CALL_RANK; ++i) codec_i64(c, &operand->stride[i]);
}

static void record_call(Codec *c, void *record) {
    PlanCall *call = record;
    codec_i32(c, &call->library);
    codec_i32(c, &call->choice);
    codec_flag(c, &call->tf32);
    codec_i32(c, &call->operand_first);
    codec_i32(c, &call->operand_count);
    for (int i = 0; i < PLAN_CALL_AFTER; ++i) codec_i32(c, &call->after[i]);
    for (int i = 0; i < PLAN_CALL_AXES; ++i) codec_i32(c, &call->step[i]);
    for (int i = 0; i < PLAN_CALL_AXES; ++i) codec_i32(c, &call->dilation[i]);
    for (int i = 0; i < PLAN_CALL_AXES; ++i) codec_i32(c, &call->low[i]);
    for (int i = 0; i < PLAN_CALL_AXES; ++i) codec_i32(c, &call->high[i]);
    codec_reserved(c);
    codec_i64(c, &call->workspace);
}

static void record_op(Codec *c, void *record) {
    PlanOp *op = record;
    uint32_t place = 0;
    codec_string(c, &op->domain);
    codec_string(c, &op->name);
    codec_i32(c, &op->opset);
    if (c->writing) {
        place = place_list(c, op->inputs, op->input_count);
        place_list(c, op->outputs, op->output_count);
    }
    codec_u32(c, &place);
    codec_i32(c, &op->input_count);
    codec_i32(c, &op->output_count);
    codec_bytes(c, &op->attrs, &op->attrs_size, 1);
    if (c->writing) return;
    op->origins = "";
    if (op->input_count < 0 || op->output_count < 0)
        codec_problem(c, "its smaller operand count",
                      op->input_count < 0 ? op->input_count : op->output_count, 0);
    else if (in_pool(c, POOL_LISTS, place, (int64_t)op->input_count + op->output_count)) {
        op->inputs = c->lists + place;
        op->outputs = op->inputs + op->input_count;
    }
}

static void record_value_name(Codec *c, void *record) {
    codec_string(c, &((PlanValue *)record)->name);
}

static void record_origins(Codec *c, void *record) {
    codec_string(c, &((PlanOp *)record)->origins);
}

static void record_reason(Codec *c, void *record) {
    codec_string(c, &((PlanStep *)record)->reason);
}

/* -- tables -- */

typedef struct RecordKind {
    const char *name;
    uint32_t size; /* in the file */
    size_t memory; /* of the struct */
    void (*code)(Codec *codec, void *record);
} RecordKind;

static const RecordKind meta_kind = {"entry", 8, sizeof(PlanMeta), record_meta},
                        binding_kind = {"binding", 16, sizeof(PlanBinding), record_binding},
                        symbol_kind = {"symbol", 32, sizeof(Symbol), record_symbol},
                        code_kind = {"code", 16, sizeof(DimCode), record_code},
                        expression_kind = {"expression", 8, sizeof(PlanExpression), record_expression},
                        layout_kind = {"layout", 24, sizeof(Plan), record_layout},
                        buffer_kind = {"buffer", 32, sizeof(PlanBuffer), record_buffer},
                        value_kind = {"value", 88, sizeof(PlanValue), record_value},
                        place_kind = {"value's place", 16, sizeof(PlanValue), record_place},
                        program_kind = {"program", 32, sizeof(PlanProgram), record_program},
                        step_kind = {"step", 24, sizeof(PlanStep), record_step},
                        op_kind = {"operator", 32, sizeof(PlanOp), record_op},
                        value_name_kind = {"value name", 4, sizeof(PlanValue), record_value_name},
                        origins_kind = {"origin", 4, sizeof(PlanOp), record_origins},
                        reason_kind = {"reason", 4, sizeof(PlanStep), record_reason},
                        cubin_kind = {"cubin", 16, sizeof(PlanCubin), record_cubin},
                        kernel_kind = {"kernel", 16, sizeof(PlanKernel), record_kernel},
                        step_launches_kind = {"step's launches", 16, sizeof(PlanStep), record_step_launches},
                        launch_kind = {"launch", 56, sizeof(PlanLaunch), record_launch},
                        arg_kind = {"argument", 24, sizeof(PlanArg), record_arg},
                        map_kind = {"map", 144, sizeof(PlanMap), record_map},
                        operand_kind = {"operand", 88, sizeof(PlanOperand), record_operand},
                        call_kind = {"call", 96, sizeof(PlanCall), record_call},
                        arch_step_kind = {"architecture's step", 16, sizeof(PlanArchStep), record_arch_step};

static Status read_padding(Codec *c) {
    while (c->in.position % PLAN_SECTION_ALIGNMENT != 0) {
        size_t at = c->in.position;
        uint8_t byte = read_u8(&c->in);
        if (c->in.failed) return FAIL(c->diag, STATUS_BAD_PLAN, "section %s ends inside a table", c->section);
        if (byte != 0)
            return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: padding byte %zu is %d, expected 0",
                        c->section, at, byte);
    }
    return STATUS_OK;
}

/* Reads count and record size of a table and checks that it fits in the section. */
static Status read_table_header(Codec *c, const char *name, uint32_t size, uint32_t *count,
                                uint32_t *record_size) {
    *count = read_u32(&c->in);
    *record_size = read_u32(&c->in);
    if (c->in.failed)
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s ends at byte %zu, before its %s table", c->section,
                    c->in.size, name);
    if (*record_size < size || (!c->lenient && *record_size != size))
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: a %s has %u bytes, expected %u", c->section, name,
                    *record_size, size);
    if (*count > INT32_MAX || (uint64_t)*count * *record_size > c->in.size - c->in.position)
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: %u records (%s) of %u bytes, with %zu bytes left",
                    c->section, *count, name, *record_size, c->in.size - c->in.position);
    return STATUS_OK;
}

static Status read_records(Codec *c, const RecordKind *kind, uint8_t *items, uint32_t count,
                           uint32_t record_size) {
    for (uint32_t i = 0; i < count; ++i) {
        size_t start = c->in.position;
        c->problem = NULL;
        kind->code(c, items + i * kind->memory);
        if (c->problem != NULL)
            return FAIL(c->diag, STATUS_BAD_PLAN, "section %s, %s %u: %s is %lld; its limit is %lld",
                        c->section, kind->name, i, c->problem, (long long)c->found, (long long)c->expected);
        read_bytes(&c->in, record_size - (c->in.position - start));
    }
    return read_padding(c);
}

static void write_records(Codec *c, const RecordKind *kind, uint8_t *items, int32_t count) {
    write_u32(&c->tables_out, (uint32_t)count);
    write_u32(&c->tables_out, kind->size);
    for (int32_t i = 0; i < count; ++i) kind->code(c, items + (size_t)i * kind->memory);
    write_align(&c->tables_out, PLAN_SECTION_ALIGNMENT);
}

/* A table of one record for each item of an array that is already there. */
static Status codec_known_table(Codec *c, const RecordKind *kind, void *items, int32_t count) {
    uint32_t found, record_size;
    if (c->writing) {
        write_records(c, kind, items, count);
        return STATUS_OK;
    }
    TRY(read_table_header(c, kind->name, kind->size, &found, &record_size));
    if (found != (uint32_t)count)
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: %u records (%s), expected %d", c->section, found,
                    kind->name, count);
    return read_records(c, kind, items, found, record_size);
}

/* A table whose items are allocated when read. */
static Status codec_table(Codec *c, const RecordKind *kind, void **items, int32_t *count) {
    uint32_t found, record_size;
    if (c->writing) {
        write_records(c, kind, *items, *count);
        return STATUS_OK;
    }
    TRY(read_table_header(c, kind->name, kind->size, &found, &record_size));
    *items = arena_alloc_array(c->arena, found, kind->memory);
    TRY_ALLOC(c->diag, *items);
    *count = (int32_t)found;
    return read_records(c, kind, *items, found, record_size);
}

/* -- sections -- */

static Status tables_meta(Codec *c, Plan *plan) {
    return codec_table(c, &meta_kind, (void **)&plan->meta, &plan->meta_count);
}

static Status tables_bindings(Codec *c, Plan *plan) {
    return codec_table(c, &binding_kind, (void **)&plan->bindings, &plan->binding_count);
}

static Status tables_dims(Codec *c, Plan *plan) {
    TRY(codec_table(c, &symbol_kind, (void **)&plan->symbols, &plan->symbol_count));
    TRY(codec_table(c, &code_kind, (void **)&plan->codes, &plan->code_count));
    return codec_table(c, &expression_kind, (void **)&plan->expressions, &plan->expression_count);
}

static Status tables_memory(Codec *c, Plan *plan) {
    TRY(codec_known_table(c, &layout_kind, plan, 1));
    TRY(codec_table(c, &buffer_kind, (void **)&plan->buffers, &plan->buffer_count));
    TRY(codec_table(c, &value_kind, (void **)&plan->values, &plan->value_count));
    return c->minor < 2 ? STATUS_OK : codec_known_table(c, &place_kind, plan->values, plan->value_count);
}

static Status tables_steps(Codec *c, Plan *plan) {
    TRY(codec_table(c, &program_kind, (void **)&plan->programs, &plan->program_count));
    TRY(codec_table(c, &step_kind, (void **)&plan->steps, &plan->step_count));
    TRY(codec_table(c, &op_kind, (void **)&plan->ops, &plan->op_count));
    if (c->minor < 1) return STATUS_OK;
    TRY(codec_known_table(c, &step_launches_kind, plan->steps, plan->step_count));
    TRY(codec_table(c, &launch_kind, (void **)&plan->launches, &plan->launch_count));
    TRY(codec_table(c, &arg_kind, (void **)&plan->args, &plan->arg_count));
    return c->minor < 3 ? STATUS_OK : codec_table(c, &map_kind, (void **)&plan->maps, &plan->map_count);
}

static Status tables_kernels(Codec *c, Plan *plan) {
    TRY(codec_table(c, &cubin_kind, (void **)&plan->cubins, &plan->cubin_count));
    return codec_table(c, &kernel_kind, (void **)&plan->kernels, &plan->kernel_count);
}

static Status tables_calls(Codec *c, Plan *plan) {
    TRY(codec_table(c, &operand_kind, (void **)&plan->operands, &plan->operand_count));
    return codec_table(c, &call_kind, (void **)&plan->calls, &plan->call_count);
}

static Status tables_architectures(Codec *c, Plan *plan) {
    return codec_table(c, &arch_step_kind, (void **)&plan->arch_steps, &plan->arch_step_count);
}

static Status tables_debug(Codec *c, Plan *plan) {
    TRY(codec_known_table(c, &value_name_kind, plan->values, plan->value_count));
    TRY(codec_known_table(c, &origins_kind, plan->ops, plan->op_count));
    if (c->minor < 1) return STATUS_OK;
    return codec_known_table(c, &reason_kind, plan->steps, plan->step_count);
}

const SectionLayout plan_sections[PLAN_SECTION_KINDS] = {
    [PLAN_META] = {"META", true, true, false, NULL, tables_meta},
    [PLAN_BINDINGS] = {"BINDINGS", true, true, false, NULL, tables_bindings},
    [PLAN_DIMS] = {"DIMS", true, true, false, NULL, tables_dims},
    [PLAN_MEMORY] = {"MEMORY", true, true, false, NULL, tables_memory},
    [PLAN_WEIGHTS] = {"WEIGHTS", true, true, false, NULL, NULL},
    [PLAN_KERNELS] = {"KERNELS", false, true, false, "code", tables_kernels},
    [PLAN_STEPS] = {"STEPS", true, true, true, "attributes", tables_steps},
    [PLAN_DEBUG] = {"DEBUG", false, false, false, NULL, tables_debug},
    [PLAN_CALLS] = {"CALLS", false, true, false, NULL, tables_calls},
    [PLAN_ARCHITECTURES] = {"ARCHITECTURES", false, true, false, NULL, tables_architectures},
};

static const uint32_t pool_record[POOL_COUNT] = {1, 4, 1};

static void write_pool(Codec *c, CodecPool pool, ByteWriter *out) {
    write_u32(out, (uint32_t)(c->pools_out[pool].size / pool_record[pool]));
    write_u32(out, pool_record[pool]);
    write_bytes(out, c->pools_out[pool].data, c->pools_out[pool].size);
    write_align(out, PLAN_SECTION_ALIGNMENT);
}

Status section_encode(PlanSectionKind kind, const Plan *plan, Arena *arena, ByteWriter *out, Diag *diag) {
    const SectionLayout *layout = &plan_sections[kind];
    Codec codec = {
        .writing = true, .minor = PLAN_MINOR, .arena = arena, .section = layout->name, .diag = diag};
    Plan copy = *plan; /* the walk that both directions share takes no const; writing changes nothing */
    codec.tables_out = byte_writer(arena);
    for (int pool = 0; pool < POOL_COUNT; ++pool) codec.pools_out[pool] = byte_writer(arena);
    TRY(layout->tables(&codec, &copy));
    bool failed = codec.tables_out.failed;
    for (int pool = 0; pool < POOL_COUNT; ++pool) failed = failed || codec.pools_out[pool].failed;
    write_pool(&codec, POOL_STRINGS, out);
    if (layout->has_lists) write_pool(&codec, POOL_LISTS, out);
    if (layout->byte_pool != NULL) write_pool(&codec, POOL_BYTES, out);
    write_bytes(out, codec.tables_out.data, codec.tables_out.size);
    if (failed || out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

static Status read_pool(Codec *c, CodecPool pool, const char *name) {
    uint32_t record_size, *count = &c->pool_count[pool];
    TRY(read_table_header(c, name, pool_record[pool], count, &record_size));
    if (record_size != pool_record[pool])
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: %s of %u bytes each, expected %u", c->section,
                    name, record_size, pool_record[pool]);
    if (pool == POOL_LISTS) {
        int32_t *items = ARENA_ARRAY(c->arena, int32_t, *count);
        TRY_ALLOC(c->diag, items);
        for (uint32_t i = 0; i < *count; ++i) items[i] = (int32_t)read_u32(&c->in);
        c->lists = items;
    } else {
        const void *bytes = read_bytes(&c->in, *count);
        if (pool == POOL_STRINGS) c->strings = bytes;
        if (pool == POOL_BYTES) c->bytes = bytes;
    }
    if (pool == POOL_STRINGS && *count > 0 && c->strings[*count - 1] != '\0')
        return FAIL(c->diag, STATUS_BAD_PLAN, "section %s: its last string does not end", c->section);
    return read_padding(c);
}

Status section_decode(PlanSectionKind kind, const uint8_t *bytes, size_t size, int32_t minor, Plan *plan,
                      Arena *arena, Diag *diag) {
    const SectionLayout *layout = &plan_sections[kind];
    Codec codec = {.minor = minor,
                   .lenient = minor > PLAN_MINOR,
                   .arena = arena,
                   .section = layout->name,
                   .diag = diag,
                   .in = byte_reader(bytes, size)};
    TRY(read_pool(&codec, POOL_STRINGS, "strings"));
    if (layout->has_lists) TRY(read_pool(&codec, POOL_LISTS, "lists"));
    if (layout->byte_pool != NULL) TRY(read_pool(&codec, POOL_BYTES, layout->byte_pool));
    TRY(layout->tables(&codec, plan));
    if (codec.in.position != size && !codec.lenient)
        return FAIL(diag, STATUS_BAD_PLAN, "section %s has %zu bytes behind its last table", layout->name,
                    size - codec.in.position);
    return STATUS_OK;
}
