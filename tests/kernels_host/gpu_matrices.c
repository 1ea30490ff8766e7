/* Matrix units: products are exact; sums are floats, of a warp cut off, as those of GPUs are, not rounded. */
#include "tests/kernels_host/gpu_threads.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/simd.h"

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float narrow(uint16_t bits, GpuNumbers numbers) {
    return numbers == GPU_HALF ? half_to_float(bits) : bf16_to_float(bits);
}

/* -- of a warp -- */

/* Towards zero. */
static float cut(double x) {
    const float nearest = (float)x;
    return isfinite(x) && fabs((double)nearest) > fabs(x) ? nextafterf(nearest, 0) : nearest;
}

typedef struct Fragments {
    float *c;
    const unsigned *a, *b;
    unsigned depth;
    GpuNumbers numbers;
} Fragments;

/* Element k of a line that is spread over four lanes: which lane, which of its registers, and the number. */
static float element(void *const *lanes, unsigned line, unsigned k, unsigned high, bool right) {
    const Fragments *first = lanes[0];
    const unsigned parts = first->numbers == GPU_TF32 ? 1 : 2, across = 4 * parts;
    const Fragments *it = lanes[line * 4 + k % across / parts];
    const uint32_t bits = right ? it->b[k / across] : it->a[k / across * 2 + high];
    if (first->numbers == GPU_TF32) return float_of(bits & ~0x1fffu);
    return narrow((uint16_t)(bits >> k % 2 * 16), first->numbers);
}

static SIMD_CLONES void add_exactly(double (*sums)[8], double (*a)[16], double (*b)[8], unsigned depth) {
    for (unsigned row = 0; row < 16; ++row)
        for (unsigned k = 0; k < depth; ++k)
            for (unsigned column = 0; column < 8; ++column) sums[row][column] += a[row][k] * b[k][column];
}

static void multiply(void *const *lanes, unsigned count) {
    const Fragments *first = lanes[0];
    double a[16][16], b[16][8], sums[16][8];
    if (count != WARP) fail("a matrix instruction with %u lanes", count);
    for (unsigned k = 0; k < first->depth; ++k) {
        for (unsigned row = 0; row < 16; ++row)
            a[row][k] = (double)element(lanes, row % 8, k, row / 8, false);
        for (unsigned column = 0; column < 8; ++column)
            b[k][column] = (double)element(lanes, column, k, 0, true);
    }
    for (unsigned i = 0; i < WARP * 4; ++i)
        sums[i / 16 + i / 2 % 2 * 8][i / 4 % 4 * 2 + i % 2] =
            (double)((const Fragments *)lanes[i / 4])->c[i % 4];
    add_exactly(sums, a, b, first->depth);
    for (unsigned i = 0; i < WARP * 4; ++i)
        ((const Fragments *)lanes[i / 4])->c[i % 4] =
            cut(sums[i / 16 + i / 2 % 2 * 8][i / 4 % 4 * 2 + i % 2]);
}

void gpu_multiply(float *c, const unsigned *a, const unsigned *b, unsigned depth, GpuNumbers numbers) {
    Fragments mine = {c, a, b, depth, numbers};
    together(&mine, multiply);
}

typedef struct Rows {
    unsigned *to, count;
    const void *row;
    bool transposed;
} Rows;

static void load(void *const *lanes, unsigned count) {
    for (unsigned lane = 0; lane < count; ++lane) {
        const Rows *own = lanes[lane];
        if (lane < own->count * 8 && (uintptr_t)own->row % 16 != 0)
            fail("a row of a matrix that is not aligned");
        for (unsigned i = 0; i < own->count * 2; ++i) {
            const unsigned near = lane / 4, far = lane % 4 * 2 + i % 2;
            const Rows *from = lanes[i / 2 * 8 + (own->transposed ? far : near)];
            uint16_t bits;
            memcpy(&bits, (const char *)from->row + 2 * (own->transposed ? near : far), 2);
            own->to[i / 2] = i % 2 == 0 ? bits : own->to[i / 2] | (uint32_t)bits << 16;
        }
    }
}

void gpu_load_matrices(unsigned *to, const void *row, unsigned count, bool transposed) {
    Rows mine = {to, count, row, transposed};
    together(&mine, load);
}

/* -- of a warpgroup -- */

enum { MOST_PRODUCTS = 1024, MOST_GROUPS = 64, ROWS = 64, DEPTH = 16, MOST_COLS = 256 };

typedef struct Product {
    float *d[WARPGROUP];
    const unsigned *rows[WARPGROUP]; /* of the left operand; NULL: it lies in shared memory */
    uint64_t a, b;
    unsigned cols, arrived;
    bool add, outer_a, outer_b;
    GpuNumbers numbers;
} Product;

/* Products in order; all numbers count from the block's begin on. */
typedef struct Warpgroup {
    Product products[MOST_PRODUCTS];
    uint32_t complete, done; /* that all threads have come to; whose sums are there */
    bool eager;              /* products of this group are done at once */
} Warpgroup;

typedef struct Groups {
    uint32_t products, groups, ends[MOST_GROUPS]; /* of the thread's groups, in a ring */
} Groups;

static Warpgroup warpgroups[MOST_THREADS / WARPGROUP];
static Groups groups[MOST_THREADS];

static Warpgroup *own_warpgroup(void) {
    const unsigned each = (blockDim.x + WARPGROUP - 1) / WARPGROUP;
    if (threadIdx.x / WARPGROUP * WARPGROUP + WARPGROUP > blockDim.x) fail("a warpgroup that is not whole");
    return &warpgroups[own_block() * each + threadIdx.x / WARPGROUP];
}

/* An operand as the instruction's descriptor has it. */
typedef struct Operand {
    unsigned address, strip, group, swizzle;
    bool outer;
    GpuNumbers numbers;
} Operand;

static Operand operand(uint64_t form, bool outer, GpuNumbers numbers) {
    static const unsigned swizzles[] = {16, 128, 64, 32};
    const Operand it = {.address = (unsigned)(form & 0x3fff) << 4,
                        .strip = (unsigned)(form >> 16 & 0x3fff) << 4,
                        .group = (unsigned)(form >> 32 & 0x3fff) << 4,
                        .swizzle = swizzles[form >> 62],
                        .outer = outer,
                        .numbers = numbers};
    if (it.swizzle == 16) fail("an operand that is not swizzled");
    if (outer && numbers == GPU_TF32) fail("an operand of 32 bits whose depth is outside");
    return it;
}

/* 16 bytes of it as numbers: of a line from k on, or, where the depth is outside, of lines from `line` on at
 * k. */
static void read_part(const Operand *it, unsigned line, unsigned k, float *out) {
    const unsigned size = it->numbers == GPU_TF32 ? 4 : 2;
    unsigned at = it->address + line / 8 * it->group + line % 8 * it->swizzle + k * size;
    uint32_t words[4];
    uint16_t halves[8];
    if (it->outer) {
        const unsigned width = it->swizzle / 2;
        at = it->address + line / width * it->strip + k / 8 * it->group + k % 8 * it->swizzle +
             line % width * 2;
    }
    const void *part = shared_at(swizzled(at, it->swizzle), sizeof words);
    memcpy(words, part, sizeof words);
    memcpy(halves, part, sizeof halves);
    if (it->numbers == GPU_HALF)
        half_to_float_run(halves, 8, out);
    else if (it->numbers != GPU_TF32)
        bf16_to_float_run(halves, 8, out);
    for (unsigned i = 0; it->numbers == GPU_TF32 && i < 4; ++i) out[i] = float_of(words[i] & ~0x1fffu);
}

/* Element k of a line goes to to[line * line_step + k * depth_step]. */
static void read_operand(const Operand *it, unsigned lines, float *to, unsigned line_step,
                         unsigned depth_step) {
    const unsigned each = it->numbers == GPU_TF32 ? 4 : 8, depth = 2 * each;
    const unsigned across = it->outer ? each : 1, along = it->outer ? 1 : each;
    for (unsigned line = 0; line < lines; line += across)
        for (unsigned k = 0; k < depth; k += along) {
            float part[8];
            read_part(it, line, k, part);
            for (unsigned i = 0; i < each; ++i)
                to[(line + (it->outer ? i : 0)) * line_step + (k + (it->outer ? 0 : i)) * depth_step] =
                    part[i];
        }
}

/* Where a thread's element i of d lies. */
static float *sum_of(float (*sums)[MOST_COLS], unsigned thread, unsigned i) {
    const unsigned row = thread / WARP * 16 + thread % WARP / 4 + i / 2 % 2 * 8;
    return &sums[row][i / 4 * 8 + thread % 4 * 2 + i % 2];
}

static SIMD_CLONES void add_products(float (*sums)[MOST_COLS], float (*a)[DEPTH], float (*b)[MOST_COLS],
                                     unsigned depth, unsigned cols) {
    enum { AT_ONCE = 16 };
    for (unsigned row = 0; row < ROWS; ++row)
        for (unsigned first = 0; first < cols; first += AT_ONCE) {
            float sum[AT_ONCE];
            for (unsigned i = 0; i < AT_ONCE; ++i) sum[i] = sums[row][first + i];
            for (unsigned k = 0; k < depth; ++k)
                for (unsigned i = 0; i < AT_ONCE; ++i) sum[i] += a[row][k] * b[k][first + i];
            for (unsigned i = 0; i < AT_ONCE; ++i) sums[row][first + i] = sum[i];
        }
}

static float row_element(const Product *it, unsigned row, unsigned k) {
    const unsigned thread = row / 16 * WARP + row % 8 * 4 + k % 8 / 2;
    const uint32_t bits = it->rows[thread][k / 8 * 2 + row % 16 / 8];
    return narrow((uint16_t)(bits >> k % 2 * 16), it->numbers);
}

static void run_product(const Product *it) {
    static float sums[ROWS][MOST_COLS], a[ROWS][DEPTH], b[DEPTH][MOST_COLS];
    const unsigned depth = it->numbers == GPU_TF32 ? DEPTH / 2 : DEPTH;
    const Operand right = operand(it->b, it->outer_b, it->numbers);
    read_operand(&right, it->cols, b[0], 1, MOST_COLS);
    if (it->rows[0] == NULL) {
        const Operand left = operand(it->a, it->outer_a, it->numbers);
        read_operand(&left, ROWS, a[0], DEPTH, 1);
    }
    for (unsigned row = 0; it->rows[0] != NULL && row < ROWS; ++row)
        for (unsigned k = 0; k < depth; ++k) a[row][k] = row_element(it, row, k);
    for (unsigned thread = 0; thread < WARPGROUP; ++thread)
        for (unsigned i = 0; i < it->cols / 2; ++i) *sum_of(sums, thread, i) = it->add ? it->d[thread][i] : 0;
    add_products(sums, a, b, depth, it->cols);
    for (unsigned thread = 0; thread < WARPGROUP; ++thread)
        for (unsigned i = 0; i < it->cols / 2; ++i) it->d[thread][i] = *sum_of(sums, thread, i);
}

static void run_products(Warpgroup *group, uint32_t end) {
    for (; (int32_t)(end - group->done) > 0; ++group->done)
        run_product(&group->products[group->done % MOST_PRODUCTS]);
}

void gpu_multiply_group(float *d, const unsigned *rows, uint64_t a, uint64_t b, bool add, unsigned cols,
                        bool outer_a, bool outer_b, GpuNumbers numbers) {
    Warpgroup *group = own_warpgroup();
    Groups *own = &groups[own_thread()];
    if (own->products - group->done >= MOST_PRODUCTS)
        fail("more products under way than this GPU has room for");
    Product *it = &group->products[own->products++ % MOST_PRODUCTS];
    if (it->arrived == 0) {
        it->a = a;
        it->b = b;
        it->add = add;
        it->cols = cols;
        it->outer_a = outer_a;
        it->outer_b = outer_b;
        it->numbers = numbers;
    }
    if (it->a != a || it->b != b || it->add != add || it->cols != cols)
        fail("threads of a warpgroup that want different products");
    it->d[threadIdx.x % WARPGROUP] = d;
    it->rows[threadIdx.x % WARPGROUP] = rows;
    if (++it->arrived < WARPGROUP) return;
    it->arrived = 0;
    ++group->complete;
    if (group->eager) run_products(group, group->complete);
}

void gpu_commit_group(void) {
    Groups *own = &groups[own_thread()];
    own->ends[own->groups++ % MOST_GROUPS] = own->products;
    if (threadIdx.x % WARPGROUP == 0) own_warpgroup()->eager = coin();
}

void gpu_wait_for_groups(unsigned pending) {
    Warpgroup *group = own_warpgroup();
    const Groups *own = &groups[own_thread()];
    if (own->groups <= pending) return;
    const uint32_t end = own->ends[(own->groups - 1 - pending) % MOST_GROUPS];
    while ((int32_t)(end - group->complete) > 0) wait_while(&group->complete, ~0u, group->complete);
    run_products(group, end);
}

void groups_begin(void) {
    for (unsigned i = 0; i < MOST_THREADS / WARPGROUP; ++i) {
        if (warpgroups[i].complete != warpgroups[i].done) fail("products that nobody has waited for");
        warpgroups[i].complete = warpgroups[i].done = 0;
    }
    for (unsigned i = 0; i < thread_total(); ++i) groups[i].products = groups[i].groups = 0;
}
