/* State that the importer's files share. Not for other folders. */
#ifndef SMELT_FRONTEND_IMPORTER_H
#define SMELT_FRONTEND_IMPORTER_H

#include "frontend/import.h"
#include "frontend/proto.h"

enum {
    MIN_IR_VERSION = 3,
    KNOWN_IR_VERSION = 13, /* newer ones are read with a warning */
    MAX_IR_VERSION = 99,
    MIN_OPSET = 6, /* before, only operators that have not changed since */
    MAX_OPSET = 27,
    MAX_DEPTH = 64,           /* of body graphs and inlined functions within one another */
    MAX_NODES = 1 << 18,      /* after inlining */
    MAX_ATTRIBUTES = 1 << 12, /* of one node */
    MAX_OPERANDS = INT16_MAX, /* inputs or outputs of one node */
    MAX_OPSETS = 1 << 10,     /* imported by a model or function */
    MAX_DENSIFIED = 1 << 28   /* bytes of all sparse tensors, written out */
};

struct Scope;

/* A call of a model-local function that is being inlined. */
typedef struct Call {
    const Onnx__FunctionProto *function;
    const Onnx__NodeProto *node; /* the calling node: its attributes are the arguments */
    struct Scope *caller;        /* where those were written */
    const char *prefix;          /* "layer1/": before the names of the function's values and nodes */
} Call;

/* The names that the nodes of one graph, body or inlined function see. Keys are borrowed from the message;
 * maps live in the importer's scratch arena. */
typedef struct Scope {
    struct Scope *outer; /* a body's surroundings; NULL for the model's graph and for functions */
    const Call *call;    /* the innermost function that this is part of, or NULL */
    BlockId block;
    NameMap names;  /* name -> what it means, see scope_find */
    NameMap wanted; /* a function's output -> the caller's ValueId */
    NameMap hints;  /* declared types: name -> element type and rank, see scope.c */
} Scope;

typedef struct Guess Guess;

typedef struct Importer {
    Model *model;
    Graph *graph;
    Arena *arena;  /* the graph's */
    Arena scratch; /* the message and everything that only the import needs */
    const ImportOptions *options;
    const Onnx__ModelProto *proto;
    const uint8_t *bytes; /* the file, where raw tensor data are */
    bool bytes_stay;      /* they outlive the graph: tensors may point into them */
    const char *folder;   /* of external data; NULL: refused */
    NameMap external;     /* path -> index into model->external */
    int32_t external_capacity;
    NameMap functions; /* function_key -> index into proto->functions */
    NameMap dims;      /* named dims that the user's shapes fix -> index into fixed_dims */
    int64_t *fixed_dims;
    int32_t fixed_count, fixed_capacity;
    Guess *guesses; /* per value, see guess.c */
    int32_t guess_count;
    int32_t depth, node_count;
    size_t densified; /* bytes of sparse tensors so far */
    Diag *diag;
} Importer;

/* -- tensor_data.c -- */

/* Elements, shape and type of a tensor message. data points into the mapped file where its alignment permits,
 * else into the graph's arena. */
Status import_tensor(Importer *im, const Onnx__TensorProto *proto, Tensor *out);
/* The same for a sparse tensor, written out densely. */
Status import_sparse_tensor(Importer *im, const Onnx__SparseTensorProto *proto, Tensor *out);

/* -- attributes.c -- */

/* The node's attributes as the operators read them; references to a function's attributes are resolved, body
 * graphs become blocks. */
Status import_attributes(Importer *im, Scope *scope, const Onnx__NodeProto *node, AttrList *out);
/* The attribute that `attr`, written in *scope, stands for, and where that was written; NULL when it refers
 * to one that the caller omits and that has no default. */
Status resolve_attribute(Importer *im, Scope **scope, const Onnx__AttributeProto **attr);
/* ONNX's number of the attribute's type; from the fields in use when it is not stated. 0: nothing is set. */
int attribute_type(const Onnx__AttributeProto *attr);

enum {
    ATTRIBUTE_FLOAT = 1,
    ATTRIBUTE_INT,
    ATTRIBUTE_STRING,
    ATTRIBUTE_TENSOR,
    ATTRIBUTE_GRAPH,
    ATTRIBUTE_FLOATS,
    ATTRIBUTE_INTS,
    ATTRIBUTE_STRINGS,
    ATTRIBUTE_TENSORS,
    ATTRIBUTE_GRAPHS,
    ATTRIBUTE_SPARSE_TENSOR,
    ATTRIBUTE_SPARSE_TENSORS,
    ATTRIBUTE_TYPE_PROTO,
    ATTRIBUTE_TYPE_PROTOS
};

/* -- import_graph.c -- */

Status import_main_graph(Importer *im);
/* The body graph of a control-flow node as a new block, with `outer` around it. */
Status import_body(Importer *im, Scope *outer, const Onnx__GraphProto *graph, BlockId *out);
/* A new constant that `name` means in scope. */
Status define_constant(Importer *im, Scope *scope, const char *name, const Tensor *tensor);
Status add_identity(Importer *im, BlockId block, ValueId from, ValueId to, const char *origin);
/* Nodes in an order in which every value is there before it is read. */
Status import_nodes(Importer *im, Scope *scope, size_t count, Onnx__NodeProto *const *nodes);

/* -- scope.c -- */

/* An output that a rewrite has left out, as only training has it. */
enum { SCOPE_DROPPED = -2 };

/* The value that `name` means in scope; false when there is none. *out is NONE for a function's input that
 * the caller omits. */
bool scope_find(const Scope *scope, const char *name, ValueId *out);
/* The same, failing for names that cannot be read: "input 2 'w' is ...". */
Status scope_read(Importer *im, const Scope *scope, const char *what, size_t index, const char *name,
                  ValueId *out);
bool scope_has_own(const Scope *scope, const char *name);
/* Makes the value that `name` means in this scope from now on. */
Status scope_define(Importer *im, Scope *scope, const char *name, ValueId *out);
Status scope_bind(Importer *im, Scope *scope, const char *name, ValueId value);
Status scope_hint(Importer *im, Scope *scope, const Onnx__ValueInfoProto *info);
/* The opset of a domain ("" = "ai.onnx") for nodes in scope; 0 when it is not imported. */
int64_t scope_opset(const Importer *im, const Scope *scope, const char *domain);
/* "" for ai.onnx. */
const char *domain_of(const char *domain);
/* What users call a node: its name, or "Conv_12" from operator and index; with the prefix of inlined calls.
 */
const char *node_label(Importer *im, const Scope *scope, const Onnx__NodeProto *node, size_t index);

/* -- guess.c -- */

/* The element type that a value will most likely have; F32 where nothing is known. Only for constants that
 * rewrites make beside it: inference decides. */
DType dtype_of(const Importer *im, ValueId value);
/* Its rank, -1 where it does not show. */
int32_t rank_of(const Importer *im, ValueId value);
Status guess_set(Importer *im, ValueId value, DType dtype);
Status guess_rank(Importer *im, ValueId value, int32_t rank);
/* For the outputs of a node that was just added. */
Status guess_outputs(Importer *im, NodeId node);

/* -- import_inputs.c -- */

/* The model's inputs that are not initializers become parameters of the main block. */
Status import_inputs(Importer *im, Scope *scope, const Onnx__GraphProto *graph);

/* Refuses what is declared as something other than a tensor of numbers. */
Status check_tensor_type(Importer *im, const Onnx__ValueInfoProto *info);

/* -- import_node.c -- */

Status import_node(Importer *im, Scope *scope, const Onnx__NodeProto *node, size_t index);
/* The one ONNX node that a node of the graph came from. */
Status set_origin(Importer *im, NodeId node, const char *origin);

/* -- functions.c -- */

Status functions_index(Importer *im);
/* The index of the function that the node calls; -1: it calls none. */
int32_t function_find(Importer *im, const Onnx__NodeProto *node);
Status import_call(Importer *im, Scope *scope, const Onnx__NodeProto *node, const char *label,
                   const Onnx__FunctionProto *function);

/* -- sort.c -- */

/* order[0 .. count) (scratch): the nodes' indices, each behind those that it reads from; file order where
 * possible. Refuses names that are defined twice, and cycles. */
Status sort_nodes(Importer *im, const Scope *scope, size_t count, Onnx__NodeProto *const *nodes,
                  int32_t **order);

/* -- unsupported.c -- */

/* Fails with one message about all operators of the model that nothing here knows. */
Status check_operators(Importer *im);

#endif
