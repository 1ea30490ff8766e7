/* Tactics: the ways to do a problem. The search loop knows none by name. */
#ifndef SMELT_KERNELS_TACTIC_H
#define SMELT_KERNELS_TACTIC_H

#include "kernels/device.h"
#include "kernels/emit.h"

enum { CONFIG_NUMBERS = 9, MOST_CONFIGS = 96 };

/* One choice of a tactic's tunable numbers; their meaning is the tactic's. */
typedef struct Config {
    int32_t count;
    int32_t number[CONFIG_NUMBERS];
} Config;

/* What a tactic does with nodes in front of its anchor. */
typedef enum PrologueUse {
    PROLOGUE_NONE,  /* it refuses them */
    PROLOGUE_READS, /* its kernels read input 0 through kernel_prologue */
    PROLOGUE_STORES /* and can store it: one thread reads an element, the first time with load_first */
} PrologueUse;

/* For which operands a tactic is only there so that there is one. */
typedef enum SlowFor { SLOW_FOR_NONE, SLOW_FOR_HALVES, SLOW_FOR_ALL } SlowFor;

typedef struct Tactic {
    const char *name; /* "conv_direct"; with version the name in timing caches */
    int32_t version;  /* goes up when its code changes */
    bool strided;     /* its kernels read and write through strides: values in any layout, slices of others */
    bool optional;    /* used only where it is switched on by name */
    bool f32_layout;  /* where it is used, convolutions of f32 gain by channels-last values as those of f16 do
                       */
    PrologueUse prologue;
    SlowFor slow;            /* a step that no other takes is listed as slow (tactic_slow) */
    bool pools;              /* its kernels do a pool behind the anchor (Problem.pooling) */
    bool squeezes;           /* they do two contractions behind a pool (Problem.squeeze) */
    bool inverts;            /* they do convolutions behind one (Problem.middle) */
    bool normalizes;         /* they normalise the rows of input 0 as they read them (problem_front_norm) */
    bool normalizes_planes;  /* the same of planes (problem_front_planes) */
    bool keeps_planes;       /* and store what becomes of them, where it leaves (problem_prologue_leaves) */
    bool normalizes_results; /* they normalise the planes that they make (Problem.normalization) */
    const char *arch;        /* "sm_90a": its kernels compile for this architecture alone; NULL: for all */
    bool finds_sizes; /* its launches leave the late dim of its results, i64, at the start of scratch memory,
                         in front of those that write the results or have it as a number */
    /* NULL where it applies; else why not ("groups > 1"). "not a convolution" and the like, for operators
     * that the tactic has nothing to do with, is left out of what users read. */
    const char *(*refuses)(const Problem *problem, const Device *device);
    /* Legal configs, best guess first; at least one where it applies. */
    int32_t (*configs)(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]);
    /* Microseconds that it should take at the usual sizes, 0 where it cannot tell. NULL: it never can. */
    double (*cost)(const Problem *problem, const Device *device, const Config *config);
    Status (*emit)(const Config *config, const Device *device, Emission *emission);
    /* Whether it should be faster than the steps that the problem's contractions would be by themselves,
     * where nobody has measured that. NULL: the sums of modelled times decide. */
    bool (*pays)(const Problem *problem, const Device *device);
    /* Parts of each batch entry for which the kernels can leave moments (Emission.leaves_parts), 0 where they
     * cannot; NULL: they never can. */
    int64_t (*moment_parts)(const Problem *problem, const Device *device, const Config *config);
    /* Microseconds that the kernels need not take to read input 0 for its moments where they find those
     * (Emission.finds_parts), 0 where they cannot; NULL: they never can. */
    double (*finds_moments)(const Problem *problem, const Device *device);
} Tactic;

/* In order of preference, from tactics.def: TACTIC(name) in tactics/<name>.c defines `const Tactic
 * tactic_<name>`. */
int32_t tactic_count(void);
const Tactic *tactic_at(int32_t index);
enum { MOST_TACTICS = 128 };
/* Optional tactics that are used, and tactics that are not, by their index. */
typedef struct TacticSwitches {
    bool on[MOST_TACTICS], off[MOST_TACTICS];
    char libraries[PLAN_LIBRARIES]
                  [16]; /* versions of those whose tactics are on, which are called as they; else "" */
} TacticSwitches;
/* Plans for these GPUs use tactics as the text says: "+conv_tf32x3,-conv_stem". NULL changes nothing. Fails
 * with USAGE where a sign is missing or a name unknown, with WRONG_DEVICE where a library is not here. The
 * list gets descriptions of its own, in arena. */
Status tactics_switch(const char *text, DeviceList *list, Arena *arena, Diag *diag);

/* Whether a tactic that may be used says so. */
bool tactics_want_f32_layout(const Device *device);

/* Why it cannot do the problem with its values as they lie, or NULL. */
const char *tactic_refuses(const Tactic *tactic, const Problem *problem, const Device *device);
/* Why no faster one does it instead, in arena: "conv_wgmma: groups". NULL where it is no slow one, or one
 * that is not applies too. */
const char *tactic_slow(const Tactic *tactic, const Problem *problem, const Device *device, Arena *arena);
/* The first that applies, or NULL: then the step runs on the host. *why collects the refusals in arena. */
const Tactic *tactic_choose(const Problem *problem, const Device *device, Arena *arena, const char **why);

/* Puts the config number `best` in front of those before it, which keep their order. */
void config_prefer(Config *configs, int32_t best);
/* Inserts into a list that is sorted by cost, equals behind those before them, and keeps the best `most`;
 * both arrays have as many. Returns how many there are then. */
int32_t config_insert(const Config *config, double cost, int32_t most, double *costs, Config *out,
                      int32_t count);

#endif
