/* The main function of tests that run on the fake driver. */
#ifndef SMELT_TESTS_FAKE_CUDA_MAIN_H
#define SMELT_TESTS_FAKE_CUDA_MAIN_H

#include "tests/fake_cuda/open.h"
#include "tests/test.h"

/* Each test begins with a driver that has done nothing yet. */
static inline int run_on_fake(int count, void (*const tests[])(void)) {
    setenv("SMELT_CUDA_LIBRARY", SMELT_FAKE_CUDA, 1);
    if (!open_fake(SMELT_FAKE_CUDA)) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    for (int i = 0; i < count; ++i) {
        fake.reset();
        tests[i]();
    }
    return test_result();
}

#endif
