/* Where the time of a GPU plan goes. Each profiled run measures how long every stretch of launches takes
 * until one of its steps is done, and the next run until the next one; the rest of the stretch follows behind
 * the event, so that caches and clocks are as in any run. A step's time is what it adds: the difference to
 * the step in front of it. */
#include <string.h>

#include "runtime/cuda.h"

enum { MOST_SAMPLES = 32 };

typedef struct Samples {
    int64_t runs;
    float sorted[MOST_SAMPLES]; /* microseconds of the first ones */
} Samples;

/* A stretch in the run at hand. */
typedef struct CutStretch {
    int32_t step;         /* the last one in front of the event; -1: nothing is measured */
    int32_t repeats;      /* of what is in front */
    CudaHandle graphs[2]; /* in front of the event and behind it; NULL: one by one, or nothing */
} CutStretch;

struct CudaProfile {
    CudaHandle *marks;   /* per step two events: around a late step, or what is in front in its stretch */
    Samples *until_done; /* per step: from the start of its stretch; of a late one: by itself */
    Samples first_twice; /* of the first step of the first stretch */
    CutStretch *cuts;    /* per stretch */
    int64_t turn;
};

/* -- samples -- */

static void add_sample(Samples *samples, float microseconds) {
    int64_t at = samples->runs++;
    if (at >= MOST_SAMPLES) return;
    for (; at > 0 && samples->sorted[at - 1] > microseconds; --at)
        samples->sorted[at] = samples->sorted[at - 1];
    samples->sorted[at] = microseconds;
}

static double median(const Samples *samples) {
    int64_t count = samples->runs < MOST_SAMPLES ? samples->runs : MOST_SAMPLES;
    if (count == 0) return 0;
    return ((double)samples->sorted[(count - 1) / 2] + (double)samples->sorted[count / 2]) / 2;
}

/* -- what a run measures -- */

static bool launches_something(const SmeltContext *context, int32_t step) {
    return context->plan->steps[step].launch_count > 0;
}

/* The n-th step of the stretch that launches something; -1: there are fewer. */
static int32_t nth_step(const SmeltContext *context, const Stretch *stretch, int64_t n) {
    for (int32_t s = stretch->step_first; s < stretch->step_first + stretch->step_count; ++s)
        if (launches_something(context, s) && n-- == 0) return s;
    return -1;
}

/* Where the first stretch begins nothing but inputs and weights is in memory, which its first step leaves as
 * they are, so that it may run twice: what that adds to its time is the step without the graph's start. */
static CutStretch choose_cut(const SmeltContext *context, int32_t index) {
    const Stretch *stretch = &context->cuda->stretches[index];
    int64_t count = 0, extra = index == 0;
    for (int32_t s = stretch->step_first; s < stretch->step_first + stretch->step_count; ++s)
        count += launches_something(context, s);
    if (count == 0) return (CutStretch){.step = -1};
    int64_t turn = context->cuda->profile->turn % (count + extra);
    return turn == count ? (CutStretch){.step = nth_step(context, stretch, 0), .repeats = 2}
                         : (CutStretch){.step = nth_step(context, stretch, turn), .repeats = 1};
}

static StepRange range_of(const Stretch *stretch, const CutStretch *cut, int side) {
    int32_t end = stretch->step_first + stretch->step_count;
    return side == 0 ? (StepRange){stretch->step_first, cut->step + 1, cut->repeats}
                     : (StepRange){cut->step + 1, end, 1};
}

static void forget_graphs(SmeltContext *context) {
    CudaContext *cuda = context->cuda;
    for (int32_t i = 0; i < context->plan->programs[0].step_count; ++i)
        for (int side = 0; side < 2; ++side) {
            CudaHandle *graph = &cuda->profile->cuts[i].graphs[side];
            if (*graph != NULL) (void)cuda->engine->api.graph_executable_destroy(*graph);
            *graph = NULL;
        }
}

/* Graphs are for this run alone: another one may have other memory. */
static void cut_stretch(SmeltContext *context, int32_t index) {
    CudaContext *cuda = context->cuda;
    const Stretch *stretch = &cuda->stretches[index];
    CutStretch *cut = &cuda->profile->cuts[index];
    *cut = choose_cut(context, index);
    for (int side = 0; cut->step >= 0 && stretch_has_graph(stretch) && side < 2; ++side) {
        StepRange range = range_of(stretch, cut, side);
        bool any = false;
        for (int32_t s = range.first; s < range.end; ++s) any = any || launches_something(context, s);
        if (!any) continue;
        if (!capture_steps(context, range, &cut->graphs[side]))
            cut->step = -1;
        else if (cuda->engine->api.graph_upload(cut->graphs[side], cuda->stream) != CUDA_SUCCESS)
            cut->step = -1;
    }
}

void profile_begin(SmeltContext *context) {
    forget_graphs(context);
    for (int32_t i = 0; i < context->cuda->stretch_count; ++i) {
        context->cuda->profile->cuts[i].step = -1;
        if (context->cuda->stretches[i].kind == STRETCH_LAUNCHES) cut_stretch(context, i);
    }
    context->cuda->profile->turn++;
}

/* -- the run -- */

static Status mark_step(SmeltContext *context, int32_t step, int which, CudaHandle stream, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    return cuda_result(api, api->event_record(context->cuda->profile->marks[2 * step + which], stream),
                       STATUS_CUDA_FAILED, "an event", diag);
}

static Status launch_side(SmeltContext *context, int32_t index, int side, CudaHandle stream, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    const CutStretch *cut = &context->cuda->profile->cuts[index];
    if (cut->graphs[side] == NULL)
        return launch_steps(context, range_of(&context->cuda->stretches[index], cut, side), stream, diag);
    return cuda_result(api, api->graph_launch(cut->graphs[side], stream), STATUS_CUDA_FAILED,
                       "a graph's launch", diag);
}

Status profile_stretch(SmeltContext *context, int32_t index, CudaHandle stream, Diag *diag) {
    const Stretch *stretch = &context->cuda->stretches[index];
    const CutStretch *cut = &context->cuda->profile->cuts[index];
    if (stretch->kind == STRETCH_LATE) {
        TRY(mark_step(context, stretch->step_first, 0, stream, diag));
        TRY(late_run(context, stretch->step_first, stream, diag));
        return mark_step(context, stretch->step_first, 1, stream, diag);
    }
    if (cut->step < 0) {
        StepRange all = {stretch->step_first, stretch->step_first + stretch->step_count, 1};
        return launch_steps(context, all, stream, diag);
    }
    TRY(mark_step(context, stretch->step_first, 0, stream, diag));
    TRY(launch_side(context, index, 0, stream, diag));
    TRY(mark_step(context, stretch->step_first, 1, stream, diag));
    return launch_side(context, index, 1, stream, diag);
}

static Status collect_stretch(SmeltContext *context, int32_t index, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    CudaProfile *profile = context->cuda->profile;
    const Stretch *stretch = &context->cuda->stretches[index];
    const CutStretch *cut = &profile->cuts[index];
    const CudaHandle *marks = profile->marks + 2 * stretch->step_first;
    float milliseconds = 0;
    bool late = stretch->kind == STRETCH_LATE;
    if (stretch->kind == STRETCH_HOST || (!late && cut->step < 0)) return STATUS_OK;
    if (late && !launches_something(context, stretch->step_first)) return STATUS_OK;
    TRY(cuda_result(api, api->event_elapsed(&milliseconds, marks[0], marks[1]), STATUS_CUDA_FAILED,
                    "an event", diag));
    add_sample(late                ? &profile->until_done[stretch->step_first]
               : cut->repeats == 2 ? &profile->first_twice
                                   : &profile->until_done[cut->step],
               1e3F * milliseconds);
    return STATUS_OK;
}

Status profile_collect(SmeltContext *context, CudaHandle stream, Diag *diag) {
    const CudaApi *api = &context->cuda->engine->api;
    TRY(cuda_result(api, api->stream_synchronize(stream), STATUS_CUDA_FAILED, "a run on the GPU", diag));
    for (int32_t i = 0; i < context->cuda->stretch_count; ++i) TRY(collect_stretch(context, i, diag));
    return STATUS_OK;
}

/* -- figures -- */

/* Until a step is done, which is not later than any step behind it. */
static double time_until(const SmeltContext *context, const Stretch *stretch, int32_t step) {
    const Samples *samples = context->cuda->profile->until_done;
    double least = median(&samples[step]);
    for (int32_t s = step + 1; s < stretch->step_first + stretch->step_count; ++s)
        if (samples[s].runs > 0 && median(&samples[s]) < least) least = median(&samples[s]);
    return least;
}

double profile_start(const SmeltContext *context) {
    const CudaContext *cuda = context->cuda;
    if (cuda->profile == NULL || cuda->stretch_count == 0 || cuda->profile->first_twice.runs == 0) return 0;
    int32_t first = nth_step(context, &cuda->stretches[0], 0);
    double until = time_until(context, &cuda->stretches[0], first);
    double start = 2 * median(&cuda->profile->until_done[first]) - median(&cuda->profile->first_twice);
    return start < 0 ? 0 : start < until ? start : until;
}

static double time_of(const SmeltContext *context, int32_t index, int32_t step) {
    const Stretch *stretch = &context->cuda->stretches[index];
    const Samples *samples = context->cuda->profile->until_done;
    if (stretch->kind == STRETCH_LATE) return median(&samples[step]);
    double before = index == 0 ? profile_start(context) : 0;
    for (int32_t s = step - 1; s >= stretch->step_first; --s)
        if (samples[s].runs > 0) {
            before = time_until(context, stretch, s);
            break;
        }
    return time_until(context, stretch, step) - before;
}

void profile_step(const SmeltContext *context, int32_t step, int64_t *runs, double *microseconds) {
    const CudaContext *cuda = context->cuda;
    if (cuda->profile == NULL || step >= context->plan->programs[0].step_count) return;
    for (int32_t i = 0; i < cuda->stretch_count; ++i) {
        const Stretch *stretch = &cuda->stretches[i];
        bool has = step >= stretch->step_first && step < stretch->step_first + stretch->step_count;
        if (!has || stretch->kind == STRETCH_HOST) continue;
        *runs = cuda->profile->until_done[step].runs;
        *microseconds = *runs > 0 ? time_of(context, i, step) : 0;
    }
}

/* -- life -- */

static Status create(SmeltContext *context, Diag *diag) {
    CudaContext *cuda = context->cuda;
    int32_t count = context->plan->programs[0].step_count;
    CudaProfile *profile = ARENA_NEW(&context->arena, CudaProfile);
    TRY_ALLOC(diag, profile);
    profile->marks = ARENA_ARRAY(&context->arena, CudaHandle, 2 * (int64_t)count);
    profile->until_done = ARENA_ARRAY(&context->arena, Samples, count);
    profile->cuts = ARENA_ARRAY(&context->arena, CutStretch, count);
    TRY_ALLOC(diag, profile->marks);
    TRY_ALLOC(diag, profile->until_done);
    TRY_ALLOC(diag, profile->cuts);
    cuda->profile = profile;
    for (int32_t i = 0; i < 2 * count; ++i)
        TRY(cuda_result(&cuda->engine->api,
                        cuda->engine->api.event_create(&profile->marks[i], CUDA_EVENT_DEFAULT),
                        STATUS_CUDA_FAILED, "an event", diag));
    return STATUS_OK;
}

Status profile_create(SmeltContext *context, Diag *diag) {
    CudaProfile *profile = context->cuda->profile;
    int32_t count = context->plan->programs[0].step_count;
    if (profile == NULL) {
        TRY(cuda_enter(context->cuda->engine, diag));
        Status status = create(context, diag);
        if (status != STATUS_OK) profile_destroy(context);
        cuda_leave(context->cuda->engine);
        return status;
    }
    memset(profile->until_done, 0, (size_t)count * sizeof *profile->until_done);
    profile->first_twice = (Samples){0};
    profile->turn = 0;
    return STATUS_OK;
}

void profile_destroy(SmeltContext *context) {
    CudaProfile *profile = context->cuda->profile;
    if (profile == NULL) return;
    forget_graphs(context);
    for (int32_t i = 0; i < 2 * context->plan->programs[0].step_count; ++i)
        if (profile->marks[i] != NULL) (void)context->cuda->engine->api.event_destroy(profile->marks[i]);
    context->cuda->profile = NULL;
}
