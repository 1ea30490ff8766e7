#include "kernels/lines_text.h"

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/window_text.h"

enum {
    WARP = 32,
    MOST_PACKS = 4, /* of a thread */
    MOST_WARPS = 16,
    BLOCK_WARPS = 8 /* where a block has several rows */
};

const char *lines_refuse(const Problem *problem, const Slices *slices) {
    if (cuda_compute_type(problem_input(problem, 0)->dtype)[0] != 'f') return "no floats, or wide ones";
    if (!access_is_linear(&slices->walked)) return "rows whose elements are not neighbours";
    if (!dim_is_exact(slices->extent) || slices->extent < 1 || slices->extent % LINE_LANES != 0)
        return "rows of no packs of elements";
    if (slices->extent > LINE_LANES * WARP * MOST_PACKS * MOST_WARPS) return "rows that are too long";
    return problem_is_aligned(problem) ? NULL : "values that are not aligned";
}

int32_t lines_packs(const Slices *slices, int32_t warps) {
    return (int32_t)ceil_div_i64(slices->extent, (int64_t)LINE_LANES * WARP * warps);
}

/* Rows in a block: where there are many, so that a multiprocessor has many warps. */
static int32_t rows_of(int64_t rows, int32_t warps, const Device *device) {
    int32_t count = 1;
    while (warps == 1 && count < BLOCK_WARPS && rows >= 2 * (int64_t)count * device->sm_count) count *= 2;
    return count;
}

/* As few warps as can have a row come first; where rows are few, as many. */
int32_t lines_shares(const Problem *problem, const Device *device, const Slices *slices,
                     LineShare out[MOST_LINE_SHARES]) {
    int64_t rows = dim_at_opt(problem->graph, slices->rows);
    int32_t count = 0;
    for (int32_t warps = 1; warps <= MOST_WARPS; ++warps) {
        int32_t packs = lines_packs(slices, warps);
        if (packs > MOST_PACKS || (warps > 1 && packs == lines_packs(slices, warps - 1))) continue;
        out[count++] = (LineShare){warps, rows_of(rows, warps, device)};
    }
    if (rows > 2 * (int64_t)device->sm_count || out[count - 1].warps > BLOCK_WARPS) return count;
    LineShare most = out[count - 1];
    for (int32_t i = count - 1; i > 0; --i) out[i] = out[i - 1];
    out[0] = most;
    return count;
}

const char *lines_text(KernelWriter *w, const Slices *slices, LineShare share) {
    return kernel_format(w, "LineTeam<%d, %d>, %d", share.warps, share.rows,
                         lines_packs(slices, share.warps));
}

Status lines_finish(KernelWriter *w, const Slices *slices, LineShare share) {
    return kernel_finish(w, kernel_grid_for(kernel_emission(w), slices->rows, share.rows), 1, 1,
                         WARP * share.warps * share.rows, 0);
}
