/* GPU plans built by hand, of kernels that tests/fake_cuda knows. */
#ifndef SMELT_TESTS_PLAN_SAMPLE_CUDA_H
#define SMELT_TESTS_PLAN_SAMPLE_CUDA_H

#include "ops/attr.h"
#include "tests/plan_sample.h"

enum { KERNEL_ADD, KERNEL_SCALE, KERNEL_SUM_SCRATCH };

static inline PlanArg sample_value(int32_t value, bool written) {
    return (PlanArg){.kind = PLAN_ARG_VALUE, .value = value, .written = written};
}

static inline PlanArg sample_number(PlanDim number) {
    return (PlanArg){.kind = PLAN_ARG_NUMBER, .value = -1, .number = number};
}

static inline PlanLaunch sample_launch(int32_t kernel, PlanDim blocks, int32_t arg_first) {
    return (PlanLaunch){.kernel = kernel,
                        .block = {128, 1, 1},
                        .grid = {blocks, 1, 1},
                        .arg_first = arg_first,
                        .arg_count = 4};
}

/* The parts that both plans share: x f32[n, 4] with n from 0 to 8 (expressions: n, 16 * n, 4 * n, late),
 * kernels for sm_80 and sm_90a. */
static inline void sample_cuda_base(Arena *arena, Plan *plan) {
    static const uint8_t code[16] = "not really code";
    PlanMeta meta[] = {{"driver", "12.4"}, {"gpu", "sm_80,sm_90a"}, {"target", "cuda"}};
    Symbol symbols[] = {{"n", SYMBOL_INPUT, 0, 2, 8}, {"late", SYMBOL_LATE, 0, 1, INT64_MAX}};
    DimCode codes[] = {{DIM_SYMBOL, 0, 0}, {DIM_SYMBOL, 0, 0}, {DIM_PUSH, 0, 16}, {DIM_MUL, 0, 0},
                       {DIM_SYMBOL, 0, 0}, {DIM_PUSH, 0, 4},   {DIM_MUL, 0, 0},   {DIM_SYMBOL, 0, 1}};
    PlanExpression expressions[] = {{0, 1}, {1, 3}, {4, 3}, {7, 1}};
    PlanCubin cubins[6];
    PlanKernel kernels[] = {{"fake_add", 4, 0, 2}, {"fake_scale", 4, 2, 2}, {"fake_sum_scratch", 4, 4, 2}};
    for (int i = 0; i < 6; ++i)
        cubins[i] =
            (PlanCubin){.sm = i % 2 == 0 ? 80 : 90, .accelerated = i % 2 == 1, .data = code, .size = 16};
    plan->major = PLAN_MAJOR;
    plan->minor = PLAN_MINOR;
    plan->fixed = true;
    plan->meta = SAMPLE_COPY(arena, meta);
    plan->meta_count = 3;
    plan->symbols = SAMPLE_COPY(arena, symbols);
    plan->symbol_count = 2;
    plan->codes = SAMPLE_COPY(arena, codes);
    plan->code_count = 8;
    plan->expressions = SAMPLE_COPY(arena, expressions);
    plan->expression_count = 4;
    plan->cubins = SAMPLE_COPY(arena, cubins);
    plan->cubin_count = 6;
    plan->kernels = SAMPLE_COPY(arena, kernels);
    plan->kernel_count = 3;
}

/* What both plans share, and the tables that the function has as arrays of these names. */
#define SAMPLE_CUDA_TABLES(arena, plan)                                                                      \
    do {                                                                                                     \
        sample_cuda_base((arena), &(plan));                                                                  \
        (plan).values = SAMPLE_COPY(arena, values);                                                          \
        (plan).buffers = SAMPLE_COPY(arena, buffers);                                                        \
        (plan).bindings = SAMPLE_COPY(arena, bindings);                                                      \
        (plan).ops = SAMPLE_COPY(arena, ops);                                                                \
        (plan).steps = SAMPLE_COPY(arena, steps);                                                            \
        (plan).programs = SAMPLE_COPY(arena, programs);                                                      \
        (plan).args = SAMPLE_COPY(arena, args);                                                              \
        (plan).launches = SAMPLE_COPY(arena, launches);                                                      \
    } while (0)

/* a = x + x (device), b = -a (host), c = 3 * b, d = c + x, y[i] = d[i] + d[last - i] (device, through scratch
 * memory), v = b flattened (a view), z = -v (host). Results: y, z, and x as it came. What the operators mean
 * is only alike: the fake kernels say what comes out, y[i] = -5 * (x[i] + x[last - i]) and z = 2 * x. */
static inline Plan sample_cuda_plan(Arena *arena) {
    static const float weights[16] = {3.0f};
    static const int32_t operands[] = {0, 0, 1, /* a */ 1, 2, /* b */ 2, 8, 3, /* c */ 3, 0, 4, /* d */
                                       4, 4, 5, /* y */ 2, 6, /* v */ 6, 7 /* z */};
    static const int32_t results[] = {5, 7, 0};
    const PlanDim n = plan_dim_of_expression(0), bytes = plan_dim_of_expression(1),
                  count = plan_dim_of_expression(2);
    PlanValue values[] = {
        {"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
        {"a", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 0, 0, false, 0},
        {"b", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 1, 0, false, 0},
        {"c", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 2, 0, false, 0},
        {"d", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 3, 0, false, 0},
        {"y", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 1, 0, false, 0},
        {"v", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 1, 0, false, 0},
        {"z", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 2, 0, false, 0},
        {"w", DTYPE_F32, 0, {0}, PLAN_WEIGHT, -1, 0, false, 0},
    };
    PlanBuffer buffers[] = {
        {bytes, 0, 1, 0, 128}, {bytes, 1, 5, 128, 128}, {bytes, 2, 3, 0, 128}, {bytes, 3, 3, 256, 128}};
    PlanBinding bindings[] = {{"x", 0, false}, {"y", 5, true}, {"z", 7, true}, {"same", 0, true}};
    PlanOp ops[] = {{"", "Add", 0, 2, 1, operands, operands + 2, sample_no_attrs, 4, "first"},
                    {"", "Neg", 0, 1, 1, operands + 3, operands + 4, sample_no_attrs, 4, "second"},
                    {"", "Mul", 0, 2, 1, operands + 5, operands + 7, sample_no_attrs, 4, "third"},
                    {"", "Add", 0, 2, 1, operands + 8, operands + 10, sample_no_attrs, 4, "fourth"},
                    {"", "Add", 0, 2, 1, operands + 11, operands + 13, sample_no_attrs, 4, "fifth"},
                    {"", "Flatten", 0, 1, 1, operands + 14, operands + 15, sample_no_attrs, 4, "view"},
                    {"", "Neg", 0, 1, 1, operands + 16, operands + 17, sample_no_attrs, 4, "last"}};
    PlanStep steps[] = {
        {.name = "add", .kind = PLAN_STEP_LAUNCH, .op_count = 1, .launch_count = 1, .reason = ""},
        {.name = "neg", .op_first = 1, .op_count = 1, .reason = "no tactic: a test"},
        {.name = "mul",
         .kind = PLAN_STEP_LAUNCH,
         .op_first = 2,
         .op_count = 1,
         .launch_first = 1,
         .launch_count = 1,
         .reason = ""},
        {.name = "add+add",
         .kind = PLAN_STEP_LAUNCH,
         .op_first = 3,
         .op_count = 2,
         .launch_first = 2,
         .launch_count = 2,
         .scratch_bytes = bytes,
         .reason = ""},
        {.name = "flatten",
         .kind = PLAN_STEP_LAUNCH,
         .op_first = 5,
         .op_count = 1,
         .launch_first = 4,
         .reason = ""},
        {.name = "neg", .op_first = 6, .op_count = 1, .reason = "no tactic: a test"}};
    PlanArg args[] = {sample_value(1, true),  sample_value(0, false), sample_value(0, false),
                      sample_number(count),   sample_value(3, true),  sample_value(2, false),
                      sample_number(count),   sample_number(3),       sample_value(4, true),
                      sample_value(3, false), sample_value(0, false), sample_number(count),
                      sample_value(5, true),  sample_value(4, false), {.kind = PLAN_ARG_SCRATCH, .value = -1},
                      sample_number(count)};
    PlanLaunch launches[] = {sample_launch(KERNEL_ADD, n, 0), sample_launch(KERNEL_SCALE, n, 4),
                             sample_launch(KERNEL_ADD, n, 8), sample_launch(KERNEL_SUM_SCRATCH, n, 12)};
    PlanProgram programs[] = {{"main", -1, 1, 3, operands, results, 0, 6}};
    Plan plan = {.value_count = 9,
                 .buffer_count = 4,
                 .binding_count = 4,
                 .op_count = 7,
                 .step_count = 6,
                 .program_count = 1,
                 .launch_count = 4,
                 .arg_count = 16};
    SAMPLE_CUDA_TABLES(arena, plan);
    plan.arena_size = 384;
    plan.arena_lower_bound = 256;
    plan.weights = (const uint8_t *)weights;
    plan.weights_size = 4;
    return plan;
}

/* a = x + x, y = a + x on the device; with `late` also where = NonZero(a) on the host, i64[2, late]. */
static inline Plan sample_cuda_short(Arena *arena, bool late) {
    static const int32_t operands[] = {0, 0, 1, 1, 0, 2, 1, 3};
    static const int32_t results[] = {2, 3};
    const PlanDim n = plan_dim_of_expression(0), bytes = plan_dim_of_expression(1),
                  count = plan_dim_of_expression(2);
    PlanValue values[] = {
        {"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
        {"a", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 0, 0, false, 0},
        {"y", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 1, 0, false, 0},
        {"where", DTYPE_I64, 2, {2, plan_dim_of_expression(3)}, PLAN_BINDING, 2, 0, false, 0}};
    PlanBuffer buffers[] = {{bytes, 0, late ? 2 : 1, 0, 128}};
    PlanBinding bindings[] = {{"x", 0, false}, {"y", 2, true}, {"where", 3, true}};
    PlanOp ops[] = {{"", "Add", 0, 2, 1, operands, operands + 2, sample_no_attrs, 4, "first"},
                    {"", "Add", 0, 2, 1, operands + 3, operands + 5, sample_no_attrs, 4, "second"},
                    {"", "NonZero", 0, 1, 1, operands + 6, operands + 7, sample_no_attrs, 4, "third"}};
    PlanStep steps[] = {
        {.name = "add", .kind = PLAN_STEP_LAUNCH, .op_count = 1, .launch_count = 2, .reason = ""},
        {.name = "add",
         .kind = PLAN_STEP_LAUNCH,
         .op_first = 1,
         .op_count = 1,
         .launch_first = 2,
         .launch_count = 1,
         .reason = ""},
        {.name = "nonzero", .op_first = 2, .op_count = 1, .late = true, .reason = "no tactic: late"}};
    PlanArg args[] = {sample_value(1, true),  sample_value(0, false), sample_value(0, false),
                      sample_number(count),   sample_value(1, true),  sample_value(1, false),
                      sample_number(count),   sample_number(1),       sample_value(2, true),
                      sample_value(1, false), sample_value(0, false), sample_number(count)};
    PlanLaunch launches[] = {sample_launch(KERNEL_ADD, n, 0), sample_launch(KERNEL_SCALE, n, 4),
                             sample_launch(KERNEL_ADD, n, 8)};
    PlanProgram programs[] = {{"main", -1, 1, late ? 2 : 1, operands, results, 0, late ? 3 : 2}};
    Plan plan = {.value_count = late ? 4 : 3,
                 .buffer_count = 1,
                 .binding_count = late ? 3 : 2,
                 .op_count = late ? 3 : 2,
                 .step_count = late ? 3 : 2,
                 .program_count = 1,
                 .launch_count = 3,
                 .arg_count = 12};
    SAMPLE_CUDA_TABLES(arena, plan);
    plan.arena_size = 128;
    plan.arena_lower_bound = 128;
    plan.weights = sample_no_attrs;
    return plan;
}

/* a = x + x, y = a + x: a on sm_80 by one kernel, twice, on sm_90a by one that is there for it alone. */
static inline Plan sample_cuda_archs(Arena *arena) {
    const PlanDim n = plan_dim_of_expression(0), count = plan_dim_of_expression(2);
    Plan plan = sample_cuda_short(arena, false);
    PlanArg args[] = {
        sample_value(1, true), sample_value(0, false), sample_value(0, false), sample_number(count),
        sample_value(1, true), sample_value(0, false), sample_value(0, false), sample_number(count),
        sample_value(1, true), sample_value(0, false), sample_number(count),   sample_number(2),
        sample_value(2, true), sample_value(1, false), sample_value(0, false), sample_number(count),
        sample_value(2, true), sample_value(1, false), sample_value(0, false), sample_number(count)};
    PlanLaunch launches[] = {sample_launch(KERNEL_ADD, n, 0), sample_launch(KERNEL_ADD, n, 4),
                             sample_launch(KERNEL_SCALE, n, 8), sample_launch(KERNEL_ADD, n, 12),
                             sample_launch(KERNEL_ADD, n, 16)};
    PlanArchStep arch_steps[] = {{2, 1, 0}, {4, 1, 0}};
    plan.cubins[2].size = 0;
    plan.args = SAMPLE_COPY(arena, args);
    plan.arg_count = 20;
    plan.launches = SAMPLE_COPY(arena, launches);
    plan.launch_count = 5;
    plan.steps[1].launch_first = 3;
    plan.arch_steps = SAMPLE_COPY(arena, arch_steps);
    plan.arch_step_count = 2;
    return plan;
}

/* a = x through a tensor map of x, y = a + x, both on the device. */
static inline Plan sample_cuda_map(Arena *arena) {
    const PlanDim n = plan_dim_of_expression(0), bytes = plan_dim_of_expression(1),
                  count = plan_dim_of_expression(2);
    Plan plan = sample_cuda_short(arena, false);
    PlanArg args[] = {{.kind = PLAN_ARG_MAP, .value = 0},
                      sample_value(1, true),
                      sample_number(count),
                      sample_value(2, true),
                      sample_value(1, false),
                      sample_value(0, false),
                      sample_number(count)};
    PlanMap maps[] = {{.rank = 3, .swizzle = 32, .dim = {4, n, 1}, .stride = {16, bytes}, .box = {4, 8, 1}}};
    plan.kernels[1].entry = "fake_read_map";
    plan.kernels[1].param_count = 3;
    plan.launches[0] = sample_launch(1, n, 0);
    plan.launches[0].arg_count = 3;
    plan.launches[1] = sample_launch(KERNEL_ADD, n, 3);
    plan.launch_count = 2;
    plan.steps[0].launch_count = 1;
    plan.steps[1].launch_first = 1;
    plan.args = SAMPLE_COPY(arena, args);
    plan.arg_count = 7;
    plan.maps = SAMPLE_COPY(arena, maps);
    plan.map_count = 1;
    return plan;
}

/* a = x + x on the device, z = If(cond) { a } else { -a } on the host: one branch gives a value from outside.
 */
static inline Plan sample_cuda_control(Arena *arena) {
    static const int32_t operands[] = {0, 0, 2, /* a */ 1, 3, /* z */ 2, 4 /* e */};
    static const int32_t params[] = {0, 1}, results[] = {3, 2, 4};
    const PlanDim n = plan_dim_of_expression(0), bytes = plan_dim_of_expression(1),
                  count = plan_dim_of_expression(2);
    AttrList branches = {0};
    ByteWriter attrs = byte_writer(arena);
    attr_set_block(&branches, arena, "then_branch", 1);
    attr_set_block(&branches, arena, "else_branch", 2);
    attr_write(&branches, &attrs);
    PlanValue values[] = {{"x", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 0, 0, false, 0},
                          {"cond", DTYPE_BOOL, 0, {0}, PLAN_BINDING, 1, 0, false, 0},
                          {"a", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 0, 0, false, 0},
                          {"z", DTYPE_F32, 2, {n, 4}, PLAN_BINDING, 2, 0, false, 0},
                          {"e", DTYPE_F32, 2, {n, 4}, PLAN_BUFFER, 1, 0, false, 0}};
    PlanBuffer buffers[] = {{bytes, 0, 1, 0, 128}, {bytes, 1, 1, 128, 128}};
    PlanBinding bindings[] = {{"x", 0, false}, {"cond", 1, false}, {"z", 3, true}};
    PlanOp ops[] = {
        {"", "Add", 0, 2, 1, operands, operands + 2, sample_no_attrs, 4, "first"},
        {"", "If", 0, 1, 1, operands + 3, operands + 4, attrs.data, (uint32_t)attrs.size, "second"},
        {"", "Neg", 0, 1, 1, operands + 5, operands + 6, sample_no_attrs, 4, "inner"}};
    PlanStep steps[] = {
        {.name = "add", .kind = PLAN_STEP_LAUNCH, .op_count = 1, .launch_count = 1, .reason = ""},
        {.name = "if", .op_first = 1, .op_count = 1, .reason = "control flow"},
        {.name = "neg", .op_first = 2, .op_count = 1, .reason = "body"}};
    PlanProgram programs[] = {{"main", -1, 2, 1, params, results, 0, 2},
                              {"then", 1, 0, 1, params, results + 1, 2, 0},
                              {"else", 1, 0, 1, params, results + 2, 2, 1}};
    PlanArg args[] = {sample_value(2, true), sample_value(0, false), sample_value(0, false),
                      sample_number(count)};
    PlanLaunch launches[] = {sample_launch(KERNEL_ADD, n, 0)};
    Plan plan = {.value_count = 5,
                 .buffer_count = 2,
                 .binding_count = 3,
                 .op_count = 3,
                 .step_count = 3,
                 .program_count = 3,
                 .launch_count = 1,
                 .arg_count = 4,
                 .arena_size = 256,
                 .arena_lower_bound = 256};
    SAMPLE_CUDA_TABLES(arena, plan);
    plan.weights = sample_no_attrs;
    return plan;
}

#endif
