#include "plan_format/print.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "plan_format/library.h"

enum { LISTED_WEIGHTS = 20, ORIGINS_WIDTH = 100, TYPE_WIDTH = 28, NAME_WIDTH = 26 };

/* -- pieces -- */

static void print_span(ByteWriter *out, const char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        int length = utf8_length(text + i);
        if (length == 0)
            write_u8(out, '?');
        else
            write_bytes(out, text + i, (size_t)length);
        i += length == 0 ? 1 : (size_t)length;
    }
}

void print_text(ByteWriter *out, const char *text) {
    print_span(out, text, strlen(text));
}

void print_type(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanValue *value = &plan->values[index];
    write_format(out, "%s[", dtype_name((DType)value->dtype));
    for (int32_t i = 0; i < value->rank; ++i) {
        const char *text = plan_dim_print(plan, value->dim[i], out->arena);
        if (i > 0) write_format(out, ", ");
        if (text == NULL)
            out->failed = true;
        else
            print_text(out, text);
    }
    write_u8(out, ']');
}

void print_value_name(const Plan *plan, int32_t index, ByteWriter *out) {
    if (plan->values[index].name[0] != '\0')
        print_text(out, plan->values[index].name);
    else
        write_format(out, "value %d", index);
}

void print_storage(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanValue *value = &plan->values[index];
    switch (value->storage) {
    case PLAN_WEIGHT:
        write_format(out, "weight %lld", (long long)value->offset);
        break;
    case PLAN_BUFFER:
        write_format(out, "buffer %d", value->index);
        if (value->offset != 0) {
            const char *text = plan_dim_print(plan, value->offset, out->arena);
            write_format(out, " + %s", text != NULL ? text : "?");
        }
        break;
    case PLAN_BINDING:
        write_format(out, "%s '", plan->bindings[value->index].is_output ? "output" : "input");
        print_text(out, plan->bindings[value->index].name);
        write_u8(out, '\'');
        break;
    case PLAN_OWN:
        write_format(out, "own memory");
        break;
    default:
        write_format(out, "nowhere");
    }
    if (value->channels_last) write_format(out, ", channels last");
    if (value->span != 0) write_format(out, ", a slice");
}

int64_t plan_value_bytes(const Plan *plan, int32_t index) {
    const PlanValue *value = &plan->values[index];
    int64_t count = 1;
    size_t bytes;
    for (int32_t i = 0; i < value->rank; ++i)
        if (!dim_is_exact(value->dim[i]) || __builtin_mul_overflow(count, value->dim[i], &count)) return -1;
    return dtype_storage((DType)value->dtype, count, &bytes) ? (int64_t)bytes : -1;
}

/* Spaces up to column `width` of what began at `start`. */
static void pad(ByteWriter *out, size_t start, size_t width) {
    do write_u8(out, ' ');
    while (!out->failed && out->size - start < width);
}

/* -- parts -- */

static const char *meta_or(const Plan *plan, const char *key, const char *fallback) {
    const char *value = plan_meta(plan, key);
    return value != NULL ? value : fallback;
}

static void print_meta_line(const Plan *plan, const char *label, const char *key, ByteWriter *out) {
    const char *value = plan_meta(plan, key);
    if (value == NULL || value[0] == '\0') return;
    write_format(out, "  %-10s ", label);
    print_text(out, value);
    write_u8(out, '\n');
}

void print_arch(const Plan *plan, int32_t arch, ByteWriter *out) {
    const PlanCubin *cubin = &plan->cubins[plan->kernels[0].cubin_first + arch];
    write_format(out, "sm_%d%s", cubin->sm, cubin->accelerated ? "a" : "");
}

void print_architectures(const Plan *plan, ByteWriter *out) {
    for (int32_t i = 0; i < plan_arch_count(plan); ++i) {
        if (i > 0) write_format(out, ", ");
        print_arch(plan, i, out);
    }
}

/* "66 launches", or "66 launches on sm_80, 61 on sm_90a". */
static void print_launch_counts(const Plan *plan, ByteWriter *out) {
    if (plan->arch_step_count == 0) write_format(out, "%d launches", plan->launch_count);
    for (int32_t a = 0; plan->arch_step_count > 0 && a < plan_arch_count(plan); ++a) {
        int32_t count = 0;
        for (int32_t i = 0; i < plan->step_count; ++i) count += plan_step_on(plan, i, a).launch_count;
        write_format(out, "%s%d%s on ", a > 0 ? ", " : "", count, a > 0 ? "" : " launches");
        print_arch(plan, a, out);
    }
}

static void print_kernels(const Plan *plan, ByteWriter *out) {
    uint64_t bytes = 0;
    int32_t host_steps = 0;
    if (!plan_is_cuda(plan)) return;
    for (int32_t i = 0; i < plan->cubin_count; ++i) bytes += plan->cubins[i].size;
    for (int32_t i = 0; i < plan->step_count; ++i) host_steps += plan->steps[i].kind == PLAN_STEP_HOST;
    write_format(out, "  kernels    %d, ", plan->kernel_count);
    if (plan->kernel_count > 0) write_format(out, "for ");
    print_architectures(plan, out);
    if (plan->kernel_count > 0) write_format(out, ", ");
    write_format(out, "%s; ", byte_text((double)bytes).text);
    print_launch_counts(plan, out);
    write_format(out, ", %d steps on the host\n", host_steps);
}

/* What the plan needs besides the driver. */
static void print_library(const Plan *plan, PlanLibrary library, ByteWriter *out) {
    const char *version = plan_library_version(plan, library);
    if (version == NULL) return;
    write_format(out, "  needs      %s ", library_names[library].name);
    print_text(out, version);
    write_u8(out, '\n');
}

static void print_summary(const Plan *plan, ByteWriter *out) {
    write_format(out, "plan %d.%d for ", plan->major, plan->minor);
    print_text(out, meta_or(plan, "target", "an unknown target"));
    write_u8(out, '\n');
    print_meta_line(plan, "producer", "producer", out);
    print_meta_line(plan, "model", "model", out);
    print_meta_line(plan, "model hash", "model_hash", out);
    print_meta_line(plan, "opset", "opset", out);
    print_meta_line(plan, "device", "device", out);
    print_meta_line(plan, "driver", "driver", out);
    for (int i = 0; i < PLAN_LIBRARIES; ++i) print_library(plan, (PlanLibrary)i, out);
    print_meta_line(plan, "error", "error", out);
    print_meta_line(plan, "kept f32", "kept", out);
    for (int32_t i = 0; i < plan->meta_count; ++i) {
        if (strncmp(plan->meta[i].key, "option.", 7) != 0) continue;
        write_format(out, "  option     ");
        print_text(out, plan->meta[i].key + 7);
        write_format(out, " = ");
        print_text(out, plan->meta[i].value);
        write_u8(out, '\n');
    }
    if (plan->size > 0) write_format(out, "  file       %s\n", byte_text((double)plan->size).text);
    write_format(out, "  weights    %s\n", byte_text((double)plan->weights_size).text);
    write_format(out, "  arena      %s, lower bound %s%s\n", byte_text((double)plan->arena_size).text,
                 byte_text((double)plan->arena_lower_bound).text,
                 plan->fixed ? "" : " (at the usual shapes; laid out anew for each)");
    print_kernels(plan, out);
    write_format(out, "  contents   %d steps, %d operators, %d values, %d buffers, %d bodies\n",
                 plan->step_count, plan->op_count, plan->value_count, plan->buffer_count,
                 plan->program_count - 1);
}

static void print_symbols(const Plan *plan, ByteWriter *out) {
    if (plan->symbol_count > 0) write_format(out, "\nsymbols\n");
    for (int32_t i = 0; i < plan->symbol_count; ++i) {
        const Symbol *symbol = &plan->symbols[i];
        size_t start = out->size;
        write_format(out, "  ");
        print_text(out, symbol->name);
        pad(out, start, NAME_WIDTH);
        write_format(out, "%lld to ", (long long)symbol->min);
        if (symbol->max == INT64_MAX)
            write_format(out, "any");
        else
            write_format(out, "%lld", (long long)symbol->max);
        if (symbol->kind == SYMBOL_LATE)
            write_format(out, ", depends on data\n");
        else
            write_format(out, ", usually %lld\n", (long long)symbol->opt);
    }
}

static void print_bindings(const Plan *plan, ByteWriter *out) {
    write_format(out, "\nbindings\n");
    for (int32_t i = 0; i < plan->binding_count; ++i) {
        size_t start = out->size;
        write_format(out, "  %-6s  ", plan->bindings[i].is_output ? "output" : "input");
        print_text(out, plan->bindings[i].name);
        pad(out, start, NAME_WIDTH + 10);
        print_type(plan, plan->bindings[i].value, out);
        write_u8(out, '\n');
    }
}

/* The ONNX nodes of a step on one line, cut where there are too many. */
static void print_origins(const Plan *plan, const PlanStep *step, ByteWriter *out) {
    size_t start = out->size;
    for (int32_t i = 0; i < step->op_count; ++i) {
        const char *text = plan->ops[step->op_first + i].origins;
        while (*text != '\0') {
            size_t length = strcspn(text, "\n");
            if (out->size - start > ORIGINS_WIDTH) {
                write_format(out, ", ...");
                return;
            }
            if (out->size > start) write_format(out, ", ");
            print_span(out, text, length);
            text += length + (text[length] == '\n');
        }
    }
}

static void print_dim(const Plan *plan, PlanDim d, ByteWriter *out) {
    const char *text = plan_dim_print(plan, d, out->arena);
    if (text == NULL)
        out->failed = true;
    else
        print_text(out, text);
}

/* "cudnn f16[1, 64, 56, 56] * f16[64, 64, 3, 3] + add + relu, choice 0, workspace 0 B" */
static void print_call(const Plan *plan, int32_t index, ByteWriter *out) {
    static const char *const after[] = {
        "",
#define AFTER(id, name, cudnn, cublaslt) name,
#include "plan_format/after.def"
#undef AFTER
    };
    const PlanCall *call = &plan->calls[index];
    write_format(out, "%s", library_names[call->library].key);
    for (int32_t i = 0; i < 2; ++i) {
        const PlanOperand *operand = &plan->operands[call->operand_first + i];
        write_format(out, "%s%s[", i > 0 ? " * " : " ", dtype_name((DType)operand->dtype));
        for (int32_t d = 0; d < operand->rank; ++d)
            write_format(out, "%s%lld", d > 0 ? ", " : "", (long long)operand->dim[d]);
        write_u8(out, ']');
    }
    for (int32_t i = 0; i < PLAN_CALL_AFTER && call->after[i] != PLAN_AFTER_NONE; ++i)
        write_format(out, " + %s", after[call->after[i]]);
    write_format(out, ", choice %d, workspace %lld B", call->choice, (long long)call->workspace);
}

void print_launch(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanLaunch *launch = &plan->launches[index];
    if (launch->kernel < 0) {
        print_call(plan, -1 - launch->kernel, out);
        return;
    }
    print_text(out, plan->kernels[launch->kernel].entry);
    write_format(out, ", grid ");
    for (int i = 0; i < 3; ++i) {
        if (i > 0) write_format(out, " x ");
        print_dim(plan, launch->grid[i], out);
    }
    write_format(out, ", block %d", launch->block[0] * launch->block[1] * launch->block[2]);
    if (launch->shared_bytes > 0) write_format(out, ", shared %d B", launch->shared_bytes);
    if (launch->together) write_format(out, ", together");
}

static void print_arch_step(const Plan *plan, const PlanArchStep *step, ByteWriter *out) {
    for (int32_t l = step->launch_first; l < step->launch_first + step->launch_count; ++l) {
        write_format(out, "          ");
        print_launch(plan, l, out);
        write_u8(out, '\n');
    }
    if (step->scratch_bytes == 0) return;
    write_format(out, "          scratch ");
    print_dim(plan, step->scratch_bytes, out);
    write_format(out, " B\n");
}

/* Whether a step does something else on another architecture than on the first. */
static bool launches_differ(const Plan *plan, int32_t index) {
    const PlanArchStep first = plan_step_on(plan, index, 0);
    for (int32_t a = 1; a < plan_variant_count(plan); ++a) {
        const PlanArchStep other = plan_step_on(plan, index, a);
        if (other.launch_count != first.launch_count || other.scratch_bytes != first.scratch_bytes)
            return true;
        for (int32_t i = 0; i < first.launch_count; ++i) {
            const PlanLaunch *one = &plan->launches[first.launch_first + i];
            const PlanLaunch *two = &plan->launches[other.launch_first + i];
            if (one->kernel != two->kernel || one->shared_bytes != two->shared_bytes ||
                one->together != two->together || memcmp(one->grid, two->grid, sizeof one->grid) != 0 ||
                memcmp(one->block, two->block, sizeof one->block) != 0)
                return true;
        }
    }
    return false;
}

/* What runs on the device, or why nothing does. */
static void print_step_device(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanStep *step = &plan->steps[index];
    bool differs = launches_differ(plan, index);
    for (int32_t a = 0; a < (differs ? plan_variant_count(plan) : 1); ++a) {
        const PlanArchStep own = plan_step_on(plan, index, a);
        if (differs) {
            write_format(out, "          on ");
            print_arch(plan, a, out);
            write_format(out, ":\n");
        }
        print_arch_step(plan, &own, out);
    }
    if (step->reason[0] == '\0') return;
    write_format(out, step->kind == PLAN_STEP_HOST ? "          on the host: " : "          tactic: ");
    print_text(out, step->reason);
    write_u8(out, '\n');
}

static void print_step(const Plan *plan, int32_t index, ByteWriter *out) {
    const PlanStep *step = &plan->steps[index];
    const PlanOp *last = &plan->ops[step->op_first + step->op_count - 1];
    size_t start = out->size;
    write_format(out, "%6d  ", index);
    print_text(out, step->name);
    if (step->late) write_format(out, " (late)");
    pad(out, start, NAME_WIDTH + 8);
    size_t type_at = out->size;
    if (last->output_count > 0 && last->outputs[0] >= 0) print_type(plan, last->outputs[0], out);
    pad(out, type_at, TYPE_WIDTH);
    print_origins(plan, step, out);
    write_u8(out, '\n');
    print_step_device(plan, index, out);
}

static void print_steps(const Plan *plan, ByteWriter *out) {
    for (int32_t p = 0; p < plan->program_count; ++p) {
        const PlanProgram *program = &plan->programs[p];
        if (p == 0) {
            write_format(out, "\nsteps %28s %-*s ONNX nodes\n", "", TYPE_WIDTH - 1, "result");
        } else {
            write_format(out, "\nbody %d '", p);
            print_text(out, program->name);
            write_format(out, "' of operator %d (", program->owner);
            print_text(out, plan->ops[program->owner].name);
            write_format(out, ")\n");
        }
        for (int32_t i = 0; i < program->step_count; ++i) print_step(plan, program->step_first + i, out);
    }
}

typedef struct Row {
    int64_t key;
    int32_t index;
} Row;

static int row_order(const void *a, const void *b) {
    const Row *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static Status print_peak(const Plan *plan, ByteWriter *out, Diag *diag) {
    PlanPeak peak;
    if (plan->buffer_count == 0) return STATUS_OK;
    if (!plan_find_peak(plan, out->arena, &peak)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    write_format(out, "\narena %lld B, lower bound %lld B; most is needed at step %d (",
                 (long long)plan->arena_size, (long long)plan->arena_lower_bound, peak.step);
    print_text(out, plan->steps[peak.step].name);
    write_format(out, "), %lld B\n", (long long)peak.bytes);
    for (int32_t i = 0; i < peak.count && i < LISTED_WEIGHTS; ++i) {
        size_t start = out->size;
        write_format(out, "  %12lld B  ", (long long)peak.tenants[i].bytes);
        if (peak.tenants[i].value >= 0) print_type(plan, peak.tenants[i].value, out);
        pad(out, start, 16 + TYPE_WIDTH);
        if (peak.tenants[i].value >= 0) print_value_name(plan, peak.tenants[i].value, out);
        write_format(out, "%s(buffer %d)\n", peak.tenants[i].value >= 0 ? "  " : "", peak.tenants[i].buffer);
    }
    return STATUS_OK;
}

/* The values of each buffer, in one pass over values sorted by buffer. */
static Row *values_by_buffer(const Plan *plan, Arena *arena, int32_t *count) {
    Row *rows = ARENA_ARRAY(arena, Row, plan->value_count);
    *count = 0;
    for (int32_t i = 0; rows != NULL && i < plan->value_count; ++i)
        if (plan->values[i].storage == PLAN_BUFFER) rows[(*count)++] = (Row){plan->values[i].index, i};
    if (rows != NULL) qsort(rows, (size_t)*count, sizeof *rows, row_order);
    return rows;
}

static Status print_memory(const Plan *plan, ByteWriter *out, Diag *diag) {
    int32_t count, next = 0;
    Row *rows = values_by_buffer(plan, out->arena, &count);
    TRY_ALLOC(diag, rows);
    if (plan->buffer_count > 0)
        write_format(out, "\nmemory map\n  buffer      offset  steps        size, values\n");
    for (int32_t b = 0; b < plan->buffer_count; ++b) {
        const PlanBuffer *buffer = &plan->buffers[b];
        const char *size = plan_dim_print(plan, buffer->size, out->arena);
        TRY_ALLOC(diag, size);
        size_t start = out->size;
        write_format(out, "  %6d  ", b);
        if (buffer->offset >= 0)
            write_format(out, "%10lld", (long long)buffer->offset);
        else
            write_format(out, "%10s", "-");
        write_format(out, "  %d to %d", buffer->first, buffer->last);
        pad(out, start, 35);
        print_text(out, size);
        write_format(out, " B:");
        for (int32_t shown = 0; next < count && rows[next].key == b; ++next, ++shown) {
            if (shown > 3) continue;
            write_format(out, shown > 0 ? ", " : " ");
            if (shown == 3)
                write_format(out, "...");
            else
                print_value_name(plan, rows[next].index, out);
        }
        write_u8(out, '\n');
    }
    return STATUS_OK;
}

static Status print_weights(const Plan *plan, ByteWriter *out, Diag *diag) {
    Row *rows = ARENA_ARRAY(out->arena, Row, plan->value_count);
    int32_t count = 0;
    TRY_ALLOC(diag, rows);
    for (int32_t i = 0; i < plan->value_count; ++i)
        if (plan->values[i].storage == PLAN_WEIGHT) rows[count++] = (Row){-plan_value_bytes(plan, i), i};
    qsort(rows, (size_t)count, sizeof *rows, row_order);
    if (count > 0)
        write_format(out, "\nweights: %d constants%s\n", count,
                     count > LISTED_WEIGHTS ? ", the largest" : "");
    for (int32_t i = 0; i < count && i < LISTED_WEIGHTS; ++i) {
        size_t start = out->size;
        write_format(out, "  %12lld B  ", (long long)-rows[i].key);
        print_type(plan, rows[i].index, out);
        pad(out, start, 16 + TYPE_WIDTH);
        print_value_name(plan, rows[i].index, out);
        write_u8(out, '\n');
    }
    return STATUS_OK;
}

Status plan_print(const Plan *plan, ByteWriter *out, Diag *diag) {
    print_summary(plan, out);
    print_bindings(plan, out);
    print_symbols(plan, out);
    print_steps(plan, out);
    TRY(print_memory(plan, out, diag));
    TRY(print_peak(plan, out, diag));
    TRY(print_weights(plan, out, diag));
    if (out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}
