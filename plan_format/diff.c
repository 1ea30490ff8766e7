#include <string.h>

#include "base/hash.h"
#include "plan_format/print.h"

/* What a comparison walks along. Lines name a thing, then what it is in the first and in the second plan. */
typedef struct Comparison {
    const Plan *a, *b;
    ByteWriter *out;
    int64_t count;
} Comparison;

static void difference(Comparison *c, const char *what, const char *before, const char *after) {
    c->count++;
    print_text(c->out, what);
    write_format(c->out, ": ");
    print_text(c->out, before);
    write_format(c->out, " -> ");
    print_text(c->out, after);
    write_u8(c->out, '\n');
}

static const char *text_of(Comparison *c, const ByteWriter *text) {
    if (text->failed) c->out->failed = true;
    char *copy = text->failed ? NULL : arena_strndup(c->out->arena, (const char *)text->data, text->size);
    if (copy == NULL) c->out->failed = true;
    return copy != NULL ? copy : "";
}

static void compare_texts(Comparison *c, const char *what, const char *a, const char *b) {
    if (strcmp(a, b) != 0) difference(c, what, a, b);
}

static void compare_numbers(Comparison *c, const char *what, int64_t a, int64_t b) {
    if (a == b) return;
    ByteWriter before = byte_writer(c->out->arena), after = byte_writer(c->out->arena);
    write_format(&before, "%lld", (long long)a);
    write_format(&after, "%lld", (long long)b);
    difference(c, what, text_of(c, &before), text_of(c, &after));
}

static void compare_meta(Comparison *c) {
    for (int32_t i = 0; i < c->a->meta_count; ++i) {
        const char *other = plan_meta(c->b, c->a->meta[i].key);
        compare_texts(c, c->a->meta[i].key, c->a->meta[i].value, other != NULL ? other : "(absent)");
    }
    for (int32_t i = 0; i < c->b->meta_count; ++i)
        if (plan_meta(c->a, c->b->meta[i].key) == NULL)
            difference(c, c->b->meta[i].key, "(absent)", c->b->meta[i].value);
}

static const char *value_text(Comparison *c, const Plan *plan, int32_t value, bool storage) {
    ByteWriter text = byte_writer(c->out->arena);
    print_type(plan, value, &text);
    if (storage) {
        write_format(&text, " in ");
        print_storage(plan, value, &text);
    }
    return text_of(c, &text);
}

static int32_t find_binding(const Plan *plan, const PlanBinding *binding) {
    for (int32_t i = 0; i < plan->binding_count; ++i)
        if (plan->bindings[i].is_output == binding->is_output &&
            strcmp(plan->bindings[i].name, binding->name) == 0)
            return i;
    return -1;
}

static void compare_bindings(Comparison *c) {
    for (int32_t i = 0; i < c->a->binding_count; ++i) {
        const PlanBinding *binding = &c->a->bindings[i];
        int32_t other = find_binding(c->b, binding);
        const char *before = value_text(c, c->a, binding->value, false);
        const char *after = other < 0 ? "(absent)" : value_text(c, c->b, c->b->bindings[other].value, false);
        compare_texts(c, binding->name, before, after);
    }
    for (int32_t i = 0; i < c->b->binding_count; ++i)
        if (find_binding(c->a, &c->b->bindings[i]) < 0)
            difference(c, c->b->bindings[i].name, "(absent)",
                       value_text(c, c->b, c->b->bindings[i].value, false));
}

/* A step as one line: its name, operators and results. */
static const char *step_text(Comparison *c, const Plan *plan, int32_t index) {
    const PlanStep *step = &plan->steps[index];
    ByteWriter text = byte_writer(c->out->arena);
    write_format(&text, "%s%s (", step->name, step->late ? ", late" : "");
    for (int32_t i = 0; i < step->op_count; ++i) {
        const PlanOp *op = &plan->ops[step->op_first + i];
        write_format(&text, "%s%s %016llx", i > 0 ? "; " : "", op->name,
                     (unsigned long long)hash_bytes(op->attrs, op->attrs_size));
        for (int32_t k = 0; k < op->output_count; ++k) {
            if (op->outputs[k] < 0) continue;
            write_format(&text, " ");
            print_type(plan, op->outputs[k], &text);
        }
    }
    write_format(&text, ")");
    for (int32_t a = 0; a < plan_variant_count(plan); ++a) {
        const PlanArchStep own = plan_step_on(plan, index, a);
        for (int32_t i = 0; i < own.launch_count; ++i) {
            write_format(&text, i > 0 ? "; " : a > 0 ? " or " : " launches ");
            print_launch(plan, own.launch_first + i, &text);
        }
    }
    if (step->reason[0] != '\0') write_format(&text, " on the host: ");
    print_text(&text, step->reason);
    return text_of(c, &text);
}

/* Steps in order, after the longest common start and before the longest common end. */
static void compare_steps(Comparison *c) {
    int32_t na = c->a->step_count, nb = c->b->step_count, head = 0, tail = 0;
    const char **a = ARENA_ARRAY(c->out->arena, const char *, na);
    const char **b = ARENA_ARRAY(c->out->arena, const char *, nb);
    if (a == NULL || b == NULL) {
        c->out->failed = true;
        return;
    }
    for (int32_t i = 0; i < na; ++i) a[i] = step_text(c, c->a, i);
    for (int32_t i = 0; i < nb; ++i) b[i] = step_text(c, c->b, i);
    while (head < na && head < nb && strcmp(a[head], b[head]) == 0) head++;
    while (tail < na - head && tail < nb - head && strcmp(a[na - 1 - tail], b[nb - 1 - tail]) == 0) tail++;
    for (int32_t i = head; i < na - tail || i < nb - tail; ++i) {
        ByteWriter what = byte_writer(c->out->arena);
        write_format(&what, "step %d", i);
        compare_texts(c, text_of(c, &what), i < na - tail ? a[i] : "(absent)",
                      i < nb - tail ? b[i] : "(absent)");
    }
}

/* Machine code of kernels with the same entry, one line for each that differs. */
static Status compare_kernels(Comparison *c, Diag *diag) {
    NameMap entries = {0};
    ByteWriter before = byte_writer(c->out->arena), after = byte_writer(c->out->arena);
    print_architectures(c->a, &before);
    print_architectures(c->b, &after);
    const char *left = text_of(c, &before), *right = text_of(c, &after);
    compare_texts(c, "architectures", left, right);
    compare_numbers(c, "kernels", c->a->kernel_count, c->b->kernel_count);
    for (int32_t i = 0; i < c->b->kernel_count; ++i)
        if (!name_map_set(&entries, c->out->arena, c->b->kernels[i].entry, i))
            return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; strcmp(left, right) == 0 && i < c->a->kernel_count; ++i) {
        const PlanKernel *kernel = &c->a->kernels[i];
        int32_t other = name_map_find(&entries, kernel->entry);
        for (int32_t k = 0; other >= 0 && k < kernel->cubin_count; ++k) {
            const PlanCubin *a = &c->a->cubins[kernel->cubin_first + k];
            const PlanCubin *b = &c->b->cubins[c->b->kernels[other].cubin_first + k];
            if (a->size != b->size || memcmp(a->data, b->data, a->size) != 0)
                difference(c, kernel->entry, "machine code", "other machine code");
        }
    }
    return STATUS_OK;
}

/* Values by name: type, place, and the data of constants. Needs DEBUG's names in both. */
static Status compare_values(Comparison *c, Diag *diag) {
    NameMap names = {0};
    for (int32_t i = 0; i < c->b->value_count; ++i)
        if (c->b->values[i].name[0] != '\0' && !name_map_set(&names, c->out->arena, c->b->values[i].name, i))
            return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < c->a->value_count; ++i) {
        const PlanValue *value = &c->a->values[i];
        int32_t other = value->name[0] != '\0' ? name_map_find(&names, value->name) : -1;
        if (other < 0) continue;
        compare_texts(c, value->name, value_text(c, c->a, i, true), value_text(c, c->b, other, true));
        if (value->storage != PLAN_WEIGHT || c->b->values[other].storage != PLAN_WEIGHT) continue;
        int64_t size = plan_value_bytes(c->a, i);
        if (size <= 0 || size != plan_value_bytes(c->b, other)) continue;
        if (memcmp(c->a->weights + value->offset, c->b->weights + c->b->values[other].offset, (size_t)size) !=
            0)
            difference(c, value->name, "constant", "other elements");
    }
    return STATUS_OK;
}

static void compare_symbols(Comparison *c) {
    for (int32_t i = 0; i < c->a->symbol_count && i < c->b->symbol_count; ++i) {
        const Symbol *a = &c->a->symbols[i], *b = &c->b->symbols[i];
        compare_texts(c, "symbol", a->name, b->name);
        compare_numbers(c, a->name, a->min, b->min);
        compare_numbers(c, a->name, a->opt, b->opt);
        compare_numbers(c, a->name, a->max, b->max);
    }
    compare_numbers(c, "symbols", c->a->symbol_count, c->b->symbol_count);
}

Status plan_diff(const Plan *a, const Plan *b, ByteWriter *out, int64_t *differences, Diag *diag) {
    Comparison c = {.a = a, .b = b, .out = out};
    compare_meta(&c);
    compare_bindings(&c);
    compare_symbols(&c);
    compare_numbers(&c, "arena bytes", a->arena_size, b->arena_size);
    compare_numbers(&c, "weight bytes", (int64_t)a->weights_size, (int64_t)b->weights_size);
    compare_numbers(&c, "buffers", a->buffer_count, b->buffer_count);
    compare_numbers(&c, "values", a->value_count, b->value_count);
    compare_steps(&c);
    TRY(compare_kernels(&c, diag));
    TRY(compare_values(&c, diag));
    *differences = c.count;
    if (out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}
