#include "passes/join_constants.h"

#include <string.h>

#include "base/checked.h"
#include "base/clock.h"

static bool joins_equal(const Join *a, const Join *b) {
    size_t count = (size_t)a->count;
    return a->dtype == b->dtype && a->rank == b->rank && a->axis == b->axis && a->count == b->count &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           memcmp(a->parts, b->parts, count * sizeof *a->parts) == 0 &&
           memcmp(a->widths, b->widths, count * sizeof *a->widths) == 0;
}

static Status allocate_whole(PassCtx *ctx, const Join *join, char **out) {
    int64_t count = 1;
    size_t bytes = 0;
    bool fits = true;
    for (int32_t i = 0; i < join->rank; ++i) fits = fits && checked_mul_i64(count, join->dims[i], &count);
    if (!fits || !dtype_storage(join->dtype, count, &bytes))
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "constants joined have more than 2^63 bytes");
    *out = arena_alloc(ctx->graph->arena, bytes);
    TRY_ALLOC(ctx->diag, *out);
    return STATUS_OK;
}

/* The part's elements at position `outer` of the axes before the joined one: `bytes` of them. */
static void put_part(const Value *part, int64_t outer, size_t bytes, size_t element, char *to) {
    if (part == NULL) {
        memset(to, 0, bytes);
    } else if (value_count(part) == 1) {
        for (size_t at = 0; at < bytes; at += element) memcpy(to + at, part->data, element);
    } else {
        memcpy(to, (const char *)part->data + (size_t)outer * bytes, bytes);
    }
}

static void fill_whole(const Graph *graph, const Join *join, char *to) {
    size_t element = (size_t)dtype_bits(join->dtype) / 8;
    int64_t outer = 1, inner = 1;
    for (int32_t i = 0; i < join->axis; ++i) outer *= join->dims[i];
    for (int32_t i = join->axis + 1; i < join->rank; ++i) inner *= join->dims[i];
    for (int64_t o = 0; o < outer; ++o)
        for (int32_t i = 0; i < join->count; ++i) {
            size_t bytes = (size_t)(join->widths[i] * inner) * element;
            put_part(join->parts[i] == NONE ? NULL : &graph->values[join->parts[i]], o, bytes, element, to);
            to += bytes;
        }
}

Status join_constants(PassCtx *ctx, Joiner *joiner, const Join *join, const char *name, ValueId *out) {
    for (int32_t i = 0; i < joiner->count && i < JOIN_KEPT; ++i)
        if (joins_equal(&joiner->kept[i].join, join)) {
            *out = joiner->kept[i].whole;
            return STATUS_OK;
        }
    char *data;
    double start = clock_seconds();
    TRY(allocate_whole(ctx, join, &data));
    fill_whole(ctx->graph, join, data);
    pass_data_since(ctx, start);
    *out = graph_add_constant(ctx->graph, name, join->dtype, join->rank, join->dims, data);
    if (*out == NONE) return FAIL(ctx->diag, STATUS_NO_MEMORY, "out of memory");
    int32_t slot = joiner->count++ % JOIN_KEPT;
    joiner->kept[slot].join = *join;
    joiner->kept[slot].whole = *out;
    return STATUS_OK;
}
