/* Einsum of any number of operands: a thread for each output element sums its terms. */
#include "kernels/einsum_text.h"

enum { THREADS = 256 };

static const char *refuses(const Problem *problem, const Device *device) {
    (void)device;
    return einsum_refuses(problem);
}

/* struct Terms: "load_as<float>(p0, ...) * load_as<float>(p1, ...)". */
static const char *terms_text(KernelWriter *w, const EinsumText *einsum) {
    const Problem *problem = kernel_emission(w)->problem;
    const char *product = "";
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    for (int32_t i = 0; i < einsum->operands; ++i)
        product =
            kernel_format(w, "%s%sload_as<%s>(%s, %s + %s)", product, i > 0 ? " * " : "", einsum->type,
                          kernel_pointer(w, anchor_input(problem, i)),
                          group_index(w, &einsum->output, i, "i"), group_index(w, &einsum->depth, i, "k"));
    write_format(&text,
                 "    SMELT_DEVICE %s operator()(Index i, Index k) const {\n        return %s;\n    }\n",
                 einsum->type, product);
    return kernel_struct_end(w, "Terms", &text);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    EinsumText einsum = einsum_describe(emission->problem);
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "einsum_terms");
    (void)config;
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "einsum.cuh");
    Dim count = group_size(dims, &einsum.output);
    const char *terms = terms_text(w, &einsum), *epilogue = kernel_epilogue(w);
    kernel_line(w, "sum_terms<%s>(%s, %s, %s, %s);", einsum.type, kernel_number(w, count),
                kernel_number(w, group_size(dims, &einsum.depth)), terms, epilogue);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}

const Tactic tactic_einsum_terms = {.name = "einsum_terms",
                                    .version = 1,
                                    .slow = SLOW_FOR_ALL,
                                    .refuses = refuses,
                                    .configs = only_config,
                                    .emit = emit};
