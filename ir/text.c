#include "ir/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool text_is_plain(char c) {
    return isalnum((unsigned char)c) || (c != '\0' && strchr("_./%$-", c) != NULL);
}

void text_string(ByteWriter *out, const char *text) {
    write_u8(out, '"');
    for (const char *c = text; *c != '\0'; ++c) {
        if (*c == '"' || *c == '\\')
            write_format(out, "\\%c", *c);
        else if (*c == '\n')
            write_format(out, "\\n");
        else if (*c == '\t')
            write_format(out, "\\t");
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            write_format(out, "\\x%02x", (unsigned)(unsigned char)*c);
        else
            write_u8(out, (uint8_t)*c);
    }
    write_u8(out, '"');
}

void text_name(ByteWriter *out, const char *name) {
    bool plain = name[0] != '\0';
    for (const char *c = name; *c != '\0' && plain; ++c) plain = text_is_plain(*c);
    if (plain)
        write_bytes(out, name, strlen(name));
    else
        text_string(out, name);
}

enum { ELEMENT_BYTES = 16 };

/* The bits of one element, low byte first. */
static void element_bits(DType dtype, const void *data, int64_t index, uint8_t out[ELEMENT_BYTES]) {
    int bits = dtype_bits(dtype);
    const uint8_t *bytes = data;
    memset(out, 0, ELEMENT_BYTES);
    if (bits >= 8) {
        memcpy(out, bytes + index * (bits / 8), (size_t)bits / 8);
    } else {
        int64_t bit = index * bits;
        out[0] = (uint8_t)(bytes[bit / 8] >> (bit % 8) & ((1 << bits) - 1));
    }
}

static void bits_text(char *buffer, DType dtype, const uint8_t bits[ELEMENT_BYTES]) {
    int bytes = (dtype_bits(dtype) + 7) / 8, length = snprintf(buffer, IR_NUMBER_LENGTH, "0x");
    for (int i = bytes - 1; i >= 0; --i, length += 2)
        snprintf(buffer + length, (size_t)(IR_NUMBER_LENGTH - length), "%02x", (unsigned)bits[i]);
}

/* The buffer's number, stored as dtype, has these bits. */
static bool reads_back(const char *buffer, DType dtype, const uint8_t bits[ELEMENT_BYTES]) {
    uint8_t stored[ELEMENT_BYTES] = {0}, again[ELEMENT_BYTES];
    dtype_store_f64(dtype, stored, 0, strtod(buffer, NULL));
    element_bits(dtype, stored, 0, again);
    return memcmp(bits, again, ELEMENT_BYTES) == 0;
}

static void float_text(char *buffer, DType dtype, const void *data, int64_t index) {
    uint8_t bits[ELEMENT_BYTES];
    element_bits(dtype, data, index, bits);
    double value = dtype_load_f64(dtype, data, index);
    for (int precision = 6; precision <= 17; ++precision) {
        snprintf(buffer, IR_NUMBER_LENGTH, "%.*g", precision, value);
        if (strncmp(buffer, "-nan", 4) != 0 && reads_back(buffer, dtype, bits)) return;
    }
    bits_text(buffer, dtype, bits);
}

void text_element(char *buffer, DType dtype, const void *data, int64_t index) {
    uint8_t bits[ELEMENT_BYTES];
    switch (dtype_kind(dtype)) {
    case DTYPE_KIND_FLOAT:
        float_text(buffer, dtype, data, index);
        return;
    case DTYPE_KIND_SIGNED:
    case DTYPE_KIND_BOOL:
        snprintf(buffer, IR_NUMBER_LENGTH, "%" PRId64, dtype_load_i64(dtype, data, index));
        return;
    case DTYPE_KIND_UNSIGNED:
        snprintf(buffer, IR_NUMBER_LENGTH, "%" PRIu64, (uint64_t)dtype_load_i64(dtype, data, index));
        return;
    case DTYPE_KIND_OTHER:
        element_bits(dtype, data, index, bits);
        bits_text(buffer, dtype, bits);
        return;
    }
}

void text_elements(ByteWriter *out, DType dtype, const void *data, int64_t count) {
    char buffer[IR_NUMBER_LENGTH];
    write_u8(out, '{');
    for (int64_t i = 0; i < count && !out->failed; ++i) {
        text_element(buffer, dtype, data, i);
        write_format(out, i == 0 ? "%s" : ", %s", buffer);
    }
    write_u8(out, '}');
}
