#include "plan_format/plan.h"

#include "plan_sample.h"
#include "test.h"

static ByteWriter sample_bytes(Arena *arena, bool body) {
    Plan plan = sample_plan(arena, body);
    Diag diag = {0};
    ByteWriter bytes = byte_writer(arena);
    CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
    return bytes;
}

static void test_round_trip(void) {
    Arena arena = {0};
    Diag diag = {0};
    ByteWriter first = sample_bytes(&arena, true), second = byte_writer(&arena);
    Plan plan;
    CHECK_OK(plan_read(first.data, first.size, "sample", &arena, &plan, &diag), &diag);
    CHECK_INT(plan.size, first.size);
    CHECK_INT(plan.value_count, 8);
    CHECK_STR(plan.values[2].name, "a");
    CHECK_INT(plan.values[2].storage, PLAN_BUFFER);
    CHECK_INT(plan_dim_expression(plan.values[2].dim[0]), 0);
    CHECK_INT(plan.values[2].dim[1], 4);
    CHECK_STR(plan.ops[2].origins, "third\nfourth");
    CHECK_INT(plan.ops[2].inputs[1], 0);
    CHECK_INT(plan.ops[2].outputs[0], 4);
    CHECK_INT(plan.programs[1].owner, 3);
    CHECK_STR(plan_meta(&plan, "target"), "cpu");
    CHECK(plan_meta(&plan, "tar") == NULL);
    CHECK_INT(plan.buffers[2].offset, 128);
    CHECK_INT(plan.symbols[0].max, 8);
    CHECK((const uint8_t *)plan.weights >= first.data && plan.weights < first.data + first.size);
    CHECK(memcmp(plan.weights, "\0\0\x80\x3f", 4) == 0);
    CHECK_OK(plan_write_bytes(&plan, &second, &diag), &diag);
    CHECK_INT(second.size, first.size);
    CHECK(second.size == first.size && memcmp(first.data, second.data, first.size) == 0);
    arena_reset(&arena);
}

static void test_same_bytes(void) {
    Arena a = {0}, b = {0};
    ByteWriter first = sample_bytes(&a, true), second = sample_bytes(&b, true);
    CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    arena_reset(&a);
    arena_reset(&b);
}

static void test_file(void) {
    Arena arena = {0};
    Diag diag = {0};
    const char *path = "plan_format_test.plan";
    Plan plan = sample_plan(&arena, true), found;
    FileMap map;
    ByteWriter bytes = sample_bytes(&arena, true);
    CHECK_OK(plan_write(&plan, path, &diag), &diag);
    CHECK_OK(file_map(path, &map, &diag), &diag);
    CHECK(map.size == bytes.size && memcmp(map.data, bytes.data, map.size) == 0);
    CHECK_OK(plan_read(map.data, map.size, path, &arena, &found, &diag), &diag);
    file_unmap(&map);
    CHECK_INT(plan_write(&plan, "no_such_folder/x.plan", &diag), STATUS_IO);
    remove(path);
    arena_reset(&arena);
}

/* Reads a copy at the end of its own allocation, so that a sanitizer sees reads past it. */
static Status read_copy(const uint8_t *bytes, size_t size, char *text, size_t text_size) {
    Arena arena = {0};
    Diag diag = {0};
    Plan plan;
    uint8_t *copy = mem_alloc(NULL, size);
    if (size > 0) memcpy(copy, bytes, size);
    Status status = plan_read(copy, size, "copy", &arena, &plan, &diag);
    if (text != NULL) diag_format(&diag, text, text_size);
    if (status != STATUS_OK) CHECK(diag.text[0] != '\0' && diag.status == status && plan.values == NULL);
    mem_free(NULL, copy);
    arena_reset(&arena);
    return status;
}

static void test_truncation(void) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, true);
    for (size_t size = 0; size < bytes.size; ++size)
        CHECK_INT(read_copy(bytes.data, size, NULL, 0), STATUS_BAD_PLAN);
    arena_reset(&arena);
}

static void test_mutation(void) {
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, true);
    for (size_t at = 0; at < bytes.size; ++at)
        for (size_t m = 0; m < sizeof masks; ++m) {
            bytes.data[at] ^= masks[m];
            CHECK_INT(read_copy(bytes.data, bytes.size, NULL, 0), STATUS_BAD_PLAN);
            bytes.data[at] ^= masks[m];
        }
    CHECK_INT(read_copy(bytes.data, bytes.size, NULL, 0), STATUS_OK);
    arena_reset(&arena);
}

/* With right checksums the decoder and the verifier are on their own. Some changes make another good plan. */
static void test_mutation_with_checksums(void) {
    static const uint8_t changes[] = {0x01, 0x02, 0x10, 0x80, 0xff};
    Arena arena = {0};
    int refused = 0, accepted = 0;
    ByteWriter bytes = sample_bytes(&arena, true);
    uint8_t *copy = arena_alloc(&arena, bytes.size);
    for (size_t at = 0; at < bytes.size; ++at)
        for (size_t k = 0; k < sizeof changes; ++k) {
            memcpy(copy, bytes.data, bytes.size);
            copy[at] ^= changes[k];
            sample_fix_checksums(copy, bytes.size);
            Status status = read_copy(copy, bytes.size, NULL, 0);
            CHECK(status == STATUS_OK || status == STATUS_BAD_PLAN);
            *(status == STATUS_OK ? &accepted : &refused) += 1;
        }
    CHECK(refused > accepted);
    CHECK(accepted > 0);
    arena_reset(&arena);
}

static void test_failing_allocations(void) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, true);
    Status status = STATUS_NO_MEMORY;
    int64_t n = 0;
    while (status == STATUS_NO_MEMORY && n < 1000) {
        Allocator allocator = {.fail_at = (uint64_t)++n};
        Arena own = {.allocator = &allocator};
        Diag diag = {0};
        Plan plan;
        ByteWriter again = byte_writer(&own);
        status = plan_read(bytes.data, bytes.size, "sample", &own, &plan, &diag);
        if (status == STATUS_OK) status = plan_write_bytes(&plan, &again, &diag);
        if (status == STATUS_OK) status = plan_print(&plan, &again, &diag);
        if (status == STATUS_OK) status = plan_print_json(&plan, &again, &diag);
        CHECK(diag.status == status);
        arena_reset(&own);
        CHECK_INT(allocator.in_use, 0);
    }
    CHECK_INT(status, STATUS_OK);
    CHECK(n > 2);
    arena_reset(&arena);
}

/* -- versions and sections -- */

static void expect(uint8_t *bytes, size_t size, Status status, const char *part) {
    char text[2048] = "";
    CHECK_INT(read_copy(bytes, size, text, sizeof text), status);
    if (strstr(text, part) == NULL) {
        CHECK_STR(text, part);
    } else {
        CHECK(text[0] != '\0' || status == STATUS_OK);
    }
}

static void test_versions(void) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, false);
    sample_store(bytes.data + 8, 2, 2);
    expect(bytes.data, bytes.size, STATUS_BAD_PLAN, "version 2.4; this smelt reads 1.x");
    sample_store(bytes.data + 8, 2, 1);
    sample_store(bytes.data + 10, 2, 7); /* a higher minor version, with nothing new */
    sample_fix_checksums(bytes.data, bytes.size);
    expect(bytes.data, bytes.size, STATUS_OK, "");
    arena_reset(&arena);
}

/* The entry of the section of some kind in the table. */
static uint8_t *find_entry(ByteWriter *bytes, uint64_t kind) {
    for (uint64_t i = 0; i < sample_load(bytes->data + 12, 4); ++i)
        if (sample_load(bytes->data + 32 + i * 32, 4) == kind) return bytes->data + 32 + i * 32;
    CHECK_INT(kind, -1); /* there is no such section */
    return bytes->data;
}

/* Gives the section of kind `from` another kind and flags, and expects what reading says. */
static void expect_kind(uint64_t from, uint64_t to, uint64_t flags, Status status, const char *part) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, false);
    uint8_t *entry = find_entry(&bytes, from);
    sample_store(entry, 4, to);
    sample_store(entry + 4, 4, flags);
    sample_fix_checksums(bytes.data, bytes.size);
    expect(bytes.data, bytes.size, status, part);
    arena_reset(&arena);
}

static void test_sections(void) {
    enum { META = 1, DIMS = 3, KERNELS = 6, DEBUG = 8, UNKNOWN = 77 };
    expect_kind(DEBUG, UNKNOWN, 0, STATUS_OK, "");
    expect_kind(DEBUG, UNKNOWN, 1, STATUS_BAD_PLAN, "section kind 77 is required");
    expect_kind(DEBUG, KERNELS, 1, STATUS_BAD_PLAN, "section KERNELS: a code has 4 bytes, expected 1");
    expect_kind(DEBUG, META, 0, STATUS_BAD_PLAN, "section kind 1 is there twice, as 0 and 5");
    expect_kind(META, UNKNOWN, 0, STATUS_BAD_PLAN, "section META is missing");
    expect_kind(DEBUG, DEBUG, 4, STATUS_BAD_PLAN, "section DEBUG has flags 4");
    expect_kind(DIMS, DIMS, 0, STATUS_OK, ""); /* the flag is for readers that do not know the kind */
}

static void test_header(void) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, false);
    uint8_t *copy = arena_alloc(&arena, bytes.size + 8);
    memcpy(copy, bytes.data, bytes.size);
    expect(copy, bytes.size + 8, STATUS_BAD_PLAN, "its header says");
    expect(copy, 10, STATUS_BAD_PLAN, "10 bytes are too few");
    copy[0] = 0;
    expect(copy, bytes.size, STATUS_BAD_PLAN, "not a plan");
    memcpy(copy, bytes.data, bytes.size);
    sample_store(copy + 12, 4, 1000);
    expect(copy, bytes.size, STATUS_BAD_PLAN, "1000 sections");
    memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size - 1] ^= 1;
    expect(copy, bytes.size, STATUS_BAD_PLAN, "section WEIGHTS: checksum is");
    memcpy(copy, bytes.data, bytes.size);
    sample_store(find_entry(&bytes, 5) - bytes.data + copy + 16, 8, 100000);
    sample_fix_checksums(copy, bytes.size);
    expect(copy, bytes.size, STATUS_BAD_PLAN, "section WEIGHTS has 100000 bytes");
    arena_reset(&arena);
}

/* A plan of a later minor version, whose records of BINDINGS are 8 bytes longer. */
static void test_longer_records(void) {
    Arena arena = {0};
    ByteWriter bytes = sample_bytes(&arena, false);
    uint8_t *entry = find_entry(&bytes, 2);
    uint8_t *section = bytes.data + sample_load(entry + 8, 8);
    uint64_t strings = (sample_load(section, 4) + 7) / 8 * 8;
    uint8_t *table = section + 8 + strings;
    CHECK_INT(sample_load(table, 4), 2);
    CHECK_INT(sample_load(table + 4, 4), 16);
    /* One binding of 32 bytes takes the place of two of 16. */
    sample_store(table, 4, 1);
    sample_store(table + 4, 4, 32);
    sample_fix_checksums(bytes.data, bytes.size);
    expect(bytes.data, bytes.size, STATUS_BAD_PLAN, "section BINDINGS: a binding has 32 bytes, expected 16");
    sample_store(bytes.data + 10, 2, PLAN_MINOR + 1);
    sample_fix_checksums(bytes.data, bytes.size);
    expect(bytes.data, bytes.size, STATUS_BAD_PLAN, "lies in binding 1, of 1"); /* read, and missed one */
    arena_reset(&arena);
}

/* -- printing -- */

static bool contains(const ByteWriter *text, const char *part) {
    return memmem(text->data, text->size, part, strlen(part)) != NULL;
}

static void test_print(void) {
    Arena arena = {0};
    Diag diag = {0};
    Plan plan = sample_plan(&arena, true);
    ByteWriter text = byte_writer(&arena), json = byte_writer(&arena);
    plan.values[2].name = "a\"\x1b[31m\xff";
    CHECK_OK(plan_print(&plan, &text, &diag), &diag);
    CHECK(contains(&text, "f32[n, 4]"));
    CHECK(contains(&text, "first, second, third, fourth"));
    CHECK(contains(&text, "body 1 'body' of operator 3 (Owner)"));
    CHECK(contains(&text, "16*n B: a\"?[31m?, b\n"));
    CHECK(contains(&text, "1 to 8, usually 2"));
    CHECK_OK(plan_print_json(&plan, &json, &diag), &diag);
    CHECK(contains(&json, "\"a\\\"\\u001b[31m\\ufffd\""));
    CHECK(contains(&json, "\"shape\": [\"n\", 4]"));
    arena_reset(&arena);
}

static void test_diff(void) {
    Arena arena = {0};
    Diag diag = {0};
    static const float other[64] = {1.0f, -2.0f, 3.0f, 4.0f};
    Plan a = sample_plan(&arena, false), b = sample_plan(&arena, false);
    ByteWriter text = byte_writer(&arena);
    int64_t count = -1;
    CHECK_OK(plan_diff(&a, &b, &text, &count, &diag), &diag);
    CHECK_INT(count, 0);
    CHECK_INT(text.size, 0);
    b.meta[2].value = "cuda";
    b.symbols[0].max = 16;
    b.weights = (const uint8_t *)other;
    b.steps[0].name = "other";
    CHECK_OK(plan_diff(&a, &b, &text, &count, &diag), &diag);
    CHECK_INT(count, 4);
    CHECK(contains(&text, "target: cpu -> cuda\n"));
    CHECK(contains(&text, "n: 8 -> 16\n"));
    CHECK(contains(&text, "w: constant -> other elements\n"));
    CHECK(contains(&text, "step 0: add+relu+add"));
    arena_reset(&arena);
}

static void test_dims(void) {
    Arena arena = {0};
    Plan plan = sample_plan(&arena, false);
    int64_t symbols[] = {3, -1}, value = 0;
    CHECK(plan_dim_eval(&plan, plan_dim_of_expression(1), symbols, &value));
    CHECK_INT(value, 48);
    CHECK(plan_dim_eval(&plan, 7, symbols, &value));
    CHECK_INT(value, 7);
    CHECK(!plan_dim_eval(&plan, plan_dim_of_expression(2), symbols, &value));
    CHECK(plan_dim_is_late(&plan, plan_dim_of_expression(2)));
    CHECK(!plan_dim_is_late(&plan, plan_dim_of_expression(1)));
    CHECK_INT(plan_dim_symbol(&plan, plan_dim_of_expression(0)), 0);
    CHECK_INT(plan_dim_symbol(&plan, plan_dim_of_expression(1)), -1);
    CHECK_STR(plan_dim_print(&plan, plan_dim_of_expression(1), &arena), "16*n");
    arena_reset(&arena);
}

int main(void) {
    test_round_trip();
    test_same_bytes();
    test_file();
    test_truncation();
    test_mutation();
    test_mutation_with_checksums();
    test_failing_allocations();
    test_versions();
    test_sections();
    test_header();
    test_longer_records();
    test_print();
    test_diff();
    test_dims();
    return test_result();
}
