/* Model to plan, for every command that needs one. */
#ifndef SMELT_CLI_COMPILE_H
#define SMELT_CLI_COMPILE_H

#include "cli/cli.h"
#include "frontend/import.h"
#include "passes/pass.h"
#include "plan_format/plan.h"

typedef struct CompileSettings {
    const char *target, *precision, *dump_dir, *stop_after, *from;
    TextList shapes, profiles, disabled;
    int64_t threads;
} CompileSettings;

/* The options that build, run, check and bench share; expands to rows of an Option table. */
#define COMPILE_OPTIONS(settings)                                                                            \
    {"target",    0,                                                                                         \
     OPTION_TEXT, &(settings).target,                                                                        \
     "cpu",       "what to compile for; this build has the CPU target",                                      \
     0,           0},                                                                                        \
        {"precision", 0,                                                                                     \
         OPTION_TEXT, &(settings).precision,                                                                 \
         "fp32",      "arithmetic of float tensors; fp32 keeps the model's",                                 \
         0,           0},                                                                                    \
        {"shape",                                                                                            \
         0,                                                                                                  \
         OPTION_LIST,                                                                                        \
         &(settings).shapes,                                                                                 \
         "NAME:1x3x8x8",                                                                                     \
         "fixes an input's shape; '?' keeps a dimension dynamic",                                            \
         0,                                                                                                  \
         0},                                                                                                 \
        {"profile-shape",                                                                                    \
         0,                                                                                                  \
         OPTION_LIST,                                                                                        \
         &(settings).profiles,                                                                               \
         "NAME:MIN,OPT,MAX",                                                                                 \
         "range of a dynamic input, e.g. x:1x3x32x32,1x3x64x64,8x3x128x128",                                 \
         0,                                                                                                  \
         0},                                                                                                 \
        {"disable-pass",                                                                                     \
         0,                                                                                                  \
         OPTION_LIST,                                                                                        \
         &(settings).disabled,                                                                               \
         "PASS",                                                                                             \
         "leaves a pass out (repeatable)",                                                                   \
         0,                                                                                                  \
         0},                                                                                                 \
        {"dump-dir",  0,                                                                                     \
         OPTION_TEXT, &(settings).dump_dir,                                                                  \
         "DIR",       "writes the graph after each pass as NN-<pass>.ir",                                    \
         0,           0},                                                                                    \
    {                                                                                                        \
        "threads", 0, OPTION_INT, &(settings).threads, "N", "CPU threads; 0 uses all cores", 0, 1024         \
    }

/* A model in the compiler; zero-initialise. compiled_destroy accepts any state. */
typedef struct Compiled {
    Model model;
    Arena arena; /* of an .ir graph, and of the plan */
    FileMap text;
    Graph *graph;
    PassCtx passes; /* rejections and counters */
    Plan plan;
    bool stopped; /* --stop-after ended it: no plan */
} Compiled;

/* Import (.onnx) or parse (.ir). */
Status compile_load(App *app, const char *path, const CompileSettings *settings, Compiled *out);
/* Passes over the loaded graph. */
Status compile_passes(App *app, const CompileSettings *settings, Compiled *compiled);
/* All of it: load, passes, lower. */
Status compile_model(App *app, const char *path, const CompileSettings *settings, Compiled *out);
void compiled_destroy(Compiled *compiled);

#endif
