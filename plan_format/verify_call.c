/* Calls of libraries: that their numbers fit together, and that each operand stays within its value's memory.
 */
#include "base/checked.h"
#include "plan_format/library.h"
#include "plan_format/verify.h"

enum {
    MOST_CHOICE = 63,
    MATRIX_RANK = 3,            /* of a product's operands: batch, rows, columns */
    LEAST_IMAGE = 4,            /* rank of a convolution's */
    MOST_WORKSPACE = 1 << 30,   /* bytes */
    MOST_WINDOW_STEP = 1 << 15, /* and dilation, and padding */
    FIRST_ADDED = 2             /* operands: two factors, what is added, the result */
};

bool plan_after_fits(PlanLibrary library, int32_t after) {
    static const int32_t epilogues[] = {
        0,
#define AFTER(id, name, cudnn, cublaslt) cublaslt,
#include "plan_format/after.def"
#undef AFTER
    };
    return library != PLAN_CUBLASLT || epilogues[after] != 0;
}

static const char *operand_refusal(const PlanOperand *operand) {
    if (operand->dtype != DTYPE_F16 && operand->dtype != DTYPE_BF16 && operand->dtype != DTYPE_F32)
        return "an operand of another type than f16, bf16 and f32";
    if (operand->rank < MATRIX_RANK || operand->rank > PLAN_CALL_RANK) return "an operand of another rank";
    for (int32_t i = 0; i < PLAN_CALL_RANK; ++i)
        if (i < operand->rank ? operand->dim[i] < 1 || operand->dim[i] > INT32_MAX || operand->stride[i] < 0
                              : operand->dim[i] != 0 || operand->stride[i] != 0)
            return "an operand of impossible extents";
    return plan_operand_bytes(operand) < 0 ? "an operand of more than 2^63 bytes" : NULL;
}

/* What is added has the result's extents, or 1. */
static bool can_be_added(const PlanOperand *added, const PlanOperand *result) {
    bool fits = added->rank == result->rank;
    for (int32_t i = 0; i < result->rank; ++i)
        fits = fits && (added->dim[i] == 1 || added->dim[i] == result->dim[i]);
    return fits;
}

static const char *after_refusal(const PlanCall *call, const PlanOperand *operands) {
    int32_t added = 0;
    for (int32_t i = 0; i < PLAN_CALL_AFTER; ++i) {
        if (call->after[i] < 0 || call->after[i] >= PLAN_AFTER_COUNT ||
            (i > 0 && call->after[i] != PLAN_AFTER_NONE && call->after[i - 1] == PLAN_AFTER_NONE))
            return "an operation that does not exist behind it";
        if (call->after[i] != PLAN_AFTER_NONE && !plan_after_fits((PlanLibrary)call->library, call->after[i]))
            return "an operation behind it that the library has not";
        added += call->after[i] == PLAN_AFTER_ADD;
    }
    if (call->operand_count != FIRST_ADDED + added + 1) return "operands too many or too few";
    for (int32_t i = 0; i < added; ++i)
        if (!can_be_added(&operands[FIRST_ADDED + i], &operands[FIRST_ADDED + added]))
            return "an addend that does not fit";
    return NULL;
}

/* -- products -- */

static bool is_matrix(const PlanOperand *operand, int64_t batch, int64_t rows, int64_t columns) {
    return operand->rank == MATRIX_RANK && (operand->dim[0] == batch || operand->dim[0] == 1) &&
           operand->dim[1] == rows && operand->dim[2] == columns &&
           (operand->stride[1] == 1 || operand->stride[2] == 1);
}

/* One vector and one matrix can be added, then follows at most one other operation. */
static const char *matmul_after_refusal(const PlanCall *call, const PlanOperand *operands) {
    const PlanOperand *result = &operands[call->operand_count - 1], *added = &operands[FIRST_ADDED];
    int32_t vectors = 0, matrices = 0, others = 0;
    for (int32_t i = 0; i < PLAN_CALL_AFTER && call->after[i] != PLAN_AFTER_NONE; ++i) {
        if (call->after[i] != PLAN_AFTER_ADD) {
            others++;
            continue;
        }
        bool is_vector = plan_operand_is_vector(added, result);
        *(is_vector ? &vectors : &matrices) += 1;
        if (others > 0 || added->stride[2] != 1) return "an addition where the library has none";
        if (is_vector && added->dtype != result->dtype) return "a vector of another type than the result";
        if (!is_vector && !is_matrix(added, result->dim[0], result->dim[1], result->dim[2]))
            return "an addend that is repeated";
        added++;
    }
    return vectors > 1 || matrices > 1 || others > 1 ? "more behind it than the library has" : NULL;
}

static const char *matmul_refusal(const PlanCall *call, const PlanOperand *operands) {
    const PlanOperand *a = operands, *b = a + 1, *result = a + call->operand_count - 1;
    if (result->stride[2] != 1 || !is_matrix(result, result->dim[0], a->dim[1], b->dim[2]) ||
        !is_matrix(a, result->dim[0], result->dim[1], b->dim[1]) ||
        !is_matrix(b, result->dim[0], a->dim[2], result->dim[2]))
        return "matrices that do not fit or are not dense";
    for (int32_t i = 0; i < PLAN_CALL_AXES; ++i)
        if (call->step[i] != 0 || call->dilation[i] != 0 || call->low[i] != 0 || call->high[i] != 0)
            return "a window that means nothing";
    return matmul_after_refusal(call, operands);
}

/* -- convolutions -- */

static const char *axis_refusal(const PlanCall *call, const PlanOperand *operands, int32_t axis) {
    const PlanOperand *x = operands, *w = x + 1, *result = x + call->operand_count - 1;
    const int32_t numbers[] = {call->step[axis], call->dilation[axis], call->low[axis], call->high[axis]};
    bool used = axis + 2 < x->rank;
    for (int32_t i = 0; i < 4; ++i)
        if (used ? numbers[i] < (i < 2) || numbers[i] > MOST_WINDOW_STEP : numbers[i] != 0)
            return "an impossible step, dilation or padding";
    if (!used) return NULL;
    int64_t room = x->dim[axis + 2] + call->low[axis] + call->high[axis] -
                   (w->dim[axis + 2] - 1) * call->dilation[axis] - 1;
    return room < 0 || room / call->step[axis] + 1 != result->dim[axis + 2] ? "windows that do not fit"
                                                                            : NULL;
}

static const char *conv_refusal(const PlanCall *call, const PlanOperand *operands) {
    const PlanOperand *x = operands, *w = x + 1, *result = x + call->operand_count - 1;
    const char *why = NULL;
    if (x->rank < LEAST_IMAGE || w->rank != x->rank || result->rank != x->rank)
        return "images of another rank";
    if (x->dim[1] % w->dim[1] != 0 || w->dim[0] % (x->dim[1] / w->dim[1]) != 0 ||
        result->dim[1] != w->dim[0] || result->dim[0] != x->dim[0])
        return "images that do not fit";
    for (int32_t i = 0; i < PLAN_CALL_AXES && why == NULL; ++i) why = axis_refusal(call, operands, i);
    return why;
}

/* -- all -- */

const char *plan_call_refusal(const PlanCall *call, const PlanOperand *operands) {
    const char *why = NULL;
    if (call->library < 0 || call->library >= PLAN_LIBRARIES) return "a library that does not exist";
    if (call->choice < 0 || call->choice > MOST_CHOICE) return "an impossible choice";
    if (call->workspace < 0 || call->workspace > MOST_WORKSPACE) return "an impossible workspace";
    for (int32_t i = 0; i < call->operand_count && why == NULL; ++i) why = operand_refusal(&operands[i]);
    if (why == NULL) why = after_refusal(call, operands);
    if (why != NULL) return why;
    return call->library == PLAN_CUBLASLT ? matmul_refusal(call, operands) : conv_refusal(call, operands);
}

Status verify_calls(const Verifier *v) {
    const Plan *plan = v->plan;
    int32_t end = 0;
    for (int32_t i = 0; i < plan->call_count; ++i) {
        const PlanCall *call = &plan->calls[i];
        TRY(verify_division(v, "CALLS: call", i, call->operand_first, call->operand_count, &end,
                            plan->operand_count, "operands"));
        const char *why = plan_call_refusal(call, plan->operands + call->operand_first);
        if (why != NULL) return FAIL(v->diag, STATUS_BAD_PLAN, "CALLS: call %d has %s", i, why);
        if (plan_library_version(plan, (PlanLibrary)call->library) == NULL)
            return FAIL(v->diag, STATUS_BAD_PLAN, "META: there is no version of %s, which call %d needs",
                        library_names[call->library].name, i);
    }
    if (end == plan->operand_count) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "CALLS: calls have %d operands, of %d", end, plan->operand_count);
}

/* -- launches of them -- */

static Status verify_operand_arg(const Verifier *v, int32_t index, const PlanOperand *operand, bool written) {
    const PlanArg *arg = &v->plan->args[index];
    int64_t bytes;
    if (arg->kind != PLAN_ARG_VALUE || arg->written != written ||
        v->plan->values[arg->value].dtype != operand->dtype)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d is not what its call takes", index);
    TRY(verify_value_bytes(v, arg->value, &bytes));
    if (plan_operand_bytes(operand) <= bytes) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d has %lld bytes; its call takes %lld", index,
                (long long)bytes, (long long)plan_operand_bytes(operand));
}

Status verify_call_launch(const Verifier *v, int32_t index, PlanDim scratch) {
    const PlanLaunch *launch = &v->plan->launches[index];
    const PlanCall *call = &v->plan->calls[-1 - launch->kernel];
    int32_t last = launch->arg_first + call->operand_count;
    for (int i = 0; i < 3; ++i)
        if (launch->grid[i] != 1 || launch->block[i] != 1 || launch->shared_bytes != 0 || launch->together)
            return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d of a call has a grid", index);
    for (int32_t i = 0; i < call->operand_count; ++i)
        TRY(verify_operand_arg(v, launch->arg_first + i, &v->plan->operands[call->operand_first + i],
                               i + 1 == call->operand_count));
    if (call->workspace == 0) return STATUS_OK;
    const PlanArg *arg = &v->plan->args[last];
    if (arg->kind == PLAN_ARG_SCRATCH && dim_is_exact(arg->number) && dim_is_exact(scratch) &&
        arg->number % PLAN_ALIGNMENT == 0 && call->workspace <= scratch - arg->number)
        return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d is no workspace of %lld bytes", last,
                (long long)call->workspace);
}
