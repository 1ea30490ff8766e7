/* Plans of tests/plan_sample_cuda.h, loaded with the fake driver. */
#ifndef SMELT_TESTS_FAKE_CUDA_LOADED_H
#define SMELT_TESTS_FAKE_CUDA_LOADED_H

#include "ops/op.h"
#include "runtime/context.h"
#include "tests/fake_cuda/open.h"
#include "tests/plan_sample_cuda.h"
#include "tests/test.h"

enum { MOST_COUNT = 32 };

typedef struct Loaded {
    Arena arena;
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltError error;
} Loaded;

static inline int load(Loaded *loaded, const Plan *plan, const SmeltEngineOptions *options) {
    Diag diag = {0};
    ByteWriter bytes = byte_writer(&loaded->arena);
    for (int32_t i = 0; i < plan->op_count; ++i) {
        OpId id = op_find(plan->ops[i].domain, plan->ops[i].name);
        if (id != OP_NONE) plan->ops[i].opset = op_def(id)->since;
    }
    CHECK_OK(plan_write_bytes(plan, &bytes, &diag), &diag);
    void *copy = arena_alloc(&loaded->arena, bytes.size + 4096); /* large objects are aligned */
    memcpy(copy, bytes.data, bytes.size);
    return smelt_engine_load_memory(copy, bytes.size, options, &loaded->engine, &loaded->error);
}

static inline void open_context(Loaded *loaded, bool caller_workspace) {
    SmeltContextOptions options = {.threads = 1, .caller_workspace = caller_workspace};
    CHECK_INT(smelt_context_create(loaded->engine, &options, &loaded->context, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
}

static inline void open_plan(Loaded *loaded, const Plan *plan) {
    CHECK_INT(load(loaded, plan, NULL), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    if (loaded->engine != NULL) open_context(loaded, false);
}

/* Nothing of the device may be left. */
static inline void close_plan(Loaded *loaded) {
    smelt_context_destroy(loaded->context);
    smelt_engine_destroy(loaded->engine);
    arena_reset(&loaded->arena);
    *loaded = (Loaded){0};
    CHECK_INT(fake.get(FAKE_LIVE_OBJECTS), 0);
    CHECK_INT(fake.get(FAKE_LIVE_BYTES), 0);
}

#define EXPECT(loaded, call, status_, part)                                                                  \
    do {                                                                                                     \
        CHECK_INT((call), (status_));                                                                        \
        if (strstr((loaded)->error.message, (part)) == NULL) CHECK_STR((loaded)->error.message, (part));     \
    } while (0)

static inline void set_rows(Loaded *loaded, int64_t rows) {
    const int64_t dims[] = {rows, 4};
    CHECK_INT(smelt_context_set_shape(loaded->context, 0, 2, dims, &loaded->error), SMELT_OK);
}

static inline void fill(float *x, int count, int seed) {
    for (int i = 0; i < count; ++i) x[i] = (float)((i * 7 + seed * 13) % 31) - 11.0F;
}

#endif
