/* Tensors as rows that are reduced or normalized: some dimensions are walked within a row, the others number
 * the rows. */
#ifndef SMELT_KERNELS_SLICES_H
#define SMELT_KERNELS_SLICES_H

#include "kernels/access.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

typedef struct Slices {
    Access kept, walked; /* strides in the tensor */
    Access out_kept,
        out_walk;     /* of a result with the tensor's shape: strides in the numbers of its elements */
    Dim rows, extent; /* how many rows; elements of each */
    bool along;       /* the elements of a row are neighbours, else those of neighbouring rows are */
} Slices;

/* Rows of a value's elements, numbered as they lie in memory but without gaps, in the order of the axes of
 * `order` that are not walked. out: a result of the same shape, or NONE. */
Slices slices_in(const Graph *graph, ValueId value, const bool walked[SMELT_MAX_RANK], const int32_t *order,
                 ValueId out);
/* The same for input 0 of the problem's anchor and its output 0, whose rows are read in the order in which
 * they lie. */
Slices slices_normalized(const Problem *problem, const bool walked[SMELT_MAX_RANK]);
/* Rows for each element of output 0, of rank dimensions or without those walked. */
Slices slices_reduced(const Problem *problem, const bool walked[SMELT_MAX_RANK]);
/* Marks the dimensions from one on, up to another; those that the shape lacks do not count. */
void slices_mark(const Shape *shape, int32_t first, int32_t last, bool walked[SMELT_MAX_RANK]);

Slices slices_of(DimTable *dims, const Shape *shape, const bool walked[SMELT_MAX_RANK]);
/* Rows along one axis, which may be negative. */
Slices slices_along(DimTable *dims, const Shape *shape, int64_t axis);
/* Rows of all dimensions from one on, up to another; those that the shape lacks do not count. */
Slices slices_between(DimTable *dims, const Shape *shape, int32_t first, int32_t last);

/* Declares struct Slices (base(row) + at(k): where an element is; row(row) + step(k): its number in a result
 * of the same shape); returns the text that constructs it. */
const char *slices_declare(KernelWriter *w, const Slices *slices);

/* Teams of threads (cuda/team.cuh), by the number of their config. */
typedef enum Team { TEAM_THREAD, TEAM_WARP, TEAM_BLOCK, TEAM_COLUMN, TEAM_COUNT } Team;
enum { TEAM_THREADS = 256 }; /* of a block */
const char *team_name(int32_t team);
int32_t team_rows(int32_t team); /* of a block */
/* The team that suits the rows best. */
Team team_choose(const Problem *problem, const Slices *slices);
/* Every team as a config, the best one first. */
int32_t team_configs(const Problem *problem, const Slices *slices, Config out[MOST_CONFIGS]);
/* Blocks for so many rows. */
Dim team_grid(Emission *emission, int32_t team, Dim rows);

#endif
