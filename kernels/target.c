/* What passes ask of the GPUs that a plan is for. */
#include "kernels/arch.h"
#include "kernels/extract.h"
#include "kernels/lower.h"
#include "kernels/planes_text.h"

enum { MOST_QUESTIONS = 1024 };

struct CudaTarget {
    Device device; /* what all of them can do */
    const TimingCache *timings;
    const WayTimer *timer;
    Arena work;   /* of one question */
    Arena queued; /* of what is to be measured */
    NameMap asked;
    Arena *arena;
    int32_t question_count;
    WayQuestion *questions;
};

/* Times of one GPU say nothing of what suits several. */
Status cuda_target_create(const DeviceList *devices, const TimingCache *timings, const WayTimer *timer,
                          Arena *arena, CudaTarget **out, Diag *diag) {
    CudaTarget *target = ARENA_NEW(arena, CudaTarget);
    TRY_ALLOC(diag, target);
    *target = (CudaTarget){.device = arch_common(devices), .arena = arena};
    if (devices->count == 1) target->timings = timings;
    if (target->timings != NULL && timer != NULL) {
        target->timer = timer;
        target->questions = ARENA_ARRAY(arena, WayQuestion, MOST_QUESTIONS);
        TRY_ALLOC(diag, target->questions);
    }
    arena_init(&target->work, arena->allocator);
    arena_init(&target->queued, arena->allocator);
    *out = target;
    return STATUS_OK;
}

void cuda_target_destroy(CudaTarget *target) {
    if (target == NULL) return;
    arena_reset(&target->work);
    arena_reset(&target->queued);
}

const char *cuda_target_refuses(CudaTarget *target, const Graph *graph, const UseTable *uses,
                                const NodeId *nodes, int32_t count) {
    UseTable own;
    Problem problem;
    Diag diag = {0};
    const char *why = "it cannot be described";
    arena_reset(&target->work);
    if ((uses == NULL && !use_table_build(graph, &target->work, &own)) ||
        problem_describe(graph, uses != NULL ? uses : &own, nodes, count, &target->work, &problem, &diag) !=
            STATUS_OK)
        return why;
    return tactic_choose(&problem, &target->device, &target->work, &why) != NULL ? NULL : why;
}

bool cuda_target_wants_f32_layout(const CudaTarget *target) {
    return tactics_want_f32_layout(&target->device);
}

/* -- ways -- */

/* A way's steps as problems, in the target's memory. */
typedef struct Described {
    Problem steps[MOST_WAY_STEPS];
    const Tactic *tactics[MOST_WAY_STEPS]; /* the first that takes the step */
    const char *key, *why;
} Described;

static bool describe_step(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *way,
                          int32_t step, Described *out) {
    Diag diag = {0};
    int32_t count;
    const char *why = "it cannot be described";
    const NodeId *nodes = way_step(way, step, &count);
    Problem *problem = &out->steps[step];
    bool known = problem_create_around(graph, uses, nodes, count, way->anchors[step], &target->work, problem,
                                       &diag) == STATUS_OK;
    if (known) out->tactics[step] = tactic_choose(problem, &target->device, &target->work, &why);
    if (known && out->tactics[step] != NULL) return true;
    out->why = why;
    return false;
}

static void describe_way(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *way,
                         Described *out) {
    *out = (Described){0};
    for (int32_t s = 0; s < way->step_count; ++s)
        if (!describe_step(target, graph, uses, way, s, out)) return;
    out->key = way_key(out->steps, way->step_count, &target->work);
    if (out->key == NULL) out->why = "out of memory";
}

/* NULL: out of memory. */
static Described *describe_ways(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *ways,
                                int32_t count) {
    arena_reset(&target->work);
    Described *all = ARENA_ARRAY(&target->work, Described, count);
    for (int32_t i = 0; all != NULL && i < count; ++i) describe_way(target, graph, uses, &ways[i], &all[i]);
    return all;
}

/* Whether the cache has a time of each way that can be. */
static bool take_times(const CudaTarget *target, const Described *all, int32_t count, double *times) {
    bool whole = target->timings != NULL;
    for (int32_t i = 0; whole && i < count; ++i) {
        times[i] = all[i].why == NULL ? way_time(target->timings, all[i].key) : 0;
        whole = all[i].why != NULL || times[i] > 0;
    }
    return whole;
}

/* Puts what the cache cannot answer among what is to be measured; false where it is not, or was before. */
static bool enqueue(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *ways,
                    const Described *all, int32_t count) {
    ByteWriter keys = byte_writer(&target->work);
    WayQuestion question = {0};
    Diag diag = {0};
    if (target->timer == NULL || target->question_count == MOST_QUESTIONS) return false;
    for (int32_t i = 0; i < count; ++i) write_format(&keys, "%s\n", all[i].why == NULL ? all[i].key : "");
    write_u8(&keys, 0);
    if (keys.failed || name_map_find(&target->asked, (const char *)keys.data) >= 0) return false;
    const char *asked = arena_strdup(target->arena, (const char *)keys.data);
    if (asked == NULL || !name_map_set(&target->asked, target->arena, asked, 0)) return false;
    for (int32_t i = 0; i < count; ++i) {
        if (all[i].why != NULL) continue;
        WayTrial *trial = &question.ways[question.count++];
        trial->key = arena_strdup(&target->queued, all[i].key);
        if (trial->key == NULL ||
            way_extract(graph, uses, &ways[i], &target->queued, &trial->graph, &diag) != STATUS_OK)
            return false;
    }
    if (question.count < 2) return false;
    target->questions[target->question_count++] = question;
    return true;
}

static void measure(CudaTarget *target) {
    if (target->question_count == 0) return;
    target->timer->measure(target->timer->user, target->questions, target->question_count);
    target->question_count = 0;
    arena_reset(&target->queued);
}

/* Microseconds that a step takes less where the one in front leaves the moments of its result. */
static double moments_gain(const CudaTarget *target, const Way *way, const Described *described,
                           int32_t step) {
    if (step + 1 == way->step_count) return 0;
    const Problem *front = &described->steps[step], *next = &described->steps[step + 1];
    if (front->anchor == NONE || next->anchor == NONE ||
        problem_read_input(next) != problem_anchor(front)->outputs[0])
        return 0;
    const Choice choice = choice_best(next, &target->device, NULL);
    return choice_moments_us(next, &target->device, &choice);
}

/* By the models: microseconds of the steps that are not shared, 0: some step has no model. */
static double model_way(const CudaTarget *target, const Way *way, const Described *described) {
    double sum = 0;
    for (int32_t s = way->shared; s < way->step_count; ++s) {
        double gain = moments_gain(target, way, described, s);
        const Choice choice = choice_best_leaving(&described->steps[s], &target->device, NULL, gain);
        if (!(choice.microseconds > 0)) return 0;
        sum += choice.microseconds + choice.behind - gain;
    }
    return sum;
}

typedef enum Payment { PAYS_UNKNOWN, PAYS_NOT, PAYS } Payment;

/* What tactics say that know better than a sum of times. */
static Payment ask_tactics(const CudaTarget *target, const Way *way, const Described *described) {
    Payment said = PAYS_UNKNOWN;
    for (int32_t s = way->shared; s < way->step_count; ++s) {
        const Tactic *tactic = described->tactics[s];
        if (tactic->pays == NULL) continue;
        if (!tactic->pays(&described->steps[s], &target->device)) return PAYS_NOT;
        said = PAYS;
    }
    return said;
}

/* The first way whose tactics say that it pays, else that of the least time. */
static int32_t choose_modelled(const CudaTarget *target, const Described *all, Way *ways, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 0; i < count; ++i)
        ways[i].microseconds = all[i].why == NULL ? model_way(target, &ways[i], &all[i]) : 0;
    for (int32_t i = 1; i < count; ++i) {
        if (all[i].why != NULL) continue;
        Payment said = ask_tactics(target, &ways[i], &all[i]);
        if (said == PAYS) return i;
        if (said == PAYS_UNKNOWN && ways[i].microseconds > 0 &&
            ways[i].microseconds < ways[best].microseconds)
            best = i;
    }
    return best;
}

/* Times this close are the same, as those of a problem's tactics are: then the models decide. */
static int32_t choose_measured(const double *times, int32_t guess, Way *ways, int32_t count) {
    double least = times[0];
    for (int32_t i = 0; i < count; ++i) {
        ways[i].microseconds = times[i];
        if (times[i] > 0 && times[i] < least) least = times[i];
    }
    if (choice_is_as_good(times[guess], least)) return guess;
    for (int32_t i = 0; i < count; ++i)
        if (times[i] > 0 && choice_is_as_good(times[i], least)) return i;
    return 0;
}

int32_t cuda_target_choose(CudaTarget *target, const Graph *graph, const UseTable *uses, Way *ways,
                           int32_t count) {
    double times[MOST_WAYS] = {0};
    Described *all = describe_ways(target, graph, uses, ways, count);
    for (int32_t i = 0; all != NULL && i < count; ++i) ways[i].why = all[i].why;
    if (all == NULL) return 0;
    bool known = all[0].why == NULL, measured = known && take_times(target, all, count, times);
    if (known && !measured) {
        (void)enqueue(target, graph, uses, ways, all, count);
        measure(target);
        measured = take_times(target, all, count, times);
    }
    int32_t guess = choose_modelled(target, all, ways, count);
    return measured ? choose_measured(times, guess, ways, count) : guess;
}

void cuda_target_announce(CudaTarget *target, const Graph *graph, const UseTable *uses, const Way *ways,
                          int32_t count) {
    double times[MOST_WAYS];
    if (target->timer == NULL) return;
    Described *all = describe_ways(target, graph, uses, ways, count);
    if (all == NULL || all[0].why != NULL || take_times(target, all, count, times)) return;
    (void)enqueue(target, graph, uses, ways, all, count);
}
