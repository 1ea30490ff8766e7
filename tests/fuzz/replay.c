/* Runs a fuzz target over every file of the folders given: the regression test of its corpus, and the way to
 * look at one crash without a fuzzer. */
#include <stdio.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status replay_file(const char *path, Diag *diag) {
    FileMap file;
    TRY(file_map(path, &file, diag));
    /* A copy at an odd place, so that nothing can rely on a mapping's alignment or padding. */
    uint8_t *copy = mem_alloc(NULL, file.size + 1);
    TRY_ALLOC(diag, copy);
    for (size_t i = 0; i < file.size; ++i) copy[i + 1] = file.data[i];
    LLVMFuzzerTestOneInput(copy + 1, file.size);
    mem_free(NULL, copy);
    file_unmap(&file);
    return STATUS_OK;
}

static Status replay_folder(const char *folder, Arena *arena, int *ran, Diag *diag) {
    char **names;
    int32_t count;
    TRY(folder_list(arena, folder, &names, &count, diag));
    for (int32_t i = 0; i < count; ++i) {
        const char *path = path_join(arena, folder, names[i]);
        TRY_ALLOC(diag, path);
        TRY(replay_file(path, diag));
        ++*ran;
    }
    return STATUS_OK;
}

int main(int argc, char **argv) {
    Arena arena = {0};
    int ran = 0;
    for (int i = 1; i < argc; ++i) {
        Diag diag = {0};
        if (replay_folder(argv[i], &arena, &ran, &diag) == STATUS_OK) continue;
        char text[2048];
        diag_format(&diag, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    arena_reset(&arena);
    fprintf(stderr, "%d inputs\n", ran);
    return ran > 0 ? 0 : 1;
}
