/* Files: mapped for reading, replaced whole for writing. Messages name the path and the system's reason. */
#ifndef SMELT_BASE_FILE_H
#define SMELT_BASE_FILE_H

#include "base/memory.h"
#include "base/status.h"

/* A read-only private mapping of a regular file. data is NULL for an empty file. */
typedef struct FileMap {
    const uint8_t *data;
    size_t size;
} FileMap;

/* Fails with IO for what cannot be opened, is not a regular file, or cannot be mapped. */
Status file_map(const char *path, FileMap *out, Diag *diag);
void file_unmap(FileMap *map);

/* Maps bytes [offset, offset + size) of the file `relative` below folder. Fails with BAD_MODEL when the path
 * is absolute, leaves the folder ("..", symbolic link), or the range is outside the file. The returned data
 * pointer is at offset; unmap with file_unmap_range. */
typedef struct FileRange {
    const uint8_t *data;
    size_t size;
    void *mapping; /* page-aligned start and length, for file_unmap_range */
    size_t mapping_size;
} FileRange;
Status file_map_below(const char *folder, const char *relative, uint64_t offset, uint64_t size, bool to_end,
                      FileRange *out, Diag *diag);
void file_unmap_range(FileRange *range);

/* A file written under a temporary name beside path and renamed on commit; abandon removes it. Until commit
 * the old file at path stays whole. One of commit and abandon ends it; abandon accepts a zeroed FileOut. */
typedef struct FileOut {
    int descriptor;
    char *path, *temporary;
} FileOut;
Status file_out_open(const char *path, FileOut *out, Diag *diag);
Status file_out_write(FileOut *out, const void *data, size_t size, Diag *diag);
Status file_out_commit(FileOut *out, Diag *diag); /* fsync, rename */
void file_out_abandon(FileOut *out);

/* The three above in one. */
Status file_replace(const char *path, const void *data, size_t size, Diag *diag);

bool file_exists(const char *path);
/* Whether file_replace could begin, so that long work need not end in its failure. */
Status file_can_replace(const char *path, Diag *diag);
/* A regular file of at least so many bytes, whose first are these. */
bool file_begins_with(const char *path, const void *bytes, size_t size);
/* Both exist and are one, by whatever path. */
bool file_is_same(const char *a, const char *b);
/* The folder part of path ("." when it has none) in arena; NULL: out of memory. */
char *path_folder(Arena *arena, const char *path);
char *path_join(Arena *arena, const char *folder, const char *name);
/* The names in a folder in byte order, "." and ".." left out; *names is in arena. IO when it cannot be read.
 */
Status folder_list(Arena *arena, const char *path, char ***names, int32_t *count, Diag *diag);
/* Makes the folder and its parents; fine when it exists. */
Status folder_create(const char *path, Diag *diag);

#endif
