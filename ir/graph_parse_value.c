/* Definitions and uses of values, and constants' elements. */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "ir/graph_parse.h"

/* -- constants -- */

static Status load_blob(Parser *parser) {
    FileRange file;
    Diag *diag = parser->lexer.diag;
    if (parser->blob != NULL) return STATUS_OK;
    if (parser->blob_name == NULL)
        return FAIL(diag, STATUS_BAD_MODEL, "no 'constants' line names the file of this constant");
    if (parser->folder == NULL)
        return FAIL(diag, STATUS_BAD_MODEL, "the file '%s' is of no use to a text without a folder",
                    parser->blob_name);
    TRY(file_map_below(parser->folder, parser->blob_name, 0, 0, true, &file, diag));
    /* A copy: it must live as long as the graph, which has no place to keep a mapping. */
    uint8_t *copy = arena_alloc(parser->graph->arena, file.size);
    if (copy != NULL && file.size > 0) memcpy(copy, file.data, file.size);
    parser->blob = copy;
    parser->blob_size = file.size;
    file_unmap_range(&file);
    TRY_ALLOC(diag, copy);
    return STATUS_OK;
}

static Status parse_blob_data(Parser *parser, DType dtype, int64_t count, const void **data) {
    uint64_t offset, hash;
    size_t size;
    Diag *diag = parser->lexer.diag;
    TRY(lex_u64(&parser->lexer, "an offset", 10, &offset));
    TRY(lex_u64(&parser->lexer, "a hash", 16, &hash));
    TRY(load_blob(parser));
    if (!dtype_storage(dtype, count, &size) || size > parser->blob_size || offset > parser->blob_size - size)
        return FAIL(diag, STATUS_BAD_MODEL,
                    "%" PRId64 " %s at offset %" PRIu64 " pass the end of '%s' (%zu bytes)", count,
                    dtype_name(dtype), offset, parser->blob_name, parser->blob_size);
    if (offset % IR_BLOB_ALIGNMENT != 0)
        return FAIL(diag, STATUS_BAD_MODEL, "offset %" PRIu64 " is no multiple of %d", offset,
                    IR_BLOB_ALIGNMENT);
    uint64_t found = hash_bytes(parser->blob + offset, size);
    if (found != hash)
        return FAIL(diag, STATUS_BAD_MODEL,
                    "the hash of the bytes at offset %" PRIu64 " of '%s' is %016" PRIx64
                    ", expected %016" PRIx64,
                    offset, parser->blob_name, found, hash);
    *data = parser->blob + offset;
    return STATUS_OK;
}

Status parse_data(Parser *parser, DType dtype, int64_t count, const void **data) {
    if (lex_accept_word(&parser->lexer, "blob")) return parse_blob_data(parser, dtype, count, data);
    void *elements;
    TRY(lex_elements(&parser->lexer, dtype, count, parser->graph->arena, &elements));
    *data = elements;
    return STATUS_OK;
}

/* -- types -- */

static Status parse_dtype(Parser *parser, DType *out) {
    const char *name;
    if (lex_accept(&parser->lexer, "?")) {
        *out = DTYPE_NONE;
        return STATUS_OK;
    }
    TRY(lex_name(&parser->lexer, "a type", &name));
    *out = dtype_from_name(name);
    if (*out == DTYPE_NONE) return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "unknown type '%s'", name);
    return STATUS_OK;
}

static bool lex_at_bracket(Lexer *lexer) {
    if (!lex_accept(lexer, "[")) return false;
    lexer->at--;
    return true;
}

static Status parse_type(Parser *parser, Value *value) {
    TRY(parse_dtype(parser, &value->dtype));
    value->has_shape = lex_at_bracket(&parser->lexer);
    if (!value->has_shape) return STATUS_OK;
    Shape *shape = &value->shape;
    TRY(lex_dims(&parser->lexer, parser->graph->dims, SMELT_MAX_RANK, shape->dim, &shape->rank));
    for (int32_t i = 0; i < shape->rank; ++i)
        if (dim_is_exact(shape->dim[i]) && shape->dim[i] < 0)
            return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "dimension %d is %" PRId64, i, shape->dim[i]);
    return STATUS_OK;
}

Status exact_count(Parser *parser, const Shape *shape, int64_t *out) {
    *out = 1;
    for (int32_t i = 0; i < shape->rank; ++i)
        if (!dim_is_exact(shape->dim[i]) || !checked_mul_i64(*out, shape->dim[i], out))
            return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "its shape is not exact or too large");
    return STATUS_OK;
}

Status parse_tensor_type(Parser *parser, Tensor *out, int64_t *count) {
    Value value = {0};
    TRY(parse_type(parser, &value));
    if (value.dtype == DTYPE_NONE || !value.has_shape)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "a tensor without a type and shape");
    TRY(exact_count(parser, &value.shape, count));
    out->dtype = value.dtype;
    out->rank = value.shape.rank;
    memcpy(out->dim, value.shape.dim, sizeof out->dim);
    return STATUS_OK;
}

/* -- definitions -- */

enum { MAX_CONTENT = 4096 };

static Status parse_content(Parser *parser, Value *value) {
    int64_t wanted;
    int32_t count;
    Diag *diag = parser->lexer.diag;
    if (!value->has_shape) return FAIL(diag, STATUS_BAD_MODEL, "content of a value without a shape");
    TRY(exact_count(parser, &value->shape, &wanted));
    if (wanted > MAX_CONTENT)
        return FAIL(diag, STATUS_BAD_MODEL, "content of %" PRId64 " elements, at most %d are allowed", wanted,
                    MAX_CONTENT);
    Dim *content = ARENA_ARRAY(parser->graph->arena, Dim, wanted);
    TRY_ALLOC(diag, content);
    TRY(lex_dims(&parser->lexer, parser->graph->dims, (int32_t)wanted, content, &count));
    if (count != wanted)
        return FAIL(diag, STATUS_BAD_MODEL, "content of %d elements, expected %" PRId64, count, wanted);
    value->content = content;
    return STATUS_OK;
}

static Status parse_strides(Parser *parser, Value *value) {
    int32_t count;
    Dim *strides = ARENA_ARRAY(parser->graph->arena, Dim, SMELT_MAX_RANK);
    TRY_ALLOC(parser->lexer.diag, strides);
    TRY(lex_dims(&parser->lexer, parser->graph->dims, SMELT_MAX_RANK, strides, &count));
    if (count != value->shape.rank)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "%d strides for rank %d", count, value->shape.rank);
    value->strides = strides;
    return STATUS_OK;
}

static Status parse_place(Parser *parser, Value *value) {
    int32_t count;
    TRY(lex_i32(&parser->lexer, "a buffer", 0, parser->graph->memory.buffer_count - 1, &value->buffer));
    TRY(lex_dims(&parser->lexer, parser->graph->dims, 1, &value->buffer_offset, &count));
    if (count != 1) return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "no offset in the buffer");
    return STATUS_OK;
}

Status parse_definition(Parser *parser, Definition *out) {
    Lexer *lexer = &parser->lexer;
    Value *value = &out->value;
    *out = (Definition){.value = {.producer = NONE, .buffer = NONE}};
    if (lex_accept_word(lexer, "_")) return STATUS_OK;
    TRY(lex_expect(lexer, "%"));
    TRY(lex_name(lexer, "a value's name", &out->name));
    if (out->name[0] == '\0') return FAIL(lexer->diag, STATUS_BAD_MODEL, "a value with an empty name");
    TRY(lex_expect(lexer, ":"));
    TRY(parse_type(parser, value));
    if (lex_accept_word(lexer, "channels_last")) value->layout = LAYOUT_CHANNELS_LAST;
    if (lex_accept_word(lexer, "padding"))
        TRY(lex_i32(lexer, "the padding", 1, INT32_MAX, &value->channel_padding));
    if (lex_accept_word(lexer, "strides")) TRY(parse_strides(parser, value));
    if (lex_accept_word(lexer, "content")) TRY(parse_content(parser, value));
    return lex_accept_word(lexer, "at") ? parse_place(parser, value) : STATUS_OK;
}

Status add_definition(Parser *parser, const Definition *definition, ValueId *out) {
    Graph *graph = parser->graph;
    *out = NONE;
    if (definition->name == NULL) return STATUS_OK;
    if (graph_find_value(graph, definition->name) != NONE)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "value '%s' is defined twice", definition->name);
    *out = graph_add_value(graph, definition->name);
    if (*out == NONE) return FAIL(parser->lexer.diag, STATUS_NO_MEMORY, "out of memory");
    const char *name = graph->values[*out].name;
    graph->values[*out] = definition->value;
    graph->values[*out].name = name;
    return STATUS_OK;
}

Status parse_use(Parser *parser, ValueId *out) {
    const char *name;
    *out = NONE;
    if (lex_accept_word(&parser->lexer, "_")) return STATUS_OK;
    TRY(lex_expect(&parser->lexer, "%"));
    TRY(lex_name(&parser->lexer, "a value's name", &name));
    *out = graph_find_value(parser->graph, name);
    if (*out == NONE)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "value '%s' is used before its definition", name);
    return STATUS_OK;
}
