/* Patterns of primitive nodes, written as formulas, and their matching.
 *
 *     x * Sigmoid(x)
 *     0.5 * x * (1 + Erf(0.70710678118654752 * x))
 *     (x - m:ReduceMean(x)) / Sqrt(ReduceMean((x - m)^2) + $epsilon) * scale + bias
 *     MatMul(Softmax($factor * MatMul(q, k) + mask), v)
 *
 * A lower-case name stands for any value, the same one wherever it occurs; `m:` names the value that what
 * follows matches. A number stands for a constant whose elements are all that number, up to the rounding of
 * its type. `$name` stands for any such constant; in a product or sum it takes all the constants that are
 * left, or 1 or 0 where there are none. Op(...) is a node of that operator; what comes after its inputs are
 * the attributes of a pointwise operator; of reductions and reshapes only the first input is written (axes
 * and shapes are seen in the matched values), and Reshape is any node that gives its input another shape.
 *
 * Products and sums match however the graph associates, orders and spells them: Mul, Div, Neg, Reciprocal,
 * Sqrt and Pow, Add and Sub. Parentheses stay as they are: `x * (a * b)` takes a product that is a value of
 * its own. Each factor or term of the pattern takes one of the graph's, and only constants may be left. */
#ifndef SMELT_PASSES_PATTERN_H
#define SMELT_PASSES_PATTERN_H

#include "ir/graph.h"

typedef struct Pattern Pattern;

enum { MATCH_NAMES = 12, MATCH_NODES = 40, PATTERN_ITEMS = 6 };

typedef enum PatternKind {
    PATTERN_NUMBER,
    PATTERN_ANY_NUMBER,
    PATTERN_NAME,
    PATTERN_CALL,
    PATTERN_PRODUCT,
    PATTERN_SUM
} PatternKind;

struct Pattern {
    PatternKind kind;
    OpId op;          /* CALL */
    const char *name; /* NAME, ANY_NUMBER; else the label, or NULL */
    double number;    /* NUMBER; the constant part of a product or sum */
    const char *rest; /* product, sum: the name of the constants that are left, or NULL */
    int32_t count;    /* arguments, factors or terms; names stand last among factors and terms */
    Pattern *items[PATTERN_ITEMS];
    double weights[PATTERN_ITEMS]; /* exponents of factors, signs of terms */
};

typedef struct MatchName {
    const char *name;
    ValueId value; /* NONE: a number */
    double number;
    bool is_label; /* names what a part of the pattern matches, not an operand */
} MatchName;

typedef struct Match {
    NodeId root;
    int32_t name_count, node_count;
    MatchName names[MATCH_NAMES];
    NodeId nodes[MATCH_NODES]; /* all that the pattern covers, root first */
    /* Only where matching was lenient: the first number that is another one. */
    bool has_wrong_number;
    double found, expected;
} Match;

/* Text that is no formula is INTERNAL. The text must live as long as the pattern. */
Status pattern_parse(const char *text, Arena *arena, const Pattern **out, Diag *diag);

/* A node of this operator can be the last one of a match. */
bool pattern_ends_with(const Pattern *pattern, OpId op);

/* Matches the value that a node makes. All covered nodes stand in its block. lenient: to find out why there
 * is no match, numbers may differ, and products and sums go on through values that others use too. */
bool pattern_match(const Pattern *pattern, const Graph *graph, const UseTable *uses, NodeId root,
                   bool lenient, Match *out);

/* What a name stands for: NONE where it is a number or not in the pattern; 0 where it is no number. */
ValueId match_value(const Match *match, const char *name);
double match_number(const Match *match, const char *name);
/* The node that makes the named value. */
const Node *match_node(const Graph *graph, const Match *match, const char *name);

/* The one number that all elements of a constant are. */
bool value_is_uniform(const Graph *graph, ValueId value, double *out);
/* Equal up to the rounding of the type (and of what came of it in a few operations). */
bool numbers_agree(DType dtype, double a, double b);
/* Reshape, Squeeze, Unsqueeze, Flatten. */
bool op_is_reshape(OpId op);

#endif
