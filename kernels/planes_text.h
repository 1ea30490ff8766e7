/* Instance- and GroupNormalization of channels-last values as arguments of device code (cuda/moments.cuh),
 * and their place in front of a convolution, which normalises what it reads (cuda/wgmma_normal.cuh). */
#ifndef SMELT_KERNELS_PLANES_TEXT_H
#define SMELT_KERNELS_PLANES_TEXT_H

#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

enum { PLANE_THREADS = 512 /* moments.cuh's MOMENT_THREADS */ };

/* The planes that a node normalises. */
typedef struct PlanesText {
    const Node *node;
    Dim batch, places;
    int64_t channels, width; /* width: channels of a unit, which has a mean of its own */
    int64_t groups;          /* of channels that blocks take */
    int32_t packs, lines;    /* threads of a block side by side, and one behind the other */
} PlanesText;

bool planes_are_normalized_by(const Node *node); /* Instance- or GroupNormalization */
PlanesText planes_describe(const Problem *problem, const Node *node);
/* Blocks for each group of channels and batch entry, with so many on a multiprocessor. */
int64_t planes_blocks(const PlanesText *planes, const Device *device, int32_t resident);
/* Parts into which blocks divide the places, each thread `*ahead` of them at a time, which becomes fewer
 * where multiprocessors would have nothing to do. */
int32_t planes_parts(const Problem *problem, const PlanesText *planes, const Device *device, int32_t resident,
                     int32_t *ahead);
/* Bytes of what is normalised. */
double planes_bytes(const Problem *problem, const PlanesText *planes);
/* Bytes a microsecond that such a kernel moves. */
double planes_rate(const Problem *problem, const PlanesText *planes, const Device *device);
/* "float" for halves, whose own rounding is larger than that of moments, else "double". */
const char *planes_moment_type(const Problem *problem, const PlanesText *planes);

/* Where a place of a batch entry begins, "at(entry, place)"; what becomes of moments; the planes, in parts.
 */
const char *planes_steps(KernelWriter *w, const PlanesText *planes);
const char *planes_finish(KernelWriter *w, const PlanesText *planes);
const char *planes_text(KernelWriter *w, const PlanesText *planes, int32_t parts, int32_t ahead);
/* What says how many places parts have: those that the step in front has left, or `planes`, the kernel's. */
const char *planes_counts(KernelWriter *w, const PlanesText *planes);
/* Adds the launch that leaves the moments of parts in scratch memory. */
Status planes_emit_moments(Emission *emission, const PlanesText *planes, int32_t parts, int32_t ahead,
                           int32_t resident);

/* -- in front of a convolution -- */

/* The normalisation of planes whose result, with what is computed from its elements alone, is what the
 * anchor, a Conv or ConvTranspose, reads; NULL: there is none. */
const Node *problem_front_planes(const Problem *problem);
/* Why kernels cannot compute it as they read; NULL where they can, and where there is none. */
const char *problem_front_planes_refuses(const Problem *problem);
/* What kernels read of the anchor's input 0: what is normalised in front of it, else that input. */
ValueId problem_read_input(const Problem *problem);
/* The steps' emission begins here: the moments, unless they are found. Nothing without such a node. */
Status front_planes_begin(Emission *emission, const Device *device);
/* "NoNormal{}", or what constructs the PlaneNormal. keep: what constructs its Keep (cuda/wgmma_normal.cuh).
 */
const char *front_planes_normal(KernelWriter *w, const Device *device, const char *keep);
/* Inputs of the step that are parameters of its normalisation, in front of the anchor or behind it. */
int32_t planes_inputs(const Problem *problem);
/* Bytes of shared memory that it takes of a block of so many threads that find the scales. */
int32_t front_planes_shared(const Problem *problem, int32_t threads);
/* Microseconds of the moments' launch, 0 without such a node: Tactic.finds_moments, too. */
double front_planes_cost(const Problem *problem, const Device *device);

/* -- behind a convolution (Problem.normalization) -- */

/* Why kernels cannot compute it when they have made the result; NULL where they can, and where there is none.
 */
const char *problem_behind_planes_refuses(const Problem *problem);
/* Channels of a unit; 0 without such a node. */
int64_t behind_planes_unit(const Problem *problem);
/* What constructs the PlanesBehind of wgmma_behind.cuh for tiles whose units have so many channels and so
 * many parts of the moments (each: of tiles, else of blocks), in scratch memory, whose size it sets. */
const char *behind_planes(KernelWriter *w, int64_t channels, int64_t parts, bool each);

#endif
