/* Runs the expressions: operands are brought to the compute type block by block, so that one loop over arrays
 * for each operator and compute type serves every element type and every way to broadcast. */
#include "ops/pointwise_block.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "ops/kit.h"

/* -- compute types -- */

typedef enum ComputeType { COMPUTE_F32, COMPUTE_F64, COMPUTE_I64, COMPUTE_U64 } ComputeType;

static const PointwiseBlock *const block_tables[] = {pointwise_f32, pointwise_f64, pointwise_i64,
                                                     pointwise_u64};
static const DType native_dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_I64, DTYPE_U64};

/* Elements of that type in memory are of the compute type (signed and unsigned ones are the same bits). */
static bool is_native(ComputeType type, DType dtype) {
    return dtype == native_dtypes[type] || (type == COMPUTE_U64 && dtype == DTYPE_I64);
}

static size_t compute_size(ComputeType type) {
    return type == COMPUTE_F32 ? sizeof(float) : sizeof(double);
}

/* Reads elements [first, first + count) in the compute type. */
static void read_run(ComputeType type, DType dtype, const void *data, int64_t first, int64_t count,
                     void *out) {
    size_t size = compute_size(type);
    if (is_native(type, dtype))
        memcpy(out, (const char *)data + (size_t)first * size, (size_t)count * size);
    else if (type == COMPUTE_F32)
        dtype_read_f32(dtype, data, first, count, out);
    else if (type == COMPUTE_F64)
        dtype_read_f64(dtype, data, first, count, out);
    else
        dtype_read_i64(dtype, data, first, count, out);
}

/* The way back; in is used up. Reals become integers by truncation. */
static void write_run(ComputeType type, DType dtype, void *data, int64_t first, int64_t count, void *in) {
    double *reals = in;
    if (type == COMPUTE_F64 && dtype_is_integer(dtype))
        for (int64_t i = 0; i < count; ++i) reals[i] = trunc(reals[i]);
    if (type == COMPUTE_F32)
        dtype_write_f32(dtype, data, first, count, in);
    else if (type == COMPUTE_F64)
        dtype_write_f64(dtype, data, first, count, in);
    else
        dtype_write_i64(dtype, data, first, count, in);
}

/* Makes the first element of out `count` of them. */
static void repeat_first(ComputeType type, int64_t count, void *out) {
    if (type == COMPUTE_F32) {
        float *elements = out, first = elements[0];
        for (int64_t i = 1; i < count; ++i) elements[i] = first;
    } else {
        uint64_t *elements = out, first = elements[0];
        for (int64_t i = 1; i < count; ++i) elements[i] = first;
    }
}

/* The type's lowest (highest) value: an omitted bound. */
static void store_extreme(ComputeType type, bool highest, void *out) {
    switch (type) {
    case COMPUTE_F32:
        *(float *)out = highest ? INFINITY : -INFINITY;
        break;
    case COMPUTE_F64:
        *(double *)out = highest ? (double)INFINITY : -(double)INFINITY;
        break;
    case COMPUTE_I64:
        *(int64_t *)out = highest ? INT64_MAX : INT64_MIN;
        break;
    case COMPUTE_U64:
        *(uint64_t *)out = highest ? UINT64_MAX : 0;
        break;
    }
}

/* -- the operation as a whole -- */

typedef enum OperandKind {
    OPERAND_LINEAR,   /* element i of the output goes with element i */
    OPERAND_SCALAR,   /* one element */
    OPERAND_BROADCAST /* follows strides */
} OperandKind;

typedef struct Operand {
    const Tensor *tensor; /* NULL: omitted, a bound */
    DType dtype;          /* how its elements are read */
    OperandKind kind;
    int64_t stride[SMELT_MAX_RANK]; /* elements, for the collapsed dims; the last is 0 or 1 */
} Operand;

typedef struct Operation {
    PointwiseBlock block;
    ComputeType type;
    bool folds, gives_bool;
    double alpha, beta;
    int64_t count;
    int32_t rank; /* collapsed dims of the output; at least 1 */
    int64_t dim[SMELT_MAX_RANK];
    int32_t operand_count;
    Operand operands[POINTWISE_MAX_INPUTS];
    void *out;
    DType out_dtype;
} Operation;

static ComputeType compute_type(const PointwiseAttrs *attrs, DType x, DType y) {
    DTypeKind kind = dtype_kind(x);
    bool real = attrs->signature == POINTWISE_REAL || attrs->signature == POINTWISE_SLOPE;
    if (attrs->signature == POINTWISE_SELECT) return y == DTYPE_F32 ? COMPUTE_F32 : COMPUTE_U64;
    if (attrs->signature == POINTWISE_POWER) {
        if (y == DTYPE_F64) return COMPUTE_F64;
        if (kind != DTYPE_KIND_FLOAT && dtype_is_float(y)) return COMPUTE_F64;
        if (dtype_kind(y) == DTYPE_KIND_SIGNED && kind == DTYPE_KIND_UNSIGNED) return COMPUTE_I64;
    }
    if (kind == DTYPE_KIND_FLOAT) return x == DTYPE_F64 ? COMPUTE_F64 : COMPUTE_F32;
    if (real) return COMPUTE_F64;
    if (attrs->signature == POINTWISE_WRAPPING || attrs->signature == POINTWISE_BITS) return COMPUTE_U64;
    return kind == DTYPE_KIND_SIGNED ? COMPUTE_I64 : COMPUTE_U64;
}

DType pointwise_compute_dtype(const PointwiseAttrs *attrs, DType x, DType y) {
    return native_dtypes[compute_type(attrs, x, y)];
}

/* The unsigned type of the same width: selection moves bits. */
static DType bits_dtype(DType dtype) {
    switch (dtype_bits(dtype)) {
    case 8:
        return DTYPE_U8;
    case 16:
        return DTYPE_U16;
    case 32:
        return DTYPE_U32;
    default:
        return DTYPE_U64;
    }
}

/* What an operand's (or the output's) elements are read as. */
static DType access_dtype(const Operation *run, PointwiseSignature signature, DType dtype) {
    return signature == POINTWISE_SELECT && run->type == COMPUTE_U64 && dtype != DTYPE_BOOL
               ? bits_dtype(dtype)
               : dtype;
}

/* A slope that does not broadcast, but has one element for each channel, is seen as [C, 1, ...]. */
static void set_slope_strides(const Tensor *slope, const Tensor *out, int64_t *stride) {
    bool broadcasts = slope->rank != 1 || slope->dim[0] == 1 || slope->dim[0] == out->dim[out->rank - 1];
    bool per_channel = !broadcasts && out->rank >= 2 && slope->dim[0] == out->dim[1];
    if (!per_channel) {
        kit_broadcast_strides(slope, out->rank, stride);
        return;
    }
    memset(stride, 0, sizeof(int64_t) * SMELT_MAX_RANK);
    stride[1] = 1;
}

static void set_operand(Operation *run, const PointwiseAttrs *attrs, const Tensor *tensor, const Tensor *out,
                        Operand *operand) {
    operand->tensor = tensor;
    operand->kind = OPERAND_SCALAR;
    if (tensor == NULL) return;
    operand->dtype = access_dtype(run, attrs->signature, tensor->dtype);
    int64_t count = tensor_count(tensor);
    if (count == 1 && run->count != 1) return;
    operand->kind = count == run->count ? OPERAND_LINEAR : OPERAND_BROADCAST;
    if (operand->kind == OPERAND_LINEAR) return;
    if (attrs->signature == POINTWISE_SLOPE)
        set_slope_strides(tensor, out, operand->stride);
    else
        kit_broadcast_strides(tensor, out->rank, operand->stride);
}

/* True where dims `i` and `i + 1` are one for every operand that follows strides. */
static bool dims_merge(const Operation *run, int32_t i) {
    for (int32_t k = 0; k < run->operand_count; ++k) {
        const Operand *operand = &run->operands[k];
        if (operand->kind == OPERAND_BROADCAST &&
            operand->stride[i] != operand->stride[i + 1] * run->dim[i + 1])
            return false;
    }
    return true;
}

static void remove_dim(Operation *run, int32_t i) {
    for (int32_t j = i; j + 1 < run->rank; ++j) {
        run->dim[j] = run->dim[j + 1];
        for (int32_t k = 0; k < run->operand_count; ++k)
            run->operands[k].stride[j] = run->operands[k].stride[j + 1];
    }
    --run->rank;
}

/* Drops dims of one and merges neighbours, so that the last dim is as long as it can be. */
static void collapse_dims(Operation *run) {
    for (int32_t i = run->rank - 1; i >= 0; --i)
        if (run->dim[i] == 1 && run->rank > 1) remove_dim(run, i);
    for (int32_t i = run->rank - 2; i >= 0; --i) {
        if (!dims_merge(run, i)) continue;
        run->dim[i + 1] *= run->dim[i];
        remove_dim(run, i);
    }
}

/* -- operands of one block -- */

/* Reads elements that go with output elements [first, first + count) by following the strides. */
static void gather(const Operation *run, const Operand *operand, int64_t first, int64_t count, char *out) {
    int64_t index[SMELT_MAX_RANK], offset = 0, rest = first;
    for (int32_t i = run->rank - 1; i >= 0; --i) {
        index[i] = rest % run->dim[i];
        rest /= run->dim[i];
        offset += index[i] * operand->stride[i];
    }
    int32_t last = run->rank - 1;
    size_t size = compute_size(run->type);
    while (count > 0) {
        int64_t length = min_i64(run->dim[last] - index[last], count);
        if (operand->stride[last] != 0) {
            read_run(run->type, operand->dtype, operand->tensor->data, offset, length, out);
        } else {
            read_run(run->type, operand->dtype, operand->tensor->data, offset, 1, out);
            repeat_first(run->type, length, out);
        }
        out += (size_t)length * size;
        count -= length;
        offset += length * operand->stride[last];
        index[last] += length;
        for (int32_t i = last; i > 0 && index[i] == run->dim[i]; --i) {
            offset += operand->stride[i - 1] - run->dim[i] * operand->stride[i];
            index[i] = 0;
            ++index[i - 1];
        }
    }
}

/* A pointer to the operand's elements [first, first + count) in the compute type: its own memory, or buffer.
 * The rest of a tensor, less than a step, is always in buffer, which goes on for a whole step. */
static const void *fetch(const Operation *run, const Operand *operand, int64_t first, int64_t count,
                         char *buffer) {
    size_t size = compute_size(run->type);
    if (operand->kind == OPERAND_SCALAR) return buffer; /* fill_scalar put it there */
    if (pointwise_is_rest(count)) memset(buffer, 0, POINTWISE_STEP * size);
    if (operand->kind == OPERAND_BROADCAST)
        gather(run, operand, first, count, buffer);
    else if (is_native(run->type, operand->dtype) && !pointwise_is_rest(count))
        return (const char *)operand->tensor->data + (size_t)first * size;
    else
        read_run(run->type, operand->dtype, operand->tensor->data, first, count, buffer);
    return buffer;
}

static void fill_scalar(const Operation *run, const Operand *operand, bool highest, char *buffer) {
    if (operand->kind != OPERAND_SCALAR) return;
    if (operand->tensor == NULL)
        store_extreme(run->type, highest, buffer);
    else
        read_run(run->type, operand->dtype, operand->tensor->data, 0, 1, buffer);
    repeat_first(run->type, POINTWISE_BLOCK, buffer);
}

/* -- blocks -- */

typedef struct Buffers {
    _Alignas(64) char operand[3][POINTWISE_BLOCK * sizeof(double)];
    _Alignas(64) char result[POINTWISE_BLOCK * sizeof(double)];
} Buffers;

/* The output elements [first, first + count) go straight to the output where it has the compute type (or
 * bool), else through the result buffer. */
static void *block_target(const Operation *run, Buffers *buffers, int64_t first, int64_t count) {
    if (pointwise_is_rest(count)) return buffers->result;
    if (run->gives_bool) return (char *)run->out + first;
    if (!is_native(run->type, run->out_dtype)) return buffers->result;
    return (char *)run->out + (size_t)first * compute_size(run->type);
}

static void store_block(const Operation *run, Buffers *buffers, int64_t first, int64_t count) {
    if (run->gives_bool)
        memcpy((char *)run->out + first, buffers->result, (size_t)count);
    else
        write_run(run->type, run->out_dtype, run->out, first, count, buffers->result);
}

static int64_t padded(int64_t count) {
    return pointwise_is_rest(count) ? POINTWISE_STEP : count;
}

static void run_block(const Operation *run, Buffers *buffers, int64_t first, int64_t count) {
    const void *operand[3];
    for (int32_t k = 0; k < 3; ++k) operand[k] = buffers->operand[0]; /* unused ones: anything readable */
    for (int32_t k = 0; k < run->operand_count; ++k)
        operand[k] = fetch(run, &run->operands[k], first, count, buffers->operand[k]);
    void *target = block_target(run, buffers, first, count);
    run->block(padded(count), operand[0], operand[1], operand[2], run->alpha, run->beta, target);
    if (target == (void *)buffers->result) store_block(run, buffers, first, count);
}

/* Folds over all inputs. Partial results stay in the buffer until the last step: the output may be any of the
 * inputs. */
static void run_fold(const Operation *run, Buffers *buffers, int64_t first, int64_t count) {
    fill_scalar(run, &run->operands[0], false, buffers->operand[0]);
    const void *x = fetch(run, &run->operands[0], first, count, buffers->operand[0]);
    void *target = block_target(run, buffers, first, count);
    if (run->operand_count == 1) memmove(target, x, (size_t)count * compute_size(run->type));
    for (int32_t k = 1; k < run->operand_count; ++k) {
        bool last = k + 1 == run->operand_count;
        fill_scalar(run, &run->operands[k], false, buffers->operand[1]);
        const void *y = fetch(run, &run->operands[k], first, count, buffers->operand[1]);
        run->block(padded(count), x, y, x, last ? run->alpha : 1, 0, last ? target : buffers->operand[2]);
        x = buffers->operand[2];
    }
    if (target == (void *)buffers->result) store_block(run, buffers, first, count);
}

static void run_blocks(void *context, int64_t first_block, int64_t last_block, int worker) {
    const Operation *run = context;
    Buffers buffers;
    int64_t end = min_i64(last_block * POINTWISE_BLOCK, run->count);
    (void)worker;
    if (!run->folds)
        for (int32_t k = 0; k < run->operand_count; ++k)
            fill_scalar(run, &run->operands[k], k == 2, buffers.operand[k]);
    for (int64_t first = first_block * POINTWISE_BLOCK, count; first < end; first += count) {
        count = pointwise_next(end - first);
        if (run->folds)
            run_fold(run, &buffers, first, count);
        else
            run_block(run, &buffers, first, count);
    }
}

/* -- kernels -- */

/* x to the power 2 is a product. */
static void simplify_power(Operation *run, const PointwiseAttrs *attrs) {
    const Operand *y = &run->operands[1];
    if (attrs->op != OP_Pow || run->type > COMPUTE_F64 || y->kind != OPERAND_SCALAR) return;
    if (dtype_load_f64(y->dtype, y->tensor->data, 0) != 2) return;
    run->block = block_tables[run->type][OP_Mul];
    run->operands[1] = run->operands[0];
}

static Status check_divisor(const KernelCtx *ctx, const Tensor *divisor) {
    if (dtype_is_float(divisor->dtype)) return STATUS_OK;
    for (int64_t i = 0, count = tensor_count(divisor); i < count; ++i)
        if (kit_index(divisor, i) == 0)
            return FAIL(ctx->diag, STATUS_BAD_DATA, "integer division by zero (element %lld of input 1)",
                        (long long)i);
    return STATUS_OK;
}

static void set_operation(const KernelCtx *ctx, Operation *run) {
    const PointwiseAttrs *attrs = ctx->attrs;
    const Tensor *x = ctx->inputs[0], *out = ctx->outputs[0];
    const Tensor *y = kernel_input(ctx, 1);
    run->type = compute_type(attrs, x->dtype, y != NULL ? y->dtype : DTYPE_NONE);
    run->block = block_tables[run->type][attrs->op];
    run->folds = (op_def(attrs->op)->flags & OPF_VARIADIC) != 0;
    run->gives_bool = out->dtype == DTYPE_BOOL && attrs->signature != POINTWISE_SELECT;
    run->alpha = attrs->alpha;
    run->beta = attrs->beta;
    run->count = tensor_count(out);
    run->rank = out->rank;
    memcpy(run->dim, out->dim, sizeof run->dim);
    run->out = out->data;
    run->out_dtype = access_dtype(run, attrs->signature, out->dtype);
    run->operand_count = attrs->signature == POINTWISE_BOUND ? 3 : ctx->input_count;
    for (int32_t k = 0; k < run->operand_count; ++k)
        set_operand(run, attrs, kernel_input(ctx, k), out, &run->operands[k]);
    collapse_dims(run);
    simplify_power(run, attrs);
}

Status kernel_pointwise(KernelCtx *ctx) {
    enum { BLOCKS_PER_PIECE = 16 };
    const PointwiseAttrs *attrs = ctx->attrs;
    Operation run;
    if (ctx->outputs[0] == NULL || tensor_count(ctx->outputs[0]) == 0) return STATUS_OK;
    if (attrs->signature == POINTWISE_QUOTIENT) TRY(check_divisor(ctx, ctx->inputs[1]));
    set_operation(ctx, &run);
    parallel_for(ctx->host->pool, ceil_div_i64(run.count, POINTWISE_BLOCK), BLOCKS_PER_PIECE, run_blocks,
                 &run);
    return STATUS_OK;
}
