/* The list of passes and its runner. */
#ifndef SMELT_PASSES_PASS_H
#define SMELT_PASSES_PASS_H

#include "ir/way.h"

enum { PASS_COUNTERS = 16 };

/* What a pass did, for --verbose, dumps and studies. */
typedef struct PassCounter {
    const char *name; /* "folded" */
    int64_t value;
} PassCounter;

/* A fusion or fold that was looked at and refused; kept for `inspect --why`. */
typedef struct Rejection {
    const char *pass;
    NodeId node;
    const char *reason; /* "output has 2 users" */
} Rejection;

/* What the machine that the plan is for can do, for passes that choose how values lie in memory; given by
 * whoever lowers the graph. */
typedef struct PassTarget {
    /* Why nodes, neighbours in a block, cannot run as one step there with their values as they lie now; NULL
     * where they can. uses may be NULL; they are then counted for the question. */
    const char *(*refuses)(void *user, const Graph *graph, const UseTable *uses, const NodeId *nodes,
                           int32_t count);
    /* Which of ways to compute the same nodes takes the least time there: as measured, where somebody did or
     * can, else as the target's models have it. The first is how they are computed now, and what is chosen
     * where nobody can tell. Fills why and microseconds of the ways. */
    int32_t (*choose)(void *user, const Graph *graph, const UseTable *uses, Way *ways, int32_t count);
    /* It will be asked so, if the graph is the same by then: what has to be measured is so for all such
     * questions at once, which takes less time. NULL: it need not know. */
    void (*announce)(void *user, const Graph *graph, const UseTable *uses, const Way *ways, int32_t count);
    bool f32_layout; /* convolutions of f32 gain by channels-last values there */
    void *user;
} PassTarget;

typedef struct PassCtx {
    Graph *graph;
    Arena *scratch; /* reset after each pass */
    const Log *log;
    Diag *diag;
    const char *pass; /* name of the running one */
    void *user;       /* its own */
    int32_t counter_count;
    PassCounter counters[PASS_COUNTERS];
    double data_seconds; /* of the running one: see pass_data_since */
    int32_t rejection_count, rejection_capacity;
    Rejection *rejections;    /* in the graph's arena, over all passes */
    ThreadPool *pool;         /* for folding; may be NULL */
    bool strided;             /* operators with OPF_STRIDED take values in any layout, and slices */
    bool apart;               /* no result takes the place of an operand: steps can be repeated */
    const PassTarget *target; /* NULL: nothing more is known */
    const struct PrecisionOptions *precision; /* passes/precision.h; NULL: as the model has it */
} PassCtx;

/* Whether matrix units do contractions of this type: half precision, and f32 where it is rounded to TF32. */
bool pass_on_matrix_units(const PassCtx *ctx, DType dtype);
/* Whether a contraction is done by kernels that copy what they read as it lies, neighbouring channels
 * together: on matrix units, and in f32 where the target has such kernels and it is large enough to gain by
 * them. */
bool pass_copies_channels(const PassCtx *ctx, NodeId contraction);

typedef struct Pass {
    const char *name; /* "fold_constants" */
    Status (*run)(PassCtx *ctx);
    const char *what; /* one line for --help and docs */
    bool required;    /* cannot be disabled */
    bool outside;     /* not of passes.def: a graph that it breaks is its author's fault */
    void *user;       /* what run finds in ctx->user */
} Pass;

/* A pass that is not in passes.def. */
typedef struct ExtraPass {
    Pass pass;
    const char *place; /* "after=fold_batch_norm" or "before=..." */
} ExtraPass;

typedef struct History History; /* passes/history.h */

/* In order, from passes.def. */
int32_t pass_count(void);
const Pass *pass_at(int32_t index);
int32_t pass_find(const char *name); /* -1 */
/* The same with extra ones at their places, each put in before the next is looked at; in arena. USAGE: a
 * place that does not exist, or a name that is taken. */
Status pass_list(const ExtraPass *extra, int32_t extra_count, Arena *arena, const Pass **out, int32_t *count,
                 Diag *diag);

typedef struct PassOptions {
    const char *dump_dir;   /* NULL: no dumps; NN-<pass>.ir after each, 00-import.ir first */
    const char *stop_after; /* NULL: all */
    const char *start_from; /* NULL: the first; the graph is taken to have been through the ones before */
    const char *const *disabled;
    int32_t disabled_count;
    const ExtraPass
        *extra; /* their counters and reasons are kept as they are, and must live as long as the graph */
    int32_t extra_count;
    const struct PrecisionOptions *precision; /* NULL: as the model has it */
    History *history;                         /* gets what each pass has done; NULL: none is kept */
    const Log *log;
    /* Called before each pass (index of count); may be NULL. */
    void (*progress)(void *user, const char *pass, int32_t index, int32_t count);
    void *user;
    ThreadPool *pool;
    bool strided, apart; /* as in PassCtx; strided false: the host */
    const PassTarget *target;
} PassOptions;

/* Runs the list: each pass, then its dump, then the verifier (whose failure names the pass). Unknown pass
 * names: USAGE with the list of names. ctx_out (may be NULL) receives the rejections. */
Status passes_run(Graph *graph, const PassOptions *options, PassCtx *ctx_out, Diag *diag);

/* Asks the target, whose words hold until it is asked again; NULL without one. uses: the graph's as it is
 * now; NULL: not at hand, which takes time. */
const char *pass_target_refuses(const PassCtx *ctx, const UseTable *uses, const NodeId *nodes, int32_t count);
/* PassTarget.choose; 0 without a target, for the first of them. */
int32_t pass_target_choose(const PassCtx *ctx, const UseTable *uses, Way *ways, int32_t count);
void pass_target_announce(const PassCtx *ctx, const UseTable *uses, const Way *ways, int32_t count);

void pass_count_add(PassCtx *ctx, const char *counter, int64_t amount);
/* What has passed since `start` (clock_seconds) was work on the elements of weights or samples, not on the
 * graph: its time is told apart. */
void pass_data_since(PassCtx *ctx, double start);
void pass_reject(PassCtx *ctx, NodeId node, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
