/* Plugins that must be refused, one for each fault; tests/CMakeLists.txt builds them all. */
#include "compiler/smelt.h"

enum {
    FAULT_VERSION = 1,
    FAULT_ENTRY,
    FAULT_SYMBOL,
    FAULT_EMPTY,
    FAULT_NULL,
    FAULT_REMOVE,
    FAULT_ORDER,
    FAULT_PLACE
};

#if FAULT == 3
int smelt_function_of_the_future(SmeltGraph *graph);
#endif

#if FAULT == 2
int smelt_other(void);
int smelt_other(void) {
    return 0;
}
#else

/* The first node goes, though others read it. */
static int remove_first(SmeltGraph *graph, SmeltError *error) {
    return smelt_graph_remove_node(graph, smelt_graph_first_node(graph), error);
}

/* Some node reads what a later one of the same type computes. */
static int read_later(SmeltGraph *graph, SmeltError *error) {
    for (SmeltNode n = smelt_graph_first_node(graph); n != SMELT_NONE; n = smelt_graph_next_node(graph, n))
        for (SmeltNode m = smelt_graph_next_node(graph, n); m != SMELT_NONE;
             m = smelt_graph_next_node(graph, m))
            if (smelt_node_set_input(graph, n, 0, smelt_node_output(graph, m, 0), NULL) == SMELT_OK)
                return SMELT_OK;
    return smelt_fail(error, SMELT_UNSUPPORTED, "no two nodes have the same type");
}

static int run(SmeltPass *pass, SmeltGraph *graph, SmeltError *error) {
    smelt_pass_count(pass, "runs", 1);
#if FAULT == 3
    return smelt_function_of_the_future(graph);
#endif
    return FAULT == FAULT_ORDER ? read_later(graph, error) : remove_first(graph, error);
}

static const SmeltPassSpec passes[] = {
    {.name = "break_it",
     .what = "breaks the graph",
     .place = FAULT == FAULT_PLACE ? "after=alchemy" : "after=infer_shapes",
     .run = run}};

SMELT_PLUGIN const SmeltPlugin *smelt_plugin(void);
const SmeltPlugin *smelt_plugin(void) {
    static const SmeltPlugin plugin = {.interface =
                                           FAULT == FAULT_VERSION ? SMELT_INTERFACE + 1 : SMELT_INTERFACE,
                                       .pass_count = FAULT == FAULT_EMPTY ? 0 : 1,
                                       .passes = passes};
    return FAULT == FAULT_NULL ? NULL : &plugin;
}
#endif
