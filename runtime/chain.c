/* Pointwise operators of one step, run together over blocks that stay in cache. */
#include "base/checked.h"
#include "ops/pointwise.h"
#include "runtime/context.h"

enum {
    CHAIN_MAX_OPS = 16,
    CHAIN_MAX_INPUTS = 4,
    CHAIN_BLOCK = 4096,   /* elements: a few operands of them fit in the first-level cache */
    CHAIN_SHORT_ROW = 64, /* rows below this cost more in calls than blocks gain */
    CHAIN_GRAIN = 16384   /* elements that are worth a thread */
};

/* How an input is read for element i of the result: at (i / repeat) % extent. */
typedef struct ChainInput {
    const float *data; /* NULL: omitted */
    int64_t repeat, extent;
    int32_t step; /* within a row: 1 along with the result, 0 one element */
} ChainInput;

/* Finds how `from` is read beside a result of shape `to`; *row becomes the length of rows within which `step`
 * holds. Only inputs whose dims are all of the result's, or one run of them, are read this way. */
static bool map_input(const Tensor *from, const Tensor *to, ChainInput *input, int64_t *row) {
    int32_t shift = to->rank - from->rank, first = to->rank, last = -1;
    if (from->dtype != DTYPE_F32 || shift < 0) return false;
    for (int32_t i = shift; i < to->rank; ++i) {
        if (from->dim[i - shift] == 1) continue;
        if (first > i) first = i;
        last = i;
    }
    for (int32_t i = 0; i < to->rank; ++i) {
        int64_t extent = i < shift ? 1 : from->dim[i - shift];
        if (i >= first && i <= last && extent != to->dim[i]) return false;
    }
    int64_t count = tensor_count(to);
    *input = (ChainInput){.data = from->data, .repeat = count, .extent = 1, .step = 0};
    *row = count;
    if (last < 0) return true;
    input->repeat = tensor_span(to, last + 1, to->rank);
    input->extent = tensor_span(to, first, last + 1);
    input->step = input->repeat == 1 ? 1 : 0;
    *row = input->repeat == 1 ? input->extent : input->repeat;
    return true;
}

/* Whether the operator can be part of a chain of results shaped like `shape`. */
static bool can_chain(const SmeltContext *context, int32_t op, const Tensor *shape) {
    const EngineOp *bound = &context->engine->ops[op];
    const PlanOp *row_op = &context->plan->ops[op];
    const OpState *state = &context->ops[op];
    if (op_def(bound->id)->op_class != OPCLASS_POINTWISE || !pointwise_has_block_f32(bound->id)) return false;
    if (state->late || state->check || row_op->input_count > CHAIN_MAX_INPUTS || row_op->outputs[0] < 0)
        return false;
    if (!tensor_same_shape(state->outputs[0], shape) || state->outputs[0]->dtype != DTYPE_F32) return false;
    for (int32_t i = 0; i < row_op->input_count; ++i) {
        ChainInput input;
        int64_t row;
        if (row_op->inputs[i] < 0) continue;
        if (!context->values[row_op->inputs[i]].known) return false;
        if (!map_input(state->inputs[i], shape, &input, &row) || row < CHAIN_SHORT_ROW) return false;
    }
    return true;
}

void find_chains(SmeltContext *context, const PlanStep *step) {
    int32_t end = step->op_first + step->op_count;
    for (int32_t op = step->op_first; op < end; ++op) context->ops[op].chain_length = 0;
    for (int32_t op = step->op_first; op < end;) {
        int32_t length = 0;
        const Tensor *shape = context->plan->ops[op].output_count > 0 ? context->ops[op].outputs[0] : NULL;
        while (shape != NULL && op + length < end && length < CHAIN_MAX_OPS &&
               can_chain(context, op + length, shape))
            length++;
        if (length >= 2) {
            context->ops[op].chain_length = length;
            context->ops[op].chain_count = tensor_count(shape);
        }
        op += length > 0 ? length : 1;
    }
}

typedef struct ChainLink {
    const PointwiseAttrs *attrs;
    float *out;
    int32_t input_count;
    ChainInput inputs[CHAIN_MAX_INPUTS];
} ChainLink;

typedef struct Chain {
    int32_t count;
    int64_t row; /* a block stays within one row of every input */
    ChainLink links[CHAIN_MAX_OPS];
} Chain;

static void run_block(const Chain *chain, int64_t first, int64_t count) {
    for (int32_t k = 0; k < chain->count; ++k) {
        const ChainLink *link = &chain->links[k];
        const float *inputs[CHAIN_MAX_INPUTS];
        int32_t steps[CHAIN_MAX_INPUTS];
        for (int32_t i = 0; i < link->input_count; ++i) {
            const ChainInput *input = &link->inputs[i];
            inputs[i] = input->data == NULL ? NULL : input->data + first / input->repeat % input->extent;
            steps[i] = input->step;
        }
        pointwise_block_f32(link->attrs, link->input_count, inputs, steps, link->out + first, count);
    }
}

static void chain_body(void *user, int64_t first, int64_t last, int worker) {
    const Chain *chain = user;
    (void)worker;
    while (first < last) {
        int64_t row_end = (first / chain->row + 1) * chain->row;
        int64_t end = min_i64(min_i64(last, row_end), first + CHAIN_BLOCK);
        run_block(chain, first, end - first);
        first = end;
    }
}

void run_chain(SmeltContext *context, int32_t op) {
    int64_t count = context->ops[op].chain_count;
    Chain chain = {.count = context->ops[op].chain_length, .row = count};
    for (int32_t k = 0; k < chain.count; ++k) {
        const OpState *state = &context->ops[op + k];
        ChainLink *link = &chain.links[k];
        link->attrs = context->engine->ops[op + k].attrs;
        link->out = state->outputs[0]->data;
        link->input_count = context->plan->ops[op + k].input_count;
        for (int32_t i = 0; i < link->input_count; ++i) {
            int64_t row = count;
            link->inputs[i] = (ChainInput){.repeat = 1, .extent = 1};
            if (state->inputs[i] == NULL) continue;
            map_input(state->inputs[i], state->outputs[0], &link->inputs[i], &row);
            chain.row = min_i64(chain.row, row);
        }
    }
    parallel_for(context->pool, count, CHAIN_GRAIN, chain_body, &chain);
}
