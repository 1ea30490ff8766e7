/* Tensors as rows that are reduced or normalized: some dimensions are walked within a row, the others number
 * the rows. */
#ifndef SMELT_KERNELS_SLICES_H
#define SMELT_KERNELS_SLICES_H

#include "kernels/access.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"

typedef struct Slices {
    Access kept, walked; /* strides in the tensor */
    Dim rows, extent;    /* how many rows; elements of each */
    bool along;          /* the elements of a row are neighbours, else those of neighbouring rows are */
} Slices;

Slices slices_of(DimTable *dims, const Shape *shape, const bool walked[SMELT_MAX_RANK]);
/* Rows along one axis, which may be negative. */
Slices slices_along(DimTable *dims, const Shape *shape, int64_t axis);
/* Rows of all dimensions from one on, up to another; those that the shape lacks do not count. */
Slices slices_between(DimTable *dims, const Shape *shape, int32_t first, int32_t last);

/* Declares struct Slices (base(row) + at(k): where an element is); returns the text that constructs it. */
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
