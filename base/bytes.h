/* Bounded little-endian reading and writing. A reader never passes its end: after a short read it is
 * `failed`, returns zeros, and the caller checks once. */
#ifndef SMELT_BASE_BYTES_H
#define SMELT_BASE_BYTES_H

#include <stdarg.h>

#include "base/memory.h"

typedef struct ByteReader {
    const uint8_t *data;
    size_t size, position;
    bool failed;
} ByteReader;

ByteReader byte_reader(const void *data, size_t size);
uint8_t read_u8(ByteReader *reader);
uint16_t read_u16(ByteReader *reader);
uint32_t read_u32(ByteReader *reader);
uint64_t read_u64(ByteReader *reader);
int64_t read_i64(ByteReader *reader);
float read_f32(ByteReader *reader);
/* A pointer to the next size bytes, NULL (and failed) when there are fewer. */
const void *read_bytes(ByteReader *reader, size_t size);
/* u32 length, bytes. A copy with a terminating zero in arena; NULL and failed on a short read, an embedded
 * zero byte, or no memory. */
const char *read_string(ByteReader *reader, Arena *arena);

/* Grows in its arena; failed once memory runs out, after which writes do nothing. */
typedef struct ByteWriter {
    Arena *arena;
    uint8_t *data;
    size_t size, capacity;
    bool failed;
} ByteWriter;

ByteWriter byte_writer(Arena *arena);
void write_u8(ByteWriter *writer, uint8_t value);
void write_u16(ByteWriter *writer, uint16_t value);
void write_u32(ByteWriter *writer, uint32_t value);
void write_u64(ByteWriter *writer, uint64_t value);
void write_i64(ByteWriter *writer, int64_t value);
void write_f32(ByteWriter *writer, float value);
void write_bytes(ByteWriter *writer, const void *data, size_t size);
void write_string(ByteWriter *writer, const char *text); /* u32 length, bytes, no terminator */
void write_align(ByteWriter *writer,
                 size_t alignment); /* zero bytes up to a multiple of alignment (power of two) */
/* printf into the writer, without the terminator. */
void write_format(ByteWriter *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void write_format_list(ByteWriter *writer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* Length of the UTF-8 character at text, 0 where there is none of printable form. */
int utf8_length(const char *text);
/* A string of JSON with its quotes; what is not UTF-8 becomes U+FFFD. */
void write_json_text(ByteWriter *writer, const char *text);

#endif
