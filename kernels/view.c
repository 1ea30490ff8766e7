#include "kernels/view.h"

#include <string.h>

View view_of(const Shape *shape, Layout numbering) {
    View view = {.digit_count = shape->rank, .shape = *shape};
    int32_t order[SMELT_MAX_RANK];
    layout_order(numbering, shape->rank, order);
    for (int32_t k = 0; k < shape->rank; ++k) {
        view.extent[k] = shape->dim[order[k]];
        view.weight[order[k]][k] = 1;
    }
    return view;
}

static bool dims_equal(const Dim *a, const Dim *b, int32_t count) {
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

bool view_equal(const View *a, const View *b) {
    if (a->digit_count != b->digit_count || a->index_count != b->index_count ||
        !shape_equal(&a->shape, &b->shape) || !dims_equal(a->extent, b->extent, a->digit_count) ||
        !dims_equal(a->offset, b->offset, a->shape.rank) ||
        memcmp(a->index, b->index, (size_t)a->index_count * sizeof a->index[0]) != 0)
        return false;
    for (int32_t d = 0; d < a->shape.rank; ++d)
        if (!dims_equal(a->weight[d], b->weight[d], a->digit_count) ||
            !dims_equal(a->index_weight[d], b->index_weight[d], a->index_count))
            return false;
    return true;
}

static void clear_dimensions(View *view) {
    memset(view->offset, 0, sizeof view->offset);
    memset(view->weight, 0, sizeof view->weight);
    memset(view->index_weight, 0, sizeof view->index_weight);
}

/* Dimension `to` of out is `factor` times dimension `from` of view. */
static void copy_dimension(DimTable *dims, const View *view, int32_t from, Dim factor, View *out,
                           int32_t to) {
    out->offset[to] = dim_mul(dims, view->offset[from], factor);
    for (int32_t k = 0; k < view->digit_count; ++k)
        out->weight[to][k] = dim_mul(dims, view->weight[from][k], factor);
    for (int32_t n = 0; n < view->index_count; ++n)
        out->index_weight[to][n] = dim_mul(dims, view->index_weight[from][n], factor);
}

View view_broadcast(DimTable *dims, const View *view, const Shape *operand) {
    View out = *view;
    int32_t missing = view->shape.rank - operand->rank;
    clear_dimensions(&out);
    out.shape = *operand;
    for (int32_t d = 0; d < operand->rank; ++d)
        copy_dimension(dims, view, d + missing,
                       access_walks(dims, operand->dim[d], view->shape.dim[d + missing]), &out, d);
    return out;
}

View view_select(const View *view, const Shape *shape, const int32_t *order) {
    View out = *view;
    clear_dimensions(&out);
    out.shape = *shape;
    for (int32_t d = 0; d < shape->rank; ++d) {
        out.offset[d] = view->offset[order[d]];
        memcpy(out.weight[d], view->weight[order[d]], sizeof out.weight[d]);
        memcpy(out.index_weight[d], view->index_weight[order[d]], sizeof out.index_weight[d]);
    }
    return out;
}

/* -- reshape -- */

/* Cuts digit k into a slower one of `high` values and a faster one of `low` values. */
static bool cut_digit(DimTable *dims, View *view, int32_t k, Dim high, Dim low) {
    int32_t behind = view->digit_count - k - 1;
    if (view->digit_count == ACCESS_MAX_RANK) return false;
    memmove(&view->extent[k + 2], &view->extent[k + 1], (size_t)behind * sizeof(Dim));
    view->extent[k + 1] = low;
    view->extent[k] = high;
    for (int32_t d = 0; d < SMELT_MAX_RANK; ++d) {
        memmove(&view->weight[d][k + 2], &view->weight[d][k + 1], (size_t)behind * sizeof(Dim));
        view->weight[d][k + 1] = view->weight[d][k];
        view->weight[d][k] = dim_mul(dims, view->weight[d][k], low);
    }
    view->digit_count++;
    return true;
}

/* Whether a digit of `whole` values is one of `low` and what dimensions in front of d are together, or less
 * of them: *high. */
static bool find_cut(DimTable *dims, Dim whole, Dim low, const Shape *shape, int32_t d, Dim *high) {
    if (dim_is_exact(whole) && dim_is_exact(low)) {
        *high = low > 0 ? whole / low : 0;
        return low > 0 && whole > low && whole % low == 0;
    }
    *high = 1;
    for (int32_t e = d - 1; e >= 0; --e) {
        *high = dim_mul(dims, *high, shape->dim[e]);
        if (*high != 1 && dim_mul(dims, *high, low) == whole) return true;
    }
    return false;
}

/* What digit k counts for in the row-major number of the element. */
static Dim number_weight(DimTable *dims, const View *view, int32_t k) {
    Dim strides[SMELT_MAX_RANK], sum = 0;
    layout_strides(dims, LAYOUT_PLAIN, 0, &view->shape, strides);
    for (int32_t d = 0; d < view->shape.rank; ++d)
        sum = dim_add(dims, sum, dim_mul(dims, view->weight[d][k], strides[d]));
    return sum;
}

/* The digit of more than one value that counts so much in the number, or -1. */
static int32_t find_digit(DimTable *dims, const View *view, Dim wanted) {
    for (int32_t k = 0; k < view->digit_count; ++k)
        if (view->extent[k] != 1 && number_weight(dims, view, k) == wanted) return k;
    return -1;
}

/* What of the dimension is still to be had from slower digits; false where that is no number of values. */
static bool left_of(DimTable *dims, Dim extent, Dim taken, Dim *left) {
    *left = taken == 1 ? extent : dim_floor_div(dims, extent, taken);
    return dim_mul(dims, *left, taken) == extent;
}

/* Gives dimension d of out, of `extent` values, the digits from the one on that counts *weight in the number.
 */
static bool take_digits(DimTable *dims, View *view, View *out, int32_t d, Dim extent, Dim *weight) {
    Dim taken = 1, left, high;
    while (taken != extent) {
        int32_t k = find_digit(dims, view, *weight);
        if (k < 0 || taken == 0 || !left_of(dims, extent, taken, &left)) return false;
        if (view->extent[k] != left && find_cut(dims, view->extent[k], left, &out->shape, d, &high)) {
            if (!cut_digit(dims, view, k, high, left)) return false;
            for (int32_t e = d; e < out->shape.rank; ++e) {
                int32_t behind = out->digit_count - k - 1;
                memmove(&out->weight[e][k + 2], &out->weight[e][k + 1], (size_t)behind * sizeof(Dim));
                out->weight[e][k + 1] = out->weight[e][k] = 0;
            }
            out->digit_count = view->digit_count;
            k++;
        }
        out->weight[d][k] = taken;
        taken = dim_mul(dims, taken, view->extent[k]);
        *weight = dim_mul(dims, *weight, view->extent[k]);
    }
    return true;
}

bool view_reshape(DimTable *dims, const View *view, const Shape *shape, View *out) {
    View cut = *view;
    Dim weight = 1;
    if (view->index_count > 0) return false;
    for (int32_t d = 0; d < view->shape.rank; ++d)
        if (view->offset[d] != 0) return false;
    *out = *view;
    clear_dimensions(out);
    out->shape = *shape;
    for (int32_t d = shape->rank - 1; d >= 0; --d)
        if (!take_digits(dims, &cut, out, d, shape->dim[d], &weight)) return false;
    memcpy(out->extent, cut.extent, sizeof out->extent);
    out->digit_count = cut.digit_count;
    return true;
}

/* -- memory -- */

Access view_access(DimTable *dims, const View *view, const Dim *strides, Dim *offset,
                   Dim index_stride[VIEW_INDICES]) {
    Dim steps[ACCESS_MAX_RANK] = {0};
    *offset = 0;
    memset(index_stride, 0, VIEW_INDICES * sizeof(Dim));
    for (int32_t d = 0; d < view->shape.rank; ++d) {
        *offset = dim_add(dims, *offset, dim_mul(dims, view->offset[d], strides[d]));
        for (int32_t k = 0; k < view->digit_count; ++k)
            steps[k] = dim_add(dims, steps[k], dim_mul(dims, view->weight[d][k], strides[d]));
        for (int32_t n = 0; n < view->index_count; ++n)
            index_stride[n] =
                dim_add(dims, index_stride[n], dim_mul(dims, view->index_weight[d][n], strides[d]));
    }
    return access_strided(dims, view->digit_count, view->extent, steps);
}
