/* Blocks of f32 operators for whoever runs chains of them. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/pointwise_block.h"

/* Rows whose f32 blocks take and give f32. */
static const bool has_block[OP_COUNT] = {
#define ELEMENT       true
#define PREDICATE     false
#define NOTHING       false
#define FIRST(a, ...) a
#define KIND_F32(...) FIRST(__VA_ARGS__)
#define POINTWISE(id, name, since, min_in, max_in, signature, ...)                                           \
    [OP_##id] = KIND_F32(POINTWISE_KINDS_##signature) && POINTWISE_##signature != POINTWISE_SELECT,
#include "ops/pointwise.def"
#undef POINTWISE
};

bool pointwise_has_block_f32(OpId op) {
    return has_block[op];
}

/* The operands of a chain's operator and where they stand. */
typedef struct Link {
    const PointwiseAttrs *attrs;
    int32_t input_count;
    const float *const *inputs; /* NULL: an omitted bound */
    const int32_t *steps;
    float *out;
} Link;

typedef struct LinkBuffers {
    _Alignas(64) float operand[3][POINTWISE_BLOCK];
    _Alignas(64) float result[POINTWISE_BLOCK];
} LinkBuffers;

/* Input k from `first` on: its own memory, or buffer where it is one element or less than a step is left. */
static const float *link_operand(const Link *link, int32_t k, int64_t first, int64_t count, float *buffer) {
    const float *input = link->inputs[k];
    float element = input != NULL ? input[0] : k == 2 ? INFINITY : -INFINITY;
    if (input != NULL && link->steps[k] != 0) {
        if (!pointwise_is_rest(count)) return input + first;
        memset(buffer, 0, POINTWISE_STEP * sizeof *buffer);
        memcpy(buffer, input + first, (size_t)count * sizeof *buffer);
        return buffer;
    }
    for (int64_t i = 0, end = max_i64(count, POINTWISE_STEP); i < end; ++i) buffer[i] = element;
    return buffer;
}

/* One block of at most three operands, or of a fold over all of them. */
static void link_block(const Link *link, LinkBuffers *buffers, int64_t first, int64_t count) {
    const PointwiseAttrs *attrs = link->attrs;
    bool folds = (op_def(attrs->op)->flags & OPF_VARIADIC) != 0, rest = pointwise_is_rest(count);
    int64_t length = rest ? POINTWISE_STEP : count;
    float *target = rest ? buffers->result : link->out + first;
    const float *operand[3];
    operand[0] = operand[1] = operand[2] = link_operand(link, 0, first, count, buffers->operand[0]);
    if (folds && link->input_count == 1) memmove(target, operand[0], (size_t)count * sizeof *target);
    if (folds) {
        for (int32_t k = 1; k < link->input_count; ++k) {
            bool last = k + 1 == link->input_count;
            operand[1] = link_operand(link, k, first, count, buffers->operand[1]);
            pointwise_f32[attrs->op](length, operand[0], operand[1], operand[0], last ? attrs->alpha : 1, 0,
                                     last ? target : buffers->operand[2]);
            operand[0] = buffers->operand[2];
        }
    } else {
        for (int32_t k = 1; k < link->input_count; ++k)
            operand[k] = link_operand(link, k, first, count, buffers->operand[k]);
        pointwise_f32[attrs->op](length, operand[0], operand[1], operand[2], attrs->alpha, attrs->beta,
                                 target);
    }
    if (rest) memcpy(link->out + first, target, (size_t)count * sizeof *target);
}

void pointwise_block_f32(const PointwiseAttrs *attrs, int32_t input_count, const float *const *inputs,
                         const int32_t *steps, float *out, int64_t count) {
    enum { BOUND_INPUTS = 3 };
    Link link = {attrs, input_count, inputs, steps, out};
    LinkBuffers buffers;
    const float *bounds[BOUND_INPUTS] = {NULL};
    int32_t bound_steps[BOUND_INPUTS] = {0};
    if (attrs->signature == POINTWISE_BOUND) { /* trailing omitted ones may not be in the list */
        for (int32_t k = 0; k < input_count; ++k) bounds[k] = inputs[k], bound_steps[k] = steps[k];
        link = (Link){attrs, BOUND_INPUTS, bounds, bound_steps, out};
    }
    for (int64_t first = 0, length; first < count; first += length) {
        length = pointwise_next(count - first);
        link_block(&link, &buffers, first, length);
    }
}
