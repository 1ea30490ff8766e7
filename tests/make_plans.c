/* make_plans TESTS: writes TESTS/bad_plans/ *.plan. Run it after a change to bad_plans.h; the files are small
 * and checked in, and older ones stay as they are: plans of earlier versions must be refused as well. */
#include <stdio.h>

#include "bad_plans.h"
#include "base/file.h"

static Status make_plan(const BadPlan *bad, const char *tests, Arena *arena, Diag *diag) {
    Plan plan = good_plan(arena);
    ByteWriter bytes = byte_writer(arena);
    const char *path = arena_printf(arena, "%s/bad_plans/%s.plan", tests, bad->name);
    TRY_ALLOC(diag, path);
    if (bad->change_plan != NULL) bad->change_plan(&plan, arena);
    TRY(plan_write_bytes(&plan, &bytes, diag));
    size_t size = bad->change_bytes == NULL ? bytes.size : bad->change_bytes(bytes.data, bytes.size);
    if (!bad->keep_checksums) sample_fix_checksums(bytes.data, size);
    return file_replace(path, bytes.data, size, diag);
}

int main(int argc, char **argv) {
    Arena arena = {0};
    Diag diag = {0};
    if (argc != 2) {
        fprintf(stderr, "usage: make_plans TESTS_FOLDER\n");
        return 2;
    }
    for (int i = 0; i < BAD_PLAN_COUNT; ++i)
        if (make_plan(&bad_plans[i], argv[1], &arena, &diag) != STATUS_OK) {
            fprintf(stderr, "%s\n", diag.text);
            return 1;
        }
    arena_reset(&arena);
    return 0;
}
