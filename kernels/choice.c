#include "kernels/choice.h"

#include <math.h>

/* Before another one of the same problem: a modelled time beats none, a shorter one a longer one, and the
 * order of the table decides the rest. */
static bool is_better(const Choice *a, const Choice *b) {
    if ((a->microseconds > 0) != (b->microseconds > 0)) return a->microseconds > 0;
    return a->microseconds > 0 && a->microseconds + a->behind < b->microseconds + b->behind;
}

int64_t choice_moment_parts(const Problem *problem, const Device *device, const Choice *choice) {
    if (choice->tactic->moment_parts == NULL) return 0;
    return choice->tactic->moment_parts(problem, device, &choice->config);
}

double choice_moments_us(const Problem *problem, const Device *device, const Choice *choice) {
    if (choice->tactic->finds_moments == NULL) return 0;
    return choice->tactic->finds_moments(problem, device);
}

static Choice model(const Tactic *tactic, const Problem *problem, const Device *device,
                    const Config *config) {
    Choice choice = {.tactic = tactic, .config = *config, .source = CHOICE_PREFERRED};
    double cost = tactic->cost != NULL ? tactic->cost(problem, device, config) : 0;
    if (!(cost > 0) || !isfinite(cost)) return choice;
    choice.microseconds = cost;
    choice.source = CHOICE_MODELLED;
    return choice;
}

/* Visits all that applies. moments_us: see choice_best_leaving. */
static int32_t each_choice_leaving(const Problem *problem, const Device *device, double moments_us,
                                   void (*visit)(void *user, const Choice *choice), void *user) {
    int32_t total = 0;
    for (int32_t t = 0; t < tactic_count(); ++t) {
        Config configs[MOST_CONFIGS];
        const Tactic *tactic = tactic_at(t);
        if (tactic_refuses(tactic, problem, device) != NULL) continue;
        int32_t count = tactic->configs(problem, device, configs);
        for (int32_t i = 0; i < count; ++i) {
            Choice choice = model(tactic, problem, device, &configs[i]);
            if (moments_us > 0 && choice_moment_parts(problem, device, &choice) == 0)
                choice.behind = moments_us;
            visit(user, &choice);
            total++;
        }
    }
    return total;
}

static int32_t each_choice(const Problem *problem, const Device *device,
                           void (*visit)(void *user, const Choice *choice), void *user) {
    return each_choice_leaving(problem, device, 0, visit, user);
}

typedef struct ChoiceList {
    Choice *out;
    int32_t kept, capacity;
} ChoiceList;

static void append(void *user, const Choice *choice) {
    ChoiceList *list = user;
    if (list->kept < list->capacity) list->out[list->kept++] = *choice;
}

int32_t choices_list(const Problem *problem, const Device *device, Choice *out, int32_t capacity) {
    ChoiceList list = {out, 0, capacity};
    return each_choice(problem, device, append, &list);
}

typedef struct NumberSearch {
    int32_t before;
    Choice found;
} NumberSearch;

static void take_number(void *user, const Choice *choice) {
    NumberSearch *search = user;
    if (search->before-- == 0) search->found = *choice;
}

Choice choice_numbered(const Problem *problem, const Device *device, int32_t n) {
    int32_t total = choices_list(problem, device, NULL, 0);
    NumberSearch search = {.before = total > 0 ? n % total : 0};
    each_choice(problem, device, take_number, &search);
    search.found.source = CHOICE_ASKED;
    return search.found;
}

/* Insertion keeps the order of equals. */
static void insert(void *user, const Choice *choice) {
    ChoiceList *list = user;
    int32_t at = list->kept;
    while (at > 0 && is_better(choice, &list->out[at - 1])) --at;
    if (at >= list->capacity) return;
    if (list->kept < list->capacity) ++list->kept;
    for (int32_t i = list->kept - 1; i > at; --i) list->out[i] = list->out[i - 1];
    list->out[at] = *choice;
}

int32_t choices_rank(const Problem *problem, const Device *device, Choice *out, int32_t capacity) {
    ChoiceList list = {out, 0, capacity};
    return each_choice(problem, device, insert, &list);
}

typedef struct NearList {
    ChoiceList list;
    const Choice *near;
    int32_t total;
} NearList;

static void insert_near(void *user, const Choice *choice) {
    NearList *near = user;
    const Config *a = &choice->config, *b = &near->near->config;
    int32_t different = 0;
    if (choice->tactic != near->near->tactic || a->count != b->count) return;
    for (int32_t i = 0; i < a->count; ++i) different += a->number[i] != b->number[i];
    if (different != 1) return;
    near->total++;
    insert(&near->list, choice);
}

int32_t choices_near(const Problem *problem, const Device *device, const Choice *near, Choice *out,
                     int32_t capacity) {
    NearList list = {{out, 0, capacity}, near, 0};
    each_choice(problem, device, insert_near, &list);
    return list.total;
}

static void append_asked(void *user, const Choice *choice) {
    ChoiceList *list = user;
    bool is_first = list->kept == 0 || list->out[list->kept - 1].tactic != choice->tactic;
    if (choice->tactic->optional && is_first) append(user, choice);
}

int32_t choices_asked(const Problem *problem, const Device *device, Choice *out, int32_t capacity) {
    ChoiceList list = {out, 0, capacity};
    each_choice(problem, device, append_asked, &list);
    return list.kept;
}

/* Times this close are the same: then the model decides, and the order, so that two tunings agree. */
static const double noise = 1.04;

bool choice_is_as_good(double microseconds, double least) {
    return microseconds <= least * noise;
}

typedef struct TimeSearch {
    const Problem *problem;
    const TimingCache *timings;
    double limit; /* the least time so far, or what is as good as it */
    bool limited;
    Choice guess, found; /* with the model's time, with its own */
} TimeSearch;

/* Of the problem: measured, or else what is estimated. NULL: none. */
static const TimingCache *times_of(const TimingCache *timings, const Problem *problem) {
    if (timings == NULL || timing_cache_knows(timings, problem->key)) return timings;
    const TimingCache *estimates = timings->estimates;
    return estimates != NULL && timing_cache_knows(estimates, problem->key) ? estimates : NULL;
}

static void look_up(void *user, const Choice *choice) {
    TimeSearch *search = user;
    Choice timed = *choice;
    if (!choice_take_time(search->timings, search->problem, &timed)) return;
    double time = timed.microseconds + timed.behind;
    if (!search->limited && time < search->limit) search->limit = time;
    if (!search->limited || time > search->limit) return;
    if (search->found.tactic != NULL && !is_better(choice, &search->guess)) return;
    search->guess = *choice;
    search->found = timed;
}

/* What the model thinks best of those that are as good as the best of all that apply and have a time in the
 * cache. */
static bool find_timed(const Problem *problem, const Device *device, const TimingCache *timings,
                       double moments_us, Choice *out) {
    TimeSearch search = {.problem = problem, .timings = timings, .limit = HUGE_VAL};
    if (times_of(timings, problem) == NULL) return false;
    each_choice_leaving(problem, device, moments_us, look_up, &search);
    search.limited = true;
    search.limit *= noise;
    each_choice_leaving(problem, device, moments_us, look_up, &search);
    *out = search.found;
    return search.found.tactic != NULL;
}

bool choice_take_time(const TimingCache *timings, const Problem *problem, Choice *choice) {
    const TimingCache *rows = times_of(timings, problem);
    const Timing *row =
        rows != NULL ? timing_cache_find(rows, problem->key, choice->tactic, &choice->config) : NULL;
    if (row == NULL) return false;
    choice->source = rows == timings ? CHOICE_MEASURED : CHOICE_INTERPOLATED;
    choice->microseconds = row->microseconds;
    return true;
}

Choice choice_best_leaving(const Problem *problem, const Device *device, const TimingCache *timings,
                           double moments_us) {
    Choice best;
    if (find_timed(problem, device, timings, moments_us, &best)) return best;
    best = (Choice){0};
    ChoiceList list = {&best, 0, 1};
    each_choice_leaving(problem, device, moments_us, insert, &list);
    return best;
}

Choice choice_best(const Problem *problem, const Device *device, const TimingCache *timings) {
    return choice_best_leaving(problem, device, timings, 0);
}

const char *choice_source_name(ChoiceSource source) {
    static const char *const names[] = {[CHOICE_PREFERRED] = "the preferred one",
                                        [CHOICE_MODELLED] = "modelled",
                                        [CHOICE_INTERPOLATED] = "interpolated",
                                        [CHOICE_MEASURED] = "measured",
                                        [CHOICE_ASKED] = "asked for"};
    return names[source];
}

const char *choice_text(const Choice *choice, Arena *arena) {
    const char *text = choice->tactic->name;
    for (int32_t i = 0; text != NULL && i < choice->config.count; ++i)
        text = arena_printf(arena, "%s%s%d", text, i == 0 ? " " : ",", choice->config.number[i]);
    if (text == NULL || choice->microseconds <= 0)
        return text == NULL ? NULL : arena_printf(arena, "%s (%s)", text, choice_source_name(choice->source));
    return arena_printf(arena, "%s (%s, %.1f us)", text, choice_source_name(choice->source),
                        choice->microseconds);
}
