/* What the files of lower_host share. */
#ifndef SMELT_KERNELS_LOWERING_H
#define SMELT_KERNELS_LOWERING_H

#include "kernels/lower.h"

/* A constant of the weights blob. */
typedef struct WeightItem {
    const void *data;
    size_t size;
    int64_t offset;
} WeightItem;

/* An argument that wants a constant in channels-last order, or in that of others. */
typedef struct WeightTurn {
    ValueId value;
    int32_t arg; /* of the plan */
    bool in_any_order;
} WeightTurn;

typedef struct Lowering {
    const Graph *graph;
    const LowerOptions *options;
    Arena *arena; /* the plan's */
    Plan *plan;   /* arrays grow in arena; their capacities follow */
    Diag *diag;
    int32_t code_capacity, expression_capacity, value_capacity, op_capacity, step_capacity, program_capacity;
    int32_t *symbols;         /* DimTable symbol -> plan symbol */
    NameMap expressions;      /* Dim as text -> expression */
    int32_t *values;          /* graph value -> plan value, -1: not yet */
    int32_t *output_bindings; /* graph value -> its first output binding, -1: none */
    WeightItem *weights;
    int32_t weight_count, weight_capacity;
    NameMap weight_keys; /* content hash and size as text -> weight */
    int64_t weights_size;
    WeightTurn *turns; /* in the order of arguments */
    int32_t turn_count, turn_capacity;
    BlockId *blocks; /* block of each program */
    int32_t block_capacity;
    /* Called for each step of program 0 once its operators are in the plan, to make something else of it than
     * a host step. May be NULL. */
    Status (*finish_step)(struct Lowering *l, PlanStep *step, const NodeId *nodes, int32_t count);
    void *target; /* of finish_step */
} Lowering;

/* Everything but the last check: META, symbols, programs with their steps, bindings, buffers, weights. */
Status lower_graph(Lowering *l);
/* Adds an entry of META; keys are unique. */
Status lower_meta(Lowering *l, const char *key, const char *value);
/* Verifies the finished plan: a fault is ours. */
Status lower_check(const Lowering *l);

/* Symbols of the graph, those of inputs first. */
Status lower_symbols(Lowering *l);
Status lower_dim(Lowering *l, Dim dim, PlanDim *out);

/* The plan's value for a graph value, which is added, with its storage, when it is new: constants to the
 * weights, the others to buffers, bindings or memory of their own. A view must come after what it shows. */
Status lower_value(Lowering *l, ValueId value, int32_t *out);
Status lower_buffers(Lowering *l);
/* A place for the bytes of a constant, which must stay where they are; equal ones share it. */
Status lower_weight(Lowering *l, const void *data, size_t size, int64_t *offset);
/* The plan's value for a constant that argument number `arg`, which is being added, wants in channels-last
 * order; lower_weights turns its elements, or gives the argument a value of its own where others need them as
 * they are. */
Status lower_channels_last(Lowering *l, ValueId value, int32_t arg, int32_t *out);
/* As lower_channels_last, for an argument that may have the elements in the order that others want. */
Status lower_in_any_order(Lowering *l, ValueId value, int32_t arg, int32_t *out);
/* Copies the constants that are used into one blob. */
Status lower_weights(Lowering *l);

#endif
