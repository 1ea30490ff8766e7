/* The parser's parts. Private to this folder. */
#ifndef SMELT_IR_GRAPH_PARSE_H
#define SMELT_IR_GRAPH_PARSE_H

#include "ir/text.h"

typedef struct Parser {
    Lexer lexer; /* its arena is scratch */
    Graph *graph;
    Arena scratch;
    const char *folder;    /* where blobs lie; NULL: nowhere */
    const char *blob_name; /* NULL before a "constants" line */
    const uint8_t *blob;   /* its bytes in the graph's arena, read when the first is needed */
    size_t blob_size;
    int32_t buffer_capacity;
} Parser;

/* -- graph_parse_value.c -- */

/* What a definition says of a value; the name is in scratch. */
typedef struct Definition {
    const char *name; /* NULL: "_" */
    Value value;
} Definition;

Status parse_definition(Parser *parser, Definition *out);
/* The value's row, made from the definition. Fails when the name is taken. */
Status add_definition(Parser *parser, const Definition *definition, ValueId *out);
/* A value that is already defined, or NONE for "_". */
Status parse_use(Parser *parser, ValueId *out);
/* Elements, inline or in the blob, in the graph's arena. */
Status parse_data(Parser *parser, DType dtype, int64_t count, const void **data);
/* The elements of a shape; fails where it is not exact or they overflow. */
Status exact_count(Parser *parser, const Shape *shape, int64_t *out);
/* "f32[2,3]": an exact type; count receives its elements. */
Status parse_tensor_type(Parser *parser, Tensor *out, int64_t *count);

/* -- graph_parse_attr.c -- */

/* "{name = value, ...}", if there is one. */
Status parse_attrs(Parser *parser, AttrList *attrs);
/* Fails where attrs has that name, or too many. */
Status check_attr_name(Parser *parser, const AttrList *attrs, const char *name);

#endif
