/* Register tiles of one element type and instruction set. Included by gemm.c, once for each, with
 *   TILE_NAME(x)  the name of x in this instance     TILE_TARGET  function attribute that picks the
 * instructions TILE_T        element type                       TILE_LANES   elements of a vector register
 *   TILE_ROWS     most rows of a tile (4 or 8); rows x 3 accumulators must fit the register file
 *
 * A tile multiplies rows of A (`depth` elements each) with a panel of B (depth x vectors * lanes) and adds to
 * C, or, where start is not NULL, replaces C by that sum with start[row]. */

typedef TILE_T TILE_NAME(Vector)
    __attribute__((vector_size(TILE_LANES * sizeof(TILE_T)), aligned(sizeof(TILE_T)), may_alias));

TILE_TARGET static inline __attribute__((always_inline)) void
TILE_NAME(tile_body)(const int rows, const int vectors, int64_t depth, const void *const *rows_a,
                     const void *panel_b, void *block_c, int64_t ldc, const void *start) {
    typedef TILE_NAME(Vector) Vector;
    const TILE_T *a[TILE_ROWS], *b = panel_b, *from = start;
    TILE_T *c = block_c;
    Vector sum[TILE_ROWS][3];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) a[r] = rows_a[r];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; ++v)
            if (from != NULL)
                sum[r][v] = (Vector){0} + from[r];
            else
                sum[r][v] = *(const Vector *)(c + r * ldc + v * TILE_LANES);
    for (int64_t k = 0; k < depth; ++k) {
        Vector column[3];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; ++v) column[v] = *(const Vector *)(b + v * TILE_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 3
            for (int v = 0; v < vectors; ++v) sum[r][v] += column[v] * a[r][k];
        b += vectors * TILE_LANES;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < vectors; ++v) *(Vector *)(c + r * ldc + v * TILE_LANES) = sum[r][v];
}

#define TILE_FUNCTION(rows, vectors)                                                                         \
    TILE_TARGET static void TILE_NAME(tile_##rows##x##vectors)(                                              \
        int64_t depth, const void *const *a, const void *b, void *c, int64_t ldc, const void *start) {       \
        TILE_NAME(tile_body)(rows, vectors, depth, a, b, c, ldc, start);                                     \
    }
#define TILE_FUNCTIONS(rows) TILE_FUNCTION(rows, 1) TILE_FUNCTION(rows, 2) TILE_FUNCTION(rows, 3)
#define TILE_ENTRIES(rows)                                                                                   \
    { TILE_NAME(tile_##rows##x1), TILE_NAME(tile_##rows##x2), TILE_NAME(tile_##rows##x3) }

TILE_FUNCTIONS(1)
TILE_FUNCTIONS(2)
TILE_FUNCTIONS(4)
#if TILE_ROWS == 8
TILE_FUNCTIONS(8)
#endif

/* y[i] += x[i] * factor */
TILE_TARGET static void TILE_NAME(axpy)(int64_t count, const void *x, const void *factor, void *y) {
    const TILE_T *from = x, by = *(const TILE_T *)factor;
    TILE_T *to = y;
    for (int64_t i = 0; i < count; ++i) to[i] += from[i] * by;
}

/* *sum += x . y */
TILE_TARGET static void TILE_NAME(dot)(int64_t count, const void *x, const void *y, void *sum) {
    typedef TILE_NAME(Vector) Vector;
    const TILE_T *left = x, *right = y;
    Vector part[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * TILE_LANES <= count; i += 4 * TILE_LANES)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v)
            part[v] +=
                *(const Vector *)(left + i + v * TILE_LANES) * *(const Vector *)(right + i + v * TILE_LANES);
    Vector all = (part[0] + part[1]) + (part[2] + part[3]);
    TILE_T total = 0;
    for (int lane = 0; lane < TILE_LANES; ++lane) total += all[lane];
    for (; i < count; ++i) total += left[i] * right[i];
    *(TILE_T *)sum += total;
}

static const GemmTiles TILE_NAME(tiles) = {
    .rows = TILE_ROWS,
    .lanes = TILE_LANES,
    .element = sizeof(TILE_T),
    .tile = {TILE_ENTRIES(1), TILE_ENTRIES(2), TILE_ENTRIES(4)
#if TILE_ROWS == 8
                                                   ,
             TILE_ENTRIES(8)
#endif
    },
    .axpy = TILE_NAME(axpy),
    .dot = TILE_NAME(dot),
};

#undef TILE_FUNCTION
#undef TILE_FUNCTIONS
#undef TILE_ENTRIES
#undef TILE_NAME
#undef TILE_TARGET
#undef TILE_T
#undef TILE_LANES
#undef TILE_ROWS
