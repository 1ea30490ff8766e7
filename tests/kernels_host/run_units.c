/* Device code against host kernels, without a GPU: every tactic on the steps of graphs; the units are
 * compiled as C++ (device_shim.h) and run on the same inputs as the host's kernels. A tactic's first step
 * goes through all its configs, the others through the best guess and one in four.
 *
 * run_units COMPILER FOLDER [NAME]: graphs in FOLDER, whose name contains NAME. Inputs are noise. Integer
 * inputs whose name ends with "_below_N" are in [0, N). Symbols have the value of their opt. Values also lie
 * in channels-last order and as slices: each problem in one of the ways, in all with SMELT_UNITS_ALL set. */
#include <unistd.h>

#include "base/file.h"
#include "kernels.h"
#include "kernels/arch.h"
#include "kernels/planes_text.h"
#include "tests/kernels_host/moments.h"
#include "tests/kernels_host/units.h"

enum {
    MOST_SYMBOLS = 64,
    MOST_TENSORS = 32,
    ONE_IN = 4,
    GUARD = 0x5a /* bytes of memory that nothing may write */
};

typedef struct Test {
    Arena arena;
    Diag diag;
    const Device *device;
    Device small; /* as device, but with so few multiprocessors that blocks have several tiles to do */
    const Device *chosen; /* for which configs are */
    Units *code;
    const char *constants; /* the folder of graphs' */
    bool collects;         /* units, which are compiled before any of them runs */
    Graph *graph;
    Tensor *values; /* of the graph, as the host computes them */
    int64_t symbols[MOST_SYMBOLS];
    int32_t symbol_count; /* of the text */
    uint64_t random;
    int32_t units, moments;     /* launches; steps that leave or find moments */
    bool used[256], moved[256]; /* per tactic: at all; with values that do not lie plainly */
    bool all;                   /* every problem in every way */
} Test;

static double noise(Test *t) {
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(t->random >> 33) / 1073741824.0 - 1;
}

static int64_t number_of(const Test *t, Dim d) {
    int64_t out = 0;
    CHECK(dim_eval(t->graph->dims, d, t->symbols, &out));
    return out;
}

/* The next multiple of 128 in memory that is 256 bytes too large. */
static void *aligned(char *memory) {
    if (memory == NULL) exit(1);
    return memory + (128 - (uintptr_t)memory % 128);
}

static Tensor sized_tensor(Test *t, DType dtype, int32_t rank, const int64_t *dims) {
    Tensor tensor;
    CHECK_OK(tensor_describe(&tensor, dtype, rank, dims, (size_t)1 << 30, &t->diag), &t->diag);
    tensor.data = aligned(arena_alloc(&t->arena, tensor_bytes(&tensor) + 256));
    memset(tensor.data, 0x5a, tensor_bytes(&tensor));
    return tensor;
}

static Tensor new_tensor(Test *t, const Value *value) {
    int64_t dims[SMELT_MAX_RANK];
    for (int32_t i = 0; i < value->shape.rank; ++i) dims[i] = number_of(t, value->shape.dim[i]);
    return sized_tensor(t, value->dtype, value->shape.rank, dims);
}

static void fill_input(Test *t, const Value *value, Tensor *tensor) {
    const char *below = strstr(value->name, "_below_");
    bool whole = !dtype_is_float(value->dtype), positive = strstr(value->name, "_positive") != NULL;
    double range = value->dtype == DTYPE_BOOL ? 1 : whole ? 100 : 2;
    for (int64_t i = 0; i < tensor_count(tensor); ++i) {
        double x = noise(t) * range;
        if (below != NULL)
            x = floor((x / range * 0.5 + 0.5) * atof(below + strlen("_below_")));
        else if (positive || value->dtype == DTYPE_U8)
            x = fabs(x) + (whole ? 0 : 0.01);
        dtype_store_f64(value->dtype, tensor->data, i, value->dtype == DTYPE_BOOL ? x > 0.5 : x);
    }
}

/* -- the host -- */

static bool is_late_symbol(const Test *t, Dim d) {
    return dim_symbol_index(t->graph->dims, d) >= 0 && dim_is_late(t->graph->dims, d);
}

/* Inference makes late symbols of its own. */
static bool is_fresh(const Test *t, Dim d) {
    return is_late_symbol(t, d) && dim_symbol_index(t->graph->dims, d) >= t->symbol_count;
}

/* The types that the text states are those that inference finds. */
static void check_types(Test *t, const Node *node) {
    TypeInfo types[MOST_TENSORS] = {0}, results[MOST_TENSORS] = {0};
    const TypeInfo *inputs[MOST_TENSORS] = {0};
    for (int32_t i = 0; i < node->input_count; ++i) {
        if (node->inputs[i] == NONE) continue;
        const Value *value = &t->graph->values[node->inputs[i]];
        types[i] = (TypeInfo){.dtype = value->dtype, .shape = value->shape, .data = value->data};
        inputs[i] = &types[i];
    }
    InferCtx ctx = {.attrs = node->parsed,
                    .input_count = node->input_count,
                    .output_count = node->output_count,
                    .inputs = inputs,
                    .outputs = results,
                    .dims = t->graph->dims,
                    .arena = &t->arena,
                    .diag = &t->diag};
    CHECK_OK(op_infer(node->op, &ctx), &t->diag);
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        const Value *value = &t->graph->values[node->outputs[i]];
        for (int32_t d = 0; d < results[i].shape.rank && d < value->shape.rank; ++d)
            if (is_fresh(t, results[i].shape.dim[d]) && is_late_symbol(t, value->shape.dim[d]))
                results[i].shape.dim[d] = value->shape.dim[d];
        if (value->dtype == results[i].dtype && shape_equal(&value->shape, &results[i].shape)) continue;
        fprintf(stderr, "%s is %s%s by inference\n", value->name, dtype_name(results[i].dtype),
                shape_print(t->graph->dims, &results[i].shape, &t->arena));
        exit(1);
    }
}

/* KernelCtx.allocate: the executor is the test. */
static Status allocate_output(KernelCtx *ctx, int32_t index, int32_t rank, const int64_t *dims) {
    *ctx->outputs[index] = sized_tensor(ctx->executor, ctx->outputs[index]->dtype, rank, dims);
    return STATUS_OK;
}

static bool value_is_late(const Test *t, const Value *value) {
    bool late = false;
    for (int32_t i = 0; i < value->shape.rank; ++i)
        late = late || dim_is_late(t->graph->dims, value->shape.dim[i]);
    return late;
}

/* What the host has found is the number of the late symbols from here on. */
static void bind_symbols(Test *t, const Value *value, const Tensor *tensor) {
    CHECK_INT(tensor->rank, value->shape.rank);
    for (int32_t i = 0; i < tensor->rank; ++i)
        if (is_late_symbol(t, value->shape.dim[i]))
            t->symbols[dim_symbol_index(t->graph->dims, value->shape.dim[i])] = tensor->dim[i];
}

static void run_node(Test *t, const Node *node) {
    const Tensor *inputs[MOST_TENSORS] = {0};
    Tensor *outputs[MOST_TENSORS] = {0};
    Host host = {0};
    check_types(t, node);
    for (int32_t i = 0; i < node->input_count; ++i)
        if (node->inputs[i] != NONE) inputs[i] = &t->values[node->inputs[i]];
    for (int32_t i = 0; i < node->output_count; ++i) {
        if (node->outputs[i] == NONE) continue;
        outputs[i] = &t->values[node->outputs[i]];
        const Value *value = &t->graph->values[node->outputs[i]];
        bool found = (op_def(node->op)->flags & OPF_LATE_SIZE) != 0 && value_is_late(t, value);
        *outputs[i] = found ? (Tensor){.dtype = value->dtype} : new_tensor(t, value);
    }
    KernelCtx ctx = {.attrs = node->parsed,
                     .input_count = node->input_count,
                     .output_count = node->output_count,
                     .inputs = inputs,
                     .outputs = outputs,
                     .host = &host,
                     .allocate = allocate_output,
                     .executor = t,
                     .diag = &t->diag};
    const OpDef *def = op_def(node->op);
    if (def->scratch != NULL) host.scratch_size = def->scratch(&ctx);
    host.scratch = aligned(arena_alloc(&t->arena, host.scratch_size + 256));
    CHECK_OK(def->kernel(&ctx), &t->diag);
    for (int32_t i = 0; i < node->output_count; ++i)
        if (node->outputs[i] != NONE) bind_symbols(t, &t->graph->values[node->outputs[i]], outputs[i]);
}

static void prepare_values(Test *t) {
    t->values = ARENA_ARRAY(&t->arena, Tensor, t->graph->value_count);
    const Block *block = &t->graph->blocks[MAIN_BLOCK];
    t->symbol_count = dim_symbol_count(t->graph->dims);
    for (int32_t i = 0; i < t->symbol_count; ++i) t->symbols[i] = dim_symbol_at(t->graph->dims, i)->opt;
    for (ValueId v = 0; v < t->graph->value_count; ++v) {
        const Value *value = &t->graph->values[v];
        if (value->data == NULL) continue;
        t->values[v] = new_tensor(t, value);
        memcpy(t->values[v].data, value->data, tensor_bytes(&t->values[v]));
    }
    for (int32_t i = 0; i < block->param_count; ++i) {
        const Value *value = &t->graph->values[block->params[i]];
        t->values[block->params[i]] = new_tensor(t, value);
        fill_input(t, value, &t->values[block->params[i]]);
    }
    for (int32_t i = 0; i < block->node_count; ++i) run_node(t, &t->graph->nodes[block->nodes[i]]);
}

/* -- values as they lie in a GPU's memory -- */

/* Calls move(host element, device element) for each element. */
static void for_elements(Test *t, ValueId id, void (*move)(const Tensor *, void *, int64_t, int64_t),
                         const Tensor *plain, void *memory) {
    Dim strides[SMELT_MAX_RANK];
    int64_t steps[SMELT_MAX_RANK] = {0}, at[SMELT_MAX_RANK] = {0}, place = 0;
    value_strides(t->graph, id, strides);
    for (int32_t i = 0; i < plain->rank; ++i) steps[i] = number_of(t, strides[i]);
    for (int64_t n = 0; n < tensor_count(plain); ++n) {
        move(plain, memory, n, place);
        for (int32_t i = plain->rank - 1; i >= 0; --i) {
            place += steps[i];
            if (++at[i] < plain->dim[i]) break;
            place -= steps[i] * at[i];
            at[i] = 0;
        }
    }
}

static void to_device(const Tensor *plain, void *memory, int64_t n, int64_t place) {
    size_t size = (size_t)dtype_bits(plain->dtype) / 8;
    memcpy((char *)memory + (size_t)place * size, (const char *)plain->data + (size_t)n * size, size);
}

/* What has been taken is guarded again, so that what is left shows whether all else is as it was. */
static void from_device(const Tensor *plain, void *memory, int64_t n, int64_t place) {
    size_t size = (size_t)dtype_bits(plain->dtype) / 8;
    memcpy((char *)plain->data + (size_t)n * size, (char *)memory + (size_t)place * size, size);
    memset((char *)memory + (size_t)place * size, GUARD, size);
}

static size_t memory_bytes(Test *t, ValueId id) {
    return (size_t)number_of(t, value_span(t->graph, id)) *
           (size_t)(dtype_bits(t->graph->values[id].dtype) / 8);
}

static void *device_memory(Test *t, ValueId id) {
    size_t bytes = memory_bytes(t, id) + 512;
    char *memory = aligned(arena_alloc(&t->arena, bytes));
    memset(memory, GUARD, bytes - 256);
    return memory;
}

static void *input_memory(Test *t, ValueId id) {
    if (value_is_plain(&t->graph->values[id])) return t->values[id].data;
    void *memory = device_memory(t, id);
    for_elements(t, id, to_device, &t->values[id], memory);
    return memory;
}

/* A result as the host has it. */
static Tensor take_result(Test *t, ValueId id, char *memory, const char *what) {
    Tensor plain = new_tensor(t, &t->graph->values[id]);
    bool guarded = true;
    size_t bytes = memory_bytes(t, id) + 128;
    for_elements(t, id, from_device, &plain, memory);
    for (size_t i = 0; i < bytes; ++i) guarded = guarded && memory[i] == GUARD;
    if (!guarded) fprintf(stderr, "%s: memory beside the result is written\n", what);
    CHECK(guarded);
    return plain;
}

/* The constant in channels-last order, a matrix with columns behind each other. */
static void *turned(Test *t, ValueId id) {
    Value *value = &t->graph->values[id];
    Layout stated = value->layout;
    const Dim strides[] = {1, value->shape.dim[0]};
    value->layout = LAYOUT_CHANNELS_LAST;
    if (value->shape.rank == 2) value->strides = strides;
    void *memory = input_memory(t, id);
    value->layout = stated;
    value->strides = NULL;
    return memory;
}

/* A tensor map as a kernel gets it: what counts is the pointer to what gpu.h makes of it. */
static long long make_map(Test *t, const KernelMap *from, void *const *memory) {
    enum { BYTES = 128 };
    GpuMap *map = ARENA_NEW(&t->arena, GpuMap), **parameter = aligned(arena_alloc(&t->arena, BYTES + 256));
    *map = (GpuMap){.memory = from->channels_last ? turned(t, from->value) : memory[from->value],
                    .rank = from->rank,
                    .element = dtype_bits(t->graph->values[from->value].dtype) / 8,
                    .swizzle = from->swizzle,
                    .windows = from->windows,
                    .pixels = from->pixels};
    for (int32_t i = 0; i < from->rank; ++i) {
        map->dim[i] = number_of(t, from->dim[i]);
        map->stride[i] = number_of(t, from->stride[i]) * map->element;
        map->box[i] = from->box[i];
        CHECK(map->dim[i] > 0 && (i == 0 || map->stride[i] % 16 == 0));
    }
    memcpy(map->step, from->step, sizeof map->step);
    memcpy(map->low, from->low, sizeof map->low);
    memcpy(map->high, from->high, sizeof map->high);
    CHECK((uintptr_t)map->memory % 16 == 0);
    *parameter = map;
    return (long long)(uintptr_t)parameter;
}

static void run_launch(Test *t, const KernelLaunch *launch, void *const *memory, char *scratch) {
    long long args[512];
    GpuLaunch run = {
        .threads = (unsigned)launch->block[0], .shared_bytes = (unsigned)launch->shared_bytes, .args = args};
    for (int32_t i = 0; i < launch->arg_count; ++i) {
        const KernelArg *arg = &launch->args[i];
        if (arg->kind == KERNEL_ARG_VALUE)
            args[i] = (long long)(uintptr_t)(arg->turned ? turned(t, arg->value) : memory[arg->value]);
        else if (arg->kind == KERNEL_ARG_MAP)
            args[i] = make_map(t, arg->map, memory);
        else
            args[i] = number_of(t, arg->number) +
                      (arg->kind == KERNEL_ARG_SCRATCH ? (long long)(uintptr_t)scratch : 0);
    }
    for (int i = 0; i < 3; ++i) run.grid[i] = (unsigned)number_of(t, launch->grid[i]);
    CHECK(run.grid[1] <= 65535 && run.grid[2] <= 65535);
    units_find(t->code, launch, &run);
    gpu_run(&run);
}

static double tolerance_of(DType dtype, const char *what) {
    bool rounds = strstr(what, " tf32 [") != NULL; /* the problem's key says that operands may be */
    switch (dtype) {
    case DTYPE_F64:
        return 1e-10;
    case DTYPE_F32:
        return rounds ? 2e-3 : 2e-5;
    case DTYPE_F16:
        return 2e-3;
    case DTYPE_BF16:
        return 1.6e-2;
    default:
        return dtype_is_float(dtype) ? 0.26 : 0;
    }
}

static void compare(const Tensor *found, const Tensor *expected, const char *what) {
    double tolerance = tolerance_of(expected->dtype, what), scale = 1;
    for (int64_t i = 0; i < tensor_count(expected) && tolerance > 0; ++i) {
        double y = fabs(dtype_load_f64(expected->dtype, expected->data, i));
        if (isfinite(y) && y > scale) scale = y;
    }
    for (int64_t i = 0; i < tensor_count(expected); ++i) {
        double x = dtype_load_f64(found->dtype, found->data, i),
               y = dtype_load_f64(expected->dtype, expected->data, i);
        test_checks++;
        if (x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= tolerance * scale) continue;
        test_failures++;
        fprintf(stderr, "%s: element %lld is %.9g, expected %.9g\n", what, (long long)i, x, y);
        return;
    }
}

/* The sizes that the launches have found are those that the host has found. */
static void check_counts(Test *t, const Emission *emission, const Tactic *tactic, const char *scratch) {
    const Problem *problem = emission->problem;
    int64_t count = 0;
    for (int32_t o = 0; tactic->finds_sizes && o < problem->output_count; ++o) {
        const Shape *shape = &t->graph->values[problem->outputs[o]].shape;
        for (int32_t i = 0; i < shape->rank; ++i) {
            if (!is_late_symbol(t, shape->dim[i])) continue;
            memcpy(&count, scratch, sizeof count);
            CHECK_INT(count, number_of(t, shape->dim[i]));
        }
    }
}

static void run_emission(Test *t, const Emission *emission, const Tactic *tactic, const char *what) {
    const Problem *problem = emission->problem;
    t->units += emission->launch_count;
    for (int32_t i = 0; i < emission->launch_count && t->collects; ++i)
        units_add(t->code, &emission->launches[i]);
    if (t->collects) return;
    void **memory = ARENA_ARRAY(&t->arena, void *, t->graph->value_count);
    for (int32_t i = 0; i < problem->input_count; ++i)
        memory[problem->inputs[i]] = input_memory(t, problem->inputs[i]);
    for (int32_t i = 0; i < problem->output_count; ++i)
        memory[problem->outputs[i]] = device_memory(t, problem->outputs[i]);
    int64_t bytes = number_of(t, emission->scratch_bytes);
    char *scratch = aligned(arena_alloc(&t->arena, (size_t)bytes + 256));
    memset(scratch, 0x5a, (size_t)bytes);
    if (emission->finds_parts > 0)
        moments_fill(&t->values[problem_read_input(problem)], emission->finds_parts,
                     scratch + emission->finds_at);
    for (int32_t i = 0; i < emission->launch_count; ++i)
        run_launch(t, &emission->launches[i], memory, scratch);
    check_counts(t, emission, tactic, scratch);
    for (int32_t i = 0; i < problem->output_count; ++i) {
        Tensor found = take_result(t, problem->outputs[i], memory[problem->outputs[i]], what);
        compare(&found, &t->values[problem->outputs[i]], what);
        if (emission->leaves_parts > 0 && problem->outputs[i] == problem_anchor(problem)->outputs[0])
            moments_check(&found, emission->leaves_parts, scratch + emission->leaves_at, what);
    }
}

/* -- other places for the values -- */

typedef enum Lie { LIE_AS_STATED, LIE_LAST, LIE_SLICES, LIE_TO_LAST, LIE_FROM_LAST, LIE_COUNT } Lie;

/* In the layout, as a slice of a value with more channels and a longer last axis; packs of eight stay whole
 * or do not. */
static void make_slice(Test *t, Value *value, bool packs) {
    int32_t order[SMELT_MAX_RANK], rank = value->shape.rank;
    DimTable *dims = t->graph->dims;
    Dim *strides = ARENA_ARRAY(&t->arena, Dim, SMELT_MAX_RANK), stride = 1;
    layout_order(value->layout, rank, order);
    for (int32_t i = rank - 1; i >= 0; --i) {
        Dim extent = value->shape.dim[order[i]];
        strides[order[i]] = stride;
        if (order[i] == 1) extent = dim_add(dims, extent, 8);
        if (order[i] == rank - 1) extent = dim_add(dims, extent, packs ? 8 : 3);
        stride = dim_mul(dims, stride, extent);
    }
    value->strides = strides;
}

static void move_value(Test *t, ValueId id, bool is_result, Lie lie) {
    static const bool last[LIE_COUNT][2] = {
        [LIE_LAST] = {true, true}, [LIE_TO_LAST] = {false, true}, [LIE_FROM_LAST] = {true, false}};
    Value *value = &t->graph->values[id];
    if (value->data != NULL) return;
    value->layout = last[lie][is_result] ? LAYOUT_CHANNELS_LAST : LAYOUT_PLAIN;
    if (lie != LIE_LAST) make_slice(t, value, lie == LIE_SLICES);
}

/* Weights, scales and the like stay as they are: kernels take them plainly. */
static bool is_parameter(const Test *t, const Problem *problem, ValueId id) {
    if (t->graph->values[id].producer != NONE) return false;
    for (int32_t n = 0; n < problem->node_count; ++n) {
        const Node *node = &t->graph->nodes[problem->nodes[n]];
        OpClass op_class = op_def(node->op)->op_class;
        if (node->op == OP_MatMul || node->op == OP_Gemm || node->inputs[0] == id) continue;
        if (op_class != OPCLASS_CONTRACTION && op_class != OPCLASS_NORMALIZATION) continue;
        for (int32_t i = 1; i < node->input_count; ++i)
            if (node->inputs[i] == id) return true;
    }
    return false;
}

/* The values of the nodes, which lie plainly, elsewhere. */
static void move_values(Test *t, const Problem *problem, Lie lie) {
    for (int32_t i = 0; i < problem->input_count; ++i)
        if (!is_parameter(t, problem, problem->inputs[i])) move_value(t, problem->inputs[i], false, lie);
    for (int32_t n = 0; n < problem->node_count; ++n) {
        const Node *node = &t->graph->nodes[problem->nodes[n]];
        for (int32_t i = 0; i < node->output_count; ++i)
            if (node->outputs[i] != NONE) move_value(t, node->outputs[i], true, lie);
    }
}

static void restore_values(Test *t, const Value *values) {
    for (ValueId v = 0; v < t->graph->value_count; ++v) {
        t->graph->values[v].layout = values[v].layout;
        t->graph->values[v].strides = values[v].strides;
    }
}

/* -- problems -- */

static void run_config(Test *t, const Problem *problem, const Tactic *tactic, const Config *config,
                       const char *what) {
    enum { PARTS = 3, FOUND_AT = 128 };
    Emission *emission = emit_problem(t->graph, problem, tactic, config, &t->small, &t->arena, &t->diag);
    if (emission->launch_count > 0 && emission->launches[0].source == NULL) return; /* a library's */
    run_emission(t, emission, tactic, what);
    bool finds = tactic->finds_moments != NULL && tactic->finds_moments(problem, &t->small) > 0;
    int64_t leaves = tactic->moment_parts != NULL ? tactic->moment_parts(problem, &t->small, config) : 0;
    if (!finds && leaves == 0) return;
    Emission *other = ARENA_NEW(&t->arena, Emission);
    *other = *emission;
    other->launch_count = 0;
    other->scratch_bytes = 0;
    other->leaves_parts = leaves;
    other->finds_parts = finds ? PARTS : 0;
    other->finds_at = finds ? FOUND_AT : 0;
    CHECK_OK(tactic->emit(config, &t->small, other), &t->diag);
    t->moments++;
    run_emission(t, other, tactic, arena_printf(&t->arena, "%s with moments", what));
}

static void run_problem(Test *t, const Problem *problem, Lie lie) {
    Config configs[MOST_CONFIGS];
    const char *why;
    if (lie == LIE_AS_STATED && tactic_choose(problem, t->device, &t->arena, &why) == NULL) {
        fprintf(stderr, "no tactic for %s: %s\n", problem->key, why);
        CHECK(false && "every step has a tactic");
    }
    for (int32_t i = 0; i < tactic_count(); ++i) {
        const Tactic *tactic = tactic_at(i);
        if (tactic_refuses(tactic, problem, t->device) != NULL) continue;
        if (lie != LIE_AS_STATED && !tactic->strided) continue;
        int32_t count = tactic->configs(problem, t->chosen, configs);
        CHECK(count > 0 && count <= MOST_CONFIGS);
        int32_t other = t->units % count;
        bool first = !t->used[i];
        t->used[i] = true;
        t->moved[i] = t->moved[i] || lie != LIE_AS_STATED;
        for (int32_t c = 0; c < count; ++c) {
            if (lie != LIE_AS_STATED ? c != other : !first && c != 0 && c % ONE_IN != other % ONE_IN)
                continue;
            run_config(t, problem, tactic, &configs[c],
                       arena_printf(&t->arena, "%s [%s, config %d]", problem->key, tactic->name, c));
        }
    }
}

/* Until each tactic that can has taken values that lie otherwise. */
static bool is_due(const Test *t, const Problem *problem) {
    for (int32_t i = 0; i < tactic_count(); ++i)
        if (tactic_at(i)->strided && !t->moved[i] && tactic_refuses(tactic_at(i), problem, t->device) == NULL)
            return true;
    return false;
}

/* What is best on few multiprocessors alone is otherwise best for much work. */
static void run_graph(Test *t, const char *folder, const char *name) {
    FileMap map;
    const char *path = path_join(&t->arena, folder, name);
    t->chosen = strncmp(name, "few_", strlen("few_")) == 0 ? &t->small : t->device;
    CHECK_OK(file_map(path, &map, &t->diag), &t->diag);
    t->graph = NULL;
    CHECK_OK(
        graph_parse((const char *)map.data, map.size, path, t->constants, &t->arena, &t->graph, &t->diag),
        &t->diag);
    if (t->graph == NULL) exit(1);
    if (!t->collects) prepare_values(t);
    Value *values = ARENA_ARRAY(&t->arena, Value, t->graph->value_count);
    for (ValueId v = 0; v < t->graph->value_count; ++v) values[v] = t->graph->values[v];
    for (int32_t at = 0, next; at < t->graph->blocks[MAIN_BLOCK].node_count; at = next) {
        Problem *problem = ARENA_NEW(&t->arena, Problem);
        next = next_problem(t->graph, at, &t->arena, problem, &t->diag);
        run_problem(t, problem, LIE_AS_STATED);
        bool moves = t->all || is_due(t, problem);
        for (Lie lie = LIE_LAST; moves && lie < LIE_COUNT; ++lie) {
            Problem *moved = ARENA_NEW(&t->arena, Problem);
            move_values(t, problem, lie);
            (void)next_problem(t->graph, at, &t->arena, moved, &t->diag);
            run_problem(t, moved, lie);
            restore_values(t, values);
        }
    }
    file_unmap(&map);
}

static void run_folder(Test *t, const char *folder, const char *part) {
    char **names;
    int32_t count;
    CHECK_OK(folder_list(&t->arena, folder, &names, &count, &t->diag), &t->diag);
    for (int32_t i = 0; i < count; ++i)
        if (strstr(names[i], ".ir") != NULL && strstr(names[i], part) != NULL) run_graph(t, folder, names[i]);
}

/* First all units are collected and compiled, then the same way is gone again and they run. The graphs beside
 * this file are for their numbers: compilers for GPUs learn nothing new from them. */
static void run_graphs(Test *t, const char *folder, const char *part, bool collects) {
    t->collects = collects;
    t->units = 0;
    memset(t->used, 0, sizeof t->used);
    memset(t->moved, 0, sizeof t->moved);
    run_folder(t, folder, part);
    run_folder(t, SMELT_SOURCE_DIR "/tests/kernels_host", part);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char work[] = "/tmp/smelt_units_XXXXXX";
    if (mkdtemp(work) == NULL) return 1;
    Test t = {.all = getenv("SMELT_UNITS_ALL") != NULL};
    t.device = with_all_tactics(arch_find("sm_90"), &t.arena);
    t.small = *t.device;
    t.small.sm_count = 3;
    const char *kept = getenv("SMELT_UNITS"), *folder = kept != NULL ? kept : work;
    const char *headers = arena_printf(&t.arena, "%s/smelt", folder);
    if (symlink(SMELT_SOURCE_DIR "/kernels/cuda", headers) != 0 && access(headers, R_OK) != 0) return 1;
    t.constants = argv[2];
    t.code = units_create(argv[1], SMELT_SOURCE_DIR "/tests/kernels_host", folder);
    run_graphs(&t, argv[2], argc > 3 ? argv[3] : "", true);
    bool compiled = units_compile(t.code);
    CHECK(compiled);
    if (compiled) run_graphs(&t, argv[2], argc > 3 ? argv[3] : "", false);
    static const char *const forms[] = {"SHARE_ROWS", "SHARE_COLUMNS", "KEEP_COLUMNS", "SwappedTile"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && argc < 4; ++i)
        CHECK(units_have(t.code, forms[i]));
    for (int32_t i = 0; i < tactic_count() && argc < 4; ++i) {
        if (t.moved[i] == tactic_at(i)->strided) continue;
        fprintf(stderr, "%s has not run with values that do not lie plainly\n", tactic_at(i)->name);
        CHECK(false && "every tactic that says so takes values as they lie");
    }
    fprintf(stderr, "%d launches, %d with moments\n", t.units, t.moments);
    CHECK(t.units > 0);
    units_destroy(t.code);
    CHECK(system(arena_printf(&t.arena, "rm -rf %s", work)) == 0);
    arena_reset(&t.arena);
    return test_result();
}
