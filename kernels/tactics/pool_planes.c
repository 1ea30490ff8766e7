/* GlobalAveragePool, GlobalMaxPool and GlobalLpPool: a block for each plane. */
#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/chain.h"
#include "kernels/pool_text.h"
#include "kernels/slices.h"

enum {
    MOST_BLOCKS = 1 << 16,
    LEAST_THREADS = 32,
    MOST_THREADS = 1024,
    COLUMNS = 32,
    LANES = 8,          /* channels of a pack */
    LINE_PACKS = 8,     /* side by side that are read at the full rate */
    SLICED_PACKS = 8,   /* the most of blocks of a cluster */
    WIDE_PACKS = 32,    /* lines that share no warp */
    PACK_THREADS = 256, /* of a block that reads packs, at least */
    MOST_SLICES = 8     /* blocks of a cluster */
};

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    (void)device;
    if (node == NULL ||
        (node->op != OP_GlobalAveragePool && node->op != OP_GlobalMaxPool && node->op != OP_GlobalLpPool))
        return "not a global pool";
    if (!input_has_rank(problem, 0, 2, SMELT_MAX_RANK)) return "ranks that do not fit";
    return refuse_unless_floats(problem);
}

static Slices planes_of(const Problem *problem) {
    static const int32_t order[SMELT_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    const Shape *x = &problem_input(problem, 0)->shape;
    bool walked[SMELT_MAX_RANK] = {0};
    slices_mark(x, 2, x->rank, walked);
    return slices_in(problem->graph, problem_anchor(problem)->inputs[0], walked, order, NONE);
}

/* -- configs: how planes are read, and the threads or blocks of them -- */

/* Packs of channels that are neighbours in memory. */
static bool has_packs(const Problem *problem) {
    const Value *x = problem_input(problem, 0);
    const Access access =
        access_value(problem->graph, problem_anchor(problem)->inputs[0], &x->shape, x->layout);
    return channels_are_inner(x) && cuda_compute_type(x->dtype)[0] == 'f' && !problem_has_front(problem) &&
           access_is_packed(&access, LANES) && access_value_is_aligned(x) && dim_is_exact(x->shape.dim[1]) &&
           x->shape.dim[1] % LANES == 0;
}

/* Whether so many side by side leave few threads of a block without one. */
static bool packs_fit(const Problem *problem, int32_t count) {
    int64_t packs = problem_input(problem, 0)->shape.dim[1] / LANES;
    return round_up_i64(packs, count) <= packs + packs / 8;
}

/* Groups of so many side by side. */
static Dim groups_of(const Problem *problem, int32_t side) {
    int64_t packs = problem_input(problem, 0)->shape.dim[1] / LANES;
    return dim_mul(problem->graph->dims, problem_input(problem, 0)->shape.dim[0], ceil_div_i64(packs, side));
}

/* Packs for blocks of 256 threads or more: as many side by side as fill them; of the planes as many slices as
 * keep the device busy, while threads have some places each. */
static int32_t pack_configs(const Problem *problem, const Device *device, Config *out) {
    int64_t places = dim_at_opt(problem->graph, planes_of(problem).extent);
    int32_t count = 0;
    for (int32_t threads = PACK_THREADS; threads <= MOST_THREADS; threads *= 2)
        for (int32_t side = PACK_THREADS; side >= 1; side /= 2) {
            if (side > 1 && !packs_fit(problem, side)) continue;
            for (int32_t slices = 1; slices <= MOST_SLICES; slices *= 2) {
                bool few = places * side < (int64_t)threads * slices;
                if ((slices > 1 && (device->sm < CLUSTERS_SM || side > SLICED_PACKS || few)) ||
                    (threads > PACK_THREADS && (few || side > SLICED_PACKS)))
                    break;
                out[count++] = (Config){.count = 4, .number = {threads, 0, slices, side}};
            }
        }
    return count;
}

/* About four elements for each thread. Neighbouring planes are read together where they lie side by side. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    Slices planes = planes_of(problem);
    int32_t threads = LEAST_THREADS, columns = planes.along ? 1 : COLUMNS;
    while (threads < MOST_THREADS &&
           (!dim_is_exact(planes.extent) || planes.extent * columns > 4 * (int64_t)threads))
        threads *= 2;
    int32_t count = has_packs(problem) ? pack_configs(problem, device, out) : 0;
    out[count++] = (Config){.count = 4, .number = {threads, columns, 1, 1}};
    return count;
}

/* -- what it costs -- */

/* Blocks come in rounds of as many as multiprocessors hold, each with a sum over its threads, which takes
 * less time where a warp's have planes of their own; where a block's have, it stores results one by one. A
 * block reads alone at some rate, with others at its share of the device's; lines of few channels are read
 * more slowly, elements one by one at half the rate. Blocks of a cluster wait for each other. Fitted to an
 * H200. */
static double cost(const Problem *problem, const Device *device, const Config *config) {
    static const double narrow[] = {3, 1.6, 1.1}; /* by lines of 1, 2, 4 packs */
    const double empty = 0.95, block_us = 0.75, wide_us = 0.3, cluster_us = 0.2, doubled_us = 0.8,
                 packs_threads = 1024, alone = 68e3, more = 1.75, wide_alone = 160e3, scattered = 1.1;
    int32_t threads = config->number[0], columns = config->number[1], slices = config->number[2],
            side = config->number[3];
    Slices planes = planes_of(problem);
    double places = (double)dim_at_opt(problem->graph, planes.extent),
           size = dtype_bits(problem_input(problem, 0)->dtype) / 8.0, blocks, bytes, factor = 2;
    if (columns == 0) {
        blocks = (double)dim_at_opt(problem->graph, groups_of(problem, side)) * slices;
        bytes = places * LANES * side / slices * size;
        factor = side >= LINE_PACKS ? 1 : narrow[side / 2];
    } else {
        blocks = ceil((double)dim_at_opt(problem->graph, planes.rows) / columns);
        bytes = places * columns * size;
    }
    bool cached = bytes * blocks < device->l2_bytes;
    double most = (columns == 0 ? packs_threads : (double)device->threads_per_sm) / threads,
           each = blocks / device->sm_count,
           share = (cached ? device->l2_gb_per_s : device->dram_gb_per_s) * 1e3 / device->sm_count /
                   fmin(each, most),
           far = cached ? 1 : 0.55, most_alone = cached ? 119e3 : 140e3,
           own = fmin(alone * pow(more, log2(threads / (double)PACK_THREADS)), most_alone) * far,
           block = block_us + bytes * factor / fmin(own, share);
    if (columns == 0 && side >= WIDE_PACKS) {
        block = wide_us + bytes * (1 / (wide_alone * far) + 1 / share);
        if (side == threads) block *= scattered;
    }
    if (slices > 1) block += cluster_us + doubled_us * log2(slices);
    return empty + fmax(each / most, 1) * block;
}

/* -- emission -- */

/* "Places{}": where element i of a plane is, from the first on. */
static const char *declare_places(KernelWriter *w) {
    const Problem *problem = kernel_emission(w)->problem;
    const Shape *x = &problem_input(problem, 0)->shape;
    Dim strides[SMELT_MAX_RANK];
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    value_strides(problem->graph, problem_anchor(problem)->inputs[0], strides);
    const Access places = access_strided(problem->graph->dims, x->rank - 2, x->dim + 2, strides + 2);
    kernel_struct_begin(w);
    write_format(&text, "    SMELT_DEVICE Index at(Index i) const { return %s; }\n",
                 access_index(w, &places, "i"));
    return kernel_struct_end(w, "Places", &text);
}

static Status emit_packs(Emission *emission, int32_t threads, int32_t slices, int32_t packs) {
    const Problem *problem = emission->problem;
    const Node *node = problem_anchor(problem);
    KernelWriter *w = kernel_begin(emission, "pool_planes");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool_planes.cuh");
    const char *pool = pool_type_text(w, node, "float");
    Slices planes = planes_of(problem);
    const char *where = declare_places(w), *epilogue = kernel_epilogue(w);
    int64_t channels = problem_input(problem, 0)->shape.dim[1];
    kernel_line(w, "pool_plane_packs<%d, %d, %d, %d, %s>(%s, %s, %s, %lld, %s, %lld, %s);", LANES, threads,
                packs, slices, pool, kernel_pointer(w, node->inputs[0]), strides_text(w, node->inputs[0]),
                where, (long long)channels, kernel_number(w, planes.extent),
                (long long)ceil_div_i64(channels, packs * LANES), epilogue);
    kernel_cluster(w, slices);
    if (slices > 1 && threads < MOST_THREADS) kernel_resident(w, MOST_THREADS / threads);
    Dim blocks = dim_mul(emission->graph->dims, groups_of(problem, packs), slices);
    return kernel_finish(w, blocks, 1, 1, threads, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    const Node *node = problem_anchor(problem);
    const Value *x = problem_input(problem, 0);
    int32_t threads = config->number[0], columns = config->number[1];
    (void)device;
    if (columns == 0) return emit_packs(emission, threads, config->number[2], config->number[3]);
    KernelWriter *w = kernel_begin(emission, "pool_planes");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "pool_planes.cuh");
    const char *type = float_type(x->dtype), *pool = pool_type_text(w, node, type);
    Slices planes = planes_of(problem);
    const char *elements = kernel_prologue(w), *where = slices_declare(w, &planes),
               *epilogue = kernel_epilogue(w);
    kernel_line(w, "pool_planes<%s, %s, %d, %d>(%s, %s, %s, %s, %s);", type, pool, threads, columns, elements,
                where, kernel_number(w, planes.rows), kernel_number(w, planes.extent), epilogue);
    Dim blocks = dim_ceil_div(dims, planes.rows, columns);
    return kernel_finish(w, dim_min(dims, blocks, MOST_BLOCKS), 1, 1, threads, 0);
}

const Tactic tactic_pool_planes = {.name = "pool_planes",
                                   .version = 6,
                                   .prologue = PROLOGUE_READS,
                                   .strided = true,
                                   .refuses = refuses,
                                   .configs = configs,
                                   .cost = cost,
                                   .emit = emit};
