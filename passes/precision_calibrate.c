/* The calibration run: the graph on sample inputs, node by node on the host, in f32 and with operands rounded
 * to the narrow type, so that it is known how large values are and how much each node minds the rounding. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "ir/cost.h"
#include "passes/evaluate.h"
#include "passes/precision_work.h"

enum { BLOCK = 4096 };
static const size_t most_bytes = (size_t)3 << 30; /* of all values that are alive at once */

/* What is there of a value during a run. */
typedef struct Cell {
    bool known;
    Tensor exact, rounded; /* rounded.data NULL: the same as exact */
} Cell;

typedef struct Run {
    PrecisionWork *work;
    Cell *cells;     /* per value */
    Arena *memory;   /* per node: its results, freed after their last use */
    int32_t *unread; /* per node: uses of its results by nodes that are still to come */
    Arena inputs;    /* roundings of the samples */
    size_t bytes;    /* in memory */
} Run;

int64_t graph_work(const Graph *graph) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    double flops = 0;
    for (int32_t i = 0; i < block->node_count; ++i) flops += node_flops(graph, block->nodes[i]);
    return flops / 2 < 0x1p62 ? (int64_t)(flops / 2) : INT64_MAX;
}

bool precision_calibrates(const Graph *graph, const PrecisionOptions *options) {
    return options->sample_count > 0 && graph_work(graph) <= options->most_work;
}

/* -- numbers -- */

static void round_run(const PrecisionWork *work, const float *in, int64_t count, float *out) {
    uint16_t bits[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t length = count - first < BLOCK ? count - first : BLOCK;
        if (work->half.dtype == DTYPE_F16) {
            half_from_float_run(in + first, length, bits);
            half_to_float_run(bits, length, out + first);
        } else {
            bf16_from_float_run(in + first, length, bits);
            bf16_to_float_run(bits, length, out + first);
        }
    }
}

/* The largest finite magnitude. */
static double largest_of(const Tensor *tensor) {
    const float *x = tensor->data;
    int64_t count = tensor_count(tensor);
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        float magnitude = fabsf(x[i]);
        if (magnitude > largest && magnitude <= 3.402823466e38F) largest = magnitude;
    }
    return (double)largest;
}

/* The largest difference; elements that are infinite or NaN on both sides agree. */
static double distance(const Tensor *a, const Tensor *b) {
    double largest = 0;
    int64_t count = tensor_count(a);
    if (!tensor_same_shape(a, b)) return 0; /* the size depends on data: nothing to compare */
    for (int64_t i = 0; i < count; ++i) {
        double x = dtype_load_f64(a->dtype, a->data, i), y = dtype_load_f64(b->dtype, b->data, i);
        double difference = fabs(x - y);
        if (x == y || (isnan(x) && isnan(y))) continue;
        if (isnan(difference)) difference = INFINITY;
        if (difference > largest) largest = difference;
    }
    return largest;
}

/* -- cells -- */

/* Takes note of a value, and makes its rounding: not of one that must stay f32 anyway. */
static Status set_cell(Run *run, ValueId id, const Tensor *tensor, Arena *arena) {
    Cell *cell = &run->cells[id];
    ValuePrecision *value = &run->work->values[id];
    *cell = (Cell){.known = true, .exact = *tensor};
    if (tensor->dtype != DTYPE_F32) {
        value->seen = fmax(value->seen, 0);
        return STATUS_OK;
    }
    value->seen = fmax(value->seen, largest_of(tensor));
    double limit = run->work->half.largest,
           margin = run->work->graph->values[id].data != NULL ? 1 : PRECISION_MARGIN;
    if (!value->typed || value->seen * margin > limit) return STATUS_OK;
    cell->rounded = *tensor;
    cell->rounded.data = arena_alloc(arena, tensor_bytes(tensor));
    TRY_ALLOC(run->work->ctx->diag, cell->rounded.data);
    round_run(run->work, tensor->data, tensor_count(tensor), cell->rounded.data);
    return STATUS_OK;
}

static void forget(Run *run, NodeId node) {
    run->bytes -= run->memory[node].total;
    arena_reset(&run->memory[node]);
}

/* Results whose last reader has run. */
static void release(Run *run, ValueId id) {
    NodeId producer = id == NONE ? NONE : run->work->graph->values[id].producer;
    if (producer == NONE || run->work->graph->nodes[producer].block != MAIN_BLOCK) return;
    if (--run->unread[producer] == 0) forget(run, producer);
}

/* -- one node -- */

static bool is_runnable(const Run *run, const Node *node) {
    if (!op_is_foldable(node->op)) return false;
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && !run->cells[node->inputs[i]].known &&
            !value_is_constant(run->work->graph, node->inputs[i]))
            return false;
    return true;
}

/* Constants come into cells when they are needed, and their roundings go with the node. */
static Status bind_operands(Run *run, const Node *node, Arena *scratch, const Tensor **exact,
                            const Tensor **rounded, bool *differ) {
    *differ = false;
    for (int32_t i = 0; i < node->input_count; ++i) {
        ValueId id = node->inputs[i];
        if (id == NONE) continue;
        if (value_is_constant(run->work->graph, id)) {
            Tensor tensor = constant_tensor(&run->work->graph->values[id]);
            TRY(set_cell(run, id, &tensor, scratch));
        }
        const Cell *cell = &run->cells[id];
        exact[i] = rounded[i] = &cell->exact;
        if (cell->rounded.data == NULL || !operand_is_typed(run->work, node, i)) continue;
        rounded[i] = &cell->rounded;
        *differ = true;
    }
    return STATUS_OK;
}

/* What rounding the operands does to the results. */
static Status measure(Run *run, const Node *node, const Tensor *const *rounded, const Tensor *exact,
                      Arena *scratch) {
    Tensor *outputs = ARENA_ARRAY(scratch, Tensor, node->output_count);
    bool done;
    TRY_ALLOC(run->work->ctx->diag, outputs);
    TRY(evaluate_node(run->work->ctx, node, rounded, most_bytes, scratch, outputs, &done));
    for (int32_t i = 0; done && i < node->output_count; ++i) {
        if (node->outputs[i] == NONE || dtype_kind(exact[i].dtype) == DTYPE_KIND_OTHER) continue;
        ValuePrecision *value = &run->work->values[node->outputs[i]];
        value->error = fmax(value->error, distance(&exact[i], &outputs[i]));
    }
    return STATUS_OK;
}

static void forget_constants(Run *run, const Node *node) {
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE && value_is_constant(run->work->graph, node->inputs[i]))
            run->cells[node->inputs[i]] = (Cell){0};
}

static Status run_node(Run *run, NodeId id, Arena *scratch) {
    const Node *node = &run->work->graph->nodes[id];
    const Tensor **exact = ARENA_ARRAY(scratch, const Tensor *, node->input_count);
    const Tensor **rounded = ARENA_ARRAY(scratch, const Tensor *, node->input_count);
    Tensor *outputs = ARENA_ARRAY(scratch, Tensor, node->output_count);
    bool differ, done;
    TRY_ALLOC(run->work->ctx->diag, exact);
    TRY_ALLOC(run->work->ctx->diag, rounded);
    TRY_ALLOC(run->work->ctx->diag, outputs);
    TRY(bind_operands(run, node, scratch, exact, rounded, &differ));
    if (run->bytes >= most_bytes) return STATUS_OK;
    /* A third for the results, a third for their roundings, and a third for what the roundings make of them.
     */
    size_t share = (most_bytes - run->bytes) / 3;
    TRY(evaluate_node(run->work->ctx, node, exact, share, &run->memory[id], outputs, &done));
    for (int32_t i = 0; done && i < node->output_count; ++i)
        if (node->outputs[i] != NONE) TRY(set_cell(run, node->outputs[i], &outputs[i], &run->memory[id]));
    run->bytes += run->memory[id].total;
    if (done && differ) TRY(measure(run, node, rounded, outputs, scratch));
    forget_constants(run, node);
    return STATUS_OK;
}

static Status visit_node(Run *run, NodeId id) {
    const Node *node = &run->work->graph->nodes[id];
    Arena scratch = {.allocator = run->work->graph->arena->allocator};
    Status status = is_runnable(run, node) ? run_node(run, id, &scratch) : STATUS_OK;
    arena_reset(&scratch);
    for (int32_t i = 0; i < node->input_count; ++i) release(run, node->inputs[i]);
    if (run->unread[id] == 0) forget(run, id);
    return status;
}

/* -- the whole -- */

static void count_readers(Run *run) {
    const Graph *graph = run->work->graph;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    memset(run->unread, 0, (size_t)run->work->node_count * sizeof *run->unread);
    for (int32_t n = 0; n < block->node_count; ++n) {
        const Node *node = &graph->nodes[block->nodes[n]];
        for (int32_t i = 0; i < node->input_count; ++i) {
            NodeId producer = node->inputs[i] != NONE ? graph->values[node->inputs[i]].producer : NONE;
            if (producer != NONE) run->unread[producer]++;
        }
    }
}

static Status run_sample(Run *run, const Tensor *sample) {
    const Block *block = &run->work->graph->blocks[MAIN_BLOCK];
    count_readers(run);
    memset(run->cells, 0, (size_t)run->work->value_count * sizeof *run->cells);
    for (int32_t i = 0; i < block->param_count; ++i)
        TRY(set_cell(run, block->params[i], &sample[i], &run->inputs));
    for (int32_t i = 0; i < block->node_count; ++i) TRY(visit_node(run, block->nodes[i]));
    return STATUS_OK;
}

Status precision_calibrate(PrecisionWork *work) {
    Run run = {.work = work, .inputs = {.allocator = work->graph->arena->allocator}};
    Arena *scratch = work->ctx->scratch;
    int32_t param_count = work->graph->blocks[MAIN_BLOCK].param_count;
    if (!precision_calibrates(work->graph, work->options)) return STATUS_OK;
    run.cells = ARENA_ARRAY(scratch, Cell, work->value_count);
    run.memory = ARENA_ARRAY(scratch, Arena, work->node_count);
    run.unread = ARENA_ARRAY(scratch, int32_t, work->node_count);
    TRY_ALLOC(work->ctx->diag, run.cells);
    TRY_ALLOC(work->ctx->diag, run.memory);
    TRY_ALLOC(work->ctx->diag, run.unread);
    for (NodeId n = 0; n < work->node_count; ++n) run.memory[n].allocator = run.inputs.allocator;
    Status status = STATUS_OK;
    for (int32_t i = 0; i < work->options->sample_count && status == STATUS_OK; ++i) {
        status = run_sample(&run, work->options->samples + (int64_t)i * param_count);
        for (NodeId n = 0; n < work->node_count; ++n) forget(&run, n);
        arena_reset(&run.inputs);
    }
    pass_count_add(work->ctx, "samples", work->options->sample_count);
    return status;
}
