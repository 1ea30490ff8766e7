/* Rows that stay in the registers of warps (cuda/lines.cuh): which ones can, and how warps share them. */
#ifndef SMELT_KERNELS_LINES_TEXT_H
#define SMELT_KERNELS_LINES_TEXT_H

#include "kernels/slices.h"

enum { LINE_LANES = EPILOGUE_LANES /* elements of a pack, at most */ };

typedef struct LineShare {
    int32_t threads, rows; /* for a row, part of a warp or up to 16 warps; in a block */
} LineShare;
enum { MOST_LINE_SHARES = 16 };

/* Elements that threads read at a time: with one access, so that those of neighbouring threads are
 * neighbours. */
int32_t lines_lanes(const Problem *problem);
/* Why the rows of the anchor's input 0, read through kernel_pack_prologue, are no such rows, or NULL. */
const char *lines_refuse(const Problem *problem, const Slices *slices);
/* All ways, the best guess first; at least one. */
int32_t lines_shares(const Problem *problem, const Device *device, const Slices *slices,
                     LineShare out[MOST_LINE_SHARES]);
/* Packs of a thread where a row has so many threads. */
int32_t lines_packs(const Problem *problem, const Slices *slices, int32_t threads);
/* "LineTeam<64, 1>, 3": the team, and the packs of a thread. */
const char *lines_text(KernelWriter *w, const Slices *slices, LineShare share);
/* The launch. */
Status lines_finish(KernelWriter *w, const Slices *slices, LineShare share);

#endif
