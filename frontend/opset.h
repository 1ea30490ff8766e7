/* Opset history: every older form of an operator becomes its newest, so that the rest of smelt sees one
 * meaning per operator. */
#ifndef SMELT_FRONTEND_OPSET_H
#define SMELT_FRONTEND_OPSET_H

#include "frontend/importer.h"

/* A node between the message and the graph. A rewrite changes it in place and may add nodes before it through
 * the functions below. */
typedef struct Form {
    Importer *im;
    const Onnx__NodeProto *node; /* the message, for what else it declares; only read */
    const char *domain, *op;
    int64_t opset;      /* of its domain, as imported */
    const char *name;   /* "" when the model gives none */
    const char *origin; /* what users call it */
    BlockId block;
    int32_t input_count, output_count;
    ValueId *inputs, *outputs; /* NONE where omitted */
    uint64_t read;             /* bit i: form_input has handed out input i */
    AttrList attrs;
    Status status; /* the first failure of the functions below, which then do nothing more */
} Form;

typedef Status (*Rewrite)(Form *form);

/* OP names of a domain for opsets first .. last become something else. `needs` lists the operators that the
 * rewrite makes besides the node's own ("Flatten Shape Reshape"), or after '=' instead of it ("=Mul Add"). */
typedef struct OpsetRow {
    const char *domain, *op;
    int16_t first, last;
    Rewrite rewrite;
    const char *needs;
} OpsetRow;

/* An operator of the table, or one whose rewrite leads there. */
bool operator_is_known(const char *domain, const char *op, int64_t opset);
/* Rewrites the node where its opset asks for it, and adds it to the graph. */
Status form_import(Form *form);

/* -- for rewrites (rewrite.c) -- */

ValueId form_input(Form *form, int32_t index);
/* The same; refuses a node without it. */
ValueId form_required(Form *form, int32_t index);
/* Sets an input, growing the list; earlier ones that were not there are omitted. */
void form_set_input(Form *form, int32_t index, ValueId value);
/* The node becomes `op` of ai.onnx with these inputs; attributes stay. Refuses a node that had inputs which
 * nobody has read: there are too many. */
#define FORM_BECOME(form, op, ...)                                                                           \
    form_become((form), (op), (int32_t)(sizeof(ValueId[]){__VA_ARGS__} / sizeof(ValueId)),                   \
                (ValueId[]){__VA_ARGS__})
void form_become(Form *form, const char *op, int32_t count, const ValueId *inputs);
/* A node of its own before this one; attrs may be NULL. Returns its first output. */
#define FORM_NODE(form, op, attrs, ...)                                                                      \
    form_node((form), (op), (attrs), (int32_t)(sizeof(ValueId[]){__VA_ARGS__} / sizeof(ValueId)),            \
              (ValueId[]){__VA_ARGS__})
ValueId form_node(Form *form, const char *op, const AttrList *attrs, int32_t count, const ValueId *inputs);
ValueId form_ints(Form *form, int32_t count, const int64_t *values); /* 1-D */
ValueId form_int(Form *form, int64_t value);                         /* 1-D of one element */
/* A scalar / 1-D constant of the element type that `like` has. */
ValueId form_scalar(Form *form, ValueId like, double value);
ValueId form_floats(Form *form, ValueId like, int32_t count, const float *values);

/* The rank of a value as far as it can be seen without inference; -1: not. */
int32_t form_rank(const Form *form, ValueId value);

/* Attributes of the node; a wrong kind sets form->status. */
int64_t form_attr_int(Form *form, const char *name, int64_t fallback);
float form_attr_float(Form *form, const char *name, float fallback);
const char *form_attr_string(Form *form, const char *name, const char *fallback);
/* count -1: absent. */
const int64_t *form_attr_ints(Form *form, const char *name, int32_t *count);
const float *form_attr_floats(Form *form, const char *name, int32_t *count);
void form_set_int(Form *form, const char *name, int64_t value);
void form_set_string(Form *form, const char *name, const char *value);
/* For attr_set_* on lists of one's own: false is out of memory. */
void form_note_attr(Form *form, bool good);
/* Adds a node as it is. */
Status form_add(Form *form, const char *domain, const char *op, const char *name, const AttrList *attrs,
                int32_t input_count, const ValueId *inputs, int32_t output_count, const ValueId *outputs);
/* Fails the rewrite with this text. */
Status form_refuse(Form *form, const char *why);

#endif
