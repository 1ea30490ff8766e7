#include "kernels/planes_text.h"

#include "base/checked.h"
#include "ir/cost.h"
#include "ir/form.h"
#include "kernels/access.h"
#include "kernels/chain.h"
#include "kernels/norm_text.h"
#include "kernels/sums_text.h"
#include "kernels/window_text.h"
#include "ops/norm.h"

enum {
    LANES = EPILOGUE_LANES,
    MOST_PACKS = 8, /* 128 bytes of halves side by side */
    HALF = 2,       /* bytes */
    FRONT_RESIDENT = 2,
    FRONT_AHEAD = 4
};

bool planes_are_normalized_by(const Node *node) {
    return node->op == OP_InstanceNormalization || node->op == OP_GroupNormalization;
}

PlanesText planes_describe(const Problem *problem, const Node *node) {
    Shape plane = problem_value(problem, node->inputs[0])->shape;
    PlanesText p = {.node = node, .batch = plane.dim[0], .channels = plane.dim[1], .width = 1, .packs = 1};
    if (node->op == OP_GroupNormalization) p.width = p.channels / ((const NormAttrs *)node->parsed)->groups;
    plane.dim[0] = plane.dim[1] = 1;
    p.places = shape_count(problem->graph->dims, &plane);
    while (p.packs < MOST_PACKS && p.packs * 2 <= p.channels / LANES) p.packs *= 2;
    p.lines = PLANE_THREADS / p.packs;
    p.groups = (p.channels / LANES + p.packs - 1) / p.packs;
    return p;
}

int64_t planes_blocks(const PlanesText *p, const Device *device, int32_t resident) {
    int64_t blocks = (int64_t)device->sm_count * resident / (p->groups * (p->batch > 0 ? p->batch : 1));
    return blocks < 1 ? 1 : blocks;
}

int32_t planes_parts(const Problem *problem, const PlanesText *p, const Device *device, int32_t resident,
                     int32_t *ahead) {
    int64_t places = dim_at_opt(problem->graph, p->places), wanted = planes_blocks(p, device, resident);
    while (*ahead > 1 && places / ((int64_t)p->lines * *ahead) < wanted) *ahead /= 2;
    int64_t runs = ceil_div_i64(places > 0 ? places : 1, (int64_t)p->lines * *ahead);
    return (int32_t)(wanted < runs ? wanted : runs);
}

double planes_bytes(const Problem *problem, const PlanesText *p) {
    const Value *x = problem_value(problem, p->node->inputs[0]);
    return (double)value_count_at_opt(problem->graph, p->node->inputs[0]) * dtype_bits(x->dtype) / 8.0;
}

double planes_rate(const Problem *problem, const PlanesText *p, const Device *device) {
    bool cached = 2 * planes_bytes(problem, p) < device->l2_bytes;
    return (cached ? 0.65 * device->l2_gb_per_s : device->dram_gb_per_s) * 1e3;
}

const char *planes_moment_type(const Problem *problem, const PlanesText *p) {
    return dtype_bits(problem_value(problem, p->node->inputs[0])->dtype) > 16 ? "double" : "float";
}

/* -- text -- */

const char *planes_steps(KernelWriter *w, const PlanesText *p) {
    const Graph *graph = kernel_emission(w)->graph;
    const Value *x = &graph->values[p->node->inputs[0]];
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    Dim strides[SMELT_MAX_RANK];
    value_strides(graph, p->node->inputs[0], strides);
    Access places = access_strided(graph->dims, x->shape.rank - 2, x->shape.dim + 2, strides + 2);
    kernel_struct_begin(w);
    write_format(&text,
                 "    SMELT_DEVICE Index at(Index entry, Index place) const { return entry * %s + %s; }\n",
                 kernel_number(w, strides[0]), access_index(w, &places, "place"));
    return kernel_struct_end(w, "Steps", &text);
}

const char *planes_finish(KernelWriter *w, const PlanesText *p) {
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    norm_write_inverse(w, p->node, &text);
    write_format(
        &text,
        "    SMELT_DEVICE void scales(Index channel, float &scale, float &shift) const {\n"
        "        scale = load_as<float>(%s, channel);\n        shift = load_as<float>(%s, channel);\n    }\n",
        kernel_pointer(w, p->node->inputs[1]), kernel_pointer(w, p->node->inputs[2]));
    return kernel_struct_end(w, "Finish", &text);
}

const char *planes_text(KernelWriter *w, const PlanesText *p, int32_t parts, int32_t ahead) {
    return kernel_format(w, "{%s, %s, %d, %d}", kernel_number(w, p->places), kernel_number(w, p->channels),
                         parts, p->lines * ahead);
}

const char *planes_counts(KernelWriter *w, const PlanesText *p) {
    const Emission *emission = kernel_emission(w);
    int64_t parts = emission->finds_parts;
    if (parts == 0) return "planes";
    int64_t at = emission->finds_at + moment_counts_at(p->batch * parts, p->channels);
    return kernel_format(w, "PartCounts{%s, %lld}", kernel_scratch(w, at, "const float"), (long long)parts);
}

Status planes_emit_moments(Emission *emission, const PlanesText *p, int32_t parts, int32_t ahead,
                           int32_t resident) {
    KernelWriter *w = kernel_begin(emission, "plane_moments");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "moments.cuh");
    const char *steps = planes_steps(w, p);
    kernel_line(w, "const Planes planes = %s;", planes_text(w, p, parts, ahead));
    kernel_line(w, "plane_moments<%d, %d, %d>(%s, %s, planes, %s);", LANES, p->packs, ahead,
                kernel_pointer(w, p->node->inputs[0]), steps,
                kernel_scratch(w, 0, planes_moment_type(emission->problem, p)));
    kernel_resident(w, resident);
    return kernel_finish(w, parts, p->batch, p->groups, PLANE_THREADS, 0);
}

/* -- in front of a convolution -- */

const Node *problem_front_planes(const Problem *problem) {
    const Node *anchor = problem_anchor(problem);
    if (anchor == NULL || problem->node_count == 1) return NULL;
    if (anchor->op != OP_Conv && anchor->op != OP_ConvTranspose) return NULL;
    const Node *node = problem_maker(problem, anchor->inputs[0]);
    while (node != NULL && !planes_are_normalized_by(node))
        node = node_form(problem->graph, node, NULL) == FORM_ELEMENTS
                   ? problem_maker(problem, node->inputs[0])
                   : NULL;
    return node;
}

ValueId problem_read_input(const Problem *problem) {
    const Node *front = problem_front_planes(problem);
    return front != NULL ? front->inputs[0] : problem_anchor(problem)->inputs[0];
}

/* What is between is computed from the result alone. */
static bool reads_more(const Problem *problem, const Node *front) {
    ValueId value = problem_anchor(problem)->inputs[0];
    for (const Node *node; (node = problem_maker(problem, value)) != front; value = node->inputs[0])
        for (int32_t i = 1; i < node->input_count; ++i)
            if (node->inputs[i] != NONE && (problem_value(problem, node->inputs[i])->data == NULL ||
                                            value_known_count(problem_value(problem, node->inputs[i])) != 1))
                return true;
    return false;
}

/* Something else than what the anchor reads. */
static bool leaves_front(const Problem *problem) {
    const Graph *graph = problem->graph;
    for (int32_t i = 0; i < problem->output_count; ++i) {
        NodeId producer = graph->values[problem->outputs[i]].producer;
        if (problem->outputs[i] == problem_anchor(problem)->inputs[0]) continue;
        for (int32_t n = 0; n < problem->node_count && problem->nodes[n] != problem->anchor; ++n)
            if (problem->nodes[n] == producer) return true;
    }
    return false;
}

static bool parameters_are_plain(const Problem *problem, const Node *node) {
    for (int32_t i = 1; i < 3; ++i) {
        const Value *parameter = problem_value(problem, node->inputs[i]);
        if (!value_is_plain(parameter) || !dtype_is_float(parameter->dtype)) return false;
    }
    return true;
}

const char *problem_front_planes_refuses(const Problem *problem) {
    const Node *front = problem_front_planes(problem), *anchor = problem_anchor(problem);
    if (front == NULL) return NULL;
    const Value *x = problem_value(problem, front->inputs[0]);
    Access access = access_value(problem->graph, front->inputs[0], &x->shape, x->layout);
    if (!dtype_is_half(x->dtype) || x->dtype != problem_input(problem, 0)->dtype)
        return "a normalisation of other types in front";
    if (x->shape.dim[0] != 1) return "a normalisation of several batch entries in front";
    if (!dim_is_exact(planes_describe(problem, front).places))
        return "a normalisation of unknown size in front";
    if (!channels_are_inner(x) || !access_is_packed(&access, LANES) || !access_value_is_aligned(x) ||
        x->shape.dim[1] % LANES != 0 || x->shape.dim[1] < LANES)
        return "a normalisation of channels that are no packs of eight in front";
    if (!parameters_are_plain(problem, front)) return "a normalisation with other parameters in front";
    if (problem_maker(problem, front->inputs[0]) != NULL) return "nodes in front of a normalisation";
    for (int32_t i = 1; i < anchor->input_count; ++i)
        if (problem_maker(problem, anchor->inputs[i]) != NULL)
            return "nodes in front of the anchor's other inputs";
    if (reads_more(problem, front)) return "a normalisation with other operands behind it in front";
    if (leaves_front(problem)) return "a normalisation that leaves";
    return chain_refuses(problem, CHAIN_NORMALIZED);
}

/* Parts of those moments that the step finds itself. */
static int32_t own_parts(const Problem *problem, const PlanesText *p, const Device *device, int32_t *ahead) {
    *ahead = FRONT_AHEAD;
    return planes_parts(problem, p, device, FRONT_RESIDENT, ahead);
}

Status front_planes_begin(Emission *emission, const Device *device) {
    const Node *front = problem_front_planes(emission->problem);
    int32_t ahead;
    if (front == NULL) return STATUS_OK;
    PlanesText p = planes_describe(emission->problem, front);
    int32_t parts = own_parts(emission->problem, &p, device, &ahead);
    bool finds = emission->finds_parts > 0;
    emission->found_bytes = moment_bytes(finds ? emission->finds_parts : parts, p.channels);
    emission->scratch_bytes = emission->finds_at + emission->found_bytes;
    return finds ? STATUS_OK : planes_emit_moments(emission, &p, parts, ahead, FRONT_RESIDENT);
}

const char *front_planes_normal(KernelWriter *w, const Device *device, const char *keep) {
    const Emission *emission = kernel_emission(w);
    const Node *front = problem_front_planes(emission->problem);
    int32_t ahead;
    if (front == NULL) return "NoNormal{}";
    PlanesText p = planes_describe(emission->problem, front);
    int32_t parts = own_parts(emission->problem, &p, device, &ahead);
    kernel_include(w, "wgmma_normal.cuh");
    kernel_line(w, "const Planes planes = %s;", planes_text(w, &p, parts, ahead));
    kernel_line(w, "const auto counts = %s;", planes_counts(w, &p));
    kernel_line(w, "const auto finish = %s;", planes_finish(w, &p));
    kernel_line(w, "const auto activate = %s;", kernel_normalized(w));
    return kernel_format(w, "plane_normal<%lld>(%s, counts, %lld, %lld, %s, finish, activate, %s)",
                         (long long)p.channels, kernel_scratch(w, emission->finds_at, "const float"),
                         (long long)(emission->finds_parts > 0 ? emission->finds_parts : parts),
                         (long long)p.width, kernel_number(w, p.places), keep);
}

int32_t planes_inputs(const Problem *problem) {
    const Node *node = problem_front_planes(problem);
    if (problem->normalization != NONE) node = &problem->graph->nodes[problem->normalization];
    return node == NULL ? 0 : node->inputs[1] == node->inputs[2] ? 1 : 2;
}

int32_t front_planes_shared(const Problem *problem, int32_t threads) {
    const Node *front = problem_front_planes(problem);
    enum { PAIR = 8 /* bytes of two floats */, BARRIERS = 64 };
    if (front == NULL) return 0;
    int64_t channels = planes_describe(problem, front).channels;
    if (channels > INT32_MAX / (4 * PAIR)) return INT32_MAX / 4;
    return (int32_t)(PAIR * (channels + (channels > threads ? channels : threads))) + BARRIERS;
}

double front_planes_cost(const Problem *problem, const Device *device) {
    const Node *front = problem_front_planes(problem);
    if (front == NULL) return 0;
    PlanesText p = planes_describe(problem, front);
    return device->launch_us + 2 + planes_bytes(problem, &p) / planes_rate(problem, &p, device);
}

/* -- behind a convolution -- */

static PlanesText behind_describe(const Problem *problem) {
    return planes_describe(problem, &problem->graph->nodes[problem->normalization]);
}

const char *problem_behind_planes_refuses(const Problem *problem) {
    if (problem->normalization == NONE) return NULL;
    const Node *node = &problem->graph->nodes[problem->normalization];
    const Value *x = problem_value(problem, node->inputs[0]), *y = problem_value(problem, node->outputs[0]);
    if (!dtype_is_half(x->dtype)) return "a normalisation of other types behind";
    if (x->shape.dim[0] != 1) return "a normalisation of several batch entries behind";
    if (!dim_is_exact(behind_describe(problem).places)) return "a normalisation of unknown size behind";
    if (!channels_are_inner(x) || x->layout != y->layout || x->shape.dim[1] % LANES != 0)
        return "a normalisation of channels that are no packs of eight behind";
    if (!parameters_are_plain(problem, node)) return "a normalisation with other parameters behind";
    return problem_front_planes(problem) != NULL ? "normalisations in front and behind" : NULL;
}

int64_t behind_planes_unit(const Problem *problem) {
    return problem->normalization == NONE ? 0 : behind_describe(problem).width;
}

const char *behind_planes(KernelWriter *w, int64_t channels, int64_t parts, bool each) {
    Emission *emission = kernel_emission(w);
    PlanesText p = behind_describe(emission->problem);
    DType dtype = problem_value(emission->problem, p.node->inputs[0])->dtype;
    int64_t kept = round_up_i64(moment_bytes(parts, p.channels), PLAN_ALIGNMENT);
    emission->scratch_bytes =
        dim_add(emission->graph->dims, kept, dim_mul(emission->graph->dims, p.places, p.channels * HALF));
    kernel_include(w, "wgmma_behind.cuh");
    kernel_line(w, "const auto finish = %s;", planes_finish(w, &p));
    kernel_line(w, "const MomentParts parts = {%s, %s, %lld, %s};", kernel_scratch(w, 0, "float"),
                kernel_scratch(w, moment_counts_at(parts, p.channels), "float"), (long long)p.channels,
                each ? "true" : "false");
    return kernel_format(w, "planes_behind<%lld, %s>(parts, %lld, %lld, %s, %s, finish)", (long long)channels,
                         each ? "true" : "false", (long long)parts, (long long)p.width,
                         kernel_number(w, p.places), kernel_scratch(w, kept, cuda_type(dtype)));
}
