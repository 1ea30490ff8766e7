#include "kernels/block_text.h"

#include "kernels/access.h"
#include "kernels/chain.h"

const Value *block_weights(const Problem *problem, const Node *node) {
    return problem_value(problem, node->inputs[1]);
}

const char *block_conv_refuses(const Problem *problem, const Node *node) {
    if (node->op != OP_Conv) return "contractions that are no convolutions";
    const Value *x = problem_value(problem, node->inputs[0]), *y = problem_value(problem, node->outputs[0]),
                *w = block_weights(problem, node);
    const ConvAttrs *attrs = node->parsed;
    if (x->dtype != DTYPE_F16 || w->dtype != DTYPE_F16 || y->dtype != DTYPE_F16)
        return "other types than f16";
    if (x->shape.rank != 4 || y->shape.rank != 4 || w->shape.rank != 4) return "other than images";
    if (attrs->window.auto_pad != AUTO_PAD_NONE) return "pads that follow from sizes";
    if (node->input_count > 2 && node->inputs[2] != NONE &&
        !value_is_plain(problem_value(problem, node->inputs[2])))
        return "a bias that does not lie plainly";
    return NULL;
}

bool block_weights_are_plain(const Problem *problem, const Node *node) {
    const Value *w = block_weights(problem, node);
    return value_is_plain(w) && shape_is_exact(&w->shape) && access_value_is_aligned(w);
}

const char *block_product_refuses(const Problem *problem, const Node *node) {
    const char *why = block_conv_refuses(problem, node);
    if (why != NULL) return why;
    const ConvAttrs *attrs = node->parsed;
    const Shape *w = &block_weights(problem, node)->shape;
    if (attrs->group != 1 || w->dim[2] != 1 || w->dim[3] != 1 || window_has_pads(&attrs->window) ||
        attrs->window.stride[0] != 1 || attrs->window.stride[1] != 1)
        return "a first or last convolution that is no product";
    return block_weights_are_plain(problem, node) ? NULL : "weights that do not lie plainly";
}

const char *block_packs_refuse(const Problem *problem) {
    const Value *x = problem_input(problem, 0),
                *y = problem_value(problem, problem_last(problem)->outputs[0]);
    Access access = access_value(problem->graph, problem_anchor(problem)->inputs[0], &x->shape, x->layout);
    if (!channels_are_inner(x) || !channels_are_inner(y) || !access_is_packed(&access, EPILOGUE_LANES) ||
        !access_value_is_aligned(x) || problem_epilogue_lanes(problem) != EPILOGUE_LANES ||
        problem_has_front(problem))
        return "channels that are no packs of eight";
    return NULL;
}
