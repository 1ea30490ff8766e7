/* What the parts of lower_precision share. Values that were f32 when the pass began are typed; the pass
 * decides for each node of the main block whether its typed operands and results become narrow, and for each
 * value whether it may be stored so. Bodies of control flow stay as they are. */
#ifndef SMELT_PASSES_PRECISION_WORK_H
#define SMELT_PASSES_PRECISION_WORK_H

#include "passes/precision.h"

/* The narrow type's limits. */
typedef struct HalfType {
    DType dtype;
    double largest, smallest_normal, roundoff; /* relative error of rounding to nearest */
} HalfType;

typedef enum NodeState {
    NODE_UNTYPED, /* nothing to decide: no typed operand or result, or it takes operands as they come */
    NODE_HALF,
    NODE_FULL
} NodeState;

typedef struct NodePrecision {
    NodeState state;
    bool kept, forced;  /* by a pattern */
    const char *reason; /* why it is full */
} NodePrecision;

typedef struct ValuePrecision {
    bool typed, narrows; /* narrows: a narrow node makes it narrow, as the operator's inference says */
    bool full;           /* must not be stored narrow ... */
    const char *reason;  /* ... because */
    bool huge;           /* a constant beyond the narrow type's range went into it */
    double low, high;    /* bounds for whatever the inputs are */
    double seen;         /* largest finite magnitude during calibration; -1: not calibrated */
    double error;        /* of its elements when the operands of its node are rounded; -1: not calibrated */
    double need;         /* error that its users can take; INFINITY: any */
} ValuePrecision;

typedef struct PrecisionWork {
    PassCtx *ctx;
    Graph *graph;
    const PrecisionOptions *options;
    HalfType half;
    double tolerance;
    UseTable uses;
    int32_t node_count, value_count; /* when the pass began */
    NodePrecision *nodes;
    ValuePrecision *values;
    Arena *arena; /* of the reasons: the graph's */
} PrecisionWork;

/* Values larger than this part of the narrow range during calibration may leave it with other inputs. */
enum { PRECISION_MARGIN = 4 };

/* -- precision_rules.c -- */

/* Marks nodes that the patterns name. */
Status precision_match(PrecisionWork *work);
/* What is known of nodes without looking at data. */
Status precision_rules(PrecisionWork *work);
/* What follows from the values' marks and from calibration; also the chains that lead to indices. */
Status precision_decide(PrecisionWork *work);
/* Keeps a node, with a reason that is formatted into the graph's arena; a forced node stays narrow. */
void precision_keep(PrecisionWork *work, NodeId node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The operand has the type that the node computes in. */
bool operand_is_typed(const PrecisionWork *work, const Node *node, int32_t input);
/* Takes an operand of any element type without changing what it does. */
bool node_takes_any(const Node *node);

/* -- precision_range.c -- */

/* Bounds, magnitudes and huge marks of constants. */
void precision_constants(PrecisionWork *work);
/* Bounds of results, in order, and where huge constants go: after the constants, and after calibration. */
void precision_ranges(PrecisionWork *work);
/* The operand is a bound: cut to the narrow range it bounds the same. */
bool operand_is_bound(const Node *node, int32_t input);
/* Adding this constant before a Softmax does the same when its elements are cut to the narrow range. */
bool mask_is_clampable(const PrecisionWork *work, const Node *node, int32_t input);

/* -- precision_calibrate.c -- */

/* Runs the graph on each sample; nodes that cannot be run leave their results, and what depends on them,
 * uncalibrated. */
Status precision_calibrate(PrecisionWork *work);

#endif
