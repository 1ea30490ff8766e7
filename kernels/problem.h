/* What one step of a GPU plan has to do: a region (or single node) with the values that go in and out. */
#ifndef SMELT_KERNELS_PROBLEM_H
#define SMELT_KERNELS_PROBLEM_H

#include "ir/graph.h"

typedef struct Problem {
    const Graph *graph;
    int32_t node_count;
    const NodeId *nodes; /* in order; the anchor, if any, is first among those that are not its prologue */
    NodeId anchor;       /* the first node that is not pointwise; NONE: a chain of pointwise nodes, or one */
    NodeId pooling;      /* a pool behind the anchor, a contraction, in its epilogue; NONE: there is none */
    /* A normalisation of planes (planes_text.h) of the anchor's result, a convolution's. NONE: there is none.
     */
    NodeId normalization;
    /* Squeeze-and-excite: two contractions behind the anchor, a pool, and the product of what comes out with
     * the anchor's input. NONE: there are none. */
    NodeId squeeze, excite, scale;
    /* Two or three convolutions, the first of which is the anchor: the one with windows, and the product
     * behind it. Of three any, of two one has each channel by itself. With a shortcut: another convolution of
     * the anchor's input, and the sum of both results. NONE: there are none. */
    NodeId middle, project, shortcut, sum;
    int32_t input_count, output_count;
    const ValueId *inputs;  /* read by the step and not made by it, each once */
    const ValueId *outputs; /* made by the step and used outside it, each once */
    /* Late symbols that steps before this one find, by their index in the graph's dims; NULL and 0: none. */
    const bool *known_symbols;
    int32_t symbol_count;
    /* One line, the key of caches: "*Conv($0 $1) ... + Relu(%0.0) | f16[...] f16[...]= -> %1.0:f16[...]":
     * nodes with attributes, the anchor of several with a star, types of inputs and results. Equal lines are
     * equal work. */
    const char *key;
} Problem;

/* Fills *out for consecutive nodes of a block. Lists are in arena. uses: of the whole graph as it is. */
Status problem_create(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t node_count,
                      Arena *arena, Problem *out, Diag *diag);
/* As one region around an anchor, whatever regions they are in; NONE: as those say. */
Status problem_create_around(const Graph *graph, const UseTable *uses, const NodeId *nodes,
                             int32_t node_count, NodeId anchor, Arena *arena, Problem *out, Diag *diag);
/* As problem_create without the key, for questions of which nothing is kept. */
Status problem_describe(const Graph *graph, const UseTable *uses, const NodeId *nodes, int32_t node_count,
                        Arena *arena, Problem *out, Diag *diag);

/* Finds the types of all values from those of inputs and constants. */
typedef Status (*GraphInfer)(Graph *graph, Diag *diag);
/* The graph of one step that a key describes, whose problem has that key again. Elements of float constants,
 * which it does not tell, are made up. Fails with USAGE where the line is none, and with UNSUPPORTED where it
 * does not tell enough: sizes that are not numbers, tensors, long integer constants. */
Status problem_parse(const char *line, GraphInfer infer, Arena *arena, Graph **out, Diag *diag);

/* Marks the late symbols that a step of these nodes finds: those that are, alone, a dim of a result. */
void problem_find_symbols(const Graph *graph, const NodeId *nodes, int32_t node_count, bool *known,
                          int32_t symbol_count);

/* The node that everything but the epilogue belongs to, or NULL for pointwise chains. */
const Node *problem_anchor(const Problem *problem);
const Value *problem_value(const Problem *problem, ValueId value);
/* Input or output number i of the anchor, NULL where it has none or it is omitted. */
const Value *problem_input(const Problem *problem, int32_t i);
const Value *problem_output(const Problem *problem, int32_t i);
/* The node whose result 0 the kernel computes, for the pointwise nodes behind it: the pooling node, the
 * normalisation behind the anchor, what scales a pool's input, a block's sum with its shortcut, the last
 * contraction of several, else the anchor. */
const Node *problem_last(const Problem *problem);

/* The elements of a 0-D or 1-D integer value (pads, axes, ...) as Dims, where they are known when the plan is
 * made: from a constant, or from what inference knows. NONE has 0 elements. False: not known, or more than
 * capacity. */
bool problem_known_dims(const Problem *problem, ValueId value, int32_t capacity, Dim *out, int32_t *count);

#endif
