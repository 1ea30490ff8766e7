#include "ops/gemm.h"

#include <string.h>

#include "base/checked.h"
#include "base/simd.h"

typedef void (*GemmTile)(int64_t depth, const void *const *a, const void *b, void *c, int64_t ldc,
                         const void *start);

/* The tiles of one element type and instruction set. */
typedef struct GemmTiles {
    int rows, lanes;     /* of the largest tile, of a vector */
    size_t element;      /* bytes */
    GemmTile tile[4][3]; /* [log2 of rows][vectors - 1] */
    void (*axpy)(int64_t count, const void *x, const void *factor, void *y);
    void (*dot)(int64_t count, const void *x, const void *y, void *sum);
} GemmTiles;

#if defined(__x86_64__)
#define BASE_ROWS 4
#else
#define BASE_ROWS 8
#endif

#define TILE_NAME(x) x##_f32
#define TILE_TARGET
#define TILE_T     float
#define TILE_LANES 4
#define TILE_ROWS  BASE_ROWS
#include "ops/gemm_tile.h"
#define TILE_NAME(x) x##_f64
#define TILE_TARGET
#define TILE_T     double
#define TILE_LANES 2
#define TILE_ROWS  BASE_ROWS
#include "ops/gemm_tile.h"
#define TILE_NAME(x) x##_i64
#define TILE_TARGET
#define TILE_T     uint64_t
#define TILE_LANES 2
#define TILE_ROWS  4
#include "ops/gemm_tile.h"
#if defined(__x86_64__)
#define TILE_NAME(x) x##_f32_v3
#define TILE_TARGET  __attribute__((target("arch=x86-64-v3")))
#define TILE_T       float
#define TILE_LANES   8
#define TILE_ROWS    4
#include "ops/gemm_tile.h"
#define TILE_NAME(x) x##_f64_v3
#define TILE_TARGET  __attribute__((target("arch=x86-64-v3")))
#define TILE_T       double
#define TILE_LANES   4
#define TILE_ROWS    4
#include "ops/gemm_tile.h"
#define TILE_NAME(x) x##_f32_v4
#define TILE_TARGET  __attribute__((target("arch=x86-64-v4")))
#define TILE_T       float
#define TILE_LANES   16
#define TILE_ROWS    8
#include "ops/gemm_tile.h"
#define TILE_NAME(x) x##_f64_v4
#define TILE_TARGET  __attribute__((target("arch=x86-64-v4")))
#define TILE_T       double
#define TILE_LANES   8
#define TILE_ROWS    8
#include "ops/gemm_tile.h"
#endif

static const GemmTiles *tiles_of(GemmType type) {
    if (type == GEMM_I64) return &tiles_i64;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512cd"))
        return type == GEMM_F32 ? &tiles_f32_v4 : &tiles_f64_v4;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return type == GEMM_F32 ? &tiles_f32_v3 : &tiles_f64_v3;
#endif
    return type == GEMM_F32 ? &tiles_f32 : &tiles_f64;
}

GemmType gemm_type_of(DType dtype) {
    if (dtype == DTYPE_F32) return GEMM_F32;
    return dtype_is_float(dtype) ? GEMM_F64 : GEMM_I64;
}

const void *gemm_read(GemmType type, const Tensor *tensor, int64_t first, int64_t step, int64_t count,
                      void *buffer) {
    DType dtype = tensor->dtype;
    if (type == GEMM_F32) {
        const float *from = (const float *)tensor->data + first;
        if (step == 1) return from;
        for (int64_t i = 0; i < count; ++i) ((float *)buffer)[i] = from[i * step];
    } else if (type == GEMM_F64) {
        if (step == 1 && dtype == DTYPE_F64) return (const double *)tensor->data + first;
        if (step == 1) dtype_read_f64(dtype, tensor->data, first, count, buffer);
        for (int64_t i = 0; i < count && step != 1; ++i)
            ((double *)buffer)[i] = dtype_load_f64(dtype, tensor->data, first + i * step);
    } else {
        if (step == 1) dtype_read_i64(dtype, tensor->data, first, count, buffer);
        for (int64_t i = 0; i < count && step != 1; ++i)
            ((int64_t *)buffer)[i] = dtype_load_i64(dtype, tensor->data, first + i * step);
    }
    return buffer;
}

void gemm_read_bias(GemmType type, const Tensor *bias, int64_t first, int64_t count, void *values) {
    if (type == GEMM_F32)
        dtype_read_f32(bias->dtype, bias->data, first, count, values);
    else
        dtype_read_f64(bias->dtype, bias->data, first, count, values);
}

/* Block sizes in elements. A block of B is at most DEPTH x COLS x 4 bytes = 384 KiB, most of a second-level
 * cache; a shallow one may be wider. */
enum {
    BLOCK_DEPTH = 256,
    BLOCK_COLS = 384,
    WIDE_COLS = 4 * BLOCK_COLS,
    STORED_ROWS = 128,
    TILE_MAX = 8 * 48
};

/* How the work is cut: tasks = batch x column blocks x row blocks. */
typedef struct GemmPlan {
    const Gemm *gemm;
    const GemmTiles *tiles;
    int64_t depth, cols, rows; /* of a block */
    int64_t col_blocks, row_blocks;
    char *scratch;
    size_t worker_bytes, b_bytes, line_bytes; /* of scratch: per worker, and its parts */
} GemmPlan;

typedef struct GemmBlock {
    int64_t batch, row, rows, col, cols;
    char *c; /* its first element */
    int64_t ldc;
    GemmPanels panels;
    char *lines; /* GEMM_LINES rows or columns */
} GemmBlock;

static int64_t round_up(int64_t value, int64_t multiple) {
    return ceil_div_i64(value, multiple) * multiple;
}

static size_t round_bytes(int64_t bytes) {
    return (size_t)round_up(bytes, 64);
}

/* More row blocks until every thread has work, and about the same. */
static int64_t row_blocks_for(const GemmPlan *plan, int64_t tasks, int threads) {
    const Gemm *gemm = plan->gemm;
    int64_t most = max_i64(1, gemm->m / (2 * plan->tiles->rows)), blocks = 1;
    if (gemm->store != NULL) blocks = ceil_div_i64(gemm->m, STORED_ROWS);
    while (blocks < most && tasks * blocks < 4 * (int64_t)threads && tasks * blocks % threads != 0) ++blocks;
    return max_i64(blocks, 1);
}

/* Sizes of the parts of scratch. */
static void set_bytes(GemmPlan *plan) {
    int64_t element = (int64_t)plan->tiles->element;
    plan->b_bytes = round_bytes(plan->depth * plan->cols * element);
    plan->line_bytes = round_bytes(GEMM_LINES * max_i64(plan->depth, plan->cols) * element);
    size_t c_bytes = plan->gemm->store != NULL ? round_bytes(plan->rows * plan->cols * element) : 0;
    plan->worker_bytes = plan->b_bytes + plan->line_bytes + c_bytes;
}

/* Columns of the widest block. */
static int64_t most_cols_of(const GemmPlan *plan) {
    int64_t narrow = BLOCK_COLS * 4 / (int64_t)plan->tiles->element, panel = 3 * plan->tiles->lanes;
    if (plan->gemm->store != NULL) return narrow;
    return min_i64(narrow * BLOCK_DEPTH / plan->depth, WIDE_COLS) / panel * panel;
}

static GemmPlan plan_make(const Gemm *gemm, int threads) {
    GemmPlan plan = {.gemm = gemm, .tiles = tiles_of(gemm->type)};
    int64_t panel = 3 * plan.tiles->lanes;
    plan.depth = clamp_i64(gemm->k, 1, BLOCK_DEPTH);
    int64_t most_cols = most_cols_of(&plan);
    plan.col_blocks = max_i64(1, ceil_div_i64(gemm->n, most_cols));
    plan.cols = round_up(max_i64(1, ceil_div_i64(gemm->n, plan.col_blocks)), panel);
    plan.col_blocks = max_i64(1, ceil_div_i64(gemm->n, plan.cols));
    int64_t tasks = gemm->batch > 4 * threads ? 4 * threads : gemm->batch;
    tasks *= min_i64(plan.col_blocks, 4 * threads);
    int64_t blocks = row_blocks_for(&plan, max_i64(tasks, 1), threads);
    plan.rows = round_up(max_i64(1, ceil_div_i64(gemm->m, blocks)), plan.tiles->rows);
    plan.row_blocks = max_i64(1, ceil_div_i64(gemm->m, plan.rows));
    set_bytes(&plan);
    return plan;
}

size_t gemm_scratch(const Gemm *gemm, int threads) {
    GemmPlan plan = plan_make(gemm, threads);
    size_t bytes;
    return checked_mul_size(plan.worker_bytes, (size_t)threads, &bytes) ? bytes : SIZE_MAX;
}

size_t gemm_scratch_most(const Gemm *gemm, int threads) {
    GemmPlan plan = plan_make(gemm, threads);
    size_t bytes;
    plan.cols = round_up(clamp_i64(gemm->n, 1, most_cols_of(&plan)), 3 * plan.tiles->lanes);
    plan.rows = gemm->store != NULL ? STORED_ROWS + plan.tiles->rows : 0;
    set_bytes(&plan);
    return checked_mul_size(plan.worker_bytes, (size_t)threads, &bytes) ? bytes : SIZE_MAX;
}

typedef uint32_t Quad __attribute__((vector_size(16), aligned(4), may_alias));

/* Four elements of each of four rows, turned. */
static inline void interleave_quad(const uint32_t *const from[4], int64_t i, uint32_t *to, int64_t step) {
    Quad a = *(const Quad *)(from[0] + i), b = *(const Quad *)(from[1] + i);
    Quad c = *(const Quad *)(from[2] + i), d = *(const Quad *)(from[3] + i);
    Quad ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    Quad cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(Quad *)to = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
    *(Quad *)(to + step) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
    *(Quad *)(to + 2 * step) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
    *(Quad *)(to + 3 * step) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}

/* to[i * step + r] = from[r][i] for rows of `depth` elements. */
static void interleave_32(const void *const *from, int64_t rows, int64_t depth, int64_t step, uint32_t *to) {
    int64_t done = depth / 4 * 4, fours = rows / 4 * 4;
    for (int64_t r = 0; r < fours; r += 4) {
        const uint32_t *const four[4] = {from[r], from[r + 1], from[r + 2], from[r + 3]};
        for (int64_t i = 0; i < done; i += 4) interleave_quad(four, i, to + i * step + r, step);
    }
    for (int64_t i = 0; i < depth; ++i)
        for (int64_t r = i < done ? fours : 0; r < rows; ++r)
            to[i * step + r] = ((const uint32_t *)from[r])[i];
}

static void interleave_64(const void *const *from, int64_t rows, int64_t depth, int64_t step, uint64_t *to) {
    for (int64_t i = 0; i < depth; ++i)
        for (int64_t r = 0; r < rows; ++r) to[i * step + r] = ((const uint64_t *)from[r])[i];
}

static void interleave(size_t element, const void *const *from, int64_t rows, int64_t depth, int64_t step,
                       void *to) {
    if (element == 4)
        interleave_32(from, rows, depth, step, to);
    else
        interleave_64(from, rows, depth, step, to);
}

/* Lays out the panels of a block: up to a quarter of a vector of odd columns costs less as dot products. */
static GemmPanels panels_of(const GemmPlan *plan, char *data, int64_t cols, int64_t depth) {
    GemmPanels panels = {.data = data,
                         .depth = depth,
                         .cols = cols,
                         .lanes = plan->tiles->lanes,
                         .element = plan->tiles->element};
    panels.whole = cols - cols % (3 * panels.lanes);
    panels.odd = cols % panels.lanes;
    if (panels.odd > panels.lanes / 4) panels.odd = 0;
    panels.partial = cols - panels.whole - panels.odd;
    return panels;
}

/* Columns of B into panels. */
static void pack_columns(const GemmPlan *plan, const GemmBlock *block, int64_t k) {
    const Gemm *gemm = plan->gemm;
    const GemmPanels *panels = &block->panels;
    size_t element = panels->element;
    int64_t width = 3 * panels->lanes, depth = panels->depth, tiled = panels->whole + panels->partial;
    char *panel = panels->data;
    for (int64_t j = 0; j < tiled; j += width) {
        int64_t left = min_i64(width, tiled - j), step = round_up(left, panels->lanes);
        if (step != left) memset(panel, 0, (size_t)(step * depth) * element);
        for (int64_t c = 0; c < left; c += GEMM_LINES) {
            const void *from[GEMM_LINES];
            int64_t some = min_i64(GEMM_LINES, left - c);
            for (int64_t i = 0; i < some; ++i)
                from[i] = gemm->col_b(gemm->context, block->batch, block->col + j + c + i, k, depth,
                                      block->lines + (size_t)(i * plan->depth) * element);
            interleave(element, from, some, depth, step, panel + (size_t)c * element);
        }
        panel += (size_t)(step * depth) * element;
    }
    for (int64_t j = tiled; j < block->cols; ++j) {
        const void *from = gemm->col_b(gemm->context, block->batch, block->col + j, k, depth, block->lines);
        memcpy(panel, from, (size_t)depth * element);
        panel += (size_t)depth * element;
    }
}

/* Rows of B into panels. */
SIMD_CLONES static void pack_rows(const Gemm *gemm, const GemmBlock *block, int64_t k) {
    for (int64_t i = 0; i < block->panels.depth; ++i)
        gemm_put_row(&block->panels, i,
                     gemm->row_b(gemm->context, block->batch, k + i, block->col, block->cols, block->lines));
}

static void pack_b(const GemmPlan *plan, const GemmBlock *block, int64_t k) {
    const Gemm *gemm = plan->gemm;
    const GemmPanels *panels = &block->panels;
    if (panels->depth == 0) return;
    if (gemm->pack_b != NULL) {
        gemm->pack_b(gemm->context, block->batch, k, block->col, block->lines, panels);
    } else if (gemm->col_b != NULL) {
        pack_columns(plan, block, k);
    } else {
        pack_rows(gemm, block, k);
    }
}

/* Some rows of A against the panels: as many as a tile has. */
typedef struct RowTile {
    int log_rows;
    const void *a[8];
    char *c; /* its first element */
    int64_t ldc;
    const void *start; /* NULL: add to C */
} RowTile;

/* A tile that ends before its vectors do goes through a buffer. */
static void run_partial(const GemmPanels *panels, const RowTile *tile, GemmTile run, int64_t cols,
                        const void *b, char *c) {
    uint64_t buffer[TILE_MAX];
    int64_t width = round_up(cols, panels->lanes), rows = (int64_t)1 << tile->log_rows;
    size_t element = panels->element, step = (size_t)width * element, bytes = (size_t)cols * element;
    for (int64_t r = 0; r < rows && tile->start == NULL; ++r)
        memcpy((char *)buffer + (size_t)r * step, c + (size_t)(r * tile->ldc) * element, bytes);
    run(panels->depth, tile->a, b, buffer, width, tile->start);
    for (int64_t r = 0; r < rows; ++r)
        memcpy(c + (size_t)(r * tile->ldc) * element, (char *)buffer + (size_t)r * step, bytes);
}

/* The odd columns. */
static void run_odd(const GemmPlan *plan, const GemmPanels *panels, const RowTile *tile, const char *b,
                    char *c) {
    size_t element = panels->element;
    for (int64_t r = 0; r < (int64_t)1 << tile->log_rows; ++r)
        for (int64_t j = 0; j < panels->odd; ++j) {
            char *to = c + (size_t)(r * tile->ldc + j) * element;
            if (tile->start != NULL) memcpy(to, (const char *)tile->start + (size_t)r * element, element);
            plan->tiles->dot(panels->depth, tile->a[r], b + (size_t)(j * panels->depth) * element, to);
        }
}

static void run_row_tile(const GemmPlan *plan, const GemmPanels *panels, const RowTile *tile) {
    size_t element = panels->element;
    int64_t width = 3 * panels->lanes, tiled = panels->whole + panels->partial;
    const char *b = panels->data;
    for (int64_t j = 0; j < tiled; j += width) {
        int64_t left = min_i64(tiled - j, width), vectors = ceil_div_i64(left, panels->lanes);
        GemmTile run = plan->tiles->tile[tile->log_rows][vectors - 1];
        char *c = tile->c + (size_t)j * element;
        if (left == vectors * panels->lanes)
            run(panels->depth, tile->a, b, c, tile->ldc, tile->start);
        else
            run_partial(panels, tile, run, left, b, c);
        b += (size_t)(panels->depth * vectors * panels->lanes) * element;
    }
    run_odd(plan, panels, tile, b, tile->c + (size_t)tiled * element);
}

static void start_values(const Gemm *gemm, int64_t batch, int64_t row, int64_t rows, uint64_t *values) {
    if (gemm->start != NULL)
        gemm->start(gemm->context, batch, row, rows, values);
    else
        memset(values, 0, 8 * sizeof *values);
}

/* Adds depth [k, k + depth) to the block; the first one sets it. */
static void run_depth(const GemmPlan *plan, GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    bool first = k == 0 && !(gemm->accumulate && gemm->store == NULL);
    size_t element = plan->tiles->element;
    block->panels = panels_of(plan, block->panels.data, block->cols, depth);
    pack_b(plan, block, k);
    RowTile tile = {.log_rows = plan->tiles->rows == 8 ? 3 : 2, .ldc = block->ldc};
    for (int64_t row = 0; row < block->rows; row += (int64_t)1 << tile.log_rows) {
        uint64_t start[8];
        while (row + ((int64_t)1 << tile.log_rows) > block->rows) --tile.log_rows;
        int64_t rows = (int64_t)1 << tile.log_rows;
        for (int64_t r = 0; r < rows && depth > 0; ++r)
            tile.a[r] = gemm->row_a(gemm->context, block->batch, block->row + row + r, k, depth,
                                    block->lines + (size_t)(r * plan->depth) * element);
        if (first) start_values(gemm, block->batch, block->row + row, rows, start);
        tile.start = first ? start : NULL;
        tile.c = block->c + (size_t)(row * block->ldc) * element;
        run_row_tile(plan, &block->panels, &tile);
    }
}

/* Elements [k, k + depth) of column `col` of B. */
static const void *column_of(const GemmPlan *plan, const GemmBlock *block, int64_t col, int64_t k,
                             int64_t depth) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    char *column = block->panels.data;
    if (gemm->col_b != NULL) return gemm->col_b(gemm->context, block->batch, col, k, depth, column);
    for (int64_t i = 0; i < depth; ++i) {
        uint64_t one;
        memcpy(column + (size_t)i * element, gemm->row_b(gemm->context, block->batch, k + i, col, 1, &one),
               element);
    }
    return column;
}

/* n = 1: each element of C is a dot product, with nothing to reuse. */
static void run_column(const GemmPlan *plan, const GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    const void *column = column_of(plan, block, block->col, k, depth);
    for (int64_t r = 0; r < block->rows; ++r) {
        const void *row = gemm->row_a(gemm->context, block->batch, block->row + r, k, depth, block->lines);
        plan->tiles->dot(depth, row, column, block->c + (size_t)(r * block->ldc) * plan->tiles->element);
    }
}

/* m = 1: dot products with columns of B, or a sum of its rows. */
static void run_row(const GemmPlan *plan, const GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    const char *factors = gemm->row_a(gemm->context, block->batch, block->row, k, depth, block->lines);
    for (int64_t j = 0; gemm->col_b != NULL && j < block->cols; ++j)
        plan->tiles->dot(depth, column_of(plan, block, block->col + j, k, depth), factors,
                         block->c + (size_t)j * element);
    for (int64_t i = 0; gemm->col_b == NULL && i < depth; ++i) {
        const void *row =
            gemm->row_b(gemm->context, block->batch, k + i, block->col, block->cols, block->panels.data);
        plan->tiles->axpy(block->cols, row, factors + (size_t)i * element, block->c);
    }
}

/* Every row of the block to what it starts from. */
static void fill_start(const GemmPlan *plan, const GemmBlock *block) {
    size_t element = plan->tiles->element;
    for (int64_t r = 0; r < block->rows; ++r) {
        uint64_t start[8];
        start_values(plan->gemm, block->batch, block->row + r, 1, start);
        for (int64_t j = 0; j < block->cols; ++j)
            memcpy(block->c + (size_t)(r * block->ldc + j) * element, start, element);
    }
}

static void run_block(const GemmPlan *plan, GemmBlock *block) {
    const Gemm *gemm = plan->gemm;
    bool thin = gemm->m == 1 || gemm->n == 1;
    if (thin && !(gemm->accumulate && gemm->store == NULL)) fill_start(plan, block);
    int64_t k = 0;
    do {
        int64_t depth = min_i64(plan->depth, gemm->k - k);
        if (thin && depth == 0) break;
        if (gemm->n == 1)
            run_column(plan, block, k, depth);
        else if (gemm->m == 1)
            run_row(plan, block, k, depth);
        else
            run_depth(plan, block, k, depth);
        k += depth;
    } while (k < gemm->k);
    if (gemm->store != NULL)
        gemm->store(gemm->context, block->batch, block->row, block->rows, block->col, block->cols, block->c,
                    block->ldc);
}

static void run_tasks(void *context, int64_t first, int64_t last, int worker) {
    const GemmPlan *plan = context;
    const Gemm *gemm = plan->gemm;
    char *scratch = plan->scratch + (size_t)worker * plan->worker_bytes;
    for (int64_t task = first; task < last; ++task) {
        int64_t per_batch = plan->col_blocks * plan->row_blocks, inside = task % per_batch;
        GemmBlock block = {.batch = task / per_batch,
                           .row = inside % plan->row_blocks * plan->rows,
                           .col = inside / plan->row_blocks * plan->cols,
                           .panels = {.data = scratch},
                           .lines = scratch + plan->b_bytes};
        block.rows = min_i64(plan->rows, gemm->m - block.row);
        block.cols = min_i64(plan->cols, gemm->n - block.col);
        if (gemm->store == NULL) {
            block.ldc = gemm->n;
            block.c = (char *)gemm->c + (size_t)((block.batch * gemm->m + block.row) * gemm->n + block.col) *
                                            plan->tiles->element;
        } else {
            block.ldc = plan->cols;
            block.c = block.lines + plan->line_bytes;
        }
        run_block(plan, &block);
    }
}

Status gemm_run(const Gemm *gemm, const Host *host, void *scratch, size_t scratch_size, Diag *diag) {
    if (gemm->batch == 0 || gemm->m == 0 || gemm->n == 0) return STATUS_OK;
    ThreadPool *pool = host->pool;
    GemmPlan plan = plan_make(gemm, thread_pool_size(pool));
    if (scratch_size / plan.worker_bytes < (size_t)thread_pool_size(pool)) {
        plan = plan_make(gemm, 1);
        pool = NULL;
    }
    if (scratch_size < plan.worker_bytes)
        return FAIL(diag, STATUS_INTERNAL, "scratch of %zu bytes, a product needs %zu", scratch_size,
                    plan.worker_bytes);
    plan.scratch = scratch;
    parallel_for(pool, gemm->batch * plan.col_blocks * plan.row_blocks, 1, run_tasks, &plan);
    return STATUS_OK;
}
