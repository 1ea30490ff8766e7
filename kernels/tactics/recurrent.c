/* RNN, GRU and LSTM: a product in tiles for the inputs of all steps, then a block of threads for each
 * sequence of each direction, which goes from step to step. */
#include "ops/recurrent.h"

#include "kernels/tiles.h"
#include "kernels/window_text.h"

enum { THREADS = 512, SHARED_BYTES = 40 << 10, SCRATCH_ALIGNMENT = 256 };
enum { INPUT_X, INPUT_W, INPUT_R, INPUT_B, INPUT_LENGTHS, INPUT_H, INPUT_C, INPUT_P };

typedef struct Layer {
    CellKind kind;
    const RecurrentAttrs *attrs;
    const char *stored, *type; /* of elements; of what is computed in */
    int32_t type_bytes;
    Dim steps, batch, input_size, hidden, width, rows; /* width: all gates; rows: steps * batch */
    Dim state;                                         /* elements of one sequence */
    Dim state_offset, scratch_bytes;
    bool shared; /* states are in shared memory */
} Layer;

static bool find_kind(const Node *node, CellKind *kind) {
    *kind = node->op == OP_LSTM ? CELL_LSTM : node->op == OP_GRU ? CELL_GRU : CELL_RNN;
    return *kind != CELL_RNN || node->op == OP_RNN;
}

static Layer describe(const Problem *problem) {
    DimTable *dims = problem->graph->dims;
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, INPUT_X);
    Layer layer = {.attrs = node->parsed, .stored = cuda_type(x->dtype), .type = float_type(x->dtype)};
    (void)find_kind(node, &layer.kind);
    int32_t gates = cell_gates(layer.kind), batch_axis = layer.attrs->batch_first ? 0 : 1;
    layer.type_bytes = x->dtype == DTYPE_F64 ? 8 : 4;
    layer.steps = x->shape.dim[1 - batch_axis];
    layer.batch = x->shape.dim[batch_axis];
    layer.input_size = x->shape.dim[2];
    layer.hidden = problem_input(problem, INPUT_R)->shape.dim[2];
    layer.width = dim_mul(dims, layer.hidden, gates);
    layer.rows = dim_mul(dims, layer.steps, layer.batch);
    layer.state = dim_mul(dims, layer.hidden, gates + 2);
    Dim projected = dim_mul(dims, dim_mul(dims, layer.rows, layer.width), layer.attrs->directions);
    Dim units = dim_ceil_div(dims, dim_mul(dims, projected, layer.type_bytes), SCRATCH_ALIGNMENT);
    Dim states = dim_mul(dims, dim_mul(dims, layer.state, layer.batch), layer.attrs->directions);
    layer.shared = dim_is_exact(layer.state) && layer.state <= SHARED_BYTES / layer.type_bytes;
    layer.state_offset = dim_mul(dims, units, SCRATCH_ALIGNMENT);
    layer.scratch_bytes = layer.state_offset;
    if (!layer.shared)
        layer.scratch_bytes = dim_add(dims, layer.state_offset, dim_mul(dims, states, layer.type_bytes));
    return layer;
}

static bool has_shape(const Problem *problem, int32_t input, int32_t rank, Dim a, Dim b, Dim c) {
    const Value *value = problem_input(problem, input);
    Shape expected = {rank, {a, rank > 1 ? b : 0, rank > 2 ? c : 0}};
    return value == NULL || shape_equal(&value->shape, &expected);
}

/* Extents that are equal whatever the symbols are: nothing checks them when kernels run. */
static bool shapes_fit(const Problem *problem, const Layer *l) {
    DimTable *dims = problem->graph->dims;
    Dim d = l->attrs->directions, outer = l->attrs->batch_first ? l->batch : d,
        inner = l->attrs->batch_first ? d : l->batch;
    return has_shape(problem, INPUT_W, 3, d, l->width, l->input_size) &&
           has_shape(problem, INPUT_R, 3, d, l->width, l->hidden) &&
           has_shape(problem, INPUT_B, 2, d, dim_mul(dims, l->width, 2), 0) &&
           has_shape(problem, INPUT_LENGTHS, 1, l->batch, 0, 0) &&
           has_shape(problem, INPUT_H, 3, outer, inner, l->hidden) &&
           has_shape(problem, INPUT_C, 3, outer, inner, l->hidden) &&
           has_shape(problem, INPUT_P, 2, d, dim_mul(dims, l->hidden, 3), 0);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    CellKind kind;
    (void)device;
    if (node == NULL || !find_kind(node, &kind)) return "not a recurrent layer";
    if (problem->node_count != 1) return "nodes behind it";
    const char *why = refuse_types(problem);
    if (why != NULL) return why;
    Layer layer = describe(problem);
    return shapes_fit(problem, &layer) ? NULL : "whether the shapes fit shows at run time only";
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Layer layer = describe(problem);
    TileProblem product = {
        .rows = layer.rows, .cols = layer.width, .depth = layer.input_size, .batch = layer.attrs->directions};
    return tile_configs(device, &product, out);
}

/* -- text -- */

static const char *input_text(KernelWriter *w, const Problem *problem, int32_t i, const char *type) {
    ValueId value = anchor_input(problem, i);
    return value != NONE ? kernel_pointer(w, value) : kernel_format(w, "(const %s *)nullptr", type);
}

static const char *output_text(KernelWriter *w, const Problem *problem, int32_t i, const char *type) {
    const Node *node = problem_anchor(problem);
    if (i < node->output_count && node->outputs[i] != NONE) return kernel_result(w, node->outputs[i]);
    return kernel_format(w, "(%s *)nullptr", type);
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

static void declare_activations(KernelWriter *w, const Layer *layer) {
    static const char *const names[] = {[CELL_AFFINE] = "affine",
                                        [CELL_ELU] = "elu",
                                        [CELL_HARD_SIGMOID] = "hard_sigmoid",
                                        [CELL_LEAKY_RELU] = "leaky_relu",
                                        [CELL_RELU] = "relu",
                                        [CELL_SCALED_TANH] = "scaled_tanh",
                                        [CELL_SIGMOID] = "sigmoid",
                                        [CELL_SOFTPLUS] = "softplus",
                                        [CELL_SOFTSIGN] = "softsign",
                                        [CELL_TANH] = "tanh",
                                        [CELL_THRESHOLDED_RELU] = "thresholded_relu"};
    int32_t each = layer->kind == CELL_LSTM ? 3 : layer->kind == CELL_GRU ? 2 : 1;
    int32_t count = each * layer->attrs->directions;
    Arena *arena = kernel_emission(w)->arena;
    bool narrow = layer->type_bytes == 4;
    kernel_declare(w, "    static SMELT_DEVICE Number activate(int which, Number x) {");
    for (int32_t i = 0; i < count; ++i) {
        const CellActivation *activation = &layer->attrs->activations[i];
        const char *condition = i + 1 < count ? kernel_format(w, "if (which == %d) ", i) : "";
        kernel_declare(w, "        %sreturn cell_%s(x, %s, %s);", condition, names[activation->function],
                       kernel_text(w, cuda_real_literal(arena, activation->alpha, narrow)),
                       kernel_text(w, cuda_real_literal(arena, activation->beta, narrow)));
    }
    kernel_declare(w, "    }");
}

static void declare_cell(KernelWriter *w, const Layer *layer) {
    static const char *const kinds[] = {
        [CELL_RNN] = "CELL_RNN", [CELL_GRU] = "CELL_GRU", [CELL_LSTM] = "CELL_LSTM"};
    const RecurrentAttrs *attrs = layer->attrs;
    const char *clip = "x";
    if (attrs->clip > 0)
        clip = kernel_format(w, "clipped(x, %s)",
                             kernel_text(w, cuda_real_literal(kernel_emission(w)->arena, attrs->clip,
                                                              layer->type_bytes == 4)));
    kernel_declare(w, "struct Cell {\n    typedef %s Number;", layer->type);
    kernel_declare(w, "    static const int kind = %s;", kinds[layer->kind]);
    kernel_declare(w, "    static const bool batch_first = %s, reverse = %s, after = %s, coupled = %s;",
                   truth(attrs->batch_first), truth(attrs->reverse), truth(attrs->linear_before_reset),
                   truth(attrs->input_forget));
    declare_activations(w, layer);
    kernel_declare(w, "    static SMELT_DEVICE Number clip(Number x) { return %s; }\n};", clip);
}

/* Numbers that the kernels index with, whatever they name. */
static void note_sizes(KernelWriter *w, const Layer *layer) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    kernel_number(w, dim_mul(dims, dim_mul(dims, layer->rows, layer->width), layer->attrs->directions));
    kernel_number(w, dim_mul(dims, dim_mul(dims, layer->state, layer->batch), layer->attrs->directions));
}

static Status emit_projection(const Config *config, const Layer *layer, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    bool separate = layer->kind == CELL_GRU && layer->attrs->linear_before_reset;
    KernelWriter *w = kernel_begin(emission, "recurrent_project");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "recurrent.cuh");
    note_sizes(w, layer);
    kernel_line(w, "project_inputs<%s, %s>(%s, %s, %s, %s, %s, %s, %s, %s);", layer->type,
                tile_text(w, config), input_text(w, problem, INPUT_X, layer->stored),
                input_text(w, problem, INPUT_W, layer->stored),
                input_text(w, problem, INPUT_B, layer->stored), kernel_number(w, layer->rows),
                kernel_number(w, layer->width), kernel_number(w, layer->input_size),
                kernel_number(w, separate ? dim_mul(dims, layer->hidden, 2) : layer->width),
                kernel_scratch(w, 0, layer->type));
    return kernel_finish(w, tile_count(dims, config, layer->rows, layer->width), layer->attrs->directions, 1,
                         tile_threads(config), 0);
}

static Status emit_recurrence(const Layer *layer, Emission *emission) {
    const Problem *problem = emission->problem;
    const char *type = layer->stored;
    const Value *lengths = problem_input(problem, INPUT_LENGTHS);
    const char *length_type = lengths != NULL ? cuda_type(lengths->dtype) : "int";
    KernelWriter *w = kernel_begin(emission, "recurrent");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "recurrent.cuh");
    declare_cell(w, layer);
    note_sizes(w, layer);
    kernel_line(w, "const RecurrentLayer<%s, %s, %s> layer{", layer->type, type, length_type);
    kernel_line(w, "    %s, %s, %s, %s, %s,", input_text(w, problem, INPUT_R, type),
                input_text(w, problem, INPUT_B, type), input_text(w, problem, INPUT_P, type),
                input_text(w, problem, INPUT_H, type), input_text(w, problem, INPUT_C, type));
    kernel_line(w, "    %s, %s, %s, %s,", input_text(w, problem, INPUT_LENGTHS, length_type),
                output_text(w, problem, 0, type), output_text(w, problem, 1, type),
                output_text(w, problem, 2, type));
    kernel_line(w, "    %s, %s, %s, %s, %d};", kernel_scratch(w, 0, layer->type),
                kernel_number(w, layer->steps), kernel_number(w, layer->batch),
                kernel_number(w, layer->hidden), layer->attrs->directions);
    const char *memory = layer->shared ? kernel_format(w, "(%s *)nullptr", layer->type)
                                       : kernel_scratch(w, layer->state_offset, layer->type);
    kernel_line(w, "run_recurrent<Cell, %lld>(layer, %s);", (long long)(layer->shared ? layer->state : 0),
                memory);
    Dim tasks = dim_mul(emission->graph->dims, layer->batch, layer->attrs->directions);
    return kernel_finish(w, kernel_grid_for(emission, tasks, 1), 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    Layer layer = describe(emission->problem);
    (void)device;
    emission->scratch_bytes = layer.scratch_bytes;
    TRY(emit_projection(config, &layer, emission));
    return emit_recurrence(&layer, emission);
}

const Tactic tactic_recurrent = {
    .name = "recurrent", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
