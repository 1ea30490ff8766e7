/* Regions to plan steps. */
#ifndef SMELT_KERNELS_LOWER_H
#define SMELT_KERNELS_LOWER_H

#include "ir/graph.h"
#include "plan_format/plan.h"

typedef struct LowerOptions {
    const char *target; /* "cpu" */
    uint64_t model_hash;
    const char *const *options; /* build options that change the plan, for META: "precision=fp32" */
    int32_t option_count;
    const Log *log;
} LowerOptions;

/* Fills *plan from a graph that has been through plan_memory; memory is arena's, weights are gathered into
 * one aligned blob there (equal constants once). The plan is verified before this returns. */
Status lower_to_host(const Graph *graph, const LowerOptions *options, Arena *arena, Plan *plan, Diag *diag);

#endif
