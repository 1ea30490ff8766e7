/* Pad and CenterCropPad: each element looks up where it comes from, axis by axis; axes that keep their extent
 * are merged with their neighbours. */
#include "kernels/access.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"
#include "ops/movement.h"

enum { THREADS = 256 };

/* Elements in front of and behind each axis; negative ones are cut off. */
typedef struct Borders {
    Dim before[SMELT_MAX_RANK], after[SMELT_MAX_RANK];
} Borders;

static ValueId input_or_none(const Node *node, int32_t i) {
    return i < node->input_count ? node->inputs[i] : NONE;
}

static const char *read_pads(const Problem *problem, Borders *out) {
    const Node *node = problem_anchor(problem);
    int32_t rank = problem_input(problem, 0)->shape.rank, pad_count, axis_count;
    Dim pads[2 * SMELT_MAX_RANK], axes[SMELT_MAX_RANK];
    if (!problem_known_dims(problem, node->inputs[1], 2 * SMELT_MAX_RANK, pads, &pad_count))
        return "pads are not known";
    if (!problem_known_dims(problem, input_or_none(node, 3), SMELT_MAX_RANK, axes, &axis_count))
        return "axes are not known";
    for (int32_t i = 0; i < pad_count / 2; ++i) {
        Dim axis = input_or_none(node, 3) == NONE ? i : axes[i];
        if (!dim_is_exact(axis)) return "axes are not known";
        if (axis < 0) axis += rank;
        if (axis < 0 || axis >= rank) return "an axis outside the rank";
        out->before[axis] = pads[i];
        out->after[axis] = pads[i + pad_count / 2];
    }
    return NULL;
}

/* What is too much or too little is halved, the smaller half in front. */
static void read_center(const Problem *problem, Borders *out) {
    DimTable *dims = problem->graph->dims;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    for (int32_t i = 0; i < in->rank; ++i) {
        Dim more = dim_max(dims, 0, dim_sub(dims, to->dim[i], in->dim[i]));
        Dim less = dim_max(dims, 0, dim_sub(dims, in->dim[i], to->dim[i]));
        out->before[i] = dim_sub(dims, dim_floor_div(dims, more, 2), dim_floor_div(dims, less, 2));
        out->after[i] = dim_sub(dims, dim_sub(dims, to->dim[i], in->dim[i]), out->before[i]);
    }
}

static const char *read_borders(const Problem *problem, Borders *out) {
    *out = (Borders){{0}, {0}};
    if (problem_anchor(problem)->op == OP_Pad) return read_pads(problem, out);
    read_center(problem, out);
    return NULL;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    Borders borders;
    (void)device;
    if (node == NULL || (node->op != OP_Pad && node->op != OP_CenterCropPad))
        return "not Pad or CenterCropPad";
    if (problem->node_count != 1) return "nodes behind it";
    const char *why = cuda_type_refusal(problem_input(problem, 0)->dtype);
    return why != NULL ? why : read_borders(problem, &borders);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)device;
    bool aligned = access_value_is_aligned(problem_output(problem, 0));
    int32_t bytes = dtype_bits(problem_output(problem, 0)->dtype) / 8;
    out[0] = (Config){.count = 1, .number = {aligned ? VECTOR_BYTES / bytes : 1}};
    return 1;
}

/* -- axes -- */

typedef struct PadAxis {
    Dim extent, front, start, count; /* of the output; see pad_source */
    Dim stride;                      /* of the input */
    bool whole;                      /* nothing is added or cut off */
} PadAxis;

static int32_t make_axes(const Problem *problem, const Borders *borders, PadAxis axes[SMELT_MAX_RANK]) {
    DimTable *dims = problem->graph->dims;
    const Shape *in = &problem_input(problem, 0)->shape, *to = &problem_output(problem, 0)->shape;
    Dim strides[SMELT_MAX_RANK];
    int32_t order[SMELT_MAX_RANK], count = 0;
    value_strides(problem->graph, problem_anchor(problem)->inputs[0], strides);
    layout_order(problem_output(problem, 0)->layout, in->rank, order);
    for (int32_t place = 0; place < in->rank; ++place) {
        int32_t i = order[place];
        Dim before = borders->before[i], cut = dim_max(dims, 0, dim_sub(dims, 0, before));
        PadAxis axis = {
            .extent = to->dim[i], .stride = strides[i], .whole = before == 0 && borders->after[i] == 0};
        axis.start = dim_min(dims, cut, in->dim[i]);
        axis.front = dim_min(dims, dim_max(dims, 0, before), to->dim[i]);
        Dim left = dim_add(dims, dim_sub(dims, in->dim[i], axis.start), dim_min(dims, borders->after[i], 0));
        axis.count = dim_max(dims, 0, dim_min(dims, left, dim_sub(dims, to->dim[i], axis.front)));
        if (axis.whole && count > 0 && axes[count - 1].whole &&
            axes[count - 1].stride == dim_mul(dims, axis.extent, axis.stride)) {
            axes[count - 1].extent = dim_mul(dims, axes[count - 1].extent, axis.extent);
            axes[count - 1].stride = axis.stride;
        } else {
            axes[count++] = axis;
        }
    }
    return count;
}

/* Adds what an axis contributes to `source`, and clears `inside` beyond its border. */
static void write_axis(KernelWriter *w, const PadAxis *axis, PadMode mode, const char *coordinate,
                       ByteWriter *out) {
    static const char *const names[] = {"PAD_CONSTANT", "PAD_REFLECT", "PAD_EDGE", "PAD_WRAP"};
    if (axis->whole) {
        write_format(out, "        source += %s * %s;\n", coordinate, kernel_number(w, axis->stride));
        return;
    }
    write_format(out, "        {\n            const Index at = pad_source<%s>(%s, %s, %s, %s);\n",
                 names[mode], coordinate, kernel_number(w, axis->front), kernel_number(w, axis->start),
                 kernel_number(w, axis->count));
    write_format(out, "            inside = inside && at >= 0;\n            source += at * %s;\n        }\n",
                 kernel_number(w, axis->stride));
}

/* One store for all lanes where the result lies that way, else one for each. */
static void write_store(KernelWriter *w, const Problem *problem, int32_t lanes, ByteWriter *out) {
    ValueId to = problem_anchor(problem)->outputs[0];
    const Value *value = problem_value(problem, to);
    Access access = access_value(problem->graph, to, &value->shape, value->layout);
    if (access_is_packed(&access, lanes))
        write_format(out, "        store_pack(raw(%s), %s, v);\n", kernel_result(w, to),
                     access_index(w, &access, "i"));
    else
        write_format(out, "        for (int k = 0; k < N; ++k) raw(%s)[%s] = v.at[k];\n",
                     kernel_result(w, to), access_index(w, &access, "(i + k)"));
}

/* The element that fills the border: an input, or zero. */
static void write_value(KernelWriter *w, const Problem *problem, const char *type, ByteWriter *out) {
    const Node *node = problem_anchor(problem);
    const Value *value = node->op == OP_Pad ? problem_input(problem, 2) : NULL;
    bool given = value != NULL && !(value_is_exact(value) && value_count(value) == 0);
    if (given)
        write_format(out, "raw(%s)[0]", kernel_pointer(w, node->inputs[2]));
    else
        write_format(out, "Raw<%s>(0)", type);
}

/* Whether so many neighbours of the result are neighbours in the input, or all of them border. */
static bool comes_in_packs(const Problem *problem, const PadAxis *axes, int32_t count, int32_t lanes) {
    const PadAxis *last = &axes[count > 0 ? count - 1 : 0];
    bool packed = count > 0 && last->whole && last->stride == 1 && dim_is_exact(last->extent) &&
                  last->extent % lanes == 0 && access_value_is_aligned(problem_input(problem, 0));
    for (int32_t i = 0; packed && i < count - 1; ++i)
        packed = dim_is_exact(axes[i].stride) && axes[i].stride % lanes == 0;
    return packed;
}

static void write_element(KernelWriter *w, const Problem *problem, const Borders *borders, int32_t lanes,
                          ByteWriter *out) {
    const Node *node = problem_anchor(problem);
    const char *type = cuda_type(problem_input(problem, 0)->dtype);
    PadMode mode = node->op == OP_Pad ? ((const PadAttrs *)node->parsed)->mode : PAD_CONSTANT;
    PadAxis axes[SMELT_MAX_RANK];
    Access space = {.rank = make_axes(problem, borders, axes)};
    for (int32_t i = 0; i < space.rank; ++i) space.dim[i] = axes[i].extent;
    bool packed = comes_in_packs(problem, axes, space.rank, lanes);
    write_format(out, "    SMELT_DEVICE bool find(Index i, Index &source) const {\n"
                      "        source = 0;\n        bool inside = true;\n");
    for (int32_t i = 0; i < space.rank; ++i)
        write_axis(w, &axes[i], mode, access_coordinate(w, &space, i, "i"), out);
    write_format(out, "        return inside;\n    }\n");
    write_format(out,
                 "    template <int N> SMELT_DEVICE void run(Index i) const {\n        Pack<Raw<%s>, N> v;\n"
                 "        Index source;\n        const Raw<%s> border = ",
                 type, type);
    write_value(w, problem, type, out);
    write_format(out, ";\n");
    const char *from = kernel_pointer(w, node->inputs[0]);
    if (packed)
        write_format(out,
                     "#pragma unroll\n        for (int k = 0; k < N; ++k) v.at[k] = border;\n"
                     "        if (find(i, source)) v = load_pack<N>(raw(%s), source);\n",
                     from);
    else
        write_format(out,
                     "#pragma unroll\n        for (int k = 0; k < N; ++k) v.at[k] = find(i + k, source) ? "
                     "raw(%s)[source] : border;\n",
                     from);
    write_store(w, problem, lanes, out);
    write_format(out, "    }\n");
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    Dim count = shape_count(emission->graph->dims, &problem_output(problem, 0)->shape);
    int32_t lanes = config->number[0];
    Borders borders;
    (void)device;
    const char *why = read_borders(problem, &borders);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "a pad that was accepted: %s", why);
    KernelWriter *w = kernel_begin(emission, "pad");
    TRY_ALLOC(emission->diag, w);
    ByteWriter text = byte_writer(emission->arena);
    kernel_include(w, "pad.cuh");
    kernel_struct_begin(w);
    write_element(w, problem, &borders, lanes, &text);
    const char *body = kernel_struct_end(w, "Padded", &text);
    kernel_line(w, "for_each_pack<%d>(%s, %s);", lanes, kernel_number(w, count), body);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS * lanes), 1, 1, THREADS, 0);
}

const Tactic tactic_pad = {
    .name = "pad", .version = 3, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
