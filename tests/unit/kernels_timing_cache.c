/* Timing caches: order, merging, and files that are damaged, cut off or of another GPU. */
#include "kernels/timing_cache.h"

#include "base/file.h"
#include "test.h"

static const char gpu[] = "Some GPU sm_90 driver 13.0";

static Timing row(const char *problem, const char *tactic, int32_t number, double microseconds) {
    return (Timing){.problem = problem,
                    .tactic = tactic,
                    .config = {.count = 1, .number = {number}},
                    .microseconds = microseconds};
}

static TimingCache *sample(Arena *arena) {
    const Timing rows[] = {row("b", "two.1", 8, 5.5), row("a", "one.2", 4, 2), row("b", "two.1", 16, 3),
                           row("b", "one.2", 4, 7), row("b", "two.1", 8, 4)};
    TimingCache *cache = timing_cache_create(arena, gpu);
    for (int i = 0; i < 5; ++i) CHECK(timing_cache_add(cache, &rows[i]));
    return cache;
}

static void check_rows(const TimingCache *cache) {
    const Tactic two = {.name = "two", .version = 1}, newer = {.name = "two", .version = 2};
    const Config eight = {.count = 1, .number = {8}}, none = {0};
    CHECK_INT(cache->count, 4);
    for (int32_t i = 1; i < cache->count; ++i)
        CHECK(strcmp(cache->rows[i - 1].problem, cache->rows[i].problem) <= 0);
    const Timing *found = timing_cache_find(cache, "b", &two, &eight);
    CHECK(found != NULL && found->microseconds == 4);
    CHECK(timing_cache_find(cache, "b", &newer, &eight) == NULL);
    CHECK(timing_cache_find(cache, "b", &two, &none) == NULL);
    CHECK(timing_cache_find(cache, "c", &two, &eight) == NULL);
    CHECK(timing_cache_knows(cache, "a") && !timing_cache_knows(cache, "ab"));
}

static void test_file(void) {
    Arena arena = {0};
    Diag diag = {0};
    TimingCache *cache = sample(&arena), *back = NULL;
    check_rows(cache);
    const Timing odd = row("line\nbreak", "one.2", 1, 1);
    CHECK(timing_cache_add(cache, &odd));
    CHECK_OK(timing_cache_write(cache, "timings.txt", &diag), &diag);
    CHECK_OK(timing_cache_read("timings.txt", &arena, &back, &diag), &diag);
    CHECK_STR(back->gpu, gpu);
    check_rows(back);
    arena_reset(&arena);
}

static void test_merge(void) {
    Arena arena = {0};
    Diag diag = {0};
    TimingCache *to = sample(&arena), *from = timing_cache_create(&arena, gpu);
    const Timing rows[] = {row("b", "two.1", 16, 9), row("c", "one.2", 4, 1)};
    for (int i = 0; i < 2; ++i) CHECK(timing_cache_add(from, &rows[i]));
    CHECK_OK(timing_cache_merge(to, from, &diag), &diag);
    CHECK_INT(to->count, 5);
    CHECK(timing_cache_knows(to, "c"));
    const Tactic two = {.name = "two", .version = 1};
    CHECK(timing_cache_find(to, "b", &two, &rows[0].config)->microseconds == 3);
    CHECK(timing_cache_set(to, &rows[0]));
    CHECK(timing_cache_find(to, "b", &two, &rows[0].config)->microseconds == 9);
    CHECK_INT(timing_cache_merge(to, timing_cache_create(&arena, "another"), &diag), STATUS_USAGE);
    arena_reset(&arena);
}

/* Every cut and every changed byte of a file is noticed. */
static void test_damage(void) {
    Arena arena = {0};
    Diag diag = {0};
    FileMap map;
    TimingCache *back;
    CHECK_OK(timing_cache_write(sample(&arena), "timings.txt", &diag), &diag);
    CHECK_OK(file_map("timings.txt", &map, &diag), &diag);
    char *bytes = arena_alloc(&arena, map.size);
    memcpy(bytes, map.data, map.size);
    for (size_t i = 0; i < map.size; ++i) {
        Diag why = {0};
        CHECK_OK(file_replace("damaged.txt", bytes, i, &diag), &diag);
        CHECK_INT(timing_cache_read("damaged.txt", &arena, &back, &why), STATUS_BAD_DATA);
        bytes[i] ^= 1;
        CHECK_OK(file_replace("damaged.txt", bytes, map.size, &diag), &diag);
        CHECK_INT(timing_cache_read("damaged.txt", &arena, &back, &why), STATUS_BAD_DATA);
        bytes[i] ^= 1;
    }
    file_unmap(&map);
    arena_reset(&arena);
}

static void expect(const char *text, const char *message) {
    Arena arena = {0};
    Diag diag = {0};
    TimingCache *back;
    CHECK_OK(file_replace("wrong.txt", text, strlen(text), &diag), &diag);
    CHECK_INT(timing_cache_read("wrong.txt", &arena, &back, &diag), STATUS_BAD_DATA);
    CHECK(strstr(diag.text, message) != NULL);
    arena_reset(&arena);
}

static void test_wrong_lines(void) {
    expect("smelt-timings 2\n", "line 1: expected 'smelt-timings 1'");
    expect("smelt-timings 1\nGPU x\n", "line 2: expected 'gpu ...'");
    expect("smelt-timings 1\ngpu x\na\tb\n", "line 3: expected problem, tactic, config and time");
    expect("smelt-timings 1\ngpu x\na\tb\t1,2,3,4,5,6,7,8,9,10\t1\n", "line 3: a config is up to 9 numbers");
    expect("smelt-timings 1\ngpu x\na\tb\t1;2\t1\n", "line 3: a config is numbers and commas");
    expect("smelt-timings 1\ngpu x\na\tb\t1\t-1\n", "line 3: a time is a positive number");
    expect("smelt-timings 1\ngpu x\na\tb\t1\tnan\n", "line 3: a time is a positive number");
    expect("smelt-timings 1\ngpu x\nb\tb\t1\t1\na\tb\t1\t1\n", "line 4: rows are not in order");
    expect("smelt-timings 1\ngpu x\na\tb\t1\t1\n", "the end is missing");
    expect("smelt-timings 1\ngpu x\na\tb\t1\t1\nend 2 0\n", "the count of rows is another");
    expect("smelt-timings 1\ngpu x\na\tb\t1\t1\nend 1 0\n", "the file was edited");
}

int main(void) {
    test_file();
    test_merge();
    test_damage();
    test_wrong_lines();
    return test_result();
}
