/* RNN, GRU and LSTM: the inputs' products for all times, then a block for each sequence and direction. */
#include "ops/recurrent.h"

#include "kernels/index_text.h"

enum { PROJECT_THREADS = 256, THREADS = 512, ROWS_OF_STATE = 3 };
enum { INPUT_X, INPUT_W, INPUT_R, INPUT_B, INPUT_LENGTHS, INPUT_H, INPUT_C, INPUT_P };

typedef struct Layer {
    CellKind kind;
    const RecurrentAttrs *attrs;
    Dim steps, batch, input, hidden;
} Layer;

static Layer describe(const Problem *problem) {
    const Node *node = problem_anchor(problem);
    const RecurrentAttrs *attrs = node->parsed;
    const Shape *x = &problem_input(problem, INPUT_X)->shape;
    return (Layer){.kind = node->op == OP_LSTM  ? CELL_LSTM
                           : node->op == OP_GRU ? CELL_GRU
                                                : CELL_RNN,
                   .attrs = attrs,
                   .steps = x->dim[attrs->batch_first ? 1 : 0],
                   .batch = x->dim[attrs->batch_first ? 0 : 1],
                   .input = x->dim[2],
                   .hidden = problem_input(problem, INPUT_R)->shape.dim[2]};
}

static bool has_shape(const Problem *problem, int32_t input, int32_t rank, Dim a, Dim b, Dim c) {
    const Value *value = problem_input(problem, input);
    const Shape expected = {.rank = rank, .dim = {a, b, c}};
    return value == NULL || shape_equal(&value->shape, &expected);
}

/* Shapes that only turn out to fit when the plan runs are the host's to check. */
static bool shapes_fit(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    Layer l = describe(problem);
    Dim d = l.attrs->directions, width = dim_mul(dims, l.hidden, cell_gates(l.kind));
    Dim outer = l.attrs->batch_first ? l.batch : d, inner = l.attrs->batch_first ? d : l.batch;
    return has_shape(problem, INPUT_W, 3, d, width, l.input) &&
           has_shape(problem, INPUT_R, 3, d, width, l.hidden) &&
           has_shape(problem, INPUT_B, 2, d, dim_mul(dims, width, 2), 0) &&
           has_shape(problem, INPUT_LENGTHS, 1, l.batch, 0, 0) &&
           has_shape(problem, INPUT_H, 3, outer, inner, l.hidden) &&
           has_shape(problem, INPUT_C, 3, outer, inner, l.hidden) &&
           has_shape(problem, INPUT_P, 2, d, dim_mul(dims, l.hidden, 3), 0);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL || (node->op != OP_RNN && node->op != OP_GRU && node->op != OP_LSTM))
        return "not a recurrent layer";
    if (problem->node_count > 1) return "nodes behind it";
    if (!shapes_fit(problem)) return "whether the shapes fit shows at run time only";
    return refuse_types(problem);
}

/* -- text -- */

static const char *input_text(KernelWriter *w, int32_t input) {
    ValueId id = anchor_input(kernel_emission(w)->problem, input);
    return id == NONE ? "nullptr" : kernel_pointer(w, id);
}

static const char *output_text(KernelWriter *w, int32_t output) {
    const Node *node = problem_anchor(kernel_emission(w)->problem);
    bool wanted = output < node->output_count && node->outputs[output] != NONE;
    return wanted ? kernel_result(w, node->outputs[output]) : "nullptr";
}

/* "const Layer<float, int> layer{...};"; results only where they are written. */
static void write_layer(KernelWriter *w, const Layer *l, bool results) {
    const Problem *problem = kernel_emission(w)->problem;
    const Value *lengths = problem_input(problem, INPUT_LENGTHS);
    kernel_line(w, "const Layer<%s, %s> layer{%s, %s, %s, %s, %s, %s, %s, %s,",
                cuda_type(problem_input(problem, INPUT_X)->dtype),
                lengths != NULL ? cuda_type(lengths->dtype) : "int", input_text(w, INPUT_X),
                input_text(w, INPUT_W), input_text(w, INPUT_R), input_text(w, INPUT_B),
                input_text(w, INPUT_P), input_text(w, INPUT_H), input_text(w, INPUT_C),
                input_text(w, INPUT_LENGTHS));
    kernel_line(w, "    %s, %s, %s, %d, %s, %s, %s, %s, %d, %s, %s, %s, %s};",
                results ? output_text(w, 0) : "nullptr", results ? output_text(w, 1) : "nullptr",
                results ? output_text(w, 2) : "nullptr", l->attrs->directions, kernel_number(w, l->steps),
                kernel_number(w, l->batch), kernel_number(w, l->input), kernel_number(w, l->hidden),
                cell_gates(l->kind), l->attrs->batch_first ? "true" : "false",
                l->attrs->reverse ? "true" : "false", l->attrs->linear_before_reset ? "true" : "false",
                l->attrs->input_forget ? "true" : "false");
}

static const char *real_text(KernelWriter *w, double value) {
    return kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, value, false));
}

/* Function `which` of a direction. What an LSTM gives out is not clipped. */
static const char *activation_text(KernelWriter *w, const Layer *l, int32_t direction, int32_t which) {
    static const int32_t functions[] = {[CELL_RNN] = 1, [CELL_GRU] = 2, [CELL_LSTM] = 3};
    int32_t own = which < functions[l->kind] ? which : 0;
    const CellActivation *activation = &l->attrs->activations[direction * functions[l->kind] + own];
    return kernel_format(w, "Activation{(CellFunction)%d, %s, %s, %s}", (int)activation->function,
                         real_text(w, activation->alpha), real_text(w, activation->beta),
                         real_text(w, which == 2 ? 0 : l->attrs->clip));
}

static const char *kind_text(CellKind kind) {
    return kind == CELL_LSTM ? "CELL_LSTM" : kind == CELL_GRU ? "CELL_GRU" : "CELL_RNN";
}

static Status emit_projection(Emission *emission, const Layer *l, Dim gates, const char *type) {
    KernelWriter *w = kernel_begin(emission, "project_inputs");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "recurrent.cuh");
    kernel_number(w, gates); /* is indexed with */
    write_layer(w, l, false);
    kernel_line(w, "project_inputs<%s>(layer, %s);", kind_text(l->kind), kernel_scratch(w, 0, type));
    return kernel_finish(w, kernel_grid_for(emission, gates, PROJECT_THREADS / 32), 1, 1, PROJECT_THREADS, 0);
}

static Status emit_sequences(Emission *emission, const Layer *l, Dim gates, Dim state_at, const char *type) {
    KernelWriter *w = kernel_begin(emission, "run_sequence");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "recurrent.cuh");
    kernel_number(w, gates);
    write_layer(w, l, true);
    for (int32_t d = 0; d < l->attrs->directions; ++d)
        kernel_line(w, "if (%s((Index)blockIdx.x < %s)) run_sequence<%s>(layer, %s, %s, %s, %d, %s, %s);",
                    d == 0 ? "" : "!", kernel_number(w, l->batch), kind_text(l->kind),
                    activation_text(w, l, d, 0), activation_text(w, l, d, 1), activation_text(w, l, d, 2), d,
                    kernel_scratch(w, 0, type), kernel_scratch(w, state_at, type));
    return kernel_finish(w, dim_mul(emission->graph->dims, l->batch, l->attrs->directions), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    DimTable *dims = emission->graph->dims;
    Layer l = describe(emission->problem);
    const char *type = float_type(problem_input(emission->problem, INPUT_X)->dtype);
    int32_t bytes = type[0] == 'd' ? 8 : 4;
    Dim sequences = dim_mul(dims, l.batch, l.attrs->directions);
    Dim rows = dim_mul(dims, sequences, l.hidden);
    Dim gates = dim_mul(dims, dim_mul(dims, rows, l.steps), cell_gates(l.kind));
    Dim state_at = dim_mul(dims, gates, bytes);
    (void)config, (void)device;
    emission->scratch_bytes =
        dim_add(dims, state_at, dim_mul(dims, rows, (cell_gates(l.kind) + ROWS_OF_STATE) * bytes));
    TRY(emit_projection(emission, &l, gates, type));
    return emit_sequences(emission, &l, gates, state_at, type);
}

const Tactic tactic_recurrent = {
    .name = "recurrent", .version = 1, .refuses = refuses, .configs = only_config, .emit = emit};
