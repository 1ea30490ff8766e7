/* The smelt program: a table of commands. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static const Command commands[] = {
    {"build", command_build, "MODEL.onnx|GRAPH.ir -o MODEL.plan [options]", "Compiles a model into a plan.",
     "smelt build model.onnx -o model.plan --gpu=sm_80,sm_90"},
    {"run", command_run, "MODEL.plan|MODEL.onnx [options]",
     "Runs a plan (or compiles a model and runs it) on input files.",
     "smelt run model.plan --input image=photo.npy --output-dir out"},
    {"check", command_check, "MODEL.onnx|MODEL.plan [options]",
     "Builds, runs, and compares the outputs with expected ones, or with the unoptimised graph on seeded "
     "random inputs.",
     "smelt check model.onnx --data test_data_set_0 --rtol 1e-3 --atol 1e-5"},
    {"bench", command_bench, "MODEL.plan|MODEL.onnx [options]",
     "Times inference and reports throughput and latency.", "smelt bench model.plan --duration 3 --profile"},
    {"inspect", command_inspect, "MODEL.onnx|MODEL.plan|TIMING.cache [options]",
     "Shows what a model, plan or timing cache holds, or what became of a node of a model.",
     "smelt inspect model.onnx --why Relu_1"},
    {"study", command_study, "MODEL.onnx [options]",
     "Builds a model with passes left out in turn and shows what each brings: kernels, traffic, work, "
     "memory, "
     "time, error.",
     "smelt study model.onnx --passes=each,fusion=fuse_vertical+fuse_horizontal --html study.html"},
    {"diff", command_diff, "A.plan B.plan", "Lists how two plans differ.", "smelt diff old.plan new.plan"},
    {"tune", command_tune, "MODEL.onnx|GRAPH.ir|\"PROBLEM LINE\"... [options]",
     "Times every tactic and config for each problem of a model, or for problems, and shows them side by "
     "side; where the GPU is not here, with the model's times.",
     "smelt tune model.onnx --precision=fp16 --filter Conv"},
    {"cache", command_cache, "merge A.txt B.txt... -o FILE",
     "Puts timing caches of one GPU together; of times for the same, the shortest counts.",
     "smelt cache merge here.txt there.txt -o all.txt"},
    {"device", command_device, "list | describe [NAME]",
     "Lists the GPUs that plans can be made for by name, or prints the description of one: by default of the "
     "GPU that is here, measured.",
     "smelt device describe > mine.gpu && smelt build model.onnx -o model.plan --gpu=./mine.gpu"},
    {"ops", command_ops, "[options]", "Lists the operators that smelt supports.", "smelt ops"},
    {"doctor", command_doctor, "", "Says what is installed, what is missing, and what each lack means.",
     "smelt doctor"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

ExitCode exit_code_of(Status status) {
    static const ExitCode codes[] = {
        [STATUS_OK] = EXIT_CODE_OK,
        [STATUS_USAGE] = EXIT_CODE_USAGE,
        [STATUS_BAD_MODEL] = EXIT_CODE_BAD_INPUT,
        [STATUS_UNSUPPORTED] = EXIT_CODE_BAD_INPUT,
        [STATUS_BAD_PLAN] = EXIT_CODE_BAD_INPUT,
        [STATUS_BAD_DATA] = EXIT_CODE_BAD_INPUT,
        [STATUS_IO] = EXIT_CODE_BAD_INPUT,
        [STATUS_WRONG_DEVICE] = EXIT_CODE_WRONG_DEVICE,
        [STATUS_NO_MEMORY] = EXIT_CODE_INTERNAL,
        [STATUS_CUDA_FAILED] = EXIT_CODE_WRONG_DEVICE,
        [STATUS_INTERNAL] = EXIT_CODE_INTERNAL,
        [STATUS_MISMATCH] = EXIT_CODE_MISMATCH,
    };
    return codes[status];
}

static void print_usage(FILE *out) {
    fprintf(out,
            "smelt %s: compiles ONNX models into plans and runs them\n\nusage: smelt COMMAND [arguments]\n\n",
            SMELT_VERSION);
    for (int i = 0; i < COMMAND_COUNT; ++i) fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
    fprintf(out,
            "\n'smelt COMMAND --help' explains each. SMELT_LOG=error|warning|info|pass|node sets how much is "
            "said.\n\n"
            "exit codes: 0 ok, 1 the check or comparison failed, 2 usage, 3 the input is not acceptable,\n"
            "            4 the device is missing or wrong, 5 an internal fault or no memory\n");
}

static void log_to_stderr(void *user, LogLevel level, const char *text) {
    static const char *const prefixes[] = {"error: ", "warning: ", "", "", ""};
    (void)user;
    fprintf(stderr, "%s%s\n", prefixes[level], text);
}

static LogLevel log_level_from_environment(void) {
    static const char *const names[] = {"error", "warning", "info", "pass", "node"};
    const char *wanted = getenv("SMELT_LOG");
    for (int i = 0; wanted != NULL && i <= LOG_NODE; ++i)
        if (strcmp(names[i], wanted) == 0) return (LogLevel)i;
    return LOG_WARNING;
}

static void print_failure(const App *app, Status status) {
    char text[DIAG_TEXT + 5 * DIAG_CONTEXT];
    Diag diag = app->diag;
    if (diag.status == STATUS_OK) diag.status = status;
    diag_format(&diag, text, sizeof text);
    fprintf(stderr, "smelt: %s\n", text);
    if (app->log.level >= LOG_PASS && diag.source_file != NULL)
        fprintf(stderr, "  (%s, %s:%d)\n", status_name(diag.status), diag.source_file, diag.source_line);
}

/* What every invocation ends with: a result that nobody got is a failure. */
static int finish(App *app, Status status) {
    bool lost = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (lost && (status == STATUS_OK || status == STATUS_MISMATCH))
        status = FAIL(&app->diag, STATUS_IO, "standard output cannot be written");
    if (status != STATUS_OK && !(status == STATUS_MISMATCH && app->diag.status == STATUS_OK))
        print_failure(app, status);
    arena_reset(&app->arena);
    return (int)exit_code_of(status);
}

int main(int argc, char **argv) {
    App app = {.log = {.line = log_to_stderr, .level = log_level_from_environment()}};
    arena_init(&app.arena, &app.allocator);
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_CODE_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return finish(&app, STATUS_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("smelt %s\n", SMELT_VERSION);
        return finish(&app, STATUS_OK);
    }
    for (int i = 0; i < COMMAND_COUNT; ++i)
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(&app, commands[i].run(&app, &commands[i], argc - 1, argv + 1));
    fprintf(stderr, "smelt: unknown command '%s'\n\n", argv[1]);
    print_usage(stderr);
    return EXIT_CODE_USAGE;
}
