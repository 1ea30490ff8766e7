#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char root[64];
static Arena arena;

static char *in_root(const char *name) {
    return path_join(&arena, root, name);
}

static int32_t root_count(const char *name) {
    Diag diag = {0};
    char **names = NULL;
    int32_t count = -1;
    CHECK_OK(folder_list(&arena, in_root(name), &names, &count, &diag), &diag);
    return count;
}

static void check_content(const char *path, const char *expected) {
    Diag diag = {0};
    FileMap map;
    CHECK_OK(file_map(path, &map, &diag), &diag);
    CHECK_INT(map.size, strlen(expected));
    CHECK(map.size == strlen(expected) && memcmp(map.data, expected, map.size) == 0);
    file_unmap(&map);
    CHECK(map.data == NULL);
}

static void test_map(void) {
    Diag diag = {0};
    FileMap map;
    CHECK_OK(file_replace(in_root("a"), "hello", 5, &diag), &diag);
    check_content(in_root("a"), "hello");
    CHECK_OK(file_replace(in_root("empty"), "", 0, &diag), &diag);
    CHECK_OK(file_map(in_root("empty"), &map, &diag), &diag);
    CHECK(map.data == NULL && map.size == 0);
    file_unmap(&map);
    CHECK(file_exists(in_root("a")) && !file_exists(in_root("b")));
    CHECK_INT(file_map(in_root("b"), &map, &diag), STATUS_IO);
    CHECK(strstr(diag.text, "No such file") != NULL && strstr(diag.text, in_root("b")) != NULL);
    diag_clear(&diag);
    CHECK_INT(file_map(root, &map, &diag), STATUS_IO);
    CHECK(strstr(diag.text, "not a regular file") != NULL);
    diag_clear(&diag);
    CHECK(mkfifo(in_root("pipe"), 0600) == 0);
    CHECK_INT(file_map(in_root("pipe"), &map, &diag), STATUS_IO); /* and does not wait for a writer */
    diag_clear(&diag);
    CHECK_INT(file_replace(in_root("pipe"), "x", 1, &diag), STATUS_IO);
    unlink(in_root("pipe"));
}

static void test_replace(void) {
    Diag diag = {0};
    FileOut out;
    CHECK_OK(folder_create(in_root("out"), &diag), &diag);
    CHECK_OK(file_replace(in_root("out/f"), "old", 3, &diag), &diag);
    CHECK_OK(file_out_open(in_root("out/f"), &out, &diag), &diag);
    CHECK_OK(file_out_write(&out, "newer", 5, &diag), &diag);
    check_content(in_root("out/f"), "old"); /* until commit */
    file_out_abandon(&out);
    check_content(in_root("out/f"), "old");
    CHECK_INT(root_count("out"), 1); /* no temporary file stays */
    CHECK_OK(file_out_open(in_root("out/f"), &out, &diag), &diag);
    CHECK_OK(file_out_write(&out, "new", 3, &diag), &diag);
    CHECK_OK(file_out_write(&out, "er", 2, &diag), &diag);
    CHECK_OK(file_out_commit(&out, &diag), &diag);
    check_content(in_root("out/f"), "newer");
    CHECK_INT(root_count("out"), 1);
    file_out_abandon(&(FileOut){0});
    CHECK_INT(file_replace(in_root("missing/f"), "x", 1, &diag), STATUS_IO);
    diag_clear(&diag);
    CHECK_INT(file_replace(in_root("out"), "x", 1, &diag), STATUS_IO);
    diag_clear(&diag);
    /* A commit that fails leaves no temporary file. */
    CHECK_OK(file_out_open(in_root("out/g"), &out, &diag), &diag);
    CHECK(mkdir(in_root("out/g"), 0777) == 0);
    CHECK_INT(file_out_commit(&out, &diag), STATUS_IO);
    CHECK_INT(root_count("out"), 2);
}

static Status map_below(const char *relative, uint64_t offset, uint64_t size, bool to_end, FileRange *out) {
    Diag diag = {0};
    return file_map_below(in_root("model"), relative, offset, size, to_end, out, &diag);
}

static void test_below(void) {
    static char data[10000];
    Diag diag = {0};
    FileRange range;
    for (int i = 0; i < 10000; ++i) data[i] = (char)(i * 31 >> 3);
    CHECK_OK(folder_create(in_root("model/sub"), &diag), &diag);
    CHECK_OK(folder_create(in_root("model-other"), &diag), &diag);
    CHECK_OK(file_replace(in_root("model/sub/w"), data, sizeof data, &diag), &diag);
    CHECK_OK(file_replace(in_root("model-other/w"), data, sizeof data, &diag), &diag);
    CHECK(symlink("../a", in_root("model/out")) == 0);
    CHECK(symlink("../model-other/w", in_root("model/sibling")) == 0);
    CHECK(symlink("sub/w", in_root("model/in")) == 0);
    CHECK(symlink("..", in_root("model/up")) == 0);

    CHECK_INT(map_below("sub/w", 4097, 100, false, &range), STATUS_OK);
    CHECK(range.size == 100 && memcmp(range.data, data + 4097, 100) == 0);
    file_unmap_range(&range);
    CHECK_INT(map_below("sub//./w", 9000, 0, true, &range), STATUS_OK);
    CHECK(range.size == 1000 && memcmp(range.data, data + 9000, 1000) == 0);
    file_unmap_range(&range);
    CHECK_INT(map_below("in", 0, 10000, false, &range), STATUS_OK);
    file_unmap_range(&range);
    CHECK_INT(map_below("sub/w", 10000, 0, false, &range), STATUS_OK);
    CHECK(range.size == 0 && range.data == NULL);
    file_unmap_range(&range);

    CHECK_INT(map_below("sub/w", 1, 10000, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("sub/w", 10001, 0, true, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("sub/w", UINT64_MAX, 2, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("sub/w", 2, UINT64_MAX, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("/etc/passwd", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("sub/../../a", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("..", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("out", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("sibling", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("up/a", 0, 1, false, &range), STATUS_BAD_MODEL);
    CHECK_INT(map_below("missing", 0, 1, false, &range), STATUS_IO);
    CHECK_INT(map_below("sub", 0, 1, false, &range), STATUS_IO);
}

static void test_paths(void) {
    CHECK_STR(path_folder(&arena, "model.onnx"), ".");
    CHECK_STR(path_folder(&arena, "a/b//c"), "a/b");
    CHECK_STR(path_folder(&arena, "/c"), "/");
    CHECK_STR(path_join(&arena, "a", "b"), "a/b");
    CHECK_STR(path_join(&arena, "a/", "b"), "a/b");
    CHECK_STR(path_join(&arena, "", "b"), "b");
    CHECK_STR(path_join(&arena, "a", "/b"), "/b");
}

static void test_folders(void) {
    Diag diag = {0};
    char **names = NULL;
    int32_t count = 0;
    CHECK_OK(folder_create(in_root("x//y/z/"), &diag), &diag);
    CHECK_OK(folder_create(in_root("x/y"), &diag), &diag);
    CHECK_OK(file_replace(in_root("x/b"), "", 0, &diag), &diag);
    CHECK_OK(file_replace(in_root("x/B"), "", 0, &diag), &diag);
    CHECK_OK(folder_list(&arena, in_root("x"), &names, &count, &diag), &diag);
    CHECK_INT(count, 3);
    if (count == 3) {
        CHECK_STR(names[0], "B");
        CHECK_STR(names[1], "b");
        CHECK_STR(names[2], "y");
    }
    CHECK_INT(root_count("x/y/z"), 0);
    CHECK_INT(folder_create(in_root("x/b"), &diag), STATUS_IO);
    diag_clear(&diag);
    CHECK_INT(folder_create(in_root("x/b/c"), &diag), STATUS_IO);
    diag_clear(&diag);
    CHECK_INT(folder_list(&arena, in_root("nowhere"), &names, &count, &diag), STATUS_IO);
}

static void remove_tree(const char *path) {
    Diag diag = {0};
    char **names = NULL;
    int32_t count = 0;
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        CHECK_OK(folder_list(&arena, path, &names, &count, &diag), &diag);
        for (int32_t i = 0; i < count; ++i) remove_tree(path_join(&arena, path, names[i]));
    }
    CHECK(remove(path) == 0);
}

static void test_looks(void) {
    Diag diag = {0};
    const char *path = in_root("looks"), *other = in_root("./looks"), *nowhere = in_root("no/such");
    CHECK_OK(file_can_replace(path, &diag), &diag);
    CHECK(!file_exists(path));
    CHECK(!file_is_same(path, other));
    CHECK_OK(file_replace(path, "abc", 3, &diag), &diag);
    CHECK_OK(file_can_replace(path, &diag), &diag);
    CHECK(file_is_same(path, other) && !file_is_same(path, root));
    CHECK(file_begins_with(path, "abc", 3) && file_begins_with(path, "ab", 2));
    CHECK(!file_begins_with(path, "abcd", 4) && !file_begins_with(path, "b", 1));
    CHECK(!file_begins_with(root, "", 0) && !file_begins_with(nowhere, "", 0));
    CHECK_INT(file_can_replace(nowhere, &diag), STATUS_IO);
}

int main(void) {
    const char *folder = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.40s/base_file.XXXXXX", folder != NULL ? folder : "/tmp");
    CHECK(mkdtemp(root) != NULL);
    test_map();
    test_replace();
    test_below();
    test_paths();
    test_folders();
    test_looks();
    remove_tree(root);
    arena_reset(&arena);
    return test_result();
}
