#include "cli/precision.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "cli/samples.h"
#include "ir/cost.h"

/* What one run of a model may take on the host when nobody has asked for it: a second or two. */
static const int64_t most_unasked_work = (int64_t)1 << 35;

enum { MOST_FACTS = 256 }; /* lines about nodes in META */

/* -- the command line -- */

static Status find_precision(App *app, const char *name, PrecisionChoice *out) {
    const PrecisionName *row = precision_find(name);
    if (row == NULL)
        return FAIL(&app->diag, STATUS_USAGE, "--precision is '%s', expected fp32, tf32, fp16, bf16 or best",
                    name);
    out->name = row->name;
    out->options.half = row->half;
    out->options.lower = row->lower;
    out->options.tf32 = row->tf32;
    out->goal = row->goal;
    return STATUS_OK;
}

static Status find_io(App *app, const char *name, PrecisionChoice *out) {
    if (name == NULL || strcmp(name, "fp32") == 0) return STATUS_OK;
    DType dtype = strcmp(name, "fp16") == 0 ? DTYPE_F16 : strcmp(name, "bf16") == 0 ? DTYPE_BF16 : DTYPE_NONE;
    if (dtype == DTYPE_NONE)
        return FAIL(&app->diag, STATUS_USAGE, "--io-precision is '%s', expected fp32, fp16 or bf16", name);
    if (out->options.lower && dtype != out->options.half)
        return FAIL(&app->diag, STATUS_USAGE, "--io-precision=%s contradicts --precision=%s", name,
                    out->name);
    out->options.half = dtype;
    out->options.narrow_io = true;
    out->goal = fmax(out->goal, precision_find(name)->goal);
    return STATUS_OK;
}

/* "auto", "off", or folders. */
static Status read_calib(App *app, const char *text, PrecisionChoice *out) {
    if (text == NULL || strcmp(text, "auto") == 0) return STATUS_OK;
    out->off = strcmp(text, "off") == 0;
    if (out->off) return STATUS_OK;
    int32_t capacity = 0;
    for (const char *at = text + strspn(text, ","); *at != '\0'; at += strspn(at, ",")) {
        size_t length = strcspn(at, ",");
        const char *folder = arena_strndup(&app->arena, at, length);
        TRY_ALLOC(&app->diag, folder);
        if (!ARENA_RESERVE(&app->arena, out->folders, out->folder_count, capacity))
            return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
        out->folders[out->folder_count++] = folder;
        at += length;
    }
    if (out->folder_count > 0) return STATUS_OK;
    return FAIL(&app->diag, STATUS_USAGE, "--calib is '%s', expected auto, off or folders", text);
}

static Status check_companions(App *app, const CompileSettings *settings, const PrecisionChoice *choice) {
    const char *option = settings->keep_fp32.count > 0    ? "--keep-fp32"
                         : settings->force_fp16.count > 0 ? "--force-fp16"
                         : settings->max_error > 0        ? "--max-error"
                         : choice->folder_count > 0       ? "--calib"
                                                          : NULL;
    if (option != NULL && !choice->options.lower)
        return FAIL(&app->diag, STATUS_USAGE, "%s goes with --precision=fp16, bf16 or best, not with %s",
                    option, choice->name);
    if (choice->lowers && settings->from != NULL && pass_find(settings->from) > pass_find("lower_precision"))
        return FAIL(&app->diag, STATUS_USAGE,
                    "--from=%s leaves out lower_precision, which --precision=%s needs", settings->from,
                    choice->name);
    bool asks = choice->lowers || choice->options.tf32;
    if (asks && !settings->studied && text_list_has(&settings->disabled, "lower_precision"))
        return FAIL(&app->diag, STATUS_USAGE,
                    "--disable-pass=lower_precision leaves out what --precision=%s needs", choice->name);
    return STATUS_OK;
}

Status precision_choose(App *app, const CompileSettings *settings, PrecisionChoice *out) {
    *out = (PrecisionChoice){.max_error = settings->max_error};
    TRY(find_precision(app, settings->precision != NULL ? settings->precision : "fp32", out));
    TRY(find_io(app, settings->io_precision, out));
    TRY(read_calib(app, settings->calib, out));
    out->lowers = out->options.lower || out->options.narrow_io;
    TRY(check_companions(app, settings, out));
    out->asked = out->folder_count > 0 || out->max_error > 0;
    out->options.keep = settings->keep_fp32.items;
    out->options.keep_count = settings->keep_fp32.count;
    out->options.force = settings->force_fp16.items;
    out->options.force_count = settings->force_fp16.count;
    out->options.most_work = out->asked ? INT64_MAX : most_unasked_work;
    return STATUS_OK;
}

/* -- samples -- */

static Status check_sample(App *app, const Graph *graph, const Value *input, const char *folder,
                           const Tensor *tensor) {
    char got[128];
    const char *shape = shape_print(graph->dims, &input->shape, &app->arena);
    TRY_ALLOC(&app->diag, shape);
    bool fits = tensor->dtype == input->dtype && tensor->rank == input->shape.rank;
    for (int32_t i = 0; fits && i < tensor->rank; ++i)
        fits = !dim_is_exact(input->shape.dim[i]) || input->shape.dim[i] == tensor->dim[i];
    if (fits) return STATUS_OK;
    tensor_format(tensor, got, sizeof got);
    return FAIL(&app->diag, STATUS_BAD_DATA, "--calib '%s': input '%s' is %s, expected %s%s", folder,
                input->name, got, dtype_name(input->dtype), shape);
}

/* The dims of an input at the symbols' opt values; false where it is too large for a sample. */
static bool sample_dims(const Graph *graph, const Value *input, int64_t *dims) {
    const int64_t most_elements = (int64_t)1 << 26;
    int64_t count = 1;
    for (int32_t i = 0; i < input->shape.rank; ++i) {
        dims[i] = dim_at_opt(graph, input->shape.dim[i]);
        if (dims[i] < 1 && !dim_is_exact(input->shape.dim[i])) dims[i] = 1;
        if (!checked_mul_i64(count, dims[i], &count)) return false;
    }
    return count <= most_elements;
}

/* Integers are flags of masks and sorts of tokens more often than not: 0 or 1 fits everywhere. */
static Status random_samples(App *app, const Graph *graph, PrecisionChoice *choice, Tensor *samples) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    uint64_t state = 1;
    for (int32_t i = 0; i < block->param_count; ++i) {
        const Value *input = &graph->values[block->params[i]];
        int64_t dims[SMELT_MAX_RANK];
        bool fits = sample_dims(graph, input, dims) && dtype_kind(input->dtype) != DTYPE_KIND_OTHER;
        if (!fits) {
            choice->no_samples = arena_printf(
                &app->arena, "input '%s' is too large for random data, or not of numbers", input->name);
            TRY_ALLOC(&app->diag, choice->no_samples);
            return STATUS_OK;
        }
        TRY(sample_random(input->dtype, input->shape.rank, dims, 1, &state, &app->arena, &samples[i],
                          &app->diag));
    }
    choice->options.sample_count = 1;
    return STATUS_OK;
}

static Status read_samples(App *app, const Graph *graph, PrecisionChoice *choice, Tensor *samples) {
    const Block *block = &graph->blocks[MAIN_BLOCK];
    for (int32_t s = 0; s < choice->folder_count; ++s) {
        for (int32_t i = 0; i < block->param_count; ++i) {
            Tensor *sample = &samples[(int64_t)s * block->param_count + i];
            TRY(sample_read_input(app, choice->folders[s], i, sample));
            TRY(check_sample(app, graph, &graph->values[block->params[i]], choice->folders[s], sample));
        }
    }
    choice->options.sample_count = choice->folder_count;
    return STATUS_OK;
}

Status precision_samples(App *app, const Graph *graph, PrecisionChoice *choice) {
    int32_t count = choice->folder_count > 0 ? choice->folder_count : 1;
    choice->options.sample_count = 0;
    choice->no_samples = "--calib=off";
    if (!choice->options.lower || (choice->off && choice->max_error == 0)) return STATUS_OK;
    Tensor *samples =
        ARENA_ARRAY(&app->arena, Tensor, (int64_t)count * graph->blocks[MAIN_BLOCK].param_count);
    TRY_ALLOC(&app->diag, samples);
    choice->options.samples = samples;
    if (choice->folder_count > 0) return read_samples(app, graph, choice, samples);
    return random_samples(app, graph, choice, samples);
}

/* -- errors -- */

static double allowed_error(const PrecisionChoice *choice) {
    return choice->max_error > 0 ? choice->max_error : choice->goal;
}

/* In units of the type's rounding error: from the pass's own choice down to where nothing is narrow. */
static const double tolerances[] = {PRECISION_TOLERANCE, 3, 2, 1.5, 1.1, 0.5};

double precision_tolerance(const PrecisionChoice *choice, int attempt) {
    return tolerances[attempt] * (choice->options.half == DTYPE_BF16 ? 0x1p-9 : 0x1p-11);
}

bool precision_should_retry(const App *app, const PrecisionChoice *choice, const Compiled *compiled,
                            const Accuracy *accuracy, int attempt) {
    bool last = attempt + 1 == (int)(sizeof tolerances / sizeof tolerances[0]);
    bool wanted = choice->asked || isinf(accuracy->error);
    if (!accuracy->measured || accuracy->error <= allowed_error(choice) || last || !wanted ||
        !precision_calibrates(compiled->graph, &choice->options))
        return false;
    log_line(&app->log, LOG_INFO, "error %.2g of output '%s' is above %.2g: keeping more nodes in f32",
             accuracy->error, accuracy->worst, allowed_error(choice));
    return true;
}

Status precision_enforce(App *app, const PrecisionChoice *choice, const Accuracy *accuracy) {
    if (choice->max_error == 0 || !accuracy->measured || accuracy->error <= choice->max_error)
        return STATUS_OK;
    diag_hint(&app->diag,
              "--keep-fp32 keeps nodes that you name; --calib=DIR takes inputs like those of use");
    return FAIL(&app->diag, STATUS_MISMATCH,
                "the error of output '%s' is %.2g of its range, --max-error is %.2g", accuracy->worst,
                accuracy->error, choice->max_error);
}

/* -- reports -- */

static bool is_kept(const Compiled *compiled, int32_t i) {
    return strcmp(compiled->passes.rejections[i].pass, "lower_precision") == 0;
}

static int32_t kept_count(const Compiled *compiled) {
    int32_t count = 0;
    for (int32_t i = 0; i < compiled->passes.rejection_count; ++i) count += is_kept(compiled, i);
    return count;
}

/* "Softmax_12 (Softmax): stays f32: ..."; the passes behind may have made another operator of the node. */
static const char *kept_text(App *app, const Compiled *compiled, int32_t i) {
    const Rejection *rejection = &compiled->passes.rejections[i];
    const Node *node = &compiled->graph->nodes[rejection->node];
    const char *name = node->origin_count > 0 ? node->origins[0] : node->name;
    if (name[0] == '\0' && node->output_count > 0 && node->outputs[0] != NONE)
        name = compiled->graph->values[node->outputs[0]].name;
    return arena_printf(&app->arena, "%s (%s): %s", name,
                        node->op != OP_NONE ? op_def(node->op)->name : "gone", rejection->reason);
}

void precision_report(App *app, const PrecisionChoice *choice, const Compiled *compiled,
                      const Accuracy *accuracy) {
    int32_t kept = kept_count(compiled);
    bool calibrated = precision_calibrates(compiled->graph, &choice->options);
    if (!choice->options.lower) return;
    for (int32_t i = 0; i < compiled->passes.rejection_count; ++i) {
        const char *text = is_kept(compiled, i) ? kept_text(app, compiled, i) : NULL;
        if (text != NULL) log_line(&app->log, LOG_PASS, "%s", text);
    }
    if (app->log.level < LOG_WARNING) return;
    if (kept > 0)
        fprintf(stderr, "%s: %d node%s f32%s", choice->name, kept, kept == 1 ? " stays" : "s stay",
                app->log.level < LOG_PASS ? " (--verbose says which, and why)" : "");
    else
        fprintf(stderr, "%s: nothing speaks for f32", choice->name);
    fprintf(stderr, "%s; ", calibrated ? "" : ", not calibrated");
    if (accuracy->measured)
        fprintf(stderr, "error relative to the output's range: %s%s\n", accuracy->text,
                accuracy->error <= allowed_error(choice)
                    ? ""
                    : ", which is much; --max-error or --calib=DIR keeps f32 where that helps");
    else
        fprintf(stderr, "not compared with f32: %s\n", accuracy->why_not);
}

static Status add_fact(App *app, BuildSettings *build, const char **lines, const char *line) {
    TRY_ALLOC(&app->diag, line);
    lines[build->fact_count++] = line;
    return STATUS_OK;
}

Status precision_facts(App *app, const PrecisionChoice *choice, const Compiled *compiled,
                       const Accuracy *accuracy, BuildSettings *build) {
    Arena *arena = &app->arena;
    int32_t kept = kept_count(compiled), shown = 0;
    const char **lines = ARENA_ARRAY(arena, const char *, 4 + MOST_FACTS);
    TRY_ALLOC(&app->diag, lines);
    build->precision = choice->name;
    build->facts = lines;
    build->fact_count = 0;
    if (!choice->lowers) return STATUS_OK;
    if (choice->options.narrow_io)
        TRY(add_fact(app, build, lines, arena_printf(arena, "io=%s", dtype_name(choice->options.half))));
    if (!choice->options.lower) return STATUS_OK;
    if (accuracy->measured)
        TRY(add_fact(
            app, build, lines,
            arena_printf(arena, "error=%.2g of the range of '%s'", accuracy->error, accuracy->worst)));
    else
        TRY(add_fact(app, build, lines, arena_printf(arena, "error=not measured: %s", accuracy->why_not)));
    TRY(add_fact(app, build, lines, arena_printf(arena, "kept=%d", kept)));
    for (int32_t i = 0; i < compiled->passes.rejection_count && shown < MOST_FACTS; ++i) {
        const char *text = is_kept(compiled, i) ? kept_text(app, compiled, i) : NULL;
        if (text == NULL) continue;
        TRY(add_fact(app, build, lines, arena_printf(arena, "kept.%03d=%s", ++shown, text)));
    }
    return STATUS_OK;
}
