#include "kernels/lines_text.h"

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/emit_writer.h"
#include "kernels/window_text.h"

enum {
    WARP = 32,
    MOST_ELEMENTS = 32, /* of a thread, twice as many where softmax's rows have many */
    WIDE_THREADS = 256,
    MOST_WARPS = 16,
    BLOCK_WARPS = 8 /* where a block has several rows */
};

int32_t lines_lanes(const Problem *problem) {
    const Value *x = problem_input(problem, 0), *y = problem_output(problem, 0);
    bool wide = dtype_bits(x->dtype) > 16 && (y == NULL || dtype_bits(y->dtype) > 16);
    return wide ? LINE_LANES / 2 : LINE_LANES;
}

const char *lines_refuse(const Problem *problem, const Slices *slices) {
    if (cuda_compute_type(problem_input(problem, 0)->dtype)[0] != 'f') return "no floats, or wide ones";
    if (!access_is_linear(&slices->walked)) return "rows whose elements are not neighbours";
    if (!dim_is_exact(slices->extent) || slices->extent < 1 || slices->extent % LINE_LANES != 0)
        return "rows of no packs of elements";
    if (slices->extent > WARP * MOST_ELEMENTS * MOST_WARPS) return "rows that are too long";
    return problem_is_aligned(problem) ? NULL : "values that are not aligned";
}

int32_t lines_packs(const Problem *problem, const Slices *slices, int32_t threads) {
    return (int32_t)ceil_div_i64(slices->extent, (int64_t)lines_lanes(problem) * threads);
}

/* Rows in a block: where there are many, so that a multiprocessor has many warps. */
static int32_t rows_of(int64_t rows, int32_t threads, const Device *device) {
    int32_t count = threads < WARP ? WARP / threads : 1;
    while (2 * count * threads <= BLOCK_WARPS * WARP && rows >= 2 * (int64_t)count * device->sm_count)
        count *= 2;
    return count;
}

/* Of so many threads, where a half of them would not do as well; false: there is none. */
static bool share_of(const Problem *problem, const Slices *slices, const Device *device, int64_t rows,
                     int32_t threads, int32_t fewer, LineShare *out) {
    int32_t packs = lines_packs(problem, slices, threads);
    OpId op = problem_anchor(problem)->op;
    bool wide = threads >= WIDE_THREADS && (op == OP_Softmax || op == OP_LogSoftmax);
    if (packs * lines_lanes(problem) > (wide ? 2 : 1) * MOST_ELEMENTS) return false;
    if (fewer > 0 && packs == lines_packs(problem, slices, fewer)) return false;
    *out = (LineShare){threads, rows_of(rows, threads, device)};
    return true;
}

/* The fewest warps that can have a row, or the part of one that leaves fewer threads without a pack, come
 * first; where rows are few, as many threads as can have one. */
int32_t lines_shares(const Problem *problem, const Device *device, const Slices *slices,
                     LineShare out[MOST_LINE_SHARES]) {
    int64_t rows = dim_at_opt(problem->graph, slices->rows);
    int32_t count = 0, first = 0, least = 0;
    for (int32_t threads = 1; threads <= MOST_WARPS * WARP; threads += threads < WARP ? threads : WARP) {
        int32_t fewer = threads <= WARP ? threads / 2 : threads - WARP;
        if (!share_of(problem, slices, device, rows, threads, fewer, &out[count])) continue;
        int32_t room = lines_packs(problem, slices, threads) * threads;
        if (count == 0 || (threads <= WARP && room <= least)) {
            first = count;
            least = room;
        }
        count++;
    }
    if (rows <= 2 * (int64_t)device->sm_count && out[count - 1].threads <= BLOCK_WARPS * WARP)
        first = count - 1;
    LineShare best = out[first];
    for (int32_t i = first; i > 0; --i) out[i] = out[i - 1];
    out[0] = best;
    return count;
}

const char *lines_text(KernelWriter *w, const Slices *slices, LineShare share) {
    return kernel_format(w, "LineTeam<%d, %d>, %d", share.threads, share.rows,
                         lines_packs(kernel_emission(w)->problem, slices, share.threads));
}

Status lines_finish(KernelWriter *w, const Slices *slices, LineShare share) {
    return kernel_finish(w, kernel_grid_for(kernel_emission(w), slices->rows, share.rows), 1, 1,
                         share.threads * share.rows, 0);
}
