/* All operators that nothing here knows, over the whole model, in one message. */
#include <string.h>

#include "base/bytes.h"
#include "frontend/importer.h"
#include "frontend/opset.h"

typedef struct Unknown {
    const char *name; /* "Foo", "com.x.Bar" */
    const char *first;
    int64_t count;
} Unknown;

typedef struct Survey {
    Importer *im;
    NameMap names;
    Unknown *items;
    int32_t count, capacity;
    bool *reached;                       /* per function of the model */
    const Onnx__FunctionProto **waiting; /* reached, not yet walked */
    size_t waiting_count;
} Survey;

static Status no_memory(Survey *survey) {
    return FAIL(survey->im->diag, STATUS_NO_MEMORY, "out of memory");
}

static Status note_unknown(Survey *survey, const char *domain, const char *op, const Onnx__NodeProto *node,
                           const char *where, size_t index) {
    Arena *scratch = &survey->im->scratch;
    const char *name = domain[0] == '\0' ? op : arena_printf(scratch, "%s.%s", domain, op);
    if (name == NULL) return no_memory(survey);
    int32_t found = name_map_find(&survey->names, name);
    if (found >= 0) {                 /* an index of items: the map names nothing else */
        survey->items[found].count++; /* NOLINT(clang-analyzer-core.NullDereference) */
        return STATUS_OK;
    }
    const char *first = proto_text(node->name)[0] != '\0'
                            ? arena_printf(scratch, "%s%s", where, node->name)
                            : arena_printf(scratch, "%s%s_%zu", where, op, index);
    if (first == NULL || !ARENA_RESERVE(scratch, survey->items, survey->count, survey->capacity) ||
        !name_map_set(&survey->names, scratch, name, survey->count))
        return no_memory(survey);
    survey->items[survey->count++] = (Unknown){.name = name, .first = first, .count = 1};
    return STATUS_OK;
}

static void reach_function(Survey *survey, int32_t index) {
    if (survey->reached[index]) return;
    survey->reached[index] = true;
    survey->waiting[survey->waiting_count++] = survey->im->proto->functions[index];
}

static Status survey_nodes(Survey *survey, const Scope *scope, const char *where, size_t count,
                           Onnx__NodeProto *const *nodes);

static Status survey_node(Survey *survey, const Scope *scope, const char *where, const Onnx__NodeProto *node,
                          size_t index) {
    const char *domain = domain_of(node->domain), *op = proto_text(node->op_type);
    int32_t function = function_find(survey->im, node);
    if (function >= 0)
        reach_function(survey, function);
    else if (!operator_is_known(domain, op, scope_opset(survey->im, scope, domain)))
        TRY(note_unknown(survey, domain, op, node, where, index));
    for (size_t i = 0; i < node->n_attribute; ++i) {
        const Onnx__AttributeProto *attr = node->attribute[i];
        if (attr->g != NULL) TRY(survey_nodes(survey, scope, where, attr->g->n_node, attr->g->node));
    }
    return STATUS_OK;
}

static Status survey_nodes(Survey *survey, const Scope *scope, const char *where, size_t count,
                           Onnx__NodeProto *const *nodes) {
    for (size_t i = 0; i < count; ++i) TRY(survey_node(survey, scope, where, nodes[i], i));
    return STATUS_OK;
}

static Status survey_functions(Survey *survey) {
    while (survey->waiting_count > 0) {
        const Onnx__FunctionProto *function = survey->waiting[--survey->waiting_count];
        Call call = {.function = function};
        Scope scope = {.call = &call};
        const char *where = arena_printf(&survey->im->scratch, "%s/", proto_text(function->name));
        if (where == NULL) return no_memory(survey);
        TRY(survey_nodes(survey, &scope, where, function->n_node, function->node));
    }
    return STATUS_OK;
}

/* Diag has room for a dozen or so; the log gets all of them. */
static Status report(Survey *survey) {
    enum { ROOM = 800 };
    ByteWriter text = byte_writer(&survey->im->scratch);
    int32_t shown = 0;
    for (; shown < survey->count && text.size < ROOM; ++shown) {
        const Unknown *unknown = &survey->items[shown];
        write_format(&text, "%s%.100s x%lld (first: node \"%.100s\")", shown == 0 ? "" : ", ", unknown->name,
                     (long long)unknown->count, unknown->first);
    }
    if (shown < survey->count) write_format(&text, ", and %d more", survey->count - shown);
    write_u8(&text, 0);
    if (text.failed) return no_memory(survey);
    for (int32_t i = shown; i < survey->count; ++i)
        log_line(survey->im->options->log, LOG_ERROR, "not supported: %s x%lld (first: node \"%s\")",
                 survey->items[i].name, (long long)survey->items[i].count, survey->items[i].first);
    return FAIL(survey->im->diag, STATUS_UNSUPPORTED, "%d operator%s not supported: %s", survey->count,
                survey->count == 1 ? " is" : "s are", (const char *)text.data);
}

Status check_operators(Importer *im) {
    const Onnx__ModelProto *proto = im->proto;
    Survey survey = {.im = im};
    Scope scope = {0};
    survey.reached = ARENA_ARRAY(&im->scratch, bool, proto->n_functions);
    survey.waiting = ARENA_ARRAY(&im->scratch, const Onnx__FunctionProto *, proto->n_functions);
    if (survey.reached == NULL || survey.waiting == NULL) return no_memory(&survey);
    TRY(survey_nodes(&survey, &scope, "", proto->graph->n_node, proto->graph->node));
    TRY(survey_functions(&survey));
    return survey.count == 0 ? STATUS_OK : report(&survey);
}
