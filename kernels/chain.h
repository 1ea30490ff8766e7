/* Pointwise nodes as code: the expressions of pointwise.def over registers. */
#ifndef SMELT_KERNELS_CHAIN_H
#define SMELT_KERNELS_CHAIN_H

#include "kernels/access.h"

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

/* Nodes [first, node_count) of a problem. The result of node first + n is in register bn. */
typedef struct Chain {
    KernelWriter *w;
    Graph *graph;
    const Problem *problem;
    int32_t first;
    Shape shape;      /* of all results */
    Layout numbering; /* the order in which elements are numbered */
    int32_t operand_count, operand_capacity;
    ChainOperand *operands; /* in order of use */
} Chain;

/* Why nodes from the first on are no chain over `shape`, or NULL. */
const char *chain_refuses(const Problem *problem, int32_t first, const Shape *shape);

/* Collects the operands. seed: the value that an anchor gives, or NONE. Elements are numbered in the order of
 * the seed's layout, without one in that of the first result's. */
Status chain_prepare(KernelWriter *w, const Problem *problem, int32_t first, const Shape *shape, ValueId seed,
                     Chain *out);

/* The register of an operand or result; NULL for other values. */
const char *chain_register(const Chain *chain, ValueId value);

/* Where element number i of a result lies in memory. */
Access chain_result_access(const Chain *chain, ValueId value);

/* Writes the statements that compute every result from the operands' registers. */
void chain_write_nodes(const Chain *chain, const char *indent, ByteWriter *out);

#endif
