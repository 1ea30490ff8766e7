/* Products of matrices by sm_90a's matrix instruction (cuda/wgmma_product.cuh): which tiles are legal, what
 * they cost, and the text of their kernels. */
#ifndef SMELT_KERNELS_WGMMA_TEXT_H
#define SMELT_KERNELS_WGMMA_TEXT_H

#include "kernels/access.h"
#include "kernels/sums_text.h"

/* A batch of products of rows x cols sums. */
typedef struct WgmmaProblem {
    Dim rows, cols, batch;
    int64_t depth;         /* of a run of the sums: channels, or all of a matrix product */
    int64_t runs;          /* taps, 1 for a matrix product */
    int32_t element;       /* bytes of the operands' elements: 2, or 4 of f32, which is rounded to TF32 */
    bool boxes;            /* the rows' operand is copied as boxes of a map, not as windows */
    bool outer_a, outer_b; /* the operand's depth is not its innermost dimension */
    bool spread;           /* the columns' operand may be spread (16 divides them): see WgmmaTile */
    bool constant;         /* the columns' operand is: it may be read while kernels in front still run */
    bool alone;            /* tiles are counted by blocks, for moments: no two share an operand, and threads
                              have 32 columns */
    bool reads;            /* the epilogue reads something of the result's size */
    bool polynomial;       /* and calls a function that is one, such as Gelu */
    bool quotient;         /* or a quotient of one, such as Swish */
    int64_t bytes;         /* that must be moved at least */
    int64_t known_rows, known_cols, known_batch; /* at the symbols' opt values */
    const char *moments;                         /* sum_moments of sums_text.h; NULL: none */
    const char *normal;    /* front_planes_normal of planes_text.h; NULL: as "NoNormal{}" */
    int32_t normal_shared; /* bytes of shared memory that it takes, beside the stages */
    int64_t unit; /* channels of a unit where results are normalised (planes_text.h); 0: they are not */
} WgmmaProblem;

enum {
    WGMMA_MOST_CONSUMERS = 384, /* threads */
    WGMMA_STRIP = 64            /* lines of an operand with the depth outside that are copied together */
};

/* Numbers of a config. */
typedef enum WgmmaNumber {
    WGMMA_WARPGROUPS,
    WGMMA_REPEAT,
    WGMMA_COLS,
    WGMMA_DEPTH,
    WGMMA_BLOCKS,
    WGMMA_STAGES,
    WGMMA_RESIDENT,
    WGMMA_SLICES, /* of the depth, each by a block of a cluster */
    WGMMA_SHARES  /* between two blocks of a cluster, of 1 slice: 0 nothing, 1 the rows' operand, 2 the
                     columns'; 3: nothing, but each block keeps the columns' operand for all of its tiles */
} WgmmaNumber;

/* Why there is no such instruction for the types of the anchor's inputs 0 and 1, or NULL. */
const char *wgmma_refuses(const Problem *problem);
/* Bytes of an element of input 0. */
int32_t wgmma_element(const Problem *problem);
/* Whether the instruction reads such elements where the depth is not their innermost dimension. */
bool wgmma_reads_outer(int32_t element);

/* What the epilogue does: `reads` and `polynomial`. */
void wgmma_describe_epilogue(const Problem *problem, WgmmaProblem *product);
/* All that are legal, the least cost first; at least one for cols and depths from 1. */
int32_t wgmma_configs(const Device *device, const WgmmaProblem *problem, Config out[MOST_CONFIGS]);
/* Bytes of tiles that a multiprocessor gets from L2 in a cycle while all read. Tiles that others read at the
 * same time come faster than plain reads: the factor is fitted to times on an H200. */
double wgmma_l2_rate(const Device *device);
/* Blocks that have the same columns all the time, one of `cols` tiles of them each: at most `most`, so many
 * as run at one time, of each tile the same number, and at least one. */
int64_t wgmma_blocks_of_columns(int64_t most, int64_t cols);
/* Leaves so many bytes of shared memory to others; false where that is too much. */
bool wgmma_make_room(const Device *device, const WgmmaProblem *problem, Config *config, int32_t bytes);
/* Microseconds. */
double wgmma_cost(const Device *device, const WgmmaProblem *problem, const Config *config);
int32_t wgmma_rows(const Config *config); /* of a tile */
/* What a block copies of them. */
int32_t wgmma_copied_rows(const Config *config);
int32_t wgmma_copied_cols(const Config *config);
/* WgmmaTile's number. */
int32_t wgmma_spreads(const WgmmaProblem *problem, const Config *config);

/* A map of a batch of matrices of lines along the depth; line and matrix strides in elements. outer: lines
 * across the depth. The box is of so many lines. */
KernelMap wgmma_matrix_map(const WgmmaProblem *problem, const Config *config, ValueId value, Dim lines,
                           Dim depth, Dim batch, Dim line_stride, Dim batch_stride, bool outer,
                           int32_t box_lines);
/* The same for the columns' operand, spread over 16 or 32 columns, in parts of `part` x cols of so many bytes
 * each. */
KernelMap wgmma_spread_map(DimTable *dims, int32_t spread, int32_t element, int32_t part, int32_t cols,
                           ValueId value, Dim lines, Dim depth, Dim line_stride);
/* Bytes from a line of a part of the depth to the next. */
int32_t wgmma_line(int32_t element, int32_t part);

/* Declares `Tile`. */
void wgmma_declare_tile(KernelWriter *w, const WgmmaProblem *problem, const Config *config, DType dtype);
/* The call and the launch. load: what constructs the operands' loader. */
Status wgmma_finish(KernelWriter *w, const Device *device, const WgmmaProblem *problem, const Config *config,
                    const char *load, const char *store);

#endif
