/* A loaded plan, ready to be shared by contexts. */
#ifndef SMELT_RUNTIME_ENGINE_H
#define SMELT_RUNTIME_ENGINE_H

#include "ops/op.h"
#include "plan_format/plan.h"
#include "runtime/smelt_runtime.h"

/* An operator of the plan, looked up and parsed once. */
typedef struct EngineOp {
    OpId id;
    const void *attrs;
    bool is_alias; /* a view whose output lies where its input lies: nothing runs */
    bool is_idle;  /* Concat, Split or Slice on the device, of which nothing is to be moved */
} EngineOp;

typedef struct CudaEngine CudaEngine;

struct SmeltEngine {
    Allocator allocator;
    Arena arena;
    FileMap map;
    Plan plan;
    EngineOp *ops; /* per operator of the plan */
    int32_t input_count;
    CudaEngine *cuda; /* NULL: a CPU plan */
};

/* FORMAT.md, section 6, rule 9: every operator against the operator table. */
Status engine_bind_ops(SmeltEngine *engine, Diag *diag);

/* Whether two operands of a Concat, Split or Slice share a buffer: one is then a part of the other, which
 * lies in it. */
bool is_part(const Plan *plan, const EngineOp *bound, const PlanOp *op, int32_t a, int32_t b);

/* Adds which operator it was: "operator 12 (Conv) from 'conv1'". */
void diag_operator(Diag *diag, const Plan *plan, int32_t op);

/* Per operator: the step of program 0 that runs it, for those of bodies the one that owns the body. In arena;
 * NULL: out of memory. */
int32_t *engine_main_steps(const Plan *plan, Arena *arena);

/* Copies what diag says to the caller's error (may be NULL); returns status. */
int report_status(Status status, const Diag *diag, SmeltError *error);

#endif
