#include "kernels/ways.h"

#include <string.h>

#include "kernels/choice.h"

const char *way_key(const Problem *steps, int32_t count, Arena *arena) {
    ByteWriter key = byte_writer(arena);
    write_format(&key, "steps: ");
    for (int32_t i = 0; i < count; ++i) write_format(&key, "%s%s", i > 0 ? " ; " : "", steps[i].key);
    write_u8(&key, 0);
    return key.failed ? NULL : (const char *)key.data;
}

double way_time(const TimingCache *timings, const char *key) {
    double least = 0;
    for (int32_t i = timing_cache_rows(timings, key); i < timings->count; ++i) {
        const Timing *row = &timings->rows[i];
        if (strcmp(row->problem, key) != 0) break;
        if (timing_is_current(row) && (least <= 0 || row->microseconds < least)) least = row->microseconds;
    }
    return least;
}

static bool write_tactic(const Problem *problem, const Device *device, const TimingCache *timings,
                         Arena *arena, ByteWriter *out) {
    const Choice choice = choice_best(problem, device, timings);
    const char *name = choice.tactic != NULL ? timing_tactic_name(arena, choice.tactic) : NULL;
    if (name != NULL) write_format(out, "%s%s", out->size > 0 ? "+" : "", name);
    return name != NULL;
}

const char *way_tactics(const Graph *graph, const Device *device, const TimingCache *timings, Arena *arena) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    ByteWriter names = byte_writer(arena);
    UseTable uses;
    Diag diag = {0};
    if (!use_table_build(graph, arena, &uses)) return NULL;
    for (int32_t first = 0, end; first < block->node_count; first = end) {
        Problem problem;
        end = step_end(graph, block, first);
        if (graph->nodes[block->nodes[first]].op == OP_Reformat) continue;
        if (problem_create(graph, &uses, block->nodes + first, end - first, arena, &problem, &diag) !=
                STATUS_OK ||
            !write_tactic(&problem, device, timings, arena, &names))
            return NULL;
    }
    write_u8(&names, 0);
    return names.failed ? NULL : (const char *)names.data;
}
