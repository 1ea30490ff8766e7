/* RNN, GRU and LSTM: attributes, and one run of one layer in the type it computes in. */
#ifndef SMELT_OPS_RECURRENT_H
#define SMELT_OPS_RECURRENT_H

#include "ops/op.h"

typedef enum CellKind { CELL_RNN, CELL_GRU, CELL_LSTM } CellKind;

typedef enum CellFunction {
    CELL_AFFINE,
    CELL_ELU,
    CELL_HARD_SIGMOID,
    CELL_LEAKY_RELU,
    CELL_RELU,
    CELL_SCALED_TANH,
    CELL_SIGMOID,
    CELL_SOFTPLUS,
    CELL_SOFTSIGN,
    CELL_TANH,
    CELL_THRESHOLDED_RELU
} CellFunction;

typedef struct CellActivation {
    CellFunction function;
    double alpha, beta;
} CellActivation;

typedef struct RecurrentAttrs {
    int32_t directions;  /* 1 or 2 */
    bool reverse;        /* with one direction: it runs backwards */
    int64_t hidden_size; /* 0: as the weights say */
    bool batch_first;    /* layout 1 */
    double clip;         /* 0: none; else inputs of activations are kept within [-clip, clip] */
    bool linear_before_reset, input_forget;
    CellActivation activations[6]; /* per direction: f (, g (, h)) */
} RecurrentAttrs;

/* Gates of a cell, in the order of the weights: RNN i; GRU z r h; LSTM i o f c. */
static inline int32_t cell_gates(CellKind kind) {
    return kind == CELL_LSTM ? 4 : kind == CELL_GRU ? 3 : 1;
}

/* One layer, all directions. Sizes in elements. Pointers are to the computing type (float or double) except
 * for the outputs, which have out_dtype. */
typedef struct RecurrentRun {
    CellKind kind;
    const RecurrentAttrs *attrs;
    int64_t steps, batch, input_size, hidden;
    const void *x, *w, *r, *bias, *peepholes; /* as ONNX lays them out; bias and peepholes may be NULL */
    const void *initial_h, *initial_c;        /* NULL: zero */
    const Tensor *lengths;                    /* of each sequence, checked; NULL: all `steps` */
    DType out_dtype;
    void *y, *y_h, *y_c; /* NULL where not wanted */
    const Host *host;
    Diag *diag;
    /* Scratch of recurrent_sizes: state (h, c, a product per gate), projections of `chunk` steps, and the
     * matrix product's own. */
    int64_t chunk;
    void *state, *projection, *gemm;
    size_t gemm_size;
} RecurrentRun;

/* Elements of scratch for state and projection, and the number of steps that are projected at once. */
typedef struct RecurrentSizes {
    int64_t chunk;
    size_t state, projection; /* elements */
} RecurrentSizes;
RecurrentSizes recurrent_sizes(CellKind kind, int64_t steps, int64_t batch, int64_t hidden);

Status recurrent_run_f32(const RecurrentRun *run);
Status recurrent_run_f64(const RecurrentRun *run);

#endif
