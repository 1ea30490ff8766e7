/* --precision and what belongs to it: which type nodes compute in, on which samples that is decided, and how
 * far the result is from f32. */
#ifndef SMELT_CLI_PRECISION_H
#define SMELT_CLI_PRECISION_H

#include "cli/compile.h"
#include "passes/precision.h"

/* What the command line says. */
typedef struct PrecisionChoice {
    const char *name; /* "fp16" */
    bool lowers;      /* nodes or inputs and outputs may become narrow */
    bool asked;       /* samples or a limit are given: no model is too large to be run on the host */
    bool off;         /* --calib=off */
    double max_error; /* 0: not given */
    double goal;      /* error that is fine where no other is given; 0: f32 */
    int32_t folder_count;
    const char **folders;   /* of --calib=DIR,DIR */
    const char *no_samples; /* why there are none */
    PrecisionOptions options;
} PrecisionChoice;

/* USAGE for what is not known or contradicts itself. */
Status precision_choose(App *app, const CompileSettings *settings, PrecisionChoice *out);

/* Gives choice->options samples of the graph's inputs: those of the folders, or a seeded random one. */
Status precision_samples(App *app, const Graph *graph, PrecisionChoice *choice);

/* How far outputs are from f32 on the samples. */
typedef struct Accuracy {
    bool measured;
    const char *why_not; /* where it is not */
    double error;        /* the largest of all outputs, relative to the output's range, 0 included */
    const char *worst;   /* that output */
    const char *text;    /* of each output, for people */
} Accuracy;

/* The plan that the compiled graph gives on the host, against one of the model in f32. */
Status precision_compare(App *app, const char *path, const CompileSettings *settings,
                         const PrecisionChoice *choice, Compiled *compiled, Accuracy *out);

/* PrecisionOptions.tolerance of the attempts to build, from 0 on. */
double precision_tolerance(const PrecisionChoice *choice, int attempt);
/* Whether the next attempt may bring the error below what is allowed. Without samples or a limit from the
 * user only for results that are not finite: random inputs say little about a model. */
bool precision_should_retry(const App *app, const PrecisionChoice *choice, const Compiled *compiled,
                            const Accuracy *accuracy, int attempt);
/* MISMATCH where the error is above --max-error. */
Status precision_enforce(App *app, const PrecisionChoice *choice, const Accuracy *accuracy);

/* Says on stderr how it went; with --verbose also what stays f32 and why. */
void precision_report(App *app, const PrecisionChoice *choice, const Compiled *compiled,
                      const Accuracy *accuracy);
/* The same for META: "key=value" lines. */
Status precision_facts(App *app, const PrecisionChoice *choice, const Compiled *compiled,
                       const Accuracy *accuracy, BuildSettings *build);

#endif
