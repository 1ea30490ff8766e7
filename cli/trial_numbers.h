/* The elements of a trial's operands: what goes in, what has to come out. */
#ifndef SMELT_CLI_TRIAL_NUMBERS_H
#define SMELT_CLI_TRIAL_NUMBERS_H

#include "cli/trial.h"

/* Seeded random elements of an input whose type and size are known, the same for each candidate of a problem;
 * in the trials' arena. */
Status operand_fill(Trials *trials, Operand *operand, uint64_t *state, Diag *diag);
/* All elements of an input as the host has them, or memory for those of a result, in the trials' arena. NULL:
 * out of memory. */
void *operand_whole(Trials *trials, const Operand *operand);
/* Memory of all operands on the GPU, inputs with their elements in it; in the GPU's context. */
Status operands_place(Trials *trials, Diag *diag);

/* The results' memory is cleared. All of these wait for nothing that is not behind the trials' stream. */
Status results_clear(Trials *trials, Diag *diag);
/* The last run's results are as they should be. */
Status results_keep(Trials *trials, Diag *diag);
/* What a result should be, all of it, which the host has. */
void result_expect(Operand *operand, void *elements);
/* Finds the ranges of results that were kept or are expected. */
void results_measure(Trials *trials);
/* The last run's results beside what they should be, where that is known; INTERNAL where they differ. */
Status results_compare(Trials *trials, Diag *diag);

#endif
