#include <string.h>

#include "plan_format/layout.h"

typedef struct SectionEntry {
    uint32_t kind, flags;
    uint64_t offset, size, checksum;
} SectionEntry;

typedef struct PlanFile {
    const uint8_t *bytes;
    size_t size;
    int32_t major, minor;
    uint32_t section_count;
    SectionEntry sections[PLAN_SECTION_LIMIT];
    Diag *diag;
} PlanFile;

static bool is_newer(const PlanFile *file) {
    return file->minor > PLAN_MINOR;
}

static const char *section_name(uint32_t kind) {
    return kind > 0 && kind < PLAN_SECTION_KINDS ? plan_sections[kind].name : "of unknown kind";
}

static bool is_known(uint32_t kind) {
    return kind > 0 && kind < PLAN_SECTION_KINDS;
}

/* The version comes before the checksum: a plan of another major version may keep it elsewhere. */
static Status read_version(PlanFile *file) {
    if (file->size < PLAN_HEADER_SIZE)
        return FAIL(file->diag, STATUS_BAD_PLAN, "%zu bytes are too few for a plan, whose header has %d",
                    file->size, PLAN_HEADER_SIZE);
    if (memcmp(file->bytes, plan_magic, sizeof plan_magic) != 0)
        return FAIL(file->diag, STATUS_BAD_PLAN, "this is not a plan: it does not begin with its magic");
    ByteReader reader = byte_reader(file->bytes + sizeof plan_magic, 4);
    file->major = read_u16(&reader);
    file->minor = read_u16(&reader);
    if (file->major == PLAN_MAJOR) return STATUS_OK;
    diag_fail(file->diag, STATUS_BAD_PLAN, __FILE__, __LINE__,
              "a plan of format version %d.%d; this smelt reads %d.x", file->major, file->minor, PLAN_MAJOR);
    diag_hint(file->diag, "build the plan again with this version of smelt");
    return STATUS_BAD_PLAN;
}

static Status check_head_checksum(const PlanFile *file, size_t head_size, uint64_t checksum) {
    uint8_t head[PLAN_HEADER_SIZE + PLAN_SECTION_LIMIT * PLAN_SECTION_ENTRY_SIZE];
    memcpy(head, file->bytes, head_size);
    memset(head + PLAN_CHECKSUM_OFFSET, 0, sizeof checksum);
    uint64_t found = hash_bytes(head, head_size);
    if (found == checksum) return STATUS_OK;
    return FAIL(file->diag, STATUS_BAD_PLAN,
                "checksum of header and section table is %016llx, expected %016llx: the file is damaged",
                (unsigned long long)found, (unsigned long long)checksum);
}

static Status read_header(PlanFile *file) {
    TRY(read_version(file));
    ByteReader reader = byte_reader(file->bytes, file->size);
    read_bytes(&reader, sizeof plan_magic + 4);
    file->section_count = read_u32(&reader);
    uint64_t file_size = read_u64(&reader), checksum = read_u64(&reader);
    if (file_size != file->size)
        return FAIL(file->diag, STATUS_BAD_PLAN, "the file has %zu bytes, its header says %llu", file->size,
                    (unsigned long long)file_size);
    if (file->section_count > PLAN_SECTION_LIMIT)
        return FAIL(file->diag, STATUS_BAD_PLAN, "%u sections; at most %d are possible", file->section_count,
                    PLAN_SECTION_LIMIT);
    size_t head_size = PLAN_HEADER_SIZE + (size_t)file->section_count * PLAN_SECTION_ENTRY_SIZE;
    if (head_size > file->size)
        return FAIL(file->diag, STATUS_BAD_PLAN, "%u sections need a table of %zu bytes, the file has %zu",
                    file->section_count, head_size, file->size);
    for (uint32_t i = 0; i < file->section_count; ++i) {
        SectionEntry *entry = &file->sections[i];
        entry->kind = read_u32(&reader);
        entry->flags = read_u32(&reader);
        entry->offset = read_u64(&reader);
        entry->size = read_u64(&reader);
        entry->checksum = read_u64(&reader);
    }
    return check_head_checksum(file, head_size, checksum);
}

static Status check_gap(const PlanFile *file, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; ++at)
        if (file->bytes[at] != 0)
            return FAIL(file->diag, STATUS_BAD_PLAN, "padding byte %llu between sections is %d, expected 0",
                        (unsigned long long)at, file->bytes[at]);
    return STATUS_OK;
}

static Status check_place(const PlanFile *file, const SectionEntry *entry, uint64_t end) {
    uint64_t alignment = entry->kind == PLAN_WEIGHTS ? PLAN_ALIGNMENT : PLAN_SECTION_ALIGNMENT;
    if (entry->offset % alignment != 0)
        return FAIL(file->diag, STATUS_BAD_PLAN, "section %s begins at byte %llu, not a multiple of %llu",
                    section_name(entry->kind), (unsigned long long)entry->offset,
                    (unsigned long long)alignment);
    if (entry->offset < end || entry->offset - end >= alignment)
        return FAIL(file->diag, STATUS_BAD_PLAN,
                    "section %s begins at byte %llu; the one before it ends at %llu",
                    section_name(entry->kind), (unsigned long long)entry->offset, (unsigned long long)end);
    if (entry->offset > file->size || entry->size > file->size - entry->offset)
        return FAIL(file->diag, STATUS_BAD_PLAN,
                    "section %s has %llu bytes at %llu; the file has %zu: it is truncated",
                    section_name(entry->kind), (unsigned long long)entry->size,
                    (unsigned long long)entry->offset, file->size);
    return check_gap(file, end, entry->offset);
}

static Status check_section(const PlanFile *file, const SectionEntry *entry) {
    if (!is_known(entry->kind) && (entry->flags & PLAN_SECTION_REQUIRED) != 0)
        return FAIL(
            file->diag, STATUS_BAD_PLAN,
            "section kind %u is required by this plan (version %d.%d) and unknown to this smelt (%d.%d)",
            entry->kind, file->major, file->minor, PLAN_MAJOR, PLAN_MINOR);
    if (!is_newer(file) && entry->flags > PLAN_SECTION_REQUIRED)
        return FAIL(file->diag, STATUS_BAD_PLAN, "section %s has flags %u; the limit is %d",
                    section_name(entry->kind), entry->flags, PLAN_SECTION_REQUIRED);
    uint64_t found = hash_bytes(file->bytes + entry->offset, entry->size);
    if (found == entry->checksum) return STATUS_OK;
    return FAIL(file->diag, STATUS_BAD_PLAN,
                "section %s: checksum is %016llx, expected %016llx: the file is damaged",
                section_name(entry->kind), (unsigned long long)found, (unsigned long long)entry->checksum);
}

static Status check_sections(const PlanFile *file) {
    uint64_t end = PLAN_HEADER_SIZE + (uint64_t)file->section_count * PLAN_SECTION_ENTRY_SIZE;
    for (uint32_t i = 0; i < file->section_count; ++i) {
        const SectionEntry *entry = &file->sections[i];
        for (uint32_t k = 0; k < i; ++k)
            if (file->sections[k].kind == entry->kind)
                return FAIL(file->diag, STATUS_BAD_PLAN, "section kind %u is there twice, as %u and %u",
                            entry->kind, k, i);
        TRY(check_place(file, entry, end));
        TRY(check_section(file, entry));
        end = entry->offset + entry->size;
    }
    if (end != file->size)
        return FAIL(file->diag, STATUS_BAD_PLAN, "the last section ends at byte %llu of %zu",
                    (unsigned long long)end, file->size);
    return STATUS_OK;
}

static const SectionEntry *find_section(const PlanFile *file, uint32_t kind) {
    for (uint32_t i = 0; i < file->section_count; ++i)
        if (file->sections[i].kind == kind) return &file->sections[i];
    return NULL;
}

static Status decode_sections(const PlanFile *file, Arena *arena, Plan *plan) {
    for (uint32_t kind = 1; kind < PLAN_SECTION_KINDS; ++kind) {
        const SectionLayout *layout = &plan_sections[kind];
        const SectionEntry *entry = find_section(file, kind);
        if (entry == NULL && !layout->expected) continue;
        if (entry == NULL) return FAIL(file->diag, STATUS_BAD_PLAN, "section %s is missing", layout->name);
        if (layout->tables != NULL) {
            TRY(section_decode((PlanSectionKind)kind, file->bytes + entry->offset, entry->size, file->minor,
                               plan, arena, file->diag));
        } else {
            plan->weights = file->bytes + entry->offset;
            plan->weights_size = entry->size;
        }
    }
    return STATUS_OK;
}

static Status read_plan(PlanFile *file, Arena *arena, Plan *plan) {
    TRY(read_header(file));
    TRY(check_sections(file));
    plan->major = file->major;
    plan->minor = file->minor;
    plan->size = file->size;
    TRY(decode_sections(file, arena, plan));
    Arena scratch;
    arena_init(&scratch, arena->allocator);
    Status status = plan_verify(plan, &scratch, file->diag);
    arena_reset(&scratch);
    return status;
}

Status plan_read(const void *bytes, size_t size, const char *name, Arena *arena, Plan *out, Diag *diag) {
    PlanFile file = {.bytes = bytes, .size = size, .diag = diag};
    memset(out, 0, sizeof *out);
    Status status = read_plan(&file, arena, out);
    if (status == STATUS_OK) return status;
    memset(out, 0, sizeof *out);
    diag_context(diag, DIAG_FILE, "%s", name);
    return status;
}
