/* Copies by index maps: all of an operator's copies in one launch, one behind the other. */
#include "base/checked.h"
#include "kernels/copy.h"
#include "kernels/emit_writer.h"
#include "kernels/tactic.h"
#include "kernels/window_text.h"

enum {
    THREADS = 256,
    COPIES_PER_LAUNCH = 32,
    MOST_ROUND = 32, /* blocks of copies that take turns */
    WASTE = 16       /* and of them the part that may have nothing to do: 1/16 */
};

static const char *refuses(const Problem *problem, const Device *device) {
    int32_t count = copy_count(problem);
    Copy copy;
    (void)device;
    if (count == 0) return "not a copy of elements";
    if (count > COPIES_PER_LAUNCH * EMISSION_LAUNCHES) return "more than 512 parts";
    for (int32_t i = 0; i < count; ++i) {
        const char *why = copy_describe(problem, i, &copy);
        if (why != NULL) return why;
    }
    return NULL;
}

/* Threads move up to so many bytes at once. */
static int32_t configs(const Problem *problem, const Device *device, Config out[MOST_CONFIGS]) {
    (void)problem, (void)device;
    out[0] = (Config){.count = 1, .number = {VECTOR_BYTES}};
    return 1;
}

static bool is_packed(const Access *access, Dim offset, int32_t lanes) {
    return access_is_packed(access, lanes) && dim_is_exact(offset) && offset % lanes == 0;
}

/* Lanes that are written with one access. */
static int32_t choose_lanes(const Problem *problem, const Copy *copy, int32_t vector_bytes) {
    const Value *from = problem_value(problem, copy->from), *to = problem_value(problem, copy->to);
    int32_t lanes = vector_bytes / (dtype_bits(to->dtype) / 8);
    if (!access_value_is_aligned(from) || !access_value_is_aligned(to)) return 1;
    while (lanes > 1 && !is_packed(&copy->write, copy->write_offset, lanes)) lanes /= 2;
    return lanes;
}

static const char *place(KernelWriter *w, const Access *access, Dim offset, const char *index) {
    const char *text = access_index(w, access, index);
    if (offset == 0) return text;
    return kernel_text(w, arena_printf(kernel_emission(w)->arena, "%s + %s", kernel_number(w, offset), text));
}

/* Declares the copy as a struct with run<N>; returns the text that constructs it. */
static const char *declare_copy(KernelWriter *w, const Copy *copy, int32_t index, int32_t lanes) {
    Arena *arena = kernel_emission(w)->arena;
    ByteWriter text = byte_writer(arena);
    const char *name = kernel_text(w, arena_printf(arena, "Copy%d", index));
    kernel_struct_begin(w);
    const char *from = kernel_pointer(w, copy->from), *to = kernel_result(w, copy->to);
    write_format(&text, "    template <int N> SMELT_DEVICE void run(Index i) const {\n");
    if (is_packed(&copy->read, copy->read_offset, lanes)) {
        write_format(&text, "        const auto v = load_pack<N>(raw(%s), %s);\n", from,
                     place(w, &copy->read, copy->read_offset, "i"));
    } else {
        write_format(&text, "        Pack<Raw<%s>, N> v;\n#pragma unroll\n",
                     cuda_type(kernel_emission(w)->graph->values[copy->from].dtype));
        write_format(&text, "        for (int k = 0; k < N; ++k) v.at[k] = raw(%s)[%s];\n", from,
                     place(w, &copy->read, copy->read_offset, "(i + k)"));
    }
    write_format(&text, "        store_pack(raw(%s), %s, v);\n    }\n", to,
                 place(w, &copy->write, copy->write_offset, "i"));
    return kernel_struct_end(w, name, &text);
}

/* How the blocks of copies follow one another: in rounds, each of which has `each` of them, or (rounds 0) all
 * of one behind all of the other. */
typedef struct Order {
    int64_t rounds, length;
} Order;

static int64_t each_of(const Order *order, Dim blocks) {
    return ceil_div_i64(blocks, order->rounds);
}

/* Results that several copies write pieces of side by side are written as wholes where these take turns. */
static Order order_of(const Dim *blocks, int32_t count) {
    Order order = {0, 0};
    int64_t sum = 0, least = INT64_MAX;
    for (int32_t i = 0; i < count; ++i) {
        if (!dim_is_exact(blocks[i])) return order;
        least = min_i64(least, blocks[i]);
        sum += blocks[i];
    }
    if (count < 2) return order;
    order.rounds = least;
    for (int32_t i = 0; i < count; ++i) order.length += each_of(&order, blocks[i]);
    bool wastes = order.length > MOST_ROUND || (order.length * order.rounds - sum) * WASTE > sum;
    return wastes ? (Order){0, 0} : order;
}

/* What the copies of a launch are. */
typedef struct Piece {
    Copy copy;
    int32_t lanes;
    Dim blocks;
} Piece;

static void write_part(KernelWriter *w, const Piece *part, int32_t index, Dim *before, const Order *order) {
    DimTable *dims = kernel_emission(w)->graph->dims;
    Dim own = order->rounds > 0 ? each_of(order, part->blocks) : part->blocks;
    const char *body = declare_copy(w, &part->copy, index, part->lanes), *begin = kernel_number(w, *before);
    const char *name = order->rounds > 0 ? "turn" : "(Index)blockIdx.x";
    *before = dim_add(dims, *before, own);
    kernel_line(w, "%sif (%s < %s)", index > 0 ? "else " : "", name, kernel_number(w, *before));
    const char *block = kernel_format(w, "%s - %s", name, begin);
    if (order->rounds > 0) {
        block = kernel_format(w, "round * %s + %s", kernel_number(w, own), block);
        own = dim_mul(dims, own, order->rounds);
    }
    kernel_line(w, "    for_each_pack_of<%d>(%s, %s, %s, %s);", part->lanes, block, kernel_number(w, own),
                kernel_number(w, part->copy.count), body);
}

/* Copies [first, last) as one launch. */
static Status emit_launch(Emission *emission, int32_t first, int32_t last, int32_t vector_bytes) {
    KernelWriter *w = kernel_begin(emission, "movement");
    Dim blocks[COPIES_PER_LAUNCH], before = 0;
    int32_t count = 0;
    TRY_ALLOC(emission->diag, w);
    Piece *parts = ARENA_ARRAY(emission->arena, Piece, last - first);
    TRY_ALLOC(emission->diag, parts);
    for (int32_t i = first; i < last; ++i) {
        Piece *part = &parts[count];
        const char *why = copy_describe(emission->problem, i, &part->copy);
        if (why != NULL) return FAIL(emission->diag, STATUS_INTERNAL, "a copy that was accepted: %s", why);
        if (part->copy.to == NONE || part->copy.count == 0) continue;
        part->lanes = choose_lanes(emission->problem, &part->copy, vector_bytes);
        part->blocks = blocks[count++] = kernel_grid_for(emission, part->copy.count, THREADS * part->lanes);
    }
    Order order = order_of(blocks, count);
    if (order.rounds > 0)
        kernel_line(w, "const Index round = (Index)blockIdx.x / %lld, turn = (Index)blockIdx.x %% %lld;",
                    (long long)order.length, (long long)order.length);
    for (int32_t i = 0; i < count; ++i) write_part(w, &parts[i], i, &before, &order);
    if (order.rounds > 0) before *= order.rounds;
    return count == 0 ? STATUS_OK : kernel_finish(w, before, 1, 1, THREADS, 0);
}

static Status emit(const Config *config, const Device *device, Emission *emission) {
    int32_t count = copy_count(emission->problem);
    (void)device;
    for (int32_t first = 0; first < count; first += COPIES_PER_LAUNCH) {
        int32_t last = first + COPIES_PER_LAUNCH < count ? first + COPIES_PER_LAUNCH : count;
        TRY(emit_launch(emission, first, last, config->number[0]));
    }
    return STATUS_OK;
}

const Tactic tactic_movement = {
    .name = "movement", .version = 4, .strided = true, .refuses = refuses, .configs = configs, .emit = emit};
