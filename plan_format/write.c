#include <string.h>

#include "plan_format/layout.h"

/* Small sections first, so that a reader that only wants them touches the start of the file. */
static const PlanSectionKind file_order[] = {PLAN_META,    PLAN_BINDINGS, PLAN_DIMS,  PLAN_MEMORY,
                                             PLAN_STEPS,   PLAN_CALLS,    PLAN_DEBUG, PLAN_ARCHITECTURES,
                                             PLAN_KERNELS, PLAN_WEIGHTS};
enum { MOST_SECTIONS = sizeof file_order / sizeof *file_order };

typedef struct Image {
    ByteWriter head; /* everything before the weights, with their padding */
    const uint8_t *weights;
    uint64_t weights_size;
} Image;

typedef struct SectionEntry {
    PlanSectionKind kind;
    uint64_t offset, size, checksum;
} SectionEntry;

typedef struct SectionTable {
    int32_t count;
    SectionEntry entries[MOST_SECTIONS];
} SectionTable;

static bool has_section(const Plan *plan, PlanSectionKind kind) {
    if (kind == PLAN_KERNELS) return plan->kernel_count > 0;
    if (kind == PLAN_CALLS) return plan->call_count > 0;
    return kind != PLAN_ARCHITECTURES || plan->arch_step_count > 0;
}

static SectionTable choose_sections(const Plan *plan) {
    SectionTable table = {0};
    for (int i = 0; i < MOST_SECTIONS; ++i)
        if (has_section(plan, file_order[i])) table.entries[table.count++].kind = file_order[i];
    return table;
}

static void write_section_table(ByteWriter *out, const SectionTable *table) {
    for (int32_t i = 0; i < table->count; ++i) {
        const SectionEntry *entry = &table->entries[i];
        write_u32(out, (uint32_t)entry->kind);
        write_u32(out, plan_sections[entry->kind].required ? PLAN_SECTION_REQUIRED : 0);
        write_u64(out, entry->offset);
        write_u64(out, entry->size);
        write_u64(out, entry->checksum);
    }
}

static void write_header(ByteWriter *out, const SectionTable *table, uint64_t checksum) {
    const SectionEntry *last = &table->entries[table->count - 1];
    write_bytes(out, plan_magic, sizeof plan_magic);
    write_u16(out, PLAN_MAJOR);
    write_u16(out, PLAN_MINOR);
    write_u32(out, (uint32_t)table->count);
    write_u64(out, last->offset + last->size);
    write_u64(out, checksum);
    write_section_table(out, table);
}

static Status build_image(const Plan *plan, Arena *arena, Image *image, Diag *diag) {
    SectionTable table = choose_sections(plan);
    ByteWriter body = byte_writer(arena), head = byte_writer(arena);
    size_t start = PLAN_HEADER_SIZE + (size_t)table.count * PLAN_SECTION_ENTRY_SIZE;
    SectionEntry *weights = &table.entries[table.count - 1];
    for (SectionEntry *entry = table.entries; entry < weights; ++entry) {
        size_t first = body.size;
        TRY(section_encode(entry->kind, plan, arena, &body, diag));
        entry->offset = start + first;
        entry->size = body.size - first;
        entry->checksum = hash_bytes(body.data + first, body.size - first);
    }
    weights->offset = (start + body.size + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    weights->size = plan->weights_size;
    weights->checksum = hash_bytes(plan->weights, plan->weights_size);
    write_header(&head, &table, 0);
    image->head = byte_writer(arena);
    write_header(&image->head, &table, hash_bytes(head.data, head.size));
    write_bytes(&image->head, body.data, body.size);
    write_align(&image->head, PLAN_ALIGNMENT);
    image->weights = plan->weights;
    image->weights_size = plan->weights_size;
    if (head.failed || image->head.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

Status plan_write_bytes(const Plan *plan, ByteWriter *out, Diag *diag) {
    Image image;
    TRY(build_image(plan, out->arena, &image, diag));
    write_bytes(out, image.head.data, image.head.size);
    write_bytes(out, image.weights, image.weights_size);
    if (out->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

static Status write_file(const Image *image, const char *path, Diag *diag) {
    FileOut file = {0};
    TRY(file_out_open(path, &file, diag));
    Status status = file_out_write(&file, image->head.data, image->head.size, diag);
    if (status == STATUS_OK && image->weights_size > 0)
        status = file_out_write(&file, image->weights, image->weights_size, diag);
    if (status == STATUS_OK) return file_out_commit(&file, diag);
    file_out_abandon(&file);
    return status;
}

Status plan_write(const Plan *plan, const char *path, Diag *diag) {
    Arena arena = {0};
    Image image;
    Status status = build_image(plan, &arena, &image, diag);
    if (status == STATUS_OK) status = write_file(&image, path, diag);
    arena_reset(&arena);
    return status;
}
