/* Views: coordinates as sums over the digits of a number, against coordinates that are counted. */
#include "kernels/view.h"

#include "test.h"

typedef struct Case {
    Arena arena;
    DimTable *dims;
} Case;

static Shape shape3(Dim a, Dim b, Dim c) {
    return (Shape){.rank = 3, .dim = {a, b, c}};
}

/* Place of element `number` by the access. */
static int64_t place_of(const Access *access, int64_t number) {
    int64_t place = 0;
    for (int32_t i = access->rank - 1; i >= 0; --i) {
        place += number % access->dim[i] * access->stride[i];
        number /= access->dim[i];
    }
    return place;
}

static Access access_of(Case *c, const View *view) {
    Dim strides[SMELT_MAX_RANK], offset, index_stride[VIEW_INDICES];
    layout_strides(c->dims, LAYOUT_PLAIN, 0, &view->shape, strides);
    Access access = view_access(c->dims, view, strides, &offset, index_stride);
    CHECK_INT(offset, 0);
    return access;
}

/* A transpose in the middle: number (a, b, c) goes to (b, a, c). */
static void check_transpose(Case *c) {
    const Shape from = shape3(3, 4, 5), to = shape3(4, 3, 5);
    const int32_t order[3] = {1, 0, 2};
    const View view = view_of(&from, LAYOUT_PLAIN), turned = view_select(&view, &to, order);
    const Access access = access_of(c, &turned);
    for (int64_t i = 0; i < 60; ++i) CHECK_INT(place_of(&access, i), (i / 5 % 4 * 3 + i / 20) * 5 + i % 5);
    const Shape merged = {.rank = 2, .dim = {12, 5}}, back = shape3(2, 6, 5);
    View flat, cut;
    CHECK(view_reshape(c->dims, &turned, &merged, &flat));
    const Access same = access_of(c, &flat);
    for (int64_t i = 0; i < 60; ++i) CHECK_INT(place_of(&same, i), place_of(&access, i));
    CHECK(view_reshape(c->dims, &turned, &back, &cut)); /* half a digit, and half with another one */
    const Access halves = access_of(c, &cut);
    for (int64_t i = 0; i < 60; ++i) CHECK_INT(place_of(&halves, i), place_of(&access, i));
}

/* Channels last, planes merged and turned: the number itself. */
static void check_layout(Case *c) {
    const Shape image = {.rank = 4, .dim = {2, 8, 3, 4}}, planes = shape3(2, 8, 12),
                turned = shape3(2, 12, 8);
    const int32_t order[3] = {0, 2, 1};
    const View view = view_of(&image, LAYOUT_CHANNELS_LAST);
    View merged;
    CHECK(view_reshape(c->dims, &view, &planes, &merged));
    const View last = view_select(&merged, &turned, order);
    const Access access = access_of(c, &last);
    CHECK(access_is_linear(&access));
}

static void check_cuts(Case *c) {
    const Shape whole = {.rank = 2, .dim = {12, 35}}, cut = {.rank = 4, .dim = {3, 4, 5, 7}},
                odd = {.rank = 2, .dim = {10, 42}}, uneven = {.rank = 2, .dim = {35, 12}};
    const View view = view_of(&whole, LAYOUT_PLAIN);
    View out;
    CHECK(view_reshape(c->dims, &view, &cut, &out));
    const Access access = access_of(c, &out);
    CHECK(access_is_linear(&access));
    CHECK(!view_reshape(c->dims, &view, &odd, &out) && !view_reshape(c->dims, &view, &uneven, &out));
    const Shape none = {.rank = 2, .dim = {0, 35}}, still = {.rank = 2, .dim = {0, 7}};
    const View empty = view_of(&none, LAYOUT_PLAIN);
    CHECK(!view_reshape(c->dims, &empty, &still, &out) || out.digit_count <= ACCESS_MAX_RANK);
}

/* n rows of a batch, taken apart and put together again. */
static void check_symbols(Case *c) {
    Dim n = dim_symbol(c->dims, "n", SYMBOL_INPUT), rows = dim_mul(c->dims, n, 5);
    const Shape flat = {.rank = 2, .dim = {rows, 42}}, apart = {.rank = 4, .dim = {n, 5, 6, 7}},
                turned = {.rank = 4, .dim = {n, 6, 5, 7}}, together = shape3(n, 30, 7);
    const int32_t order[4] = {0, 2, 1, 3};
    const View view = view_of(&flat, LAYOUT_PLAIN);
    View split, merged;
    CHECK(view_reshape(c->dims, &view, &apart, &split));
    const View moved = view_select(&split, &turned, order);
    CHECK(view_reshape(c->dims, &moved, &together, &merged));
    Access access = access_of(c, &merged);
    CHECK_INT(access.rank, 4);
    CHECK(!access_is_linear(&access));
    const Shape row = {.rank = 1, .dim = {7}};
    const View repeated = view_broadcast(c->dims, &merged, &row);
    access = access_of(c, &repeated);
    CHECK_INT(access.rank, 2); /* the last digit walks, the others stand still */
    CHECK_INT(access.stride[0], 0);
    CHECK_INT(access.stride[1], 1);
}

int main(void) {
    Case c = {0};
    c.dims = dim_table_create(&c.arena);
    if (c.dims == NULL) return 1;
    check_transpose(&c);
    check_layout(&c);
    check_cuts(&c);
    check_symbols(&c);
    arena_reset(&c.arena);
    return test_result();
}
