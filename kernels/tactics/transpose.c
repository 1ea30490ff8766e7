/* Copies whose source runs along another dimension than the target: tile by tile through shared memory. */
#include "kernels/copy.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

enum {
    THREADS = 256, /* transpose.cuh's TRANSPOSE_THREADS */
    TILE_BYTES = 16 << 10,
    MOST_TILE = 4096, /* elements */
    LEAST_EXTENT = 8,
    MOST_EXTENT = 64 /* of a tile, unless the other extent is shorter */
};

/* How a plane is cut, and how many neighbours are read and written at a time. */
typedef struct Tile {
    int32_t columns, rows, from, to;
} Tile;

/* The dimension along which the source runs, -1 where that is the target's own or there is none. */
static int32_t source_dimension(const Copy *copy) {
    int32_t last = copy->read.rank - 1;
    if (last < 1 || copy->read.stride[last] == 1 || copy->read.stride[last] == 0) return -1;
    for (int32_t i = last - 1; i >= 0; --i)
        if (copy->read.stride[i] == 1) return i;
    return -1;
}

static bool is_short(Dim extent) {
    return dim_is_exact(extent) && extent < LEAST_EXTENT;
}

/* The dimensions that are not tiled, with the strides of the source and of the target. */
static void split_planes(DimTable *dims, const Copy *copy, int32_t along, Access *source, Access *target) {
    Dim stride = 1;
    *source = *target = (Access){.rank = copy->read.rank - 2};
    int32_t kept = source->rank;
    for (int32_t i = copy->read.rank - 1; i >= 0; --i) {
        if (i != along && i != copy->read.rank - 1) {
            source->dim[--kept] = copy->read.dim[i];
            target->dim[kept] = copy->read.dim[i];
            source->stride[kept] = copy->read.stride[i];
            target->stride[kept] = stride;
        }
        stride = dim_mul(dims, stride, copy->read.dim[i]);
    }
}

static Dim target_stride(DimTable *dims, const Copy *copy, int32_t along) {
    Dim stride = 1;
    for (int32_t i = copy->read.rank - 1; i > along; --i) stride = dim_mul(dims, stride, copy->read.dim[i]);
    return stride;
}

/* The least power of two that covers the extent, within the bounds. */
static int32_t cover(Dim extent, int32_t most) {
    int32_t size = LEAST_EXTENT;
    while (size < most && (!dim_is_exact(extent) || size < extent)) size *= 2;
    return size;
}

/* Neighbours that can be accessed together, where all places that they begin at are multiples of these. */
static int32_t lanes_for(const Value *value, const Dim *multiples, int32_t count) {
    int32_t lanes = VECTOR_BYTES * 8 / dtype_bits(value->dtype);
    if (lanes > LEAST_EXTENT) lanes = LEAST_EXTENT;
    for (int32_t i = 0; i < count; ++i)
        while (lanes > 1 && (!dim_is_exact(multiples[i]) || multiples[i] % lanes != 0)) lanes /= 2;
    return access_value_is_aligned(value) ? lanes : 1;
}

/* Where one extent is short: so many rows on one side, places of so many neighbours on the other. */
typedef struct Few {
    int32_t rows, lanes; /* rows 0: neither, or not in packs */
    bool gathers;        /* the rows are the source's */
    Dim extent, stride;  /* of a row; from one row to the next */
} Few;

static Few few_of(const Problem *problem, const Copy *copy, int32_t along, const Access *source,
                  const Access *target) {
    int32_t last = copy->read.rank - 1;
    Few few = {.gathers = is_short(copy->read.dim[last])};
    Dim read = copy->read.stride[last], write = target_stride(problem->graph->dims, copy, along),
        rows = copy->read.dim[few.gathers ? last : along];
    few.extent = copy->read.dim[few.gathers ? along : last];
    few.stride = few.gathers ? read : write;
    if (!is_short(rows) || rows < 2 || is_short(few.extent) || (few.gathers ? write : read) != rows)
        return (Few){0};
    Dim multiples[2 * ACCESS_MAX_RANK + 3] = {few.extent, few.stride, copy->read_offset};
    for (int32_t i = 0; i < source->rank; ++i) {
        multiples[3 + 2 * i] = source->stride[i];
        multiples[4 + 2 * i] = target->stride[i];
    }
    int32_t from = lanes_for(problem_value(problem, copy->from), multiples, 3 + 2 * source->rank),
            to = lanes_for(problem_value(problem, copy->to), multiples, 3 + 2 * source->rank);
    few.lanes = from < to ? from : to;
    few.rows = few.lanes > 1 ? (int32_t)rows : 0;
    return few;
}

static const char *refuses(const Problem *problem, const Device *device) {
    Access source, target;
    Copy copy;
    (void)device;
    if (copy_count(problem) != 1) return "not a copy of one tensor";
    const char *why = copy_describe(problem, 0, &copy);
    if (why != NULL) return why;
    if (copy.to == NONE || !access_is_linear(&copy.write) || copy.write_offset != 0)
        return "the target is not written in order";
    int32_t along = source_dimension(&copy);
    if (along < 0) return "source and target run along the same dimension";
    if (!is_short(copy.read.dim[along]) && !is_short(copy.read.dim[copy.read.rank - 1])) return NULL;
    split_planes(problem->graph->dims, &copy, along, &source, &target);
    return few_of(problem, &copy, along, &source, &target).rows > 0 ? NULL
                                                                    : "an extent is too short for tiles";
}

static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem, (void)device;
    out[0] = (Config){.count = 0};
    return 1;
}

static Tile tile_of(const Problem *problem, const Copy *copy, int32_t along, const Access *source,
                    const Access *target) {
    int32_t last = copy->read.rank - 1, bits = dtype_bits(problem_value(problem, copy->from)->dtype);
    int32_t most = TILE_BYTES * 8 / bits < MOST_TILE ? TILE_BYTES * 8 / bits : MOST_TILE;
    Dim from[ACCESS_MAX_RANK + 3] = {copy->read.dim[along], copy->read.stride[last], copy->read_offset},
                               to[ACCESS_MAX_RANK + 2] = {copy->read.dim[last],
                                                          target_stride(problem->graph->dims, copy, along)};
    for (int32_t i = 0; i < source->rank; ++i) {
        from[3 + i] = source->stride[i];
        to[2 + i] = target->stride[i];
    }
    Tile tile = {.columns = cover(copy->read.dim[along], MOST_EXTENT),
                 .rows = cover(copy->read.dim[last], MOST_EXTENT),
                 .from = lanes_for(problem_value(problem, copy->from), from, 3 + source->rank),
                 .to = lanes_for(problem_value(problem, copy->to), to, 2 + source->rank)};
    if (tile.columns <= tile.rows)
        tile.rows = cover(copy->read.dim[last], most / tile.columns);
    else
        tile.columns = cover(copy->read.dim[along], most / tile.rows);
    return tile;
}

/* -- text -- */

static const char *declare_planes(KernelWriter *w, const Copy *copy, const Access *source,
                                  const Access *target) {
    ByteWriter text = byte_writer(kernel_emission(w)->arena);
    kernel_struct_begin(w);
    write_format(&text, "    SMELT_DEVICE Index source(Index i) const { return %s + %s; }\n",
                 kernel_number(w, copy->read_offset), access_index(w, source, "i"));
    write_format(&text, "    SMELT_DEVICE Index target(Index i) const { return %s; }\n",
                 access_index(w, target, "i"));
    return kernel_struct_end(w, "Planes", &text);
}

/* Returns the blocks of a plane. */
static Dim write_tiles(KernelWriter *w, const Copy *copy, const Tile *tile, int32_t along,
                       const char *planes) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    int32_t last = copy->read.rank - 1;
    kernel_line(w, "transpose_tiles<%d, %d, %d, %d>(raw(%s), raw(%s), %s, %s, %s, %s, %s);", tile->columns,
                tile->rows, tile->from, tile->to, kernel_pointer(w, copy->from), kernel_result(w, copy->to),
                kernel_number(w, copy->read.dim[along]), kernel_number(w, copy->read.dim[last]),
                kernel_number(w, copy->read.stride[last]), kernel_number(w, target_stride(dims, copy, along)),
                planes);
    return dim_mul(dims, dim_ceil_div(dims, copy->read.dim[along], tile->columns),
                   dim_ceil_div(dims, copy->read.dim[last], tile->rows));
}

static Dim write_few(KernelWriter *w, const Copy *copy, const Few *few, const char *planes) {
    kernel_waits(w);
    kernel_line(w, "transpose_few<%d, %d, %s>(raw(%s), raw(%s), %s, %s, %s);", few->rows, few->lanes,
                few->gathers ? "true" : "false", kernel_pointer(w, copy->from), kernel_result(w, copy->to),
                kernel_number(w, few->extent), kernel_number(w, few->stride), planes);
    return dim_ceil_div(kernel_emission(w)->graph->dims, few->extent, THREADS * few->lanes);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    DimTable *dims = emission->graph->dims;
    const Problem *problem = emission->problem;
    Access source, target;
    Copy copy;
    (void)config, (void)device;
    const char *why = copy_describe(problem, 0, &copy);
    if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "a copy that was accepted: %s", why);
    int32_t along = source_dimension(&copy);
    KernelWriter *w = kernel_begin(emission, "transpose");
    TRY_ALLOC(emission->diag, w);
    kernel_include(w, "transpose.cuh");
    split_planes(dims, &copy, along, &source, &target);
    const char *planes = declare_planes(w, &copy, &source, &target);
    Few few = few_of(problem, &copy, along, &source, &target);
    Tile tile = tile_of(problem, &copy, along, &source, &target);
    Dim blocks =
        few.rows > 0 ? write_few(w, &copy, &few, planes) : write_tiles(w, &copy, &tile, along, planes);
    for (int32_t i = 0; i < source.rank; ++i) blocks = dim_mul(dims, blocks, source.dim[i]);
    return kernel_finish(w, blocks, 1, 1, THREADS, 0);
}

const Tactic tactic_transpose = {
    .name = "transpose", .version = 4, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
