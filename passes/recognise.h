/* What the families of the pass `recognise` share: rules, and how a match becomes one operator. */
#ifndef SMELT_PASSES_RECOGNISE_H
#define SMELT_PASSES_RECOGNISE_H

#include "passes/pattern.h"
#include "passes/rewrite.h"

typedef struct Recogniser {
    PassCtx *ctx;
    Graph *graph;
    UseTable uses;       /* as of the beginning of a sweep; grows stale where values are touched */
    int32_t value_count; /* at that time */
    bool *touched;       /* per value: it has users that the table does not know */
} Recogniser;

typedef struct Rule Rule;
/* Analyses a match and, where it holds, replaces it; *reason stays NULL then. Else nothing is changed and
 * *reason says why; "" where nobody expected it to hold. */
typedef Status (*Rewrite)(Recogniser *r, const Rule *rule, const Match *match, const char **reason);

struct Rule {
    OpId becomes;
    const char *pattern;
    Rewrite rewrite;
};

typedef struct RuleList {
    const Rule *rules;
    int32_t count;
} RuleList;

/* Families, each in recognise_<family>.c. A rule comes before those that match parts of what it matches. */
extern const RuleList recognise_activation_rules, recognise_norm_rules, recognise_attention_rules,
    recognise_block_rules, recognise_movement_rules;

/* A node of the operator takes the place of the match's root and its result; covered nodes, which nobody else
 * may use, go, and their origins become its own. inputs may hold NONE. */
Status recognise_replace(Recogniser *r, const Match *match, OpId op, const AttrList *attrs,
                         int32_t input_count, const ValueId *inputs);
/* A new node before another one, with one result that is new and has its type inferred. */
Status recognise_insert(Recogniser *r, NodeId before, OpId op, const AttrList *attrs, int32_t input_count,
                        const ValueId *inputs, ValueId *out);
/* The node that makes the value, which stands for the match, takes the origins of what is covered. */
Status recognise_add_origins(Recogniser *r, const Match *match, ValueId value);
/* A float constant of the type with these elements. dims are exact. */
Status recognise_constant(Recogniser *r, DType dtype, int32_t rank, const int64_t *dims,
                          const double *elements, ValueId *out);
/* A constant can tell a Reshape this shape. */
bool recognise_can_reshape(const Recogniser *r, const Shape *from, const Shape *to);
/* A Reshape of the value before a node, which recognise_can_reshape allows; the value itself where it has the
 * shape. */
Status recognise_reshape(Recogniser *r, NodeId before, ValueId value, const Shape *shape, ValueId *out);

const Shape *recognise_shape(const Recogniser *r, ValueId value);
/* The root's result has the dtype and shape of the value. */
bool recognise_keeps_type(const Recogniser *r, const Match *match, ValueId value);

#endif
