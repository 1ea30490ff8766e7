/* Order of the nodes of one graph: the file's, repaired where a value is read before it is made (which ONNX
 * forbids and ONNX Runtime accepts). */
#include <string.h>

#include "base/bytes.h"
#include "frontend/importer.h"

/* Names that a node reads. */
typedef struct Reads {
    size_t count;
    char *const *names;
} Reads;

typedef struct Sorter {
    Importer *im;
    Onnx__NodeProto *const *nodes;
    NameMap producers; /* name -> node index */
    Reads *reads;
    int32_t *order;
    int32_t ordered;
} Sorter;

/* -- what bodies read from around them -- */

typedef struct Names {
    char **items;
    int32_t count, capacity;
} Names;

typedef struct Body {
    const struct Body *outer;
    NameMap own;
} Body;

static bool is_own(const Body *body, const char *name) {
    for (; body != NULL; body = body->outer)
        if (name_map_find(&body->own, name) >= 0) return true;
    return false;
}

static bool add_own(Importer *im, Body *body, const char *name) {
    return name == NULL || name_map_set(&body->own, &im->scratch, name, 1);
}

static bool add_read(Importer *im, Names *names, const Body *body, char *name) {
    if (name == NULL || name[0] == '\0' || is_own(body, name)) return true;
    if (!ARENA_RESERVE(&im->scratch, names->items, names->count, names->capacity)) return false;
    names->items[names->count++] = name;
    return true;
}

static bool node_reads(Importer *im, const Body *body, const Onnx__NodeProto *node, Names *names);

/* Appends what the body graph reads from its surroundings. */
static bool body_reads(Importer *im, const Body *outer, const Onnx__GraphProto *graph, Names *names) {
    Body body = {.outer = outer};
    bool good = true;
    for (size_t i = 0; good && i < graph->n_input; ++i) good = add_own(im, &body, graph->input[i]->name);
    for (size_t i = 0; good && i < graph->n_initializer; ++i)
        good = add_own(im, &body, graph->initializer[i]->name);
    for (size_t i = 0; good && i < graph->n_sparse_initializer; ++i)
        good = graph->sparse_initializer[i]->values == NULL ||
               add_own(im, &body, graph->sparse_initializer[i]->values->name);
    for (size_t i = 0; good && i < graph->n_node; ++i)
        for (size_t k = 0; good && k < graph->node[i]->n_output; ++k)
            good = add_own(im, &body, graph->node[i]->output[k]);
    for (size_t i = 0; good && i < graph->n_node; ++i) good = node_reads(im, &body, graph->node[i], names);
    for (size_t i = 0; good && i < graph->n_output; ++i)
        good = add_read(im, names, &body, graph->output[i]->name);
    return good;
}

static bool node_reads(Importer *im, const Body *body, const Onnx__NodeProto *node, Names *names) {
    bool good = true;
    for (size_t i = 0; good && i < node->n_input; ++i) good = add_read(im, names, body, node->input[i]);
    for (size_t i = 0; good && i < node->n_attribute; ++i)
        good = node->attribute[i]->g == NULL || body_reads(im, body, node->attribute[i]->g, names);
    return good;
}

static Status collect_reads(Sorter *sorter, size_t index) {
    const Onnx__NodeProto *node = sorter->nodes[index];
    bool has_body = false;
    for (size_t i = 0; i < node->n_attribute; ++i) has_body |= node->attribute[i]->g != NULL;
    if (!has_body) {
        sorter->reads[index] = (Reads){node->n_input, node->input};
        return STATUS_OK;
    }
    Names names = {0};
    if (!node_reads(sorter->im, NULL, node, &names))
        return FAIL(sorter->im->diag, STATUS_NO_MEMORY, "out of memory");
    sorter->reads[index] = (Reads){(size_t)names.count, names.items};
    return STATUS_OK;
}

/* -- definitions -- */

static Status define_outputs(Sorter *sorter, const Scope *scope, size_t index) {
    Importer *im = sorter->im;
    const Onnx__NodeProto *node = sorter->nodes[index];
    for (size_t i = 0; i < node->n_output; ++i) {
        const char *name = node->output[i];
        if (name[0] == '\0') continue;
        int32_t other = name_map_find(&sorter->producers, name);
        if (other >= 0)
            return FAIL(im->diag, STATUS_BAD_MODEL, "value '%s' is made twice: by node '%s' and by node '%s'",
                        name, node_label(im, scope, sorter->nodes[other], (size_t)other),
                        node_label(im, scope, node, index));
        if (scope_has_own(scope, name))
            return FAIL(im->diag, STATUS_BAD_MODEL,
                        "value '%s' is made twice: by node '%s' and as an input or initializer", name,
                        node_label(im, scope, node, index));
        if (!name_map_set(&sorter->producers, &im->scratch, name, (int32_t)index))
            return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

/* -- depth-first order -- */

typedef enum Mark { MARK_NEW, MARK_OPEN, MARK_DONE } Mark;

typedef struct Visit {
    int32_t node;
    size_t next_read;
} Visit;

/* "'a' -> 'b' -> 'a'": each node reads from the one behind it. */
static Status report_cycle(Sorter *sorter, const Scope *scope, const Visit *stack, int32_t depth,
                           int32_t again) {
    Importer *im = sorter->im;
    ByteWriter text = byte_writer(&im->scratch);
    int32_t first = depth - 1;
    while (stack[first].node != again) first--;
    for (int32_t i = first; i < depth && i < first + 16; ++i)
        write_format(&text, "'%s' -> ",
                     node_label(im, scope, sorter->nodes[stack[i].node], (size_t)stack[i].node));
    if (depth > first + 16) write_format(&text, "... -> ");
    write_format(&text, "'%s'", node_label(im, scope, sorter->nodes[again], (size_t)again));
    write_u8(&text, 0);
    if (text.failed) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return FAIL(im->diag, STATUS_BAD_MODEL, "the nodes form a cycle: %s", (const char *)text.data);
}

static Status visit_from(Sorter *sorter, const Scope *scope, int32_t root, uint8_t *marks, Visit *stack) {
    int32_t depth = 0;
    stack[depth++] = (Visit){.node = root};
    marks[root] = MARK_OPEN;
    while (depth > 0) {
        Visit *top = &stack[depth - 1];
        const Reads *reads = &sorter->reads[top->node];
        if (top->next_read == reads->count) {
            marks[top->node] = MARK_DONE;
            sorter->order[sorter->ordered++] = top->node;
            depth--;
            continue;
        }
        int32_t producer = name_map_find(&sorter->producers, reads->names[top->next_read++]);
        if (producer < 0 || marks[producer] == MARK_DONE) continue;
        if (marks[producer] == MARK_OPEN) return report_cycle(sorter, scope, stack, depth, producer);
        marks[producer] = MARK_OPEN;
        stack[depth++] = (Visit){.node = producer};
    }
    return STATUS_OK;
}

Status sort_nodes(Importer *im, const Scope *scope, size_t count, Onnx__NodeProto *const *nodes,
                  int32_t **order) {
    if (count > INT32_MAX) return FAIL(im->diag, STATUS_BAD_MODEL, "%zu nodes are too many", count);
    Sorter sorter = {.im = im, .nodes = nodes};
    sorter.reads = ARENA_ARRAY(&im->scratch, Reads, count);
    sorter.order = ARENA_ARRAY(&im->scratch, int32_t, count);
    uint8_t *marks = ARENA_ARRAY(&im->scratch, uint8_t, count);
    Visit *stack = ARENA_ARRAY(&im->scratch, Visit, count);
    if (sorter.reads == NULL || sorter.order == NULL || marks == NULL || stack == NULL)
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count; ++i) TRY(define_outputs(&sorter, scope, i));
    for (size_t i = 0; i < count; ++i) TRY(collect_reads(&sorter, i));
    for (size_t i = 0; i < count; ++i)
        if (marks[i] == MARK_NEW) TRY(visit_from(&sorter, scope, (int32_t)i, marks, stack));
    *order = sorter.order;
    return STATUS_OK;
}
