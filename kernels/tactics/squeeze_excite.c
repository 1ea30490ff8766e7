/* Squeeze-and-excite, from a global average pool over two small products to what scales the channels, and
 * that itself, in one launch: a cluster of blocks for each image. */
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
    MOST_HELD = 16,            /* packs in a thread's registers */
    SHARED_RESERVED = 1 << 10, /* that a block has beside its own */
    BLOCKS = 0, /* numbers of a config: of a cluster; blocks of a multiprocessor, which hold what they read in
                   shared memory, or 0: in registers */
    RESIDENT = 1,
    STORING = 2 /* such blocks */
};

/* The two products: [squeezed, channels] and [channels, squeezed]. */
typedef struct Squeeze {
    const Node *reduce, *expand;
    int64_t channels, squeezed;
    Dim places, step, batch_step; /* of the input: elements from one place, and image, to the next */
} Squeeze;

/* How a cluster divides them. */
typedef struct Division {
    int32_t blocks, groups, slice, held;
    int64_t shared; /* bytes beside what is held */
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
static Division divide(const Problem *problem, const Squeeze *squeeze, int32_t blocks) {
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
    int64_t sums = THREADS * LANES * 4 + (out.slice + 2 * squeeze->squeezed) * 4 + 64;
    out.staged = sums + bytes <= MOST_STATIC;
    out.shared = sums + (out.staged ? bytes : 0);
    if (!dim_is_exact(squeeze->places)) return out;
    int64_t held = ceil_div_i64(ceil_div_i64(squeeze->places, blocks / out.groups), THREADS / width);
    if (held <= MOST_HELD && dtype_bits(problem_input(problem, 0)->dtype) <= 16) out.held = (int32_t)held;
    return out;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Squeeze squeeze;
    (void)device;
    return describe(problem, &squeeze);
}

/* Bytes of shared memory that hold what a block reads. */
static int32_t stored_bytes(const Division *division) {
    return division->held * THREADS * LANES * 2;
}

/* Whether a multiprocessor can have so many blocks that hold what they read in shared memory. */
static bool can_store(const Problem *problem, const Device *device, const Division *division,
                      int32_t resident) {
    int64_t own = division->shared + stored_bytes(division) + SHARED_RESERVED;
    return problem->scale != NONE && division->held > 0 && own * resident <= device->shared_per_sm &&
           own <= device->shared_per_block;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Squeeze squeeze = {0};
    int32_t count = 0;
    if (describe(problem, &squeeze) != NULL) return 0;
    for (int32_t blocks = device->sm >= CLUSTERS_SM ? MOST_BLOCKS : 1; blocks >= 1; blocks /= 2) {
        Division division = divide(problem, &squeeze, blocks);
        out[count++] = (Config){.count = 2, .number = {blocks, 0}};
        if (can_store(problem, device, &division, STORING))
            out[count++] = (Config){.count = 2, .number = {blocks, STORING}};
    }
    return count;
}

/* A multiprocessor has one block at a time, or some that share its rate, which take long even where they have
 * little to do. The numbers are fitted to times on an H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    enum {
        BEGINS = 6600,
        STORES = 300,
        NOT_HELD = 4
    }; /* cycles of a block, and more of one that stores; times that what is
          not held is on its way */
    const double byte_cycles = 0.038;
    Squeeze squeeze;
    if (describe(problem, &squeeze) != NULL) return 0;
    Division division = divide(problem, &squeeze, config->number[BLOCKS]);
    const Value *x = problem_input(problem, 0);
    double places = (double)dim_at_opt(problem->graph, squeeze.places),
           held = division.held > 0 ? 1 : NOT_HELD;
    double bytes = places * (double)squeeze.channels * dtype_bits(x->dtype) / 8 * held;
    bytes += (double)(2 * squeeze.squeezed * squeeze.channels) *
             dtype_bits(problem_value(problem, squeeze.reduce->inputs[1])->dtype) / 8;
    int64_t images = dim_at_opt(problem->graph, x->shape.dim[0]);
    int64_t each = ceil_div_i64((images > 0 ? images : 1) * division.blocks, device->sm_count),
            together = min_i64(each, config->number[RESIDENT] > 0 ? config->number[RESIDENT] : 1);
    double begins = BEGINS + (config->number[RESIDENT] > 0 ? STORES : 0);
    return device->launch_us + (double)ceil_div_i64(each, together) *
                                   (begins + byte_cycles * bytes / division.blocks * (double)together) /
                                   device->clock_mhz;
}

static const char *product_bias(KernelWriter *w, const Node *node) {
    return bias_text(w, node->input_count > 2 ? node->inputs[2] : NONE);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    Squeeze squeeze = {0};
    KernelWriter *w = kernel_begin(emission, "squeeze_excite");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    const char *why = describe(problem, &squeeze);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "squeeze_excite: %s", why);
    Division division = divide(problem, &squeeze, config->number[BLOCKS]);
    kernel_include(w, "squeeze.cuh");
    kernel_declare(w, "typedef SqueezeTile<%d, %d, %d, %d, %d, %d, %s, %s> Tile;", LANES, division.blocks,
                   division.groups, division.slice, (int)squeeze.squeezed, division.held,
                   config->number[RESIDENT] > 0 ? "true" : "false", division.staged ? "true" : "false");
    const char *between = kernel_between(w), *scales = "NoScales{}", *epilogue;
    if (problem->scale != NONE) scales = kernel_scales(w);
    epilogue = problem->scale != NONE ? kernel_pack_epilogue(w, LANES) : kernel_epilogue(w);
    bool constant =
        inputs_are_constant(problem, squeeze.reduce, 1) && inputs_are_constant(problem, squeeze.expand, 1);
    kernel_line(w, "squeeze_excite<Tile, %s>(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s);",
                constant ? "true" : "false", kernel_pointer(w, problem_anchor(problem)->inputs[0]),
                kernel_number(w, squeeze.batch_step), kernel_number(w, squeeze.step),
                kernel_number(w, squeeze.places), kernel_number(w, squeeze.channels),
                kernel_pointer(w, squeeze.reduce->inputs[1]), kernel_pointer(w, squeeze.expand->inputs[1]),
                product_bias(w, squeeze.reduce), between, product_bias(w, squeeze.expand), scales, epilogue);
    kernel_waits(w);
    kernel_cluster(w, division.blocks);
    Dim images = problem_input(problem, 0)->shape.dim[0];
    if (config->number[RESIDENT] > 0) kernel_resident(w, config->number[RESIDENT]);
    return kernel_finish(w, dim_mul(emission->graph->dims, images, division.blocks), 1, 1, THREADS,
                         config->number[RESIDENT] > 0 ? stored_bytes(&division) : 0);
}

const Tactic tactic_squeeze_excite = {.name = "squeeze_excite",
                                      .version = 3,
                                      .strided = true,
                                      .squeezes = true,
                                      .refuses = refuses,
                                      .configs = configs,
                                      .cost = cost,
                                      .emit = emit};
