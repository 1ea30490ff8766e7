/* What version 1.1 of the plan format adds: kernels, launches and their rules. */
#include "tests/plan_rules.h"
#include "tests/plan_sample_cuda.h"

static Arena arena;
static Plan plan;

static void fresh(void) {
    arena_reset(&arena);
    plan = sample_cuda_plan(&arena);
}

static ByteWriter plan_bytes(void) {
    Diag diag = {0};
    ByteWriter bytes = byte_writer(&arena);
    CHECK_OK(plan_write_bytes(&plan, &bytes, &diag), &diag);
    return bytes;
}

static bool contains(const ByteWriter *text, const char *part) {
    return memmem(text->data, text->size, part, strlen(part)) != NULL;
}

/* -- bytes -- */

static void test_round_trip(void) {
    Diag diag = {0};
    ByteWriter first = plan_bytes(), second = byte_writer(&arena);
    Plan found;
    CHECK_OK(plan_read(first.data, first.size, "sample", &arena, &found, &diag), &diag);
    CHECK(plan_is_cuda(&found));
    CHECK_INT(found.cubin_count, 6);
    CHECK_INT(found.kernel_count, 3);
    CHECK_STR(found.kernels[2].entry, "fake_sum_scratch");
    CHECK_INT(found.cubins[3].sm, 90);
    CHECK(found.cubins[3].accelerated && !found.cubins[2].accelerated);
    CHECK(found.cubins[5].size == 16 && memcmp(found.cubins[5].data, "not really code", 16) == 0);
    CHECK(found.cubins[5].data > first.data && found.cubins[5].data < first.data + first.size);
    CHECK_INT(found.steps[3].launch_count, 2);
    CHECK_INT(plan_dim_expression(found.steps[3].scratch_bytes), 1);
    CHECK_STR(found.steps[5].reason, "no tactic: a test");
    CHECK_INT(found.launches[3].block[0], 128);
    CHECK_INT(plan_dim_expression(found.launches[3].grid[0]), 0);
    CHECK_INT(found.args[14].kind, PLAN_ARG_SCRATCH);
    CHECK_INT(found.args[7].number, 3);
    CHECK(found.args[4].written && !found.args[5].written);
    CHECK_OK(plan_write_bytes(&found, &second, &diag), &diag);
    CHECK(second.size == first.size && memcmp(first.data, second.data, first.size) == 0);
    fresh();
}

/* Reads a copy at the end of its own allocation, so that a sanitizer sees reads past it. */
static Status read_copy(const uint8_t *bytes, size_t size) {
    Arena own = {0};
    Diag diag = {0};
    Plan found;
    uint8_t *copy = mem_alloc(NULL, size);
    memcpy(copy, bytes, size);
    Status status = plan_read(copy, size, "copy", &own, &found, &diag);
    ByteWriter text = byte_writer(&own);
    if (status == STATUS_OK) {
        CHECK_OK(plan_print(&found, &text, &diag), &diag);
        CHECK_OK(plan_print_json(&found, &text, &diag), &diag);
    }
    mem_free(NULL, copy);
    arena_reset(&own);
    return status;
}

static void test_mutation(void) {
    static const uint8_t changes[] = {0x01, 0x02, 0x10, 0x80, 0xff};
    int refused = 0, accepted = 0;
    ByteWriter bytes = plan_bytes();
    uint8_t *copy = arena_alloc(&arena, bytes.size);
    for (size_t at = 0; at < bytes.size; ++at)
        for (size_t k = 0; k < sizeof changes; ++k) {
            memcpy(copy, bytes.data, bytes.size);
            copy[at] ^= changes[k];
            CHECK_INT(read_copy(copy, bytes.size), STATUS_BAD_PLAN);
            sample_fix_checksums(copy, bytes.size);
            Status status = read_copy(copy, bytes.size);
            CHECK(status == STATUS_OK || status == STATUS_BAD_PLAN);
            *(status == STATUS_OK ? &accepted : &refused) += 1;
        }
    CHECK(refused > accepted);
    for (size_t size = 0; size < bytes.size; ++size) CHECK_INT(read_copy(bytes.data, size), STATUS_BAD_PLAN);
    fresh();
}

/* A plan that version 1.0 wrote. */
static void test_old_version(void) {
    Diag diag = {0};
    FileMap map;
    Plan old;
    CHECK_OK(file_map(SMELT_SOURCE_DIR "/tests/plans/version_1_0.plan", &map, &diag), &diag);
    CHECK_OK(plan_read(map.data, map.size, "old", &arena, &old, &diag), &diag);
    CHECK_INT(old.minor, 0);
    CHECK(old.step_count > 0 && old.launch_count == 0 && old.kernel_count == 0);
    CHECK_STR(old.steps[0].reason, "");
    file_unmap(&map);
    fresh();
}

/* -- text -- */

static void test_print(void) {
    Diag diag = {0};
    ByteWriter text = byte_writer(&arena), json = byte_writer(&arena);
    CHECK_OK(plan_print(&plan, &text, &diag), &diag);
    CHECK(contains(&text, "kernels    3, for sm_80, sm_90a, 96 B; 4 launches, 2 steps on the host"));
    CHECK(contains(&text, "fake_scale, grid n x 1 x 1, block 128\n"));
    CHECK(contains(&text, "scratch 16*n B\n"));
    CHECK(contains(&text, "on the host: no tactic: a test\n"));
    CHECK_OK(plan_print_json(&plan, &json, &diag), &diag);
    CHECK(contains(
        &json, "\"entry\": \"fake_add\", \"parameters\": 4, \"cubins\": {\"sm_80\": 16, \"sm_90a\": 16}"));
    CHECK(contains(&json, "{\"scratch\": 0}, {\"number\": \"4*n\"}]"));
    fresh();
}

static void test_diff(void) {
    static const uint8_t other_code[16] = "other code here";
    Arena second = {0};
    Diag diag = {0};
    int64_t count = -1;
    Plan other = sample_cuda_plan(&second);
    ByteWriter text = byte_writer(&arena);
    CHECK_OK(plan_diff(&plan, &other, &text, &count, &diag), &diag);
    CHECK_INT(count, 0);
    other.cubins[2].data = other_code;
    other.launches[0].block[0] = 64;
    other.steps[1].reason = "no tactic: another";
    CHECK_OK(plan_diff(&plan, &other, &text, &count, &diag), &diag);
    CHECK_INT(count, 3);
    CHECK(contains(&text, "fake_scale: machine code -> other machine code\n"));
    CHECK(contains(&text, "block 64"));
    CHECK(contains(&text, "no tactic: another"));
    arena_reset(&second);
    fresh();
}

/* -- rules -- */

/* RULE(change, words): what the change does to the good plan is refused with these words. */
#define RULE(change, part) PLAN_RULE(plan, fresh(), change, part)

static void test_kernels(void) {
    RULE(plan.kernels[1].entry = "", "kernel 1 has the entry '', not an identifier");
    RULE(plan.kernels[1].entry = "a b", "kernel 1 has the entry 'a b'");
    RULE(plan.kernels[1].param_count = 513, "kernel 1 has 513 parameters; the limit is 512");
    RULE(plan.kernels[1].cubin_first = 3, "kernel 1 has 2 cubins from 3; expected from 2");
    RULE(plan.kernels[2].cubin_count = 1, "kernel 2 has 1 cubins, kernel 0 has 2");
    RULE(plan.kernel_count = 2, "kernels have 4 cubins, of 6");
    RULE(plan.cubins[2].sm = 75, "cubin 0 of kernel 1 is for sm_75, that of kernel 0 for sm_80");
    RULE(plan.cubins[3].accelerated = false, "is for sm_90, that of kernel 0 for sm_90a");
    RULE(plan.cubins[1] = plan.cubins[0], "cubins 0 and 1 of a kernel are for sm_80");
    RULE(plan.cubins[0].sm = plan.cubins[2].sm = plan.cubins[4].sm = 7, "cubin 0 is for sm_7");
    RULE(plan.cubins[4].size = 0, "cubin 4 is empty");
}

static void test_geometry(void) {
    RULE(plan.launches[1].block[0] = 0, "launch 1 has block size 0 of 0; 1 to 1024");
    RULE(plan.launches[1].block[2] = 65, "launch 1 has block size 2 of 65; 1 to 64");
    RULE(plan.launches[1].block[1] = 9, "launch 1 has blocks of 1152 threads; the limit is 1024");
    RULE(plan.launches[1].grid[0] = -1, "launch 1 has grid size 0 of -1");
    RULE(plan.launches[1].grid[0] = (int64_t)1 << 31, "launch 1 has grid size 0 of 2147483648");
    RULE(plan.launches[1].grid[1] = 65536, "launch 1 has grid size 1 of 65536; 0 to 65535");
    RULE(plan.launches[1].grid[2] = plan_dim_of_expression(9),
         "a grid size of launch 1 is expression 9, of 4");
    RULE(plan.launches[1].grid[0] = plan_dim_of_expression(3),
         "a grid size of launch 1 depends on 'late', which no step up to 2 finds");
    RULE(plan.launches[1].shared_bytes = -1, "launch 1 has -1 bytes of shared memory");
    RULE(plan.launches[1].shared_bytes = PLAN_MAX_SHARED + 1, "launch 1 has 232449 bytes of shared memory");
    RULE(plan.launches[1].together = true;
         plan.launches[1].grid[1] = 2, "launch 1 has blocks together, but not along x");
    RULE(plan.launches[1].together = true;
         plan.launches[1].grid[2] = 2, "launch 1 has blocks together, but not along x");
}

static void test_arguments(void) {
    RULE(plan.launches[1].kernel = 3, "launch 1 is of kernel 3, of 3, with 0 calls");
    RULE(plan.launches[1].kernel = -1, "launch 1 is of kernel -1");
    RULE(plan.kernels[1].param_count = 5, "launch 1 has 4 arguments, its kernel 1 takes 5");
    RULE(plan.launches[1].arg_first = 5, "launch 1 has 4 arguments from 5; expected from 4");
    RULE(plan.launches[3].arg_count = 5, "launch 3 has 5 arguments from 12");
    RULE(plan.args[0].kind = 4, "argument 0 has kind 4");
    RULE(plan.args[0].kind = PLAN_ARG_MAP, "argument 0 is map 0, written; expected 0, of 0");
    RULE(plan.args[0].value = 99, "argument 0 is value 99, of 9");
    RULE(plan.args[0].value = -1, "argument 0 is value -1, of 9");
    RULE(plan.args[1].value = 4, "argument 1 is value 4, which no operator of step 0 reads or writes");
    RULE(plan.args[1].written = true, "argument 1 is written: value 0, which no operator of step 0 writes");
    RULE(plan.args[1].number = 4, "argument 1 of kind 0 has value 0, number 4");
    RULE(plan.args[3].value = 1, "argument 3 of kind 1 has value 1");
    RULE(plan.args[3].written = true, "argument 3 of kind 1 has value -1");
    RULE(plan.args[3].number = plan_dim_of_expression(4), "an argument of launch 0 is expression 4, of 4");
    RULE(plan.args[3].number = plan_dim_of_expression(3),
         "an argument of launch 0 depends on 'late', which no step up to 0 finds");
    RULE(plan.args[14].number = -1, "argument 14 begins at byte -1 of the scratch memory of step 3");
    RULE(plan.steps[3].scratch_bytes = 16;
         plan.args[14].number = 16, "argument 14 begins at byte 16 of the scratch memory of step 3, of 16");
    RULE(plan.steps[3].scratch_bytes = -4, "scratch memory of step 3 has a dim of -4");
    RULE(plan.steps[3].scratch_bytes = plan_dim_of_expression(3),
         "the scratch memory of step 3 depends on 'late', which no step up to 3 finds");
    RULE(plan.values[4].storage = PLAN_NOWHERE;
         plan.values[4].index = -1, "is value 4 of storage 4, which has no memory");
}

static void test_steps(void) {
    RULE(plan.steps[0].launch_count = 0, "step 2 has 1 launches from 1; expected from 0");
    RULE(plan.steps[3].launch_count = 1, "step 4 has 0 launches from 4; expected from 3");
    RULE(plan.launch_count = 5, "steps hold 4 launches, 16 arguments and 0 maps, of 5, 16 and 0");
    RULE(plan.arg_count = 17, "steps hold 4 launches, 16 arguments and 0 maps, of 4, 17 and 0");
    RULE(plan.steps[1].launch_first = 1, "step 1 on the host has 0 launches from 1");
    RULE(plan.steps[1].scratch_bytes = 8, "step 1 on the host has 0 launches from 0 and scratch memory of 8");
    RULE(plan.values[1].dim[0] = plan_dim_of_expression(3),
         "step 0 finds 1 sizes in scratch memory of 0 bytes");
    RULE(plan.values[0].dim[0] = plan_dim_of_expression(3),
         "on the device, the size of value 0 depends on 'late', which no step up to 0 finds");
    RULE(plan.values[1].storage = PLAN_NOWHERE;
         plan.values[1].index = -1, "operator 1 reads value 1, which has no memory outside step 0");
    RULE(plan.values[7].storage = PLAN_NOWHERE;
         plan.values[7].index = -1, "operator 6 of a host step writes value 7, which has no memory");
}

/* Inside a step on the device a value needs no memory. */
static void test_nowhere(void) {
    Arena scratch = {0};
    Diag diag = {0};
    plan.values[4].storage = PLAN_NOWHERE;
    plan.values[4].index = -1;
    plan.args[8].value = 5;
    plan.args[13].value = 3;
    CHECK_OK(plan_verify(&plan, &scratch, &diag), &diag);
    arena_reset(&scratch);
    fresh();
}

/* The good plan with a map of value 0, whose numbers are exact. */
static void map_of_two(void) {
    plan = sample_cuda_map(&arena);
    plan.values[0].dim[0] = plan.maps[0].dim[1] = 2;
    plan.maps[0].stride[1] = 32;
}

#define MAP_RULE(change, part)                                                                               \
    do {                                                                                                     \
        map_of_two();                                                                                        \
        RULE(change, part);                                                                                  \
    } while (0)

static void test_maps(void) {
    Arena scratch = {0};
    Diag diag = {0};
    map_of_two();
    CHECK_OK(plan_verify(&plan, &scratch, &diag), &diag);
    plan = sample_cuda_map(&arena);
    CHECK_OK(plan_verify(&plan, &scratch, &diag), &diag);
    arena_reset(&scratch);
    MAP_RULE(plan.maps[0].dim[1] = 3, "map 0 reads 48 bytes of value 0, which has 32");
    MAP_RULE(plan.maps[0].dim[2] = 2, "map 0 reads 64 bytes of value 0, which has 32");
    MAP_RULE(plan.maps[0].stride[0] = 32, "map 0 reads 48 bytes");
    MAP_RULE(plan.maps[0].stride[0] = -16, "map 0 reads -1 bytes");
    MAP_RULE(plan.maps[0].dim[0] = INT64_MAX, "map 0 reads -1 bytes");
    MAP_RULE(plan.maps[0].dim[1] = 0, "map 0 reads -1 bytes");
    MAP_RULE(plan.maps[0].dim[1] = plan_dim_of_expression(3),
             "an extent of a map of launch 0 depends on data");
    MAP_RULE(plan.maps[0].stride[0] = plan_dim_of_expression(9),
             "a stride of a map of launch 0 is expression 9");
    MAP_RULE(plan.maps[0].rank = 2, "map 0 has rank 2");
    MAP_RULE(plan.maps[0].rank = 4, "map 0 has a box extent of 0");
    MAP_RULE(plan.maps[0].swizzle = 16, "map 0 has a swizzle of 16");
    MAP_RULE(plan.maps[0].box[0] = 16, "map 0 has boxes of width 16");
    MAP_RULE(plan.maps[0].box[0] = 3, "map 0 has boxes of width 3");
    MAP_RULE(plan.maps[0].box[1] = 257, "map 0 has a box extent of 257");
    MAP_RULE(plan.maps[0].step[0] = 1, "map 0 has a step that means nothing");
    MAP_RULE(plan.maps[0].dim[3] = 1, "map 0 has an extent or stride behind its rank");
    MAP_RULE(plan.maps[0].windows = true; plan.maps[0].box[2] = 0, "map 0 has a step of 0");
    MAP_RULE(plan.maps[0].windows = true; plan.maps[0].box[2] = 0; plan.maps[0].step[0] = 1;
             plan.maps[0].low[0] = -32769, "map 0 has windows from -32769");
    MAP_RULE(plan.args[0].number = 1, "argument 0 is map 1; expected 0, of 1");
    MAP_RULE(plan.args[0].value = 3, "argument 0 is value 3");
    MAP_RULE(plan.map_count = 0, "argument 0 is map 0; expected 0, of 0");
    map_of_two();
    ByteWriter first = plan_bytes(), second = byte_writer(&arena);
    Plan found;
    CHECK_OK(plan_read(first.data, first.size, "sample", &arena, &found, &diag), &diag);
    CHECK_INT(found.map_count, 1);
    CHECK_INT(found.maps[0].box[1], 8);
    CHECK_INT(found.maps[0].stride[1], 32);
    CHECK_OK(plan_write_bytes(&found, &second, &diag), &diag);
    CHECK(second.size == first.size && memcmp(first.data, second.data, first.size) == 0);
    fresh();
}

/* The good plan with launches for each architecture. */
#define ARCH_RULE(change, part)                                                                              \
    do {                                                                                                     \
        plan = sample_cuda_archs(&arena);                                                                    \
        RULE(change, part);                                                                                  \
    } while (0)

static void test_architectures(void) {
    Arena scratch = {0};
    Diag diag = {0};
    Plan found;
    plan = sample_cuda_archs(&arena);
    CHECK_OK(plan_verify(&plan, &scratch, &diag), &diag);
    arena_reset(&scratch);
    ByteWriter first = plan_bytes(), second = byte_writer(&arena), text = byte_writer(&arena);
    CHECK_OK(plan_read(first.data, first.size, "sample", &arena, &found, &diag), &diag);
    CHECK_INT(plan_arch_count(&found), 2);
    CHECK_INT(found.arch_step_count, 2);
    CHECK_INT(plan_step_on(&found, 0, 0).launch_count, 2);
    CHECK_INT(plan_step_on(&found, 0, 1).launch_first, 2);
    CHECK_OK(plan_write_bytes(&found, &second, &diag), &diag);
    CHECK(second.size == first.size && memcmp(first.data, second.data, first.size) == 0);
    CHECK_OK(plan_print(&found, &text, &diag), &diag);
    CHECK(contains(&text, "3 launches on sm_80, 2 on sm_90a"));
    CHECK(contains(&text, "on sm_90a:\n          fake_scale"));
    CHECK_OK(plan_print_json(&found, &text, &diag), &diag);
    CHECK(
        contains(&text, "\"architectures\": {\"sm_90a\": {\"scratch_bytes\": 0, \"launches\": [{\"kernel\""));
    int64_t count = 0;
    Plan other = sample_cuda_archs(&scratch);
    other.launches[2].block[0] = 64;
    CHECK_OK(plan_diff(&plan, &other, &text, &count, &diag), &diag);
    CHECK_INT(count, 1);
    arena_reset(&scratch);
    plan_choose_arch(&found, 1);
    CHECK_INT(found.steps[0].launch_first, 2);
    CHECK_INT(found.steps[1].launch_count, 1);
    ARCH_RULE(plan.arch_step_count = 1,
              "ARCHITECTURES: 1 records for 2 steps on 2 architectures, expected 2");
    ARCH_RULE(plan.arch_step_count = 0, "cubin 2 is empty");
    ARCH_RULE(plan.launches[0].kernel = 1, "launch 0 is of kernel 1, which has no code for architecture 0");
    ARCH_RULE(plan.arch_steps[0].launch_count = 0, "step 0 has 0 launches on architecture 1, 2 on the first");
    ARCH_RULE(plan.arch_steps[0].launch_first = 3, "step 0 has 1 launches from 3; expected from 2");
    ARCH_RULE(plan.arch_steps[1].launch_count = 2, "step 1 has 2 launches from 4");
    ARCH_RULE(plan.arch_steps[1].scratch_bytes = -8, "scratch memory of step 1 has a dim of -8");
    ARCH_RULE(plan.launch_count = 6, "steps hold 5 launches, 20 arguments and 0 maps, of 6, 20 and 0");
    plan = sample_cuda_archs(&arena);
    test_mutation();
}

int main(void) {
    fresh();
    test_round_trip();
    test_mutation();
    test_old_version();
    test_print();
    test_diff();
    test_kernels();
    test_architectures();
    test_geometry();
    test_arguments();
    test_steps();
    test_maps();
    test_nowhere();
    arena_reset(&arena);
    return test_result();
}
