/* Graphs to GPU plans: what becomes a launch, what stays on the host, what is shared. Exits with 77 (skipped)
 * where there is no NVRTC. */
#include "kernels/lower.h"

#include "base/half.h"
#include "kernels.h"
#include "passes/pass.h"

static const char graph_text[] = "smelt-ir 1\n"
                                 "graph \"model\" opset 18\n"
                                 "symbol n min 1 opt 4 max 64\n"
                                 "constant %flat : i64[2] = {-1, 32}\n"
                                 "constant %zero : i64[] = {0}\n"
                                 "constant %one : i64[] = {1}\n"
                                 "block \"main\" {\n"
                                 "  input %x : f32[n,4,8]\n"
                                 "  input %limit : i64[]\n"
                                 "  region \"relu+sigmoid\" {\n"
                                 "    %a : f32[n,4,8] = Relu(%x)\n"
                                 "    %b : f32[n,4,8] = Sigmoid(%a)\n"
                                 "  }\n"
                                 "  region \"relu+sigmoid\" {\n"
                                 "    %c : f32[n,4,8] = Relu(%x)\n"
                                 "    %d : f32[n,4,8] = Sigmoid(%c)\n"
                                 "  }\n"
                                 "  %e : f32[n,32] = Reshape(%d, %flat)\n"
                                 "  %f : f32[32,n] = Transpose(%e)\n"
                                 "  %g : i64[2,late] = NonZero(%f)\n"
                                 "  %h : i64[later] = Range(%zero, %limit, %one)\n"
                                 "  output %b\n"
                                 "  output %f\n"
                                 "  output %g\n"
                                 "  output %h\n"
                                 "}\n";

typedef struct Lowered {
    Arena arena;
    Diag diag;
    Plan plan;
    Status status;
} Lowered;

/* l2_bytes: of the only GPU, or 0 for what it has. variant: see LowerCudaOptions. */
static void lower_for(Lowered *l, const char *text, const char *gpus, int64_t l2_bytes, int32_t variant) {
    Graph *graph = NULL;
    *l = (Lowered){0};
    CHECK_OK(graph_parse(text, strlen(text), "test.ir", ".", &l->arena, &graph, &l->diag), &l->diag);
    if (graph == NULL) exit(1);
    const PassOptions passes = {.start_from = "plan_memory"};
    CHECK_OK(passes_run(graph, &passes, NULL, &l->diag), &l->diag);
    LowerCudaOptions options = {
        .base = {.target = "cuda"}, .variant = variant, .jit = {.cache_folder = "kernel_cache"}};
    CHECK_OK(device_list_parse(gpus, NULL, NULL, &l->arena, &options.devices, &l->diag), &l->diag);
    Device small = *options.devices.at[0];
    if (l2_bytes > 0) {
        small.l2_bytes = (int32_t)l2_bytes;
        options.devices.at[0] = &small;
    }
    l->status = lower_to_cuda(graph, &options, &l->arena, &l->plan, &l->diag);
}

static void lower_text(Lowered *l, const char *text, const char *gpus) {
    lower_for(l, text, gpus, 0, 0);
}

static void lower(Lowered *l, const char *gpus) {
    static const char late[] = "symbol late late min 0 opt 0\nsymbol later late min 0 opt 0\n";
    char text[sizeof graph_text + sizeof late];
    const char *after = strstr(graph_text, "constant");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(after - graph_text), graph_text, late, after);
    lower_text(l, text, gpus);
}

static const PlanValue *find_value(const Plan *plan, const char *name) {
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (strcmp(plan->values[i].name, name) == 0) return &plan->values[i];
    return NULL;
}

static void check_steps(const Plan *plan) {
    CHECK_INT(plan->step_count, 6);
    for (int32_t i = 0; i < 4; ++i) {
        CHECK_INT(plan->steps[i].kind, PLAN_STEP_LAUNCH);
        CHECK_INT(plan->steps[i].launch_count, i == 2 ? 0 : 1); /* the view needs nothing */
    }
    CHECK_INT(plan->steps[4].kind, PLAN_STEP_LAUNCH); /* finds the size of its result */
    CHECK_INT(plan->steps[4].launch_count, 3);
    CHECK(plan->steps[4].late && !plan->steps[3].late);
    CHECK_INT(plan->steps[5].kind, PLAN_STEP_HOST);
    CHECK(strstr(plan->steps[5].reason, "sizes that depend on data") != NULL);
    CHECK_INT(find_value(plan, "a")->storage, PLAN_NOWHERE);
    CHECK_INT(find_value(plan, "c")->storage, PLAN_NOWHERE);
    CHECK_INT(find_value(plan, "b")->storage, PLAN_BINDING);
    CHECK_INT(find_value(plan, "d")->storage, PLAN_BUFFER);
}

static void check_kernels(const Plan *plan) {
    CHECK_INT(plan->kernel_count, 5); /* the chains are one */
    CHECK_INT(plan->cubin_count, 10);
    CHECK_INT(plan->launches[0].kernel, plan->launches[1].kernel);
    for (int32_t i = 0; i < plan->cubin_count; ++i) {
        CHECK_INT(plan->cubins[i].sm, i % 2 == 0 ? 80 : 90);
        CHECK_INT(plan->cubins[i].accelerated, i % 2);
        CHECK(plan->cubins[i].size > 4 && memcmp(plan->cubins[i].data, "\177ELF", 4) == 0);
    }
    const PlanLaunch *launch = &plan->launches[0];
    int64_t symbols[3] = {64, -1, -1}, blocks = 0;
    CHECK(plan_dim_eval(plan, launch->grid[0], symbols, &blocks));
    CHECK_INT(blocks, 2); /* 2048 elements, 1024 in each */
    CHECK_INT(launch->arg_count, 3);
    CHECK_INT(plan->args[launch->arg_first + 2].kind, PLAN_ARG_NUMBER);
    CHECK_STR(plan_meta(plan, "gpu"), "sm_80,sm_90a");
}

/* The same bytes again, and they read back. */
static void check_bytes(const Plan *first, const Plan *second) {
    Arena arena = {0};
    Diag diag = {0};
    Plan again;
    ByteWriter a = byte_writer(&arena), b = byte_writer(&arena);
    CHECK_OK(plan_write_bytes(first, &a, &diag), &diag);
    CHECK_OK(plan_write_bytes(second, &b, &diag), &diag);
    CHECK(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    CHECK_OK(plan_read(a.data, a.size, "plan", &arena, &again, &diag), &diag);
    arena_reset(&arena);
}

/* No tactic sums along rows and goes on, nor takes anything in front of a BatchNormalization: such regions
 * are launched in parts. */
static void check_parts(void) {
    static const char text[] = "smelt-ir 1\n"
                               "graph \"parts\" opset 18\n"
                               "symbol n min 1 opt 4 max 64\n"
                               "constant %axis : i64[] = {1}\n"
                               "block \"main\" {\n"
                               "  input %x : f32[n,8]\n"
                               "  region \"sums\" anchor 0 {\n"
                               "    %a : f32[n,8] = CumSum(%x, %axis)\n"
                               "    %b : f32[n,8] = Relu(%a)\n"
                               "    %c : f32[n,8] = Neg(%b)\n"
                               "  }\n"
                               "  region \"normalization\" anchor 1 {\n"
                               "    %d : f32[n,8] = Exp(%c)\n"
                               "    %e : f32[n,8] = BatchNormalization(%d, %s, %s, %s, %s)\n"
                               "    %f : f32[n,8] = Relu(%e)\n"
                               "  }\n"
                               "  output %f\n"
                               "}\n";
    char whole[sizeof text + 64];
    Lowered l;
    const char *after = strstr(text, "block");
    snprintf(whole, sizeof whole, "%.*sconstant %%s : f32[8] = {1, 1, 1, 1, 1, 1, 1, 1}\n%s",
             (int)(after - text), text, after);
    lower_text(&l, whole, "sm_80");
    CHECK_OK(l.status, &l.diag);
    CHECK_INT(l.plan.step_count, 2);
    for (int32_t i = 0; l.plan.step_count == 2 && i < 2; ++i) {
        CHECK_INT(l.plan.steps[i].kind, PLAN_STEP_LAUNCH);
        CHECK_INT(l.plan.steps[i].launch_count, 2);
    }
    CHECK_INT(find_value(&l.plan, "a")->storage, PLAN_BUFFER); /* goes from part to part */
    CHECK_INT(find_value(&l.plan, "b")->storage, PLAN_NOWHERE);
    CHECK_INT(find_value(&l.plan, "d")->storage, PLAN_BUFFER);
    CHECK_INT(find_value(&l.plan, "e")->storage, PLAN_NOWHERE);
    arena_reset(&l.arena);
}

static const char *kernel_on(const Plan *plan, int32_t step, int32_t arch) {
    const PlanArchStep own = plan_step_on(plan, step, arch);
    return own.launch_count > 0 ? plan->kernels[plan->launches[own.launch_first].kernel].entry : "none";
}

/* Each GPU's steps are done by the best of its own tactics, or by a variant; a kernel has code where it is
 * used. */
static void check_devices(void) {
    static const char text[] = "smelt-ir 1\n"
                               "graph \"devices\" opset 18\n"
                               "block \"main\" {\n"
                               "  input %a : f16[512,512]\n"
                               "  input %b : f16[512,512]\n"
                               "  %c : f16[512,512] = MatMul(%a, %b)\n"
                               "  %d : f16[512,512] = Erf(%c)\n"
                               "  output %d\n"
                               "}\n";
    Lowered l;
    lower_text(&l, text, "sm_80,h200");
    CHECK_OK(l.status, &l.diag);
    CHECK_INT(l.plan.arch_step_count, 2);
    CHECK(l.status == STATUS_OK && l.plan.step_count == 2);
    if (test_failures > 0) return;
    CHECK(strncmp(kernel_on(&l.plan, 0, 0), "matmul_mma", 10) == 0);
    CHECK(strncmp(kernel_on(&l.plan, 0, 1), "matmul_wgmma", 12) == 0);
    CHECK_STR(kernel_on(&l.plan, 1, 0), kernel_on(&l.plan, 1, 1));
    CHECK(strstr(l.plan.steps[0].reason, "sm_80: matmul_mma") != NULL);
    CHECK(strstr(l.plan.steps[0].reason, ", sm_90a: matmul_wgmma") != NULL);
    int32_t empty = 0;
    for (int32_t i = 0; i < l.plan.cubin_count; ++i) empty += l.plan.cubins[i].size == 0;
    CHECK_INT(empty, 2);
    arena_reset(&l.arena);
    lower_for(&l, text, "sm_80,h200", 0, 1);
    CHECK_OK(l.status, &l.diag);
    if (l.status == STATUS_OK) {
        CHECK(strncmp(kernel_on(&l.plan, 0, 0), "matmul_mma", 10) == 0);
        CHECK(strncmp(kernel_on(&l.plan, 0, 1), "matmul_wgmma", 12) == 0);
    }
    arena_reset(&l.arena);
}

static int32_t launches_of(const char *text, const char *gpus, int32_t step) {
    Lowered l;
    lower_text(&l, text, gpus);
    CHECK_OK(l.status, &l.diag);
    CHECK_INT(l.plan.step_count, 6);
    int32_t count = step < l.plan.step_count ? l.plan.steps[step].launch_count : -1;
    arena_reset(&l.arena);
    return count;
}

/* Matrix units of sm_90a leave what the normalisation behind them needs to know; others read it again. */
static void check_moments(void) {
    static const char text[] = "smelt-ir 1\n"
                               "graph \"moments\" opset 18\n"
                               "block \"main\" {\n"
                               "  input %x : f16[1,32,200,300]\n"
                               "  input %w : f16[32,32,3,3]\n"
                               "  input %s : f16[32]\n"
                               "  %a : f16[1,32,200,300] channels_last = smelt::Reformat(%x)\n"
                               "  %v : f16[32,32,3,3] channels_last = smelt::Reformat(%w)\n"
                               "  %b : f16[1,32,200,300] channels_last = Conv(%a, %v) {pads = [1,1,1,1]}\n"
                               "  %c : f16[1,32,200,300] channels_last = InstanceNormalization(%b, %s, %s)\n"
                               "  %d : f16[1,32,200,300] channels_last = InstanceNormalization(%c, %s, %s)\n"
                               "  %e : f16[1,32,200,300] = smelt::Reformat(%d)\n"
                               "  output %e\n"
                               "}\n";
    CHECK_INT(launches_of(text, "h200", 2), 1);
    CHECK_INT(launches_of(text, "h200", 3), 1);
    CHECK_INT(launches_of(text, "h200", 4), 2);
    CHECK_INT(launches_of(text, "sm_80", 3), 2);
}

/* Matrices whose columns lie one behind the other in the plan, and are there once, although the first product
 * asks for those of the second to come to L2. */
static void check_turned_matrices(void) {
    enum { SIZE = 64 };
    static char text[2 * SIZE * SIZE * 8 + 1024];
    Lowered l;
    size_t at = (size_t)snprintf(text, sizeof text, "smelt-ir 1\ngraph \"g\"\n");
    for (int m = 0; m < 2; ++m) {
        at += (size_t)snprintf(text + at, sizeof text - at, "constant %%w%d : f16[64,64] = {", m);
        for (int i = 0; i < SIZE * SIZE; ++i)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", i == 0 ? "" : ",", (i * 7 + m) % 100);
        at += (size_t)snprintf(text + at, sizeof text - at, "}\n");
    }
    snprintf(text + at, sizeof text - at,
             "block \"main\" {\n  input %%x : f16[128,64]\n  %%a : f16[128,64] = MatMul(%%x, %%w0)\n"
             "  %%b : f16[128,64] = MatMul(%%a, %%w1)\n  output %%b\n}\n");
    lower_for(&l, text, "h200", 1, 0);
    CHECK_OK(l.status, &l.diag);
    CHECK_INT(l.plan.weights_size, 2 * SIZE * SIZE * 2);
    const PlanValue *second = find_value(&l.plan, "w1");
    CHECK(second != NULL && second->channels_last);
    if (second != NULL) {
        const uint8_t *data = l.plan.weights + second->offset;
        CHECK_INT(data[2 * SIZE] | data[2 * SIZE + 1] << 8,
                  half_from_float((7 + 1) % 100)); /* row 0, column 1 */
    }
    int32_t readers = 0; /* of the second: a map, and the pointer that the first has */
    for (int32_t i = 0; i < l.plan.arg_count; ++i)
        readers += (l.plan.args[i].kind == PLAN_ARG_VALUE || l.plan.args[i].kind == PLAN_ARG_MAP) &&
                   &l.plan.values[l.plan.args[i].value] == second;
    CHECK_INT(readers, 2);
    arena_reset(&l.arena);
}

int main(void) {
    Lowered first, second;
    lower(&first, "sm_80,h200");
    if (first.status == STATUS_WRONG_DEVICE && test_failures == 0) {
        fprintf(stderr, "skipped: %s\n", first.diag.text);
        return 77;
    }
    CHECK_OK(first.status, &first.diag);
    lower(&second, "sm_80,h200");
    CHECK_OK(second.status, &second.diag);
    if (test_failures == 0) {
        check_steps(&first.plan);
        check_kernels(&first.plan);
        check_bytes(&first.plan, &second.plan);
        check_parts();
        check_devices();
        check_moments();
        check_turned_matrices();
    }
    arena_reset(&first.arena);
    arena_reset(&second.arena);
    return test_result();
}
