/* Model to plan, for every command that needs one. */
#ifndef SMELT_CLI_COMPILE_H
#define SMELT_CLI_COMPILE_H

#include "cli/cli.h"
#include "compiler/pipeline.h"
#include "compiler/plugin.h"
#include "frontend/import.h"

typedef struct CompileSettings {
    const char *target, *gpu, *precision, *dump_dir, *stop_after, *from, *cache_dir, *io_precision, *calib,
        *tune, *tactics, *timing_cache;
    TextList shapes, profiles, disabled, plugins, keep_fp32, force_fp16;
    double max_error;
    int64_t threads, device, variant;
    bool reproducible; /* nothing is measured, and of measurements only those of timing_cache count */
    History *history;  /* NULL: none is kept */
    bool studied;      /* passes may be off whatever other options need them */
} CompileSettings;

/* The options that build, run, check and bench share; expands to rows of an Option table. */
/* clang-format off */
#define COMPILE_OPTIONS(settings) \
    {"target", 0, OPTION_TEXT, &(settings).target, "cpu|cuda", "what to compile for; cuda where a GPU is here, else cpu", 0, 0}, \
    {"gpu", 0, OPTION_TEXT, &(settings).gpu, "native|sm_80,h100,F.gpu", "the GPUs that the plan is for, by architecture, name or description; none need be here", 0, 0}, \
    {"device", 0, OPTION_INT, &(settings).device, "N", "which GPU of this machine (0)", 0, 1023}, \
    {"cache-dir", 0, OPTION_TEXT, &(settings).cache_dir, "DIR", "where compiled kernels are kept (~/.cache/smelt)", 0, 0}, \
    {"precision", 0, OPTION_TEXT, &(settings).precision, "fp32|tf32|fp16|bf16|best", \
     "of the arithmetic; what would lose too much keeps fp32 and is listed (--verbose)", 0, 0}, \
    {"keep-fp32", 0, OPTION_LIST, &(settings).keep_fp32, "PATTERN", "nodes or operators that keep fp32; * and ? match (repeatable)", 0, 0}, \
    {"force-fp16", 0, OPTION_LIST, &(settings).force_fp16, "PATTERN", "nodes or operators that do not, whatever speaks against it", 0, 0}, \
    {"io-precision", 0, OPTION_TEXT, &(settings).io_precision, "fp32|fp16|bf16", "of float inputs and outputs; fp32 keeps the model's types", 0, 0}, \
    {"calib", 0, OPTION_TEXT, &(settings).calib, "auto|off|DIR,...", \
     "inputs that precision is chosen and compared on, in ONNX's test layout; auto: seeded random ones", 0, 0}, \
    {"max-error", 0, OPTION_REAL, &(settings).max_error, "E", \
     "largest error of reduced precision, relative to an output's range; above it the build fails", 0, 0}, \
    {"shape", 0, OPTION_LIST, &(settings).shapes, "NAME:1x3x8x8", "fixes an input's shape; '?' keeps a dimension dynamic", 0, 0}, \
    {"profile-shape", 0, OPTION_LIST, &(settings).profiles, "NAME:MIN,OPT,MAX", \
     "range of a dynamic input, e.g. x:1x3x32x32,1x3x64x64,8x3x128x128", 0, 0}, \
    {"disable-pass", 0, OPTION_LIST, &(settings).disabled, "PASS", "leaves a pass out (repeatable)", 0, 0}, \
    {"plugin-pass", 0, OPTION_LIST, &(settings).plugins, "FILE.so", "runs the passes of a shared object too (docs/passes.md)", 0, 0}, \
    {"dump-dir", 0, OPTION_TEXT, &(settings).dump_dir, "DIR", "writes the graph after each pass as NN-<pass>.ir, and kernels", 0, 0}, \
    {"tune", 0, OPTION_TEXT, &(settings).tune, "quick|full|first|off", \
     "times tactics on this machine's GPU and keeps the fastest (build and bench: quick; else off)", 0, 0}, \
    {"tactics", 0, OPTION_TEXT, &(settings).tactics, "+NAME,-NAME", \
     "switches tactics on that are optional (conv_tf32x3, matmul_tf32x3, cublaslt, cudnn), or any off (docs/tuning.md)", 0, 0}, \
    {"timing-cache", 0, OPTION_TEXT, &(settings).timing_cache, "FILE", \
     "times to choose by, and where new ones go; by default one for each GPU in the cache folder", 0, 0}, \
    {"kernel-variant", 0, OPTION_INT, &(settings).variant, "N", \
     "another tactic and config for every step: the N-th that it can have (for tests)", 0, 1000000}, \
    {"threads", 0, OPTION_INT, &(settings).threads, "N", "CPU threads; 0 uses all cores", 0, 1024}
/* clang-format on */

/* What a plan is made for. */
typedef struct Target {
    bool cuda;
    DeviceList devices;    /* of a cuda target */
    struct Tuning *tuning; /* cli/tune.h; NULL: no times are there to choose by */
} Target;

/* A model in the compiler; zero-initialise. compiled_destroy accepts any state. */
typedef struct Compiled {
    Model model;
    Arena arena; /* of an .ir graph, and of the plan */
    FileMap text;
    Graph *graph;
    Target target;
    PluginSet plugins;
    PassCtx passes;                    /* rejections and counters */
    struct PrecisionChoice *precision; /* cli/precision.h; in the app's arena */
    const TimingCache *timings; /* that the plan's tactics were chosen by; NULL: none. In the app's arena */
    Plan plan;
    bool stopped; /* --stop-after ended it: no plan */
} Compiled;

/* USAGE where an option says how to compile: the file is a plan, and has been compiled. */
Status compile_is_done(App *app, const CompileSettings *settings, const char *path);
/* By its name or its first bytes. */
bool is_plan_path(const char *path);
/* Import (.onnx) or parse (.ir). */
Status compile_load(App *app, const char *path, const CompileSettings *settings, Compiled *out);
/* Passes over the loaded graph. */
Status compile_passes(App *app, const CompileSettings *settings, Compiled *compiled);
/* Lays memory out anew for the target. */
Status compile_memory(App *app, const CompileSettings *settings, Compiled *compiled);
/* Finds the types of all values: a GraphInfer. */
Status compile_infer(Graph *graph, Diag *diag);
/* Load and passes, for the target: what is to be lowered. */
Status compile_graph(App *app, const char *path, const CompileSettings *settings, Compiled *out);
/* All of it: load, passes, lower. */
Status compile_model(App *app, const char *path, const CompileSettings *settings, Compiled *out);
void compiled_destroy(Compiled *compiled);

#endif
