/* Regions to plan steps. */
#ifndef SMELT_KERNELS_LOWER_H
#define SMELT_KERNELS_LOWER_H

#include "kernels/choice.h"
#include "kernels/jit.h"
#include "kernels/ways.h"
#include "plan_format/plan.h"

typedef struct LowerOptions {
    const char *target; /* "cpu" */
    uint64_t model_hash;
    const char *const *options; /* build options that change the plan, for META: "precision=fp32" */
    int32_t option_count;
    const char *const *facts; /* what the build found out, for META: "error=0.001" */
    int32_t fact_count;
    const Log *log;
} LowerOptions;

/* Fills *plan from a graph that has been through plan_memory; memory is arena's, weights are gathered into
 * one aligned blob there (equal constants once). The plan is verified before this returns. */
Status lower_to_host(const Graph *graph, const LowerOptions *options, Arena *arena, Plan *plan, Diag *diag);

/* One choice to be timed, for every problem but Reformats; without a tactic: of all of them as they are
 * chosen otherwise. */
typedef struct LowerTrial {
    Choice choice;
    int32_t repeats; /* how often the launches of each problem stand in the plan, at least 1 */
} LowerTrial;

typedef struct LowerCudaOptions {
    LowerOptions base;
    DeviceList devices; /* at least 1; kernels are made for each */
    int32_t variant;    /* n > 0: of all tactics and configs that a step can have number n, counted round
                        and round, instead of the best guess: so that tests see every one */
    JitOptions jit;
    const TimingCache *timings; /* measured choices; NULL: none */
    bool untimed;               /* the plan says how tactics were chosen, but no times */
    const LowerTrial *trial;    /* NULL: none */
} LowerCudaOptions;

/* What passes ask of the GPUs that a plan is for. Lives in arena; timings and timer (kernels/ways.h), which
 * may be NULL, and arena must outlive it. */
typedef struct CudaTarget CudaTarget;
Status cuda_target_create(const DeviceList *devices, const TimingCache *timings, const WayTimer *timer,
                          Arena *arena, CudaTarget **out, Diag *diag);
/* Why nodes, neighbours in a block, cannot run as launches with their values as they lie now (layout, slices,
 * types), in words that hold until the next call; NULL where some tactic takes them. */
const char *cuda_target_refuses(CudaTarget *target, const Graph *graph, const UseTable *uses,
                                const NodeId *nodes, int32_t count);
/* PassTarget.choose and PassTarget.announce (passes/pass.h). */
int32_t cuda_target_choose(CudaTarget *target, const Graph *graph, const UseTable *uses, Way *ways,
                           int32_t count);
void cuda_target_announce(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *ways,
                          int32_t count);
/* Whether convolutions of f32 gain by channels-last values there. */
bool cuda_target_wants_f32_layout(const CudaTarget *target);
void cuda_target_destroy(CudaTarget *target); /* NULL is fine */

/* The same for a GPU: steps that a tactic takes become launches with their compiled kernels, the others are
 * host steps with the reason. Changes nothing of the graph but its table of dimensions. Fails with
 * WRONG_DEVICE where NVRTC is missing. */
Status lower_to_cuda(Graph *graph, const LowerCudaOptions *options, Arena *arena, Plan *plan, Diag *diag);

#endif
