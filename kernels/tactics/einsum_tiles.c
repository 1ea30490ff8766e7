/* Einsum of two operands as a batch of matrix products in tiles: labels of both operands and the output count
 * products, those of the output and one operand rows or columns, the others are summed over. */
#include "kernels/einsum_text.h"
#include "kernels/tiles.h"

enum { LEAST_EXTENT = 8 };

static const char *refuses(const Problem *problem, const Device *device) {
    const char *why = einsum_refuses(problem);
    DimTable *dims = problem->graph->dims;
    (void)device;
    if (why != NULL) return why;
    EinsumText einsum = einsum_describe(problem);
    if (einsum.operands != 2) return "not two operands";
    const LabelGroup *groups[] = {&einsum.rows, &einsum.cols, &einsum.depth};
    for (int i = 0; i < 3; ++i) {
        Dim size = group_size(dims, groups[i]);
        if (dim_is_exact(size) && size < LEAST_EXTENT) return "few rows, columns or terms";
    }
    return NULL;
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    EinsumText einsum = einsum_describe(problem);
    DimTable *dims = problem->graph->dims;
    TileProblem product = {.rows = group_size(dims, &einsum.rows),
                           .cols = group_size(dims, &einsum.cols),
                           .depth = group_size(dims, &einsum.depth),
                           .batch = group_size(dims, &einsum.batch)};
    return tile_configs(device, &product, out);
}

/* Declares the struct of an operand's lines (product.cuh) and the object for product `batch`. */
static void write_lines(KernelWriter *w, const EinsumText *einsum, int32_t operand) {
    const Problem *problem = kernel_emission(w)->problem;
    DimTable *dims = problem->graph->dims;
    const LabelGroup *lines = operand == 0 ? &einsum->rows : &einsum->cols;
    const char *type = operand == 0 ? "Rows" : "Cols", *name = operand == 0 ? "a" : "b";
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    const char *pointer = kernel_pointer(w, anchor_input(problem, operand));
    write_format(&text, "    struct Line { Index at; bool is_inside; };\n");
    write_format(&text, "    SMELT_DEVICE Line line(Index i) const { return Line{%s, i < %s}; }\n",
                 group_index(w, lines, operand, "i"), kernel_number(w, group_size(dims, lines)));
    write_format(&text, "    SMELT_DEVICE %s at(const Line &line, Index k) const {\n", einsum->type);
    write_format(&text,
                 "        return line.is_inside && k < %s ? load_as<%s>(%s, line.at + %s) : 0;\n    }\n",
                 kernel_number(w, group_size(dims, &einsum->depth)), einsum->type, pointer,
                 group_index(w, &einsum->depth, operand, "k"));
    kernel_line(w, "%s %s = %s;", type, name, kernel_struct_end(w, type, &text));
    kernel_line(w, "%s.%s += %s;", name, pointer, group_index(w, &einsum->batch, operand, "batch"));
}

/* The same for what puts sums where the output has them. */
static void write_store(KernelWriter *w, const EinsumText *einsum) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    const char *epilogue = kernel_epilogue(w);
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    write_format(&text, "    Index base;\n    Epilogue epilogue;\n");
    write_format(&text, "    SMELT_DEVICE void operator()(Index row, Index col, %s sum) const {\n",
                 einsum->type);
    write_format(&text, "        if (row < %s && col < %s) epilogue(base + %s + %s, sum);\n    }\n",
                 kernel_number(w, group_size(dims, &einsum->rows)),
                 kernel_number(w, group_size(dims, &einsum->cols)),
                 group_index(w, &einsum->rows, einsum->operands, "row"),
                 group_index(w, &einsum->cols, einsum->operands, "col"));
    kernel_line(w, "Store store = %s;", kernel_struct_end(w, "Store", &text));
    kernel_line(w, "store.base = %s;", group_index(w, &einsum->batch, einsum->operands, "batch"));
    kernel_line(w, "store.epilogue = %s;", epilogue);
}

/* Whether neighbouring threads read along the depth. */
static const char *reads_along(const EinsumText *einsum, int32_t operand) {
    const LabelGroup *depth = &einsum->depth;
    return depth->count > 0 && depth->stride[operand][depth->count - 1] == 1 ? "true" : "false";
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    EinsumText einsum = einsum_describe(emission->problem);
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, "einsum_tiles");
    (void)device;
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "matmul.cuh");
    Dim batch = group_size(dims, &einsum.batch), rows = group_size(dims, &einsum.rows);
    kernel_line(w, "const Index batch = batch_index();");
    kernel_line(w, "if (batch >= %s) return;", kernel_number(w, batch));
    write_lines(w, &einsum, 0);
    write_lines(w, &einsum, 1);
    write_store(w, &einsum);
    kernel_line(w, "multiply<%s, %s, %s, %s>(%s, a, b, %s, store);", einsum.type, tile_text(w, config),
                reads_along(&einsum, 0), reads_along(&einsum, 1), kernel_number(w, rows),
                kernel_number(w, group_size(dims, &einsum.depth)));
    Dim tiles = tile_count(dims, config, rows, group_size(dims, &einsum.cols));
    return kernel_finish(w, tiles, dim_min(dims, batch, MOST_GRID_YZ),
                         dim_ceil_div(dims, batch, MOST_GRID_YZ), tile_threads(config), 0);
}

const Tactic tactic_einsum_tiles = {.name = "einsum_tiles",
                                    .version = 1,
                                    .slow = SLOW_FOR_HALVES,
                                    .refuses = refuses,
                                    .configs = configs,
                                    .emit = emit};
