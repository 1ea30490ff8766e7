#include "cli/trial_numbers.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "cli/samples.h"

enum {
    RANDOM_ELEMENTS = 1048573, /* of large inputs, which repeat them: a prime, that no extent has */
    MOST_INTEGER = 1,          /* of integer inputs, which may be indices */
    ZEROS = 1 << 24,           /* bytes that are there to clear results with */
    COMPARED = 1 << 25,        /* bytes of a larger result that are compared, in pieces all over it */
    PIECE = 1 << 16,
    PIECES = COMPARED / PIECE,
    ALIGNMENT = 256, /* of a piece's first byte: elements are whole */
    BLOCK = 512,     /* elements that are compared at a time */
    GRAIN = 1 << 16,
    MOST_WORKERS = 1024
};
static const double half_error = 2e-2, float_error = 1e-3; /* relative to the reference's largest element */

static Status copied(const Trials *t, int result, const char *what, Diag *diag) {
    return cuda_result(&t->cuda.api, result, STATUS_CUDA_FAILED, what, diag);
}

/* -- inputs -- */

Status operand_fill(Trials *t, Operand *operand, uint64_t *state, Diag *diag) {
    DType dtype = (DType)operand->binding.dtype;
    int64_t drawn = min_i64((int64_t)(operand->size * 8 / (size_t)dtype_bits(dtype)), RANDOM_ELEMENTS);
    Tensor tensor;
    TRY(sample_random(dtype, 1, &drawn, MOST_INTEGER, state, &t->arena, &tensor, diag));
    operand->elements = tensor.data;
    operand->held = tensor_bytes(&tensor);
    return STATUS_OK;
}

void *operand_whole(Trials *t, const Operand *operand) {
    if (!operand->binding.is_output && operand->held == operand->size) return operand->elements;
    uint8_t *all = arena_alloc(&t->arena, operand->size);
    if (all == NULL || operand->binding.is_output) return all;
    for (size_t at = 0; at < operand->size; at += operand->held)
        memcpy(all + at, operand->elements,
               operand->size - at < operand->held ? operand->size - at : operand->held);
    return all;
}

/* The first bytes again and again, as many as there are by then at a time. */
static int repeat_bytes(const Trials *t, const Operand *operand, size_t first) {
    int result = CUDA_SUCCESS;
    for (size_t done = first; done > 0 && done < operand->size && result == CUDA_SUCCESS;) {
        size_t count = operand->size - done < done ? operand->size - done : done;
        result = t->cuda.api.copy_async(operand->memory.data + done, operand->memory.data, count, t->stream);
        done += count;
    }
    return result;
}

/* All on the stream: a copy of pageable memory that is on none may still be under way when it returns, and
 * then what is behind it on a stream repeats bytes that are not there yet. Waits, since the elements go with
 * the problem, whatever becomes of its trials. */
static Status place_input(const Trials *t, const Operand *operand, Diag *diag) {
    int result = CUDA_SUCCESS;
    if (operand->held > 0)
        result = t->cuda.api.copy_in_async(operand->memory.data, operand->elements, operand->held, t->stream);
    if (result == CUDA_SUCCESS) result = repeat_bytes(t, operand, operand->held);
    if (result == CUDA_SUCCESS) result = t->cuda.api.stream_synchronize(t->stream);
    return copied(t, result, "a copy to the GPU", diag);
}

static size_t compared_bytes(const Operand *operand) {
    return operand->size <= COMPARED ? operand->size : COMPARED;
}

static Status place_zeros(Trials *t, Diag *diag) {
    TRY(pinned_reserve(&t->cuda, &t->download, COMPARED, diag));
    if (t->zeros.capacity >= ZEROS) return STATUS_OK;
    TRY(device_reserve(&t->cuda, &t->zeros, ZEROS, "inputs and outputs", diag));
    memset(t->download.data, 0, ZEROS);
    return copied(t, t->cuda.api.copy_in(t->zeros.data, t->download.data, ZEROS), "a copy to the GPU", diag);
}

Status operands_place(Trials *t, Diag *diag) {
    for (int i = 0; i < t->operand_count; ++i) {
        Operand *operand = &t->operands[i];
        if (i >= t->memory_count) t->memory_count = i + 1;
        TRY(device_reserve(&t->cuda, &operand->memory, operand->size, "inputs and outputs", diag));
        if (!operand->binding.is_output) TRY(place_input(t, operand, diag));
    }
    return place_zeros(t, diag);
}

/* -- results -- */

Status results_clear(Trials *t, Diag *diag) {
    int result = CUDA_SUCCESS;
    for (int i = 0; i < t->operand_count && result == CUDA_SUCCESS; ++i) {
        const Operand *operand = &t->operands[i];
        size_t first = operand->size < ZEROS ? operand->size : ZEROS;
        if (!operand->binding.is_output || first == 0) continue;
        result = t->cuda.api.copy_async(operand->memory.data, t->zeros.data, first, t->stream);
        if (result == CUDA_SUCCESS) result = repeat_bytes(t, operand, first);
    }
    return copied(t, result, "a copy on the GPU", diag);
}

/* Where piece number i of a large result begins: they are spread evenly, but not at equal distances, which
 * extents might have, too. The first and the last bytes are in one. */
static size_t piece_at(const Operand *operand, size_t i) {
    size_t last = operand->size - PIECE, distance = last / (PIECES - 1);
    if (i == PIECES - 1) return last;
    size_t room = distance > PIECE ? distance - PIECE : 1;
    size_t at = i * distance + (i == 0 ? 0 : i * 2654435761U % room);
    return at / ALIGNMENT * ALIGNMENT;
}

/* What is compared of a result of the last run. */
static Status download(Trials *t, const Operand *operand, Diag *diag) {
    const CudaApi *api = &t->cuda.api;
    uint8_t *to = t->download.data;
    int result = CUDA_SUCCESS;
    if (operand->size <= COMPARED)
        result = api->copy_out_async(to, operand->memory.data, operand->size, t->stream);
    for (size_t i = 0; operand->size > COMPARED && i < PIECES && result == CUDA_SUCCESS; ++i)
        result = api->copy_out_async(to + i * PIECE, operand->memory.data + piece_at(operand, i), PIECE,
                                     t->stream);
    if (result == CUDA_SUCCESS) result = api->stream_synchronize(t->stream);
    return copied(t, result, "a copy from the GPU", diag);
}

void result_expect(Operand *operand, void *elements) {
    operand->elements = elements;
    operand->held = compared_bytes(operand);
    for (size_t i = 0; operand->size > COMPARED && i < PIECES; ++i)
        memmove((uint8_t *)elements + i * PIECE, (uint8_t *)elements + piece_at(operand, i), PIECE);
}

Status results_keep(Trials *t, Diag *diag) {
    for (int i = 0; i < t->operand_count; ++i) {
        Operand *operand = &t->operands[i];
        if (!operand->binding.is_output || operand->size == 0) continue;
        TRY(download(t, operand, diag));
        operand->held = compared_bytes(operand);
        operand->elements = arena_alloc(&t->arena, operand->held);
        TRY_ALLOC(diag, operand->elements);
        memcpy(operand->elements, t->download.data, operand->held);
    }
    return STATUS_OK;
}

/* -- comparison -- */

typedef struct Comparison {
    const Operand *operand;
    const void *got; /* NULL: only the expected range is asked for */
    double edge;     /* the largest finite element of its type */
    double range[MOST_WORKERS], difference[MOST_WORKERS];
} Comparison;

static double largest_of(DType dtype) {
    return dtype == DTYPE_F16    ? 65504
           : dtype == DTYPE_BF16 ? 0x1.fep127
           : dtype == DTYPE_F32  ? (double)FLT_MAX
                                 : DBL_MAX;
}

/* Elements beside the edge may be rounded across it; of the others infinities differ by what is finite. */
static double distance(double x, double y, double edge) {
    if (x == y || (isnan(x) && isnan(y))) return 0;
    if (isnan(x) || isnan(y)) return HUGE_VAL;
    return fabs(fmin(fmax(x, -edge), edge) - fmin(fmax(y, -edge), edge));
}

static void compare_block(Comparison *c, int64_t first, int64_t count, int worker) {
    double expected[BLOCK], got[BLOCK], range = c->range[worker], difference = c->difference[worker];
    DType dtype = (DType)c->operand->binding.dtype;
    dtype_read_f64(dtype, c->operand->elements, first, count, expected);
    dtype_read_f64(dtype, c->got != NULL ? c->got : c->operand->elements, first, count, got);
    for (int64_t i = 0; i < count; ++i) {
        if (isfinite(expected[i])) range = fmax(range, fabs(expected[i]));
        difference = fmax(difference, distance(expected[i], got[i], c->edge));
    }
    c->range[worker] = range;
    c->difference[worker] = difference;
}

static void compare_range(void *context, int64_t first, int64_t last, int worker) {
    for (int64_t at = first; at < last; at += BLOCK)
        compare_block(context, at, min_i64(BLOCK, last - at), worker);
}

/* The largest difference, relative to what may be; above 1 they are not the same. Sets the expected range
 * where nothing is compared. */
static double compare(Trials *t, Operand *operand, const void *got) {
    DType dtype = (DType)operand->binding.dtype;
    Comparison c = {.operand = operand, .got = got, .edge = largest_of(dtype)};
    int bits = dtype_bits(dtype);
    double range = 0, difference = 0;
    parallel_for(t->pool, (int64_t)(operand->held * 8 / (size_t)bits), GRAIN, compare_range, &c);
    for (int i = 0; i < MOST_WORKERS; ++i) {
        range = fmax(range, c.range[i]);
        difference = fmax(difference, c.difference[i]);
    }
    if (got == NULL) operand->range = range;
    double allowed = (bits < 32 ? half_error : float_error) * operand->range;
    return difference > 0 ? difference / fmax(allowed, 1e-300) : 0;
}

void results_measure(Trials *t) {
    for (int i = 0; i < t->operand_count; ++i)
        if (t->operands[i].binding.is_output) (void)compare(t, &t->operands[i], NULL);
}

Status results_compare(Trials *t, Diag *diag) {
    for (int i = 0; i < t->operand_count; ++i) {
        Operand *operand = &t->operands[i];
        if (!operand->binding.is_output || operand->size == 0 || operand->elements == NULL) continue;
        TRY(download(t, operand, diag));
        if (compare(t, operand, t->download.data) > 1)
            return FAIL(diag, STATUS_INTERNAL, "its results are not those of the reference");
    }
    return STATUS_OK;
}
