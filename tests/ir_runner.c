/* Runs the text tests of a folder: ir_runner [--update] FOLDER | FILE...
 *
 * A file holds cases, separated by lines that begin with "=====". A case is an input graph (docs/ir.md),
 * a line "---", and the graph that is expected, compared byte by byte. Comment lines of the input steer it:
 *   # pass: NAME, NAME    passes to run, in this order; without it the graph is read, verified and printed
 *   # target: strided     the passes work for a target whose kernels take values in any layout, and slices
 *   # cost: linear|square  the target takes every step, N nodes in N + 2 or in N * N microseconds
 *   # precision: fp16|bf16|tf32 [io] [keep=PATTERN] [force=PATTERN]   what lower_precision is told
 *   # samples: X          it calibrates with one sample, whose elements go from -X to X
 *   # error: TEXT         instead of an expected graph: reading, verifying or a pass fails, and the message
 *                         contains TEXT
 *   # rejects: TEXT       a reason that the passes give for something they did not do contains TEXT
 * --update rewrites the expected graphs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ir/cost.h"
#include "passes/precision.h"

typedef struct Case {
    const char *file;
    int32_t number;               /* in its file, from 1 */
    const char *input, *expected; /* expected NULL: there is no "---" line */
    const char *passes, *target, *cost, *precision, *samples, *error, *rejects; /* NULL where not said */
} Case;

typedef struct Totals {
    int32_t cases, failures;
    bool update;
} Totals;

/* -- reading cases -- */

/* Text of the first line that begins with prefix, blanks after it skipped. */
static const char *find_line(Arena *arena, const char *text, const char *prefix) {
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, prefix, strlen(prefix)) == 0) {
            line += strlen(prefix);
            line += strspn(line, " ");
            return arena_strndup(arena, line, strcspn(line, "\n"));
        }
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return NULL;
}

/* Cuts text before the next line that begins with prefix and returns what follows that line, or NULL. */
static char *cut_at_line(char *text, const char *prefix) {
    for (char *line = text; line != NULL && *line != '\0';) {
        char *next = strchr(line, '\n');
        if (strncmp(line, prefix, strlen(prefix)) == 0) {
            *line = '\0';
            return next == NULL ? line + strlen(line) : next + 1;
        }
        line = next == NULL ? NULL : next + 1;
    }
    return NULL;
}

static Case read_case(Arena *arena, const char *file, int32_t number, char *text) {
    Case out = {.file = file, .number = number, .input = text};
    out.expected = cut_at_line(text, "---");
    out.passes = find_line(arena, text, "# pass:");
    out.target = find_line(arena, text, "# target:");
    out.cost = find_line(arena, text, "# cost:");
    out.precision = find_line(arena, text, "# precision:");
    out.samples = find_line(arena, text, "# samples:");
    out.error = find_line(arena, text, "# error:");
    out.rejects = find_line(arena, text, "# rejects:");
    return out;
}

/* -- running them -- */

/* "fp16 io keep=Conv_*" */
static PrecisionOptions read_precision(const Case *test, Arena *arena) {
    PrecisionOptions out = {.half = DTYPE_F16, .most_work = INT64_MAX};
    char *words = arena_strdup(arena, test->precision), *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        const char **pattern = ARENA_NEW(arena, const char *);
        *pattern = strchr(word, '=') != NULL ? strchr(word, '=') + 1 : "";
        if (strcmp(word, "bf16") == 0) out.half = DTYPE_BF16;
        if (strcmp(word, "fp16") == 0 || strcmp(word, "bf16") == 0) out.lower = true;
        if (strcmp(word, "tf32") == 0) out.tf32 = true;
        if (strcmp(word, "io") == 0) out.narrow_io = true;
        if (strncmp(word, "keep=", 5) == 0) out.keep = pattern, out.keep_count = 1;
        if (strncmp(word, "force=", 6) == 0) out.force = pattern, out.force_count = 1;
    }
    return out;
}

/* One sample of the graph's inputs. */
static void make_sample(const Case *test, const Graph *graph, Arena *arena, PrecisionOptions *out) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    if (test->samples == NULL) return;
    Tensor *sample = ARENA_ARRAY(arena, Tensor, block->param_count);
    double scale = strtod(test->samples, NULL);
    for (int32_t i = 0; i < block->param_count; ++i) {
        const Value *value = &graph->values[block->params[i]];
        sample[i] = (Tensor){.dtype = value->dtype, .rank = value->shape.rank};
        for (int32_t k = 0; k < value->shape.rank; ++k)
            sample[i].dim[k] = dim_at_opt(graph, value->shape.dim[k]);
        int64_t count = tensor_count(&sample[i]);
        sample[i].data = arena_alloc(arena, tensor_bytes(&sample[i]));
        for (int64_t e = 0; e < count; ++e)
            dtype_store_f64(value->dtype, sample[i].data, e,
                            scale * (count > 1 ? 2 * (double)e / (double)(count - 1) - 1 : 1));
    }
    out->samples = sample;
    out->sample_count = 1;
}

static const char *takes_all(void *user, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                             int32_t count) {
    (void)user, (void)graph, (void)uses, (void)nodes, (void)count;
    return NULL;
}

/* The least by what steps cost that have so many nodes. */
static int32_t choose_cheapest(void *user, const Graph *graph, const UseTable *uses, Way *ways,
                               int32_t count) {
    int32_t best = 0;
    (void)graph, (void)uses;
    for (int32_t w = 0; w < count; ++w) {
        for (int32_t s = ways[w].shared; s < ways[w].step_count; ++s) {
            int32_t nodes;
            (void)way_step(&ways[w], s, &nodes);
            ways[w].microseconds += strcmp(user, "square") == 0 ? (double)nodes * nodes : nodes + 2.0;
        }
        if (ways[w].microseconds < ways[best].microseconds) best = w;
    }
    return best;
}

static Status run_passes(const Case *test, Graph *graph, Arena *arena, bool *rejected, Diag *diag) {
    PrecisionOptions precision = {0};
    if (test->precision != NULL) precision = read_precision(test, arena);
    make_sample(test, graph, arena, &precision);
    char *names = arena_strdup(arena, test->passes == NULL ? "" : test->passes), *rest = NULL;
    for (char *name = strtok_r(names, ", ", &rest); name != NULL; name = strtok_r(NULL, ", ", &rest)) {
        PassTarget target = {.refuses = takes_all,
                             .choose = choose_cheapest,
                             .user = arena_strdup(arena, test->cost != NULL ? test->cost : "")};
        PassOptions options = {.start_from = name,
                               .stop_after = name,
                               .precision = test->precision != NULL ? &precision : NULL,
                               .target = test->cost != NULL ? &target : NULL,
                               .strided = test->target != NULL && strcmp(test->target, "strided") == 0};
        PassCtx ctx = {0};
        TRY(passes_run(graph, &options, &ctx, diag));
        for (int32_t i = 0; i < ctx.rejection_count && test->rejects != NULL; ++i)
            *rejected = *rejected || strstr(ctx.rejections[i].reason, test->rejects) != NULL;
    }
    return STATUS_OK;
}

static Status run_case(const Case *test, Arena *arena, const char **printed, bool *rejected, Diag *diag) {
    Graph *graph;
    ByteWriter out = byte_writer(arena);
    TRY(graph_parse(test->input, strlen(test->input), test->file, NULL, arena, &graph, diag));
    TRY(graph_verify(graph, STATUS_BAD_MODEL, diag));
    TRY(run_passes(test, graph, arena, rejected, diag));
    TRY(graph_print(graph, NULL, &out, diag));
    write_u8(&out, 0);
    *printed = (const char *)out.data;
    return STATUS_OK;
}

static void say(const Case *test, const char *what, const char *text) {
    fprintf(stderr, "%s, case %d: %s%s\n", test->file, test->number, what, text);
}

/* Shows the first line in which the texts differ. */
static void say_difference(const Case *test, const char *expected, const char *actual) {
    size_t line = 0, i = 0;
    for (; expected[i] != '\0' && expected[i] == actual[i]; ++i)
        if (expected[i] == '\n') line = i + 1;
    say(test, "the graph is not the expected one", "");
    fprintf(stderr, "  expected: %.*s\n", (int)strcspn(expected + line, "\n"), expected + line);
    fprintf(stderr, "  actual:   %.*s\n", (int)strcspn(actual + line, "\n"), actual + line);
}

static bool check_error(const Case *test, Status status, const char *message) {
    if (status == STATUS_OK) {
        say(test, "passes, expected to fail with: ", test->error);
        return false;
    }
    if (strstr(message, test->error) != NULL) return true;
    say(test, "fails with: ", message);
    say(test, "expected: ", test->error);
    return false;
}

/* Checks one case; *printed receives the graph where there is one. */
static bool check_case(const Case *test, bool update, Arena *arena, const char **printed) {
    Diag diag = {0};
    char message[2048];
    bool rejected = false;
    Status status = run_case(test, arena, printed, &rejected, &diag);
    diag_format(&diag, message, sizeof message);
    if (test->error != NULL) return check_error(test, status, message);
    if (status != STATUS_OK) {
        say(test, "fails: ", message);
        return false;
    }
    if (test->rejects != NULL && !rejected) {
        say(test, "nothing was rejected with: ", test->rejects);
        return false;
    }
    if (update) return true;
    if (test->expected == NULL) {
        say(test, "has no expected graph and no error line", "");
        return false;
    }
    if (strcmp(test->expected, *printed) == 0) return true;
    say_difference(test, test->expected, *printed);
    return false;
}

static bool run_file(const char *path, Totals *totals) {
    Arena arena = {0};
    Diag diag = {0};
    FileMap map;
    ByteWriter rewritten = byte_writer(&arena);
    if (file_map(path, &map, &diag) != STATUS_OK) {
        fprintf(stderr, "%s\n", diag.text);
        return false;
    }
    char *text = arena_strndup(&arena, (const char *)map.data, map.size);
    file_unmap(&map);
    int32_t number = 1;
    for (char *next; text != NULL; text = next, ++number) {
        next = cut_at_line(text, "=====");
        Case test = read_case(&arena, path, number, text);
        const char *printed = NULL;
        totals->cases++;
        if (!check_case(&test, totals->update, &arena, &printed)) totals->failures++;
        if (printed == NULL) printed = test.expected;
        write_format(&rewritten, "%s%s", number > 1 ? "=====\n" : "", test.input);
        if (test.error == NULL) write_format(&rewritten, "---\n%s", printed == NULL ? "" : printed);
    }
    bool fine = !totals->update || file_replace(path, rewritten.data, rewritten.size, &diag) == STATUS_OK;
    if (!fine) fprintf(stderr, "%s\n", diag.text);
    arena_reset(&arena);
    return fine;
}

static bool run_path(const char *path, Totals *totals) {
    Arena arena = {0};
    Diag diag = {0};
    char **names;
    int32_t count;
    size_t length = strlen(path);
    if (length > 3 && strcmp(path + length - 3, ".ir") == 0) return run_file(path, totals);
    bool fine = folder_list(&arena, path, &names, &count, &diag) == STATUS_OK;
    if (!fine) fprintf(stderr, "%s\n", diag.text);
    for (int32_t i = 0; fine && i < count; ++i) {
        length = strlen(names[i]);
        if (length > 3 && strcmp(names[i] + length - 3, ".ir") == 0)
            fine = run_file(path_join(&arena, path, names[i]), totals);
    }
    arena_reset(&arena);
    return fine;
}

int main(int argc, char **argv) {
    Totals totals = {0};
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "--update") == 0)
            totals.update = true;
        else if (!run_path(argv[i], &totals))
            return 2;
    }
    fprintf(stderr, "%d cases, %d failed\n", totals.cases, totals.failures);
    return totals.cases > 0 && totals.failures == 0 ? 0 : 1;
}
