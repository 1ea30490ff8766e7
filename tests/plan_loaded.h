/* Plans built by hand in the runtime. */
#ifndef SMELT_TESTS_PLAN_LOADED_H
#define SMELT_TESTS_PLAN_LOADED_H

#include "ops/op.h"
#include "plan_format/plan.h"
#include "runtime/context.h"
#include "tests/test.h"

typedef struct Loaded {
    Arena arena;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
} Loaded;

/* The operator table says which opset each name has. */
static inline void fix_opsets(const Plan *plan) {
    for (int32_t i = 0; i < plan->op_count; ++i) {
        OpId id = op_find(plan->ops[i].domain, plan->ops[i].name);
        if (id != OP_NONE) plan->ops[i].opset = op_def(id)->since;
    }
}

/* Returns what smelt_engine_load_memory does. */
static inline int load(Loaded *loaded, const Plan *plan, const SmeltEngineOptions *options) {
    Diag diag = {0};
    ByteWriter bytes = byte_writer(&loaded->arena);
    fix_opsets(plan);
    CHECK_OK(plan_write_bytes(plan, &bytes, &diag), &diag);
    void *copy = arena_alloc(&loaded->arena, bytes.size + 4096); /* large objects are aligned */
    memcpy(copy, bytes.data, bytes.size);
    return smelt_engine_load_memory(copy, bytes.size, options, &loaded->engine, &loaded->error);
}

static inline void open_context(Loaded *loaded, const SmeltContextOptions *options) {
    CHECK_INT(smelt_context_create(loaded->engine, options, &loaded->context, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
}

static inline void unload(Loaded *loaded) {
    smelt_context_destroy(loaded->context);
    smelt_engine_destroy(loaded->engine);
    arena_reset(&loaded->arena);
    *loaded = (Loaded){0};
}

#define EXPECT(loaded, call, status_, part)                                                                  \
    do {                                                                                                     \
        CHECK_INT((call), (status_));                                                                        \
        if (strstr((loaded)->error.message, (part)) == NULL) CHECK_STR((loaded)->error.message, (part));     \
    } while (0)

#endif
