/* Plans of tests/plan_sample_cuda.h, loaded with the fake driver. */
#ifndef SMELT_TESTS_FAKE_CUDA_LOADED_H
#define SMELT_TESTS_FAKE_CUDA_LOADED_H

#include "tests/fake_cuda/open.h"
#include "tests/plan_loaded.h"
#include "tests/plan_sample_cuda.h"

enum { MOST_COUNT = 32 };

static inline void open_fake_context(Loaded *loaded, bool caller_workspace) {
    const SmeltContextOptions options = {.threads = 1, .caller_workspace = caller_workspace};
    open_context(loaded, &options);
}

static inline void open_plan(Loaded *loaded, const Plan *plan) {
    CHECK_INT(load(loaded, plan, NULL), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    if (loaded->engine != NULL) open_fake_context(loaded, false);
}

/* Nothing of the device may be left. */
static inline void close_plan(Loaded *loaded) {
    unload(loaded);
    CHECK_INT(fake.get(FAKE_LIVE_OBJECTS), 0);
    CHECK_INT(fake.get(FAKE_LIVE_BYTES), 0);
}

static inline void set_rows(Loaded *loaded, int64_t rows) {
    const int64_t dims[] = {rows, 4};
    CHECK_INT(smelt_context_set_shape(loaded->context, 0, 2, dims, &loaded->error), SMELT_OK);
}

static inline void fill(float *x, int count, int seed) {
    for (int i = 0; i < count; ++i) x[i] = (float)((i * 7 + seed * 13) % 31) - 11.0F;
}

#endif
