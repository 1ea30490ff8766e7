/* Times of problems that were not measured, by those of like ones that were. */
#include "kernels/interpolate.h"

#include <math.h>

#include "choices.h"
#include "passes/pass.h"

static const char line[] = "*MatMul($0 $1) + Relu(%%0.0) | f16[%d, 1024] f16[1024, %d]= -> %%1.0:f16[%d, %d]";

static Status infer(Graph *graph, Diag *diag) {
    const PassOptions options = {.stop_after = "infer_shapes"};
    return passes_run(graph, &options, NULL, diag);
}

static const char *product_line(Fixture *f, int32_t rows, int32_t cols) {
    return arena_printf(&f->arena, line, rows, cols, rows, cols);
}

static void set_problem(Fixture *f, const char *text) {
    Diag diag = {0};
    CHECK_OK(problem_parse(text, infer, &f->arena, &f->graph, &diag), &diag);
    fixture_set_problem(f, f->graph->blocks[MAIN_BLOCK].node_count);
}

static void set_up(Fixture *f) {
    *f = (Fixture){.device = arch_find("sm_90")};
    f->timings = timing_cache_create(&f->arena, "test");
    set_problem(f, product_line(f, 1024, 1024));
    CHECK(f->count > 8 && f->count < MOST && f->all[4].microseconds > 0);
}

static Choice estimated(Fixture *f) {
    Diag diag = {0};
    CHECK_OK(timing_cache_estimate(f->timings, &f->problem, f->device, infer, &diag), &diag);
    return choice_best(&f->problem, f->device, f->timings);
}

/* Choices that products of 1024, 1536, 2048 and 4096 rows have in common. */
static void find_common(Fixture *f, Choice out[2]) {
    Choice all[MOST];
    int32_t total = f->count, count = 0, rows[] = {1536, 2048, 4096};
    memcpy(all, f->all, sizeof all);
    for (int32_t i = 0; i < total && count < 2; ++i) {
        int32_t found = 0;
        for (int32_t k = 0; k < 3; ++k) {
            set_problem(f, product_line(f, rows[k], 1024));
            for (int32_t n = 0; n < f->count; ++n) found += same_choice(&f->all[n], &all[i]);
        }
        if (found == 3) out[count++] = all[i];
    }
    CHECK_INT(count, 2);
    set_problem(f, product_line(f, 1024, 1024));
}

static double cost_of(const Fixture *f, const Choice *choice) {
    return choice->tactic->cost(&f->problem, f->device, &choice->config);
}

static void test_distance(void) {
    static const char a[] =
        "Conv($0 $1) kernel_shape=3,3 | f16[1, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]";
    static const struct {
        const char *other;
        double distance;
    } cases[] = {
        {"Conv($0 $1) kernel_shape=3,3 | f16[1, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]",
         0},
        {"Conv($0 $1) kernel_shape=3,3 | f16[4, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[4, 64, 56, 56]",
         4},
        {"Conv($0 $1) kernel_shape=3,3 | f16[1, 64, 28, 112] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]",
         2},
        {"Conv($0 $1) kernel_shape=5,3 | f16[1, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]",
         -1},
        {"Conv($0 $1) kernel_shape=3,3 | f32[1, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]",
         -1},
        {"Conv($0 $1) kernel_shape=3,3 | f16[1, 64, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]", -1},
        {"Conv($0 $1) kernel_shape=3,3 | f16[0, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56]",
         -1},
        {"Conv($0 $1) kernel_shape=3,3 | f16[1, 64, 56, 56] f16[64, 64, 3, 3]= -> %0.0:f16[1, 64, 56, 56] "
         "channels_last",
         -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        CHECK_NEAR(problem_distance(a, cases[i].other), cases[i].distance, 1e-9);
        CHECK_NEAR(problem_distance(cases[i].other, a), cases[i].distance, 1e-9);
    }
}

/* What was half as fast as the model says is taken to be so for twice the rows, and what was faster, faster.
 */
static void test_ratios(void) {
    Fixture f;
    set_up(&f);
    Choice common[2];
    find_common(&f, common);
    const Choice first = common[0], other = common[1];
    add_time(&f, &first, 2 * cost_of(&f, &first));
    add_time(&f, &other, 0.25 * cost_of(&f, &other));
    set_problem(&f, product_line(&f, 2048, 1024));
    Choice best = estimated(&f);
    CHECK(same_choice(&best, &other));
    CHECK_INT(best.source, CHOICE_INTERPOLATED);
    CHECK_NEAR(best.microseconds, 0.25 * cost_of(&f, &other), 1e-6);
    const char *said = choice_text(&best, &f.arena);
    CHECK(said != NULL && strstr(said, " (interpolated, ") != NULL);
    Choice slow = first;
    CHECK(choice_take_time(f.timings, &f.problem, &slow));
    CHECK_NEAR(slow.microseconds, 2 * cost_of(&f, &first), 1e-6);
    CHECK_INT(f.timings->count, 2);
    arena_reset(&f.arena);
}

/* Nearer ones count for more; those that are too far, or not alike, for nothing. */
static void test_weights(void) {
    Fixture f;
    set_up(&f);
    Choice common[2];
    find_common(&f, common);
    const Choice first = common[0];
    add_time(&f, &first, cost_of(&f, &first));
    set_problem(&f, product_line(&f, 4096, 1024));
    add_time(&f, &first, 16 * cost_of(&f, &first));
    set_problem(&f, product_line(&f, 1536, 1024));
    Choice best = first;
    (void)estimated(&f);
    CHECK(choice_take_time(f.timings, &f.problem, &best));
    double ratio = best.microseconds / cost_of(&f, &first);
    CHECK(ratio > 1 && ratio < 4);
    set_problem(&f, product_line(&f, 1 << 20, 1024));
    best = estimated(&f);
    CHECK_INT(best.source, CHOICE_MODELLED);
    set_problem(&f, "MatMul($0 $1) | f16[1024, 1024] f16[1024, 1024]= -> %0.0:f16[1024, 1024]");
    best = estimated(&f);
    CHECK_INT(best.source, CHOICE_MODELLED);
    arena_reset(&f.arena);
}

/* What was measured needs no estimate, and lines that are no problems of ours give none. */
static void test_known(void) {
    Fixture f;
    set_up(&f);
    const Choice second = f.all[1];
    add_time(&f, &second, 3);
    Choice best = estimated(&f);
    CHECK(same_choice(&best, &second));
    CHECK_INT(best.source, CHOICE_MEASURED);
    const Timing odd = {
        .problem = "*MatMul($0 $1) + Relu(%0.0) | f16[0512, 1024] f16[1024, 1024]= -> %1.0:f16[1024, 9]",
        .tactic = "matmul_wgmma.1",
        .microseconds = 1};
    f.timings = timing_cache_create(&f.arena, "test");
    CHECK(timing_cache_add(f.timings, &odd));
    best = estimated(&f);
    CHECK_INT(best.source, CHOICE_MODELLED);
    arena_reset(&f.arena);
}

int main(void) {
    test_distance();
    test_ratios();
    test_weights();
    test_known();
    return test_result();
}
