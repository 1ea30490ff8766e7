/* Convolutions of channels-last images by cuDNN, with what it fuses behind them. */
#include "kernels/conv_product.h"
#include "kernels/library_call.h"

/* An operand of the image's rank; a vector of channels lies along axis 1. */
static const char *describe(const Problem *problem, ValueId id, int32_t rank, bool channels,
                            PlanOperand *out) {
    int64_t dim[SMELT_MAX_RANK], stride[SMELT_MAX_RANK];
    const char *why = call_view(problem, id, rank, dim, stride);
    out->rank = rank;
    for (int32_t i = 0; i < rank && why == NULL; ++i) {
        int32_t from = !channels ? i : i == 1 ? rank - 1 : 0;
        out->dim[i] = dim[from];
        out->stride[i] = channels && i != 1 ? dim[rank - 1] : stride[from];
    }
    return why;
}

/* Weights as they will lie: output channels, window, channels. */
static void turn(PlanOperand *weights) {
    int64_t pitch = weights->dim[1];
    weights->stride[1] = 1;
    for (int32_t i = weights->rank - 1; i > 1; --i) {
        weights->stride[i] = pitch;
        pitch *= weights->dim[i];
    }
    weights->stride[0] = pitch;
}

static const char *describe_window(const ConvText *conv, int32_t axes, PlanCall *call) {
    for (int32_t i = 0; i < axes; ++i) {
        int32_t axis = WINDOW_AXES - axes + i;
        const Dim from[] = {conv->window.stride[axis], conv->window.dilation[axis], conv->window.pad[axis],
                            conv->window.pad_end[axis]};
        int32_t *const to[] = {&call->step[i], &call->dilation[i], &call->low[i], &call->high[i]};
        for (int k = 0; k < 4; ++k) {
            if (!dim_is_exact(from[k]) || from[k] < 0 || from[k] > INT16_MAX)
                return "windows that are not known";
            *to[k] = (int32_t)from[k];
        }
    }
    return NULL;
}

static const char *describe_operands(const Problem *problem, const ConvText *conv, CallDraft *draft) {
    PlanCall *call = &draft->call.call;
    int32_t rank = problem_value(problem, conv->x)->shape.rank;
    const char *why = describe_window(conv, rank - 2, call);
    for (int32_t i = 0; i < call->operand_count && why == NULL; ++i)
        why =
            describe(problem, draft->values[i], rank, i == 2 && conv->bias != NONE, &draft->call.operands[i]);
    if (why != NULL) return why;
    draft->turned = conv_turns_weights(problem, conv);
    if (draft->turned || conv->window.taps == 1) turn(&draft->call.operands[1]);
    const PlanOperand *result = &draft->call.operands[call->operand_count - 1];
    if (result->dim[1] > 1 && result->stride[1] != 1) return "a result that is not channels-last";
    return plan_call_refusal(call, draft->call.operands);
}

static const char *draft_of(const Problem *problem, CallDraft *out) {
    ConvText conv;
    const char *why = conv_product_refuses(problem, 1, &conv);
    if (why != NULL) return why;
    if (conv_axes(problem, &conv) < 2) return "one spatial axis";
    if (problem_input(problem, 0)->dtype == DTYPE_F32 && !problem->graph->tf32)
        return "f32, which cuDNN rounds to TF32";
    why = call_begin(problem, PLAN_CUDNN, conv.bias, out);
    return why != NULL ? why : describe_operands(problem, &conv, out);
}

CALL_TACTIC(cudnn);
