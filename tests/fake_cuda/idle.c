/* In place of kernels.c: a driver that takes every kernel and runs none, over memory of zeros. What computes
 * zeros gets them, each launch takes a microsecond, and nobody can ask for parameters. */
#include "tests/fake_cuda/kernels.h"

const int fake_fill = 0;
const float fake_launch_time = 1e-3F;

static int do_nothing(const uint64_t *args, const FakeMap *map) {
    (void)args;
    (void)map;
    return 0;
}

const FakeFunction *fake_find_function(const char *name) {
    static const FakeFunction idle = {"idle", 0, 0, do_nothing};
    return name[0] != '\0' ? &idle : NULL;
}
