#include <ctype.h>
#include <string.h>

#include "kernels/lowering.h"

/* -- META -- */

Status lower_meta(Lowering *l, const char *key, const char *value) {
    Plan *plan = l->plan;
    int32_t at = plan->meta_count;
    TRY_ALLOC(l->diag, key);
    TRY_ALLOC(l->diag, value);
    for (; at > 0 && strcmp(plan->meta[at - 1].key, key) >= 0; --at) {
        if (strcmp(plan->meta[at - 1].key, key) == 0)
            return FAIL(l->diag, STATUS_USAGE, "option '%s' is given twice", key);
        plan->meta[at] = plan->meta[at - 1];
    }
    plan->meta[at] = (PlanMeta){key, value};
    plan->meta_count++;
    return STATUS_OK;
}

/* "key=value" under a prefix. */
static Status lower_pair(Lowering *l, const char *prefix, const char *pair) {
    size_t name = strcspn(pair, "=");
    return lower_meta(l, arena_printf(l->arena, "%s%.*s", prefix, (int)name, pair),
                      arena_strdup(l->arena, pair[name] == '=' ? pair + name + 1 : ""));
}

static Status lower_build(Lowering *l) {
    enum { FIXED_KEYS = 8 + PLAN_LIBRARIES }; /* three are left for the target, and the libraries */
    const LowerOptions *options = l->options;
    l->plan->meta = ARENA_ARRAY(l->arena, PlanMeta, FIXED_KEYS + options->option_count + options->fact_count);
    TRY_ALLOC(l->diag, l->plan->meta);
    TRY(lower_meta(l, "producer", "smelt " SMELT_VERSION));
    TRY(lower_meta(l, "target", arena_strdup(l->arena, options->target)));
    TRY(lower_meta(l, "model", arena_strdup(l->arena, l->graph->name != NULL ? l->graph->name : "")));
    TRY(lower_meta(l, "model_hash",
                   arena_printf(l->arena, "%016llx", (unsigned long long)options->model_hash)));
    TRY(lower_meta(l, "opset", arena_printf(l->arena, "%d", l->graph->opset)));
    for (int32_t i = 0; i < options->option_count; ++i) TRY(lower_pair(l, "option.", options->options[i]));
    for (int32_t i = 0; i < options->fact_count; ++i) TRY(lower_pair(l, "", options->facts[i]));
    return STATUS_OK;
}

/* -- operators and steps -- */

static Status lower_operands(Lowering *l, int32_t count, const ValueId *from, const int32_t **out) {
    int32_t *list = ARENA_ARRAY(l->arena, int32_t, count);
    TRY_ALLOC(l->diag, list);
    for (int32_t i = 0; i < count; ++i) TRY(lower_value(l, from[i], &list[i]));
    *out = list;
    return STATUS_OK;
}

/* Reserves the program of a body; its steps come when its turn comes. */
static Status queue_program(Lowering *l, BlockId block, int32_t owner, int32_t *out) {
    Plan *plan = l->plan;
    if (!ARENA_RESERVE(l->arena, plan->programs, plan->program_count, l->program_capacity) ||
        !ARENA_RESERVE(l->arena, l->blocks, plan->program_count, l->block_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->blocks[plan->program_count] = block;
    plan->programs[plan->program_count] = (PlanProgram){.owner = owner};
    *out = plan->program_count++;
    return STATUS_OK;
}

/* The node's attributes with numbers of programs where the graph has numbers of blocks. */
static Status lower_attributes(Lowering *l, const Node *node, PlanOp *op) {
    AttrList list;
    if (!attr_copy(&node->attrs, &list, l->arena)) return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < list.count; ++i) {
        int32_t program;
        if (list.items[i].kind != ATTR_BLOCK) continue;
        TRY(queue_program(l, (BlockId)list.items[i].ints[0], l->plan->op_count, &program));
        if (!attr_set_block(&list, l->arena, list.items[i].name, program))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    }
    ByteWriter writer = byte_writer(l->arena);
    attr_write(&list, &writer);
    if (writer.failed) return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    if (writer.size > INT32_MAX)
        return FAIL(l->diag, STATUS_UNSUPPORTED, "its attributes have %zu bytes; the limit is %d",
                    writer.size, INT32_MAX);
    op->attrs = writer.data;
    op->attrs_size = (uint32_t)writer.size;
    return STATUS_OK;
}

static Status join_origins(Lowering *l, const Node *node, const char **out) {
    ByteWriter writer = byte_writer(l->arena);
    for (int32_t i = 0; i < node->origin_count; ++i)
        write_format(&writer, "%s%s", i > 0 ? "\n" : "", node->origins[i]);
    if (node->origin_count == 0) write_format(&writer, "%s", node->name != NULL ? node->name : "");
    write_u8(&writer, 0);
    if (writer.failed) return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    *out = (const char *)writer.data;
    return STATUS_OK;
}

static Status lower_node(Lowering *l, NodeId id) {
    const Node *node = &l->graph->nodes[id];
    const OpDef *def = op_def(node->op);
    PlanOp op = {.domain = def->domain,
                 .name = def->name,
                 .opset = def->since,
                 .input_count = node->input_count,
                 .output_count = node->output_count};
    TRY(lower_operands(l, node->input_count, node->inputs, &op.inputs));
    TRY(lower_operands(l, node->output_count, node->outputs, &op.outputs));
    TRY(lower_attributes(l, node, &op));
    TRY(join_origins(l, node, &op.origins));
    if (!ARENA_RESERVE(l->arena, l->plan->ops, l->plan->op_count, l->op_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->plan->ops[l->plan->op_count++] = op;
    return STATUS_OK;
}

/* The region's name, or the operator's in small letters. */
static Status step_name(Lowering *l, const Node *node, const char **out) {
    const char *region = node->region != NONE ? l->graph->regions[node->region].name : NULL;
    char *name = arena_strdup(l->arena, region != NULL ? region : op_def(node->op)->name);
    TRY_ALLOC(l->diag, name);
    for (char *c = name; region == NULL && *c != '\0'; ++c) *c = (char)tolower((unsigned char)*c);
    *out = name;
    return STATUS_OK;
}

static Status open_step(Lowering *l, const Node *node) {
    Plan *plan = l->plan;
    PlanStep step = {.kind = PLAN_STEP_HOST, .op_first = plan->op_count, .reason = ""};
    TRY(step_name(l, node, &step.name));
    if (!ARENA_RESERVE(l->arena, plan->steps, plan->step_count, l->step_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    plan->steps[plan->step_count++] = step;
    return STATUS_OK;
}

/* Adds the node to the newest step. */
static Status extend_step(Lowering *l, NodeId id) {
    const Node *node = &l->graph->nodes[id];
    PlanStep *step = &l->plan->steps[l->plan->step_count - 1];
    Status status = lower_node(l, id);
    if (status != STATUS_OK) {
        diag_node(l->diag, l->graph, id);
        return status;
    }
    step->op_count++;
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE &&
            shape_is_late(l->graph->dims, &l->graph->values[node->outputs[i]].shape))
            step->late = true;
    return STATUS_OK;
}

/* Nodes [first, first + count) of the block, as one step. */
static Status lower_step(Lowering *l, int32_t program, const NodeId *nodes, int32_t count) {
    TRY(open_step(l, &l->graph->nodes[nodes[0]]));
    for (int32_t i = 0; i < count; ++i) TRY(extend_step(l, nodes[i]));
    if (program != 0 || l->finish_step == NULL) return STATUS_OK;
    Status status = l->finish_step(l, &l->plan->steps[l->plan->step_count - 1], nodes, count);
    if (status != STATUS_OK) diag_node(l->diag, l->graph, nodes[0]);
    return status;
}

static Status lower_program(Lowering *l, int32_t index) {
    const Block *block = &l->graph->blocks[l->blocks[index]];
    PlanProgram program = {.owner = l->plan->programs[index].owner,
                           .param_count = block->param_count,
                           .result_count = block->result_count,
                           .step_first = l->plan->step_count};
    program.name = arena_strdup(l->arena, block->name != NULL ? block->name : "");
    TRY_ALLOC(l->diag, program.name);
    TRY(lower_operands(l, block->param_count, block->params, &program.params));
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        end = step_end(l->graph, block, first);
        TRY(lower_step(l, index, block->nodes + first, end - first));
    }
    TRY(lower_operands(l, block->result_count, block->results, &program.results));
    program.step_count = l->plan->step_count - program.step_first;
    l->plan->programs[index] = program;
    return STATUS_OK;
}

/* -- the whole -- */

static Status lower_bindings(Lowering *l) {
    const Block *block = &l->graph->blocks[MAIN_BLOCK];
    const PlanProgram *program = &l->plan->programs[0];
    int32_t count = block->param_count + block->result_count;
    l->plan->bindings = ARENA_ARRAY(l->arena, PlanBinding, count);
    TRY_ALLOC(l->diag, l->plan->bindings);
    for (int32_t i = 0; i < count; ++i) {
        bool is_output = i >= block->param_count;
        int32_t place = is_output ? i - block->param_count : i;
        ValueId id = is_output ? block->results[place] : block->params[place];
        PlanBinding *binding = &l->plan->bindings[i];
        binding->name = arena_strdup(l->arena, is_output ? graph_output_name(l->graph, place)
                                                         : l->graph->values[id].name);
        TRY_ALLOC(l->diag, binding->name);
        binding->value = is_output ? program->results[place] : program->params[place];
        binding->is_output = is_output;
    }
    l->plan->binding_count = count;
    return STATUS_OK;
}

static Status prepare_values(Lowering *l) {
    const Block *block = &l->graph->blocks[MAIN_BLOCK];
    l->values = ARENA_ARRAY(l->arena, int32_t, l->graph->value_count);
    l->output_bindings = ARENA_ARRAY(l->arena, int32_t, l->graph->value_count);
    TRY_ALLOC(l->diag, l->values);
    TRY_ALLOC(l->diag, l->output_bindings);
    for (ValueId v = 0; v < l->graph->value_count; ++v) l->values[v] = l->output_bindings[v] = -1;
    for (int32_t i = block->result_count - 1; i >= 0; --i)
        l->output_bindings[block->results[i]] = block->param_count + i;
    return STATUS_OK;
}

Status lower_graph(Lowering *l) {
    int32_t first;
    if (!l->graph->memory.done)
        return FAIL(l->diag, STATUS_INTERNAL, "the graph has not been through plan_memory");
    TRY(lower_build(l));
    TRY(lower_symbols(l));
    TRY(prepare_values(l));
    TRY(queue_program(l, MAIN_BLOCK, -1, &first));
    for (int32_t i = 0; i < l->plan->program_count; ++i) TRY(lower_program(l, i));
    TRY(lower_bindings(l));
    TRY(lower_buffers(l));
    return lower_weights(l);
}

Status lower_check(const Lowering *l) {
    Arena scratch;
    arena_init(&scratch, l->arena->allocator);
    Diag fault = {0};
    Status status = plan_verify(l->plan, &scratch, &fault);
    arena_reset(&scratch);
    if (status == STATUS_BAD_PLAN)
        return FAIL(l->diag, STATUS_INTERNAL, "the plan breaks a rule of its format: %s", fault.text);
    if (status != STATUS_OK) return FAIL(l->diag, status, "%s", fault.text);
    log_line(l->options->log, LOG_INFO,
             "plan: %d steps, %d operators, %llu bytes of weights, arena of %lld bytes", l->plan->step_count,
             l->plan->op_count, (unsigned long long)l->plan->weights_size, (long long)l->plan->arena_size);
    return STATUS_OK;
}

Status lower_to_host(const Graph *graph, const LowerOptions *options, Arena *arena, Plan *plan, Diag *diag) {
    Lowering lowering = {.graph = graph, .options = options, .arena = arena, .plan = plan, .diag = diag};
    *plan = (Plan){.major = PLAN_MAJOR, .minor = PLAN_MINOR};
    TRY(lower_graph(&lowering));
    return lower_check(&lowering);
}
