#include "kernels/jit_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

enum { CACHE_PATH = 512 };
static const char magic[8] = "SMELTCU1";
static const int64_t most_bytes = (int64_t)1 << 30, trimmed_bytes = (int64_t)3 << 28;

typedef struct EntryHeader {
    char magic[8];
    uint64_t key_high, key_low, size, checksum; /* of what follows */
} EntryHeader;

const char *cache_folder(const char *chosen, const char *name, Arena *arena) {
    Diag ignored = {0};
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *folder = NULL;
    if (chosen != NULL && chosen[0] != '\0')
        folder = path_join(arena, chosen, name);
    else if (chosen == NULL && base != NULL && base[0] == '/')
        folder = arena_printf(arena, "%s/smelt/%s", base, name);
    else if (chosen == NULL && home != NULL && home[0] == '/')
        folder = arena_printf(arena, "%s/.cache/smelt/%s", home, name);
    return folder != NULL && folder_create(folder, &ignored) == STATUS_OK ? folder : NULL;
}

JitCache jit_cache_open(const char *chosen, Arena *arena) {
    return (JitCache){cache_folder(chosen, "cubins", arena)};
}

static bool entry_path(const JitCache *cache, JitKey key, char path[CACHE_PATH]) {
    int length = snprintf(path, CACHE_PATH, "%s/%016llx%016llx.cubin", cache->folder,
                          (unsigned long long)key.high, (unsigned long long)key.low);
    return length > 0 && length < CACHE_PATH;
}

static bool entry_is_whole(const FileMap *map, JitKey key) {
    EntryHeader header;
    if (map->size < sizeof header) return false;
    memcpy(&header, map->data, sizeof header);
    const uint8_t *cubin = map->data + sizeof header;
    return memcmp(header.magic, magic, sizeof magic) == 0 && header.key_high == key.high &&
           header.key_low == key.low && header.size == map->size - sizeof header && header.size > 0 &&
           header.checksum == hash_bytes(cubin, (size_t)header.size);
}

bool jit_cache_find(const JitCache *cache, JitKey key, FileMap *map, const void **cubin, size_t *size) {
    char path[CACHE_PATH];
    Diag ignored = {0};
    if (cache->folder == NULL || !entry_path(cache, key, path)) return false;
    if (!file_exists(path) || file_map(path, map, &ignored) != STATUS_OK) return false;
    if (!entry_is_whole(map, key)) {
        file_unmap(map);
        return false;
    }
    *cubin = map->data + sizeof(EntryHeader);
    *size = map->size - sizeof(EntryHeader);
    utimensat(AT_FDCWD, path, NULL, 0); /* used now: trimming goes by this time */
    return true;
}

void jit_cache_add(const JitCache *cache, JitKey key, const void *cubin, size_t size) {
    char path[CACHE_PATH];
    Diag ignored = {0};
    FileOut out;
    EntryHeader header = {
        .key_high = key.high, .key_low = key.low, .size = size, .checksum = hash_bytes(cubin, size)};
    memcpy(header.magic, magic, sizeof magic);
    if (cache->folder == NULL || !entry_path(cache, key, path)) return;
    if (file_out_open(path, &out, &ignored) != STATUS_OK) return;
    if (file_out_write(&out, &header, sizeof header, &ignored) == STATUS_OK &&
        file_out_write(&out, cubin, size, &ignored) == STATUS_OK)
        (void)file_out_commit(&out, &ignored);
    else
        file_out_abandon(&out);
}

/* -- the bound -- */

typedef struct CacheFile {
    const char *path;
    int64_t used, size; /* seconds; bytes */
} CacheFile;

static int older_first(const void *a, const void *b) {
    const CacheFile *left = a, *right = b;
    if (left->used != right->used) return left->used < right->used ? -1 : 1;
    return strcmp(left->path, right->path);
}

void jit_cache_trim(const JitCache *cache, Arena *scratch) {
    char **names;
    int32_t count, kept = 0;
    int64_t total = 0;
    struct stat state;
    Diag ignored = {0};
    if (cache->folder == NULL || folder_list(scratch, cache->folder, &names, &count, &ignored) != STATUS_OK)
        return;
    CacheFile *files = ARENA_ARRAY(scratch, CacheFile, count);
    for (int32_t i = 0; files != NULL && i < count; ++i) {
        const char *path = path_join(scratch, cache->folder, names[i]);
        if (path == NULL || stat(path, &state) != 0 || !S_ISREG(state.st_mode)) continue;
        files[kept++] = (CacheFile){path, (int64_t)state.st_mtim.tv_sec, (int64_t)state.st_size};
        total += (int64_t)state.st_size;
    }
    if (total <= most_bytes) return;
    qsort(files, (size_t)kept, sizeof *files, older_first);
    for (int32_t i = 0; i < kept && total > trimmed_bytes; ++i)
        if (unlink(files[i].path) == 0) total -= files[i].size;
}
