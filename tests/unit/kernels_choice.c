/* Which tactic and config does a problem: the order of the table, then what was measured. */
#include "choices.h"
#include "kernels.h"

#define PRODUCT(type)                                                                                        \
    "smelt-ir 1\n"                                                                                           \
    "graph \"g\"\n"                                                                                          \
    "block \"main\" {\n"                                                                                     \
    "  input %a : " type "[64,40]\n"                                                                         \
    "  input %b : " type "[40,48]\n"                                                                         \
    "  %c : " type "[64,48] = MatMul(%a, %b)\n"                                                              \
    "  output %c\n"                                                                                          \
    "}\n"
static const char product[] = PRODUCT("f64"), /* no tactic has a cost for it */
    single[] = PRODUCT("f32"), half[] = PRODUCT("f16");

/* The graph's last node is the problem. */
static void set_up(Fixture *f, const char *text) {
    Diag diag = {0};
    *f = (Fixture){.device = arch_find("sm_80")};
    CHECK_OK(graph_parse(text, strlen(text), "g.ir", ".", &f->arena, &f->graph, &diag), &diag);
    fixture_set_problem(f, 1);
    f->timings = timing_cache_create(&f->arena, "test");
}

static void test_preferred(void) {
    Fixture f;
    set_up(&f, product);
    CHECK(f.count >= 4 && f.count < MOST);
    Choice best = choice_best(&f.problem, f.device, NULL), few[2];
    CHECK(same_choice(&best, &f.all[0]));
    CHECK_INT(best.source, CHOICE_PREFERRED);
    CHECK_INT(choices_rank(&f.problem, f.device, few, 2), f.count);
    CHECK(same_choice(&few[0], &f.all[0]) && same_choice(&few[1], &f.all[1]));
    arena_reset(&f.arena);
}

static void test_measured(void) {
    Fixture f;
    set_up(&f, product);
    add_time(&f, &f.all[0], 9);
    add_time(&f, &f.all[3], 4);
    Choice best = choice_best(&f.problem, f.device, f.timings);
    CHECK(same_choice(&best, &f.all[3]));
    CHECK_INT(best.source, CHOICE_MEASURED);
    CHECK(best.microseconds == 4);
    const char *said = choice_text(&best, &f.arena);
    CHECK(said != NULL && strstr(said, "(measured, 4.0 us)") != NULL);
    /* Within the noise the order decides. */
    add_time(&f, &f.all[1], 4.05);
    best = choice_best(&f.problem, f.device, f.timings);
    CHECK(same_choice(&best, &f.all[1]));
    arena_reset(&f.arena);
}

/* Within the noise the model decides, where it has times. */
static void test_model_decides(void) {
    Fixture f;
    set_up(&f, half);
    Choice guess = choice_best(&f.problem, f.device, NULL);
    const Choice *other = f.all;
    CHECK_INT(guess.source, CHOICE_MODELLED);
    while (same_choice(other, &guess) || other->microseconds <= 0) ++other;
    add_time(&f, other, 4);
    add_time(&f, &guess, 4.1);
    Choice best = choice_best(&f.problem, f.device, f.timings);
    CHECK(same_choice(&best, &guess) && best.source == CHOICE_MEASURED && best.microseconds == 4.1);
    f.timings = timing_cache_create(&f.arena, "test");
    add_time(&f, other, 4);
    add_time(&f, &guess, 4.3);
    best = choice_best(&f.problem, f.device, f.timings);
    CHECK(same_choice(&best, other));
    arena_reset(&f.arena);
}

/* Times of other problems, of tactics that are gone and of configs that are not legal here count for nothing.
 */
static void test_strange_rows(void) {
    Fixture f;
    set_up(&f, product);
    const Timing rows[] = {{.problem = "another", .tactic = "matmul_tiles.1", .microseconds = 1},
                           {.problem = f.problem.key, .tactic = "gone.1", .microseconds = 1},
                           {.problem = f.problem.key,
                            .tactic = timing_tactic_name(&f.arena, f.all[0].tactic),
                            .config = {.count = 1, .number = {-5}},
                            .microseconds = 1}};
    for (int i = 0; i < 3; ++i) CHECK(timing_cache_add(f.timings, &rows[i]));
    Choice best = choice_best(&f.problem, f.device, f.timings);
    CHECK(same_choice(&best, &f.all[0]));
    CHECK_INT(best.source, CHOICE_PREFERRED);
    arena_reset(&f.arena);
}

/* Small planes are normalised in one launch, large ones in two. */
static void test_planes(void) {
    enum { WIDTH = 4 /* number of a config: channels that are normalised in one launch, else 0 */ };
    static const struct {
        const char *op, *shape;
        bool once;
    } cases[] = {{"InstanceNormalization(%r, %s, %s)", "f16[1,64,8,8]", true},
                 {"InstanceNormalization(%r, %s, %s)", "f16[1,64,5,5,5]", true},
                 {"InstanceNormalization(%r, %s, %s)", "f16[1,64,800,800]", false},
                 {"GroupNormalization(%r, %s, %s) {num_groups = 8}", "f16[1,64,8,8]", true},
                 {"GroupNormalization(%r, %s, %s) {num_groups = 8}", "f16[1,64,800,800]", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        Fixture f;
        char text[512];
        snprintf(text, sizeof text,
                 "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n  input %%x : %s\n  input %%s : f16[64]\n"
                 "  %%r : %s channels_last = smelt::Reformat(%%x)\n  %%y : %s channels_last = %s\n  output "
                 "%%y\n}\n",
                 cases[i].shape, cases[i].shape, cases[i].shape, cases[i].op);
        set_up(&f, text);
        Choice best = choice_best(&f.problem, f.device, NULL);
        CHECK_STR(best.tactic->name, "normalize_planes");
        CHECK((best.config.number[WIDTH] > 0) == cases[i].once);
        CHECK_INT(best.source, CHOICE_MODELLED);
        arena_reset(&f.arena);
    }
}

/* A device of one multiprocessor has no two blocks that could meet: no config is without parts. */
static void test_one_multiprocessor(void) {
    Fixture f;
    set_up(&f,
           "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n  input %x : f16[1,64,90,90]\n  input %s : f32[64]\n"
           "  %r : f16[1,64,90,90] channels_last = smelt::Reformat(%x)\n"
           "  %y : f16[1,64,90,90] channels_last = InstanceNormalization(%r, %s, %s)\n  output %y\n}\n");
    Device least = *arch_find("sm_90");
    least.sm_count = 1;
    f.device = &least;
    fixture_set_problem(&f, 1);
    CHECK(f.count >= 3);
    for (int32_t i = 0; i < f.count; ++i)
        CHECK(strcmp(f.all[i].tactic->name, "normalize_planes") != 0 || f.all[i].config.number[0] > 0);
    arena_reset(&f.arena);
}

/* What leaves moments is chosen unless it takes longer than what it saves; others keep their times. */
static void test_leaving(void) {
    static const char text[] =
        "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n"
        "  input %x : f16[1,64,20,20,20]\n  input %w : f16[128,64,3,3,3] channels_last\n"
        "  %r : f16[1,64,20,20,20] channels_last = smelt::Reformat(%x)\n"
        "  %y : f16[1,128,20,20,20] channels_last = Conv(%r, %w) {pads = [1,1,1,1,1,1]}\n"
        "  output %y\n}\n";
    Fixture f;
    Diag diag = {0};
    const Choice *leaves = NULL, *other = NULL;
    f = (Fixture){.device = arch_find("sm_90")};
    CHECK_OK(graph_parse(text, strlen(text), "g.ir", ".", &f.arena, &f.graph, &diag), &diag);
    fixture_set_problem(&f, 1);
    f.timings = timing_cache_create(&f.arena, "test");
    for (int32_t i = 0; i < f.count; ++i) {
        bool can = choice_moment_parts(&f.problem, f.device, &f.all[i]) > 0;
        if (leaves == NULL && can) leaves = &f.all[i];
        if (other == NULL && !can) other = &f.all[i];
    }
    CHECK(leaves != NULL && other != NULL);
    if (leaves == NULL || other == NULL) return;
    add_time(&f, leaves, 10);
    add_time(&f, other, 5);
    Choice best = choice_best_leaving(&f.problem, f.device, f.timings, 4);
    CHECK(same_choice(&best, other) && best.microseconds == 5 && best.behind == 4);
    best = choice_best_leaving(&f.problem, f.device, f.timings, 6);
    CHECK(same_choice(&best, leaves) && best.microseconds == 10 && best.behind == 0);
    best = choice_best_leaving(&f.problem, f.device, NULL, 1e6);
    CHECK(choice_moment_parts(&f.problem, f.device, &best) > 0);
    arena_reset(&f.arena);
}

/* Neighbours differ in one number, and in nothing else. */
static void test_near(void) {
    Fixture f;
    Choice near[MOST];
    set_up(&f, product);
    int32_t count = choices_near(&f.problem, f.device, &f.all[0], near, MOST), expected = 0;
    CHECK(count > 0 && count < f.count - 1);
    for (int32_t i = 0; i < f.count; ++i) {
        int32_t different = 0;
        for (int32_t n = 0; n < f.all[0].config.count; ++n)
            different += f.all[i].config.number[n] != f.all[0].config.number[n];
        expected += f.all[i].tactic == f.all[0].tactic && different == 1;
    }
    CHECK_INT(count, expected);
    for (int32_t i = 0; i < count; ++i) CHECK(near[i].tactic == f.all[0].tactic);
    CHECK_INT(choices_near(&f.problem, f.device, &f.all[0], near, 1), count);
    arena_reset(&f.arena);
}

static bool has_tactic(const Fixture *f, const Device *device, const char *name) {
    Choice all[MOST];
    int32_t count = choices_list(&f->problem, device, all, MOST);
    bool found = false;
    for (int32_t i = 0; i < count; ++i) found = found || strcmp(all[i].tactic->name, name) == 0;
    return found;
}

static void test_switches(void) {
    Fixture f;
    Diag diag = {0};
    set_up(&f, single);
    DeviceList list = {1, {f.device}};
    CHECK_OK(tactics_switch(NULL, &list, &f.arena, &diag), &diag);
    CHECK(list.at[0] == f.device);
    CHECK(has_tactic(&f, f.device, "matmul_tiles") && !has_tactic(&f, f.device, "matmul_tf32x3"));
    CHECK_OK(tactics_switch("+matmul_tf32x3,-matmul_tiles", &list, &f.arena, &diag), &diag);
    CHECK(!has_tactic(&f, list.at[0], "matmul_tiles") && has_tactic(&f, list.at[0], "matmul_tf32x3"));
    Choice asked[2];
    CHECK_INT(choices_asked(&f.problem, f.device, asked, 2), 0);
    CHECK_INT(choices_asked(&f.problem, list.at[0], asked, 2), 1);
    CHECK_STR(asked[0].tactic->name, "matmul_tf32x3");
    CHECK_OK(tactics_switch("-matmul_tiles,+matmul_tiles,", &list, &f.arena, &diag), &diag);
    CHECK(has_tactic(&f, list.at[0], "matmul_tiles") && !has_tactic(&f, list.at[0], "matmul_tf32x3"));
    static const char *const wrong[] = {"matmul_tiles", "+", "+matmul_tile", "-matmul_tiles,,",
                                        "+matmul_tiless"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i)
        CHECK_INT(tactics_switch(wrong[i], &list, &f.arena, &diag), STATUS_USAGE);
    arena_reset(&f.arena);
}

/* Configs of depthwise convolutions whose numbers are right only for some windows. */
static void test_depthwise(void) {
    enum { ROWS = 2, DEPTH = 6 };
    static const struct {
        const char *type, *window, *attrs;
        int planes, number, most; /* planes: of the result */
        bool has;
    } cases[] = {{"f16", "3,1,1", "", 7, DEPTH, 1, true},
                 {"f16", "3,1,1", ", dilations = [2,1,1], pads = [1,0,0,1,0,0]", 7, DEPTH, 1, false},
                 {"f32", "1,3,3", ", pads = [0,1,1,0,1,1]", 9, ROWS, 2, true},
                 {"f32", "1,3,3", ", pads = [1,1,1,0,1,1]", 10, ROWS, 2, false},
                 {"f32", "1,3,3", ", pads = [0,1,1,1,1,1]", 10, ROWS, 2, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        Fixture f;
        char text[512];
        snprintf(text, sizeof text,
                 "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n  input %%x : %s[1,64,9,9,9] channels_last\n"
                 "  input %%w : %s[64,1,%s]\n  %%y : %s[1,64,%d,9,9] channels_last = Conv(%%x, %%w) {group = "
                 "64%s}\n  output %%y\n}\n",
                 cases[i].type, cases[i].type, cases[i].window, cases[i].type, cases[i].planes,
                 cases[i].attrs);
        set_up(&f, text);
        f.device = arch_find("sm_90");
        fixture_set_problem(&f, 1);
        bool has = false, any = false;
        for (int32_t c = 0; c < f.count; ++c) {
            if (strcmp(f.all[c].tactic->name, "conv_depthwise") != 0) continue;
            const int32_t *number = f.all[c].config.number;
            any = true;
            has = has ||
                  ((number[0] == 0) == (cases[i].number == DEPTH) && number[cases[i].number] > cases[i].most);
        }
        CHECK(any && has == cases[i].has);
        arena_reset(&f.arena);
    }
}

/* Images with more rows than an int counts: strips have bands of some of them. */
static void test_long_images(void) {
    enum { BAND = 1 };
    Fixture f;
    int32_t strips = 0;
    set_up(&f,
           "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n  input %x : f16[1,16,3000000000,1] channels_last\n"
           "  input %w : f16[16,1,3,1]\n"
           "  %y : f16[1,16,2999999998,1] channels_last = Conv(%x, %w) {group = 16}\n  output %y\n}\n");
    f.device = arch_find("sm_90");
    fixture_set_problem(&f, 1);
    for (int32_t i = 0; i < f.count; ++i) {
        if (strcmp(f.all[i].tactic->name, "conv_depthwise") != 0 || f.all[i].config.number[0] != 0) continue;
        CHECK(f.all[i].config.number[BAND] > 0);
        strips++;
    }
    CHECK(strips > 0);
    arena_reset(&f.arena);
}

/* Strips of depthwise convolutions go through places in blocks that all run at one time: one more would begin
 * when the others are done. */
static void test_one_round(void) {
    enum { RESIDENT = 3, GROUPS = 5 };
    Fixture f;
    Diag diag = {0};
    int32_t strips = 0;
    set_up(&f, "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n  input %x : f16[128,480,14,14] channels_last\n"
               "  input %w : f16[480,1,5,5]\n  %y : f16[128,480,14,14] channels_last = Conv(%x, %w) "
               "{group = 480, pads = [2,2,2,2]}\n  output %y\n}\n");
    f.device = arch_find("sm_90");
    fixture_set_problem(&f, 1);
    for (int32_t i = 0; i < f.count; ++i) {
        const int32_t *number = f.all[i].config.number;
        if (strcmp(f.all[i].tactic->name, "conv_depthwise") != 0 || number[0] != 0) continue;
        const Emission *emission =
            emit_problem(f.graph, &f.problem, f.all[i].tactic, &f.all[i].config, f.device, &f.arena, &diag);
        const Dim *grid = emission->launches[0].grid;
        CHECK(grid[0] * grid[1] <= f.device->sm_count * (number[RESIDENT] * 4 / number[GROUPS]));
        strips++;
    }
    CHECK(strips > 0);
    arena_reset(&f.arena);
}

/* Lines' results and slices' of a cluster's blocks, totals of eight bytes, fit in the shared memory that all
 * architectures have without being asked. */
static void test_columns(void) {
    enum { THREADS = 1, SIDE = 2, PARTS = 3, COLUMN_PACKS = 5 };
    Fixture f;
    int64_t most = 0;
    set_up(&f, "smelt-ir 1\ngraph \"g\"\nconstant %a : i64[1] = {0}\nblock \"main\" {\n"
               "  input %x : f16[4096,1024]\n  %y : f16[1,1024] = ReduceSum(%x, %a)\n  output %y\n}\n");
    f.device = arch_find("sm_120");
    fixture_set_problem(&f, 1);
    for (int32_t i = 0; i < f.count; ++i) {
        const int32_t *number = f.all[i].config.number;
        if (number[0] != COLUMN_PACKS || number[PARTS] < 2 || number[PARTS] > 8) continue;
        int64_t apart = number[SIDE] < 32 ? number[THREADS] / 32 : number[THREADS] / number[SIDE],
                bytes = 64 * number[SIDE] * (apart + number[PARTS]);
        if (bytes > most) most = bytes;
    }
    CHECK_INT(most, 48 << 10);
    arena_reset(&f.arena);
}

int main(void) {
    test_planes();
    test_columns();
    test_one_round();
    test_long_images();
    test_one_multiprocessor();
    test_depthwise();
    test_preferred();
    test_measured();
    test_model_decides();
    test_leaving();
    test_strange_rows();
    test_near();
    test_switches();
    return test_result();
}
