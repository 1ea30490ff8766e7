/* Graphs with branches on the fake driver, which does last what may come last. */
#include "tests/fake_cuda/loaded.h"
#include "tests/fake_cuda/main.h"

enum { MOST_STEPS = 40, PLANS = 150, SLOT = 128 /* bytes of a value at most */ };

/* Step k adds two earlier values; value 0 is x, that of the last step y. Values lie alone in buffers or two
 * side by side, which share memory as soon as they may. */
typedef struct Sums {
    int count;
    int left[MOST_STEPS + 1], right[MOST_STEPS + 1]; /* values that value k is the sum of */
    int last[MOST_STEPS + 1];                        /* step that reads value k last */
    int buffer[MOST_STEPS + 1];
    int64_t offset[MOST_STEPS + 1]; /* in its buffer */
} Sums;

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33) % limit;
}

/* Some values are read soon behind where they are made, as in a chain, others far from there. */
static void choose_sums(Sums *sums, uint64_t *state) {
    sums->count = 3 + (int)random_below(state, MOST_STEPS - 2);
    for (int k = 1; k <= sums->count; ++k) {
        int nearest = k > 6 && random_below(state, 3) > 0 ? k - 6 : 0;
        sums->left[k] = nearest + (int)random_below(state, (uint32_t)(k - nearest));
        sums->right[k] = nearest + (int)random_below(state, (uint32_t)(k - nearest));
        sums->last[k] = k;
        sums->last[sums->left[k]] = sums->last[sums->right[k]] = k;
    }
}

/* The first place of so many slots that no value needs any more. */
static int64_t find_place(const PlanBuffer *buffers, int count, const PlanBuffer *own) {
    for (int64_t place = 0;; place += SLOT) {
        bool free = true;
        for (int i = 0; i < count; ++i)
            free = free && (buffers[i].last < own->first || own->last < buffers[i].first ||
                            buffers[i].offset + buffers[i].capacity <= place ||
                            place + own->capacity <= buffers[i].offset);
        if (free) return place;
    }
}

/* Buffers of all values but x and y; how many there are. */
static int lay_out(Sums *sums, uint64_t *state, PlanBuffer *buffers, int64_t *arena_size) {
    int count = 0;
    *arena_size = SLOT;
    for (int k = 1; k < sums->count;) {
        int together = k + 1 < sums->count && random_below(state, 3) == 0 ? 2 : 1;
        PlanBuffer own = {.size = together * SLOT, .first = k - 1, .capacity = together * SLOT};
        for (int i = 0; i < together; ++i) {
            sums->buffer[k + i] = count;
            sums->offset[k + i] = i * SLOT;
            if (sums->last[k + i] - 1 > own.last) own.last = sums->last[k + i] - 1;
        }
        own.offset = find_place(buffers, count, &own);
        if (own.offset + own.capacity > *arena_size) *arena_size = own.offset + own.capacity;
        buffers[count++] = own;
        k += together;
    }
    return count;
}

static void describe_step(Arena *arena, const Sums *sums, int k, Plan *plan) {
    int32_t *operands = ARENA_ARRAY(arena, int32_t, 3);
    PlanArg *args = plan->args + 4 * (k - 1);
    operands[0] = sums->left[k];
    operands[1] = sums->right[k];
    operands[2] = k;
    args[0] = sample_value(k, true);
    args[1] = sample_value(sums->left[k], false);
    args[2] = sample_value(sums->right[k], false);
    args[3] = sample_number(plan_dim_of_expression(2));
    plan->launches[k - 1] = sample_launch(KERNEL_ADD, plan_dim_of_expression(0), 4 * (k - 1));
    plan->ops[k - 1] = (PlanOp){"", "Add", 0, 2, 1, operands, operands + 2, sample_no_attrs, 4, "sum"};
    plan->steps[k - 1] = (PlanStep){.name = "add",
                                    .kind = PLAN_STEP_LAUNCH,
                                    .op_first = k - 1,
                                    .op_count = 1,
                                    .launch_first = k - 1,
                                    .launch_count = 1,
                                    .reason = ""};
}

static Plan sums_plan(Arena *arena, Sums *sums, uint64_t *state) {
    static const int32_t x[] = {0};
    int count = sums->count;
    Plan plan = {.value_count = count + 1,
                 .binding_count = 2,
                 .op_count = count,
                 .step_count = count,
                 .program_count = 1,
                 .launch_count = count,
                 .arg_count = 4 * count,
                 .values = ARENA_ARRAY(arena, PlanValue, count + 1),
                 .buffers = ARENA_ARRAY(arena, PlanBuffer, count),
                 .ops = ARENA_ARRAY(arena, PlanOp, count),
                 .steps = ARENA_ARRAY(arena, PlanStep, count),
                 .args = ARENA_ARRAY(arena, PlanArg, 4 * count),
                 .launches = ARENA_ARRAY(arena, PlanLaunch, count),
                 .weights = sample_no_attrs};
    int32_t *result = ARENA_ARRAY(arena, int32_t, 1);
    PlanBinding bindings[] = {{"x", 0, false}, {"y", count, true}};
    PlanProgram programs[] = {{"main", -1, 1, 1, x, result, 0, count}};
    *result = count;
    sample_cuda_base(arena, &plan);
    plan.buffer_count = lay_out(sums, state, plan.buffers, &plan.arena_size);
    plan.arena_lower_bound = SLOT;
    for (int k = 0; k <= count; ++k) {
        bool bound = k == 0 || k == count;
        plan.values[k] = (PlanValue){.name = k == 0       ? "x"
                                             : k == count ? "y"
                                                          : "sum",
                                     .dtype = DTYPE_F32,
                                     .rank = 2,
                                     .dim = {plan_dim_of_expression(0), 4},
                                     .storage = bound ? PLAN_BINDING : PLAN_BUFFER,
                                     .index = bound ? k == count : sums->buffer[k],
                                     .offset = bound ? 0 : sums->offset[k]};
        if (k > 0) describe_step(arena, sums, k, &plan);
    }
    plan.bindings = SAMPLE_COPY(arena, bindings);
    plan.programs = SAMPLE_COPY(arena, programs);
    return plan;
}

static int run_sums(Loaded *loaded, const Sums *sums, int rows) {
    float values[MOST_STEPS + 1][MOST_COUNT], y[MOST_COUNT];
    void *buffers[] = {values[0], y};
    int wrong = 0;
    fill(values[0], MOST_COUNT, rows);
    for (int k = 1; k <= sums->count; ++k)
        for (int i = 0; i < 4 * rows; ++i)
            values[k][i] = values[sums->left[k]][i] + values[sums->right[k]][i];
    set_rows(loaded, rows);
    CHECK_INT(smelt_context_run(loaded->context, buffers, NULL, &loaded->error), SMELT_OK);
    if (loaded->error.status != SMELT_OK) fprintf(stderr, "%s\n", loaded->error.message);
    for (int i = 0; i < 4 * rows; ++i) wrong += y[i] != values[sums->count][i];
    return wrong;
}

/* Results are those of the steps in their order, though they come in another one. */
static void test_sums(void) {
    uint64_t state = 7;
    for (int n = 0; n < PLANS; ++n) {
        Loaded loaded = {0};
        Sums sums = {0};
        choose_sums(&sums, &state);
        Plan plan = sums_plan(&loaded.arena, &sums, &state);
        open_plan(&loaded, &plan);
        for (int run = 0; run < 3; ++run) CHECK_INT(run_sums(&loaded, &sums, 1 + n % 8), 0);
        close_plan(&loaded);
    }
    CHECK(fake.get(FAKE_CAPTURES) > PLANS * 9 / 10);
    CHECK(fake.get(FAKE_REORDERED) > 10 * PLANS);
}

/* What runs up to each of the steps is a graph of its own. */
static void test_profile(void) {
    Loaded loaded = {0};
    Sums sums = {0};
    uint64_t state = 1;
    choose_sums(&sums, &state);
    Plan plan = sums_plan(&loaded.arena, &sums, &state);
    open_plan(&loaded, &plan);
    CHECK_INT(run_sums(&loaded, &sums, 3), 0);
    CHECK_INT(smelt_context_profile(loaded.context, 1, &loaded.error), SMELT_OK);
    for (int run = 0; run < 2 * sums.count; ++run) CHECK_INT(run_sums(&loaded, &sums, 3), 0);
    close_plan(&loaded);
}

int main(void) {
    static void (*const tests[])(void) = {test_sums, test_profile};
    return run_on_fake(2, tests);
}
