/* How the elements of a node's result come from those of its inputs: what fusions and code generators ask. */
#ifndef SMELT_IR_FORM_H
#define SMELT_IR_FORM_H

#include "ir/graph.h"

typedef enum NodeForm {
    FORM_OTHER,
    FORM_ELEMENTS,    /* element i from elements i of its operands, which broadcast to the result's shape */
    FORM_VIEW,        /* element number i, in row-major order, is the input's */
    FORM_PERMUTATION, /* each element of input 0 goes to one place of the result, which attributes say */
    FORM_SELECTION    /* each element is one of input 0, which its place says, or an index tensor */
} NodeForm;

/* The form of a node with one output. *why (may be NULL): what makes it FORM_OTHER, else NULL. */
NodeForm node_form(const Graph *graph, const Node *node, const char **why);

/* Whether input i of a node with a form other than FORM_OTHER is an operand: its elements go into elements of
 * the result. The others are parameters, which a node reads as a whole. */
bool form_has_operand(const Node *node, int32_t i);

/* A pool's windows over the spatial axes of input 0, which follow its batch and channel axes. */
typedef struct FormWindows {
    int32_t axes; /* 1 to 3 */
    int64_t taps; /* elements of a window */
    int64_t kernel[3], stride[3];
    int64_t pad[3]; /* before the first element */
} FormWindows;

/* Why the node is no pool that makes each element of its one result of elements that none of the others
 * needs, all of them in the input; NULL where it is one, with its windows in *out. */
const char *form_windows(const Graph *graph, const Node *node, FormWindows *out);

/* Why the node is no MaxPool of one result with windows without gaps, which may overlap and reach outside;
 * NULL where it is one, with its windows in *out. */
const char *form_maxima(const Graph *graph, const Node *node, FormWindows *out);

/* Whether neighbours along the last dimension of the result are neighbours along that of input 0. */
bool form_keeps_rows(const Graph *graph, const Node *node);

#endif
