/* ConvTranspose whose windows do not overlap, as a product in tiles that goes to places of its own. */
#include "kernels/tiles.h"
#include "kernels/transposed_text.h"

enum { LEAST_DEPTH = 8 };

/* Every output element is in the window of one input element. */
static bool covers(DimTable *dims, const WindowDims *window) {
    bool exact = true;
    for (int32_t i = 0; i < WINDOW_AXES; ++i)
        exact = exact && window->kernel[i] == window->stride[i] && window->pad[i] == 0 &&
                (window->dilation[i] == 1 || window->kernel[i] == 1) &&
                window->out[i] == dim_mul(dims, window->in[i], window->stride[i]);
    return exact;
}

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = transposed_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    TransposedText text = transposed_describe(problem);
    if (!covers(problem->graph->dims, &text.window)) return "windows that overlap or leave gaps";
    if (text.groups > MOST_GRID_YZ) return "more groups than a grid has blocks";
    if (dim_is_exact(text.channels) && text.channels < LEAST_DEPTH) return "few products in a sum";
    return NULL;
}

static TileProblem product_of(const Problem *problem, const TransposedText *text) {
    DimTable *dims = problem->graph->dims;
    return (TileProblem){.rows = dim_mul(dims, text->outputs, text->window.taps),
                         .cols = dim_mul(dims, text->batch, text->window.in_count),
                         .depth = text->channels,
                         .batch = text->groups};
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    TransposedText text = transposed_describe(problem);
    TileProblem product = product_of(problem, &text);
    return tile_configs(device, &product, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    const Value *x = problem_input(problem, 0);
    TransposedText text = transposed_describe(problem);
    TileProblem product = product_of(problem, &text);
    KernelWriter *w = kernel_begin(emission, "conv_scatter");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv_scatter.cuh");
    kernel_line(w, "conv_scatter<%s, %s, %s>(%s);", float_type(x->dtype), tile_text(w, config),
                channels_are_inner(x) ? "true" : "false", transposed_arguments(w, &text));
    return kernel_finish(w, tile_count(emission->graph->dims, config, product.rows, product.cols),
                         text.groups, 1, tile_threads(config), 0);
}

const Tactic tactic_conv_scatter = {.name = "conv_scatter",
                                    .version = 1,
                                    .slow = SLOW_FOR_HALVES,
                                    .strided = true,
                                    .refuses = refuses,
                                    .configs = configs,
                                    .emit = emit};
