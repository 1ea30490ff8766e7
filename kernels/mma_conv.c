#include "kernels/mma_conv.h"

#include "kernels/conv_product.h"

enum { LEAST_CHANNELS = 8 };

/* What the elements that are copied together are multiples of. */
static int64_t divisor_of(const Problem *problem, const ConvText *conv) {
    Dim strides[SMELT_MAX_RANK];
    int64_t all = conv->channels;
    value_strides(problem->graph, conv->x, strides);
    for (int32_t i = 0; i < problem_value(problem, conv->x)->shape.rank; ++i)
        if (i != 1) all |= dim_divisor(problem->graph->dims, strides[i]);
    return all & -all; /* the largest power of two that divides all */
}

const char *mma_conv_refuses(const Problem *problem, const Device *device, MmaPrecision precision) {
    ConvText conv;
    const char *why = conv_product_refuses(problem, 1, &conv);
    if (why == NULL) why = mma_refuses(problem, device, precision);
    if (why != NULL) return why;
    if (conv.channels < LEAST_CHANNELS) return "less than 8 channels of a group";
    return mma_copy(problem_input(problem, 0)->dtype, divisor_of(problem, &conv)) == 0
               ? "channels that do not fill whole copies"
               : NULL;
}

static MmaProblem product_of(const Problem *problem, MmaPrecision precision, const ConvText *conv) {
    MmaProblem product = mma_problem(problem, precision);
    product.sums = conv_sums(problem, conv);
    product.batch = conv->groups;
    product.depth = dim_mul(problem->graph->dims, conv->channels, conv->window.taps);
    product.copy_a = mma_copy(product.dtype, divisor_of(problem, conv));
    product.copy_b = mma_copy(product.dtype, product.depth);
    product.reads = conv_reads(problem, conv);
    return product;
}

int32_t mma_conv_configs(const Problem *problem, const Device *device, MmaPrecision precision,
                         Config out[MOST_CONFIGS]) {
    ConvText conv = conv_describe(problem);
    MmaProblem product = product_of(problem, precision, &conv);
    return mma_configs(problem, device, &product, out);
}

double mma_conv_cost(const Problem *problem, const Device *device, MmaPrecision precision,
                     const Config *config) {
    ConvText conv = conv_describe(problem);
    MmaProblem product = product_of(problem, precision, &conv);
    return mma_cost(problem, device, &product, config);
}

/* -- text -- */

/* "MmaWindows<smelt_half, 8>{p0 + place.matrix * 32, Strides{...}, Window{...}, 1, 32}" */
static const char *windows_text(KernelWriter *w, const MmaProblem *product, const ConvText *conv) {
    return kernel_format(w, "MmaWindows<%s, %d>{%s + place.matrix * %s, %s, %s, %s, %s}",
                         cuda_type(product->dtype), product->copy_a, kernel_pointer(w, conv->x),
                         kernel_number(w, conv->channels), strides_text(w, conv->x),
                         window_text(w, &conv->window), kernel_number(w, conv->batch),
                         kernel_number(w, conv->channels));
}

static const char *weights_text(KernelWriter *w, const MmaProblem *product, const ConvText *conv) {
    const Problem *problem = kernel_emission(w)->problem;
    DimTable *dims = kernel_emission(w)->graph->dims;
    const char *p =
        conv_turns_weights(problem, conv) ? kernel_turned(w, conv->w) : kernel_pointer(w, conv->w);
    const char *group = kernel_number(w, dim_mul(dims, conv->outputs, product->depth)),
               *depth = kernel_number(w, product->depth);
    return kernel_format(w, "MmaLines<%s, %d>{%s + place.matrix * %s, %s, %s, %s}", cuda_type(product->dtype),
                         product->copy_b, p, group, kernel_number(w, conv->outputs), depth, depth);
}

static const char *store_text(KernelWriter *w, const ConvText *conv) {
    SumsText sums = conv_sums(kernel_emission(w)->problem, conv);
    return sum_store(w, &sums, conv_scale(w, conv));
}

Status mma_conv_emit(const Config *config, MmaPrecision precision, const char *family, Emission *emission) {
    ConvText conv = conv_describe(emission->problem);
    MmaProblem product = product_of(emission->problem, precision, &conv);
    KernelWriter *w = mma_begin(emission, family, &product, config);
    TRY_ALLOC(emission->diag, w);
    const char *x = windows_text(w, &product, &conv), *weights = weights_text(w, &product, &conv);
    if (config->number[MMA_SLICES] == 1)
        return mma_finish(w, &product, config, x, weights, store_text(w, &conv));
    TRY(mma_finish(w, &product, config, x, weights, NULL));
    w = kernel_begin(emission, "mma_add_slices");
    TRY_ALLOC(emission->diag, w);
    return mma_add_slices(w, &product, config, store_text(w, &conv));
}
