/* A problem with its choices, and times of them. */
#ifndef SMELT_TESTS_CHOICES_H
#define SMELT_TESTS_CHOICES_H

#include "kernels/arch.h"
#include "kernels/choice.h"
#include "test.h"

enum { MOST = 256 };

typedef struct Fixture {
    Arena arena;
    Graph *graph;
    UseTable uses;
    Problem problem;
    const Device *device;
    int32_t count;
    Choice all[MOST]; /* best guess first */
    TimingCache *timings;
} Fixture;

/* The last `nodes` nodes of the graph are the problem. */
static inline void fixture_set_problem(Fixture *f, int32_t nodes) {
    Diag diag = {0};
    CHECK(use_table_build(f->graph, &f->arena, &f->uses));
    const Block *block = &f->graph->blocks[MAIN_BLOCK];
    CHECK_OK(problem_create(f->graph, &f->uses, block->nodes + block->node_count - nodes, nodes, &f->arena,
                            &f->problem, &diag),
             &diag);
    f->count = choices_rank(&f->problem, f->device, f->all, MOST);
}

static inline void add_time(Fixture *f, const Choice *choice, double microseconds) {
    const Timing row = {.problem = f->problem.key,
                        .tactic = timing_tactic_name(&f->arena, choice->tactic),
                        .config = choice->config,
                        .microseconds = microseconds};
    CHECK(timing_cache_add(f->timings, &row));
}

static inline bool same_choice(const Choice *a, const Choice *b) {
    return a->tactic == b->tactic && memcmp(&a->config, &b->config, sizeof a->config) == 0;
}

#endif
