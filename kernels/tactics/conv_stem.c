/* Convolutions of few channels, as a network's first one is, in half precision on matrix units: the windows
 * are gathered from wherever and in whatever type the input lies. */
#include "kernels/chain.h"
#include "kernels/conv_text.h"

enum {
    MOST_TERMS = 256,
    TERMS_OF_A_STEP = 16,
    PLACES = 16,  /* that a warp computes at a time */
    RESIDENT = 8, /* blocks of a multiprocessor: each turns the weights first */
    COLS = 0,     /* numbers of a config */
    WARPS = 1
};

static Dim terms_of(const Problem *problem, const ConvText *conv) {
    return dim_mul(problem->graph->dims, conv->channels, conv->window.taps);
}

static const char *refuses(const Problem *problem, const Device *device) {
    const Node *node = problem_anchor(problem);
    if (node == NULL || node->op != OP_Conv) return "not a convolution";
    const char *why = conv_shapes_refuse(problem);
    if (why != NULL) return why;
    ConvText conv = conv_describe(problem);
    const Value *x = problem_value(problem, conv.x), *w = problem_value(problem, conv.w),
                *y = problem_output(problem, 0);
    if (x->dtype != w->dtype || (x->dtype != DTYPE_F16 && x->dtype != DTYPE_BF16))
        return "operands that are not both fp16 or bf16";
    if (device->sm < 80 && x->dtype != DTYPE_F16) return "matrix units of sm_75";
    if (conv.groups != 1) return "groups";
    Dim terms = terms_of(problem, &conv);
    if (!dim_is_exact(terms) || terms > MOST_TERMS || terms < 1) return "more than 256 terms in a sum";
    if (!dim_is_exact(conv.outputs)) return "an unknown number of channels";
    if (y->layout != LAYOUT_CHANNELS_LAST || problem_epilogue_lanes(problem) != EPILOGUE_LANES)
        return "a result that does not lie in packs of channels";
    if (!value_is_plain(w)) return "weights that do not lie plainly";
    if (conv.bias != NONE && !value_is_plain(problem_value(problem, conv.bias)))
        return "a bias that is a slice";
    return problem_has_front(problem) ? problem_prologue_refuses(problem) : NULL;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    int32_t count = 0;
    (void)device;
    for (int32_t cols = conv.outputs > 32 ? 64 : 32; cols >= 32; cols -= 32)
        for (int32_t warps = 4; warps <= 8; warps += 4)
            out[count++] = (Config){.count = 2, .number = {cols, warps}};
    return count;
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    const Problem *problem = emission->problem;
    DimTable *dims = emission->graph->dims;
    ConvText conv = conv_describe(problem);
    KernelWriter *w = kernel_begin(emission, "conv_stem");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "conv_stem.cuh");
    bool computed = problem_has_front(problem);
    const char *x = computed ? kernel_prologue(w) : kernel_pointer(w, conv.x);
    const char *strides = computed ? number_strides_text(w, conv.x) : strides_text(w, conv.x);
    const char *bias = conv.bias == NONE ? "(const float *)nullptr" : kernel_pointer(w, conv.bias);
    int64_t steps = (terms_of(problem, &conv) + TERMS_OF_A_STEP - 1) / TERMS_OF_A_STEP;
    kernel_line(w, "conv_stem<%s, %d, %lld>(%s, %s, %s, %s, %s, %s, %s, %s, %s);",
                cuda_type(problem_value(problem, conv.w)->dtype), config->number[COLS], (long long)steps, x,
                kernel_pointer(w, conv.w), strides, window_text(w, &conv.window),
                kernel_number(w, conv.batch), kernel_number(w, conv.channels), kernel_number(w, conv.outputs),
                bias, kernel_pack_epilogue(w, EPILOGUE_LANES));
    Dim rows = dim_mul(dims, conv.batch, conv.window.out_count);
    Dim blocks = dim_min(dims, dim_ceil_div(dims, rows, config->number[WARPS] * PLACES),
                         (int64_t)device->sm_count * RESIDENT);
    return kernel_finish(w, blocks, dim_ceil_div(dims, conv.outputs, config->number[COLS]), 1,
                         config->number[WARPS] * 32, 0);
}

const Tactic tactic_conv_stem = {.name = "conv_stem",
                                 .version = 1,
                                 .strided = true,
                                 .prologue = PROLOGUE_READS,
                                 .refuses = refuses,
                                 .configs = configs,
                                 .emit = emit};
