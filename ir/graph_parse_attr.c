/* Attributes. A number is a float where it has a point, an exponent, or is in hexadecimal; the kind of a
 * list is that of its first element. */
#include <stdlib.h>
#include <string.h>

#include "ir/graph_parse.h"

static Status no_memory(Parser *parser) {
    return FAIL(parser->lexer.diag, STATUS_NO_MEMORY, "out of memory");
}

/* One element of any of the simple kinds. */
typedef struct Scalar {
    AttrKind kind; /* ATTR_INT, ATTR_FLOAT or ATTR_STRING */
    int64_t integer;
    float number;
    const char *string;
} Scalar;

/* Reads text again as an element of the given type. */
static Status convert(Parser *parser, const char *text, DType dtype, void *out) {
    char braced[IR_NUMBER_LENGTH + 2];
    size_t length = strlen(text);
    braced[0] = '{';
    memcpy(braced + 1, text, length);
    braced[length + 1] = '}';
    Lexer lexer = {.text = braced, .size = length + 2, .arena = &parser->scratch, .diag = parser->lexer.diag};
    void *data;
    TRY(lex_elements(&lexer, dtype, 1, &parser->scratch, &data));
    memcpy(out, data, (size_t)dtype_bits(dtype) / 8);
    return STATUS_OK;
}

static Status parse_scalar(Parser *parser, Scalar *out) {
    char buffer[IR_NUMBER_LENGTH];
    if (lex_at_string(&parser->lexer)) {
        out->kind = ATTR_STRING;
        return lex_string(&parser->lexer, "a string", &out->string);
    }
    TRY(lex_number(&parser->lexer, "an attribute's value", buffer));
    out->kind = strpbrk(buffer, ".einx") != NULL ? ATTR_FLOAT : ATTR_INT;
    if (out->kind == ATTR_FLOAT) return convert(parser, buffer, DTYPE_F32, &out->number);
    return convert(parser, buffer, DTYPE_I64, &out->integer);
}

/* The elements of a list, as an array of whichever kind it has. */
typedef struct ListBuilder {
    AttrKind kind; /* of the elements */
    int32_t count, capacity;
    int64_t *ints;
    float *floats;
    const char **strings;
} ListBuilder;

static bool list_append(Arena *arena, ListBuilder *list, const Scalar *scalar) {
    switch (list->kind) {
    case ATTR_INT:
        if (!ARENA_RESERVE(arena, list->ints, list->count, list->capacity)) return false;
        list->ints[list->count++] = scalar->integer;
        return true;
    case ATTR_FLOAT:
        if (!ARENA_RESERVE(arena, list->floats, list->count, list->capacity)) return false;
        list->floats[list->count++] = scalar->number;
        return true;
    default:
        if (!ARENA_RESERVE(arena, list->strings, list->count, list->capacity)) return false;
        list->strings[list->count++] = scalar->string;
        return true;
    }
}

static Status set_list(Parser *parser, AttrList *attrs, const char *name, const ListBuilder *list) {
    Arena *arena = &parser->scratch;
    bool set = list->kind == ATTR_INT     ? attr_set_ints(attrs, arena, name, list->ints, list->count)
               : list->kind == ATTR_FLOAT ? attr_set_floats(attrs, arena, name, list->floats, list->count)
                                          : attr_set_strings(attrs, arena, name, list->strings, list->count);
    return set ? STATUS_OK : no_memory(parser);
}

/* Behind "[". */
static Status parse_list(Parser *parser, AttrList *attrs, const char *name) {
    ListBuilder list = {0};
    do {
        Scalar scalar = {0};
        TRY(parse_scalar(parser, &scalar));
        if (list.count == 0) list.kind = scalar.kind;
        if (scalar.kind != list.kind)
            return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "a list of different kinds of elements");
        if (!list_append(&parser->scratch, &list, &scalar)) return no_memory(parser);
    } while (lex_accept(&parser->lexer, ","));
    TRY(lex_expect(&parser->lexer, "]"));
    return set_list(parser, attrs, name, &list);
}

/* The kind of a list without elements has to be said. *found: this was one. */
static Status parse_empty_list(Parser *parser, AttrList *attrs, const char *name, bool *found) {
    ListBuilder list = {0};
    if (lex_accept_word(&parser->lexer, "ints"))
        list.kind = ATTR_INT;
    else if (lex_accept_word(&parser->lexer, "floats"))
        list.kind = ATTR_FLOAT;
    else if (lex_accept_word(&parser->lexer, "strings"))
        list.kind = ATTR_STRING;
    *found = list.kind != 0;
    if (!*found) return STATUS_OK;
    TRY(lex_expect(&parser->lexer, "["));
    TRY(lex_expect(&parser->lexer, "]"));
    return set_list(parser, attrs, name, &list);
}

static Status parse_tensor(Parser *parser, AttrList *attrs, const char *name) {
    Tensor tensor = {0};
    int64_t count;
    const void *data;
    TRY(parse_tensor_type(parser, &tensor, &count));
    TRY(parse_data(parser, tensor.dtype, count, &data));
    tensor.data = (void *)data;
    return attr_set_tensor(attrs, &parser->scratch, name, &tensor) ? STATUS_OK : no_memory(parser);
}

/* A type's name stands where a number or string would. */
static bool at_type(Parser *parser) {
    Lexer ahead = parser->lexer;
    Diag ignored = {0};
    const char *name;
    ahead.diag = &ignored;
    if (lex_at_string(&ahead) || lex_name(&ahead, "a type", &name) != STATUS_OK) return false;
    return dtype_from_name(name) != DTYPE_NONE;
}

static Status parse_value(Parser *parser, AttrList *attrs, const char *name) {
    Arena *arena = &parser->scratch;
    Scalar scalar = {0};
    bool found;
    if (lex_accept(&parser->lexer, "[")) return parse_list(parser, attrs, name);
    TRY(parse_empty_list(parser, attrs, name, &found));
    if (found) return STATUS_OK;
    if (at_type(parser)) return parse_tensor(parser, attrs, name);
    TRY(parse_scalar(parser, &scalar));
    bool set = scalar.kind == ATTR_INT     ? attr_set_int(attrs, arena, name, scalar.integer)
               : scalar.kind == ATTR_FLOAT ? attr_set_float(attrs, arena, name, scalar.number)
                                           : attr_set_string(attrs, arena, name, scalar.string);
    return set ? STATUS_OK : no_memory(parser);
}

Status check_attr_name(Parser *parser, const AttrList *attrs, const char *name) {
    if (attr_find(attrs, name) != NULL)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "attribute '%s' is given twice", name);
    if (attrs->count >= IR_MAX_ATTRIBUTES)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "more than %d attributes", IR_MAX_ATTRIBUTES);
    return STATUS_OK;
}

Status parse_attrs(Parser *parser, AttrList *attrs) {
    if (!lex_accept(&parser->lexer, "{")) return STATUS_OK;
    do {
        const char *name;
        TRY(lex_name(&parser->lexer, "an attribute's name", &name));
        TRY(check_attr_name(parser, attrs, name));
        TRY(lex_expect(&parser->lexer, "="));
        TRY(parse_value(parser, attrs, name));
    } while (lex_accept(&parser->lexer, ","));
    return lex_expect(&parser->lexer, "}");
}
