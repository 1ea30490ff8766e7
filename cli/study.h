/* smelt study: what each pass brings. */
#ifndef SMELT_CLI_STUDY_H
#define SMELT_CLI_STUDY_H

#include "cli/session.h"
#include "passes/history.h"

typedef struct StudyOptions {
    CompileSettings compile;
    const char *passes; /* --passes */
    const char *html, *data;
    double duration; /* seconds of runs of each build */
    bool json, no_run;
} StudyOptions;

/* A build with some passes off, and what came out. In the app's arena. */
typedef struct StudyRow {
    const char *name; /* "all passes", "without fuse_vertical", or a set's label */
    TextList off;
    Status status;       /* of the build or the run; then nothing below is known but what is not NULL or -1 */
    const char *failure; /* its message */
    int32_t touched;     /* nodes, by the passes that are off here when they are on; -1: not known */
    double pass_ms;      /* that those passes took, all of them where none is off; -1: not known */
    int32_t kernels;     /* steps that do something; of a GPU plan those that are launched */
    int32_t host_steps;  /* of a GPU plan: those that stay on the host */
    double bytes, flops; /* that the steps must move and do (ir/cost.h) */
    int64_t arena, weights;
    double build_seconds;
    double time;  /* median of a run, ms; -1: none was timed */
    double ratio; /* of its time to that of all passes in between: median of the rounds; -1: none */
    double error; /* the worst output's, relative to its range; -1: not compared */
} StudyRow;

typedef struct Study {
    App *app;
    const StudyOptions *options;
    const char *model;
    const char *target;    /* "cpu", "cuda (sm_90)" */
    const char *not_timed; /* why nothing is timed; NULL: it is */
    const char *not_compared;
    Arena kept;      /* the history and what it needs */
    History history; /* of the build with all passes */
    Compiled all;
    int32_t row_count, row_capacity;
    StudyRow *rows; /* all passes, then as --passes says, then none */
} Study;

/* -- study_run.c -- */

/* The build with all passes, whose history stays. */
Status study_begin(Study *study);
/* Builds, runs and compares every row. What fails is noted in its row. */
Status study_run(Study *study);
void study_end(Study *study);

/* -- study_page.c -- */

/* The history, with differences alone, as a page asks for it. */
Status study_write_steps(const Study *study, ByteWriter *out, Diag *diag);
/* One page without anything from outside. columns and cells as the text table has them: row_count rows. */
Status study_write_page(const Study *study, int column_count, const char *const *columns,
                        const char *const *cells, const char *note, const char *path);

/* The template: cli/study.html, "@DATA@" where the data go. */
extern const char study_page[];

#endif
