/* A pass of one's own: x * HardSigmoid(x), with HardSwish's alpha and beta, becomes HardSwish(x).
 *
 *     cc -std=c11 -shared -fPIC -I. examples/fuse_hard_swish.c -o fuse_hard_swish.so
 *     smelt build model.onnx -o model.plan --plugin-pass ./fuse_hard_swish.so --verbose
 *
 * docs/passes.md explains it line by line. */
#include <math.h>
#include <string.h>

#include "compiler/smelt.h"

static int is_op(const SmeltGraph *graph, SmeltNode node, const char *op) {
    const char *name = smelt_node_op(graph, node);
    return name != NULL && strcmp(name, op) == 0;
}

/* The HardSigmoid that multiplies its own input: input `side` of mul; SMELT_NONE when it is none. */
static SmeltNode find_gate(const SmeltGraph *graph, SmeltNode mul, int side) {
    SmeltNode gate = smelt_value_producer(graph, smelt_node_input(graph, mul, side));
    if (!is_op(graph, gate, "HardSigmoid")) return SMELT_NONE;
    return smelt_node_input(graph, gate, 0) == smelt_node_input(graph, mul, 1 - side) ? gate : SMELT_NONE;
}

/* Why the two nodes can't become one; NULL when they can. */
static const char *refusal(SmeltGraph *graph, SmeltNode gate) {
    if (fabsf(smelt_node_float(graph, gate, "alpha", 0.2F) - 1.0F / 6.0F) > 1e-6F) return "alpha is not 1/6";
    if (smelt_node_float(graph, gate, "beta", 0.5F) != 0.5F) return "beta is not 0.5";
    if (smelt_value_reader_count(graph, smelt_node_output(graph, gate, 0)) != 1)
        return "something else reads the HardSigmoid";
    return NULL;
}

static int fuse(SmeltGraph *graph, SmeltNode mul, SmeltNode gate, SmeltError *error) {
    const SmeltValue x = smelt_node_input(graph, gate, 0);
    const SmeltNodeSpec spec = {
        .op = "HardSwish", .name = smelt_node_name(graph, mul), .input_count = 1, .inputs = &x};
    SmeltNode swish;
    int status = smelt_graph_add_node(graph, mul, &spec, &swish, error);
    if (status == SMELT_OK) status = smelt_node_take_origins(graph, swish, gate, error);
    if (status == SMELT_OK) status = smelt_node_take_origins(graph, swish, mul, error);
    if (status == SMELT_OK)
        status = smelt_graph_replace(graph, smelt_node_output(graph, mul, 0),
                                     smelt_node_output(graph, swish, 0), error);
    if (status == SMELT_OK) status = smelt_graph_remove_node(graph, mul, error);
    if (status == SMELT_OK) status = smelt_graph_remove_node(graph, gate, error);
    return status;
}

static int run(SmeltPass *pass, SmeltGraph *graph, SmeltError *error) {
    SmeltNode next;
    for (SmeltNode node = smelt_graph_first_node(graph); node != SMELT_NONE; node = next) {
        next = smelt_graph_next_node(graph, node);
        if (!is_op(graph, node, "Mul")) continue;
        SmeltNode gate = find_gate(graph, node, 0);
        if (gate == SMELT_NONE) gate = find_gate(graph, node, 1);
        if (gate == SMELT_NONE) continue;
        const char *reason = refusal(graph, gate);
        if (reason != NULL) {
            smelt_pass_reject(pass, node, "%s", reason);
            continue;
        }
        int status = fuse(graph, node, gate, error);
        if (status != SMELT_OK) return status;
        smelt_pass_count(pass, "fused", 1);
    }
    return SMELT_OK;
}

static const SmeltPassSpec passes[] = {{.name = "fuse_hard_swish",
                                        .what = "x * HardSigmoid(x) becomes HardSwish(x)",
                                        .place = "after=canonicalize",
                                        .run = run}};

SMELT_PLUGIN const SmeltPlugin *smelt_plugin(void);

const SmeltPlugin *smelt_plugin(void) {
    static const SmeltPlugin plugin = {.interface = SMELT_INTERFACE, .pass_count = 1, .passes = passes};
    return &plugin;
}
