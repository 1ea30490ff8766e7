/* Times of problems that were not measured, from those of like ones of neighbouring sizes that were. */
#ifndef SMELT_KERNELS_INTERPOLATE_H
#define SMELT_KERNELS_INTERPOLATE_H

#include "kernels/timing_cache.h"

/* How far apart two problems are that differ in nothing but the extents of their values: the sum of |log2| of
 * what these are to each other. Negative: they are not alike. */
double problem_distance(const char *key, const char *other);

/* Adds estimates of the problem's tactics and configs to cache->estimates, unless the cache knows the problem
 * or nothing like it: what the model says, times what measured times of the nearest problems were to the
 * model. infer: of problems that are read from the cache's lines. */
Status timing_cache_estimate(TimingCache *cache, const Problem *problem, const Device *device,
                             GraphInfer infer, Diag *diag);

#endif
