/* The parts of plan_verify. Each takes for granted what the ones before it have checked. */
#ifndef SMELT_PLAN_FORMAT_VERIFY_H
#define SMELT_PLAN_FORMAT_VERIFY_H

#include "plan_format/plan.h"

typedef enum DefinitionKind { DEFINED_NOWHERE, DEFINED_BEFORE, DEFINED_PARAM, DEFINED_OP } DefinitionKind;

/* Where a value comes from: a constant or input (before), a parameter of program `place`, or operator
 * `place`. */
typedef struct Definition {
    DefinitionKind kind;
    int32_t place;
} Definition;

typedef struct Verifier {
    const Plan *plan;
    Arena *scratch;
    Diag *diag;
    int32_t main_steps;      /* steps of program 0 */
    int32_t *op_program;     /* per operator */
    int32_t *op_step;        /* per operator: its step of program 0, or that of the outermost owner */
    int32_t *program_depth;  /* per program */
    Definition *definitions; /* per value */
} Verifier;

/* FORMAT.md, section 6, rule 2. */
Status verify_dims(const Verifier *v);
/* The first half of rule 6: who divides what, and owners. Fills the tables of v but definitions. */
Status verify_programs(Verifier *v);
/* Rule 3. */
Status verify_buffers(const Verifier *v);
/* Rule 4, as far as one value is concerned. */
Status verify_values(const Verifier *v);
/* Rule 5. */
Status verify_bindings(const Verifier *v);
/* Rule 7 and the rest of 4 and 6. Fills definitions. */
Status verify_flow(Verifier *v);
/* Rule 8. */
Status verify_kernels(const Verifier *v);
Status verify_launches(const Verifier *v);
/* The same for map number `index` of value, an argument of a launch. */
Status verify_map(const Verifier *v, int32_t launch, int32_t index, int32_t value);

/* The same for calls of libraries, and for launch number `index`, which is one. */
Status verify_calls(const Verifier *v);
Status verify_call_launch(const Verifier *v, int32_t index, PlanDim scratch);

/* A number of a launch names an expression that exists and does not depend on data. */
Status verify_launch_dim(const Verifier *v, int32_t launch, PlanDim d, const char *what);
/* Bytes that a value has in memory, -1 where they are not exact. */
Status verify_value_bytes(const Verifier *v, int32_t index, int64_t *bytes);

/* [first, first + count) must go on where the ones before ended, at *end, which moves on. what begins with
 * the section. */
Status verify_division(const Verifier *v, const char *what, int32_t index, int32_t first, int32_t count,
                       int32_t *end, int32_t limit, const char *parts);

/* A dim of `what` number index names an expression that exists and is not negative. */
Status verify_dim(const Verifier *v, PlanDim d, const char *what, int32_t index);

#endif
