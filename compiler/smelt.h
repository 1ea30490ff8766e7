/* smelt's compiler: models to plans, graphs by hand, and passes of one's own. This header and the runtime's
 * are all that a program (link libsmelt) or a plugin needs.
 *
 *     smelt_graph_load("model.onnx", NULL, 0, &graph, &error);
 *     smelt_builder_create(&builder, &error);
 *     smelt_builder_set(builder, "target", "cpu", &error);
 *     smelt_build(builder, graph, &plan, &error);
 *     smelt_plan_save(plan, "model.plan", &error);
 *
 * As in the runtime, functions that can fail return 0 (SMELT_OK) or a SmeltStatus and fill *error, which may
 * be NULL; nothing prints, exits or aborts; a handle is for one thread at a time; destroy functions accept
 * NULL. Texts and arrays that functions return belong to the graph and hold until it is changed, unless it
 * says otherwise. */
#ifndef SMELT_H
#define SMELT_H

#include "runtime/smelt_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; goes up when something that is here changes. A plugin is refused where it differs. */
enum { SMELT_INTERFACE = 1 };

typedef struct SmeltGraph SmeltGraph;
typedef struct SmeltPass SmeltPass; /* one that is running */
typedef struct SmeltBuilder SmeltBuilder;
typedef struct SmeltPlan SmeltPlan;

/* Numbers within a graph, never used again for something else. */
typedef int32_t SmeltNode, SmeltValue;
enum { SMELT_NONE = -1 }; /* an omitted input, an output that is not wanted */

/* Element types have ONNX's numbers (smelt_runtime.h): 1 = float32, 7 = int64, ...
 *
 * A dimension is a number that is not negative, or a negative number that stands for an expression over
 * symbols ("2*h + 1"): within a graph, equal numbers are equal dimensions. */

/* -- graphs -- */

/* Of an input of a model: dims below 0 stay dynamic, within [min, max], tuned for opt, where max is not 0. */
typedef struct SmeltInputShape {
    const char *name;
    int rank;
    int64_t dims[SMELT_RANK_LIMIT];
    int64_t min_dims[SMELT_RANK_LIMIT], opt_dims[SMELT_RANK_LIMIT], max_dims[SMELT_RANK_LIMIT];
} SmeltInputShape;

/* From an ONNX model, or from the text form (a path that ends in .ir; it takes no shapes). */
SMELT_API int smelt_graph_load(const char *path, const SmeltInputShape *shapes, int shape_count,
                               SmeltGraph **graph, SmeltError *error);
/* From the bytes of an ONNX model, which may go afterwards. folder: where its external data may lie; NULL: it
 * may have none. */
SMELT_API int smelt_graph_load_memory(const void *bytes, size_t size, const char *folder,
                                      const SmeltInputShape *shapes, int shape_count, SmeltGraph **graph,
                                      SmeltError *error);
/* An empty one. */
SMELT_API int smelt_graph_create(const char *name, SmeltGraph **graph, SmeltError *error);
SMELT_API void smelt_graph_destroy(SmeltGraph *graph);
/* Every rule that the compiler asks of graphs between passes. */
SMELT_API int smelt_graph_verify(SmeltGraph *graph, SmeltError *error);
/* The text form, as --dump-dir writes it; holds until the next call. NULL: out of memory. */
SMELT_API const char *smelt_graph_text(SmeltGraph *graph);

/* -- looking at a graph -- */

/* Nodes in the order in which they run; those of the bodies of If, Loop and Scan follow behind the others.
 * Ask for the next one before you remove a node. */
SMELT_API SmeltNode smelt_graph_first_node(const SmeltGraph *graph);
SMELT_API SmeltNode smelt_graph_next_node(const SmeltGraph *graph, SmeltNode node);
SMELT_API int smelt_graph_input_count(const SmeltGraph *graph);
SMELT_API SmeltValue smelt_graph_input(const SmeltGraph *graph, int index);
SMELT_API int smelt_graph_output_count(const SmeltGraph *graph);
SMELT_API SmeltValue smelt_graph_output(const SmeltGraph *graph, int index);
SMELT_API SmeltValue smelt_graph_find_value(const SmeltGraph *graph, const char *name);

/* "Conv", in its newest opset's meaning; NULL for a node that was removed, or never was. */
SMELT_API const char *smelt_node_op(const SmeltGraph *graph, SmeltNode node);
SMELT_API const char *smelt_node_domain(const SmeltGraph *graph, SmeltNode node); /* "": ai.onnx */
SMELT_API const char *smelt_node_name(const SmeltGraph *graph, SmeltNode node);   /* may be "" */
SMELT_API int smelt_node_input_count(const SmeltGraph *graph, SmeltNode node);
SMELT_API SmeltValue smelt_node_input(const SmeltGraph *graph, SmeltNode node, int index);
SMELT_API int smelt_node_output_count(const SmeltGraph *graph, SmeltNode node);
SMELT_API SmeltValue smelt_node_output(const SmeltGraph *graph, SmeltNode node, int index);
/* The nodes of the ONNX model that it stands for. */
SMELT_API int smelt_node_origin_count(const SmeltGraph *graph, SmeltNode node);
SMELT_API const char *smelt_node_origin(const SmeltGraph *graph, SmeltNode node, int index);

/* Attributes; fallback, or NULL, where there is none of that name and kind. */
SMELT_API int64_t smelt_node_int(const SmeltGraph *graph, SmeltNode node, const char *name, int64_t fallback);
SMELT_API float smelt_node_float(const SmeltGraph *graph, SmeltNode node, const char *name, float fallback);
SMELT_API const char *smelt_node_string(const SmeltGraph *graph, SmeltNode node, const char *name);
SMELT_API const int64_t *smelt_node_ints(const SmeltGraph *graph, SmeltNode node, const char *name,
                                         int *count);
SMELT_API const float *smelt_node_floats(const SmeltGraph *graph, SmeltNode node, const char *name,
                                         int *count);

SMELT_API const char *smelt_value_name(const SmeltGraph *graph, SmeltValue value);
SMELT_API int smelt_value_dtype(const SmeltGraph *graph, SmeltValue value); /* 0: not known yet */
SMELT_API int smelt_value_rank(const SmeltGraph *graph, SmeltValue value);  /* -1: not known yet */
SMELT_API int64_t smelt_value_dim(const SmeltGraph *graph, SmeltValue value, int axis);
/* "f32[batch, 64]"; NULL: out of memory. */
SMELT_API const char *smelt_value_type(SmeltGraph *graph, SmeltValue value);
/* The node that computes it; SMELT_NONE for inputs and constants. */
SMELT_API SmeltNode smelt_value_producer(const SmeltGraph *graph, SmeltValue value);
/* Who reads it, with repetition; node SMELT_NONE: it is a result of the graph or of a body. The first call
 * behind a change takes time in proportion to the graph. -1: out of memory. */
SMELT_API int smelt_value_reader_count(SmeltGraph *graph, SmeltValue value);
SMELT_API SmeltNode smelt_value_reader(SmeltGraph *graph, SmeltValue value, int index, int *input);
/* The elements of a constant, row-major; NULL for other values. size (may be NULL): bytes. */
SMELT_API const void *smelt_value_data(const SmeltGraph *graph, SmeltValue value, size_t *size);
/* Elements of a constant, and one of them as a number, whatever its type; 0 for other values. */
SMELT_API int64_t smelt_value_count(const SmeltGraph *graph, SmeltValue value);
SMELT_API double smelt_value_element(const SmeltGraph *graph, SmeltValue value, int64_t index);

/* -- changing a graph -- */

/* A symbol for dimensions of inputs; max INT64_MAX: none. */
SMELT_API int smelt_graph_add_symbol(SmeltGraph *graph, const char *name, int64_t min, int64_t opt,
                                     int64_t max, int64_t *dim, SmeltError *error);
SMELT_API int smelt_graph_add_input(SmeltGraph *graph, const char *name, int dtype, int rank,
                                    const int64_t *dims, SmeltValue *value, SmeltError *error);
SMELT_API int smelt_graph_add_output(SmeltGraph *graph, SmeltValue value, SmeltError *error);
/* The elements are copied. name NULL: a new one is made up, here and below. */
SMELT_API int smelt_graph_add_constant(SmeltGraph *graph, const char *name, int dtype, int rank,
                                       const int64_t *dims, const void *data, SmeltValue *value,
                                       SmeltError *error);

typedef enum SmeltAttributeKind {
    SMELT_ATTRIBUTE_INT = 1,
    SMELT_ATTRIBUTE_FLOAT,
    SMELT_ATTRIBUTE_STRING,
    SMELT_ATTRIBUTE_INTS,
    SMELT_ATTRIBUTE_FLOATS
} SmeltAttributeKind;

typedef struct SmeltAttribute {
    const char *name;
    int kind; /* SmeltAttributeKind */
    int count;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
} SmeltAttribute;

typedef struct SmeltNodeSpec {
    const char *op, *domain; /* domain NULL: ai.onnx */
    const char *name;        /* for people; may be NULL */
    int input_count;
    const SmeltValue *inputs;
    int output_count; /* 0 is taken for 1 */
    const char *const *output_names;
    int attribute_count;
    const SmeltAttribute *attributes;
} SmeltNodeSpec;

/* Adds a node directly before another (SMELT_NONE: at the end of the graph), with results of its own. Where
 * the graph has types the results get theirs at once: operands that do not fit are refused with the
 * operator's words. */
SMELT_API int smelt_graph_add_node(SmeltGraph *graph, SmeltNode before, const SmeltNodeSpec *spec,
                                   SmeltNode *node, SmeltError *error);
SMELT_API int smelt_node_set_input(SmeltGraph *graph, SmeltNode node, int index, SmeltValue value,
                                   SmeltError *error);
SMELT_API int smelt_node_set_attribute(SmeltGraph *graph, SmeltNode node, const SmeltAttribute *attribute,
                                       SmeltError *error);
SMELT_API int smelt_node_remove_attribute(SmeltGraph *graph, SmeltNode node, const char *name,
                                          SmeltError *error);
/* `to` also stands for the ONNX nodes that `from` stands for. */
SMELT_API int smelt_node_take_origins(SmeltGraph *graph, SmeltNode to, SmeltNode from, SmeltError *error);
/* Whatever reads `from` reads `to`. An output of the graph keeps its name, which goes over to `to`;
 * SMELT_UNSUPPORTED, and nothing changed, where `to` cannot bear it: an input, a constant, another output. */
SMELT_API int smelt_graph_replace(SmeltGraph *graph, SmeltValue from, SmeltValue to, SmeltError *error);
/* The value, of known type and exact shape, becomes a constant with these elements (copied). */
SMELT_API int smelt_graph_make_constant(SmeltGraph *graph, SmeltValue value, const void *data, size_t size,
                                        SmeltError *error);
/* Nobody may read its results any more by the end of the pass. */
SMELT_API int smelt_graph_remove_node(SmeltGraph *graph, SmeltNode node, SmeltError *error);

/* -- passes -- */

typedef struct SmeltPassSpec {
    const char *name;  /* "replace_hard_swish": small letters, digits and _ */
    const char *what;  /* one line */
    const char *place; /* "after=fold_batch_norm" or "before=..."; docs/passes.md lists the passes */
    /* Behind it the graph is verified. What it returns other than SMELT_OK ends the build with *error. */
    int (*run)(SmeltPass *pass, SmeltGraph *graph, SmeltError *error);
    void *user;
} SmeltPassSpec;

SMELT_API void *smelt_pass_user(const SmeltPass *pass);
/* Adds to a counter of the pass ("replaced"), which --verbose, --why and studies show. */
SMELT_API void smelt_pass_count(SmeltPass *pass, const char *counter, int64_t amount);
/* Says why something that the pass might have done to a node was not; for `smelt inspect --why`. */
SMELT_API void smelt_pass_reject(SmeltPass *pass, SmeltNode node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Fills *error (may be NULL) and returns status. */
SMELT_API int smelt_fail(SmeltError *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a shared object for --plugin-pass gives: it defines
 *     SMELT_PLUGIN const SmeltPlugin *smelt_plugin(void);  */
typedef struct SmeltPlugin {
    int interface; /* SMELT_INTERFACE; stays the first field for ever */
    int pass_count;
    const SmeltPassSpec *passes;
} SmeltPlugin;
#define SMELT_PLUGIN __attribute__((visibility("default")))

/* -- building -- */

SMELT_API int smelt_builder_create(SmeltBuilder **builder, SmeltError *error);
SMELT_API void smelt_builder_destroy(SmeltBuilder *builder);
/* The options of `smelt build` by their names: "target" (cpu is the default), "gpu" ("sm_80,h100,./my.gpu";
 * none need be there), "precision" ("fp16": by rules and the ranges of constants, without calibration),
 * "disable-pass" (may be given several times), "tactics" ("+conv_tf32x3", for cuda), "dump-dir", "cache-dir",
 * "threads", "plugin-pass". */
SMELT_API int smelt_builder_set(SmeltBuilder *builder, const char *option, const char *value,
                                SmeltError *error);
/* A pass of the program's own, besides those of plugins. Strings are copied. */
SMELT_API int smelt_builder_add_pass(SmeltBuilder *builder, const SmeltPassSpec *spec, SmeltError *error);
/* Runs the passes over the graph, which is changed and can't be built again, and makes the plan. The plan
 * needs neither builder nor graph afterwards. */
SMELT_API int smelt_build(SmeltBuilder *builder, SmeltGraph *graph, SmeltPlan **plan, SmeltError *error);
/* The plan as a file has it, aligned for smelt_engine_load_memory; until the plan is destroyed. */
SMELT_API const void *smelt_plan_data(const SmeltPlan *plan, size_t *size);
/* An old file stays whole until the new one is. */
SMELT_API int smelt_plan_save(const SmeltPlan *plan, const char *path, SmeltError *error);
SMELT_API void smelt_plan_destroy(SmeltPlan *plan);

#ifdef __cplusplus
}
#endif

#endif
