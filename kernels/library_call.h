/* Problems as calls of NVIDIA's libraries: what the tactics cublaslt and cudnn share. They are optional, for
 * comparison: a plan that has such a call needs the library where it runs. */
#ifndef SMELT_KERNELS_LIBRARY_CALL_H
#define SMELT_KERNELS_LIBRARY_CALL_H

#include "kernels/window_text.h"

/* A call whose operands are values of the graph. */
typedef struct CallDraft {
    KernelCall call;
    ValueId values[CALL_OPERANDS];
    bool turned; /* operand 1 is a constant that is wanted in channels-last order */
} CallDraft;

/* Begins a call: the anchor's inputs 0 and 1, its own addend (NONE: it has none), what the nodes behind it
 * do, the result. Operands are as yet unknown but for their type. Returns why it cannot be, or NULL. */
const char *call_begin(const Problem *problem, PlanLibrary library, ValueId addend, CallDraft *out);
/* Extents and strides of a value seen as of so many dimensions, those in front of its own 1. Returns why it
 * cannot be, or NULL. */
const char *call_view(const Problem *problem, ValueId value, int32_t rank, int64_t dim[SMELT_MAX_RANK],
                      int64_t stride[SMELT_MAX_RANK]);

/* The first few ways that a library proposes, without and with a workspace. */
int32_t call_configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]);
/* A guess: libraries say nothing before they are asked on the GPU. */
double call_cost(const Problem *problem, const Device *device, const Config *config);
Status call_emit(const Config *config, const CallDraft *draft, Emission *emission);

/* The tactic whose function draft_of describes the call, or says why there is none. */
#define CALL_TACTIC(NAME)                                                                                    \
    static const char *refuses(const Problem *problem, const Device *device) {                               \
        CallDraft draft;                                                                                     \
        (void)device;                                                                                        \
        return draft_of(problem, &draft);                                                                    \
    }                                                                                                        \
    static Status emit(const Config *config, const Device *device, Emission *emission) {                     \
        CallDraft draft;                                                                                     \
        (void)device;                                                                                        \
        (void)draft_of(emission->problem, &draft);                                                           \
        return call_emit(config, &draft, emission);                                                          \
    }                                                                                                        \
    const Tactic tactic_##NAME = {.name = #NAME,                                                             \
                                  .version = 1,                                                              \
                                  .strided = true,                                                           \
                                  .optional = true,                                                          \
                                  .refuses = refuses,                                                        \
                                  .configs = call_configs,                                                   \
                                  .cost = call_cost,                                                         \
                                  .emit = emit}

#endif
