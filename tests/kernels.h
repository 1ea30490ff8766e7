/* Graphs from text, taken apart into the units that they would be compiled from. */
#ifndef SMELT_TESTS_KERNELS_H
#define SMELT_TESTS_KERNELS_H

#include "base/file.h"
#include "ir/graph.h"
#include "kernels/tactic.h"
#include "test.h"

/* The device with every tactic switched on; in arena. */
static inline const Device *with_all_tactics(const Device *device, Arena *arena) {
    TacticSwitches *switches = ARENA_NEW(arena, TacticSwitches);
    Device *copy = ARENA_NEW(arena, Device);
    for (int32_t i = 0; i < tactic_count(); ++i) switches->on[i] = true;
    *copy = *device;
    copy->switches = switches;
    return copy;
}

/* The next step of the main block from node `position` on, as a problem; returns the position behind it. */
static inline int32_t next_problem(Graph *graph, int32_t position, Arena *arena, Problem *out, Diag *diag) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    UseTable uses;
    CHECK(use_table_build(graph, arena, &uses));
    int32_t end = step_end(graph, block, position);
    CHECK_OK(problem_create(graph, &uses, block->nodes + position, end - position, arena, out, diag), diag);
    out->symbol_count = dim_symbol_count(graph->dims);
    bool *known = ARENA_ARRAY(arena, bool, out->symbol_count);
    problem_find_symbols(graph, block->nodes, position, known, out->symbol_count);
    out->known_symbols = known;
    return end;
}

/* What a tactic makes of a problem. */
static inline Emission *emit_problem(Graph *graph, const Problem *problem, const Tactic *tactic,
                                     const Config *config, const Device *device, Arena *arena, Diag *diag) {
    Emission *emission = ARENA_NEW(arena, Emission);
    *emission = (Emission){.arena = arena, .graph = graph, .problem = problem, .diag = diag};
    CHECK_OK(tactic->emit(config, device, emission), diag);
    return emission;
}

/* A graph of tests/kernels, which it must be. */
static inline Graph *read_kernel_graph(const char *path, Arena *arena, Diag *diag) {
    FileMap map;
    Graph *graph = NULL;
    CHECK_OK(file_map(path, &map, diag), diag);
    CHECK_OK(graph_parse((const char *)map.data, map.size, path, SMELT_SOURCE_DIR "/tests/kernels", arena,
                         &graph, diag),
             diag);
    if (graph == NULL) exit(1);
    file_unmap(&map);
    return graph;
}

#endif
