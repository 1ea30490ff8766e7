#include "kernels/library_call.h"

#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/sums_text.h"
#include "ops/pointwise.h"

enum { WAYS = 4, WORKSPACE_MIB = 32 };

/* -- what is done behind the product -- */

static bool is_number(const Problem *problem, ValueId id, double number) {
    if (id == NONE) return false;
    const Value *value = problem_value(problem, id);
    return value->data != NULL && value_known_count(value) == 1 &&
           dtype_load_f64(value->dtype, value->data, 0) == number;
}

static PlanAfter after_of(const Problem *problem, const Node *node) {
    const PointwiseAttrs *attrs = node->parsed;
    switch (node->op) {
    case OP_Add:
        return PLAN_AFTER_ADD;
    case OP_Relu:
        return PLAN_AFTER_RELU;
    case OP_Sigmoid:
        return PLAN_AFTER_SIGMOID;
    case OP_Tanh:
        return PLAN_AFTER_TANH;
    case OP_Gelu:
        return attrs->alpha == 0 ? PLAN_AFTER_GELU : PLAN_AFTER_GELU_TANH;
    case OP_Swish:
        return attrs->alpha == 1 ? PLAN_AFTER_SWISH : PLAN_AFTER_NONE;
    case OP_Clip:
        return node->input_count == 3 && is_number(problem, node->inputs[1], 0) &&
                       is_number(problem, node->inputs[2], 6)
                   ? PLAN_AFTER_RELU6
                   : PLAN_AFTER_NONE;
    default:
        return PLAN_AFTER_NONE;
    }
}

static const char *append(CallDraft *draft, int32_t *after, PlanAfter what, ValueId operand) {
    PlanCall *call = &draft->call.call;
    if (*after == PLAN_CALL_AFTER) return "too many operations behind it";
    if (!plan_after_fits((PlanLibrary)call->library, (int32_t)what))
        return "an operation that the library has not";
    call->after[(*after)++] = (int32_t)what;
    if (what == PLAN_AFTER_ADD) draft->values[call->operand_count++] = operand;
    return NULL;
}

/* Each node goes on from the one before it, and only the last one's result is seen. */
static const char *follow(const Problem *problem, CallDraft *draft, int32_t after, ValueId *result) {
    for (int32_t n = 1; n < problem->node_count; ++n) {
        const Node *node = &problem->graph->nodes[problem->nodes[n]];
        PlanAfter what = after_of(problem, node);
        if (what == PLAN_AFTER_NONE) return "an operation that libraries have not";
        bool second = what == PLAN_AFTER_ADD && node->inputs[0] != *result;
        if (node->inputs[second] != *result) return "nodes that are no chain";
        ValueId operand = what == PLAN_AFTER_ADD ? node->inputs[!second] : NONE;
        if (operand == *result) return "nodes that are no chain";
        const char *why = append(draft, &after, what, operand);
        if (why != NULL) return why;
        *result = node->outputs[0];
    }
    return problem->output_count == 1 && problem->outputs[0] == *result ? NULL : "several results";
}

const char *call_begin(const Problem *problem, PlanLibrary library, ValueId addend, CallDraft *out) {
    const Node *anchor = problem_anchor(problem);
    PlanCall *call = &out->call.call;
    ValueId result = anchor->outputs[0];
    int32_t after = 0;
    *out = (CallDraft){.values = {anchor->inputs[0], anchor->inputs[1]}};
    *call = (PlanCall){.library = (int32_t)library, .operand_count = 2, .tf32 = problem->graph->tf32};
    if (problem->nodes[0] != problem->anchor) return "nodes in front of the anchor";
    const char *why = addend != NONE ? append(out, &after, PLAN_AFTER_ADD, addend) : NULL;
    if (why == NULL) why = follow(problem, out, after, &result);
    if (why != NULL) return why;
    out->values[call->operand_count++] = result;
    for (int32_t i = 0; i < call->operand_count; ++i) {
        const Value *value = problem_value(problem, out->values[i]);
        out->call.operands[i].dtype = (int32_t)value->dtype;
        if (value->dtype != problem_value(problem, result)->dtype) return "operands of several types";
        if (!access_value_is_aligned(value))
            return "an operand that does not begin at a multiple of 16 bytes";
        if (value->channel_padding != 0) return "padded channels";
    }
    call->tf32 = call->tf32 && problem_value(problem, result)->dtype == DTYPE_F32;
    return NULL;
}

const char *call_view(const Problem *problem, ValueId id, int32_t rank, int64_t dim[SMELT_MAX_RANK],
                      int64_t stride[SMELT_MAX_RANK]) {
    const Shape *shape = &problem_value(problem, id)->shape;
    int32_t first = rank - shape->rank;
    Dim strides[SMELT_MAX_RANK];
    value_strides(problem->graph, id, strides);
    if (first < 0) return "an operand of more dimensions than the result";
    for (int32_t i = 0; i < rank; ++i) {
        dim[i] = i < first ? 1 : shape->dim[i - first];
        stride[i] = i < first ? 1 : strides[i - first];
        if (!dim_is_exact(dim[i]) || !dim_is_exact(stride[i])) return "sizes that are not known";
    }
    return NULL;
}

/* -- the tactics -- */

int32_t call_configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem, (void)device;
    for (int32_t i = 0; i < 2 * WAYS; ++i)
        out[i] = (Config){.count = 2, .number = {i / 2, i % 2 * WORKSPACE_MIB}};
    return 2 * WAYS;
}

double call_cost(const Problem *problem, const Device *device, const Config *config) {
    static const double reached = 0.75, start = 3, each = 0.01; /* of the roofline; us */
    DType dtype = problem_input(problem, 0)->dtype;
    double flops = 2 * (double)node_macs(problem->graph, problem->anchor);
    double roofline =
        device_roofline_us(device, dtype, problem->graph->tf32, flops, (double)problem_bytes(problem));
    return roofline / reached + start + each * (config->number[0] + (config->number[1] > 0));
}

Status call_emit(const Config *config, const CallDraft *draft, Emission *emission) {
    KernelCall *call = ARENA_NEW(emission->arena, KernelCall);
    KernelArg *args = ARENA_ARRAY(emission->arena, KernelArg, CALL_OPERANDS + 1);
    TRY_ALLOC(emission->diag, call);
    TRY_ALLOC(emission->diag, args);
    *call = draft->call;
    call->call.choice = config->number[0];
    call->call.workspace = (int64_t)config->number[1] << 20;
    int32_t count = call->call.operand_count;
    for (int32_t i = 0; i < count; ++i)
        args[i] = (KernelArg){.kind = KERNEL_ARG_VALUE,
                              .value = draft->values[i],
                              .written = i + 1 == count,
                              .turned = i == 1 && draft->turned};
    if (call->call.workspace > 0) args[count++] = (KernelArg){.kind = KERNEL_ARG_SCRATCH, .value = NONE};
    emission->scratch_bytes = call->call.workspace;
    emission->launches[emission->launch_count++] =
        (KernelLaunch){.call = call, .grid = {1, 1, 1}, .block = {1, 1, 1}, .arg_count = count, .args = args};
    return STATUS_OK;
}
