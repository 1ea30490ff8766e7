#include "ops/kit.h"
#include "ops/order.h"
#include "ops/sorting.h"
#include "ops/strided.h"

Status parse_Unique(const ParseCtx *ctx, const void **attrs) {
    UniqueAttrs *out = ARENA_NEW(ctx->arena, UniqueAttrs);
    TRY_ALLOC(ctx->diag, out);
    int64_t sorted;
    out->has_axis = attr_find(ctx->list, "axis") != NULL;
    TRY(attr_int(ctx->list, "axis", 0, &out->axis, ctx->diag));
    TRY(attr_int_in(ctx->list, "sorted", 1, 0, 1, &sorted, ctx->diag));
    out->sorted = sorted != 0;
    *attrs = out;
    return STATUS_OK;
}

Status infer_Unique(InferCtx *ctx) {
    const UniqueAttrs *attrs = ctx->attrs;
    const TypeInfo *in = ctx->inputs[0];
    int32_t axis = 0;
    if (dtype_kind(in->dtype) == DTYPE_KIND_OTHER)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "the order of %s", dtype_name(in->dtype));
    if (attrs->has_axis) TRY(kit_axis(attrs->axis, in->shape.rank, &axis, ctx->diag));
    Dim count = attrs->has_axis ? in->shape.dim[axis] : shape_count(ctx->dims, &in->shape);
    Dim kept = kit_late_at_most(ctx, "unique", count);
    for (int32_t i = 0; i < ctx->output_count; ++i) {
        ctx->outputs[i].dtype = i == 0 ? in->dtype : DTYPE_I64;
        ctx->outputs[i].shape = (Shape){.rank = 1, .dim = {i == 2 ? count : kept}};
    }
    if (attrs->has_axis) {
        ctx->outputs[0].shape = in->shape;
        ctx->outputs[0].shape.dim[axis] = kept;
    }
    return STATUS_OK;
}

/* The input as `count` items, each of outer * inner elements. */
typedef struct Items {
    const Tensor *in;
    int64_t outer, count, inner;
} Items;

static bool read_items(const KernelCtx *ctx, Items *items, int32_t *axis) {
    const UniqueAttrs *attrs = ctx->attrs;
    const Tensor *in = ctx->inputs[0];
    *axis = 0;
    *items = (Items){in, 1, tensor_count(in), 1};
    if (!attrs->has_axis) return true;
    if (kit_axis(attrs->axis, in->rank, axis, ctx->diag) != STATUS_OK) return false;
    *items = (Items){in, tensor_span(in, 0, *axis), in->dim[*axis], tensor_span(in, *axis + 1, in->rank)};
    return true;
}

static int compare_items(const Items *items, int64_t a, int64_t b) {
    for (int64_t o = 0; o < items->outer; ++o) {
        for (int64_t i = 0; i < items->inner; ++i) {
            int64_t base = o * items->count * items->inner + i;
            uint64_t x = order_key(items->in->dtype, items->in->data, base + a * items->inner);
            uint64_t y = order_key(items->in->dtype, items->in->data, base + b * items->inner);
            if (x != y) return x < y ? -1 : 1;
        }
    }
    return 0;
}

static bool item_before(const void *context, int64_t a, int64_t b) {
    return compare_items(context, a, b) < 0;
}

/* Puts the items of `order`, 0 to count - 1, into sorted order. keys, spare and spare_keys: room for one
 * number per item each. */
static void sort_items(const Items *items, int64_t *order, int64_t *spare, uint64_t *keys,
                       uint64_t *spare_keys) {
    if (items->outer != 1 || items->inner != 1) {
        order_sort(order, spare, items->count, item_before, items);
        return;
    }
    for (int64_t i = 0; i < items->count; ++i) keys[i] = order_key(items->in->dtype, items->in->data, i);
    order_sort_keys(keys, order, spare_keys, spare, items->count);
}

/* Gives each item the number of its group and each group its first item; groups are numbered in sorted order.
 * Returns how many there are. */
static int64_t group_sorted(const Items *items, const int64_t *order, int64_t *group_of, int64_t *first_of) {
    int64_t groups = 0;
    for (int64_t i = 0; i < items->count; ++i) {
        if (i == 0 || compare_items(items, order[i - 1], order[i]) != 0) first_of[groups++] = order[i];
        group_of[order[i]] = groups - 1;
    }
    return groups;
}

/* Renumbers the groups by their first occurrence. `number` is spare room for one number per group. */
static void renumber_groups(int64_t count, int64_t groups, int64_t *group_of, int64_t *first_of,
                            int64_t *number) {
    int64_t next = 0;
    for (int64_t g = 0; g < groups; ++g) number[g] = -1;
    for (int64_t i = 0; i < count; ++i) {
        int64_t *g = &number[group_of[i]];
        if (*g < 0) {
            first_of[next] = i;
            *g = next++;
        }
        group_of[i] = *g;
    }
}

static Status write_groups(KernelCtx *ctx, const Items *items, int32_t axis, int64_t groups,
                           const int64_t *group_of, const int64_t *first_of) {
    const UniqueAttrs *attrs = ctx->attrs;
    Tensor *values = kernel_result(ctx, 0), *indices = kernel_result(ctx, 1),
           *inverse = kernel_result(ctx, 2), *counts = kernel_result(ctx, 3);
    int64_t dims[SMELT_MAX_RANK] = {groups};
    for (int32_t i = 0; attrs->has_axis && i < items->in->rank; ++i)
        dims[i] = i == axis ? groups : items->in->dim[i];
    if (values != NULL) TRY(kit_late_output(ctx, 0, attrs->has_axis ? items->in->rank : 1, dims));
    if (indices != NULL) TRY(kit_late_output(ctx, 1, 1, &groups));
    if (inverse != NULL) TRY(kit_late_output(ctx, 2, 1, &items->count));
    if (counts != NULL) TRY(kit_late_output(ctx, 3, 1, &groups));
    for (int64_t n = 0; values != NULL && n < items->outer * groups; ++n)
        elements_copy(values->dtype, values->data, n * items->inner, items->in->data,
                      (n / groups * items->count + first_of[n % groups]) * items->inner, items->inner);
    for (int64_t g = 0; g < groups; ++g) {
        if (indices != NULL) ((int64_t *)indices->data)[g] = first_of[g];
        if (counts != NULL) ((int64_t *)counts->data)[g] = 0;
    }
    for (int64_t i = 0; i < items->count; ++i) {
        if (inverse != NULL) ((int64_t *)inverse->data)[i] = group_of[i];
        if (counts != NULL) ((int64_t *)counts->data)[group_of[i]]++;
    }
    return STATUS_OK;
}

size_t scratch_Unique(const KernelCtx *ctx) {
    Items items;
    int32_t axis;
    return read_items(ctx, &items, &axis) ? 4 * (size_t)items.count * sizeof(int64_t) : 0;
}

Status kernel_Unique(KernelCtx *ctx) {
    const UniqueAttrs *attrs = ctx->attrs;
    Items items;
    int32_t axis;
    if (!read_items(ctx, &items, &axis)) return STATUS_BAD_MODEL;
    int64_t *order = ctx->host->scratch, *spare = order + items.count, *group_of = spare + items.count,
            *first_of = group_of + items.count;
    for (int64_t i = 0; i < items.count; ++i) order[i] = i;
    sort_items(&items, order, spare, (uint64_t *)group_of, (uint64_t *)first_of);
    int64_t groups = group_sorted(&items, order, group_of, first_of);
    if (!attrs->sorted) renumber_groups(items.count, groups, group_of, first_of, spare);
    return write_groups(ctx, &items, axis, groups, group_of, first_of);
}
