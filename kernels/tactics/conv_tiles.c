/* Convolutions as products in tiles: the matrix of windows is read straight from the input. */
#include "kernels/conv_text.h"
#include "kernels/tiles.h"

enum { LEAST_CHANNELS = 8, SUM_THREADS = 256 };

/* Elements of a pool are gathered in shared memory. */
static const char *pool_refusal(const Problem *problem) {
    const Value *read = problem_value(problem, problem_last(problem)->inputs[0]);
    return dtype_bits(read->dtype) > 32 ? "a pool of wide elements behind it" : NULL;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = conv_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    if (conv.groups > MOST_GRID_YZ) return "more groups than a grid has blocks";
    if (dim_is_exact(conv.outputs) && conv.outputs < LEAST_CHANNELS) return "few output channels in a group";
    Dim depth = dim_mul(problem->graph->dims, conv.channels, conv.window.taps);
    if (dim_is_exact(depth) && depth < LEAST_CHANNELS) return "few products in a sum";
    return problem->pooling != NONE ? pool_refusal(problem) : NULL;
}

/* The columns are places; those that a pool reads where there is one. */
static TileProblem product_of(const Problem *problem, const ConvText *conv) {
    DimTable *dims = problem->graph->dims;
    TileProblem product = {.rows = conv->outputs,
                           .cols = dim_mul(dims, conv->batch, conv->window.out_count),
                           .depth = dim_mul(dims, conv->channels, conv->window.taps),
                           .batch = conv->groups,
                           .can_slice = true};
    if (problem->pooling == NONE) return product;
    Shape windows = problem_value(problem, problem_last(problem)->outputs[0])->shape;
    windows.dim[1] = product.window = (int32_t)pool_behind_taps(problem);
    product.cols = shape_count(dims, &windows);
    return product;
}

/* Sums of slices are those of all places. */
static TileProblem slices_of(DimTable *dims, const ConvText *conv, const TileProblem *product) {
    TileProblem slices = *product;
    slices.cols = dim_mul(dims, conv->batch, conv->window.out_count);
    slices.window = 0;
    return slices;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    TileProblem product = product_of(problem, &conv);
    return tile_configs(device, &product, out);
}

static const char *inner_text(KernelWriter *w, const ConvText *conv) {
    return channels_are_inner(&kernel_emission(w)->graph->values[conv->x]) ? "true" : "false";
}

/* Sums of slices of the depth. */
static Status emit_slices(const Config *config, Emission *emission, const ConvText *conv,
                          const TileProblem *product) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "conv_slices");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    kernel_line(w, "conv_slices<%s, %s, %s>(%s, %s, %s);", conv->type, tile_text(w, config),
                inner_text(w, conv), conv_operands(w, conv),
                kernel_number(w, tile_slice_depth(dims, config, product->depth)),
                tile_sums(w, config, product, conv->type));
    return kernel_finish(w, tile_count(dims, config, product->rows, product->cols), conv->groups,
                         tile_slices(config), tile_threads(config), 0);
}

static Status emit_sum(const Config *config, Emission *emission, const ConvText *conv,
                       const TileProblem *product) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "conv_add_slices");
    TRY_ALLOC(emission->diag, w);
    const Problem *problem = emission->problem;
    bool pooled = problem->pooling != NONE;
    int32_t team = pool_behind_team(problem);
    kernel_include(w, "conv.cuh");
    const char *results = conv_results(w, conv);
    kernel_line(w, "conv_add_slices%s<%s%s>(%s, %d, %s, %s%s);", pooled ? "_pooled" : "", conv->type,
                pooled ? kernel_format(w, ", %d", team) : "", tile_sums(w, config, product, conv->type),
                tile_slices(config), conv_sizes(w, conv), results, conv_pool(w));
    Dim count = shape_count(dims, &problem_value(problem, problem_last(problem)->outputs[0])->shape);
    count = dim_mul(dims, count, team);
    return kernel_finish(w, kernel_grid_for(emission, count, SUM_THREADS), 1, 1, SUM_THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    TileProblem product = product_of(emission->problem, &conv);
    (void)device;
    if (tile_slices(config) > 1) {
        TileProblem slices = slices_of(emission->graph->dims, &conv, &product);
        TRY(emit_slices(config, emission, &conv, &slices));
        return emit_sum(config, emission, &conv, &slices);
    }
    KernelWriter *w = kernel_begin(emission, "conv_tiles");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    bool pooled = emission->problem->pooling != NONE;
    const char *operands = conv_operands(w, &conv), *results = conv_results(w, &conv);
    kernel_line(w, "conv_tiles%s<%s, %s, %s%s>(%s, %s%s);", pooled ? "_pooled" : "", conv.type,
                tile_text(w, config), inner_text(w, &conv),
                pooled ? kernel_format(w, ", %d", product.window) : "", operands, results, conv_pool(w));
    DimTable *dims = emission->graph->dims;
    Dim tiles = tile_count(dims, config, product.rows, tile_columns(dims, config, &product));
    return kernel_finish(w, tiles, conv.groups, 1, tile_threads(config), 0);
}

const Tactic tactic_conv_tiles = {.name = "conv_tiles",
                                  .version = 4,
                                  .slow = SLOW_FOR_ALL,
                                  .strided = true,
                                  .pools = true,
                                  .prologue = PROLOGUE_READS,
                                  .refuses = refuses,
                                  .configs = configs,
                                  .emit = emit};
