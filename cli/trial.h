/* Choices for one problem, run alone on the GPU that is here. */
#ifndef SMELT_CLI_TRIAL_H
#define SMELT_CLI_TRIAL_H

#include "base/parallel.h"
#include "cli/target.h"
#include "kernels/choice.h"
#include "kernels/ways.h"
#include "runtime/cuda.h"

/* An input or a result of the problem at hand. */
typedef struct Operand {
    SmeltBinding binding;
    size_t size;         /* bytes */
    void *elements;      /* of an input, or what is compared of a result as it should be; NULL: not known */
    size_t held;         /* bytes of these: an input repeats them, a large result is compared in pieces */
    double range;        /* of a result: its largest element */
    DeviceMemory memory; /* stays from problem to problem */
} Operand;

enum { MOST_OPERANDS = 64, MOST_RUNS = 32, RESULT_TEXT = 512 };

/* The GPU's context, and the compiler's library, stay open from the first trial to the last: to open them
 * takes longer than to time a candidate. */
typedef struct Trials {
    App *app;
    const CompileSettings *settings;
    const Device *device;
    ThreadPool *pool;
    Jit *jit;
    CudaEngine cuda;
    bool is_open;
    CudaHandle stream, marks[2];
    DeviceMemory zeros;
    OwnMemory download; /* pinned */
    Arena arena;        /* of the problem at hand */
    const Problem *problem;
    int operand_count, memory_count; /* operands whose memory is from an earlier problem stay */
    Operand operands[MOST_OPERANDS];
    int32_t repeats;       /* of a launch in one timed plan */
    double rest;           /* microseconds that such a plan takes besides; negative: not known yet */
    double best;           /* microseconds of a launch of the best so far */
    char why[RESULT_TEXT]; /* the last trial failed */
} Trials;

/* Fails with WRONG_DEVICE where there is no compiler. Close it in either case. */
Status trials_open(Trials *trials, App *app, const CompileSettings *settings, const Device *device);
void trials_close(Trials *trials);
/* Compiles the choice's kernels into the cache of kernels; for any thread. */
void trials_compile(const Trials *trials, const Problem *problem, const Choice *choice);
/* What computes the results as they should be of a problem that the host would take long for: the first
 * choice without a cost model, whose plain kernels are tested against the host's. False: the host does, or
 * nothing else can. */
bool trials_find_plain(const Problem *problem, const Device *device, Choice *out);
/* The problem that is timed next, with random inputs, and results as they should be where expected says so:
 * those of a choice that was found right before, or, where trusted is NULL, of the host's or plain kernels.
 * False: it cannot be timed, for the reason in trials->why. */
bool trials_begin(Trials *trials, const Problem *problem, bool expected, const Choice *trusted);
/* Microseconds that one launch of the choice takes among many in a row, the median of `runs`, at most
 * MOST_RUNS; limit: what takes longer is timed no more exactly than to know that. Negative: it does not run,
 * or its results are not as they should be: trials->why. */
double trials_time(Trials *trials, const Choice *choice, int runs, double limit);
/* The same of several choices in turns: times[i * turns] and what follows are those of choice i. */
void trials_time_in_turns(Trials *trials, const Choice *const *choices, int32_t count, int turns, int runs,
                          double *times);
/* Microseconds that each way takes, its steps chosen by timings, as one run among several in a row, behind
 * what brings operands into their layout, so that they lie in L2 as a step in front would leave them. That is
 * taken off by an estimate, which is the same for all ways. No results are checked. False: some way does not
 * run, for the reason in trials->why. */
bool trials_time_ways(Trials *trials, const WayQuestion *question, const TimingCache *timings,
                      double microseconds[MOST_WAYS]);

#endif
