#include "kernels/index_text.h"

int32_t axis_of(int64_t axis, int32_t rank) {
    int64_t own = axis < 0 ? axis + rank : axis;
    return own < 0 || own >= rank ? 0 : (int32_t)own;
}

Dim span_of(DimTable *dims, const Shape *shape, int32_t first, int32_t last) {
    Dim product = 1;
    for (int32_t i = first; i < last; ++i) product = dim_mul(dims, product, shape->dim[i]);
    return product;
}

const char *index_refuse_elements(const Shape *indices, const Shape *data, int32_t axis) {
    if (indices->rank != data->rank) return "indices of another rank than the data";
    for (int32_t i = 0; i < data->rank; ++i)
        if (i != axis && indices->dim[i] != data->dim[i] &&
            (!dim_is_exact(indices->dim[i]) || !dim_is_exact(data->dim[i])))
            return "whether indices and data fit shows at run time only";
    return NULL;
}

const char *index_declare_elements(KernelWriter *w, const char *name, ValueId indices, const Shape *data,
                                   int32_t axis) {
    Graph *graph = kernel_emission(w)->graph;
    const Shape *shape = &graph->values[indices].shape;
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    Dim strides[SMELT_MAX_RANK];
    layout_strides(graph->dims, LAYOUT_PLAIN, 0, data, strides);
    Dim step = strides[axis];
    strides[axis] = 0;
    Access access = access_strided(graph->dims, shape->rank, shape->dim, strides);
    kernel_struct_begin(w);
    write_format(&text, "    SMELT_DEVICE Index at(Index n) const {\n");
    write_format(&text, "        const Index index = index_at(%s, n, %s);\n", kernel_pointer(w, indices),
                 kernel_number(w, data->dim[axis]));
    write_format(&text, "        return index < 0 ? -1 : %s + index * %s;\n    }\n",
                 access_index(w, &access, "n"), kernel_number(w, step));
    return kernel_struct_end(w, name, &text);
}

const char *index_refuse_tuples(const Shape *indices, const Shape *data, int32_t batch) {
    Dim depth = indices->rank > batch ? indices->dim[indices->rank - 1] : -1;
    if (!dim_is_exact(depth) || depth < 0 || depth > data->rank - batch)
        return "tuples of indices that do not fit the data";
    return NULL;
}

const char *index_declare_tuples(KernelWriter *w, const char *name, ValueId indices, const Shape *data,
                                 int32_t batch) {
    Graph *graph = kernel_emission(w)->graph;
    DimTable *dims = graph->dims;
    const Shape *shape = &graph->values[indices].shape;
    int32_t depth = (int32_t)shape->dim[shape->rank - 1];
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    Dim strides[SMELT_MAX_RANK];
    layout_strides(dims, LAYOUT_PLAIN, 0, data, strides);
    kernel_struct_begin(w);
    write_format(&text, "    SMELT_DEVICE Index at(Index n) const {\n        Index sum = 0, index;\n");
    if (batch > 0)
        write_format(&text, "        sum = quotient(n, %s) * %s;\n",
                     kernel_number(w, span_of(dims, shape, batch, shape->rank - 1)),
                     kernel_number(w, strides[batch - 1]));
    for (int32_t i = 0; i < depth; ++i) {
        write_format(&text, "        index = index_at(%s, n * %d + %d, %s);\n", kernel_pointer(w, indices),
                     depth, i, kernel_number(w, data->dim[batch + i]));
        write_format(&text, "        if (index < 0) return -1;\n        sum += index * %s;\n",
                     kernel_number(w, strides[batch + i]));
    }
    write_format(&text, "        return sum;\n    }\n");
    return kernel_struct_end(w, name, &text);
}
