/* Pieces that the printers and the comparison share. */
#ifndef SMELT_PLAN_FORMAT_PRINT_H
#define SMELT_PLAN_FORMAT_PRINT_H

#include "plan_format/plan.h"

/* Text from a plan with control characters and broken UTF-8 made visible as '?': plans may come from
 * anywhere. */
void print_text(ByteWriter *out, const char *text);
/* "f32[batch, 3, 224, 224]" */
void print_type(const Plan *plan, int32_t value, ByteWriter *out);
/* "weight 512", "buffer 3", "buffer 3 + 64", "input 'x'", "output 'y'", "own memory", "nowhere" */
void print_storage(const Plan *plan, int32_t value, ByteWriter *out);
/* The value's name, or "value 7" where DEBUG was left out. */
void print_value_name(const Plan *plan, int32_t value, ByteWriter *out);
/* "pointwise_1f, grid n x 1 x 1, block 256, shared 1024 B" */
void print_launch(const Plan *plan, int32_t launch, ByteWriter *out);
/* "sm_90a": of the plan's architecture number arch. */
void print_arch(const Plan *plan, int32_t arch, ByteWriter *out);
/* "sm_80, sm_90a"; nothing for a plan without kernels. */
void print_architectures(const Plan *plan, ByteWriter *out);
/* What of the arena is needed at the worst step, largest first. */
typedef struct PlanTenant {
    int32_t buffer, value; /* the largest value in it that is needed there; -1: none is yet */
    int64_t bytes;
} PlanTenant;
typedef struct PlanPeak {
    int32_t step, count;
    int64_t bytes; /* at the symbols' maximum, or at opt in plans that are not fixed */
    PlanTenant *tenants;
} PlanPeak;
/* In arena; false: out of memory. */
bool plan_find_peak(const Plan *plan, Arena *arena, PlanPeak *out);
/* Bytes of a value; -1 where its shape is not exact. */
int64_t plan_value_bytes(const Plan *plan, int32_t value);

#endif
