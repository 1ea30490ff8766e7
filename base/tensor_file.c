#include "base/tensor_file.h"

#include <string.h>

#include "base/file.h"
#include "base/tensor_form.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are copied between files and memory");

typedef enum TensorForm { FORM_UNKNOWN, FORM_NPY, FORM_PB } TensorForm;

static TensorForm form_of(const char *path) {
    const char *dot = strrchr(path, '.');
    if (dot != NULL && strcmp(dot, ".npy") == 0) return FORM_NPY;
    return dot != NULL && strcmp(dot, ".pb") == 0 ? FORM_PB : FORM_UNKNOWN;
}

static Status unknown_form(const char *path, Diag *diag) {
    return FAIL(diag, STATUS_USAGE, "'%s' is no tensor file: expected a name that ends in .npy or .pb", path);
}

Status tensor_allocate(Tensor *tensor, Arena *arena, Diag *diag) {
    tensor->data = arena_alloc(arena, tensor_bytes(tensor));
    TRY_ALLOC(diag, tensor->data);
    return STATUS_OK;
}

void tensor_normalise_bools(Tensor *tensor) {
    uint8_t *data = tensor->data;
    int64_t count = tensor->dtype == DTYPE_BOOL ? tensor_count(tensor) : 0;
    for (int64_t i = 0; i < count; ++i) data[i] = data[i] != 0;
}

Status tensor_take(Tensor *tensor, const void *data, Arena *arena, Diag *diag) {
    size_t size = tensor_bytes(tensor);
    TRY(tensor_allocate(tensor, arena, diag));
    if (size > 0) memcpy(tensor->data, data, size);
    tensor_normalise_bools(tensor);
    return STATUS_OK;
}

Status tensor_file_read(const char *path, Arena *arena, Tensor *out, const char **name, Diag *diag) {
    FileMap map;
    TensorForm form = form_of(path);
    if (name != NULL) *name = NULL;
    if (form == FORM_UNKNOWN) return unknown_form(path, diag);
    TRY(file_map(path, &map, diag));
    Status status = form == FORM_NPY ? tensor_from_npy(map.data, map.size, arena, out, diag)
                                     : tensor_from_pb(map.data, map.size, arena, out, name, diag);
    file_unmap(&map);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", path);
    return status;
}

Status tensor_file_read_raw(const char *path, Arena *arena, Tensor *out, Diag *diag) {
    FileMap map;
    Tensor described;
    TRY(tensor_describe(&described, out->dtype, out->rank, out->dim, SIZE_MAX, diag));
    TRY(file_map(path, &map, diag));
    Status status = STATUS_OK;
    if (map.size != tensor_bytes(&described)) {
        char text[128];
        tensor_format(&described, text, sizeof text);
        status = FAIL(diag, STATUS_BAD_DATA, "'%s' has %zu bytes, but %s needs %zu", path, map.size, text,
                      tensor_bytes(&described));
    }
    if (status == STATUS_OK) status = tensor_take(&described, map.data, arena, diag);
    if (status == STATUS_OK) *out = described;
    file_unmap(&map);
    return status;
}

/* The form in which elements without an npy type go out: one u8 (u16 for bf16) of their bits each, i8 for
 * packed signed integers. Others stay as they are. */
static Status widen_for_npy(const Tensor *tensor, Arena *arena, Tensor *out, Diag *diag) {
    *out = *tensor;
    int bits = dtype_bits(tensor->dtype);
    DTypeKind kind = dtype_kind(tensor->dtype);
    if (kind == DTYPE_KIND_FLOAT && bits == 8) out->dtype = DTYPE_U8;
    if (tensor->dtype == DTYPE_BF16) out->dtype = DTYPE_U16;
    if (bits >= 8 || bits == 0) return STATUS_OK;
    DType source = kind == DTYPE_KIND_FLOAT ? DTYPE_U4 : tensor->dtype; /* f4: its bits */
    out->dtype = kind == DTYPE_KIND_SIGNED ? DTYPE_I8 : DTYPE_U8;
    TRY(tensor_allocate(out, arena, diag));
    int64_t count = tensor_count(tensor);
    for (int64_t i = 0; i < count; ++i) {
        dtype_store_i64(out->dtype, out->data, i, dtype_load_i64(source, tensor->data, i));
    }
    return STATUS_OK;
}

static Status write_tensor(const char *path, const Tensor *tensor, const char *name, Arena *arena,
                           Diag *diag) {
    ByteWriter header = byte_writer(arena);
    Tensor written = *tensor;
    FileOut out;
    if (form_of(path) == FORM_NPY) {
        TRY(widen_for_npy(tensor, arena, &written, diag));
        TRY(npy_write_header(&header, &written, diag));
    } else {
        pb_write_header(&header, &written, name);
    }
    if (header.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    TRY(file_out_open(path, &out, diag));
    Status status = file_out_write(&out, header.data, header.size, diag);
    if (status == STATUS_OK) status = file_out_write(&out, written.data, tensor_bytes(&written), diag);
    if (status == STATUS_OK) return file_out_commit(&out, diag);
    file_out_abandon(&out);
    return status;
}

Status tensor_file_write(const char *path, const Tensor *tensor, const char *name, Diag *diag) {
    if (form_of(path) == FORM_UNKNOWN) return unknown_form(path, diag);
    if (tensor->dtype == DTYPE_STRING || !dtype_is_valid((int64_t)tensor->dtype)) {
        return FAIL(diag, STATUS_UNSUPPORTED, "cannot write elements of type %s", dtype_name(tensor->dtype));
    }
    Arena arena = {0};
    Status status = write_tensor(path, tensor, name, &arena, diag);
    arena_reset(&arena);
    return status;
}
