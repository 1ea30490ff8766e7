#include "kernels/select_text.h"

#include "kernels/window_text.h"

enum { THREADS = 256, TILE = 4096 /* select.cuh's SELECT_TILE */, ALIGNMENT = 256, COUNT_BYTES = 8 };

Dim scratch_take(Emission *emission, Dim bytes) {
    DimTable *dims = emission->graph->dims;
    Dim at = emission->scratch_bytes, blocks = dim_ceil_div(dims, bytes, ALIGNMENT);
    if (blocks == 0) blocks = 1; /* an argument may not begin where the memory ends */
    emission->scratch_bytes = dim_add(dims, at, dim_mul(dims, blocks, ALIGNMENT));
    return at;
}

static Dim tiles_of(DimTable *dims, Dim count) {
    return dim_ceil_div(dims, count, TILE);
}

Dim selection_bytes(DimTable *dims, Dim count) {
    return dim_mul(dims, tiles_of(dims, count), COUNT_BYTES);
}

static KernelWriter *begin(Emission *emission, const Selection *s) {
    KernelWriter *w = kernel_begin(emission, s->family);
    if (w == NULL) return NULL;
    kernel_include(w, "select.cuh");
    if (s->include != NULL) kernel_include(w, s->include);
    return w;
}

Status selection_count(Emission *emission, const Selection *s) {
    Dim tiles = tiles_of(emission->graph->dims, s->count);
    KernelWriter *w = begin(emission, s);
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "select_count(%s, %s, %s);", s->keep(w, s->context), kernel_number(w, s->count),
                kernel_scratch(w, s->offsets, "i64"));
    TRY(kernel_finish(w, tiles, 1, 1, THREADS, 0));
    w = begin(emission, s);
    TRY_ALLOC(emission->diag, w);
    kernel_line(w, "select_offsets(%s, %s, %s);", kernel_scratch(w, s->offsets, "i64"),
                kernel_number(w, tiles), kernel_scratch(w, s->found, "i64"));
    return kernel_finish(w, 1, 1, 1, THREADS, 0);
}

Status selection_place(Emission *emission, const Selection *s,
                       const char *(*sink)(KernelWriter *w, const void *context)) {
    KernelWriter *w = begin(emission, s);
    TRY_ALLOC(emission->diag, w);
    const char *keep = s->keep(w, s->context), *to = sink(w, s->context);
    kernel_line(w, "select_place(%s, %s, %s, %s);", keep, kernel_number(w, s->count),
                kernel_scratch(w, s->offsets, "i64"), to);
    return kernel_finish(w, tiles_of(emission->graph->dims, s->count), 1, 1, THREADS, 0);
}

Status take_lines(Emission *emission, const char *family, ValueId from, ValueId to, Dim places, Dim outer,
                  Dim extent, Dim inner, Dim found) {
    DimTable *dims = emission->graph->dims;
    KernelWriter *w = kernel_begin(emission, family);
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "select.cuh");
    kernel_line(w, "take_lines(raw(%s), raw(%s), %s, %s, %s, %s, %s);", kernel_pointer(w, from),
                kernel_result(w, to), kernel_scratch(w, places, "i64"), kernel_number(w, outer),
                kernel_number(w, extent), kernel_number(w, inner), kernel_number(w, found));
    Dim count = dim_mul(dims, dim_mul(dims, outer, found), inner);
    return kernel_finish(w, kernel_grid_for(emission, count, THREADS), 1, 1, THREADS, 0);
}
