/* Weights that a product behind a step reads come to L2 while the step waits for those in front of it. */
#ifndef SMELT_KERNELS_WEIGHTS_AHEAD_H
#define SMELT_KERNELS_WEIGHTS_AHEAD_H

#include "kernels/device.h"
#include "kernels/emit.h"

/* Bytes of all constants of the graph. */
int64_t weights_bytes(const Graph *graph);

/* Sets Emission.ahead for a step built around a contraction, where the next one with constant weights waits
 * longer for them than it multiplies, and L2 has no room for all constants (`bytes` of them). */
void weights_look_ahead(const Problem *problem, const Device *device, int64_t bytes, Emission *emission);

#endif
