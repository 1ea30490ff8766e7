#include <string.h>

#include "plan_format/layout.h"

/* Small sections first, so that a reader that only wants them touches the start of the file. */
static const PlanSectionKind file_order[] = {PLAN_META,  PLAN_BINDINGS, PLAN_DIMS,   PLAN_MEMORY,
                                             PLAN_STEPS, PLAN_DEBUG,    PLAN_WEIGHTS};
enum { SECTION_COUNT = sizeof file_order / sizeof *file_order };

typedef struct Image {
    ByteWriter head; /* everything before the weights, with their padding */
    const uint8_t *weights;
    uint64_t weights_size;
} Image;

typedef struct SectionEntry {
    uint64_t offset, size, checksum;
} SectionEntry;

static void write_section_table(ByteWriter *out, const SectionEntry *entries) {
    for (int i = 0; i < SECTION_COUNT; ++i) {
        write_u32(out, (uint32_t)file_order[i]);
        write_u32(out, plan_sections[file_order[i]].required ? PLAN_SECTION_REQUIRED : 0);
        write_u64(out, entries[i].offset);
        write_u64(out, entries[i].size);
        write_u64(out, entries[i].checksum);
    }
}

static void write_header(ByteWriter *out, const SectionEntry *entries, uint64_t checksum) {
    const SectionEntry *last = &entries[SECTION_COUNT - 1];
    write_bytes(out, plan_magic, sizeof plan_magic);
    write_u16(out, PLAN_MAJOR);
    write_u16(out, PLAN_MINOR);
    write_u32(out, SECTION_COUNT);
    write_u64(out, last->offset + last->size);
    write_u64(out, checksum);
    write_section_table(out, entries);
}

static Status build_image(const Plan *plan, Arena *arena, Image *image, Diag *diag) {
    SectionEntry entries[SECTION_COUNT];
    ByteWriter body = byte_writer(arena), table = byte_writer(arena);
    size_t start = PLAN_HEADER_SIZE + SECTION_COUNT * PLAN_SECTION_ENTRY_SIZE;
    for (int i = 0; i < SECTION_COUNT - 1; ++i) {
        size_t first = body.size;
        TRY(section_encode(file_order[i], plan, arena, &body, diag));
        entries[i] = (SectionEntry){start + first, body.size - first,
                                    hash_bytes(body.data + first, body.size - first)};
    }
    uint64_t weights_at = (start + body.size + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
    entries[SECTION_COUNT - 1] =
        (SectionEntry){weights_at, plan->weights_size, hash_bytes(plan->weights, plan->weights_size)};
    write_header(&table, entries, 0);
    image->head = byte_writer(arena);
    write_header(&image->head, entries, hash_bytes(table.data, table.size));
    write_bytes(&image->head, body.data, body.size);
    write_align(&image->head, PLAN_ALIGNMENT);
    image->weights = plan->weights;
    image->weights_size = plan->weights_size;
    if (table.failed || image->head.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
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
