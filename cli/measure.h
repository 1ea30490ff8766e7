/* Timing of inference: one thread per stream, each with a context of its own. */
#ifndef SMELT_CLI_MEASURE_H
#define SMELT_CLI_MEASURE_H

#include "cli/session.h"

typedef struct MeasureOptions {
    int64_t iterations; /* at least so many runs of each stream */
    double warmup_ms, duration;
    int streams;
} MeasureOptions;

/* Parts of a run, as trtexec names them; a CPU plan has only the first. */
typedef enum RunPart { PART_LATENCY, PART_ENQUEUE, PART_COPY_IN, PART_COMPUTE, PART_COPY_OUT, PARTS } RunPart;

/* Milliseconds of all runs, sorted: parts[p][i], i < count. */
typedef struct Measurement {
    double *parts[PARTS];
    int64_t count;
    double wall; /* s */
} Measurement;

/* buffers are host memory of the inputs; outputs stay with the contexts. In the app's arena. */
Status measure(App *app, const MeasureOptions *options, Session *session, const CompileSettings *settings,
               const Tensor *inputs, Measurement *out);

/* Then profiles further runs of the session's context, for about as long, until its steps have their times.
 * microseconds: what a whole run takes, of a GPU plan (where such a run stops in between) the median of the
 * runs that were measured before, else the mean of those that are profiled. */
Status measure_steps(App *app, const MeasureOptions *options, Session *session, const Tensor *inputs,
                     const Measurement *whole, double *microseconds);

/* The statistics trtexec prints. */
typedef struct Summary {
    double min, max, mean, median, p90, p95, p99;
} Summary;
int compare_doubles(const void *a, const void *b); /* for qsort, least first */
Summary summarize(const double *sorted, int64_t count);

#endif
