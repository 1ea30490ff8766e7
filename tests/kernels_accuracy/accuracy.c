/* How far products of matrices in FP32 are from those in double: by the tactics without matrix units, with
 * operands rounded to TF32, and by three products of TF32. Device code runs on the host (tests/kernels_host),
 * whose matrix units cut sums off as those of GPUs do. Errors are relative to the sum of the terms'
 * magnitudes.
 *
 * accuracy COMPILER */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernels.h"
#include "kernels/arch.h"
#include "tests/kernels_host/units.h"

enum { ROWS = 48, COLS = 40, DEPTH = 2048, KINDS = 3, TACTICS = 4 };
static const char *const names[TACTICS] = {"matmul_tiles", "matmul_mma", "matmul_tf32x3", "matmul_fma"};
static const char *const kinds[KINDS] = {"of both signs", "positive", "of all sizes"};
static const char text[] =
    "smelt-ir 1\ngraph \"g\" opset 22\ntf32\nblock \"main\" {\n  input %a : f32[48,2048]\n"
    "  input %b : f32[2048,40]\n  %c : f32[48,40] = MatMul(%a, %b)\n  output %c\n}\n";

typedef struct Test {
    Arena arena;
    Diag diag;
    Graph *graph;
    Problem problem;
    Units *units;
    const KernelLaunch *launches[TACTICS];
    uint64_t random;
    _Alignas(16) float a[ROWS * DEPTH], b[DEPTH * COLS], c[ROWS * COLS];
} Test;

/* In [0, 1). */
static double noise(Test *t) {
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(t->random >> 33) / 2147483648.0;
}

static void fill(Test *t, float *p, int count, int kind) {
    for (int i = 0; i < count; ++i) {
        double x = kind == 1 ? noise(t) : 2 * noise(t) - 1;
        p[i] = (float)(kind == 2 ? x * exp2(40 * noise(t) - 20) : x);
    }
}

/* The last number of all their configs is how many slices the depth is cut into: one, in one launch. */
static const KernelLaunch *emit(Test *t, const char *name) {
    const Device *device = with_all_tactics(arch_find("sm_80"), &t->arena);
    const Tactic *tactic = NULL;
    Config configs[MOST_CONFIGS];
    for (int32_t i = 0; i < tactic_count(); ++i)
        if (strcmp(tactic_at(i)->name, name) == 0) tactic = tactic_at(i);
    if (tactic == NULL || tactic_refuses(tactic, &t->problem, device) != NULL) exit(1);
    CHECK(tactic->configs(&t->problem, device, configs) > 0);
    configs[0].number[configs[0].count - 1] = 1;
    Emission *emission =
        emit_problem(t->graph, &t->problem, tactic, &configs[0], device, &t->arena, &t->diag);
    CHECK_INT(emission->launch_count, 1);
    return &emission->launches[0];
}

static void run(Test *t, const KernelLaunch *launch) {
    long long args[16];
    GpuLaunch gpu = {
        .threads = (unsigned)launch->block[0], .shared_bytes = (unsigned)launch->shared_bytes, .args = args};
    for (int32_t i = 0; i < launch->arg_count; ++i) {
        const Node *node = problem_anchor(&t->problem);
        ValueId value = launch->args[i].value;
        CHECK(launch->args[i].kind == KERNEL_ARG_VALUE);
        args[i] = (long long)(uintptr_t)(value == node->inputs[0]   ? t->a
                                         : value == node->inputs[1] ? t->b
                                                                    : t->c);
    }
    for (int i = 0; i < 3; ++i) gpu.grid[i] = (unsigned)launch->grid[i];
    memset(t->c, 0xff, sizeof t->c);
    units_find(t->units, launch, &gpu);
    gpu_run(&gpu);
}

/* The largest error of all results. */
static double worst(const Test *t) {
    double most = 0;
    for (int i = 0; i < ROWS * COLS; ++i) {
        double sum = 0, size = 0;
        for (int k = 0; k < DEPTH; ++k) {
            double term = (double)t->a[i / COLS * DEPTH + k] * (double)t->b[k * COLS + i % COLS];
            sum += term;
            size += fabs(term);
        }
        double error = fabs((double)t->c[i] - sum) / size;
        if (!(error <= most)) most = error;
    }
    return most;
}

static void prepare(Test *t, const char *compiler, const char *work) {
    UseTable uses;
    CHECK_OK(graph_parse(text, strlen(text), "g.ir", ".", &t->arena, &t->graph, &t->diag), &t->diag);
    CHECK(use_table_build(t->graph, &t->arena, &uses));
    CHECK_OK(problem_create(t->graph, &uses, t->graph->blocks[MAIN_BLOCK].nodes, 1, &t->arena, &t->problem,
                            &t->diag),
             &t->diag);
    const char *headers = arena_printf(&t->arena, "%s/smelt", work);
    CHECK(symlink(SMELT_SOURCE_DIR "/kernels/cuda", headers) == 0);
    t->units = units_create(compiler, SMELT_SOURCE_DIR "/tests/kernels_host", work);
    for (int i = 0; i < TACTICS; ++i) units_add(t->units, t->launches[i] = emit(t, names[i]));
    if (!units_compile(t->units)) exit(1);
}

int main(int argc, char **argv) {
    static Test t;
    char work[] = "/tmp/smelt_accuracy_XXXXXX";
    if (argc != 2 || mkdtemp(work) == NULL) return 2;
    prepare(&t, argv[1], work);
    for (int kind = 0; kind < KINDS; ++kind) {
        double errors[TACTICS];
        fill(&t, t.a, ROWS * DEPTH, kind);
        fill(&t, t.b, DEPTH * COLS, kind);
        for (int i = 0; i < TACTICS; ++i) {
            run(&t, t.launches[i]);
            errors[i] = worst(&t);
            printf("%-14s %-14s %.2g\n", kinds[kind], names[i], errors[i]);
        }
        CHECK(errors[2] <= errors[0]);
        CHECK(errors[3] <= errors[0]);
        CHECK(errors[1] > 10 * errors[2] && errors[1] < 0x1p-10);
    }
    units_destroy(t.units);
    CHECK(system(arena_printf(&t.arena, "rm -rf %s", work)) == 0);
    arena_reset(&t.arena);
    return test_result();
}
