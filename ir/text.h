/* What the printer and the parser of the text form (docs/ir.md) share. Private to this folder. */
#ifndef SMELT_IR_TEXT_H
#define SMELT_IR_TEXT_H

#include "ir/graph.h"

enum {
    IR_VERSION = 1,
    IR_INLINE_ELEMENTS = 16, /* larger constants go to the blob, where there is one */
    IR_BLOB_ALIGNMENT = 64,
    IR_MAX_ATTRIBUTES = 256, /* of one node */
    IR_NUMBER_LENGTH = 64    /* characters of a number, with the terminator */
};

/* -- writing -- */

/* "text", with \" \\ \n \t and \xHH for other control characters. */
void text_string(ByteWriter *out, const char *text);
/* A name as it is where all its characters are plain, else as a string. */
void text_name(ByteWriter *out, const char *name);
bool text_is_plain(char c);
/* The shortest number that reads back to the same bits, else the bits in hexadecimal. buffer has
 * IR_NUMBER_LENGTH bytes. */
void text_element(char *buffer, DType dtype, const void *data, int64_t index);
void text_elements(ByteWriter *out, DType dtype, const void *data, int64_t count); /* "{1, 2}" */

/* Appends data where it is not there yet; gives its place and content hash. */
Status constant_blob_put(ConstantBlob *blob, const void *data, size_t size, uint64_t *offset, uint64_t *hash,
                         Diag *diag);
/* The file's name, as it stands in the text. */
extern const char constant_blob_name[];

/* -- reading -- */

/* A position in the text. Blanks and comments are skipped before every token; ends of lines are tokens. */
typedef struct Lexer {
    const char *text;
    size_t size, at;
    int32_t line;
    Arena *arena; /* of the strings that it returns */
    Diag *diag;
} Lexer;

/* Fails with "expected WHAT, found '...'". */
Status lex_fail(Lexer *lexer, const char *what);
bool lex_accept(Lexer *lexer, const char *mark);
bool lex_accept_word(Lexer *lexer, const char *word);
Status lex_expect(Lexer *lexer, const char *mark);
Status lex_expect_word(Lexer *lexer, const char *word);
void lex_skip_lines(Lexer *lexer); /* empty ones */
/* The end of a line, and empty lines behind it. */
Status lex_end_line(Lexer *lexer);
bool lex_at_end(Lexer *lexer);
bool lex_at_string(Lexer *lexer);
Status lex_string(Lexer *lexer, const char *what, const char **out);
Status lex_name(Lexer *lexer, const char *what, const char **out); /* plain or a string */
Status lex_number(Lexer *lexer, const char *what, char buffer[IR_NUMBER_LENGTH]);
Status lex_i64(Lexer *lexer, const char *what, int64_t *out);
Status lex_i32(Lexer *lexer, const char *what, int32_t low, int32_t high, int32_t *out);
Status lex_u64(Lexer *lexer, const char *what, int base, uint64_t *out);
/* Text up to a comma or closing bracket outside parentheses. */
Status lex_dim(Lexer *lexer, DimTable *dims, Dim *out);
/* "[dim, dim]"; fails beyond capacity. */
Status lex_dims(Lexer *lexer, DimTable *dims, int32_t capacity, Dim *out, int32_t *count);
/* "{1, 2}" with exactly count elements, which *data (in arena) receives. */
Status lex_elements(Lexer *lexer, DType dtype, int64_t count, Arena *arena, void **data);

#endif
