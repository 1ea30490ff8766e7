/* What the nodes of a region compute for one element, as code: the expressions of pointwise.def over
 * registers.
 *
 * A chain is made for elements numbered in the order of one tensor: the anchor's result, from which the nodes
 * behind it go on; the results of a region without an anchor, or the anchor's input, which are computed from
 * what they read. Where an operand lies is an Access of the number, through whatever views, permutations and
 * broadcasts are between; index tensors are read as they are come across. */
#ifndef SMELT_KERNELS_CHAIN_H
#define SMELT_KERNELS_CHAIN_H

#include "kernels/view.h"

typedef enum OperandSource {
    OPERAND_MEMORY,
    OPERAND_LITERAL, /* a constant of one element stands in the code */
    OPERAND_SEED     /* what the anchor gives */
} OperandSource;

/* A value that the chain reads and does not make; its register is a0, a1, ... */
typedef struct ChainOperand {
    ValueId value;
    OperandSource source;
    const char *text; /* OPERAND_MEMORY: the pointer; OPERAND_LITERAL: the element */
    Access access;    /* OPERAND_MEMORY */
} ChainOperand;

typedef enum ChainStepKind {
    CHAIN_NODE,  /* a node's element from its operands' */
    CHAIN_INDEX, /* the place in `extent` that an element of an index tensor names */
    CHAIN_READ   /* an element of memory whose place depends on such indices */
} ChainStepKind;

/* A register: of operand or step `number`. */
typedef struct ChainTerm {
    bool is_step;
    int32_t number; /* -1: omitted */
} ChainTerm;

/* Computed in order; the registers are b0, b1, ... */
typedef struct ChainStep {
    ChainStepKind kind;
    const Node *node;       /* CHAIN_NODE */
    const ChainTerm *terms; /* CHAIN_NODE: one for each input; CHAIN_INDEX: one */
    Dim extent;             /* CHAIN_INDEX */
    ValueId value;          /* CHAIN_READ */
    Access access;
    Dim offset;
    int32_t index_count, index[VIEW_INDICES]; /* steps */
    Dim index_stride[VIEW_INDICES];
    const char *pack; /* CHAIN_READ: the pack whose element k it is (packs.h), NULL: it is read by itself */
    bool common;      /* all lanes of a pack have the same (packs.h) */
} ChainStep;

/* A value at the places that a view shows is in a register. */
typedef struct ChainKnown {
    ValueId value;
    int32_t view;
    bool hot; /* computed from the seed */
    ChainTerm term;
    /* A slice has only the elements of the view `whole` with a coordinate along `axis` in [begin, end). */
    bool is_slice;
    int32_t whole, axis;
    Dim begin, end;
} ChainKnown;

typedef struct Chain {
    KernelWriter *w; /* NULL while it is only looked at */
    const Graph *graph;
    const Problem *problem;
    Arena *arena;
    const char *refusal; /* why there is no such chain, or NULL */
    bool behind;         /* goes on from an anchor's result */
    int32_t operand_count, operand_capacity;
    ChainOperand *operands; /* in order of use */
    int32_t step_count, step_capacity;
    ChainStep *steps;
    int32_t view_count, view_capacity;
    View *views; /* the first is the tensor that gives the numbers */
    int32_t known_count, known_capacity;
    ChainKnown *known;
} Chain;

/* The tensor whose elements are numbered: the anchor's result, or that of a pool behind it; its input, with
 * CHAIN_IN_FRONT; the first result of a problem without an anchor. With a pool, CHAIN_BETWEEN goes on from
 * the anchor's result to what the pool reads; in squeeze-and-excite from the first
 * contraction's result to what the second reads. CHAIN_SCALES goes on from there to what scales the anchor's
 * input. In a block of convolutions CHAIN_BETWEEN leads from the first one's result to what the second
 * reads, CHAIN_WITHIN from there to what the third reads. CHAIN_NORMALIZED goes on from a normalisation of
 * planes in front of the anchor to what that reads. */
typedef enum ChainPlace {
    CHAIN_RESULTS,
    CHAIN_BEHIND,
    CHAIN_BETWEEN,
    CHAIN_SCALES,
    CHAIN_WITHIN,
    CHAIN_NORMALIZED,
    CHAIN_IN_FRONT
} ChainPlace;

/* Why a problem's nodes are no such chain, or NULL. */
const char *chain_refuses(const Problem *problem, ChainPlace place);

/* Works the chain out. To be called, as what writes it, between kernel_struct_begin and kernel_struct_end. */
Status chain_prepare(KernelWriter *w, const Problem *problem, ChainPlace place, Chain *out);

/* Whether nodes of the problem make what the anchor reads. */
bool problem_has_front(const Problem *problem);
/* The node of the problem that makes the value, or NULL; of NONE too. */
const Node *problem_maker(const Problem *problem, ValueId value);

/* What CHAIN_BETWEEN, CHAIN_SCALES, CHAIN_WITHIN and CHAIN_NORMALIZED lead to. */
ValueId chain_end(const Problem *problem, ChainPlace place);

/* The register of an operand, or of a result of the region; NULL for other values. */
const char *chain_register(const Chain *chain, ValueId value);

/* Where element `number` (text) of a result lies in memory, as text. */
const char *chain_result_index(const Chain *chain, ValueId value, const char *number);
/* What must hold for the result to have that element, as text; NULL: nothing. */
const char *chain_result_condition(const Chain *chain, ValueId value, const char *number);
/* `lanes` consecutive elements from a multiple of lanes on lie one behind the other from a multiple of lanes
 * on, and are all in the result or none. */
bool chain_result_is_packed(const Chain *chain, ValueId value, int32_t lanes);

/* Writes the statements that compute every result from the operands' registers, for element `number` (text).
 */
void chain_write_steps(const Chain *chain, const char *number, const char *indent, ByteWriter *out);
/* The statements of step i alone. */
void chain_write_step(const Chain *chain, int32_t i, const char *number, const char *indent, ByteWriter *out);
/* The place in memory that a CHAIN_READ reads, from the registers of its indices. */
const char *chain_read_index(const Chain *chain, const ChainStep *step, const char *number);

#endif
