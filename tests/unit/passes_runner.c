/* The runner of passes: options, dumps that can be gone on from, and what it says of failures. */
#include "base/file.h"
#include "passes/pass.h"
#include "test.h"

#include <unistd.h>

static const char model[] =
    "smelt-ir 1\ngraph \"t\"\n"
    "constant %w : f32[2,1,3,3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1}\n"
    "constant %one : f32[1] = {1}\n"
    "block \"main\" {\n"
    "  input %x : f32[n,1,8,8]\n"
    "  %c : ? = Conv(%x, %w) {pads = [1,1,1,1]} \"conv\"\n"
    "  %i : ? = Identity(%c) \"identity\"\n"
    "  %r : ? = Relu(%i) \"relu\"\n"
    "  %two : ? = Add(%one, %one) \"add\"\n"
    "  %y : ? = Mul(%r, %two) \"mul\"\n"
    "  output %y\n"
    "}\n";

static Graph *read_model(Arena *arena) {
    Diag diag = {0};
    Graph *graph = NULL;
    CHECK_OK(graph_parse(model, sizeof model - 1, "t.ir", NULL, arena, &graph, &diag), &diag);
    return graph;
}

static const char *print(const Graph *graph, Arena *arena) {
    Diag diag = {0};
    ByteWriter out = byte_writer(arena);
    CHECK_OK(graph_print(graph, NULL, &out, &diag), &diag);
    write_u8(&out, 0);
    return (const char *)out.data;
}

static void test_list(void) {
    CHECK(pass_count() >= 4);
    for (int32_t i = 0; i < pass_count(); ++i) {
        CHECK_INT(pass_find(pass_at(i)->name), i);
        CHECK(pass_at(i)->what[0] != '\0');
    }
    CHECK_INT(pass_find("nothing"), -1);
}

static void check_usage(const PassOptions *options, const char *message) {
    Arena arena = {0};
    Diag diag = {0};
    CHECK_INT(passes_run(read_model(&arena), options, NULL, &diag), STATUS_USAGE);
    CHECK(strstr(diag.text, message) != NULL);
    arena_reset(&arena);
}

static void test_usage(void) {
    static const char *const unknown[] = {"frob"}, *const required[] = {"infer_shapes"};
    check_usage(&(PassOptions){.stop_after = "frob"},
                "there is no pass 'frob'; the passes are infer_shapes, ");
    check_usage(&(PassOptions){.start_from = "frob"}, "start from: there is no pass 'frob'");
    check_usage(&(PassOptions){.start_from = "recognise", .stop_after = "fold_pad"},
                "stop after: pass 'fold_pad' comes before 'recognise'");
    check_usage(&(PassOptions){.disabled = unknown, .disabled_count = 1}, "disable: there is no pass 'frob'");
    check_usage(&(PassOptions){.disabled = required, .disabled_count = 1}, "'infer_shapes' is required");
}

static void test_disabled(void) {
    static const char *const disabled[] = {"fold_constants"};
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph = read_model(&arena);
    PassOptions options = {.disabled = disabled, .disabled_count = 1, .stop_after = "canonicalize"};
    CHECK_OK(passes_run(graph, &options, NULL, &diag), &diag);
    CHECK(strstr(print(graph, &arena), "%two : f32[1] = Add(") != NULL);
    CHECK(strstr(print(graph, &arena), "Identity") == NULL);
    arena_reset(&arena);
}

typedef struct Progress {
    int32_t calls, count;
} Progress;

static void note_progress(void *user, const char *pass, int32_t index, int32_t count) {
    Progress *progress = user;
    CHECK_STR(pass, pass_at(index)->name);
    CHECK_INT(index, progress->calls);
    progress->calls++;
    progress->count = count;
}

static void remove_folder(Arena *arena, const char *folder) {
    Diag diag = {0};
    char **names;
    int32_t count;
    CHECK_OK(folder_list(arena, folder, &names, &count, &diag), &diag);
    for (int32_t i = 0; i < count; ++i) unlink(path_join(arena, folder, names[i]));
    CHECK_INT(rmdir(folder), 0);
}

/* From every dump the rest of the passes leads to the same graph. */
static void test_dumps(void) {
    Arena arena = {0};
    Diag diag = {0};
    Progress progress = {0};
    char folder[] = "/tmp/smelt-passes-XXXXXX";
    char **names;
    int32_t count;
    CHECK(mkdtemp(folder) != NULL);
    Graph *whole = read_model(&arena);
    PassOptions options = {.dump_dir = folder, .progress = note_progress, .user = &progress};
    CHECK_OK(passes_run(whole, &options, NULL, &diag), &diag);
    CHECK_INT(progress.calls, pass_count());
    CHECK_INT(progress.count, pass_count());
    CHECK_OK(folder_list(&arena, folder, &names, &count, &diag), &diag);
    CHECK_INT(count, pass_count() + 2);
    for (int32_t i = 0; i < count - 1; ++i) {
        const char *pass = i == 0 ? "import" : pass_at(i - 1)->name;
        CHECK_STR(names[i], arena_printf(&arena, "%02d-%s.ir", i, pass));
        FileMap map;
        Graph *graph;
        CHECK_OK(file_map(path_join(&arena, folder, names[i]), &map, &diag), &diag);
        CHECK_OK(graph_parse((const char *)map.data, map.size, names[i], folder, &arena, &graph, &diag),
                 &diag);
        file_unmap(&map);
        if (i < pass_count()) {
            PassOptions rest = {.start_from = pass_at(i)->name};
            CHECK_OK(passes_run(graph, &rest, NULL, &diag), &diag);
        }
        CHECK_STR(print(graph, &arena), print(whole, &arena));
    }
    remove_folder(&arena, folder);
    arena_reset(&arena);
}

/* A graph whose passes fail says where; its dumps stay readable. */
static void test_failure(void) {
    static const char bad[] =
        "smelt-ir 1\ngraph \"t\"\nblock \"main\" {\n  input %x : f32[2]\n  input %y : f32[3]\n"
        "  %z : ? = Add(%x, %y) \"add\"\n  output %z\n}\n";
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph;
    char folder[] = "/tmp/smelt-passes-XXXXXX", text[2048];
    CHECK(mkdtemp(folder) != NULL);
    CHECK_OK(graph_parse(bad, sizeof bad - 1, "bad.ir", NULL, &arena, &graph, &diag), &diag);
    CHECK_INT(passes_run(graph, &(PassOptions){.dump_dir = folder}, NULL, &diag), STATUS_BAD_MODEL);
    diag_format(&diag, text, sizeof text);
    CHECK_STR(text, "bad.ir: node 'add' (Add): shapes [2] and [3] do not broadcast");
    CHECK(file_exists(path_join(&arena, folder, "00-import.ir")));
    CHECK(file_exists(path_join(&arena, folder, "constants.bin")));
    CHECK(!file_exists(path_join(&arena, folder, "01-infer_shapes.ir")));
    remove_folder(&arena, folder);
    arena_reset(&arena);
}

/* A graph that is broken beforehand is found out. */
static void test_broken(void) {
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph = read_model(&arena);
    graph->blocks[MAIN_BLOCK].results[0] = 99;
    CHECK_INT(passes_run(graph, &(PassOptions){0}, NULL, &diag), STATUS_INTERNAL);
    CHECK_STR(diag.text, "the graph is broken after import: t.ir: result 0 is value 99 of 8");
    arena_reset(&arena);
}

/* Every allocation that can fail does so once: the passes report it, and leave nothing behind. */
static void test_memory_faults(void) {
    for (uint64_t n = 1; n < 2000; ++n) {
        Allocator allocator = {0};
        Arena arena = {.allocator = &allocator};
        Diag diag = {0};
        Graph *graph = read_model(&arena);
        allocator.fail_at = allocator.count + n;
        Status status = passes_run(graph, &(PassOptions){0}, NULL, &diag);
        bool failed = allocator.count >= allocator.fail_at;
        arena_reset(&arena);
        CHECK_INT(allocator.in_use, 0);
        if (!failed) {
            CHECK_OK(status, &diag);
            return;
        }
        CHECK_INT(status, STATUS_NO_MEMORY);
    }
    CHECK(false);
}

int main(void) {
    test_list();
    test_usage();
    test_disabled();
    test_dumps();
    test_failure();
    test_broken();
    test_memory_faults();
    return test_result();
}
