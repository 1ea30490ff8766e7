#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "ir/text.h"

static char look(const Lexer *lexer) {
    return lexer->at < lexer->size ? lexer->text[lexer->at] : '\0';
}

static void skip_blanks(Lexer *lexer) {
    while (lexer->at < lexer->size) {
        char c = lexer->text[lexer->at];
        if (c == '#') {
            while (lexer->at < lexer->size && lexer->text[lexer->at] != '\n') lexer->at++;
            return;
        }
        if (c != ' ' && c != '\t' && c != '\r') return;
        lexer->at++;
    }
}

Status lex_fail(Lexer *lexer, const char *what) {
    char found[24];
    size_t length = 0;
    skip_blanks(lexer);
    for (; length + 1 < sizeof found && lexer->at + length < lexer->size; ++length) {
        char c = lexer->text[lexer->at + length];
        if (c == '\n') break;
        found[length] = (char)(isprint((unsigned char)c) ? c : '?');
    }
    found[length] = '\0';
    if (length == 0)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "expected %s, found the end of the %s", what,
                    lexer->at < lexer->size ? "line" : "text");
    return FAIL(lexer->diag, STATUS_BAD_MODEL, "expected %s, found '%s'", what, found);
}

static bool at_text(Lexer *lexer, const char *text, size_t length) {
    skip_blanks(lexer);
    return lexer->size - lexer->at >= length && memcmp(lexer->text + lexer->at, text, length) == 0;
}

bool lex_accept(Lexer *lexer, const char *mark) {
    size_t length = strlen(mark);
    if (!at_text(lexer, mark, length)) return false;
    lexer->at += length;
    return true;
}

bool lex_accept_word(Lexer *lexer, const char *word) {
    size_t length = strlen(word);
    if (!at_text(lexer, word, length)) return false;
    if (lexer->at + length < lexer->size && text_is_plain(lexer->text[lexer->at + length])) return false;
    lexer->at += length;
    return true;
}

static Status fail_quoted(Lexer *lexer, const char *text) {
    char what[32];
    size_t length = strlen(text);
    if (length > sizeof what - 3) length = sizeof what - 3;
    what[0] = what[length + 1] = '\'';
    memcpy(what + 1, text, length);
    what[length + 2] = '\0';
    return lex_fail(lexer, what);
}

Status lex_expect(Lexer *lexer, const char *mark) {
    return lex_accept(lexer, mark) ? STATUS_OK : fail_quoted(lexer, mark);
}

Status lex_expect_word(Lexer *lexer, const char *word) {
    return lex_accept_word(lexer, word) ? STATUS_OK : fail_quoted(lexer, word);
}

bool lex_at_end(Lexer *lexer) {
    skip_blanks(lexer);
    return lexer->at >= lexer->size;
}

void lex_skip_lines(Lexer *lexer) {
    while (!lex_at_end(lexer) && look(lexer) == '\n') {
        lexer->at++;
        if (lexer->line < INT32_MAX) lexer->line++;
    }
}

Status lex_end_line(Lexer *lexer) {
    if (!lex_at_end(lexer) && look(lexer) != '\n') return lex_fail(lexer, "the end of the line");
    lex_skip_lines(lexer);
    return STATUS_OK;
}

/* -- names and strings -- */

bool lex_at_string(Lexer *lexer) {
    skip_blanks(lexer);
    return look(lexer) == '"';
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* One character behind a backslash; -1 when it is none. */
static int read_escape(Lexer *lexer) {
    char c = look(lexer);
    lexer->at++;
    if (c == '"' || c == '\\') return c;
    if (c == 'n') return '\n';
    if (c == 't') return '\t';
    if (c != 'x' || lexer->size - lexer->at < 2) return -1;
    int high = hex_digit(lexer->text[lexer->at]), low = hex_digit(lexer->text[lexer->at + 1]);
    lexer->at += 2;
    return high < 0 || low < 0 || high + low == 0 ? -1 : high * 16 + low;
}

Status lex_string(Lexer *lexer, const char *what, const char **out) {
    if (!lex_at_string(lexer)) return lex_fail(lexer, what);
    size_t end = ++lexer->at;
    while (end < lexer->size && lexer->text[end] != '"' && lexer->text[end] != '\n')
        end += lexer->text[end] == '\\' ? 2 : 1;
    if (end >= lexer->size || lexer->text[end] == '\n')
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "a string does not end on its line");
    char *text = arena_alloc(lexer->arena, end - lexer->at + 1);
    TRY_ALLOC(lexer->diag, text);
    *out = text;
    while (lexer->at < end) {
        int c = (unsigned char)lexer->text[lexer->at++];
        if (c == '\\') c = read_escape(lexer);
        if (c <= 0) return FAIL(lexer->diag, STATUS_BAD_MODEL, "a string has a bad escape or a zero byte");
        *text++ = (char)c;
    }
    lexer->at++;
    return STATUS_OK;
}

Status lex_name(Lexer *lexer, const char *what, const char **out) {
    if (lex_at_string(lexer)) return lex_string(lexer, what, out);
    size_t first = lexer->at;
    while (lexer->at < lexer->size && text_is_plain(lexer->text[lexer->at])) lexer->at++;
    if (lexer->at == first) return lex_fail(lexer, what);
    *out = arena_strndup(lexer->arena, lexer->text + first, lexer->at - first);
    TRY_ALLOC(lexer->diag, *out);
    return STATUS_OK;
}

/* -- numbers -- */

Status lex_number(Lexer *lexer, const char *what, char buffer[IR_NUMBER_LENGTH]) {
    size_t length = 0;
    skip_blanks(lexer);
    while (length + 1 < IR_NUMBER_LENGTH && lexer->at + length < lexer->size) {
        char c = lexer->text[lexer->at + length];
        if (!isalnum((unsigned char)c) && c != '+' && c != '-' && c != '.') break;
        buffer[length++] = c;
    }
    buffer[length] = '\0';
    bool digits = length > 0 && (strcspn(buffer, "0123456789") < length || strcmp(buffer, "nan") == 0 ||
                                 strcmp(buffer, "inf") == 0 || strcmp(buffer, "-inf") == 0);
    if (!digits) return lex_fail(lexer, what);
    lexer->at += length;
    return STATUS_OK;
}

static Status number_fail(Lexer *lexer, const char *buffer, const char *what) {
    return FAIL(lexer->diag, STATUS_BAD_MODEL, "'%s' is not %s", buffer, what);
}

static bool parse_i64(const char *text, int64_t *out) {
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool parse_u64(const char *text, int base, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, base);
    return *end == '\0' && errno == 0 && text[0] != '-';
}

Status lex_i64(Lexer *lexer, const char *what, int64_t *out) {
    char buffer[IR_NUMBER_LENGTH];
    TRY(lex_number(lexer, what, buffer));
    return parse_i64(buffer, out) ? STATUS_OK : number_fail(lexer, buffer, what);
}

Status lex_i32(Lexer *lexer, const char *what, int32_t low, int32_t high, int32_t *out) {
    int64_t value;
    TRY(lex_i64(lexer, what, &value));
    if (value < low || value > high)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "%s is %lld, outside %d to %d", what, (long long)value,
                    low, high);
    *out = (int32_t)value;
    return STATUS_OK;
}

Status lex_u64(Lexer *lexer, const char *what, int base, uint64_t *out) {
    char buffer[IR_NUMBER_LENGTH];
    skip_blanks(lexer);
    size_t length = 0;
    while (length + 1 < IR_NUMBER_LENGTH && lexer->at + length < lexer->size &&
           isalnum((unsigned char)lexer->text[lexer->at + length])) {
        buffer[length] = lexer->text[lexer->at + length];
        length++;
    }
    buffer[length] = '\0';
    if (length == 0) return lex_fail(lexer, what);
    lexer->at += length;
    return parse_u64(buffer, base, out) ? STATUS_OK : number_fail(lexer, buffer, what);
}

/* -- dimensions -- */

Status lex_dim(Lexer *lexer, DimTable *dims, Dim *out) {
    skip_blanks(lexer);
    size_t first = lexer->at, end = first;
    for (int depth = 0; end < lexer->size && lexer->text[end] != '\n'; ++end) {
        char c = lexer->text[end];
        if (depth == 0 && (c == ',' || c == ']')) break;
        depth += (c == '(') - (c == ')');
    }
    while (end > first && isspace((unsigned char)lexer->text[end - 1])) end--;
    if (end == first) return lex_fail(lexer, "a dimension");
    if (memchr(lexer->text + first, '\0', end - first) != NULL)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "a zero byte in a dimension");
    char *text = arena_strndup(lexer->arena, lexer->text + first, end - first);
    TRY_ALLOC(lexer->diag, text);
    lexer->at = end;
    return dim_parse(dims, text, out, lexer->diag);
}

Status lex_dims(Lexer *lexer, DimTable *dims, int32_t capacity, Dim *out, int32_t *count) {
    *count = 0;
    TRY(lex_expect(lexer, "["));
    if (lex_accept(lexer, "]")) return STATUS_OK;
    do {
        if (*count == capacity)
            return FAIL(lexer->diag, STATUS_BAD_MODEL, "more than %d dimensions", capacity);
        TRY(lex_dim(lexer, dims, &out[*count]));
        (*count)++;
    } while (lex_accept(lexer, ","));
    return lex_expect(lexer, "]");
}

/* -- elements -- */

/* "0x" and at most as many digits as the element has, as its bits. */
static bool store_bits(DType dtype, void *data, int64_t index, const char *text) {
    size_t length = strlen(text) - 2, bytes = (size_t)dtype_bits(dtype) / 8;
    if (bytes == 0 || length == 0 || length > bytes * 2) return false;
    uint8_t *element = (uint8_t *)data + (size_t)index * bytes;
    memset(element, 0, bytes);
    for (size_t i = 0; i < length; ++i) {
        int digit = hex_digit(text[2 + length - 1 - i]);
        if (digit < 0) return false;
        element[i / 2] = (uint8_t)(element[i / 2] | digit << (i % 2 * 4));
    }
    return true;
}

static bool store_number(DType dtype, void *data, int64_t index, const char *text) {
    uint64_t value;
    if (dtype_is_float(dtype)) {
        char *end;
        dtype_store_f64(dtype, data, index, strtod(text, &end));
        return *end == '\0';
    }
    if (dtype_kind(dtype) == DTYPE_KIND_OTHER) return false;
    if (!parse_i64(text, (int64_t *)&value) && !(dtype == DTYPE_U64 && parse_u64(text, 10, &value)))
        return false;
    if (dtype == DTYPE_U64 && text[0] == '-') return false;
    dtype_store_i64(dtype, data, index, (int64_t)value);
    return dtype_load_i64(dtype, data, index) == (int64_t)value;
}

Status lex_elements(Lexer *lexer, DType dtype, int64_t count, Arena *arena, void **data) {
    size_t bytes;
    TRY(lex_expect(lexer, "{"));
    /* Each element takes a character at least: the text bounds what it can make us allocate. */
    if (count < 0 || (uint64_t)count > lexer->size - lexer->at || !dtype_storage(dtype, count, &bytes))
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "fewer elements than the type's %lld", (long long)count);
    *data = arena_alloc(arena, bytes);
    TRY_ALLOC(lexer->diag, *data);
    for (int64_t i = 0; i < count; ++i) {
        char buffer[IR_NUMBER_LENGTH];
        if (i > 0) TRY(lex_expect(lexer, ","));
        TRY(lex_number(lexer, "an element", buffer));
        bool hex = strncmp(buffer, "0x", 2) == 0;
        bool stored = hex ? store_bits(dtype, *data, i, buffer) : store_number(dtype, *data, i, buffer);
        if (!stored) return FAIL(lexer->diag, STATUS_BAD_MODEL, "'%s' is no %s", buffer, dtype_name(dtype));
    }
    return lex_expect(lexer, "}");
}
