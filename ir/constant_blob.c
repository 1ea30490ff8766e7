/* The file beside a build's dumps that holds the elements of large constants, each content once. */
#include <inttypes.h>

#include "base/file.h"
#include "ir/text.h"

const char constant_blob_name[] = "constants.bin";

struct ConstantBlob {
    Arena *arena;
    FileOut file;
    uint64_t size;
    NameMap places; /* "hash size" to an index into offsets */
    uint64_t *offsets;
    int32_t count, capacity;
};

Status constant_blob_open(Arena *arena, const char *folder, ConstantBlob **out, Diag *diag) {
    ConstantBlob *blob = ARENA_NEW(arena, ConstantBlob);
    char *path = path_join(arena, folder, constant_blob_name);
    *out = NULL;
    TRY_ALLOC(diag, blob);
    TRY_ALLOC(diag, path);
    blob->arena = arena;
    TRY(file_out_open(path, &blob->file, diag));
    *out = blob;
    return STATUS_OK;
}

static Status append(ConstantBlob *blob, const void *data, size_t size, Diag *diag) {
    static const uint8_t zeros[IR_BLOB_ALIGNMENT];
    size_t padding = (IR_BLOB_ALIGNMENT - blob->size % IR_BLOB_ALIGNMENT) % IR_BLOB_ALIGNMENT;
    TRY(file_out_write(&blob->file, zeros, padding, diag));
    TRY(file_out_write(&blob->file, data, size, diag));
    blob->size += padding + size;
    return STATUS_OK;
}

Status constant_blob_put(ConstantBlob *blob, const void *data, size_t size, uint64_t *offset, uint64_t *hash,
                         Diag *diag) {
    *hash = hash_bytes(data, size);
    char *key = arena_printf(blob->arena, "%016" PRIx64 " %zu", *hash, size);
    TRY_ALLOC(diag, key);
    int32_t index = name_map_find(&blob->places, key);
    if (index < 0) {
        if (!ARENA_RESERVE(blob->arena, blob->offsets, blob->count, blob->capacity) ||
            !name_map_set(&blob->places, blob->arena, key, blob->count))
            return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
        TRY(append(blob, data, size, diag));
        blob->offsets[blob->count] = blob->size - size;
        index = blob->count++;
    }
    *offset = blob->offsets[index];
    return STATUS_OK;
}

Status constant_blob_close(ConstantBlob *blob, Diag *diag) {
    return blob == NULL ? STATUS_OK : file_out_commit(&blob->file, diag);
}
