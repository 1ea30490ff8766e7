#include "ops/strided.h"

#include <string.h>

#include "base/checked.h"
#include "ops/tile.h"

enum { CHUNK_BYTES = 1 << 16 }; /* what one piece of parallel work moves at least, roughly */

/* The same copy in bytes, with unit and mergeable dimensions gone. */
typedef struct BytePlan {
    size_t size; /* of one element: 1, 2, 4, 8 or 16 */
    int32_t rank;
    int64_t dim[STRIDED_MAX_RANK], from_stride[STRIDED_MAX_RANK], to_stride[STRIDED_MAX_RANK];
    const char *from;
    char *to;
    /* What one work item covers: `inner` trailing dims, the first of them in pieces of `chunk`. */
    int32_t inner;
    int64_t chunk, chunks;
    bool tile;
} BytePlan;

/* Appends a dimension inside the existing ones, merging it with the last where both sides allow. */
static void plan_add(BytePlan *plan, int64_t dim, int64_t from_stride, int64_t to_stride) {
    if (dim == 1) return;
    int32_t last = plan->rank - 1;
    if (last >= 0 && plan->from_stride[last] == from_stride * dim &&
        plan->to_stride[last] == to_stride * dim) {
        plan->dim[last] *= dim;
    } else {
        plan->dim[++last] = dim;
        plan->rank = last + 1;
    }
    plan->from_stride[last] = from_stride;
    plan->to_stride[last] = to_stride;
}

static bool is_word(int64_t bytes) {
    return bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16;
}

/* Makes a short contiguous innermost run one wider element. */
static void plan_widen(BytePlan *plan) {
    int32_t last = plan->rank - 1;
    int64_t size = (int64_t)plan->size;
    if (last <= 0 || plan->from_stride[last] != size || plan->to_stride[last] != size) return;
    if (plan->dim[last] > 8 || !is_word(plan->dim[last] * size)) return;
    plan->size = (size_t)(plan->dim[last] * size);
    plan->rank = last;
}

static void plan_swap(BytePlan *plan, int32_t i, int32_t j) {
    int64_t dim = plan->dim[i], from = plan->from_stride[i], to = plan->to_stride[i];
    plan->dim[i] = plan->dim[j];
    plan->from_stride[i] = plan->from_stride[j];
    plan->to_stride[i] = plan->to_stride[j];
    plan->dim[j] = dim;
    plan->from_stride[j] = from;
    plan->to_stride[j] = to;
}

/* Where `to` is contiguous in the last dimension and `from` in another one, brings that one next to last.
 * Order among the outer dimensions does not matter to the result. */
static void plan_find_tile(BytePlan *plan) {
    int32_t last = plan->rank - 1;
    int64_t size = (int64_t)plan->size;
    int64_t step = last < 1 ? size : plan->from_stride[last];
    if (step == size || step == 0 || plan->to_stride[last] != size) return;
    for (int32_t j = 0; j < last; ++j) {
        if (plan->from_stride[j] != size) continue;
        for (int32_t k = j; k < last - 1; ++k) plan_swap(plan, k, k + 1);
        plan->tile = true;
        return;
    }
}

/* Two dims for one item where a line along the last is short; returns how many items there are. */
static int64_t plan_divide(BytePlan *plan) {
    int64_t size = (int64_t)plan->size, line = plan->dim[plan->rank - 1];
    plan->inner = plan->rank > 1 && (plan->tile || line < CHUNK_BYTES / size) ? 2 : 1;
    int32_t first = plan->rank - plan->inner;
    plan->chunk = plan->tile         ? TILE_SIDE
                  : plan->inner == 2 ? max_i64(1, CHUNK_BYTES / size / line)
                                     : CHUNK_BYTES / size;
    plan->chunks = ceil_div_i64(plan->dim[first], plan->chunk);
    int64_t items = plan->chunks;
    for (int32_t i = 0; i < first; ++i) items *= plan->dim[i];
    return items;
}

static inline void move_elements(char *to, int64_t to_stride, const char *from, int64_t from_stride,
                                 int64_t count, size_t size) {
    for (int64_t i = 0; i < count; ++i) memcpy(to + i * to_stride, from + i * from_stride, size);
}

/* One element again and again, next to each other. */
static inline void repeat_element(char *to, const char *from, int64_t count, size_t size) {
    char element[16];
    memcpy(element, from, size);
    for (int64_t i = 0; i < count; ++i) memcpy(to + i * (int64_t)size, element, size);
}

static void repeat_line(char *to, const char *from, int64_t count, size_t size) {
    if (size == 1)
        memset(to, *from, (size_t)count);
    else if (size == 2)
        repeat_element(to, from, count, 2);
    else if (size == 4)
        repeat_element(to, from, count, 4);
    else if (size == 8)
        repeat_element(to, from, count, 8);
    else
        repeat_element(to, from, count, 16);
}

static void move_line(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t count,
                      size_t size) {
    switch (size) {
    case 1:
        move_elements(to, to_stride, from, from_stride, count, 1);
        break;
    case 2:
        move_elements(to, to_stride, from, from_stride, count, 2);
        break;
    case 4:
        move_elements(to, to_stride, from, from_stride, count, 4);
        break;
    case 8:
        move_elements(to, to_stride, from, from_stride, count, 8);
        break;
    default:
        move_elements(to, to_stride, from, from_stride, count, 16);
        break;
    }
}

/* `lines` lines along the last dimension. */
static void move_lines(const BytePlan *plan, char *to, const char *from, int64_t lines, int64_t count) {
    int32_t last = plan->rank - 1;
    int64_t size = (int64_t)plan->size, from_stride = plan->from_stride[last],
            to_stride = plan->to_stride[last];
    int64_t from_line = last > 0 ? plan->from_stride[last - 1] : 0,
            to_line = last > 0 ? plan->to_stride[last - 1] : 0;
    bool solid = from_stride == size && to_stride == size && count * size > 32;
    for (int64_t i = 0; i < lines; ++i, from += from_line, to += to_line) {
        if (solid)
            memcpy(to, from, (size_t)(count * size));
        else if (from_stride == 0 && to_stride == size)
            repeat_line(to, from, count, plan->size);
        else
            move_line(to, to_stride, from, from_stride, count, plan->size);
    }
}

static void move_item(const BytePlan *plan, const char *from, char *to, int64_t chunk_index) {
    int32_t d = plan->rank - plan->inner;
    int64_t start = chunk_index * plan->chunk, count = min_i64(plan->chunk, plan->dim[d] - start);
    from += start * plan->from_stride[d];
    to += start * plan->to_stride[d];
    if (plan->tile)
        tile_transpose(to, plan->to_stride[d], from, plan->from_stride[d + 1], count, plan->dim[d + 1],
                       plan->size);
    else if (plan->inner == 2)
        move_lines(plan, to, from, count, plan->dim[d + 1]);
    else
        move_lines(plan, to, from, 1, count);
}

static void move_items(void *context, int64_t first, int64_t last, int worker) {
    const BytePlan *plan = context;
    (void)worker;
    int32_t outer = plan->rank - plan->inner;
    int64_t index[STRIDED_MAX_RANK], rest = first / plan->chunks, chunk = first % plan->chunks;
    const char *from = plan->from;
    char *to = plan->to;
    for (int32_t i = outer - 1; i >= 0; --i) {
        index[i] = rest % plan->dim[i];
        rest /= plan->dim[i];
        from += index[i] * plan->from_stride[i];
        to += index[i] * plan->to_stride[i];
    }
    for (int64_t item = first; item < last; ++item) {
        move_item(plan, from, to, chunk);
        if (++chunk < plan->chunks) continue;
        chunk = 0;
        for (int32_t i = outer - 1; i >= 0; --i) {
            from += plan->from_stride[i];
            to += plan->to_stride[i];
            if (++index[i] < plan->dim[i]) break;
            from -= index[i] * plan->from_stride[i];
            to -= index[i] * plan->to_stride[i];
            index[i] = 0;
        }
    }
}

static unsigned bits_get(const unsigned char *data, int64_t index, int bits) {
    int64_t at = index * bits;
    return (unsigned)(data[at / 8] >> (at % 8)) & ((1u << bits) - 1);
}

static void bits_put(unsigned char *data, int64_t index, int bits, unsigned value) {
    int64_t at = index * bits;
    unsigned mask = ((1u << bits) - 1) << (at % 8);
    data[at / 8] = (unsigned char)((data[at / 8] & ~mask) | (value << (at % 8)));
}

/* Elements that share bytes: one thread, one by one. */
static void strided_copy_bits(const StridedCopy *copy) {
    int bits = dtype_bits(copy->dtype);
    int64_t index[STRIDED_MAX_RANK] = {0}, from = copy->from_offset, to = copy->to_offset, count = 1;
    for (int32_t i = 0; i < copy->rank; ++i) count *= copy->dim[i];
    for (int64_t n = 0; n < count; ++n) {
        bits_put(copy->to, to, bits, bits_get(copy->from, from, bits));
        for (int32_t i = copy->rank - 1; i >= 0; --i) {
            from += copy->from_stride[i];
            to += copy->to_stride[i];
            if (++index[i] < copy->dim[i]) break;
            from -= index[i] * copy->from_stride[i];
            to -= index[i] * copy->to_stride[i];
            index[i] = 0;
        }
    }
}

/* Each element already lies where it goes: a part of a larger tensor that was made in its place. */
static bool is_in_place(const BytePlan *plan) {
    bool same = plan->from == plan->to;
    for (int32_t i = 0; i < plan->rank; ++i) same = same && plan->from_stride[i] == plan->to_stride[i];
    return same;
}

void strided_copy(const StridedCopy *copy, ThreadPool *pool) {
    int bits = dtype_bits(copy->dtype);
    for (int32_t i = 0; i < copy->rank; ++i)
        if (copy->dim[i] == 0) return;
    if (bits < 8) {
        strided_copy_bits(copy);
        return;
    }
    int64_t size = bits / 8;
    BytePlan plan = {.size = (size_t)size,
                     .from = (const char *)copy->from + copy->from_offset * size,
                     .to = (char *)copy->to + copy->to_offset * size};
    for (int32_t i = 0; i < copy->rank; ++i)
        plan_add(&plan, copy->dim[i], copy->from_stride[i] * size, copy->to_stride[i] * size);
    if (is_in_place(&plan)) return;
    if (plan.rank == 0) {
        memcpy(plan.to, plan.from, plan.size);
        return;
    }
    plan_widen(&plan);
    plan_find_tile(&plan);
    int64_t items = plan_divide(&plan), bytes = (int64_t)plan.size;
    for (int32_t i = 0; i < plan.rank; ++i) bytes *= plan.dim[i];
    parallel_for(pool, items, max_i64(1, CHUNK_BYTES / max_i64(1, bytes / items)), move_items, &plan);
}

void elements_copy(DType dtype, void *to, int64_t to_index, const void *from, int64_t from_index,
                   int64_t count) {
    int bits = dtype_bits(dtype);
    if (bits >= 8) {
        int64_t size = bits / 8;
        if (count > 0)
            memcpy((char *)to + to_index * size, (const char *)from + from_index * size,
                   (size_t)(count * size));
        return;
    }
    for (int64_t i = 0; i < count; ++i)
        bits_put(to, to_index + i, bits, bits_get(from, from_index + i, bits));
}

void elements_fill(DType dtype, void *to, int64_t first, int64_t count, const void *value, int64_t index) {
    int bits = dtype_bits(dtype);
    if (count <= 0) return;
    if (bits < 8) {
        unsigned raw = value == NULL ? 0 : bits_get(value, index, bits);
        for (int64_t i = 0; i < count; ++i) bits_put(to, first + i, bits, raw);
        return;
    }
    size_t size = (size_t)bits / 8;
    char *start = (char *)to + first * (int64_t)size;
    if (value == NULL) {
        memset(start, 0, (size_t)count * size);
        return;
    }
    memcpy(start, (const char *)value + index * (int64_t)size, size);
    /* each copy doubles the part that is done, as long as the source stays in cache */
    for (int64_t done = 1; done < count;) {
        int64_t step = min_i64(min_i64(done, CHUNK_BYTES / (int64_t)size), count - done);
        memcpy(start + done * (int64_t)size, start, (size_t)step * size);
        done += step;
    }
}

typedef struct ByteCopy {
    const char *from;
    char *to;
} ByteCopy;

static void copy_bytes(void *context, int64_t first, int64_t last, int worker) {
    const ByteCopy *copy = context;
    (void)worker;
    memcpy(copy->to + first, copy->from + first, (size_t)(last - first));
}

void tensor_copy_bytes(const Tensor *from, Tensor *to, ThreadPool *pool) {
    if (from->data == to->data || tensor_bytes(from) == 0) return;
    ByteCopy copy = {from->data, to->data};
    parallel_for(pool, (int64_t)tensor_bytes(from), CHUNK_BYTES, copy_bytes, &copy);
}
