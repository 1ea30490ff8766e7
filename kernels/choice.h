/* Which tactic and config does a problem. */
#ifndef SMELT_KERNELS_CHOICE_H
#define SMELT_KERNELS_CHOICE_H

#include "kernels/timing_cache.h"

typedef enum ChoiceSource {
    CHOICE_PREFERRED,    /* the table's order: no time is known and no tactic that applies has a cost model */
    CHOICE_MODELLED,     /* least by the tactics' cost models */
    CHOICE_INTERPOLATED, /* least of the timing cache's estimates */
    CHOICE_MEASURED,     /* least in the timing cache */
    CHOICE_ASKED         /* by options */
} ChoiceSource;

typedef struct Choice {
    const Tactic *tactic; /* NULL: none applies */
    Config config;
    ChoiceSource source;
    double microseconds; /* measured, interpolated or modelled; 0: unknown */
    double behind;       /* microseconds more that the step behind takes than behind others */
} Choice;

/* All that applies, in the order of the table and of their configs. Returns how many there are, of which at
 * most capacity are written. */
int32_t choices_list(const Problem *problem, const Device *device, Choice *out, int32_t capacity);
/* Number n of them, from 0 on, and again behind the last one; of problems to which something applies. */
Choice choice_numbered(const Problem *problem, const Device *device, int32_t n);
/* All that applies, best guess first: modelled ones by their time, the others behind them in the order of the
 * table and of their configs. Returns how many there are, of which at most capacity are written. */
int32_t choices_rank(const Problem *problem, const Device *device, Choice *out, int32_t capacity);
/* The same of those that are near one: of its tactic, with a config that differs in one number. */
int32_t choices_near(const Problem *problem, const Device *device, const Choice *near, Choice *out,
                     int32_t capacity);
/* The best guess of each optional tactic that is switched on and applies: who names it wants it tried.
 * Returns how many are written, at most capacity. */
int32_t choices_asked(const Problem *problem, const Device *device, Choice *out, int32_t capacity);
/* The best one. timings may be NULL. */
Choice choice_best(const Problem *problem, const Device *device, const TimingCache *timings);
/* The same where the step behind takes so many microseconds less if this one leaves the moments of its result
 * (Tactic.moment_parts): times of those that do not are that much longer. */
Choice choice_best_leaving(const Problem *problem, const Device *device, const TimingCache *timings,
                           double moments_us);
/* Parts in which the choice can leave moments, 0: it cannot. */
int64_t choice_moment_parts(const Problem *problem, const Device *device, const Choice *choice);
/* Microseconds that the choice takes less where it finds the moments of its input, 0: it cannot. */
double choice_moments_us(const Problem *problem, const Device *device, const Choice *choice);
/* Takes the time that the cache has of the choice, or estimates. False: none. timings may be NULL. */
bool choice_take_time(const TimingCache *timings, const Problem *problem, Choice *choice);
/* Whether a time counts as no longer than the least: they differ by no more than measuring does. */
bool choice_is_as_good(double microseconds, double least);
/* "measured" and so on, for people. */
const char *choice_source_name(ChoiceSource source);
/* "conv_wgmma 128,64,4 (measured, 21.8 us)" in arena; NULL: out of memory. */
const char *choice_text(const Choice *choice, Arena *arena);

#endif
