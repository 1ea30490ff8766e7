/* ONNX's TensorProto in protobuf wire format. Source: onnx.proto, message TensorProto; protobuf, "Encoding".
 *
 * The message is walked twice: the first walk finds the shape and counts what is there, the second decodes
 * into memory of the size that both agree on. So nothing is allocated for a shape without data. */
#include <string.h>

#include "base/tensor_form.h"

enum {
    FIELD_DIMS = 1,
    FIELD_DATA_TYPE = 2,
    FIELD_SEGMENT = 3,
    FIELD_FLOAT_DATA = 4,
    FIELD_INT32_DATA = 5,
    FIELD_STRING_DATA = 6,
    FIELD_INT64_DATA = 7,
    FIELD_NAME = 8,
    FIELD_RAW_DATA = 9,
    FIELD_DOUBLE_DATA = 10,
    FIELD_UINT64_DATA = 11,
    FIELD_EXTERNAL_DATA = 13,
    FIELD_DATA_LOCATION = 14,
    FIELD_COUNT = 15
};
static const char *const field_names[FIELD_COUNT] = {
    [FIELD_DIMS] = "dims",
    [FIELD_DATA_TYPE] = "data_type",
    [FIELD_FLOAT_DATA] = "float_data",
    [FIELD_INT32_DATA] = "int32_data",
    [FIELD_STRING_DATA] = "string_data",
    [FIELD_INT64_DATA] = "int64_data",
    [FIELD_NAME] = "name",
    [FIELD_RAW_DATA] = "raw_data",
    [FIELD_DOUBLE_DATA] = "double_data",
    [FIELD_UINT64_DATA] = "uint64_data",
    [FIELD_SEGMENT] = "segment",
    [FIELD_EXTERNAL_DATA] = "external_data",
    [FIELD_DATA_LOCATION] = "data_location",
};

typedef enum WireType { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 } WireType;

typedef struct PbField {
    uint64_t number;
    WireType wire;
    uint64_t value; /* of VARINT */
    const uint8_t *bytes;
    size_t size; /* of all others */
} PbField;

static uint64_t read_varint(ByteReader *reader) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(reader);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return value;
    }
    reader->failed = true;
    return 0;
}

/* False at the end, and where the bytes are no protobuf (reader->failed). */
static bool next_field(ByteReader *reader, PbField *field) {
    if (reader->failed || reader->position == reader->size) return false;
    uint64_t key = read_varint(reader);
    *field = (PbField){.number = key >> 3, .wire = (WireType)(key & 7)};
    switch (field->wire) {
    case WIRE_VARINT:
        field->value = read_varint(reader);
        break;
    case WIRE_FIXED64:
        field->size = 8;
        break;
    case WIRE_FIXED32:
        field->size = 4;
        break;
    case WIRE_BYTES: {
        uint64_t size = read_varint(reader);
        field->size = size <= SIZE_MAX ? (size_t)size : SIZE_MAX;
        break;
    }
    default:
        reader->failed = true;
        break;
    }
    if (field->wire != WIRE_VARINT) field->bytes = read_bytes(reader, field->size);
    if (field->number == 0) reader->failed = true;
    return !reader->failed;
}

/* What the first walk finds. */
typedef struct PbTensor {
    int64_t dims[SMELT_MAX_RANK];
    int32_t rank; /* stops at one more than SMELT_MAX_RANK */
    int64_t data_type;
    PbField name, raw;
    size_t counts[FIELD_COUNT]; /* values in each of the *_data fields, except raw_data */
    bool external, segmented;
} PbTensor;

/* The wire type of one value in a field that may be repeated. */
static WireType element_wire(uint64_t number) {
    if (number == FIELD_FLOAT_DATA) return WIRE_FIXED32;
    return number == FIELD_DOUBLE_DATA ? WIRE_FIXED64 : WIRE_VARINT;
}

/* Values in one occurrence of a repeated field, packed or single. False: malformed. */
static bool count_values(const PbField *field, size_t *count) {
    WireType wire = element_wire(field->number);
    *count = 1;
    if (field->wire == wire) return true;
    if (field->wire != WIRE_BYTES) return false;
    if (wire != WIRE_VARINT) {
        size_t width = wire == WIRE_FIXED32 ? 4 : 8;
        *count = field->size / width;
        return field->size % width == 0;
    }
    *count = 0;
    for (size_t i = 0; i < field->size; ++i) *count += (field->bytes[i] & 0x80) == 0;
    return field->size == 0 || (field->bytes[field->size - 1] & 0x80) == 0;
}

static void add_dim(PbTensor *tensor, uint64_t value) {
    if (tensor->rank < SMELT_MAX_RANK) tensor->dims[tensor->rank] = (int64_t)value;
    if (tensor->rank <= SMELT_MAX_RANK) tensor->rank++;
}

static bool scan_dims(PbTensor *tensor, const PbField *field) {
    if (field->wire == WIRE_VARINT) {
        add_dim(tensor, field->value);
        return true;
    }
    ByteReader packed = byte_reader(field->bytes, field->size);
    if (field->wire != WIRE_BYTES) return false;
    while (!packed.failed && packed.position < packed.size) add_dim(tensor, read_varint(&packed));
    return !packed.failed;
}

/* False where the field has not the form that the schema gives it. */
static bool scan_field(PbTensor *tensor, const PbField *field) {
    size_t count = 0;
    switch (field->number) {
    case FIELD_DIMS:
        return scan_dims(tensor, field);
    case FIELD_DATA_TYPE:
        tensor->data_type = (int64_t)field->value;
        return field->wire == WIRE_VARINT;
    case FIELD_NAME:
        tensor->name = *field;
        return field->wire == WIRE_BYTES;
    case FIELD_RAW_DATA:
        tensor->raw = *field;
        return field->wire == WIRE_BYTES;
    case FIELD_STRING_DATA:
        tensor->counts[FIELD_STRING_DATA]++;
        return field->wire == WIRE_BYTES;
    case FIELD_FLOAT_DATA:
    case FIELD_INT32_DATA:
    case FIELD_INT64_DATA:
    case FIELD_DOUBLE_DATA:
    case FIELD_UINT64_DATA:
        if (!count_values(field, &count)) return false;
        tensor->counts[field->number] += count; /* at most one per byte of the file */
        return true;
    case FIELD_SEGMENT:
        tensor->segmented = true;
        return true;
    case FIELD_EXTERNAL_DATA:
        tensor->external = true;
        return true;
    case FIELD_DATA_LOCATION:
        tensor->external |= field->value != 0;
        return field->wire == WIRE_VARINT;
    default:
        return true;
    }
}

static Status scan(ByteReader reader, PbTensor *tensor, Diag *diag) {
    PbField field;
    while (next_field(&reader, &field)) {
        if (scan_field(tensor, &field)) continue;
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: malformed field %s", field_names[field.number]);
    }
    if (reader.failed) {
        return FAIL(diag, STATUS_BAD_DATA, "not a TensorProto, or cut off: no field at byte %zu",
                    reader.position);
    }
    return STATUS_OK;
}

static int data_field(DType dtype) {
    switch (dtype) {
    case DTYPE_F32:
    case DTYPE_C64:
        return FIELD_FLOAT_DATA;
    case DTYPE_F64:
    case DTYPE_C128:
        return FIELD_DOUBLE_DATA;
    case DTYPE_I64:
        return FIELD_INT64_DATA;
    case DTYPE_U32:
    case DTYPE_U64:
        return FIELD_UINT64_DATA;
    default:
        return FIELD_INT32_DATA;
    }
}

/* Bytes that one value of a data field fills: a part of a complex number, several packed elements, or one. */
static size_t value_width(DType dtype) {
    size_t bytes = (size_t)dtype_bits(dtype) / 8;
    if (dtype == DTYPE_C64 || dtype == DTYPE_C128) return bytes / 2;
    return bytes == 0 ? 1 : bytes;
}

/* Stores one varint of width bytes; it must fit them, with or without sign. */
static bool put_varint(uint8_t *to, size_t width, uint64_t value) {
    if (width < 8) {
        int64_t number = (int64_t)value, span = (int64_t)1 << (8 * width);
        if (number < -(span / 2) || number >= span) return false;
    }
    for (size_t i = 0; i < width; ++i) to[i] = (uint8_t)(value >> (8 * i));
    return true;
}

/* The second walk: appends the values of one occurrence at *to. */
static bool decode_values(const PbField *field, size_t width, uint8_t **to) {
    if (element_wire(field->number) != WIRE_VARINT) {
        if (field->size > 0) memcpy(*to, field->bytes, field->size); /* little-endian in file and memory */
        *to += field->size;
        return true;
    }
    ByteReader packed = byte_reader(field->bytes, field->size);
    bool fits = true;
    if (field->wire == WIRE_VARINT) {
        fits = put_varint(*to, width, field->value);
        *to += width;
    }
    while (fits && packed.position < packed.size) {
        fits = put_varint(*to, width, read_varint(&packed)) && !packed.failed;
        *to += width;
    }
    return fits;
}

static Status take_values(ByteReader reader, Tensor *out, Arena *arena, Diag *diag) {
    PbField field;
    size_t width = value_width(out->dtype);
    uint64_t number = (uint64_t)data_field(out->dtype);
    TRY(tensor_allocate(out, arena, diag));
    uint8_t *to = out->data;
    while (next_field(&reader, &field)) {
        if (field.number != number || decode_values(&field, width, &to)) continue;
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: a value in %s is not in the range of %s",
                    field_names[number], dtype_name(out->dtype));
    }
    tensor_normalise_bools(out);
    return STATUS_OK;
}

static Status refuse_foreign(const PbTensor *found, Diag *diag) {
    if (found->data_type == DTYPE_STRING || found->counts[FIELD_STRING_DATA] > 0) {
        return FAIL(diag, STATUS_UNSUPPORTED, "TensorProto: string tensors are not supported");
    }
    if (found->external) {
        return FAIL(diag, STATUS_UNSUPPORTED, "TensorProto: external data is not read from tensor files");
    }
    if (found->segmented) return FAIL(diag, STATUS_UNSUPPORTED, "TensorProto: segments are not supported");
    if (!dtype_is_valid(found->data_type)) {
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: unknown data_type %lld",
                    (long long)found->data_type);
    }
    return STATUS_OK;
}

/* The elements stand in one field only, and that is raw_data or the one for their type. */
static Status check_fields(const PbTensor *found, DType dtype, Diag *diag) {
    for (int number = 1; number < FIELD_COUNT; ++number) {
        if (found->counts[number] == 0) continue;
        if (found->raw.size > 0) {
            return FAIL(diag, STATUS_BAD_DATA, "TensorProto: both raw_data and %s hold values",
                        field_names[number]);
        }
        if (number != data_field(dtype)) {
            return FAIL(diag, STATUS_BAD_DATA, "TensorProto: values of type %s cannot stand in %s",
                        dtype_name(dtype), field_names[number]);
        }
    }
    return STATUS_OK;
}

static Status take_name(const PbField *field, Arena *arena, const char **name, Diag *diag) {
    if (field->size > 0 && memchr(field->bytes, 0, field->size) != NULL) {
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: the name contains a zero byte");
    }
    *name = field->number == 0 ? NULL : arena_strndup(arena, (const char *)field->bytes, field->size);
    if (field->number != 0) TRY_ALLOC(diag, *name);
    return STATUS_OK;
}

Status tensor_from_pb(const void *bytes, size_t size, Arena *arena, Tensor *out, const char **name,
                      Diag *diag) {
    ByteReader reader = byte_reader(bytes, size);
    PbTensor found = {.rank = 0};
    TRY(scan(reader, &found, diag));
    TRY(refuse_foreign(&found, diag));
    DType dtype = (DType)found.data_type;
    TRY(tensor_describe(out, dtype, found.rank, found.dims, SIZE_MAX, diag));
    TRY(check_fields(&found, dtype, diag));
    if (name != NULL) TRY(take_name(&found.name, arena, name, diag));
    size_t needed = tensor_bytes(out), values = needed / value_width(dtype);
    size_t count = found.counts[data_field(dtype)];
    if (count == 0 && found.raw.size == needed) return tensor_take(out, found.raw.bytes, arena, diag);
    if (count == 0) {
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: raw_data has %zu bytes, the shape needs %zu",
                    found.raw.size, needed);
    }
    if (count != values) {
        return FAIL(diag, STATUS_BAD_DATA, "TensorProto: %s has %zu values, the shape needs %zu",
                    field_names[data_field(dtype)], count, values);
    }
    return take_values(reader, out, arena, diag);
}

static void write_varint(ByteWriter *writer, uint64_t value) {
    for (; value >= 0x80; value >>= 7) write_u8(writer, (uint8_t)(value | 0x80));
    write_u8(writer, (uint8_t)value);
}

static void write_key(ByteWriter *writer, int number, WireType wire) {
    write_varint(writer, (uint64_t)number << 3 | (uint64_t)wire);
}

void pb_write_header(ByteWriter *writer, const Tensor *tensor, const char *name) {
    for (int32_t d = 0; d < tensor->rank; ++d) {
        write_key(writer, FIELD_DIMS, WIRE_VARINT);
        write_varint(writer, (uint64_t)tensor->dim[d]);
    }
    write_key(writer, FIELD_DATA_TYPE, WIRE_VARINT);
    write_varint(writer, (uint64_t)tensor->dtype);
    if (name != NULL && name[0] != '\0') {
        write_key(writer, FIELD_NAME, WIRE_BYTES);
        write_varint(writer, strlen(name));
        write_bytes(writer, name, strlen(name));
    }
    write_key(writer, FIELD_RAW_DATA, WIRE_BYTES);
    write_varint(writer, tensor_bytes(tensor));
}
