/* What the handles of smelt.h are. Private to this folder. */
#ifndef SMELT_COMPILER_HANDLES_H
#define SMELT_COMPILER_HANDLES_H

#include "compiler/plugin.h"
#include "frontend/import.h"

/* A graph of the caller, or while a pass runs the one that it works on. */
struct SmeltGraph {
    Graph *graph;
    Arena *scratch; /* for texts and tables of calls; reset with the graph or behind the pass */
    bool typed;     /* all values have types: new nodes get theirs at once */
    bool built;
    bool in_pass; /* someone else's, which says where its nodes come from */
    bool uses_valid;
    UseTable uses;
    Arena uses_arena, text_arena;
    /* Of the caller's graphs: */
    Allocator allocator;
    Arena arena, own_scratch;
    Model model;
    FileMap text;
};

struct SmeltPass {
    PassCtx *ctx;
    const SmeltPassSpec *spec;
};

/* A handle for a graph that someone else owns; graph_unwrap when done. */
SmeltGraph graph_wrap(Graph *graph, Arena *scratch);
void graph_unwrap(SmeltGraph *graph);
/* Notes that the graph is another now. */
void graph_touched(SmeltGraph *graph);

bool graph_has_node(const SmeltGraph *graph, SmeltNode node);
bool graph_has_value(const SmeltGraph *graph, SmeltValue value);
Status need_node(const SmeltGraph *graph, SmeltNode node, Diag *diag);
Status need_value(const SmeltGraph *graph, SmeltValue value, Diag *diag);

#endif
