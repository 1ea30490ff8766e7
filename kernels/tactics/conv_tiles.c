/* Convolutions as products in tiles: the matrix of windows is read straight from the input. */
#include "kernels/conv_text.h"
#include "kernels/tiles.h"

enum { LEAST_CHANNELS = 8, MOST_GROUPS = 65535 };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = conv_refuses(problem);
    (void)device;
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    if (conv.groups > MOST_GROUPS) return "more groups than a grid has blocks";
    if (dim_is_exact(conv.outputs) && conv.outputs < LEAST_CHANNELS) return "few output channels in a group";
    Dim depth = dim_mul(problem->graph->dims, conv.channels, conv.window.taps);
    if (dim_is_exact(depth) && depth < LEAST_CHANNELS) return "few products in a sum";
    return NULL;
}

static Dim columns(const Problem *problem, const ConvText *conv) {
    return dim_mul(problem->graph->dims, conv->batch, conv->window.out_count);
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    return tile_configs(device, conv.outputs, columns(problem, &conv), conv.groups, out);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    KernelWriter *w = kernel_begin(emission, "conv_tiles");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv.cuh");
    kernel_line(w, "conv_tiles<%s, %s>(%s);", conv.type, tile_text(w, config), conv_arguments(w, &conv));
    Dim tiles = tile_count(emission->graph->dims, config, conv.outputs, columns(emission->problem, &conv));
    return kernel_finish(w, tiles, conv.groups, 1, tile_threads(config), 0);
}

const Tactic tactic_conv_tiles = {
    .name = "conv_tiles", .version = 1, .refuses = refuses, .configs = configs, .emit = emit};
