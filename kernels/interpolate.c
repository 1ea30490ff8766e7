#include "kernels/interpolate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/choice.h"
#include "kernels/sums_text.h"

enum { MOST_NEAR = 4, MOST_CHOICES = 512 };
static const double farthest = 8, /* a side of an image twice as long is about 4 */
    nearest = 0.5;                /* below which one neighbour counts no more than another */

/* -- which are near -- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Extents stand between brackets behind the bar. */
double problem_distance(const char *key, const char *other) {
    double distance = 0;
    bool in_types = false, in_brackets = false;
    while (*key != '\0' && *other != '\0') {
        if (in_types && in_brackets && is_digit(*key) && is_digit(*other)) {
            char *end, *other_end;
            double a = strtod(key, &end), b = strtod(other, &other_end);
            if ((a > 0) != (b > 0)) return -1;
            if (a > 0) distance += fabs(log2(a / b));
            key = end;
            other = other_end;
            continue;
        }
        if (*key != *other) return -1;
        in_types = in_types || *key == '|';
        in_brackets = *key == '[' || (in_brackets && *key != ']');
        ++key;
        ++other;
    }
    return *key == *other ? distance : -1;
}

typedef struct Neighbour {
    const char *problem;
    int32_t row; /* the first of its rows */
    double distance;
} Neighbour;

/* The nearest, the nearest first. */
static int32_t find_neighbours(const TimingCache *cache, const char *key, Neighbour out[MOST_NEAR]) {
    int32_t count = 0;
    for (int32_t i = 0; i < cache->count; ++i) {
        const char *problem = cache->rows[i].problem;
        if (i > 0 && strcmp(problem, cache->rows[i - 1].problem) == 0) continue;
        const Neighbour found = {problem, i, problem_distance(key, problem)};
        if (found.distance < 0 || found.distance > farthest) continue;
        int32_t at = count;
        while (at > 0 && out[at - 1].distance > found.distance) --at;
        if (at == MOST_NEAR) continue;
        if (count < MOST_NEAR) ++count;
        for (int32_t k = count - 1; k > at; --k) out[k] = out[k - 1];
        out[at] = found;
    }
    return count;
}

/* -- what measured times are to the model's -- */

/* Means of logarithms. */
typedef struct Mean {
    double sum, weight;
} Mean;

/* For choice number i of the problem: of its config, of its tactic, of all that is modelled. */
typedef struct Estimation {
    TimingCache *cache;
    const Problem *problem;
    const Device *device;
    int32_t count;
    Choice choices[MOST_CHOICES];
    Mean configs[MOST_CHOICES], tactics[MOST_TACTICS], all;
} Estimation;

/* What has no model is taken to grow with its bytes. */
static double model_of(const Problem *problem, const Choice *choice) {
    return choice->microseconds > 0 ? choice->microseconds : (double)problem_bytes(problem);
}

static int32_t tactic_index(const Tactic *tactic) {
    int32_t index = 0;
    while (tactic_at(index) != tactic) ++index;
    return index;
}

static void add_to(Mean *mean, double logarithm, double weight) {
    mean->sum += logarithm * weight;
    mean->weight += weight;
}

static void add_ratio(Estimation *e, const Choice *choice, double ratio, double weight) {
    if (!(ratio > 0) || !isfinite(ratio)) return;
    double logarithm = log(ratio);
    for (int32_t i = 0; i < e->count; ++i)
        if (e->choices[i].tactic == choice->tactic &&
            memcmp(&e->choices[i].config, &choice->config, sizeof choice->config) == 0)
            add_to(&e->configs[i], logarithm, weight);
    add_to(&e->tactics[tactic_index(choice->tactic)], logarithm, weight);
    if (choice->microseconds > 0) add_to(&e->all, logarithm, weight);
}

static void add_neighbour(Estimation *e, const Problem *problem, double distance, Choice *choices) {
    double weight = 1 / fmax(distance * distance, nearest * nearest);
    int32_t total = choices_list(problem, e->device, choices, MOST_CHOICES);
    for (int32_t i = 0; i < total && i < MOST_CHOICES; ++i) {
        const Timing *row = timing_cache_find(e->cache, problem->key, choices[i].tactic, &choices[i].config);
        if (row != NULL)
            add_ratio(e, &choices[i], row->microseconds / model_of(problem, &choices[i]), weight);
    }
}

/* Lines that do not tell enough of a problem are no neighbours. */
static Status read_neighbour(Estimation *e, const Neighbour *neighbour, GraphInfer infer, Arena *arena,
                             Diag *diag) {
    Diag ignored = {0};
    Graph *graph;
    UseTable uses;
    Problem problem;
    Status status = problem_parse(neighbour->problem, infer, arena, &graph, &ignored);
    if (status == STATUS_NO_MEMORY) return FAIL(diag, status, "out of memory");
    if (status != STATUS_OK) return STATUS_OK;
    const Block *block = &graph->blocks[MAIN_BLOCK];
    Choice *choices = ARENA_ARRAY(arena, Choice, MOST_CHOICES);
    TRY_ALLOC(diag, choices);
    if (!use_table_build(graph, arena, &uses)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    TRY(problem_create(graph, &uses, block->nodes, block->node_count, arena, &problem, diag));
    add_neighbour(e, &problem, neighbour->distance, choices);
    return STATUS_OK;
}

/* -- estimates -- */

static bool add_estimate(Estimation *e, int32_t index) {
    const Choice *choice = &e->choices[index];
    const Mean *mean = &e->configs[index];
    if (mean->weight <= 0) mean = &e->tactics[tactic_index(choice->tactic)];
    if (mean->weight <= 0 && choice->microseconds > 0) mean = &e->all;
    if (mean->weight <= 0) return true;
    Arena *arena = e->cache->estimates->arena;
    const Timing row = {.problem = e->problem->key,
                        .tactic = timing_tactic_name(arena, choice->tactic),
                        .config = choice->config,
                        .microseconds = model_of(e->problem, choice) * exp(mean->sum / mean->weight)};
    return row.tactic != NULL && timing_cache_add(e->cache->estimates, &row);
}

static Status estimate(Estimation *e, GraphInfer infer, Arena *arena, Diag *diag) {
    Neighbour near[MOST_NEAR];
    int32_t count = find_neighbours(e->cache, e->problem->key, near);
    if (count == 0) return STATUS_OK;
    int32_t total = choices_list(e->problem, e->device, e->choices, MOST_CHOICES);
    e->count = total < MOST_CHOICES ? total : MOST_CHOICES;
    for (int32_t i = 0; i < count; ++i) TRY(read_neighbour(e, &near[i], infer, arena, diag));
    for (int32_t i = 0; i < e->count; ++i)
        if (!add_estimate(e, i)) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

Status timing_cache_estimate(TimingCache *cache, const Problem *problem, const Device *device,
                             GraphInfer infer, Diag *diag) {
    if (timing_cache_knows(cache, problem->key)) return STATUS_OK;
    if (cache->estimates == NULL) cache->estimates = timing_cache_create(cache->arena, cache->gpu);
    TRY_ALLOC(diag, cache->estimates);
    if (timing_cache_knows(cache->estimates, problem->key)) return STATUS_OK;
    Arena arena;
    arena_init(&arena, cache->arena->allocator);
    Estimation *e = ARENA_NEW(&arena, Estimation);
    if (e == NULL) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    e->cache = cache;
    e->problem = problem;
    e->device = device;
    Status status = estimate(e, infer, &arena, diag);
    arena_reset(&arena);
    return status;
}
