/* Graph to plan: the passes, then the lowering, for whichever target. */
#ifndef SMELT_COMPILER_PIPELINE_H
#define SMELT_COMPILER_PIPELINE_H

#include "kernels/lower.h"
#include "passes/precision.h"

typedef struct BuildSettings {
    bool cuda;           /* else the host */
    DeviceList devices;  /* of a cuda target */
    const char *tactics; /* how the devices have been switched, for META (tactics_switch); NULL: not at all */
    int32_t variant;     /* LowerCudaOptions.variant */
    PassOptions passes;  /* but for what the target says: strided and target */
    const char *precision;    /* its name for META; NULL: "fp32" */
    const char *const *facts; /* "key=value": more entries of META */
    int32_t fact_count;
    uint64_t model_hash;
    JitOptions jit;
    const TimingCache *timings; /* measured choices; NULL: none */
    const WayTimer *timer;      /* measures for passes what timings lacks; NULL: nobody does */
    bool untimed;               /* LowerCudaOptions.untimed */
    const Log *log;
} BuildSettings;

/* What users call a precision. */
typedef struct PrecisionName {
    const char *name; /* "fp16" */
    DType half;
    bool lower, tf32; /* as in PrecisionOptions */
    double goal;      /* error that is fine where no other is given; 0: f32 */
} PrecisionName;
const PrecisionName *precision_find(const char *name); /* NULL: there is none */

/* Runs the passes over the graph. *ctx (may be NULL) receives the rejections and the last pass's counters. */
Status build_passes(Graph *graph, const BuildSettings *settings, PassCtx *ctx, Diag *diag);
/* Makes the plan of a graph that has been through all required passes; its memory is arena's. */
Status build_lower(Graph *graph, const BuildSettings *settings, Arena *arena, Plan *plan, Diag *diag);

#endif
