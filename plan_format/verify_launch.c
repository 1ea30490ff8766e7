#include "plan_format/verify.h"

#include <string.h>

enum {
    LOWEST_SM = 50,
    HIGHEST_SM = 999,
    MOST_GRID_X = INT32_MAX,
    MOST_GRID_YZ = 65535,
    MOST_BLOCK_Z = 64,
    MOST_PARAM_BYTES = 4096, /* of a kernel's parameters */
    PARAM_BYTES = 8,         /* of one that is no map */
    MOST_PARAMS = MOST_PARAM_BYTES / PARAM_BYTES
};

/* -- KERNELS -- */

static Status verify_entry(const Verifier *v, int32_t index) {
    const char *entry = v->plan->kernels[index].entry;
    size_t length = strspn(entry, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (length > 0 && entry[length] == '\0') return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: kernel %d has the entry '%s', not an identifier", index,
                entry);
}

static Status verify_cubin(const Verifier *v, int32_t index) {
    const PlanCubin *cubin = &v->plan->cubins[index];
    if (cubin->sm < LOWEST_SM || cubin->sm > HIGHEST_SM)
        return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: cubin %d is for sm_%d", index, cubin->sm);
    if (cubin->size == 0 && v->plan->arch_step_count == 0)
        return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: cubin %d is empty", index);
    return STATUS_OK;
}

/* Every kernel has a cubin for each architecture of the plan, in the order of kernel 0, which has none twice.
 */
static Status verify_architectures(const Verifier *v, int32_t index) {
    const PlanKernel *kernel = &v->plan->kernels[index], *first = &v->plan->kernels[0];
    if (kernel->cubin_count != first->cubin_count || kernel->cubin_count < 1)
        return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: kernel %d has %d cubins, kernel 0 has %d", index,
                    kernel->cubin_count, first->cubin_count);
    for (int32_t i = 0; i < kernel->cubin_count; ++i) {
        const PlanCubin *cubin = &v->plan->cubins[kernel->cubin_first + i];
        const PlanCubin *expected = &v->plan->cubins[first->cubin_first + i];
        if (cubin->sm != expected->sm || cubin->accelerated != expected->accelerated)
            return FAIL(v->diag, STATUS_BAD_PLAN,
                        "KERNELS: cubin %d of kernel %d is for sm_%d%s, that of kernel 0 for sm_%d%s", i,
                        index, cubin->sm, cubin->accelerated ? "a" : "", expected->sm,
                        expected->accelerated ? "a" : "");
        for (int32_t k = 0; index == 0 && k < i; ++k)
            if (cubin[k - i].sm == cubin->sm && cubin[k - i].accelerated == cubin->accelerated)
                return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: cubins %d and %d of a kernel are for sm_%d",
                            k, i, cubin->sm);
    }
    return STATUS_OK;
}

Status verify_kernels(const Verifier *v) {
    const Plan *plan = v->plan;
    int32_t end = 0;
    for (int32_t i = 0; i < plan->kernel_count; ++i) {
        const PlanKernel *kernel = &plan->kernels[i];
        TRY(verify_entry(v, i));
        if (kernel->param_count < 0 || kernel->param_count > MOST_PARAMS)
            return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: kernel %d has %d parameters; the limit is %d", i,
                        kernel->param_count, MOST_PARAMS);
        TRY(verify_division(v, "KERNELS: kernel", i, kernel->cubin_first, kernel->cubin_count, &end,
                            plan->cubin_count, "cubins"));
        TRY(verify_architectures(v, i));
    }
    if (end != plan->cubin_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "KERNELS: kernels have %d cubins, of %d", end,
                    plan->cubin_count);
    for (int32_t i = 0; i < plan->cubin_count; ++i) TRY(verify_cubin(v, i));
    return STATUS_OK;
}

/* -- launches -- */

/* Whose operand a value was last: a step, and whether it is a result there. */
typedef struct Operand {
    int32_t step; /* + 1 */
    bool is_result;
} Operand;

typedef struct LaunchPass {
    const Verifier *v;
    Operand *operands; /* per value */
    bool *bound;       /* per symbol: a step up to this one binds it */
    bool *known;       /* the same, up to the one before */
    int32_t step, launch, arch;
    PlanDim scratch;                      /* of the step */
    int32_t launch_end, arg_end, map_end; /* that were so far */
} LaunchPass;

Status verify_launch_dim(const Verifier *v, int32_t launch, PlanDim d, const char *what) {
    uint64_t expression = (uint64_t)d - (uint64_t)INT64_MIN;
    if (dim_is_exact(d)) return STATUS_OK;
    if (expression >= (uint64_t)v->plan->expression_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: %s of launch %d is expression %llu, of %d", what,
                    launch, (unsigned long long)expression, v->plan->expression_count);
    if (plan_dim_is_late(v->plan, d))
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: %s of launch %d depends on data", what, launch);
    return STATUS_OK;
}

/* d has no late symbol but those marked. */
static Status verify_known(const LaunchPass *pass, PlanDim d, const bool *bound, const char *what,
                           int32_t index) {
    const Plan *plan = pass->v->plan;
    if (dim_is_exact(d)) return STATUS_OK;
    const PlanExpression *expression = &plan->expressions[plan_dim_expression(d)];
    for (int32_t i = expression->first; i < expression->first + expression->count; ++i) {
        const DimCode *code = &plan->codes[i];
        if (code->op != DIM_SYMBOL || plan->symbols[code->value].kind != SYMBOL_LATE || bound[code->value])
            continue;
        return FAIL(pass->v->diag, STATUS_BAD_PLAN,
                    "STEPS: %s %d depends on '%s', which no step up to %d finds", what, index,
                    plan->symbols[code->value].name, pass->step);
    }
    return STATUS_OK;
}

static Status verify_expression(const LaunchPass *pass, PlanDim d, const char *what) {
    const Verifier *v = pass->v;
    uint64_t expression = (uint64_t)d - (uint64_t)INT64_MIN;
    if (!dim_is_exact(d) && expression >= (uint64_t)v->plan->expression_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: %s %d is expression %llu, of %d", what, pass->launch,
                    (unsigned long long)expression, v->plan->expression_count);
    return verify_known(pass, d, pass->bound, what, pass->launch);
}

static Status verify_geometry(const LaunchPass *pass, const PlanLaunch *launch) {
    const Verifier *v = pass->v;
    static const int64_t most_grid[3] = {MOST_GRID_X, MOST_GRID_YZ, MOST_GRID_YZ};
    static const int32_t most_block[3] = {PLAN_MAX_THREADS, PLAN_MAX_THREADS, MOST_BLOCK_Z};
    int64_t threads = 1;
    for (int i = 0; i < 3; ++i) {
        TRY(verify_expression(pass, launch->grid[i], "a grid size of launch"));
        if (dim_is_exact(launch->grid[i]) && (launch->grid[i] < 0 || launch->grid[i] > most_grid[i]))
            return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has grid size %d of %lld; 0 to %lld",
                        pass->launch, i, (long long)launch->grid[i], (long long)most_grid[i]);
        if (launch->block[i] < 1 || launch->block[i] > most_block[i])
            return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has block size %d of %d; 1 to %d",
                        pass->launch, i, launch->block[i], most_block[i]);
        threads *= launch->block[i];
    }
    if (threads > PLAN_MAX_THREADS)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has blocks of %lld threads; the limit is %d",
                    pass->launch, (long long)threads, PLAN_MAX_THREADS);
    if (launch->shared_bytes < 0 || launch->shared_bytes > PLAN_MAX_SHARED)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has %d bytes of shared memory; 0 to %d",
                    pass->launch, launch->shared_bytes, PLAN_MAX_SHARED);
    if (launch->together && (launch->grid[1] != 1 || launch->grid[2] != 1))
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has blocks together, but not along x",
                    pass->launch);
    return STATUS_OK;
}

static Status verify_value_arg(const LaunchPass *pass, int32_t index, const PlanArg *arg) {
    const Verifier *v = pass->v;
    if (arg->value < 0 || arg->value >= v->plan->value_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d is value %d, of %d", index, arg->value,
                    v->plan->value_count);
    const Operand *operand = &pass->operands[arg->value];
    int32_t storage = v->plan->values[arg->value].storage;
    if (operand->step != pass->step + 1 && (storage != PLAN_WEIGHT || arg->written))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: argument %d is value %d, which no operator of step %d reads or writes", index,
                    arg->value, pass->step);
    if (arg->written && !operand->is_result)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: argument %d is written: value %d, which no operator of step %d writes", index,
                    arg->value, pass->step);
    bool has_memory = storage == PLAN_OWN ? plan_value_is_late(v->plan, arg->value) : storage != PLAN_NOWHERE;
    if (!has_memory)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: argument %d is value %d of storage %d, which has no memory on the device", index,
                    arg->value, storage);
    return STATUS_OK;
}

static Status verify_map_arg(LaunchPass *pass, int32_t index, const PlanArg *arg) {
    const Verifier *v = pass->v;
    if (arg->number != pass->map_end || pass->map_end >= v->plan->map_count || arg->written)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d is map %lld%s; expected %d, of %d", index,
                    (long long)arg->number, arg->written ? ", written" : "", pass->map_end,
                    v->plan->map_count);
    TRY(verify_value_arg(pass, index, arg));
    if (v->plan->values[arg->value].storage == PLAN_OWN)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d is a map of value %d, which has no place",
                    index, arg->value);
    return verify_map(v, pass->launch, pass->map_end++, arg->value);
}

static Status verify_arg(LaunchPass *pass, int32_t index) {
    const Verifier *v = pass->v;
    const PlanArg *arg = &v->plan->args[index];
    PlanDim scratch = pass->scratch;
    if (arg->kind < PLAN_ARG_VALUE || arg->kind > PLAN_ARG_MAP)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d has kind %d, which does not exist", index,
                    arg->kind);
    TRY(verify_expression(pass, arg->number, "an argument of launch"));
    if (arg->kind == PLAN_ARG_MAP) return verify_map_arg(pass, index, arg);
    if (arg->kind == PLAN_ARG_VALUE ? arg->number != 0 : arg->value != -1 || arg->written)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: argument %d of kind %d has value %d, number %lld",
                    index, arg->kind, arg->value, (long long)arg->number);
    if (arg->kind == PLAN_ARG_VALUE) return verify_value_arg(pass, index, arg);
    if (arg->kind == PLAN_ARG_SCRATCH && dim_is_exact(arg->number) &&
        (arg->number < 0 || (dim_is_exact(scratch) && arg->number >= scratch)))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: argument %d begins at byte %lld of the scratch memory of step %d, of %lld", index,
                    (long long)arg->number, pass->step, (long long)scratch);
    return STATUS_OK;
}

static int32_t param_count(const Plan *plan, const PlanLaunch *launch) {
    if (launch->kernel >= 0) return plan->kernels[launch->kernel].param_count;
    const PlanCall *call = &plan->calls[-1 - launch->kernel];
    return call->operand_count + (call->workspace > 0);
}

static Status verify_launch(LaunchPass *pass) {
    const Verifier *v = pass->v;
    const PlanLaunch *launch = &v->plan->launches[pass->launch];
    if (launch->kernel >= v->plan->kernel_count || launch->kernel < -v->plan->call_count)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d is of kernel %d, of %d, with %d calls",
                    pass->launch, launch->kernel, v->plan->kernel_count, v->plan->call_count);
    if (launch->kernel >= 0 &&
        v->plan->cubins[v->plan->kernels[launch->kernel].cubin_first + pass->arch].size == 0)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: launch %d is of kernel %d, which has no code for architecture %d", pass->launch,
                    launch->kernel, pass->arch);
    TRY(verify_division(v, "STEPS: launch", pass->launch, launch->arg_first, launch->arg_count,
                        &pass->arg_end, v->plan->arg_count, "arguments"));
    int32_t params = param_count(v->plan, launch);
    if (launch->arg_count != params)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: launch %d has %d arguments, its kernel %d takes %d",
                    pass->launch, launch->arg_count, launch->kernel, params);
    TRY(verify_geometry(pass, launch));
    int32_t maps = pass->map_end;
    for (int32_t i = launch->arg_first; i < pass->arg_end; ++i) TRY(verify_arg(pass, i));
    maps = pass->map_end - maps;
    if (maps * PLAN_MAP_BYTES + (params - maps) * PARAM_BYTES > MOST_PARAM_BYTES)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: launch %d has %d maps and %d arguments in all, more than %d bytes", pass->launch,
                    maps, params, MOST_PARAM_BYTES);
    if (launch->kernel < 0) return verify_call_launch(v, pass->launch, pass->scratch);
    return STATUS_OK;
}

static Status mark_operand(LaunchPass *pass, int32_t value, bool is_result) {
    const Verifier *v = pass->v;
    if (value < 0) return STATUS_OK;
    const PlanValue *row = &v->plan->values[value];
    for (int32_t i = 0; i < row->rank; ++i)
        TRY(verify_known(pass, row->dim[i], pass->bound, "on the device, the size of value", value));
    Operand *operand = &pass->operands[value];
    operand->is_result = is_result || (operand->step == pass->step + 1 && operand->is_result);
    operand->step = pass->step + 1;
    return STATUS_OK;
}

static Status mark_operands(LaunchPass *pass, const PlanStep *step) {
    for (int32_t i = step->op_first; i < step->op_first + step->op_count; ++i) {
        const PlanOp *op = &pass->v->plan->ops[i];
        for (int32_t k = 0; k < op->input_count; ++k) TRY(mark_operand(pass, op->inputs[k], false));
        for (int32_t k = 0; k < op->output_count; ++k) TRY(mark_operand(pass, op->outputs[k], true));
    }
    return STATUS_OK;
}

static Status verify_host_step(const Verifier *v, int32_t index) {
    for (int32_t a = 0; a < plan_variant_count(v->plan); ++a) {
        const PlanArchStep step = plan_step_on(v->plan, index, a);
        if (step.launch_first == 0 && step.launch_count == 0 && step.scratch_bytes == 0) continue;
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: step %d on the host has %d launches from %d and scratch memory of %lld", index,
                    step.launch_count, step.launch_first, (long long)step.scratch_bytes);
    }
    return STATUS_OK;
}

/* A step leaves what it finds at the start of its scratch memory. */
static Status verify_counts(const LaunchPass *pass, const PlanArchStep *step, int32_t count) {
    const Verifier *v = pass->v;
    if (count == 0) return STATUS_OK;
    if (count > PLAN_MAX_COUNTS || step->launch_count == 0)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: step %d finds %d sizes with %d launches; the limit is %d", pass->step, count,
                    step->launch_count, PLAN_MAX_COUNTS);
    if (dim_is_exact(step->scratch_bytes) && step->scratch_bytes < count * (int64_t)sizeof(int64_t))
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: step %d finds %d sizes in scratch memory of %lld bytes",
                    pass->step, count, (long long)step->scratch_bytes);
    return STATUS_OK;
}

/* What the step does on architecture pass->arch. */
static Status verify_arch_step(LaunchPass *pass, int32_t bound_count) {
    const Verifier *v = pass->v;
    const PlanArchStep step = plan_step_on(v->plan, pass->step, pass->arch);
    if ((step.launch_count == 0) != (v->plan->steps[pass->step].launch_count == 0))
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: step %d has %d launches on architecture %d, %d on the first", pass->step,
                    step.launch_count, pass->arch, v->plan->steps[pass->step].launch_count);
    TRY(verify_division(v, "STEPS: step", pass->step, step.launch_first, step.launch_count, &pass->launch_end,
                        v->plan->launch_count, "launches"));
    TRY(verify_dim(v, step.scratch_bytes, "scratch memory of step", pass->step));
    TRY(verify_known(pass, step.scratch_bytes, pass->known, "the scratch memory of step", pass->step));
    TRY(verify_counts(pass, &step, bound_count));
    pass->scratch = step.scratch_bytes;
    for (pass->launch = step.launch_first; pass->launch < pass->launch_end; ++pass->launch)
        TRY(verify_launch(pass));
    return STATUS_OK;
}

static Status verify_launch_step(LaunchPass *pass, int32_t bound_count) {
    const Verifier *v = pass->v;
    if (pass->step >= v->main_steps)
        return FAIL(v->diag, STATUS_BAD_PLAN, "STEPS: step %d on the device belongs to a body", pass->step);
    pass->launch = pass->launch_end;
    TRY(mark_operands(pass, &v->plan->steps[pass->step]));
    for (pass->arch = 0; pass->arch < plan_variant_count(v->plan); ++pass->arch)
        TRY(verify_arch_step(pass, bound_count));
    return STATUS_OK;
}

/* Of each step there is one for each architecture but the first, or there are none at all. */
static Status verify_arch_steps(const Verifier *v) {
    const Plan *plan = v->plan;
    int32_t arch_count = plan_arch_count(plan);
    int64_t expected = arch_count > 0 ? (int64_t)plan->step_count * (arch_count - 1) : 0;
    if (plan->arch_step_count == 0 || plan->arch_step_count == expected) return STATUS_OK;
    return FAIL(v->diag, STATUS_BAD_PLAN,
                "ARCHITECTURES: %d records for %d steps on %d architectures, expected %lld",
                plan->arch_step_count, plan->step_count, arch_count, (long long)expected);
}

Status verify_launches(const Verifier *v) {
    const Plan *plan = v->plan;
    LaunchPass pass = {.v = v,
                       .operands = ARENA_ARRAY(v->scratch, Operand, plan->value_count),
                       .bound = ARENA_ARRAY(v->scratch, bool, plan->symbol_count),
                       .known = ARENA_ARRAY(v->scratch, bool, plan->symbol_count)};
    int32_t list[PLAN_MAX_COUNTS];
    TRY_ALLOC(v->diag, pass.operands);
    TRY_ALLOC(v->diag, pass.bound);
    TRY_ALLOC(v->diag, pass.known);
    TRY(verify_arch_steps(v));
    for (int32_t i = 0; i < plan->step_count; ++i) {
        pass.step = i;
        int32_t count = i < v->main_steps ? plan_step_binds(plan, &plan->steps[i], pass.bound, list) : 0;
        if (plan->steps[i].kind == PLAN_STEP_HOST)
            TRY(verify_host_step(v, i));
        else
            TRY(verify_launch_step(&pass, count));
        for (int32_t k = 0; k < count && k < PLAN_MAX_COUNTS; ++k) pass.known[list[k]] = true;
        if (count > PLAN_MAX_COUNTS) memcpy(pass.known, pass.bound, (size_t)plan->symbol_count);
    }
    if (pass.launch_end != plan->launch_count || pass.arg_end != plan->arg_count ||
        pass.map_end != plan->map_count)
        return FAIL(v->diag, STATUS_BAD_PLAN,
                    "STEPS: steps hold %d launches, %d arguments and %d maps, of %d, %d and %d",
                    pass.launch_end, pass.arg_end, pass.map_end, plan->launch_count, plan->arg_count,
                    plan->map_count);
    return STATUS_OK;
}
