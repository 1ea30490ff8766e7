#include "cli/profile.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "cli/target.h"

/* -- reading -- */

static void rate(const Profile *profile, ProfiledStep *s) {
    const SmeltStepProfile *step = &s->step;
    s->kernel = step->microseconds;
    if (profile->device == NULL || step->launches == 0) return;
    double gaps = profile->device->launch_us * step->launches;
    s->gap = gaps < step->microseconds ? gaps : step->microseconds;
    s->kernel = step->microseconds - s->gap;
    DType dtype = step->matrix_bits == 0 || step->matrix_bits >= 19 ? DTYPE_F32
                  : step->matrix_bits == 16                         ? DTYPE_F16
                                                                    : DTYPE_I8;
    bool tf32 = step->matrix_bits == 19;
    double memory = device_roofline_us(profile->device, dtype, tf32, 0, (double)step->bytes);
    s->floor = device_roofline_us(profile->device, dtype, tf32, step->flops, (double)step->bytes);
    s->by_arithmetic = s->floor > memory;
}

static Status read_steps(App *app, const Session *session, Profile *out) {
    int count = smelt_context_step_count(session->context);
    SmeltError error = {0};
    out->steps = ARENA_ARRAY(&app->arena, ProfiledStep, count);
    TRY_ALLOC(&app->diag, out->steps);
    for (int i = 0; i < count; ++i) {
        ProfiledStep *s = &out->steps[out->step_count];
        *s = (ProfiledStep){0};
        if (smelt_context_step(session->context, i, &s->step, &error) != SMELT_OK)
            return FAIL(&app->diag, (Status)error.status, "%s", error.message);
        if (s->step.runs == 0) continue;
        rate(out, s);
        out->steps_sum += s->step.microseconds;
        out->gap += s->gap;
        out->floor += s->floor;
        out->launches += s->step.launches;
        out->step_count++;
    }
    return STATUS_OK;
}

/* -- nodes -- */

typedef struct NodeTable {
    App *app;
    NameMap known; /* name -> node */
    Profile *profile;
    int32_t capacity;
} NodeTable;

static Status add_time(NodeTable *table, const char *name, double microseconds) {
    Arena *arena = &table->app->arena;
    Profile *profile = table->profile;
    int32_t at = name_map_find(&table->known, name);
    if (at < 0) {
        at = profile->node_count;
        if (!name_map_set(&table->known, arena, name, at) ||
            !ARENA_RESERVE(arena, profile->nodes, profile->node_count, table->capacity))
            return FAIL(&table->app->diag, STATUS_NO_MEMORY, "out of memory");
        profile->nodes[profile->node_count++] = (ProfiledNode){name, 0};
    }
    profile->nodes[at].microseconds += microseconds;
    return STATUS_OK;
}

/* The ONNX node that an operator was made of first; those that it took in have no time of their own. */
static const char *first_line(Arena *arena, const char *lines) {
    return arena_printf(arena, "%.*s", (int)strcspn(lines, "\n"), lines);
}

/* A step's time goes to its operators as they have operations, evenly where none has any. */
static Status divide_step(NodeTable *table, SmeltContext *context, int index, const SmeltStepProfile *step) {
    App *app = table->app;
    SmeltError error = {0};
    const char *origins;
    double flops, total = 0;
    int named = 0;
    for (int pass = 0; pass < 2; ++pass)
        for (int i = 0; i < step->operators; ++i) {
            if (smelt_context_step_operator(context, index, i, &origins, &flops, &error) != SMELT_OK)
                return FAIL(&app->diag, (Status)error.status, "%s", error.message);
            if (origins[0] == '\0') continue;
            if (pass == 0) {
                total += flops;
                ++named;
                continue;
            }
            double part = total > 0 ? flops / total : 1.0 / named;
            const char *name = first_line(&app->arena, origins);
            TRY_ALLOC(&app->diag, name);
            if (part > 0) TRY(add_time(table, name, part * step->microseconds));
        }
    if (named > 0) return STATUS_OK;
    const char *name = arena_printf(&app->arena, "(%s)", step->name);
    TRY_ALLOC(&app->diag, name);
    return add_time(table, name, step->microseconds);
}

static Status read_nodes(App *app, const Session *session, Profile *out) {
    NodeTable table = {.app = app, .profile = out};
    int count = smelt_context_step_count(session->context);
    SmeltStepProfile step;
    SmeltError error = {0};
    for (int i = 0; i < count; ++i) {
        if (smelt_context_step(session->context, i, &step, &error) != SMELT_OK)
            return FAIL(&app->diag, (Status)error.status, "%s", error.message);
        if (step.runs > 0) TRY(divide_step(&table, session->context, i, &step));
    }
    return STATUS_OK;
}

Status profile_read(App *app, const Session *session, double measured, Profile *out) {
    SmeltDevice device = {0};
    *out = (Profile){.measured = measured, .start = smelt_context_profile_start(session->context)};
    (void)smelt_engine_device(session->engine, &device, NULL);
    if (device.compute_capability > 0) TRY(target_describe(app, &device, &out->device));
    TRY(read_steps(app, session, out));
    TRY(read_nodes(app, session, out));
    out->rest = measured - out->start - out->steps_sum;
    return STATUS_OK;
}

/* -- text -- */

static double percent(double part, double whole) {
    return whole > 0 ? 100 * part / whole : 0;
}

static void print_rates(const Profile *profile, const ProfiledStep *s) {
    const SmeltStepProfile *step = &s->step;
    double us = step->microseconds;
    printf("%9.2f %6.2f%% ", us, percent(us, profile->measured));
    if (profile->device == NULL)
        printf("%11s %9.2f %8.1f %8.1f  ", byte_text((double)step->bytes).text, step->flops * 1e-6,
               us > 0 ? step->flops / us * 1e-3 : 0, us > 0 ? (double)step->bytes / us * 1e-3 : 0);
    else if (step->launches == 0)
        printf("%6s %9s %16s %11s %9.2f %8s %8s  ", "", "", "", byte_text((double)step->bytes).text,
               step->flops * 1e-6, "", "");
    else
        printf("%6.2f %9.2f %6.1f%% %-8s %11s %9.2f %8.1f %8.1f  ", s->gap, s->kernel, percent(s->floor, us),
               s->by_arithmetic ? "math" : "memory", byte_text((double)step->bytes).text, step->flops * 1e-6,
               us > 0 ? step->flops / us * 1e-3 : 0, us > 0 ? (double)step->bytes / us * 1e-3 : 0);
}

static void print_steps(const Profile *profile) {
    printf("%9s %7s ", "us", "share");
    if (profile->device != NULL) printf("%6s %9s %7s %-8s ", "gap", "kernel", "floor", "by");
    printf("%11s %9s %8s %8s  %-4s %-28s %s\n", "bytes", "MFLOP", "GFLOP/s", "GB/s", "on", "step",
           "ONNX nodes");
    for (int32_t i = 0; i < profile->step_count; ++i) {
        const ProfiledStep *s = &profile->steps[i];
        print_rates(profile, s);
        printf("%-4s %-28s ",
               s->step.library_calls > 0 ? "lib"
               : s->step.launches > 0    ? "GPU"
                                         : "host",
               s->step.name);
        if (s->step.choice[0] != '\0') printf("[%s] ", s->step.choice);
        for (const char *c = s->step.origins; *c != '\0'; ++c) putchar(*c == '\n' ? ' ' : *c);
        putchar('\n');
    }
}

void profile_print(const Profile *profile) {
    printf("\n=== Profile ===\n");
    if (profile->device != NULL)
        printf("%9.2f %6.2f%%  start of the first CUDA graph\n", profile->start,
               percent(profile->start, profile->measured));
    print_steps(profile);
    printf("%9.2f %6.2f%%  nothing accounts for: %s\n", profile->rest,
           percent(profile->rest, profile->measured),
           profile->device != NULL ? "copies and waits between host and device, differences of runs"
                                   : "the time between steps, differences of runs");
    double accounted = profile->measured - profile->rest;
    printf("%9.2f us of %.2f us of a whole run (%.2f%%)", accounted, profile->measured,
           percent(accounted, profile->measured));
    if (profile->device != NULL)
        printf("; %d launches, %.2f us of gaps between them, floor %.2f us (%.1f%%; %s, %s)",
               profile->launches, profile->gap, profile->floor, percent(profile->floor, profile->measured),
               profile->device->name, profile->device->label);
    printf("\n\n=== ONNX nodes ===\n%9s %7s  %s\n", "us", "share", "node");
    for (int32_t i = 0; i < profile->node_count; ++i)
        printf("%9.2f %6.2f%%  %s\n", profile->nodes[i].microseconds,
               percent(profile->nodes[i].microseconds, profile->measured), profile->nodes[i].name);
}

/* -- JSON -- */

static void write_step(const ProfiledStep *s, ByteWriter *out) {
    const SmeltStepProfile *step = &s->step;
    write_format(out, "{\"name\": ");
    write_json_text(out, step->name);
    write_format(out, ", \"choice\": ");
    write_json_text(out, step->choice);
    write_format(out,
                 ", \"us\": %.9g, \"gap_us\": %.9g, \"kernel_us\": %.9g, \"floor_us\": %.9g, "
                 "\"launches\": %d, \"bytes\": %lld, \"flops\": %.9g, \"nodes\": [",
                 step->microseconds, s->gap, s->kernel, s->floor, step->launches, (long long)step->bytes,
                 step->flops);
    for (const char *line = step->origins; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        const char *name = arena_printf(out->arena, "%.*s", (int)length, line);
        if (line != step->origins) write_format(out, ", ");
        write_json_text(out, name != NULL ? name : "");
        line += length + (line[length] == '\n');
    }
    write_format(out, "]}");
}

void profile_write_json(const Profile *profile, ByteWriter *out) {
    write_format(out,
                 "{\n    \"measured_us\": %.9g,\n    \"start_us\": %.9g,\n    \"steps_us\": %.9g,\n    "
                 "\"rest_us\": %.9g,\n    \"gap_us\": %.9g,\n    \"floor_us\": %.9g,\n    \"launches\": %d,\n"
                 "    \"steps\": [",
                 profile->measured, profile->start, profile->steps_sum, profile->rest, profile->gap,
                 profile->floor, profile->launches);
    for (int32_t i = 0; i < profile->step_count; ++i) {
        write_format(out, i == 0 ? "\n      " : ",\n      ");
        write_step(&profile->steps[i], out);
    }
    write_format(out, "\n    ],\n    \"nodes\": [");
    for (int32_t i = 0; i < profile->node_count; ++i) {
        write_format(out, i == 0 ? "\n      {\"name\": " : ",\n      {\"name\": ");
        write_json_text(out, profile->nodes[i].name);
        write_format(out, ", \"us\": %.9g}", profile->nodes[i].microseconds);
    }
    write_format(out, "\n    ]\n  }");
}
