#include "ops/gemm.h"

#include <string.h>

#include "base/checked.h"

typedef void (*GemmTile)(int64_t depth, const void *a, const void *b, void *c, int64_t ldc,
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

/* Block sizes in elements. A block of B is DEPTH x COLS x 4 bytes = 384 KiB: most of a second-level cache. */
enum { BLOCK_DEPTH = 256, BLOCK_COLS = 384, STORED_ROWS = 128, TILE_MAX = 8 * 48 };

/* How the work is cut: tasks = batch x column blocks x row blocks. */
typedef struct GemmPlan {
    const Gemm *gemm;
    const GemmTiles *tiles;
    int64_t depth, cols, rows; /* of a block */
    int64_t col_blocks, row_blocks;
    char *scratch;
    size_t worker_bytes, b_bytes, a_bytes, line_bytes; /* of scratch: per worker, and its parts */
} GemmPlan;

typedef struct GemmBlock {
    int64_t batch, row, rows, col, cols;
    char *c; /* its first element */
    int64_t ldc;
    char *panels, *panel, *lines; /* parts of the worker's scratch */
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
    plan->a_bytes = round_bytes(plan->depth * plan->tiles->rows * element);
    plan->line_bytes = round_bytes(8 * max_i64(plan->depth, plan->cols) * element);
    size_t c_bytes = plan->gemm->store != NULL ? round_bytes(plan->rows * plan->cols * element) : 0;
    plan->worker_bytes = plan->b_bytes + plan->a_bytes + plan->line_bytes + c_bytes;
}

static GemmPlan plan_make(const Gemm *gemm, int threads) {
    GemmPlan plan = {.gemm = gemm, .tiles = tiles_of(gemm->type)};
    int64_t element = (int64_t)plan.tiles->element, panel = 3 * plan.tiles->lanes;
    int64_t most_cols = BLOCK_COLS * 4 / element;
    plan.depth = clamp_i64(gemm->k, 1, BLOCK_DEPTH);
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
    int64_t panel = 3 * plan.tiles->lanes, most_cols = BLOCK_COLS * 4 / (int64_t)plan.tiles->element;
    size_t bytes;
    plan.cols = round_up(clamp_i64(gemm->n, 1, most_cols), panel);
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

/* Panels have rows of 192, 96 or 48 bytes: copies of known size need no call. */
static inline void copy_panel_row(char *to, const char *from, size_t bytes) {
    if (bytes == 192)
        memcpy(to, from, 192);
    else if (bytes == 96)
        memcpy(to, from, 96);
    else
        memcpy(to, from, bytes);
}

/* Rows of B into panels of 3 vectors (the last as narrow as its columns allow), columns past the end zero. */
static void pack_b_rows(const GemmPlan *plan, const GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    int64_t lanes = plan->tiles->lanes, width = 3 * lanes;
    for (int64_t i = 0; i < depth; ++i) {
        const char *row =
            gemm->row_b(gemm->context, block->batch, k + i, block->col, block->cols, block->lines);
        char *panel = block->panels;
        int64_t left = block->cols;
        for (; left >= width; left -= width) {
            copy_panel_row(panel + (size_t)(i * width) * element, row, (size_t)width * element);
            row += (size_t)width * element;
            panel += (size_t)(depth * width) * element;
        }
        if (left == 0) continue;
        int64_t last = round_up(left, lanes);
        char *to = panel + (size_t)(i * last) * element;
        memcpy(to, row, (size_t)left * element);
        memset(to + (size_t)left * element, 0, (size_t)(last - left) * element);
    }
}

/* The same from columns of B. */
static void pack_b_columns(const GemmPlan *plan, const GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    int64_t lanes = plan->tiles->lanes, width = 3 * lanes;
    for (int64_t j = 0; j < block->cols && depth > 0; j += width) {
        int64_t left = min_i64(width, block->cols - j), step = round_up(left, lanes);
        char *panel = block->panels + (size_t)(j * depth) * element;
        if (step != left) memset(panel, 0, (size_t)(step * depth) * element);
        for (int64_t c = 0; c < left; c += 8) {
            const void *from[8];
            int64_t some = min_i64(8, left - c);
            for (int64_t i = 0; i < some; ++i)
                from[i] = gemm->col_b(gemm->context, block->batch, block->col + j + c + i, k, depth,
                                      block->lines + (size_t)(i * plan->depth) * element);
            interleave(element, from, some, depth, step, panel + (size_t)c * element);
        }
    }
}

/* rows rows of A into a panel that has them side by side. */
static void pack_a(const GemmPlan *plan, int64_t batch, int64_t row, int64_t rows, int64_t k, int64_t depth,
                   void *panel, char *lines) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    const void *from[8];
    for (int64_t r = 0; r < rows && depth > 0; ++r)
        from[r] =
            gemm->row_a(gemm->context, batch, row + r, k, depth, lines + (size_t)(r * plan->depth) * element);
    if (depth > 0) interleave(element, from, rows, depth, rows, panel);
}

/* A tile that ends before its vectors do goes through a buffer. */
static void run_partial(const GemmPlan *plan, GemmTile tile, int64_t rows, int64_t width, int64_t cols,
                        int64_t depth, const void *a, const void *b, char *c, int64_t ldc,
                        const void *start) {
    uint64_t buffer[TILE_MAX];
    size_t element = plan->tiles->element, step = (size_t)width * element;
    for (int64_t r = 0; r < rows && start == NULL; ++r)
        memcpy((char *)buffer + (size_t)r * step, c + (size_t)(r * ldc) * element, (size_t)cols * element);
    tile(depth, a, b, buffer, width, start);
    for (int64_t r = 0; r < rows; ++r)
        memcpy(c + (size_t)(r * ldc) * element, (char *)buffer + (size_t)r * step, (size_t)cols * element);
}

/* One panel of A against all panels of B. */
static void run_panel(const GemmPlan *plan, int log_rows, int64_t depth, int64_t cols, const void *a,
                      const char *b, char *c, int64_t ldc, const void *start) {
    size_t element = plan->tiles->element;
    int64_t lanes = plan->tiles->lanes, width = 3 * lanes;
    for (int64_t j = 0; j < cols; j += width) {
        int64_t left = min_i64(cols - j, width), vectors = ceil_div_i64(left, lanes);
        GemmTile tile = plan->tiles->tile[log_rows][vectors - 1];
        if (left == vectors * lanes)
            tile(depth, a, b, c, ldc, start);
        else
            run_partial(plan, tile, (int64_t)1 << log_rows, vectors * lanes, left, depth, a, b, c, ldc,
                        start);
        b += (size_t)(depth * width) * element;
        c += (size_t)width * element;
    }
}

static void start_values(const Gemm *gemm, int64_t batch, int64_t row, int64_t rows, uint64_t *values) {
    if (gemm->start != NULL)
        gemm->start(gemm->context, batch, row, rows, values);
    else
        memset(values, 0, 8 * sizeof *values);
}

/* Adds depth [k, k + depth) to the block; the first one sets it. */
static void run_depth(const GemmPlan *plan, const GemmBlock *block, int64_t k, int64_t depth) {
    const Gemm *gemm = plan->gemm;
    bool first = k == 0 && !(gemm->accumulate && gemm->store == NULL);
    if (gemm->col_b != NULL)
        pack_b_columns(plan, block, k, depth);
    else
        pack_b_rows(plan, block, k, depth);
    int log_rows = plan->tiles->rows == 8 ? 3 : 2;
    for (int64_t r = 0; r < block->rows;) {
        while (r + ((int64_t)1 << log_rows) > block->rows) --log_rows;
        int64_t rows = (int64_t)1 << log_rows;
        uint64_t start[8];
        pack_a(plan, block->batch, block->row + r, rows, k, depth, block->panel, block->lines);
        if (first) start_values(gemm, block->batch, block->row + r, rows, start);
        run_panel(plan, log_rows, depth, block->cols, block->panel, block->panels,
                  block->c + (size_t)(r * block->ldc) * plan->tiles->element, block->ldc,
                  first ? start : NULL);
        r += rows;
    }
}

/* Elements [k, k + depth) of column `col` of B. */
static const void *column_of(const GemmPlan *plan, const GemmBlock *block, int64_t col, int64_t k,
                             int64_t depth) {
    const Gemm *gemm = plan->gemm;
    size_t element = plan->tiles->element;
    if (gemm->col_b != NULL) return gemm->col_b(gemm->context, block->batch, col, k, depth, block->panels);
    for (int64_t i = 0; i < depth; ++i) {
        uint64_t one;
        memcpy(block->panels + (size_t)i * element,
               gemm->row_b(gemm->context, block->batch, k + i, col, 1, &one), element);
    }
    return block->panels;
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
    const char *factors = gemm->row_a(gemm->context, block->batch, block->row, k, depth, block->panel);
    for (int64_t j = 0; gemm->col_b != NULL && j < block->cols; ++j)
        plan->tiles->dot(depth, column_of(plan, block, block->col + j, k, depth), factors,
                         block->c + (size_t)j * element);
    for (int64_t i = 0; gemm->col_b == NULL && i < depth; ++i) {
        const void *row =
            gemm->row_b(gemm->context, block->batch, k + i, block->col, block->cols, block->lines);
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

static void run_block(const GemmPlan *plan, const GemmBlock *block) {
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
                           .panels = scratch,
                           .panel = scratch + plan->b_bytes,
                           .lines = scratch + plan->b_bytes + plan->a_bytes};
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
