/* Timing of tactics and configs on the GPU that is here. */
#ifndef SMELT_CLI_TUNE_H
#define SMELT_CLI_TUNE_H

#include "cli/target.h"
#include "kernels/ways.h"

/* What is tuned together; problems that several have are timed once. */
typedef struct GraphList {
    int32_t count;
    Graph *const *at;
} GraphList;

typedef struct TuneOptions {
    int32_t candidates; /* of each problem, best guesses first */
    int32_t neighbours; /* of the best of them, that are timed then */
    bool
        every; /* problems that can be done in one way too, and what others of a problem were timed without */
    bool only_compiles; /* fills the cache of kernels with candidates, for a later tuning */
    const char *filter; /* of problems, those whose line contains it; NULL: all */
    const char *path; /* the cache is written to it after each problem, so that nothing is lost; NULL: not */
    TimingCache *cache;
} TuneOptions;

/* The times that a command chooses by, and whether it measures what is missing. */
typedef struct Tuning {
    App *app;
    const CompileSettings *settings;
    const Target *target;
    bool tunes;
    const char *path;               /* of the cache; NULL: it is not kept */
    TimingCache *cache;             /* NULL: none */
    int32_t candidates, neighbours; /* as in TuneOptions */
    Status status;                  /* of what passes had measured */
    WayTimer timer;
} Tuning;

/* What times are good for: "NVIDIA H200 sm_90 driver 13.0", in the app's arena. Fails with WRONG_DEVICE where
 * there is no GPU. */
Status tune_gpu_name(App *app, const CompileSettings *settings, const char **out);
/* Fails with USAGE where --tune is no effort that there is. */
Status tune_check(App *app, const CompileSettings *settings);
/* Opens the timing cache for the target, which must stay where it is: a cache that --timing-cache names must
 * be whole, and of the right GPU. Sets target->tuning, in the app's arena. */
Status tune_open(App *app, const CompileSettings *settings, Target *target);
/* The times that a build chooses by, after tuning where --tune asks for it and the GPU is here; NULL: none.
 */
Status tune_for_build(const Target *target, Graph *graph, const TimingCache **out);
/* The same for a list of all times: every problem that filter (NULL: none) leaves is timed. only_compiles:
 * what would be timed first is only compiled, into the cache of kernels; no GPU need be here. */
Status tune_every(const Target *target, GraphList graphs, const char *filter, bool only_compiles,
                  const TimingCache **out);
/* Microseconds of the best guess for a graph of one step, as one of many launches in a row on the GPU that is
 * here, which is the device. Fails with CUDA_FAILED where it does not run or takes no time. */
Status tune_probe(App *app, const CompileSettings *settings, const Device *device, Graph *graph,
                  double *microseconds);
/* Times the best candidates of each problem of graphs that have been through the passes, where the cache
 * knows none. A candidate that fails, or whose numbers are not those of the reference, is left out with a
 * line. */
Status tune_graphs(App *app, const CompileSettings *settings, const Target *target, GraphList graphs,
                   const TuneOptions *options);

/* A WayTimer's measure (cli/tune_ways.c); user: a Tuning. */
void tune_ways(void *user, const WayQuestion *questions, int32_t count);

#endif
