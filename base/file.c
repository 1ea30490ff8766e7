#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file; its size goes to *size. Without O_NONBLOCK opening a pipe would wait for a writer. */
static Status open_regular(const char *path, int *descriptor, uint64_t *size, Diag *diag) {
    struct stat info;
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return FAIL(diag, STATUS_IO, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(opened, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(opened);
        return FAIL(diag, STATUS_IO, "'%s' is not a regular file", path);
    }
    *descriptor = opened;
    *size = (uint64_t)info.st_size;
    return STATUS_OK;
}

/* Closes the descriptor whether it succeeds or not. offset is a multiple of the page size. */
static Status map_range(const char *path, int descriptor, uint64_t offset, size_t size, void **mapping,
                        Diag *diag) {
    void *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, (off_t)offset);
    int reason = errno;
    close(descriptor);
    if (mapped == MAP_FAILED) return FAIL(diag, STATUS_IO, "cannot map '%s': %s", path, strerror(reason));
    *mapping = mapped;
    return STATUS_OK;
}

Status file_map(const char *path, FileMap *out, Diag *diag) {
    int descriptor;
    uint64_t size;
    void *mapping = NULL;
    *out = (FileMap){0};
    TRY(open_regular(path, &descriptor, &size, diag));
    if (size == 0) {
        close(descriptor);
        return STATUS_OK;
    }
    TRY(map_range(path, descriptor, 0, (size_t)size, &mapping, diag));
    *out = (FileMap){.data = mapping, .size = (size_t)size};
    return STATUS_OK;
}

void file_unmap(FileMap *map) {
    if (map->data != NULL) munmap((void *)map->data, map->size);
    *map = (FileMap){0};
}

static bool has_parent_component(const char *path) {
    for (const char *part = path; *part != '\0';) {
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') return true;
        part += length;
        part += strspn(part, "/");
    }
    return false;
}

/* The real path of relative below folder into resolved (PATH_MAX bytes). Both are resolved first and compared
 * then, so that no symbolic link leads outside. */
static Status resolve_below(const char *folder, const char *relative, char *resolved, Diag *diag) {
    char root[PATH_MAX], joined[PATH_MAX];
    if (relative[0] == '\0' || relative[0] == '/' || has_parent_component(relative)) {
        return FAIL(diag, STATUS_BAD_MODEL, "the path '%s' must be relative and without '..'", relative);
    }
    if (realpath(folder, root) == NULL) {
        return FAIL(diag, STATUS_IO, "cannot open folder '%s': %s", folder, strerror(errno));
    }
    int length = snprintf(joined, sizeof joined, "%s/%s", root, relative);
    if (length < 0 || (size_t)length >= sizeof joined) {
        return FAIL(diag, STATUS_BAD_MODEL, "the path '%.64s...' is too long", relative);
    }
    if (realpath(joined, resolved) == NULL) {
        return FAIL(diag, STATUS_IO, "cannot open '%s': %s", joined, strerror(errno));
    }
    size_t root_length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(resolved, root, root_length) != 0 || resolved[root_length] != '/') {
        return FAIL(diag, STATUS_BAD_MODEL, "the path '%s' leads outside of the folder '%s'", relative, root);
    }
    return STATUS_OK;
}

Status file_map_below(const char *folder, const char *relative, uint64_t offset, uint64_t size, bool to_end,
                      FileRange *out, Diag *diag) {
    char path[PATH_MAX];
    int descriptor;
    uint64_t file_size;
    *out = (FileRange){0};
    TRY(resolve_below(folder, relative, path, diag));
    TRY(open_regular(path, &descriptor, &file_size, diag));
    if (to_end && offset <= file_size) size = file_size - offset;
    if (offset > file_size || size > file_size - offset) {
        close(descriptor);
        return FAIL(diag, STATUS_BAD_MODEL, "'%s' has %llu bytes: too few for %llu at offset %llu", relative,
                    (unsigned long long)file_size, (unsigned long long)(to_end ? 0 : size),
                    (unsigned long long)offset);
    }
    if (size == 0) {
        close(descriptor);
        return STATUS_OK;
    }
    uint64_t before = offset % (uint64_t)sysconf(_SC_PAGESIZE);
    out->mapping_size = (size_t)(size + before);
    TRY(map_range(path, descriptor, offset - before, out->mapping_size, &out->mapping, diag));
    out->data = (const uint8_t *)out->mapping + before;
    out->size = (size_t)size;
    return STATUS_OK;
}

void file_unmap_range(FileRange *range) {
    if (range->mapping != NULL) munmap(range->mapping, range->mapping_size);
    *range = (FileRange){0};
}

static char *format_temporary(const char *path, int attempt) {
    size_t size = strlen(path) + 48;
    char *name = mem_alloc(NULL, size);
    if (name != NULL) snprintf(name, size, "%s.%ld-%d.tmp", path, (long)getpid(), attempt);
    return name;
}

/* A new file beside path, with the permissions that the process gives to new files. */
static Status create_temporary(FileOut *out, Diag *diag) {
    enum { ATTEMPTS = 100 };
    for (int attempt = 0;; ++attempt) {
        out->temporary = format_temporary(out->path, attempt);
        TRY_ALLOC(diag, out->temporary);
        out->descriptor = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (out->descriptor >= 0) return STATUS_OK;
        int reason = errno;
        mem_free(NULL, out->temporary);
        out->temporary = NULL;
        if (reason != EEXIST || attempt == ATTEMPTS) {
            return FAIL(diag, STATUS_IO, "cannot write '%s': %s", out->path, strerror(reason));
        }
    }
}

Status file_out_open(const char *path, FileOut *out, Diag *diag) {
    struct stat info;
    *out = (FileOut){.descriptor = -1};
    /* Renaming over a device or a pipe would destroy it. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return FAIL(diag, STATUS_IO, "cannot replace '%s': not a regular file", path);
    }
    out->path = mem_alloc(NULL, strlen(path) + 1);
    TRY_ALLOC(diag, out->path);
    memcpy(out->path, path, strlen(path) + 1);
    Status status = create_temporary(out, diag);
    if (status != STATUS_OK) file_out_abandon(out);
    return status;
}

Status file_out_write(FileOut *out, const void *data, size_t size, Diag *diag) {
    const uint8_t *rest = data;
    while (size > 0) {
        ssize_t written = write(out->descriptor, rest, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            return FAIL(diag, STATUS_IO, "cannot write '%s': %s", out->path, strerror(errno));
        }
        rest += written;
        size -= (size_t)written;
    }
    return STATUS_OK;
}

Status file_out_commit(FileOut *out, Diag *diag) {
    bool done = fsync(out->descriptor) == 0;
    int reason = errno;
    /* Some file systems report a failed write only here. */
    if (close(out->descriptor) != 0 && done) {
        done = false;
        reason = errno;
    }
    out->descriptor = -1;
    if (done && rename(out->temporary, out->path) != 0) {
        done = false;
        reason = errno;
    }
    Status status = STATUS_OK;
    if (!done) status = FAIL(diag, STATUS_IO, "cannot write '%s': %s", out->path, strerror(reason));
    if (done) {
        mem_free(NULL, out->temporary);
        out->temporary = NULL;
    }
    file_out_abandon(out);
    return status;
}

void file_out_abandon(FileOut *out) {
    if (out->temporary != NULL) {
        if (out->descriptor >= 0) close(out->descriptor);
        unlink(out->temporary);
    }
    mem_free(NULL, out->temporary);
    mem_free(NULL, out->path);
    *out = (FileOut){.descriptor = -1};
}

Status file_replace(const char *path, const void *data, size_t size, Diag *diag) {
    FileOut out;
    TRY(file_out_open(path, &out, diag));
    Status status = file_out_write(&out, data, size, diag);
    if (status == STATUS_OK) return file_out_commit(&out, diag);
    file_out_abandon(&out);
    return status;
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

Status file_can_replace(const char *path, Diag *diag) {
    FileOut out;
    TRY(file_out_open(path, &out, diag));
    file_out_abandon(&out);
    return STATUS_OK;
}

bool file_begins_with(const char *path, const void *bytes, size_t size) {
    FileMap map;
    Diag ignored = {0};
    if (file_map(path, &map, &ignored) != STATUS_OK) return false;
    bool same = map.data != NULL && map.size >= size && memcmp(map.data, bytes, size) == 0;
    file_unmap(&map);
    return same;
}

bool file_is_same(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

char *path_folder(Arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return arena_strdup(arena, ".");
    size_t length = (size_t)(slash - path);
    while (length > 0 && path[length - 1] == '/') length--;
    return length == 0 ? arena_strdup(arena, "/") : arena_strndup(arena, path, length);
}

char *path_join(Arena *arena, const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (length == 0 || name[0] == '/') return arena_strdup(arena, name);
    return arena_printf(arena, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

Status folder_list(Arena *arena, const char *path, char ***names, int32_t *count, Diag *diag) {
    DIR *folder = opendir(path);
    if (folder == NULL) return FAIL(diag, STATUS_IO, "cannot read '%s': %s", path, strerror(errno));
    char **items = NULL;
    int32_t used = 0, capacity = 0;
    bool memory = true;
    const struct dirent *entry;
    while (memory && (errno = 0, entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        memory = ARENA_RESERVE(arena, items, used, capacity) &&
                 (items[used] = arena_strdup(arena, entry->d_name)) != NULL;
        if (memory) used++;
    }
    int reason = memory ? errno : 0;
    closedir(folder);
    if (!memory) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    if (reason != 0) return FAIL(diag, STATUS_IO, "cannot read '%s': %s", path, strerror(reason));
    if (used > 1) qsort(items, (size_t)used, sizeof *items, compare_names);
    *names = items;
    *count = used;
    return STATUS_OK;
}

static Status create_one(const char *path, Diag *diag) {
    struct stat info;
    if (mkdir(path, 0777) == 0) return STATUS_OK;
    int reason = errno;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return STATUS_OK;
    return FAIL(diag, STATUS_IO, "cannot make folder '%s': %s", path, strerror(reason));
}

Status folder_create(const char *path, Diag *diag) {
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof prefix) return FAIL(diag, STATUS_IO, "the path '%.64s...' is too long", path);
    for (size_t i = 1; i < length; ++i) {
        if (path[i] != '/' || path[i - 1] == '/') continue;
        memcpy(prefix, path, i);
        prefix[i] = '\0';
        TRY(create_one(prefix, diag));
    }
    return create_one(path, diag);
}
