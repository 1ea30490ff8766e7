#include "kernels/jit_dump.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/device_source.h"

Status jit_dump_begin(const char *folder, Arena *arena, Diag *diag) {
    const char *kernels = path_join(arena, folder, "kernels");
    TRY_ALLOC(diag, kernels);
    const char *headers = path_join(arena, kernels, "smelt");
    TRY_ALLOC(diag, headers);
    TRY(folder_create(headers, diag));
    for (const DeviceSource *source = device_sources; source->path != NULL; ++source) {
        const char *path = path_join(arena, kernels, source->path);
        TRY_ALLOC(diag, path);
        TRY(file_replace(path, source->text, strlen(source->text), diag));
    }
    return STATUS_OK;
}

static bool dump_path(const char *folder, const char *entry, const char *suffix, char path[JIT_PATH]) {
    int length = snprintf(path, JIT_PATH, "%s/kernels/%s%s", folder, entry, suffix);
    return length > 0 && length < JIT_PATH;
}

Status jit_dump_file(const char *folder, const char *entry, const char *suffix, const void *data, size_t size,
                     char path[JIT_PATH], Diag *diag) {
    char own[JIT_PATH];
    if (path == NULL) path = own;
    if (!dump_path(folder, entry, suffix, path))
        return FAIL(diag, STATUS_IO, "the path of a dump below '%s' is too long", folder);
    return file_replace(path, data, size, diag);
}

/* Runs a tool with its output in a file. */
static bool run_tool(const char *const *words, const char *output) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    int outcome = -1;
    if (posix_spawn_file_actions_init(&actions) != 0) return false;
    bool ready = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output,
                                                  O_WRONLY | O_CREAT | O_TRUNC, 0644) == 0 &&
                 posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0;
    char *arguments[8] = {0};
    for (int i = 0; words[i] != NULL && i < 7; ++i) memcpy(&arguments[i], &words[i], sizeof words[i]);
    if (ready && posix_spawnp(&child, words[0], &actions, NULL, arguments, environ) == 0 &&
        waitpid(child, &outcome, 0) != child)
        outcome = -1;
    posix_spawn_file_actions_destroy(&actions);
    return outcome == 0;
}

void jit_dump_sass(const char *folder, const char *entry, const char *arch) {
    char cubin[JIT_PATH], sass[JIT_PATH], suffix[64];
    snprintf(suffix, sizeof suffix, ".%s.cubin", arch);
    if (!dump_path(folder, entry, suffix, cubin)) return;
    snprintf(suffix, sizeof suffix, ".%s.sass", arch);
    if (!dump_path(folder, entry, suffix, sass)) return;
    const char *const cuobjdump[] = {"cuobjdump", "-sass", cubin, NULL};
    const char *const nvdisasm[] = {"nvdisasm", cubin, NULL};
    if (!run_tool(cuobjdump, sass) && !run_tool(nvdisasm, sass)) unlink(sass);
}
