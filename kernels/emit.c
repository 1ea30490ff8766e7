#include "kernels/emit.h"

#include <string.h>

#include "base/hash.h"
#include "kernels/emit_writer.h"

enum {
    MOST_PARAMETERS = 512, /* 4096 bytes */
    MOST_INCLUDES = 16,
    MOST_INDEX = INT32_MAX / 2, /* a grid-stride loop steps past the count by less than the count again */
    MOST_BLOCKS = 1 << 20,      /* of a grid-stride loop */
    ENTRY_HASH = 16             /* hexadecimal digits */
};

/* Stands for the hash in the entry's name until it is known: the same text for equal units. */
static const char entry_place[] = "@@@@@@@@@@@@@@@@";

typedef struct Parameter {
    KernelArg arg;
    const char *name, *type; /* of elements, "float" */
    bool member;             /* of the struct being written */
} Parameter;

struct KernelWriter {
    Emission *emission;
    const char *family;
    Parameter *parameters;
    int32_t parameter_count, parameter_capacity, pointers, results, numbers, scratches, maps;
    int32_t resident, cluster; /* blocks; resident 0: not said */
    bool waits;                /* for the kernel in front, somewhere in the body */
    bool together;
    const char *includes[MOST_INCLUDES];
    int32_t include_count;
    ByteWriter declarations, body;
    bool wide;            /* Index has 64 bits */
    bool failed;          /* out of memory */
    const char *overflow; /* what there was too much of, or NULL */
};

KernelWriter *kernel_begin(Emission *emission, const char *family) {
    KernelWriter *w = ARENA_NEW(emission->arena, KernelWriter);
    if (w == NULL) return NULL;
    w->emission = emission;
    w->family = family;
    w->cluster = 1;
    w->declarations = byte_writer(emission->arena);
    w->body = byte_writer(emission->arena);
    return w;
}

Emission *kernel_emission(KernelWriter *w) {
    return w->emission;
}

const char *kernel_text(KernelWriter *w, const char *text) {
    if (text == NULL) w->failed = true;
    return text == NULL ? "" : text;
}

/* -- parameters -- */

static const char *use_parameter(KernelWriter *w, int32_t i) {
    w->parameters[i].member = true;
    return w->parameters[i].name;
}

static const char *add_parameter(KernelWriter *w, KernelArg arg, const char *type, char letter,
                                 int32_t number) {
    const char *name = arena_printf(w->emission->arena, "%c%d", letter, number);
    if (w->parameter_count == MOST_PARAMETERS) w->overflow = "parameters";
    if (name == NULL || type == NULL || w->overflow != NULL ||
        !ARENA_RESERVE(w->emission->arena, w->parameters, w->parameter_count, w->parameter_capacity)) {
        w->failed = true;
        return "";
    }
    w->parameters[w->parameter_count] = (Parameter){.arg = arg, .name = name, .type = type};
    return use_parameter(w, w->parameter_count++);
}

/* Index needs 64 bits where a number up to d is indexed with. */
static void note_extent(KernelWriter *w, Dim d) {
    int64_t low, high;
    dim_bounds(w->emission->graph->dims, d, &low, &high);
    if (high > MOST_INDEX || low < -MOST_INDEX) w->wide = true;
}

static const char *value_parameter(KernelWriter *w, KernelArg wanted) {
    ValueId id = wanted.value;
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        const KernelArg *arg = &w->parameters[i].arg;
        if (arg->kind == KERNEL_ARG_VALUE && arg->value == id && arg->written == wanted.written &&
            arg->turned == wanted.turned && arg->in_any_order == wanted.in_any_order)
            return use_parameter(w, i);
    }
    const Value *value = &w->emission->graph->values[id];
    note_extent(w, value_span(w->emission->graph, id));
    wanted.kind = KERNEL_ARG_VALUE;
    return add_parameter(w, wanted, cuda_type(value->dtype), wanted.written ? 'r' : 'p',
                         wanted.written ? w->results++ : w->pointers++);
}

const char *kernel_pointer(KernelWriter *w, ValueId value) {
    return value_parameter(w, (KernelArg){.value = value});
}

const char *kernel_turned(KernelWriter *w, ValueId value) {
    return value_parameter(w, (KernelArg){.value = value, .turned = true});
}

const char *kernel_in_any_order(KernelWriter *w, ValueId value) {
    return value_parameter(w, (KernelArg){.value = value, .in_any_order = true});
}

const char *kernel_result(KernelWriter *w, ValueId value) {
    return value_parameter(w, (KernelArg){.value = value, .written = true});
}

const char *kernel_number(KernelWriter *w, Dim d) {
    note_extent(w, d);
    if (dim_is_exact(d)) {
        const char *suffix = d > INT32_MAX || d < -INT32_MAX ? "LL" : "";
        return kernel_text(w, arena_printf(w->emission->arena, "%s%lld%s%s", d < 0 ? "(" : "", (long long)d,
                                           suffix, d < 0 ? ")" : ""));
    }
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        const KernelArg *arg = &w->parameters[i].arg;
        if (arg->kind == KERNEL_ARG_NUMBER && arg->number == d) return use_parameter(w, i);
    }
    KernelArg arg = {.kind = KERNEL_ARG_NUMBER, .value = NONE, .number = d};
    return add_parameter(w, arg, "long long", 'n', w->numbers++);
}

const char *kernel_scratch(KernelWriter *w, Dim offset, const char *type) {
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        const Parameter *p = &w->parameters[i];
        if (p->arg.kind == KERNEL_ARG_SCRATCH && p->arg.number == offset && strcmp(p->type, type) == 0)
            return use_parameter(w, i);
    }
    KernelArg arg = {.kind = KERNEL_ARG_SCRATCH, .value = NONE, .written = true, .number = offset};
    return add_parameter(w, arg, arena_strdup(w->emission->arena, type), 's', w->scratches++);
}

/* Each map is a parameter of its own, never a member of a struct: the copy engine reads it where it is. */
const char *kernel_map(KernelWriter *w, const KernelMap *map) {
    KernelMap *copy = ARENA_NEW(w->emission->arena, KernelMap);
    if (copy == NULL) return kernel_text(w, NULL);
    *copy = *map;
    KernelArg arg = {.kind = KERNEL_ARG_MAP, .value = map->value, .map = copy};
    const char *name = add_parameter(w, arg, "TensorMap", 'm', w->maps++);
    if (!w->failed) w->parameters[w->parameter_count - 1].member = false;
    return name;
}

void kernel_resident(KernelWriter *w, int32_t blocks) {
    w->resident = blocks;
}

void kernel_cluster(KernelWriter *w, int32_t blocks) {
    w->cluster = blocks;
}

void kernel_together(KernelWriter *w) {
    w->together = true;
}

void kernel_waits(KernelWriter *w) {
    w->waits = true;
}

const char *kernel_dim(KernelWriter *w, ValueId value, int32_t i) {
    return kernel_number(w, w->emission->graph->values[value].shape.dim[i]);
}

const char *kernel_count(KernelWriter *w, ValueId value) {
    Graph *graph = w->emission->graph;
    return kernel_number(w, shape_count(graph->dims, &graph->values[value].shape));
}

/* -- text -- */

void kernel_include(KernelWriter *w, const char *file) {
    for (int32_t i = 0; i < w->include_count; ++i)
        if (strcmp(w->includes[i], file) == 0) return;
    if (w->include_count == MOST_INCLUDES)
        w->overflow = "includes";
    else
        w->includes[w->include_count++] = kernel_text(w, arena_strdup(w->emission->arena, file));
}

void kernel_declare(KernelWriter *w, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_format_list(&w->declarations, format, arguments);
    va_end(arguments);
    write_u8(&w->declarations, '\n');
}

void kernel_line(KernelWriter *w, const char *format, ...) {
    va_list arguments;
    write_format(&w->body, "    ");
    va_start(arguments, format);
    write_format_list(&w->body, format, arguments);
    va_end(arguments);
    write_u8(&w->body, '\n');
}

/* -- structs -- */

void kernel_struct_begin(KernelWriter *w) {
    for (int32_t i = 0; i < w->parameter_count; ++i) w->parameters[i].member = false;
}

static void write_member(const Parameter *p, ByteWriter *out) {
    if (p->arg.kind == KERNEL_ARG_NUMBER)
        write_format(out, "    Index %s;\n", p->name);
    else
        write_format(out, "    %s%s *%s;\n", p->arg.written ? "" : "const ", p->type, p->name);
}

const char *kernel_struct_end(KernelWriter *w, const char *name, const ByteWriter *functions) {
    ByteWriter values = byte_writer(w->emission->arena);
    write_format(&values, "%s{", name);
    kernel_declare(w, "struct %s {", name);
    const char *separator = "";
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        if (!w->parameters[i].member) continue;
        write_member(&w->parameters[i], &w->declarations);
        write_format(&values, "%s%s", separator, w->parameters[i].name);
        separator = ", ";
    }
    write_bytes(&w->declarations, functions->data, functions->size);
    kernel_declare(w, "};");
    write_format(&values, "}");
    write_u8(&values, 0);
    if (functions->failed || values.failed) return kernel_text(w, NULL);
    return (const char *)values.data;
}

/* -- the unit -- */

/* A result may lie where an input lies that is used up here. */
static bool may_alias(const KernelWriter *w, const Parameter *p) {
    if (p->arg.kind != KERNEL_ARG_VALUE) return p->arg.kind == KERNEL_ARG_SCRATCH;
    const Value *values = w->emission->graph->values;
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        const KernelArg *other = &w->parameters[i].arg;
        if (other->kind != KERNEL_ARG_VALUE || other->written == p->arg.written) continue;
        BufferId buffer = values[p->arg.value].buffer;
        if (other->value == p->arg.value || (buffer != NONE && buffer == values[other->value].buffer))
            return true;
    }
    return false;
}

static void write_parameter(const KernelWriter *w, const Parameter *p, ByteWriter *out) {
    if (p->arg.kind == KERNEL_ARG_NUMBER)
        write_format(out, "long long %s_", p->name);
    else if (p->arg.kind == KERNEL_ARG_MAP)
        write_format(out, "const __grid_constant__ %s %s", p->type, p->name);
    else
        write_format(out, "%s%s *%s%s", p->arg.written ? "" : "const ", p->type,
                     may_alias(w, p) ? "" : "__restrict__ ", p->name);
}

static void write_unit(const KernelWriter *w, int32_t threads, ByteWriter *out) {
    write_format(out, "#define SMELT_INDEX %s\n#include \"smelt/core.cuh\"\n", w->wide ? "long long" : "int");
    for (int32_t i = 0; i < w->include_count; ++i)
        write_format(out, "#include \"smelt/%s\"\n", w->includes[i]);
    write_format(out, "\nnamespace smelt {\n\n");
    write_bytes(out, w->declarations.data, w->declarations.size);
    write_format(out, "\nextern \"C\" __global__ void ");
    if (w->cluster > 1) write_format(out, "__cluster_dims__(%d, 1, 1) ", w->cluster);
    write_format(out, "__launch_bounds__(%d", threads);
    if (w->resident > 0) write_format(out, ", %d", w->resident);
    write_format(out, ")\n%s_%s(", w->family, entry_place);
    for (int32_t i = 0; i < w->parameter_count; ++i) {
        if (i > 0) write_format(out, ", ");
        write_parameter(w, &w->parameters[i], out);
    }
    write_format(out, ") {\n");
    for (int32_t i = 0; i < w->parameter_count; ++i)
        if (w->parameters[i].arg.kind == KERNEL_ARG_NUMBER)
            write_format(out, "    const Index %s = (Index)%s_;\n", w->parameters[i].name,
                         w->parameters[i].name);
    if (!w->waits) write_format(out, "    wait_for_previous_kernel();\n");
    write_bytes(out, w->body.data, w->body.size);
    write_format(out, "}\n\n} // namespace smelt\n");
    write_u8(out, 0);
}

/* Names the entry after the text it stands in. */
static const char *name_entry(const KernelWriter *w, char *source) {
    const char *entry =
        arena_printf(w->emission->arena, "%s_%016llx", w->family, (unsigned long long)hash_string(source));
    char *place = strstr(source, entry_place);
    if (entry == NULL || place == NULL) return NULL;
    memcpy(place, entry + strlen(entry) - ENTRY_HASH, ENTRY_HASH);
    return entry;
}

static Status check_writer(const KernelWriter *w) {
    Diag *diag = w->emission->diag;
    if (w->overflow != NULL)
        return FAIL(diag, STATUS_INTERNAL, "a %s kernel has too many %s", w->family, w->overflow);
    if (w->failed || w->declarations.failed || w->body.failed)
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    TRY(dim_table_check(w->emission->graph->dims, STATUS_UNSUPPORTED, "sizes of a kernel overflow 64 bits",
                        diag));
    if (w->emission->launch_count == EMISSION_LAUNCHES)
        return FAIL(diag, STATUS_INTERNAL, "more than %d launches for one step", EMISSION_LAUNCHES);
    return STATUS_OK;
}

Dim kernel_grid_for(Emission *emission, Dim count, int32_t per_block) {
    DimTable *dims = emission->graph->dims;
    return dim_min(dims, dim_ceil_div(dims, count, per_block), MOST_BLOCKS);
}

Status kernel_finish(KernelWriter *w, Dim grid_x, Dim grid_y, Dim grid_z, int32_t threads,
                     int32_t shared_bytes) {
    Emission *emission = w->emission;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0) return STATUS_OK; /* never a thread */
    TRY(check_writer(w));
    ByteWriter unit = byte_writer(emission->arena);
    write_unit(w, threads, &unit);
    KernelArg *args = ARENA_ARRAY(emission->arena, KernelArg, w->parameter_count);
    if (unit.failed || args == NULL) return FAIL(emission->diag, STATUS_NO_MEMORY, "out of memory");
    const char *entry = name_entry(w, (char *)unit.data);
    TRY_ALLOC(emission->diag, entry);
    for (int32_t i = 0; i < w->parameter_count; ++i) args[i] = w->parameters[i].arg;
    emission->launches[emission->launch_count++] = (KernelLaunch){.entry = entry,
                                                                  .source = (const char *)unit.data,
                                                                  .grid = {grid_x, grid_y, grid_z},
                                                                  .block = {threads, 1, 1},
                                                                  .shared_bytes = shared_bytes,
                                                                  .together = w->together,
                                                                  .arg_count = w->parameter_count,
                                                                  .args = args};
    return STATUS_OK;
}
