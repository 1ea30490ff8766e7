#include <string.h>

#include "plan_format/print.h"

static void json_key(ByteWriter *out, const char *name) {
    write_format(out, "\"%s\": ", name);
}

static void json_dim(const Plan *plan, PlanDim d, ByteWriter *out) {
    if (dim_is_exact(d)) {
        write_format(out, "%lld", (long long)d);
        return;
    }
    const char *text = plan_dim_print(plan, d, out->arena);
    write_json_text(out, text != NULL ? text : "?");
}

static void json_shape(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanValue *value = &plan->values[index];
    write_format(out, "\"dtype\": \"%s\", \"shape\": [", dtype_name((DType)value->dtype));
    for (int32_t i = 0; i < value->rank; ++i) {
        if (i > 0) write_format(out, ", ");
        json_dim(plan, value->dim[i], out);
    }
    write_u8(out, ']');
}

static void json_list(const int32_t *items, int32_t count, ByteWriter *out) {
    write_u8(out, '[');
    for (int32_t i = 0; i < count; ++i) write_format(out, i > 0 ? ", %d" : "%d", items[i]);
    write_u8(out, ']');
}

/* The lines of one list: begins with `"name": [`, one row per line. */
static void json_open(ByteWriter *out, const char *name) {
    write_format(out, ",\n\"%s\": [", name);
}

static void json_row(ByteWriter *out, int32_t index) {
    write_format(out, index > 0 ? ",\n  {" : "\n  {");
}

static void json_meta(const Plan *plan, ByteWriter *out) {
    write_format(out, "{\"format\": \"%d.%d\",\n\"meta\": {", plan->major, plan->minor);
    for (int32_t i = 0; i < plan->meta_count; ++i) {
        if (i > 0) write_format(out, ", ");
        write_json_text(out, plan->meta[i].key);
        write_format(out, ": ");
        write_json_text(out, plan->meta[i].value);
    }
    write_format(out,
                 "},\n\"file_bytes\": %llu, \"weights_bytes\": %llu, \"arena_bytes\": %lld, "
                 "\"arena_lower_bound\": %lld, \"fixed\": %s",
                 (unsigned long long)plan->size, (unsigned long long)plan->weights_size,
                 (long long)plan->arena_size, (long long)plan->arena_lower_bound,
                 plan->fixed ? "true" : "false");
}

static void json_bindings(const Plan *plan, ByteWriter *out) {
    json_open(out, "symbols");
    for (int32_t i = 0; i < plan->symbol_count; ++i) {
        const Symbol *symbol = &plan->symbols[i];
        json_row(out, i);
        json_key(out, "name");
        write_json_text(out, symbol->name);
        write_format(out, ", \"late\": %s, \"min\": %lld, \"opt\": %lld, \"max\": ",
                     symbol->kind == SYMBOL_LATE ? "true" : "false", (long long)symbol->min,
                     (long long)symbol->opt);
        if (symbol->max == INT64_MAX)
            write_format(out, "null}");
        else
            write_format(out, "%lld}", (long long)symbol->max);
    }
    write_u8(out, ']');
    json_open(out, "bindings");
    for (int32_t i = 0; i < plan->binding_count; ++i) {
        json_row(out, i);
        json_key(out, "name");
        write_json_text(out, plan->bindings[i].name);
        write_format(out, ", \"output\": %s, \"value\": %d, ", plan->bindings[i].is_output ? "true" : "false",
                     plan->bindings[i].value);
        json_shape(plan, plan->bindings[i].value, out);
        write_u8(out, '}');
    }
    write_u8(out, ']');
}

static void json_peak(const Plan *plan, ByteWriter *out) {
    PlanPeak peak;
    if (!plan_find_peak(plan, out->arena, &peak)) {
        out->failed = true;
        return;
    }
    write_format(out, ", \"peak\": {\"step\": %d, \"bytes\": %lld, \"tensors\": [", peak.step,
                 (long long)peak.bytes);
    for (int32_t i = 0; i < peak.count; ++i)
        write_format(out, "%s{\"buffer\": %d, \"value\": %d, \"bytes\": %lld}", i > 0 ? ", " : "",
                     peak.tenants[i].buffer, peak.tenants[i].value, (long long)peak.tenants[i].bytes);
    write_format(out, "]}");
}

static void json_memory(const Plan *plan, ByteWriter *out) {
    static const char *const storages[] = {"weight", "buffer", "binding", "own", "nowhere"};
    json_open(out, "buffers");
    for (int32_t i = 0; i < plan->buffer_count; ++i) {
        const PlanBuffer *buffer = &plan->buffers[i];
        json_row(out, i);
        json_key(out, "size");
        json_dim(plan, buffer->size, out);
        write_format(out, ", \"capacity\": %lld, \"offset\": %lld, \"first\": %d, \"last\": %d}",
                     (long long)buffer->capacity, (long long)buffer->offset, buffer->first, buffer->last);
    }
    write_u8(out, ']');
    json_open(out, "values");
    for (int32_t i = 0; i < plan->value_count; ++i) {
        const PlanValue *value = &plan->values[i];
        json_row(out, i);
        json_key(out, "name");
        write_json_text(out, value->name);
        write_format(out, ", ");
        json_shape(plan, i, out);
        write_format(out, ", \"storage\": \"%s\", \"index\": %d, \"offset\": ", storages[value->storage],
                     value->index);
        json_dim(plan, value->offset, out);
        write_format(out,
                     ", \"layout\": \"%s\", \"span\": ", value->channels_last ? "channels_last" : "plain");
        json_dim(plan, value->span, out);
        write_u8(out, '}');
    }
    write_u8(out, ']');
    json_peak(plan, out);
}

static void json_ops(const Plan *plan, const PlanStep *step, ByteWriter *out) {
    for (int32_t i = 0; i < step->op_count; ++i) {
        const PlanOp *op = &plan->ops[step->op_first + i];
        write_format(out, i > 0 ? ", {" : "{");
        json_key(out, "op");
        write_json_text(out, op->name);
        write_format(out, ", \"domain\": ");
        write_json_text(out, op->domain);
        write_format(out, ", \"opset\": %d, \"inputs\": ", op->opset);
        json_list(op->inputs, op->input_count, out);
        write_format(out, ", \"outputs\": ");
        json_list(op->outputs, op->output_count, out);
        write_format(out, ", \"origins\": ");
        write_json_text(out, op->origins);
        write_u8(out, '}');
    }
}

static void json_map(const Plan *plan, const PlanArg *arg, ByteWriter *out) {
    const PlanMap *map = &plan->maps[arg->number];
    write_format(out, "{\"value\": %d, \"windows\": %s, \"swizzle\": %d, \"extents\": [", arg->value,
                 map->windows ? "true" : "false", map->swizzle);
    for (int32_t i = 0; i < map->rank; ++i) {
        if (i > 0) write_format(out, ", ");
        json_dim(plan, map->dim[i], out);
    }
    write_format(out, "], \"box\": ");
    json_list(map->box, map->windows ? 2 : map->rank, out);
    write_u8(out, '}');
}

static void json_arg(const Plan *plan, const PlanArg *arg, ByteWriter *out) {
    static const char *const kinds[] = {"value", "number", "scratch", "map"};
    write_format(out, "{\"%s\": ", kinds[arg->kind]);
    if (arg->kind == PLAN_ARG_VALUE)
        write_format(out, "%d, \"written\": %s", arg->value, arg->written ? "true" : "false");
    else if (arg->kind == PLAN_ARG_MAP)
        json_map(plan, arg, out);
    else
        json_dim(plan, arg->number, out);
    write_u8(out, '}');
}

static void json_launch(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanLaunch *launch = &plan->launches[index];
    write_format(out, launch->kernel < 0 ? "{\"library\": " : "{\"kernel\": ");
    write_json_text(out, plan_launch_name(plan, index));
    write_format(out, ", \"grid\": [");
    for (int i = 0; i < 3; ++i) {
        if (i > 0) write_format(out, ", ");
        json_dim(plan, launch->grid[i], out);
    }
    write_format(out, "], \"block\": ");
    json_list(launch->block, 3, out);
    write_format(out, ", \"shared_bytes\": %d, \"together\": %s, \"arguments\": [", launch->shared_bytes,
                 launch->together ? "true" : "false");
    for (int32_t i = 0; i < launch->arg_count; ++i) {
        if (i > 0) write_format(out, ", ");
        json_arg(plan, &plan->args[launch->arg_first + i], out);
    }
    write_format(out, "]}");
}

static void json_arch_step(const Plan *plan, const PlanArchStep *step, ByteWriter *out) {
    write_format(out, "\"scratch_bytes\": ");
    json_dim(plan, step->scratch_bytes, out);
    write_format(out, ", \"launches\": [");
    for (int32_t i = 0; i < step->launch_count; ++i) {
        if (i > 0) write_format(out, ", ");
        json_launch(plan, step->launch_first + i, out);
    }
    write_u8(out, ']');
}

/* Of a GPU plan's step: its launches, on each architecture where they differ, or why it has none. */
static void json_device(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanStep *step = &plan->steps[index];
    const PlanArchStep first = plan_step_on(plan, index, 0);
    if (!plan_is_cuda(plan)) return;
    write_format(out, ", \"device\": %s, \"reason\": ", step->kind == PLAN_STEP_LAUNCH ? "true" : "false");
    write_json_text(out, step->reason);
    write_format(out, ", ");
    json_arch_step(plan, &first, out);
    if (plan->arch_step_count == 0) return;
    write_format(out, ", \"architectures\": {");
    for (int32_t a = 1; a < plan_arch_count(plan); ++a) {
        const PlanArchStep own = plan_step_on(plan, index, a);
        write_format(out, a > 1 ? ", \"" : "\"");
        print_arch(plan, a, out);
        write_format(out, "\": {");
        json_arch_step(plan, &own, out);
        write_u8(out, '}');
    }
    write_u8(out, '}');
}

static void json_kernels(const Plan *plan, ByteWriter *out) {
    json_open(out, "kernels");
    for (int32_t i = 0; i < plan->kernel_count; ++i) {
        const PlanKernel *kernel = &plan->kernels[i];
        json_row(out, i);
        json_key(out, "entry");
        write_json_text(out, kernel->entry);
        write_format(out, ", \"parameters\": %d, \"cubins\": {", kernel->param_count);
        for (int32_t k = 0; k < kernel->cubin_count; ++k) {
            const PlanCubin *cubin = &plan->cubins[kernel->cubin_first + k];
            write_format(out, "%s\"sm_%d%s\": %u", k > 0 ? ", " : "", cubin->sm,
                         cubin->accelerated ? "a" : "", cubin->size);
        }
        write_format(out, "}}");
    }
    write_u8(out, ']');
}

static void json_programs(const Plan *plan, ByteWriter *out) {
    json_open(out, "programs");
    for (int32_t i = 0; i < plan->program_count; ++i) {
        const PlanProgram *program = &plan->programs[i];
        json_row(out, i);
        json_key(out, "name");
        write_json_text(out, program->name);
        write_format(out, ", \"owner\": %d, \"params\": ", program->owner);
        json_list(program->params, program->param_count, out);
        write_format(out, ", \"results\": ");
        json_list(program->results, program->result_count, out);
        write_format(out, ", \"step_first\": %d, \"step_count\": %d}", program->step_first,
                     program->step_count);
    }
    write_u8(out, ']');
    json_open(out, "steps");
    for (int32_t i = 0; i < plan->step_count; ++i) {
        json_row(out, i);
        json_key(out, "name");
        write_json_text(out, plan->steps[i].name);
        write_format(out, ", \"late\": %s, \"operators\": [", plan->steps[i].late ? "true" : "false");
        json_ops(plan, &plan->steps[i], out);
        write_u8(out, ']');
        json_device(plan, i, out);
        write_u8(out, '}');
    }
    write_format(out, "]}\n");
}

Status plan_print_json(const Plan *plan, ByteWriter *out, Diag *diag) {
    json_meta(plan, out);
    json_bindings(plan, out);
    json_memory(plan, out);
    if (plan_is_cuda(plan)) json_kernels(plan, out);
    json_programs(plan, out);
    if (out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}
