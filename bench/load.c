/* load: how long it takes to load a plan: the first time in a process, which for a GPU plan starts the
 * driver, and again while another engine keeps the GPU's context.
 *
 *     load PLAN [TIMES]
 *
 * Prints the plan's size and both times; the second is the median of TIMES (20). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "runtime/smelt_runtime.h"

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static SmeltEngine *load(const char *path, double *took) {
    SmeltEngine *engine;
    SmeltError error;
    double start = milliseconds();
    if (smelt_engine_load(path, NULL, &engine, &error) != SMELT_OK) {
        fprintf(stderr, "load: %s\n", error.message);
        exit(1);
    }
    *took = milliseconds() - start;
    return engine;
}

int main(int argc, char **argv) {
    int times = argc > 2 ? atoi(argv[2]) : 20;
    struct stat info;
    double first, *again;
    if (argc < 2 || times < 1 || stat(argv[1], &info) != 0) {
        fprintf(stderr, "usage: load PLAN [TIMES]\n");
        return 2;
    }
    again = calloc((size_t)times, sizeof *again);
    if (again == NULL) return 1;
    SmeltEngine *engine = load(argv[1], &first);
    for (int i = 0; i < times; ++i) smelt_engine_destroy(load(argv[1], &again[i]));
    qsort(again, (size_t)times, sizeof *again, compare);
    printf("%.1f MB: first %.2f ms, again %.2f ms (median of %d, %.2f to %.2f)\n",
           (double)info.st_size * 1e-6, first, again[times / 2], times, again[0], again[times - 1]);
    smelt_engine_destroy(engine);
    free(again);
    return 0;
}
