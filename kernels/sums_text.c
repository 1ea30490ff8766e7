#include "kernels/sums_text.h"

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/window_text.h"

enum {
    MOST_PARTS = 640,   /* that each block of a normalisation merges */
    PART_ALIGNMENT = 16 /* bytes */
};

int64_t problem_bytes(const Problem *problem) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < problem->input_count + problem->output_count; ++i) {
        bool input = i < problem->input_count;
        ValueId id = input ? problem->inputs[i] : problem->outputs[i - problem->input_count];
        int64_t count = value_count_at_opt(problem->graph, id);
        if (count > 0) bytes += count * (dtype_bits(problem->graph->values[id].dtype) / 8);
    }
    return bytes;
}

const char *sum_scale(KernelWriter *w, float alpha, float beta, ValueId c, Dim cols, bool packs) {
    Emission *emission = kernel_emission(w);
    const char *one = kernel_text(w, cuda_real_literal(emission->arena, (double)alpha, true));
    const char *two = kernel_text(w, cuda_real_literal(emission->arena, (double)beta, true));
    if (c == NONE) return kernel_format(w, "SumScale<float, false>{%s, %s, nullptr, 0}", one, two);
    return kernel_format(w, "SumScale<%s, %s>{%s, %s, %s, %s}", cuda_type(emission->graph->values[c].dtype),
                         packs ? "true" : "false", one, two, kernel_pointer(w, c), kernel_number(w, cols));
}

bool sums_are_packs(const Problem *problem, const SumsText *sums) {
    /* Packs are of columns, whatever lies behind them in memory. */
    return sums->pixels == 0 && dim_is_exact(sums->cols) && sums->cols % EPILOGUE_LANES == 0 &&
           problem_epilogue_lanes(problem) == EPILOGUE_LANES;
}

const char *sum_store(KernelWriter *w, const SumsText *sums, const char *finish) {
    int32_t lanes = sums_are_packs(kernel_emission(w)->problem, sums) ? EPILOGUE_LANES : 1;
    DimTable *dims = kernel_emission(w)->graph->dims;
    const char *rows = kernel_number(w, sums->rows),
               *all = kernel_number(w, dim_mul(dims, sums->cols, sums->groups));
    const char *numbers = kernel_format(w, "SumRows{%s, %s}", rows, all);
    if (sums->pixels != 0)
        numbers = kernel_format(w, "SumPlanes{%s, %s, %s}", rows, all, kernel_number(w, sums->pixels));
    if (sums->groups > 1)
        numbers = kernel_format(w, "sum_groups(%s, %s)", numbers, kernel_number(w, sums->cols));
    return kernel_format(w, "store_sums(%s, %s, %s)", numbers, finish, kernel_pack_epilogue(w, lanes));
}

int64_t moment_counts_at(int64_t parts, int64_t channels) {
    return parts * channels * 2 * (int64_t)sizeof(float);
}

int64_t moment_bytes(int64_t parts, int64_t channels) {
    return round_up_i64(moment_counts_at(parts, channels) + parts * (int64_t)sizeof(float), PART_ALIGNMENT);
}

const char *sum_moments(KernelWriter *w, int64_t batch, int64_t cols, bool each) {
    Emission *emission = kernel_emission(w);
    int64_t parts = emission->leaves_parts * batch;
    if (parts == 0) return "NoMoments{}";
    int64_t bytes = moment_bytes(parts, cols), end = emission->finds_at + emission->found_bytes;
    kernel_include(w, "sum_moments.cuh");
    emission->leaves_at = emission->found_bytes == 0 || emission->finds_at >= bytes ? 0 : end;
    emission->scratch_bytes =
        dim_max(emission->graph->dims, emission->scratch_bytes, emission->leaves_at + bytes);
    return kernel_format(w, "MomentParts{%s, %s, %lld, %s}", kernel_scratch(w, emission->leaves_at, "float"),
                         kernel_scratch(w, emission->leaves_at + moment_counts_at(parts, cols), "float"),
                         (long long)cols, each ? "true" : "false");
}

int64_t sum_moment_parts(int64_t tiles, int64_t blocks, bool each) {
    int64_t parts = each || tiles < blocks ? tiles : blocks;
    return parts <= MOST_PARTS ? parts : 0;
}

int32_t sum_moments_shared(void) {
    enum { TOGETHER = 4, WARPS = 8 }; /* TileMoments::Memory */
    return TOGETHER * 32 * 2 * (int32_t)sizeof(float) + WARPS * (int32_t)sizeof(int32_t);
}

bool sum_moments_fit(int32_t pieces, int32_t cols, int32_t resident) {
    enum { OF_32_COLUMNS = 24, MOST = 168 }; /* registers; others take up to 60 of 232 */
    return resident == 1 && pieces * cols / 2 + ceil_div_i64(cols, 32) * OF_32_COLUMNS <= MOST;
}
