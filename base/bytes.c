#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

ByteReader byte_reader(const void *data, size_t size) {
    return (ByteReader){.data = data, .size = size};
}

const void *read_bytes(ByteReader *reader, size_t size) {
    if (reader->failed || size > reader->size - reader->position) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *start = size == 0 ? (const uint8_t *)"" : reader->data + reader->position;
    reader->position += size;
    return start;
}

/* Byte by byte: right on any host, and compilers make one load of it. */
static uint64_t read_little(ByteReader *reader, size_t size) {
    const uint8_t *bytes = read_bytes(reader, size);
    uint64_t value = 0;
    if (bytes == NULL) return 0;
    for (size_t i = 0; i < size; ++i) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t read_u8(ByteReader *reader) {
    return (uint8_t)read_little(reader, 1);
}

uint16_t read_u16(ByteReader *reader) {
    return (uint16_t)read_little(reader, 2);
}

uint32_t read_u32(ByteReader *reader) {
    return (uint32_t)read_little(reader, 4);
}

uint64_t read_u64(ByteReader *reader) {
    return read_little(reader, 8);
}

int64_t read_i64(ByteReader *reader) {
    return (int64_t)read_little(reader, 8);
}

float read_f32(ByteReader *reader) {
    uint32_t bits = read_u32(reader);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *read_string(ByteReader *reader, Arena *arena) {
    uint32_t length = read_u32(reader);
    const char *bytes = read_bytes(reader, length);
    const char *text = NULL;
    if (bytes != NULL && memchr(bytes, 0, length) == NULL) text = arena_strndup(arena, bytes, length);
    if (text == NULL) reader->failed = true;
    return text;
}

ByteWriter byte_writer(Arena *arena) {
    return (ByteWriter){.arena = arena};
}

/* Room for size more bytes, already counted as written; NULL when the writer has failed. */
static uint8_t *extend(ByteWriter *writer, size_t size) {
    size_t needed;
    if (writer->failed) return NULL;
    if (!checked_add_size(writer->size, size, &needed)) needed = SIZE_MAX;
    if (needed > writer->capacity) {
        size_t capacity = needed < 256 ? 256 : needed <= SIZE_MAX / 2 ? needed * 2 : needed;
        uint8_t *grown = arena_grow(writer->arena, writer->data, writer->size, capacity, 1);
        if (grown == NULL) {
            writer->failed = true;
            return NULL;
        }
        writer->data = grown;
        writer->capacity = capacity;
    }
    uint8_t *start = writer->data + writer->size;
    writer->size = needed;
    return start;
}

static void write_little(ByteWriter *writer, uint64_t value, size_t size) {
    uint8_t *bytes = extend(writer, size);
    if (bytes == NULL) return;
    for (size_t i = 0; i < size; ++i) bytes[i] = (uint8_t)(value >> (8 * i));
}

void write_u8(ByteWriter *writer, uint8_t value) {
    write_little(writer, value, 1);
}

void write_u16(ByteWriter *writer, uint16_t value) {
    write_little(writer, value, 2);
}

void write_u32(ByteWriter *writer, uint32_t value) {
    write_little(writer, value, 4);
}

void write_u64(ByteWriter *writer, uint64_t value) {
    write_little(writer, value, 8);
}

void write_i64(ByteWriter *writer, int64_t value) {
    write_little(writer, (uint64_t)value, 8);
}

void write_f32(ByteWriter *writer, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    write_u32(writer, bits);
}

void write_bytes(ByteWriter *writer, const void *data, size_t size) {
    uint8_t *start = extend(writer, size);
    if (start != NULL && size > 0) memcpy(start, data, size);
}

void write_string(ByteWriter *writer, const char *text) {
    size_t length = strlen(text);
    if (length > UINT32_MAX) {
        writer->failed = true;
        return;
    }
    write_u32(writer, (uint32_t)length);
    write_bytes(writer, text, length);
}

void write_align(ByteWriter *writer, size_t alignment) {
    size_t padding = (size_t)0 - writer->size;
    uint8_t *start = extend(writer, padding & (alignment - 1));
    if (start != NULL) memset(start, 0, padding & (alignment - 1));
}

void write_format(ByteWriter *writer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_format_list(writer, format, arguments);
    va_end(arguments);
}

void write_format_list(ByteWriter *writer, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) writer->failed = true;
    /* vsnprintf wants a byte for the terminator, which the writer then gives back. */
    uint8_t *start = length < 0 ? NULL : extend(writer, (size_t)length + 1);
    if (start != NULL) {
        vsnprintf((char *)start, (size_t)length + 1, format, again);
        writer->size--;
    }
    va_end(again);
}

int utf8_length(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] >= 0x20 && c[0] < 0x7f) return 1;
    int length = c[0] >= 0xc2 && c[0] < 0xe0   ? 2
                 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3
                 : c[0] >= 0xf0 && c[0] < 0xf5 ? 4
                                               : 0;
    for (int i = 1; i < length; ++i)
        if (c[i] < 0x80 || c[i] > 0xbf) return 0;
    if (length == 2 && c[0] == 0xc2 && c[1] < 0xa0) return 0; /* C1 controls */
    if (length == 3 && ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f))) return 0;
    if (length == 4 && ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))) return 0;
    return length;
}

void write_json_text(ByteWriter *writer, const char *text) {
    write_u8(writer, '"');
    while (*text != '\0') {
        int length = utf8_length(text);
        if (*text == '"' || *text == '\\')
            write_format(writer, "\\%c", *text);
        else if (*text == '\n')
            write_format(writer, "\\n");
        else if (*text == '<')
            write_format(writer, "\\u003c"); /* so that no text ends a script that it stands in */
        else if (length > 0)
            write_bytes(writer, text, (size_t)length);
        else
            write_format(writer, (unsigned char)*text < 0x20 ? "\\u%04x" : "\\ufffd", (unsigned char)*text);
        text += length > 0 ? length : 1;
    }
    write_u8(writer, '"');
}
