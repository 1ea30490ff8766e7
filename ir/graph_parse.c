/* The text form, read. docs/ir.md is its description. */
#include <string.h>

#include "ir/graph_parse.h"

static Status no_memory(Parser *parser) {
    return FAIL(parser->lexer.diag, STATUS_NO_MEMORY, "out of memory");
}

/* -- nodes -- */

typedef struct NodeText {
    int32_t output_count, output_capacity, input_count, input_capacity, origin_count, origin_capacity;
    Definition *outputs;
    ValueId *inputs;
    OpId op;
    AttrList attrs;
    const char *name;
    const char **origins;
} NodeText;

static Status parse_outputs(Parser *parser, NodeText *node) {
    do {
        if (!ARENA_RESERVE(&parser->scratch, node->outputs, node->output_count, node->output_capacity))
            return no_memory(parser);
        TRY(parse_definition(parser, &node->outputs[node->output_count++]));
    } while (lex_accept(&parser->lexer, ","));
    return lex_expect(&parser->lexer, "=");
}

static Status parse_operator(Parser *parser, OpId *out) {
    const char *domain = "", *name;
    TRY(lex_name(&parser->lexer, "an operator", &name));
    if (lex_accept(&parser->lexer, "::")) {
        domain = name;
        TRY(lex_name(&parser->lexer, "an operator", &name));
    }
    *out = op_find(domain, name);
    if (*out == OP_NONE)
        return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "unknown operator '%s%s%s'", domain,
                    domain[0] == '\0' ? "" : "::", name);
    return STATUS_OK;
}

static Status parse_inputs(Parser *parser, NodeText *node) {
    TRY(lex_expect(&parser->lexer, "("));
    if (lex_accept(&parser->lexer, ")")) return STATUS_OK;
    do {
        if (!ARENA_RESERVE(&parser->scratch, node->inputs, node->input_count, node->input_capacity))
            return no_memory(parser);
        TRY(parse_use(parser, &node->inputs[node->input_count++]));
    } while (lex_accept(&parser->lexer, ","));
    return lex_expect(&parser->lexer, ")");
}

static Status add_origin(Parser *parser, NodeText *node, const char *name) {
    if (!ARENA_RESERVE(&parser->scratch, node->origins, node->origin_count, node->origin_capacity))
        return no_memory(parser);
    node->origins[node->origin_count++] = name;
    return STATUS_OK;
}

/* "name" from ("origin", ...) */
static Status parse_names(Parser *parser, NodeText *node) {
    node->name = "";
    if (lex_at_string(&parser->lexer)) {
        TRY(lex_string(&parser->lexer, "a name", &node->name));
        if (!lex_accept_word(&parser->lexer, "from")) return add_origin(parser, node, node->name);
    } else if (!lex_accept_word(&parser->lexer, "from")) {
        return STATUS_OK;
    }
    TRY(lex_expect(&parser->lexer, "("));
    if (lex_accept(&parser->lexer, ")")) return STATUS_OK;
    do {
        const char *origin;
        TRY(lex_string(&parser->lexer, "an origin's name", &origin));
        TRY(add_origin(parser, node, origin));
    } while (lex_accept(&parser->lexer, ","));
    return lex_expect(&parser->lexer, ")");
}

static Status copy_origins(Parser *parser, const NodeText *text, Node *node) {
    Arena *arena = parser->graph->arena;
    const char **origins = ARENA_ARRAY(arena, const char *, text->origin_count);
    if (origins == NULL) return no_memory(parser);
    for (int32_t i = 0; i < text->origin_count; ++i) {
        origins[i] = arena_strdup(arena, text->origins[i]);
        if (origins[i] == NULL) return no_memory(parser);
    }
    node->origins = origins;
    node->origin_count = text->origin_count;
    return STATUS_OK;
}

static Status add_node(Parser *parser, const NodeText *text, BlockId block, RegionId region, NodeId *out) {
    ValueId *outputs = ARENA_ARRAY(&parser->scratch, ValueId, text->output_count);
    if (outputs == NULL) return no_memory(parser);
    for (int32_t i = 0; i < text->output_count; ++i)
        TRY(add_definition(parser, &text->outputs[i], &outputs[i]));
    TRY(graph_add_node(parser->graph, block, text->op, text->name, &text->attrs, text->input_count,
                       text->inputs, text->output_count, outputs, out, parser->lexer.diag));
    parser->graph->nodes[*out].region = region;
    return copy_origins(parser, text, &parser->graph->nodes[*out]);
}

/* -- blocks -- */

static Status parse_block(Parser *parser, BlockId block, int32_t depth);

static Status parse_bodies(Parser *parser, NodeText *node, int32_t depth) {
    Lexer *lexer = &parser->lexer;
    while (lex_accept_word(lexer, "body")) {
        const char *attr, *name;
        TRY(lex_name(lexer, "an attribute's name", &attr));
        TRY(check_attr_name(parser, &node->attrs, attr));
        TRY(lex_string(lexer, "the body's name", &name));
        if (depth >= GRAPH_MAX_NESTING)
            return FAIL(lexer->diag, STATUS_BAD_MODEL, "bodies nest deeper than %d", GRAPH_MAX_NESTING);
        BlockId body = graph_add_block(parser->graph, name, NONE);
        if (body == NONE || !attr_set_block(&node->attrs, &parser->scratch, attr, body))
            return no_memory(parser);
        TRY(parse_block(parser, body, depth + 1));
    }
    return STATUS_OK;
}

static Status parse_node(Parser *parser, BlockId block, RegionId region, int32_t depth, NodeId *out) {
    NodeText node = {0};
    TRY(parse_outputs(parser, &node));
    TRY(parse_operator(parser, &node.op));
    TRY(parse_inputs(parser, &node));
    TRY(parse_attrs(parser, &node.attrs));
    TRY(parse_names(parser, &node));
    int32_t line = parser->lexer.line;
    TRY(lex_end_line(&parser->lexer));
    TRY(parse_bodies(parser, &node, depth));
    int32_t after = parser->lexer.line;
    parser->lexer.line = line; /* whatever is wrong with the node is said of its own line */
    TRY(add_node(parser, &node, block, region, out));
    parser->lexer.line = after;
    return STATUS_OK;
}

/* Behind "region", with its nodes. */
static Status parse_region(Parser *parser, BlockId block, int32_t depth) {
    Lexer *lexer = &parser->lexer;
    const char *name;
    int32_t anchor = NONE;
    TRY(lex_string(lexer, "the region's name", &name));
    if (lex_accept_word(lexer, "anchor")) TRY(lex_i32(lexer, "the anchor", 0, INT32_MAX, &anchor));
    TRY(lex_expect(lexer, "{"));
    TRY(lex_end_line(lexer));
    RegionId region = graph_add_region(parser->graph, NONE, name);
    if (region == NONE) return no_memory(parser);
    int32_t count = 0;
    for (; !lex_accept(lexer, "}"); ++count) {
        NodeId node;
        TRY(parse_node(parser, block, region, depth, &node));
        if (count == anchor) parser->graph->regions[region].anchor = node;
    }
    if (anchor >= count)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "anchor %d of a region of %d nodes", anchor, count);
    return lex_end_line(lexer);
}

static Status parse_param(Parser *parser, BlockId block) {
    Definition definition;
    ValueId id;
    TRY(parse_definition(parser, &definition));
    if (definition.name == NULL) return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "an input without a name");
    TRY(add_definition(parser, &definition, &id));
    return block_add_param(parser->graph, block, id) ? lex_end_line(&parser->lexer) : no_memory(parser);
}

static Status parse_result(Parser *parser, BlockId block) {
    ValueId id;
    TRY(parse_use(parser, &id));
    if (id == NONE) return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "an output without a name");
    if (!block_add_result(parser->graph, block, id)) return no_memory(parser);
    if (block == MAIN_BLOCK && lex_accept_word(&parser->lexer, "as")) {
        const char *name;
        TRY(lex_string(&parser->lexer, "the output's name", &name));
        if (name[0] == '\0') return FAIL(parser->lexer.diag, STATUS_BAD_MODEL, "an output without a name");
        if (!graph_name_output(parser->graph, parser->graph->blocks[block].result_count - 1, name))
            return no_memory(parser);
    }
    return lex_end_line(&parser->lexer);
}

static Status parse_block(Parser *parser, BlockId block, int32_t depth) {
    Lexer *lexer = &parser->lexer;
    NodeId node;
    TRY(lex_expect(lexer, "{"));
    TRY(lex_end_line(lexer));
    while (!lex_accept(lexer, "}")) {
        if (lex_accept_word(lexer, "input"))
            TRY(parse_param(parser, block));
        else if (lex_accept_word(lexer, "output"))
            TRY(parse_result(parser, block));
        else if (lex_accept_word(lexer, "region"))
            TRY(parse_region(parser, block, depth));
        else
            TRY(parse_node(parser, block, NONE, depth, &node));
    }
    return lex_end_line(lexer);
}

/* -- what stands before the blocks -- */

static Status parse_symbol(Parser *parser) {
    Lexer *lexer = &parser->lexer;
    DimTable *dims = parser->graph->dims;
    const char *name;
    int64_t min, opt, max = INT64_MAX;
    TRY(lex_name(lexer, "a symbol's name", &name));
    bool late = lex_accept_word(lexer, "late");
    TRY(lex_expect_word(lexer, "min"));
    TRY(lex_i64(lexer, "the minimum", &min));
    TRY(lex_expect_word(lexer, "opt"));
    TRY(lex_i64(lexer, "the optimum", &opt));
    if (lex_accept_word(lexer, "max")) TRY(lex_i64(lexer, "the maximum", &max));
    if (min < 0 || opt < 0 || max < min)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "the range of symbol '%s' is empty or below 0", name);
    int32_t before = dim_symbol_count(dims);
    int32_t index = dim_symbol_index(dims, dim_symbol(dims, name, late ? SYMBOL_LATE : SYMBOL_INPUT));
    if (dim_table_failed(dims) || index < 0) return no_memory(parser);
    if (index < before)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "symbol '%s' stands behind its use or twice", name);
    Symbol *symbol = dim_symbol_at(dims, index);
    symbol->min = min;
    symbol->opt = opt;
    symbol->max = max;
    return STATUS_OK;
}

static Status parse_memory(Parser *parser) {
    Lexer *lexer = &parser->lexer;
    MemoryPlan *memory = &parser->graph->memory;
    if (memory->done) return FAIL(lexer->diag, STATUS_BAD_MODEL, "a second 'memory' line");
    TRY(lex_expect_word(lexer, "arena"));
    TRY(lex_i64(lexer, "the arena's size", &memory->arena_size));
    TRY(lex_expect_word(lexer, "bound"));
    TRY(lex_i64(lexer, "the lower bound", &memory->lower_bound));
    memory->fixed = lex_accept_word(lexer, "fixed");
    memory->done = true;
    return STATUS_OK;
}

static Status parse_buffer(Parser *parser) {
    Lexer *lexer = &parser->lexer;
    MemoryPlan *memory = &parser->graph->memory;
    int32_t index, count;
    Buffer buffer = {.offset = -1};
    if (!memory->done) return FAIL(lexer->diag, STATUS_BAD_MODEL, "a buffer without a 'memory' line");
    TRY(lex_i32(lexer, "the buffer's number", memory->buffer_count, memory->buffer_count, &index));
    TRY(lex_dims(lexer, parser->graph->dims, 1, &buffer.size, &count));
    if (count != 1) return FAIL(lexer->diag, STATUS_BAD_MODEL, "a buffer without a size");
    TRY(lex_expect_word(lexer, "steps"));
    TRY(lex_i32(lexer, "the first step", 0, INT32_MAX, &buffer.first));
    TRY(lex_i32(lexer, "the last step", buffer.first, INT32_MAX, &buffer.last));
    if (lex_accept_word(lexer, "offset")) {
        TRY(lex_i64(lexer, "the offset", &buffer.offset));
        if (buffer.offset < 0) return FAIL(lexer->diag, STATUS_BAD_MODEL, "an offset below 0");
    }
    if (!ARENA_RESERVE(parser->graph->arena, memory->buffers, index, parser->buffer_capacity))
        return no_memory(parser);
    memory->buffers[memory->buffer_count++] = buffer;
    return STATUS_OK;
}

static Status parse_constant(Parser *parser) {
    Lexer *lexer = &parser->lexer;
    Definition definition;
    Value *value = &definition.value;
    ValueId id;
    int64_t count;
    TRY(parse_definition(parser, &definition));
    if (definition.name == NULL || value->dtype == DTYPE_NONE || !value->has_shape)
        return FAIL(lexer->diag, STATUS_BAD_MODEL, "a constant without a name, a type or a shape");
    TRY(exact_count(parser, &value->shape, &count));
    TRY(lex_expect(lexer, "="));
    TRY(parse_data(parser, value->dtype, count, &value->data));
    return add_definition(parser, &definition, &id);
}

static Status parse_graph_line(Parser *parser, Arena *arena) {
    Lexer *lexer = &parser->lexer;
    const char *name;
    int32_t version, opset = 0;
    lex_skip_lines(lexer);
    TRY(lex_expect_word(lexer, "smelt-ir"));
    TRY(lex_i32(lexer, "the version", IR_VERSION, IR_VERSION, &version));
    TRY(lex_end_line(lexer));
    TRY(lex_expect_word(lexer, "graph"));
    TRY(lex_string(lexer, "the graph's name", &name));
    if (lex_accept_word(lexer, "opset")) TRY(lex_i32(lexer, "the opset", 1, INT32_MAX, &opset));
    TRY(lex_end_line(lexer));
    parser->graph = graph_create(arena, name);
    if (parser->graph == NULL) return no_memory(parser);
    parser->graph->opset = opset;
    return STATUS_OK;
}

static Status parse_head(Parser *parser) {
    Lexer *lexer = &parser->lexer;
    for (;;) {
        if (lex_accept_word(lexer, "constants"))
            TRY(lex_string(lexer, "a file's name", &parser->blob_name));
        else if (lex_accept_word(lexer, "tf32"))
            parser->graph->tf32 = true;
        else if (lex_accept_word(lexer, "symbol"))
            TRY(parse_symbol(parser));
        else if (lex_accept_word(lexer, "memory"))
            TRY(parse_memory(parser));
        else if (lex_accept_word(lexer, "buffer"))
            TRY(parse_buffer(parser));
        else if (lex_accept_word(lexer, "constant"))
            TRY(parse_constant(parser));
        else
            return lex_expect_word(lexer, "block");
        TRY(lex_end_line(lexer));
    }
}

static Status parse_text(Parser *parser, const char *source, Arena *arena) {
    Lexer *lexer = &parser->lexer;
    const char *name;
    TRY(parse_graph_line(parser, arena));
    TRY(parse_head(parser));
    TRY(lex_string(lexer, "the block's name", &name));
    TRY(parse_block(parser, MAIN_BLOCK, 0));
    if (!lex_at_end(lexer)) return lex_fail(lexer, "the end of the text");
    parser->graph->blocks[MAIN_BLOCK].name = arena_strdup(arena, name);
    parser->graph->source = arena_strdup(arena, source);
    if (parser->graph->blocks[MAIN_BLOCK].name == NULL || parser->graph->source == NULL)
        return no_memory(parser);
    return STATUS_OK;
}

Status graph_parse(const char *text, size_t size, const char *source, const char *folder, Arena *arena,
                   Graph **out, Diag *diag) {
    Parser parser = {.folder = folder, .scratch = {.allocator = arena->allocator}};
    parser.lexer = (Lexer){.text = text, .size = size, .line = 1, .diag = diag};
    parser.lexer.arena = &parser.scratch;
    *out = NULL;
    Status status = parse_text(&parser, source, arena);
    if (status == STATUS_OK)
        *out = parser.graph;
    else
        diag_context(diag, DIAG_FILE, "%s:%d", source, parser.lexer.line);
    arena_reset(&parser.scratch);
    return status;
}
