/* infer_shapes: dtype and symbolic shape of every value.
 *
 * Runs each operator's inference, in order. Small tensors are followed further: integers as Dims
 * (Value.content), which the operators' own inference computes where it looks at elements and
 * evaluate_movement where they are only moved; and small constants by running the kernels, since sizes may
 * depend on them. An If whose condition is known gives way to its branch at once: the other one need not even
 * fit together. */
#include <string.h>

#include "base/checked.h"
#include "passes/evaluate.h"
#include "passes/infer.h"

enum {
    CONTENT_MAX = 64,     /* elements whose symbolic values are followed */
    EVALUATE_MAX = 4096,  /* elements of a node's inputs, and of its outputs, that are computed on the way */
    CONTENT_INPUT = 1024, /* elements that a movement may pick its CONTENT_MAX from */
    BODY_ROUNDS = 64      /* budget for bodies: so many times all nodes */
};

static bool exact_elements(const Shape *shape, int64_t limit, int64_t *out) {
    *out = 1;
    for (int32_t i = 0; i < shape->rank; ++i)
        if (!dim_is_exact(shape->dim[i]) || !checked_mul_i64(*out, shape->dim[i], out) || *out > limit)
            return false;
    return true;
}

static Tensor type_tensor(const TypeInfo *type) {
    Tensor out = {.dtype = type->dtype, .rank = type->shape.rank, .data = (void *)type->data};
    memcpy(out.dim, type->shape.dim, sizeof out.dim);
    return out;
}

/* -- small values -- */

/* The exact elements that inference found are as good as a constant's. */
static Status content_to_data(Inference *inf, TypeInfo *type) {
    int64_t count;
    size_t bytes;
    if (type->content == NULL || type->data != NULL) return STATUS_OK;
    if (!exact_elements(&type->shape, CONTENT_MAX, &count)) return STATUS_OK;
    for (int64_t i = 0; i < count; ++i)
        if (!dim_is_exact(type->content[i])) return STATUS_OK;
    if (!dtype_storage(type->dtype, count, &bytes)) return STATUS_OK;
    void *data = arena_alloc(inf->ctx->scratch, bytes);
    TRY_ALLOC(inf->ctx->diag, data);
    for (int64_t i = 0; i < count; ++i) dtype_store_i64(type->dtype, data, i, type->content[i]);
    type->data = data;
    return STATUS_OK;
}

/* All inputs of the node have data, of few elements. */
static bool inputs_are_small(const InferCtx *infer) {
    int64_t total = 0, count;
    for (int32_t i = 0; i < infer->input_count; ++i) {
        const TypeInfo *input = infer->inputs[i];
        if (input == NULL) continue;
        if (input->data == NULL || !exact_elements(&input->shape, EVALUATE_MAX, &count)) return false;
        total += count;
    }
    return total <= EVALUATE_MAX;
}

static bool outputs_have_data(const InferCtx *infer) {
    for (int32_t i = 0; i < infer->output_count; ++i)
        if (infer->outputs[i].data == NULL) return false;
    return true;
}

/* Computes what a node with small known inputs gives. */
static Status evaluate_small(Inference *inf, const Node *node, const InferCtx *infer) {
    Arena *scratch = inf->ctx->scratch;
    bool done;
    if (!op_is_foldable(node->op) || !inputs_are_small(infer) || outputs_have_data(infer)) return STATUS_OK;
    Tensor *tensors = ARENA_ARRAY(scratch, Tensor, (size_t)infer->input_count + (size_t)infer->output_count);
    const Tensor **inputs = ARENA_ARRAY(scratch, const Tensor *, infer->input_count);
    TRY_ALLOC(inf->ctx->diag, tensors);
    TRY_ALLOC(inf->ctx->diag, inputs);
    for (int32_t i = 0; i < infer->input_count; ++i) {
        if (infer->inputs[i] == NULL) continue;
        tensors[i] = type_tensor(infer->inputs[i]);
        inputs[i] = &tensors[i];
    }
    Tensor *outputs = tensors + infer->input_count;
    TRY(evaluate_node(inf->ctx, node, inputs, EVALUATE_MAX * sizeof(int64_t), scratch, outputs, &done));
    for (int32_t i = 0; done && i < infer->output_count; ++i) {
        if (outputs[i].dtype == DTYPE_NONE) continue;
        infer->outputs[i].shape.rank = outputs[i].rank;
        memcpy(infer->outputs[i].shape.dim, outputs[i].dim, sizeof outputs[i].dim);
        infer->outputs[i].data = outputs[i].data;
    }
    return STATUS_OK;
}

/* -- movement of symbolic elements -- */

/* The elements as an i64 tensor of Dims; *known false where they are not known or too many. */
static Status dims_tensor(Inference *inf, const TypeInfo *type, Tensor *out, bool *known) {
    int64_t count;
    bool integers = dtype_is_integer(type->dtype) || type->dtype == DTYPE_BOOL;
    *known = integers && (type->content != NULL || type->data != NULL) &&
             exact_elements(&type->shape, CONTENT_INPUT, &count);
    if (!*known) return STATUS_OK;
    *out = type_tensor(type);
    out->dtype = DTYPE_I64;
    out->data = (void *)type->content;
    if (type->content != NULL) return STATUS_OK;
    Dim *dims = ARENA_ARRAY(inf->ctx->scratch, Dim, count);
    TRY_ALLOC(inf->ctx->diag, dims);
    for (int64_t i = 0; i < count && *known; ++i) {
        dims[i] = dtype_load_i64(type->dtype, type->data, i);
        *known = dim_is_exact(dims[i]);
    }
    out->data = dims;
    return STATUS_OK;
}

static Status movement_inputs(Inference *inf, const Node *node, const InferCtx *infer, Tensor *tensors,
                              const Tensor **inputs, bool *known) {
    *known = true;
    for (int32_t i = 0; i < infer->input_count && *known; ++i) {
        const TypeInfo *input = infer->inputs[i];
        if (input == NULL) continue;
        inputs[i] = &tensors[i];
        if (op_moves_input(node->op, i)) {
            TRY(dims_tensor(inf, input, &tensors[i], known));
        } else {
            tensors[i] = type_tensor(input);
            *known = input->data != NULL;
        }
    }
    return STATUS_OK;
}

static bool movement_outputs(const Node *node, const InferCtx *infer, Tensor *tensors) {
    int64_t count;
    for (int32_t i = 0; i < infer->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        if (!exact_elements(&infer->outputs[i].shape, CONTENT_MAX, &count)) return false;
        tensors[i] = type_tensor(&infer->outputs[i]);
        tensors[i].dtype = DTYPE_I64;
    }
    return true;
}

static Status move_content(Inference *inf, const Node *node, const InferCtx *infer) {
    Arena *scratch = inf->ctx->scratch;
    bool known, done;
    if ((op_def(node->op)->flags & OPF_SHAPE_VALUES) == 0 || outputs_have_data(infer)) return STATUS_OK;
    Tensor *tensors = ARENA_ARRAY(scratch, Tensor, (size_t)infer->input_count + (size_t)infer->output_count);
    const Tensor **inputs = ARENA_ARRAY(scratch, const Tensor *, infer->input_count);
    TRY_ALLOC(inf->ctx->diag, tensors);
    TRY_ALLOC(inf->ctx->diag, inputs);
    Tensor *outputs = tensors + infer->input_count;
    if (!movement_outputs(node, infer, outputs)) return STATUS_OK;
    TRY(movement_inputs(inf, node, infer, tensors, inputs, &known));
    if (!known) return STATUS_OK;
    TRY(evaluate_movement(inf->ctx, node, inputs, outputs, &done));
    for (int32_t i = 0; done && i < infer->output_count; ++i)
        if (node->outputs[i] != NONE) infer->outputs[i].content = outputs[i].data;
    return STATUS_OK;
}

/* -- nodes -- */

/* What inference may not give: shapes that no memory could hold. */
static Status check_output(Inference *inf, int32_t index, const TypeInfo *type) {
    int64_t least[SMELT_MAX_RANK]; /* of what is not known, 1 */
    size_t bytes;
    Diag *diag = inf->ctx->diag;
    if (type->dtype == DTYPE_NONE) return FAIL(diag, STATUS_INTERNAL, "output %d got no type", index);
    for (int32_t i = 0; i < type->shape.rank; ++i) {
        Dim dim = type->shape.dim[i];
        least[i] = dim_is_exact(dim) ? dim : 1;
        if (least[i] < 0)
            return FAIL(diag, STATUS_BAD_MODEL, "dimension %d of output %d would be %lld", i, index,
                        (long long)dim);
    }
    if (!dims_storage(type->dtype, type->shape.rank, least, &bytes))
        return FAIL(diag, STATUS_BAD_MODEL, "output %d would have more than 2^63 bytes", index);
    return STATUS_OK;
}

static Status keep_content(Inference *inf, Value *value, const TypeInfo *type) {
    int64_t count;
    if (type->content == NULL || !exact_elements(&type->shape, CONTENT_MAX, &count)) return STATUS_OK;
    value->content = arena_grow(inf->graph->arena, type->content, (size_t)count, (size_t)count, sizeof(Dim));
    TRY_ALLOC(inf->ctx->diag, value->content);
    return STATUS_OK;
}

void infer_set(Inference *inf, ValueId id, const TypeInfo *type) {
    Value *value = &inf->graph->values[id];
    inf->types[id] = *type;
    value->dtype = type->dtype;
    value->has_shape = true;
    value->shape = type->shape;
    value->content = NULL;
}

static Status keep_outputs(Inference *inf, const Node *node, const InferCtx *infer) {
    for (int32_t i = 0; i < infer->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        TRY(content_to_data(inf, &infer->outputs[i]));
        infer_set(inf, node->outputs[i], &infer->outputs[i]);
        TRY(keep_content(inf, &inf->graph->values[node->outputs[i]], &infer->outputs[i]));
    }
    return STATUS_OK;
}

static Status bind_inputs(Inference *inf, const Node *node, InferCtx *infer) {
    const TypeInfo **inputs = ARENA_ARRAY(inf->ctx->scratch, const TypeInfo *, node->input_count);
    TRY_ALLOC(inf->ctx->diag, inputs);
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        inputs[i] = &inf->types[node->inputs[i]];
        if (inputs[i]->dtype == DTYPE_NONE)
            return FAIL(inf->ctx->diag, STATUS_INTERNAL, "input %d got no type", i);
    }
    infer->inputs = inputs;
    return STATUS_OK;
}

/* *again: other nodes now stand at this one's place, and are to be inferred first. */
static Status infer_node(Inference *inf, NodeId id, bool *again) {
    if (inf->graph->nodes[id].op == OP_Concat) TRY(repair_concat(inf, id, again));
    if (*again) return STATUS_OK;
    const Node *node = &inf->graph->nodes[id];
    InferCtx infer = {.attrs = node->parsed,
                      .input_count = node->input_count,
                      .output_count = node->output_count,
                      .outputs = ARENA_ARRAY(inf->ctx->scratch, TypeInfo, node->output_count),
                      .dims = inf->graph->dims,
                      .arena = inf->ctx->scratch,
                      .diag = inf->ctx->diag};
    TRY_ALLOC(inf->ctx->diag, infer.outputs);
    TRY(bind_inputs(inf, node, &infer));
    if (inf->two_rank_count > 0) TRY(check_ranks(inf, node));
    TRY(op_infer(node->op, &infer));
    if (op_def(node->op)->op_class == OPCLASS_CONTROL) return infer_control(inf, id, again);
    for (int32_t i = 0; i < infer.output_count; ++i)
        if (node->outputs[i] != NONE) TRY(check_output(inf, i, &infer.outputs[i]));
    TRY(evaluate_small(inf, node, &infer));
    TRY(move_content(inf, node, &infer));
    return keep_outputs(inf, node, &infer);
}

Status infer_block(Inference *inf, BlockId id) {
    for (int32_t i = 0; i < inf->graph->blocks[id].node_count; ++i) {
        NodeId node = inf->graph->blocks[id].nodes[i];
        bool again = false;
        if (--inf->budget < 0)
            return FAIL(inf->ctx->diag, STATUS_UNSUPPORTED, "the shapes in its bodies do not settle");
        Status status = infer_node(inf, node, &again);
        if (status != STATUS_OK) diag_node(inf->ctx->diag, inf->graph, node);
        TRY(status);
        if (again) --i; /* goes on with the first node that took its place */
    }
    return STATUS_OK;
}

/* -- the pass -- */

/* What is known beforehand: constants and graph inputs. */
static Status begin(Inference *inf) {
    Graph *graph = inf->graph;
    for (ValueId v = 0; v < graph->value_count; ++v) {
        const Value *value = &graph->values[v];
        if (value->data != NULL)
            inf->types[v] = (TypeInfo){.dtype = value->dtype, .shape = value->shape, .data = value->data};
    }
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t i = 0; i < block->param_count; ++i) {
        const Value *value = &graph->values[block->params[i]];
        if (value->dtype == DTYPE_NONE || !value->has_shape)
            return FAIL(inf->ctx->diag, STATUS_BAD_MODEL, "input '%s' has no type or shape", value->name);
        inf->types[block->params[i]] = (TypeInfo){.dtype = value->dtype, .shape = value->shape};
    }
    return STATUS_OK;
}

static void count_results(PassCtx *ctx) {
    int64_t values = 0, symbolic = 0, late = 0;
    for (ValueId v = 0; v < ctx->graph->value_count; ++v) {
        const Value *value = &ctx->graph->values[v];
        if (value->producer == NONE || !value->has_shape) continue;
        values++;
        symbolic += !shape_is_exact(&value->shape);
        late += shape_is_late(ctx->graph->dims, &value->shape);
    }
    pass_count_add(ctx, "values", values);
    pass_count_add(ctx, "symbolic", symbolic);
    pass_count_add(ctx, "late", late);
}

Status pass_infer_shapes(PassCtx *ctx) {
    Graph *graph = ctx->graph;
    Inference inf = {.ctx = ctx, .graph = graph};
    inf.type_count = graph->value_count;
    inf.types = ARENA_ARRAY(ctx->scratch, TypeInfo, inf.type_count);
    inf.budget = BODY_ROUNDS * ((int64_t)graph->node_count + 1024);
    TRY_ALLOC(ctx->diag, inf.types);
    TRY(begin(&inf));
    TRY(infer_block(&inf, MAIN_BLOCK));
    TRY(check_result_ranks(&inf));
    count_results(ctx);
    return STATUS_OK;
}
