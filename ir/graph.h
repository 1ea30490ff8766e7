/* The typed graph that every pass works on.
 *
 * Ids, not pointers: values, nodes, blocks, regions and buffers are indices into one Graph's tables, never
 * reused, NONE = -1. A Graph holds one main block and the body blocks of control-flow nodes; a body may read
 * any value of the blocks around it by its id. Everything lives in the graph's arena. A removed node stays in
 * its table with op OP_NONE.
 *
 * Fusion does not invent operators: a Region is a run of consecutive nodes of one block that becomes one
 * step; its nodes stay primitive, so that whoever can run nodes can run regions. */
#ifndef SMELT_IR_GRAPH_H
#define SMELT_IR_GRAPH_H

#include "base/hash.h"
#include "ops/op.h"

typedef int32_t ValueId, NodeId, BlockId, RegionId, BufferId;
enum { NONE = -1, MAIN_BLOCK = 0, GRAPH_MAX_NESTING = 32 /* bodies within bodies */ };

typedef enum Layout { LAYOUT_PLAIN, LAYOUT_CHANNELS_LAST } Layout;

typedef struct Value {
    const char *name; /* as in the model, unique in the graph; generated names start with '%' */
    DType dtype;      /* DTYPE_NONE until inferred */
    bool has_shape;
    Shape shape;
    Layout layout;           /* of the elements in a GPU's memory; on the host every value is plain */
    int32_t channel_padding; /* channels added behind the real ones in memory; 0 in plain layout */
    NodeId producer;         /* NONE: constant, graph input or block parameter */
    int32_t output_index;    /* which output of producer */
    /* Elements where known. In the graph's arena or a mapped file, alive as long as the graph. */
    const void *data;
    const Dim *content; /* symbolic elements of small integer tensors, or NULL */
    /* Storage, set by plan_memory; NONE before and for constants. */
    BufferId buffer;
    Dim buffer_offset; /* bytes */
    /* Elements from one to the next along each dimension, where the value is a slice of a larger one; NULL:
     * dense, in its layout's order. In the graph's arena. */
    const Dim *strides;
} Value;

typedef struct Node {
    OpId op;          /* OP_NONE: removed */
    const char *name; /* for people; not unique; "" when the model gives none */
    /* ONNX nodes this came from, as the user knows them ("Conv_3"); more than one after folding. */
    int32_t origin_count;
    const char *const *origins;
    int32_t input_count, output_count;
    ValueId *inputs;  /* NONE where an optional input is omitted; no trailing NONE */
    ValueId *outputs; /* NONE where unwanted */
    AttrList attrs;
    const void *parsed; /* the operator's struct for attrs; kept in step by node_set_attrs */
    BlockId block;      /* where it stands */
    RegionId region;    /* NONE: a step of its own */
    int32_t place;      /* about where it stands in its block: where node_position begins to look */
} Node;

/* A list of nodes in topological order with parameters and results. */
typedef struct Block {
    const char *name;
    NodeId owner; /* the control-flow node whose body it is; NONE for the main block */
    int32_t param_count, result_count, node_count, node_capacity;
    ValueId *params;  /* graph inputs, or what the owner passes */
    ValueId *results; /* graph outputs, or what the owner receives */
    NodeId *nodes;
} Block;

/* What a region is built around decides which kernel family takes it. */
typedef struct Region {
    NodeId anchor;    /* the contraction, reduction, ...; NONE: a chain of pointwise nodes */
    const char *name; /* "conv+bias+relu" */
} Region;

/* A stretch of the arena. Values of one buffer are in-place results, views and slices of one another. */
typedef struct Buffer {
    Dim size;            /* bytes */
    int32_t first, last; /* steps during which it is alive */
    int64_t offset; /* in the arena, laid out at the symbols' maximum; -1 where some size has no maximum */
} Buffer;

typedef struct MemoryPlan {
    bool done;
    int32_t buffer_count;
    Buffer *buffers;
    int64_t arena_size,
        lower_bound; /* bytes at the symbols' maximum (at opt where there is no maximum); for reports */
    bool fixed;      /* offsets hold for every shape that the profile allows */
} MemoryPlan;

typedef struct OutputName {
    int32_t output;
    const char *name;
} OutputName;

typedef struct Graph {
    Arena *arena;
    const char *name;   /* the model's */
    const char *source; /* the file it came from, for messages */
    int32_t opset;      /* ai.onnx opset of the source, for messages */
    bool tf32;          /* contractions of f32 operands may round them to TF32 */
    DimTable *dims;
    int32_t value_count, value_capacity, node_count, node_capacity, block_count, block_capacity, region_count,
        region_capacity;
    Value *values;
    Node *nodes;
    Block *blocks;
    Region *regions;
    NameMap value_names;
    int32_t output_name_count, output_name_capacity;
    OutputName *output_names; /* of outputs that are not called as their value: an input may have the name */
    MemoryPlan memory;
} Graph;

/* All of these return NULL / NONE / false when out of memory. Pointers to table rows hold until the next row
 * is added. */
Graph *graph_create(Arena *arena, const char *name);

/* name NULL or taken: a fresh one is made ("%12", or "name.1"). */
ValueId graph_add_value(Graph *graph, const char *name);
/* A constant; data is shared and must outlive the graph. dims are exact. */
ValueId graph_add_constant(Graph *graph, const char *name, DType dtype, int32_t rank, const int64_t *dims,
                           const void *data);
ValueId graph_add_constant_i64(Graph *graph, const char *name, int32_t count,
                               const int64_t *values); /* 1-D, copied */
ValueId graph_find_value(const Graph *graph, const char *name);
BlockId graph_add_block(Graph *graph, const char *name, NodeId owner);
bool block_add_param(Graph *graph, BlockId block, ValueId value);
bool block_add_result(Graph *graph, BlockId block, ValueId value);
/* Outputs are called as their values, which are unique in the graph, and are not to be renamed by passes
 * (graph_swap_names); this gives the main block's result `output` a name of its own, copied. */
bool graph_name_output(Graph *graph, int32_t output, const char *name);
const char *graph_output_name(const Graph *graph, int32_t output);
/* The main block, or the body of a node that stands in a live block. */
bool block_is_live(const Graph *graph, BlockId block);

/* Appends a node to block, or puts it before / behind another. Parses attrs (copied) and fails with the
 * parser's words; sets producer of the outputs, which must have none (BAD_MODEL), and becomes the owner of
 * the blocks that attrs name. Body blocks are thus made first, with owner NONE. Trailing NONE inputs are
 * cut. */
Status graph_add_node(Graph *graph, BlockId block, OpId op, const char *name, const AttrList *attrs,
                      int32_t input_count, const ValueId *inputs, int32_t output_count,
                      const ValueId *outputs, NodeId *out, Diag *diag);
Status graph_insert_node(Graph *graph, NodeId anchor, bool before, OpId op, const char *name,
                         const AttrList *attrs, int32_t input_count, const ValueId *inputs,
                         int32_t output_count, const ValueId *outputs, NodeId *out, Diag *diag);
/* Replaces attributes and parses them again. */
Status node_set_attrs(Graph *graph, NodeId node, const AttrList *attrs, Diag *diag);
/* Takes the node out of its block; its outputs lose their producer. Its body blocks become unreachable. */
void graph_remove_node(Graph *graph, NodeId node);
/* Sets a block's list to these nodes, which must be a selection or reordering of its present ones. */
void block_set_nodes(Graph *graph, BlockId block, int32_t count, const NodeId *nodes);
/* Moves all nodes of `body` to directly before `node`, which keeps its place. */
bool block_splice(Graph *graph, NodeId node, BlockId body);
/* Every use of `from` (node inputs, block results, in all blocks) becomes `to`. Graph outputs are known to
 * users by the name of their value: see graph_swap_names. Linear in the graph's size. */
void graph_replace_uses(Graph *graph, ValueId from, ValueId to);
/* Exchanges the names of two values, so that an output keeps its name when another value takes its place. */
bool graph_swap_names(Graph *graph, ValueId a, ValueId b);
/* What people call a node: its name, else that of its first result. */
const char *node_title(const Graph *graph, NodeId node);
/* Appends the ONNX origins of `from` to those of `to`. */
bool node_add_origins(Graph *graph, NodeId to, NodeId from);
/* Position in its block. */
int32_t node_position(const Graph *graph, NodeId node);
/* Moves a node within its block, directly before another. */
void node_move_before(Graph *graph, NodeId node, NodeId before);
RegionId graph_add_region(Graph *graph, NodeId anchor, const char *name);

static inline bool value_is_constant(const Graph *g, ValueId v) {
    return v != NONE && g->values[v].data != NULL;
}
/* It was not removed, and stands in the main block or in the body of such a node. */
static inline bool node_is_live(const Graph *g, NodeId n) {
    return n >= 0 && n < g->node_count && g->nodes[n].op != OP_NONE && block_is_live(g, g->nodes[n].block);
}
/* Whether the node at a place of its block begins a step: a region is one step, any other node is its own. */
static inline bool node_starts_step(const Graph *g, const Block *block, int32_t position) {
    RegionId region = g->nodes[block->nodes[position]].region;
    return position == 0 || region == NONE || region != g->nodes[block->nodes[position - 1]].region;
}
/* The place where the step begins that the node at a place of its block belongs to. */
static inline int32_t step_begin(const Graph *g, const Block *block, int32_t position) {
    while (!node_starts_step(g, block, position)) --position;
    return position;
}
/* The place behind the step that the node at a place of its block belongs to. */
static inline int32_t step_end(const Graph *g, const Block *block, int32_t position) {
    int32_t end = position + 1;
    while (end < block->node_count && !node_starts_step(g, block, end)) ++end;
    return end;
}
/* -- where elements lie (storage.c) -- */

/* The dimensions of a tensor of that rank as memory has them, slowest first: [N, C, spatial...] or
 * [N, spatial..., C]. Below rank 3 both layouts are the same. */
void layout_order(Layout layout, int32_t rank, int32_t order[SMELT_MAX_RANK]);
/* Elements from one to the next along each dimension of a shape that lies in this layout without gaps but
 * for the padding behind its channels. */
void layout_strides(DimTable *dims, Layout layout, int32_t channel_padding, const Shape *shape,
                    Dim strides[SMELT_MAX_RANK]);
/* The same of a value as it lies in memory, which may be a slice. */
void value_strides(const Graph *graph, ValueId value, Dim strides[SMELT_MAX_RANK]);
/* Row-major without gaps, as the host has every value. */
bool value_is_plain(const Value *value);
/* Elements of memory from its first to behind its last: more than it has where it is a slice. */
Dim value_span(const Graph *graph, ValueId value);

/* -- parts of larger values (parts.c) -- */

typedef struct Part {
    ValueId part, whole; /* part NONE: not wanted */
    bool known;          /* where it begins */
    Dim start[SMELT_MAX_RANK];
} Part;
/* The inputs of a Concat, the outputs of a Split or Slice, in order; none of other operators. In arena;
 * false: out of memory. */
bool parts_find(const Graph *graph, NodeId node, Arena *arena, Part **out, int32_t *count);
/* Elements from the whole's first to the part's, in memory. */
Dim part_offset(const Graph *graph, const Part *part);
/* The memory plan has the part where it lies in the whole: nothing is to be copied. */
bool part_is_in_place(const Graph *graph, const Part *part);
/* Of all the node's parts, of which there are some. */
bool parts_are_in_place(const Graph *graph, NodeId node, Arena *arena);

/* Elements of an exact shape. */
int64_t value_count(const Value *value);
bool value_is_exact(const Value *value); /* has a shape, and every dim is exact */

/* Who uses a value, computed at once for a whole graph into arena; valid until the graph changes. */
typedef struct UseTable {
    int32_t value_count; /* values that there were */
    int32_t *first;      /* uses of value v are uses[first[v]] .. uses[first[v + 1] - 1] */
    struct Use {
        NodeId node; /* NONE: a result of `block` */
        BlockId block;
        int32_t index; /* which input or result */
    } * uses;
} UseTable;
bool use_table_build(const Graph *graph, Arena *arena, UseTable *out);
/* 0 for a value that is newer than the table. */
static inline int32_t use_count(const UseTable *t, ValueId v) {
    return v < t->value_count ? t->first[v + 1] - t->first[v] : 0;
}

/* A copy of the graph's tables to look at later, in arena; the ids are the same. Names, constants,
 * attributes' values and dimensions are the graph's own, which must outlive it. It has no table of names.
 * NULL: no memory. */
const Graph *graph_snapshot(const Graph *graph, Arena *arena);

/* One context line for messages: "node 'blk.3/Softmax' (Softmax)"; unnamed nodes are shown by their first
 * output. */
void diag_node(Diag *diag, const Graph *graph, NodeId node);
void diag_value(Diag *diag, const Graph *graph, ValueId value);

/* Checks every rule of graph_verify.c and returns INTERNAL (or BAD_MODEL for graphs parsed from text: pass
 * the status to use) with one message for the first rule broken. */
Status graph_verify(const Graph *graph, Status failure, Diag *diag);

/* Stable text form (docs/ir.md); constants over 16 elements go to `blob` (a file that grows by content,
 * shared by the dumps of a build) and are referred to by offset. graph_print writes to out; blob may be NULL:
 * then all constants are in the text. */
typedef struct ConstantBlob ConstantBlob;
Status graph_print(const Graph *graph, ConstantBlob *blob, ByteWriter *out, Diag *diag);
/* folder: where the blob named in the text is looked for. source names the text in messages, with line
 * numbers. */
Status graph_parse(const char *text, size_t size, const char *source, const char *folder, Arena *arena,
                   Graph **out, Diag *diag);

/* Opens the blob for a dump folder (D/constants.bin); closes and commits it. */
Status constant_blob_open(Arena *arena, const char *folder, ConstantBlob **out, Diag *diag);
Status constant_blob_close(ConstantBlob *blob, Diag *diag);

#endif
