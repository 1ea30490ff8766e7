/* Squeeze-and-excite, from a global average pool over two small products to what scales the channels, and
 * that itself, in one launch: a cluster of blocks for each image. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/access.h"
#include "kernels/conv_text.h"

enum {
    THREADS = 512, /* squeeze.cuh's SQUEEZE_THREADS */
    LANES = EPILOGUE_LANES,
    MOST_BLOCKS = 8,
    MOST_STATIC = 48 << 10,          /* bytes of shared memory */
    LEAST_PACKS = 4,                 /* of a place that a block reads, side by side */
    MOST_CHANNELS = THREADS * LANES, /* sums of so many channels fit into shared memory */
    MOST_SQUEEZED = 1024,
    SHARED_RESERVED = 1 << 10, /* that a block has beside its own */
    MOST_RESIDENT = 2,
    MOST_HELD = 13, /* packs of a thread in registers */
    BLOCKS = 0, /* numbers of a config: of a cluster; blocks of a multiprocessor, that share what it can keep,
                   or 0: each block has an image in registers */
    RESIDENT = 1
};

/* The two products: [squeezed, channels] and [channels, squeezed]. */
typedef struct Squeeze {
    const Node *reduce, *expand;
    int64_t channels, squeezed;
    Dim places, step, batch_step; /* of the input: elements from one place, and image, to the next */
} Squeeze;

/* How a cluster divides them. */
typedef struct Division {
    int32_t blocks, groups, slice;
    int32_t kept, slots;    /* rows of a place for each line of threads, in shared memory */
    int64_t rows, clusters; /* rows of a block; clusters at a time */
    int64_t shared, ring;   /* bytes: beside what is kept, and of that */
    bool staged;
} Division;

static const char *product_refusal(const Problem *problem, const Node *node, int64_t *lines, int64_t *depth) {
    const Value *x = problem_value(problem, node->inputs[0]), *w = problem_value(problem, node->inputs[1]);
    if (node->op != OP_Conv) return "contractions that are no convolutions";
    const ConvAttrs *conv = node->parsed;
    if (conv->group != 1) return "groups";
    if (window_has_pads(&conv->window)) return "windows that reach outside";
    if (!value_is_plain(w) || !shape_is_exact(&w->shape) || !dtype_is_float(w->dtype) ||
        !access_value_is_aligned(w))
        return "weights that do not lie plainly";
    if (node->input_count > 2 && node->inputs[2] != NONE &&
        !value_is_plain(problem_value(problem, node->inputs[2])))
        return "a bias that does not lie plainly";
    *lines = w->shape.dim[0];
    *depth = w->shape.rank > 1 ? w->shape.dim[1] : 0;
    if (value_count(w) != *lines * *depth || x->shape.rank < 3 || x->shape.dim[1] != *depth)
        return "windows of several places";
    for (int32_t i = 2; i < x->shape.rank; ++i)
        if (x->shape.dim[i] != 1 || problem_value(problem, node->outputs[0])->shape.dim[i] != 1)
            return "images of several places";
    return NULL;
}

/* Why the input cannot be scaled in the same launch; NULL where it can, and where it is not. */
static const char *scale_refusal(const Problem *problem) {
    if (problem->scale == NONE) return NULL;
    const Node *node = &problem->graph->nodes[problem->scale];
    const Value *y = problem_value(problem, node->outputs[0]);
    if (!shape_equal(&y->shape, &problem_input(problem, 0)->shape) || !channels_are_inner(y))
        return "a result that does not lie as the input does";
    return NULL;
}

static const char *describe(const Problem *problem, Squeeze *out) {
    const Node *node = problem_anchor(problem);
    int64_t outputs, squeezed;
    if (node == NULL || problem->squeeze == NONE) return "not squeeze-and-excite";
    if (node->op != OP_GlobalAveragePool) return "another pool than a mean";
    out->reduce = &problem->graph->nodes[problem->squeeze];
    out->expand = &problem->graph->nodes[problem->excite];
    const char *why = product_refusal(problem, out->reduce, &out->squeezed, &out->channels);
    if (why == NULL) why = product_refusal(problem, out->expand, &outputs, &squeezed);
    if (why != NULL) return why;
    if (outputs != out->channels || squeezed != out->squeezed) return "products that do not fit";
    if (out->reduce->inputs[0] != node->outputs[0]) return "nodes between the pool and the first product";
    const Value *x = problem_input(problem, 0);
    Access access = access_value(problem->graph, node->inputs[0], &x->shape, x->layout);
    if (!channels_are_inner(x) || !dtype_is_float(x->dtype) || dtype_bits(x->dtype) > 32 ||
        !access_is_packed(&access, LANES) || !access_value_is_aligned(x) || out->channels % LANES != 0 ||
        out->channels < 1 || out->squeezed < 1)
        return "channels that are not neighbours in packs of 8";
    if (out->channels > MOST_CHANNELS || out->squeezed > MOST_SQUEEZED) return "many channels";
    if (!access_places(problem->graph, node->inputs[0], &out->places, &out->step, &out->batch_step))
        return "places at different distances";
    return scale_refusal(problem);
}

/* Channels of an image are divided as long as blocks read enough of them side by side, then places. */
static Division divide(const Problem *problem, const Device *device, const Squeeze *squeeze,
                       const Config *config) {
    int32_t blocks = config->number[BLOCKS], resident = config->number[RESIDENT];
    Division out = {.blocks = blocks, .groups = 1};
    int64_t packs = squeeze->channels / LANES, bytes = 0;
    while (out.groups < blocks && packs / (2 * out.groups) >= LEAST_PACKS) out.groups *= 2;
    int32_t width = (int32_t)ceil_div_i64(packs, out.groups);
    out.slice = width * LANES;
    for (int i = 0; i < 2; ++i) {
        const Node *node = i == 0 ? squeeze->reduce : squeeze->expand;
        bytes +=
            squeeze->squeezed * out.slice * dtype_bits(problem_value(problem, node->inputs[1])->dtype) / 8;
    }
    int64_t sums = THREADS * LANES * 4 + (2 * out.slice + (2 * blocks + 2) * squeeze->squeezed) * 4 + 128;
    out.staged = sums + bytes <= MOST_STATIC;
    out.shared = sums + (out.staged ? bytes : 0);
    const Value *x = problem_input(problem, 0);
    int64_t places = dim_at_opt(problem->graph, squeeze->places),
            images = dim_at_opt(problem->graph, x->shape.dim[0]);
    int64_t row = THREADS * LANES * dtype_bits(x->dtype) / 8,
            room = min_i64(device->shared_per_sm / max_i64(resident, 1) - SHARED_RESERVED,
                           device->shared_per_block) -
                   out.shared;
    out.rows = ceil_div_i64(ceil_div_i64(places > 0 ? places : 1, blocks / out.groups), THREADS / width);
    if (resident == 0) {
        out.clusters = max_i64(1, images);
        out.kept = out.slots = (int32_t)min_i64(out.rows, MOST_HELD + 1);
        return out;
    }
    out.clusters = max_i64(1, (int64_t)device->sm_count * resident / blocks);
    if (images < out.clusters) out.clusters = max_i64(1, images);
    if (problem->scale == NONE || room < row) return out;
    out.kept = (int32_t)min_i64(out.rows, room / row);
    out.slots = (int32_t)min_i64(room / row, out.kept * ceil_div_i64(max_i64(images, 1), out.clusters));
    out.ring = out.slots * row;
    return out;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Squeeze squeeze = {0};
    int32_t count = 0;
    if (describe(problem, &squeeze) != NULL) return 0;
    for (int32_t blocks = device->sm >= CLUSTERS_SM ? MOST_BLOCKS : 1; blocks >= 1; blocks /= 2)
        for (int32_t resident = MOST_RESIDENT; resident >= 0; --resident) {
            out[count] = (Config){.count = 2, .number = {blocks, resident}};
            Division division = divide(problem, device, &squeeze, &out[count]);
            bool holds = problem->scale != NONE && dim_is_exact(squeeze.places) &&
                         division.rows <= MOST_HELD && dtype_is_half(problem_input(problem, 0)->dtype);
            if (division.shared <= MOST_STATIC && (resident > 0 || holds)) ++count;
        }
    return count;
}

/* What blocks have of sums, the products' results and biases may be more than fits. */
static const char *refuses(const Problem *problem, const Device *device) {
    Squeeze squeeze;
    Config all[MOST_CONFIGS];
    const char *why = describe(problem, &squeeze);
    if (why != NULL) return why;
    return configs(problem, device, all) > 0 ? NULL : "many channels";
}

/* Clusters take image after image: a chain of steps that wait for each other, shorter where registers hold
 * what is read, and the bytes of a block, those that it does not keep several times. Blocks that share a
 * multiprocessor hide most of the chain. Clusters of many blocks leave some multiprocessors without any.
 * Fitted to times on an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    const double chain_us = 2.2, weights_us = 0.05e-3, block_us = 0.1, cached_us = 0.0406e-3,
                 moved_us = 0.068e-3, hidden = 0.2, again = 2, held_us = 0.35,
                 fit = config->number[BLOCKS] > 4   ? 0.91
                       : config->number[BLOCKS] > 2 ? 0.97
                                                    : 1;
    Squeeze squeeze;
    if (describe(problem, &squeeze) != NULL) return 0;
    Division division = divide(problem, device, &squeeze, config);
    const Value *x = problem_input(problem, 0);
    double size = dtype_bits(x->dtype) / 8.0,
           images = fmax((double)dim_at_opt(problem->graph, x->shape.dim[0]), 1),
           own = (double)(division.rows * THREADS * LANES) * size, all = 2 * own * division.blocks * images;
    double weights = (double)(2 * squeeze.squeezed * division.slice) *
                     dtype_bits(problem_value(problem, squeeze.reduce->inputs[1])->dtype) / 8;
    if (problem->scale == NONE)
        own /= 2;
    else
        own *= 1 + again * (double)(division.rows - division.kept) / (double)division.rows;
    double most =
               fmax(1, floor(fit * device->sm_count * fmax(config->number[RESIDENT], 1) / division.blocks)),
           clusters = fmin(images, most),
           together = ceil(clusters * division.blocks / (fit * device->sm_count)),
           rate = all < device->l2_bytes ? cached_us : moved_us;
    double chain = chain_us + weights_us * weights + block_us * (division.blocks - 1),
           rounds = images > 2 * clusters ? images / clusters : ceil(images / clusters);
    if (rounds > 2 && config->number[RESIDENT] > 1) chain *= hidden;
    if (config->number[RESIDENT] == 0) chain -= held_us;
    return device->launch_us + weights * cached_us * together + rounds * (chain + own * rate * together);
}

static const char *product_bias(KernelWriter *w, const Node *node) {
    return bias_text(w, node->input_count > 2 ? node->inputs[2] : NONE);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    Squeeze squeeze = {0};
    Dim images = problem_input(problem, 0)->shape.dim[0];
    KernelWriter *w = kernel_begin(emission, "squeeze_excite");
    TRY_ALLOC(emission->diag, w);
    const char *why = describe(problem, &squeeze);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "squeeze_excite: %s", why);
    Division division = divide(problem, device, &squeeze, config);
    kernel_include(w, "squeeze.cuh");
    bool held = config->number[RESIDENT] == 0,
         once = held || (division.clusters >= dim_at_opt(emission->graph, images) && dim_is_exact(images));
    kernel_declare(w, "typedef KeptRows<%d, %d, %d, %d, %d, %s, %s> Rows;", THREADS, LANES, division.kept,
                   division.slots, dtype_bits(problem_input(problem, 0)->dtype) > 16 ? 2 : 4,
                   once ? "true" : "false",
                   division.kept == division.rows && dim_is_exact(squeeze.places) ? "true" : "false");
    kernel_declare(w, "typedef SqueezeTile<%d, %d, %d, %d, %d, %s, %s, Rows> Tile;", LANES, division.blocks,
                   division.groups, division.slice, (int)squeeze.squeezed, division.staged ? "true" : "false",
                   held ? "true" : "false");
    const char *between = kernel_between(w), *scales = "NoScales{}", *epilogue;
    if (problem->scale != NONE) scales = kernel_scales(w);
    epilogue = problem->scale != NONE ? kernel_pack_epilogue(w, LANES) : kernel_epilogue(w);
    bool constant =
        inputs_are_constant(problem, squeeze.reduce, 1) && inputs_are_constant(problem, squeeze.expand, 1);
    kernel_line(w, "squeeze_excite<Tile, %s>(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);",
                constant ? "true" : "false", kernel_pointer(w, problem_anchor(problem)->inputs[0]),
                kernel_number(w, images), kernel_number(w, squeeze.batch_step),
                kernel_number(w, squeeze.step), kernel_number(w, squeeze.places),
                kernel_number(w, squeeze.channels), kernel_pointer(w, squeeze.reduce->inputs[1]),
                kernel_pointer(w, squeeze.expand->inputs[1]), product_bias(w, squeeze.reduce), between,
                product_bias(w, squeeze.expand), scales, epilogue);
    kernel_waits(w);
    kernel_cluster(w, division.blocks);
    if (!held) kernel_resident(w, config->number[RESIDENT]);
    Dim clusters = held ? images : dim_min(emission->graph->dims, images, division.clusters);
    if (!once) kernel_together(w); /* as many as fit */
    return kernel_finish(w, dim_mul(emission->graph->dims, clusters, division.blocks), 1, 1, THREADS,
                         (int32_t)division.ring);
}

const Tactic tactic_squeeze_excite = {.name = "squeeze_excite",
                                      .version = 4,
                                      .strided = true,
                                      .squeezes = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .cost = cost,
                                      .emit = emit};
