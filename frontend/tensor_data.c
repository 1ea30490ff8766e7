/* Elements of initializers and tensor attributes. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "frontend/importer.h"

enum { DATA_EXTERNAL = 1 };

/* Describes *out. Element types that smelt has no use for are refused. */
static Status describe(Importer *im, int64_t type, size_t rank, const int64_t *dims, Tensor *out) {
    if (!dtype_is_valid(type))
        return FAIL(im->diag, type <= 0 ? STATUS_BAD_MODEL : STATUS_UNSUPPORTED,
                    "element type %lld is unknown", (long long)type);
    if (type == DTYPE_STRING) return FAIL(im->diag, STATUS_UNSUPPORTED, "string tensors are not supported");
    if (rank > SMELT_MAX_RANK)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "rank %zu is over the limit of %d", rank, SMELT_MAX_RANK);
    Diag inner = {0};
    if (tensor_describe(out, (DType)type, (int32_t)rank, dims, SIZE_MAX / 4, &inner) != STATUS_OK)
        return FAIL(im->diag, STATUS_BAD_MODEL, "%s", inner.text);
    return STATUS_OK;
}

/* Alignment that elements need in place: that of their widest scalar. */
static size_t element_bytes(DType dtype) {
    int bits = dtype_bits(dtype);
    return bits < 8 ? 1 : bits > 64 ? 8 : (size_t)bits / 8;
}

/* Bytes other than 0 and 1 would not compare like booleans. */
static bool has_odd_booleans(const Tensor *tensor, const uint8_t *data, size_t bytes) {
    uint8_t all = 0;
    if (tensor->dtype != DTYPE_BOOL) return false;
    for (size_t i = 0; i < bytes; ++i) all |= data[i];
    return all > 1;
}

/* Takes the elements from packed little-endian bytes; `stays`: they outlive the graph. */
static Status use_bytes(Importer *im, const uint8_t *data, bool stays, Tensor *out) {
    size_t bytes = tensor_bytes(out);
    bool odd = has_odd_booleans(out, data, bytes);
    if (stays && !odd && bytes > 0 && (uintptr_t)data % element_bytes(out->dtype) == 0) {
        /* Tensor has one type for reading and writing; constants are never written. */
        memcpy(&out->data, &data, sizeof out->data);
        return STATUS_OK;
    }
    uint8_t *copy = arena_alloc(im->arena, bytes);
    TRY_ALLOC(im->diag, copy);
    for (size_t i = 0; odd && i < bytes; ++i) copy[i] = data[i] != 0;
    if (!odd && bytes > 0) memcpy(copy, data, bytes);
    out->data = copy;
    return STATUS_OK;
}

static Status check_size(Importer *im, const char *what, uint64_t found, const Tensor *tensor) {
    if (found == tensor_bytes(tensor)) return STATUS_OK;
    char text[96];
    tensor_format(tensor, text, sizeof text);
    return FAIL(im->diag, STATUS_BAD_MODEL, "has %llu bytes of %s, but %s needs %zu",
                (unsigned long long)found, what, text, tensor_bytes(tensor));
}

/* -- typed fields -- */

typedef struct TypedField {
    const char *name;
    const void *data;
    size_t count, width; /* entries, and bytes of one */
} TypedField;

/* The field in which ONNX keeps elements of that type. */
static TypedField typed_field(const Onnx__TensorProto *proto, DType dtype) {
    switch (dtype) {
    case DTYPE_F32:
    case DTYPE_C64:
        return (TypedField){"float_data", proto->float_data, proto->n_float_data, 4};
    case DTYPE_F64:
    case DTYPE_C128:
        return (TypedField){"double_data", proto->double_data, proto->n_double_data, 8};
    case DTYPE_I64:
        return (TypedField){"int64_data", proto->int64_data, proto->n_int64_data, 8};
    case DTYPE_U32:
    case DTYPE_U64:
        return (TypedField){"uint64_data", proto->uint64_data, proto->n_uint64_data, 8};
    default:
        return (TypedField){"int32_data", proto->int32_data, proto->n_int32_data, 4};
    }
}

/* Each entry holds one element (half of one for complex types, one byte of packed ones for sub-byte types) in
 * its low bytes. */
static Status use_typed_field(Importer *im, const Onnx__TensorProto *proto, Tensor *out) {
    TypedField field = typed_field(proto, out->dtype);
    size_t bytes = tensor_bytes(out), part = element_bytes(out->dtype);
    if (out->dtype == DTYPE_C64) part = 4;
    if (field.count != bytes / part) {
        char text[96];
        tensor_format(out, text, sizeof text);
        return FAIL(im->diag, STATUS_BAD_MODEL, "has %zu entries in %s, but %s needs %zu", field.count,
                    field.name, text, bytes / part);
    }
    uint8_t *data = arena_alloc(im->arena, bytes);
    TRY_ALLOC(im->diag, data);
    const uint8_t *from = field.data;
    for (size_t i = 0; i < field.count; ++i) memcpy(data + i * part, from + i * field.width, part);
    for (size_t i = 0; i < bytes && out->dtype == DTYPE_BOOL; ++i) data[i] = data[i] != 0;
    out->data = data;
    return STATUS_OK;
}

/* -- external data -- */

/* The whole file at `location`, mapped once. */
static Status map_external(Importer *im, const char *location, const FileRange **out) {
    Model *model = im->model;
    int32_t index = name_map_find(&im->external, location);
    if (index < 0) {
        if (!ARENA_RESERVE(im->arena, model->external, model->external_count, im->external_capacity))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        index = model->external_count;
        if (!name_map_set(&im->external, &im->scratch, location, index))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        TRY(file_map_below(im->folder, location, 0, 0, true, &model->external[index], im->diag));
        model->external_count++;
    }
    *out = &model->external[index];
    return STATUS_OK;
}

static Status external_number(Importer *im, const char *key, const char *text, uint64_t *out) {
    char *end;
    bool digits = text[0] >= '0' && text[0] <= '9';
    unsigned long long value = strtoull(text, &end, 10);
    if (!digits || *end != '\0' || value > INT64_MAX)
        return FAIL(im->diag, STATUS_BAD_MODEL, "external data: %s '%s' is not a byte count", key, text);
    *out = value;
    return STATUS_OK;
}

static Status use_external(Importer *im, const Onnx__TensorProto *proto, Tensor *out) {
    const char *location = NULL;
    uint64_t offset = 0, length = tensor_bytes(out);
    for (size_t i = 0; i < proto->n_external_data; ++i) {
        const char *key = proto_text(proto->external_data[i]->key);
        const char *text = proto_text(proto->external_data[i]->value);
        if (strcmp(key, "location") == 0) location = text;
        if (strcmp(key, "offset") == 0) TRY(external_number(im, key, text, &offset));
        if (strcmp(key, "length") == 0) TRY(external_number(im, key, text, &length));
    }
    if (location == NULL || location[0] == '\0')
        return FAIL(im->diag, STATUS_BAD_MODEL, "external data without a location");
    if (im->folder == NULL)
        return FAIL(im->diag, STATUS_BAD_MODEL,
                    "external data in '%s', but the model was given without the folder to look in", location);
    TRY(check_size(im, "external data", length, out));
    const FileRange *file = NULL;
    TRY(map_external(im, location, &file));
    if (offset > file->size || length > file->size - offset)
        return FAIL(im->diag, STATUS_BAD_MODEL,
                    "external data: bytes %llu to %llu of '%s' are outside its %zu bytes",
                    (unsigned long long)offset, (unsigned long long)(offset + length), location, file->size);
    return use_bytes(im, file->data + offset, true, out);
}

/* -- tensors -- */

static Status use_data(Importer *im, const Onnx__TensorProto *proto, Tensor *out) {
    if (proto->segment != NULL)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "tensors in segments are not supported");
    if (proto->data_location == DATA_EXTERNAL) return use_external(im, proto, out);
    if (!proto->has_raw_offset) return use_typed_field(im, proto, out);
    TRY(check_size(im, "raw data", proto->raw_size, out));
    return use_bytes(im, im->bytes + proto->raw_offset, im->bytes_stay, out);
}

Status import_tensor(Importer *im, const Onnx__TensorProto *proto, Tensor *out) {
    Status status = describe(im, proto->data_type, proto->n_dims, proto->dims, out);
    if (status == STATUS_OK) status = use_data(im, proto, out);
    if (status != STATUS_OK) diag_context(im->diag, DIAG_TENSOR, "tensor '%s'", proto_text(proto->name));
    return status;
}

/* The linear index of entry i, from indices [n] (linear) or [n, rank] (coordinates). */
static bool sparse_position(const Tensor *indices, const Tensor *dense, int64_t i, int64_t *out) {
    const int64_t *data = indices->data;
    if (indices->rank == 1) {
        *out = data[i];
        return *out >= 0 && *out < tensor_count(dense);
    }
    *out = 0;
    for (int32_t axis = 0; axis < dense->rank; ++axis) {
        int64_t at = data[i * dense->rank + axis];
        if (at < 0 || at >= dense->dim[axis]) return false;
        *out = *out * dense->dim[axis] + at;
    }
    return true;
}

static Status scatter_sparse(Importer *im, const Tensor *values, const Tensor *indices, Tensor *out) {
    size_t width = (size_t)dtype_bits(out->dtype) / 8;
    for (int64_t i = 0; i < values->dim[0]; ++i) {
        int64_t at;
        if (!sparse_position(indices, out, i, &at))
            return FAIL(im->diag, STATUS_BAD_MODEL, "index %lld of the sparse tensor is outside its shape",
                        (long long)i);
        memcpy((uint8_t *)out->data + (size_t)at * width, (const uint8_t *)values->data + (size_t)i * width,
               width);
    }
    return STATUS_OK;
}

static Status densify(Importer *im, const Onnx__SparseTensorProto *proto, Tensor *out) {
    Tensor values, indices;
    if (proto->values == NULL || proto->indices == NULL)
        return FAIL(im->diag, STATUS_BAD_MODEL, "sparse tensor without values or indices");
    TRY(import_tensor(im, proto->values, &values));
    TRY(import_tensor(im, proto->indices, &indices));
    TRY(describe(im, values.dtype, proto->n_dims, proto->dims, out));
    bool linear = indices.rank == 1, coordinates = indices.rank == 2 && indices.dim[1] == out->rank;
    if (values.rank != 1 || indices.dtype != DTYPE_I64 || !(linear || coordinates) ||
        indices.dim[0] != values.dim[0])
        return FAIL(im->diag, STATUS_BAD_MODEL,
                    "values and indices of the sparse tensor do not fit together");
    if (dtype_bits(out->dtype) < 8)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "sparse tensors of %s are not supported",
                    dtype_name(out->dtype));
    im->densified += tensor_bytes(out) < MAX_DENSIFIED ? tensor_bytes(out) : MAX_DENSIFIED;
    if (im->densified >= MAX_DENSIFIED)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "sparse tensors of over %d MiB when written out",
                    MAX_DENSIFIED >> 20);
    out->data = arena_alloc(im->arena, tensor_bytes(out));
    TRY_ALLOC(im->diag, out->data);
    return scatter_sparse(im, &values, &indices, out);
}

Status import_sparse_tensor(Importer *im, const Onnx__SparseTensorProto *proto, Tensor *out) {
    Status status = densify(im, proto, out);
    const char *name = proto->values == NULL ? "" : proto_text(proto->values->name);
    if (status != STATUS_OK) diag_context(im->diag, DIAG_TENSOR, "sparse tensor '%s'", name);
    return status;
}
