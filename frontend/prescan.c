#include "frontend/prescan.h"

#include <stdbool.h>
#include <string.h>

#include "base/checked.h"

enum {
    MAX_NESTING = 64, /* messages within messages: about 20 body graphs within one another */
    RAW_DATA = 9,     /* TensorProto's field that stays in the file */
    LENGTH_BYTES = 5  /* of a length that is filled in later */
};

typedef enum WireType { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 } WireType;

/* One field on the wire: where its parts are, and the number of varints, 64-bit or 32-bit. */
typedef struct WireField {
    size_t begin; /* of the tag */
    uint32_t number;
    WireType wire;
    uint64_t value;      /* WIRE_VARINT */
    size_t data, length; /* the payload, without its length prefix */
} WireField;

typedef struct Walk {
    const uint8_t *data;
    size_t position;
    uint8_t *out; /* NULL: only counting */
    size_t out_size;
    size_t unpacked; /* estimate of what protobuf-c will allocate */
    size_t unpacked_limit;
    Diag *diag;
} Walk;

static Status read_varint(Walk *walk, size_t end, const char *what, uint64_t *value) {
    size_t begin = walk->position;
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (walk->position >= end)
            return FAIL(walk->diag, STATUS_BAD_MODEL, "truncated or damaged: %s at byte %zu has no end", what,
                        begin);
        uint8_t byte = walk->data[walk->position++];
        if (shift < 64) *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return STATUS_OK;
    }
    return FAIL(walk->diag, STATUS_BAD_MODEL, "damaged: %s at byte %zu is longer than 10 bytes", what, begin);
}

static Status read_field(Walk *walk, size_t end, WireField *field) {
    uint64_t tag;
    *field = (WireField){.begin = walk->position};
    TRY(read_varint(walk, end, "a field's tag", &tag));
    if (tag >> 32 != 0 || tag >> 3 == 0)
        return FAIL(walk->diag, STATUS_BAD_MODEL,
                    "damaged, or not an ONNX model: bad field number at byte %zu", field->begin);
    field->number = (uint32_t)tag >> 3;
    uint64_t length = 0;
    switch (tag & 7) {
    case WIRE_VARINT:
        field->data = walk->position;
        TRY(read_varint(walk, end, "a number", &field->value));
        length = walk->position - field->data;
        walk->position = field->data;
        break;
    case WIRE_64:
        length = 8;
        break;
    case WIRE_LENGTH:
        TRY(read_varint(walk, end, "a length", &length));
        break;
    case WIRE_32:
        length = 4;
        break;
    default:
        return FAIL(walk->diag, STATUS_BAD_MODEL,
                    "damaged, or not an ONNX model: field %u at byte %zu has the unknown wire type %u",
                    field->number, field->begin, (unsigned)tag & 7);
    }
    field->wire = (WireType)(tag & 7);
    if (length > end - walk->position)
        return FAIL(walk->diag, STATUS_BAD_MODEL,
                    "truncated or damaged: field %u at byte %zu needs %llu bytes, %zu are left",
                    field->number, field->begin, (unsigned long long)length, end - walk->position);
    field->data = walk->position;
    field->length = (size_t)length;
    walk->position += (size_t)length;
    return STATUS_OK;
}

static void put_byte(Walk *walk, uint8_t byte) {
    if (walk->out != NULL) walk->out[walk->out_size] = byte;
    walk->out_size++;
}

static void put_varint(Walk *walk, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_byte(walk, (uint8_t)(value | 0x80));
    put_byte(walk, (uint8_t)value);
}

static void put_tag(Walk *walk, uint32_t number, WireType wire) {
    put_varint(walk, (uint64_t)number << 3 | wire);
}

static void put_bytes(Walk *walk, size_t from, size_t length) {
    if (walk->out != NULL && length > 0) memcpy(walk->out + walk->out_size, walk->data + from, length);
    walk->out_size += length;
}

static void put_fixed64(Walk *walk, uint32_t number, uint64_t value) {
    put_tag(walk, number, WIRE_64);
    for (int i = 0; i < 8; ++i) put_byte(walk, (uint8_t)(value >> (8 * i)));
}

static Status count_unpacked(Walk *walk, size_t position, size_t bytes) {
    walk->unpacked += bytes;
    if (walk->unpacked <= walk->unpacked_limit) return STATUS_OK;
    return FAIL(
        walk->diag, STATUS_BAD_MODEL,
        "the structure up to byte %zu would take more than %zu MiB of memory, out of proportion to the "
        "file's size",
        position, walk->unpacked_limit >> 20);
}

static WireType natural_wire(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    default:
        return WIRE_VARINT;
    }
}

/* Numbers of a packed run: the payload must consist of whole ones. */
static Status check_packed(Walk *walk, const WireField *field, WireType element) {
    size_t count = 0;
    if (element == WIRE_VARINT) {
        Walk inner = *walk;
        inner.position = field->data;
        for (uint64_t value; inner.position < field->data + field->length; ++count)
            TRY(read_varint(&inner, field->data + field->length, "a number", &value));
    } else {
        size_t width = element == WIRE_64 ? 8 : 4;
        count = field->length / width;
        if (field->length % width != 0)
            return FAIL(walk->diag, STATUS_BAD_MODEL,
                        "damaged: the %zu bytes at byte %zu are not a whole count of %zu-byte numbers",
                        field->length, field->data, width);
    }
    return count_unpacked(walk, field->begin, count * sizeof(uint64_t));
}

static Status walk_message(Walk *walk, const ProtobufCMessageDescriptor *message, size_t end, int depth);

/* A length-prefixed message whose slimmed size is known only afterwards: the length is patched in. */
static Status walk_nested(Walk *walk, const ProtobufCMessageDescriptor *message, const WireField *field,
                          int depth) {
    if (depth >= MAX_NESTING)
        return FAIL(walk->diag, STATUS_BAD_MODEL, "nested deeper than %d messages at byte %zu", MAX_NESTING,
                    field->begin);
    size_t after = walk->position, patch = walk->out_size;
    walk->out_size += LENGTH_BYTES;
    walk->position = field->data;
    TRY(walk_message(walk, message, field->data + field->length, depth + 1));
    walk->position = after;
    size_t length = walk->out_size - patch - LENGTH_BYTES;
    if (length > INT32_MAX)
        return FAIL(walk->diag, STATUS_BAD_MODEL,
                    "the message at byte %zu has over 2 GiB besides raw tensor data", field->begin);
    for (int i = 0; i < LENGTH_BYTES && walk->out != NULL; ++i)
        walk->out[patch + (size_t)i] =
            (uint8_t)((length >> (7 * i) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
    return STATUS_OK;
}

static Status walk_payload(Walk *walk, const ProtobufCFieldDescriptor *known, const WireField *field,
                           int depth) {
    WireType wire = natural_wire(known->type);
    bool packed =
        known->label == PROTOBUF_C_LABEL_REPEATED && wire != WIRE_LENGTH && field->wire == WIRE_LENGTH;
    if (field->wire != wire && !packed)
        return FAIL(walk->diag, STATUS_BAD_MODEL,
                    "damaged, or not an ONNX model: field '%s' at byte %zu has wire type %d, expected %d",
                    known->name, field->begin, (int)field->wire, (int)wire);
    put_tag(walk, field->number, field->wire);
    if (known->type == PROTOBUF_C_TYPE_MESSAGE) return walk_nested(walk, known->descriptor, field, depth);
    if (known->type == PROTOBUF_C_TYPE_STRING && field->length > 0 &&
        memchr(walk->data + field->data, '\0', field->length) != NULL)
        return FAIL(walk->diag, STATUS_BAD_MODEL, "the text '%s' at byte %zu contains a zero byte",
                    known->name, field->begin);
    if (packed) TRY(check_packed(walk, field, wire));
    if (field->wire == WIRE_LENGTH) put_varint(walk, field->length);
    put_bytes(walk, field->data, field->length);
    return wire == WIRE_LENGTH ? count_unpacked(walk, field->begin, field->length + 32) : STATUS_OK;
}

/* What protobuf-c keeps per field while it unpacks a message (entries in slabs that double), and afterwards a
 * pointer or number. */
enum { FIELD_COST = 128 };

static Status walk_field(Walk *walk, const ProtobufCMessageDescriptor *message, const WireField *field,
                         uint64_t *seen, int depth) {
    if (message == &onnx__tensor_proto__descriptor && field->number == RAW_DATA) {
        if (field->wire != WIRE_LENGTH)
            return FAIL(walk->diag, STATUS_BAD_MODEL, "damaged: raw tensor data at byte %zu is a number",
                        field->begin);
        put_fixed64(walk, PROTO_RAW_OFFSET, field->data);
        put_fixed64(walk, PROTO_RAW_SIZE, field->length);
        return count_unpacked(walk, field->begin, 2 * FIELD_COST);
    }
    const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(message, field->number);
    if (known == NULL || field->number >= PROTO_RAW_OFFSET) return STATUS_OK;
    uint64_t bit = (uint64_t)1 << (known - message->fields);
    if (known->label != PROTOBUF_C_LABEL_REPEATED && (*seen & bit) != 0)
        return FAIL(walk->diag, STATUS_BAD_MODEL, "damaged: field '%s' of one %s occurs again at byte %zu",
                    known->name, message->short_name, field->begin);
    *seen |= bit;
    TRY(count_unpacked(walk, field->begin, FIELD_COST));
    return walk_payload(walk, known, field, depth);
}

static Status walk_message(Walk *walk, const ProtobufCMessageDescriptor *message, size_t end, int depth) {
    uint64_t seen = 0;
    TRY(count_unpacked(walk, walk->position, message->sizeof_message + 32));
    while (walk->position < end) {
        WireField field;
        TRY(read_field(walk, end, &field));
        TRY(walk_field(walk, message, &field, &seen, depth));
    }
    return STATUS_OK;
}

Status prescan_model(const uint8_t *bytes, size_t size, uint8_t *out, size_t *out_size, Diag *diag) {
    Walk walk = {.data = bytes, .out = out, .diag = diag};
    if (!checked_mul_size(size, 8, &walk.unpacked_limit) ||
        !checked_add_size(walk.unpacked_limit, (size_t)256 << 20, &walk.unpacked_limit))
        return FAIL(diag, STATUS_BAD_MODEL, "the file is too large");
    TRY(walk_message(&walk, &onnx__model_proto__descriptor, size, 1));
    *out_size = walk.out_size;
    return STATUS_OK;
}
