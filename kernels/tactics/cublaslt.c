/* Matrix products by cuBLASLt, with what its epilogue can do behind them. */
#include "kernels/library_call.h"
#include "ops/matmul.h"

/* Dimensions that are walked as one. */
static bool merge(const int64_t *dim, const int64_t *stride, int32_t count, int64_t *all, int64_t *step) {
    *all = *step = 1;
    for (int32_t i = count - 1; i >= 0; --i) {
        if (dim[i] == 1) continue;
        if (*all == 1)
            *step = stride[i];
        else if (stride[i] != *all * *step)
            return false;
        *all *= dim[i];
    }
    return true;
}

/* A batch of matrices; fold: all are one tall one. turned: columns are rows. */
static const char *describe(const Problem *problem, ValueId id, int32_t rank, bool fold, bool turned,
                            PlanOperand *out) {
    int64_t dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK];
    const char *why = call_view(problem, id, rank, dim, stride);
    int32_t row = turned ? rank - 1 : rank - 2, column = turned ? rank - 2 : rank - 1;
    if (why != NULL) return why;
    *out = (PlanOperand){.dtype = out->dtype, .rank = 3, .dim = {1}, .stride = {1}};
    out->dim[1] = dim[row];
    out->stride[1] = stride[row];
    out->dim[2] = dim[column];
    out->stride[2] = dim[column] == 1 ? 1 : stride[column];
    bool merged = fold ? merge(dim, stride, rank - 1, &out->dim[1], &out->stride[1])
                       : merge(dim, stride, rank - 2, &out->dim[0], &out->stride[0]);
    return merged ? NULL : "matrices that lie irregularly";
}

static const char *describe_operands(const Problem *problem, CallDraft *draft) {
    const Node *anchor = problem_anchor(problem);
    const GemmAttrs *attrs = anchor->op == OP_Gemm ? anchor->parsed : NULL;
    const Shape *b = &problem_input(problem, 1)->shape;
    int32_t rank = problem_output(problem, 0)->shape.rank, last = draft->call.call.operand_count - 1;
    bool fold = attrs == NULL;
    const char *why = NULL;
    for (int32_t i = 0; i + 2 < b->rank; ++i) fold = fold && b->dim[i] == 1;
    for (int32_t i = 0; i <= last && why == NULL; ++i) {
        bool turned = attrs != NULL && ((i == 0 && attrs->trans_a != 0) || (i == 1 && attrs->trans_b != 0));
        why = describe(problem, draft->values[i], rank, fold && i != 1, turned, &draft->call.operands[i]);
    }
    return why != NULL ? why : plan_call_refusal(&draft->call.call, draft->call.operands);
}

static const char *draft_of(const Problem *problem, CallDraft *out) {
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || (anchor->op != OP_MatMul && anchor->op != OP_Gemm)) return "not a matrix product";
    if (problem_input(problem, 0)->shape.rank < 2 || problem_input(problem, 1)->shape.rank < 2)
        return "vectors";
    const GemmAttrs *attrs = anchor->op == OP_Gemm ? anchor->parsed : NULL;
    if (attrs != NULL && (attrs->alpha != 1 || attrs->beta != 1)) return "factors other than 1";
    const char *why = call_begin(problem, PLAN_CUBLASLT, anchor_input(problem, 2), out);
    return why != NULL ? why : describe_operands(problem, out);
}

CALL_TACTIC(cublaslt);
