/* What passes ask of the GPUs that a plan is for. */
#include "kernels/arch.h"
#include "kernels/lower.h"

struct CudaTarget {
    Device device; /* what all of them can do */
    Arena work;    /* of one question */
};

Status cuda_target_create(const DeviceList *devices, Arena *arena, CudaTarget **out, Diag *diag) {
    CudaTarget *target = ARENA_NEW(arena, CudaTarget);
    TRY_ALLOC(diag, target);
    target->device = arch_common(devices);
    arena_init(&target->work, arena->allocator);
    *out = target;
    return STATUS_OK;
}

void cuda_target_destroy(CudaTarget *target) {
    if (target != NULL) arena_reset(&target->work);
}

/* The tactic for the nodes, or NULL, with the reason. *problem is in the target's memory. */
static const Tactic *choose(CudaTarget *target, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                            int32_t count, Problem *problem, const char **why) {
    UseTable own;
    Diag diag = {0};
    arena_reset(&target->work);
    *why = "it cannot be described";
    if ((uses == NULL && !use_table_build(graph, &target->work, &own)) ||
        problem_describe(graph, uses != NULL ? uses : &own, nodes, count, &target->work, problem, &diag) !=
            STATUS_OK)
        return NULL;
    return tactic_choose(problem, &target->device, &target->work, why);
}

const char *cuda_target_refuses(CudaTarget *target, const Graph *graph, const UseTable *uses,
                                const NodeId *nodes, int32_t count) {
    Problem problem;
    const char *why;
    return choose(target, graph, uses, nodes, count, &problem, &why) != NULL ? NULL : why;
}

bool cuda_target_pays(CudaTarget *target, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                      int32_t count) {
    Problem problem;
    const char *why;
    const Tactic *tactic = choose(target, graph, uses, nodes, count, &problem, &why);
    return tactic != NULL && (tactic->pays == NULL || tactic->pays(&problem, &target->device));
}

double cuda_target_cost(CudaTarget *target, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                        int32_t count) {
    Problem problem;
    const char *why;
    if (choose(target, graph, uses, nodes, count, &problem, &why) == NULL) return 0;
    return choice_best(&problem, &target->device, NULL).microseconds;
}

bool cuda_target_wants_f32_layout(const CudaTarget *target) {
    return tactics_want_f32_layout(&target->device);
}
