/* NumPy's .npy: magic, version, length, a Python dict as text, the elements. Source: numpy.lib.format,
 * "Format Version 1.0" to "3.0". */
#include <string.h>

#include "base/checked.h"
#include "base/tensor_form.h"

static const struct {
    DType dtype;
    const char *descr;
} descriptions[] = {
    {DTYPE_F32, "<f4"}, {DTYPE_F64, "<f8"}, {DTYPE_F16, "<f2"},  {DTYPE_I8, "|i1"},    {DTYPE_I16, "<i2"},
    {DTYPE_I32, "<i4"}, {DTYPE_I64, "<i8"}, {DTYPE_U8, "|u1"},   {DTYPE_U16, "<u2"},   {DTYPE_U32, "<u4"},
    {DTYPE_U64, "<u8"}, {DTYPE_C64, "<c8"}, {DTYPE_BOOL, "|b1"}, {DTYPE_C128, "<c16"},
};
enum { DESCRIPTIONS = sizeof descriptions / sizeof descriptions[0] };

/* The dict's text; a cursor that never passes its end. */
typedef struct Text {
    const char *at, *end;
    bool failed;
} Text;

static void skip_spaces(Text *text) {
    while (text->at < text->end && strchr(" \t\r\n", *text->at) != NULL && *text->at != '\0') text->at++;
}

static bool accept(Text *text, char wanted) {
    skip_spaces(text);
    if (text->at == text->end || *text->at != wanted) return false;
    text->at++;
    return true;
}

static void expect(Text *text, char wanted) {
    if (!accept(text, wanted)) text->failed = true;
}

/* A quoted string without escapes into buffer; too long a one fails. */
static void parse_quoted(Text *text, char *buffer, size_t size) {
    char quote = accept(text, '\'') ? '\'' : '"';
    size_t used = 0;
    if (quote == '"') expect(text, quote);
    while (!text->failed && text->at < text->end && *text->at != quote) {
        if (used + 1 < size) {
            buffer[used++] = *text->at++;
        } else {
            text->failed = true;
        }
    }
    buffer[used] = '\0';
    expect(text, quote);
}

static bool accept_word(Text *text, const char *word) {
    size_t length = strlen(word);
    skip_spaces(text);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) return false;
    text->at += length;
    return true;
}

static int64_t parse_number(Text *text) {
    int64_t value = 0;
    skip_spaces(text);
    const char *start = text->at;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; ++text->at) {
        if (!checked_mul_i64(value, 10, &value) || !checked_add_i64(value, *text->at - '0', &value)) {
            text->failed = true;
            return 0;
        }
    }
    if (text->at == start) text->failed = true;
    accept(text, 'L'); /* Python 2 wrote long integers so */
    return value;
}

typedef struct NpyHeader {
    char descr[32];
    bool fortran_order;
    int32_t rank; /* one more than SMELT_MAX_RANK: too many */
    int64_t dims[SMELT_MAX_RANK];
    unsigned seen; /* bit per key */
} NpyHeader;
enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4 };

static void parse_shape(Text *text, NpyHeader *header) {
    header->rank = 0;
    expect(text, '(');
    while (!text->failed && !accept(text, ')')) {
        int64_t dim = parse_number(text);
        if (header->rank < SMELT_MAX_RANK) header->dims[header->rank] = dim;
        if (header->rank <= SMELT_MAX_RANK) header->rank++;
        if (!accept(text, ',')) {
            expect(text, ')');
            return;
        }
    }
}

static void parse_entry(Text *text, NpyHeader *header) {
    char key[16];
    parse_quoted(text, key, sizeof key);
    expect(text, ':');
    if (strcmp(key, "descr") == 0) {
        parse_quoted(text, header->descr, sizeof header->descr);
        header->seen |= SEEN_DESCR;
    } else if (strcmp(key, "fortran_order") == 0) {
        header->fortran_order = accept_word(text, "True");
        if (!header->fortran_order && !accept_word(text, "False")) text->failed = true;
        header->seen |= SEEN_ORDER;
    } else if (strcmp(key, "shape") == 0) {
        parse_shape(text, header);
        header->seen |= SEEN_SHAPE;
    } else {
        text->failed = true;
    }
}

static bool parse_header(Text text, NpyHeader *header) {
    expect(&text, '{');
    while (!text.failed && !accept(&text, '}')) {
        parse_entry(&text, header);
        if (accept(&text, ',')) continue;
        expect(&text, '}');
        break;
    }
    return !text.failed && header->seen == (SEEN_DESCR | SEEN_ORDER | SEEN_SHAPE);
}

static Status find_dtype(const char *descr, DType *out, Diag *diag) {
    bool ordered = strchr("<>|=", descr[0]) != NULL && descr[0] != '\0';
    const char *kind = ordered ? descr + 1 : descr;
    for (int i = 0; i < DESCRIPTIONS; ++i) {
        if (strcmp(descriptions[i].descr + 1, kind) != 0) continue;
        if (descr[0] == '>' && dtype_bits(descriptions[i].dtype) > 8) {
            return FAIL(diag, STATUS_BAD_DATA, "npy type '%s' is big-endian; save it as little-endian",
                        descr);
        }
        *out = descriptions[i].dtype;
        return STATUS_OK;
    }
    return FAIL(diag, STATUS_BAD_DATA, "npy type '%s' is none of the numeric types", descr);
}

/* Copies elements of `size` bytes whose first dimension varies fastest into row-major order. */
static void copy_transposed(const Tensor *tensor, const uint8_t *from, size_t size) {
    int64_t stride[SMELT_MAX_RANK] = {0}, at[SMELT_MAX_RANK] = {0}, source = 0;
    int64_t count = tensor_count(tensor);
    uint8_t *to = tensor->data;
    for (int32_t d = 0; d < tensor->rank; ++d) stride[d] = tensor_span(tensor, 0, d);
    for (int64_t i = 0; i < count; ++i) {
        memcpy(to + (size_t)i * size, from + (size_t)source * size, size);
        for (int32_t d = tensor->rank - 1; d >= 0; --d) {
            source += stride[d];
            if (++at[d] < tensor->dim[d]) break;
            source -= stride[d] * tensor->dim[d];
            at[d] = 0;
        }
    }
}

/* Reads up to the first element. */
static Status read_header(ByteReader *reader, NpyHeader *header, Diag *diag) {
    const char *magic = read_bytes(reader, 6);
    if (magic == NULL || memcmp(magic, "\x93NUMPY", 6) != 0) {
        return FAIL(diag, STATUS_BAD_DATA, "not an npy file: no NUMPY at its start");
    }
    int major = read_u8(reader), minor = read_u8(reader);
    if (!reader->failed && (major < 1 || major > 3)) {
        return FAIL(diag, STATUS_BAD_DATA, "npy version %d.%d: only 1 to 3 are known", major, minor);
    }
    size_t length = major == 1 ? read_u16(reader) : read_u32(reader);
    const char *text = read_bytes(reader, length);
    if (text == NULL) return FAIL(diag, STATUS_BAD_DATA, "the npy header is cut off");
    if (!parse_header((Text){.at = text, .end = text + length}, header)) {
        return FAIL(diag, STATUS_BAD_DATA, "the npy header is malformed, or describes records or objects");
    }
    return STATUS_OK;
}

Status tensor_from_npy(const void *bytes, size_t size, Arena *arena, Tensor *out, Diag *diag) {
    ByteReader reader = byte_reader(bytes, size);
    NpyHeader header = {.rank = 0};
    DType dtype = DTYPE_NONE;
    TRY(read_header(&reader, &header, diag));
    TRY(find_dtype(header.descr, &dtype, diag));
    TRY(tensor_describe(out, dtype, header.rank, header.dims, SIZE_MAX, diag));
    size_t present = reader.size - reader.position, needed = tensor_bytes(out);
    if (present != needed) {
        return FAIL(diag, STATUS_BAD_DATA, "the npy file holds %zu bytes of elements, its shape needs %zu",
                    present, needed);
    }
    const uint8_t *elements = read_bytes(&reader, needed);
    if (!header.fortran_order || out->rank < 2) return tensor_take(out, elements, arena, diag);
    TRY(tensor_allocate(out, arena, diag));
    copy_transposed(out, elements, (size_t)dtype_bits(dtype) / 8);
    tensor_normalise_bools(out);
    return STATUS_OK;
}

Status npy_write_header(ByteWriter *writer, const Tensor *tensor, Diag *diag) {
    enum { LENGTH_AT = 8, TEXT_AT = 10 };
    const char *descr = NULL;
    for (int i = 0; i < DESCRIPTIONS; ++i) {
        if (descriptions[i].dtype == tensor->dtype) descr = descriptions[i].descr;
    }
    if (descr == NULL) {
        return FAIL(diag, STATUS_UNSUPPORTED, "npy files cannot hold elements of type %s",
                    dtype_name(tensor->dtype));
    }
    write_bytes(writer, "\x93NUMPY\x01\x00\x00\x00", TEXT_AT);
    write_format(writer, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int32_t d = 0; d < tensor->rank; ++d) write_format(writer, "%lld, ", (long long)tensor->dim[d]);
    write_format(writer, "), }");
    /* Spaces and a newline, so that the elements begin at a multiple of 64. */
    while (!writer->failed && writer->size % 64 != 63) write_u8(writer, ' ');
    write_u8(writer, '\n');
    if (writer->failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    size_t length = writer->size - TEXT_AT;
    writer->data[LENGTH_AT] = (uint8_t)length;
    writer->data[LENGTH_AT + 1] = (uint8_t)(length >> 8);
    return STATUS_OK;
}
