/* Rewrites that several passes make. */
#ifndef SMELT_PASSES_REWRITE_H
#define SMELT_PASSES_REWRITE_H

#include "passes/pass.h"

/* Turns a computed value into a constant with this data (which lives as long as the graph); its producer no
 * longer gives it, and is removed when nothing is left of it. */
void make_constant(PassCtx *ctx, ValueId value, const void *data);
/* Its producer no longer gives it: another node may. */
void release_value(Graph *graph, ValueId value);

/* Puts the nodes of `body` in the place of the control-flow node that owns it; the body's results become the
 * node's outputs. The body must have no parameters. */
Status inline_body(PassCtx *ctx, NodeId node, BlockId body);
/* The branch that an If with this condition takes. */
Status if_branch(const PassCtx *ctx, const Node *node, bool condition, BlockId *out);

/* Gives the results of a new node their types, from those of its operands, which must have them. */
Status infer_outputs(Graph *graph, NodeId node, Arena *scratch, Diag *diag);

/* The operand that tells Reshape a shape: 0 takes the extent at that place, -1 what is left. False where no
 * constant can tell it whatever the symbols are. */
bool reshape_target(DimTable *dims, const Shape *from, const Shape *to, int64_t target[SMELT_MAX_RANK]);

bool dim_may_be_one(DimTable *dims, Dim dim);
/* A Squeeze that names no axes, of extents that only the run knows: it must stay, to refuse an extent of 1.
 */
bool squeeze_is_assumed(const Graph *graph, const Node *node);

/* Removes nodes that no graph output depends on, and no longer asks for outputs that nobody reads. */
Status remove_dead(PassCtx *ctx);

#endif
