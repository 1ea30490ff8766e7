/* Problems at the edges of what a tactic does, as lines: which of them it takes. */
#include "kernels.h"
#include "kernels/arch.h"
#include "passes/pass.h"

static Status infer(Graph *graph, Diag *diag) {
    const PassOptions options = {.stop_after = "infer_shapes"};
    return passes_run(graph, &options, NULL, diag);
}

/* Its refusal of the problem on devices of the architecture; NULL where it takes it, with legal configs. */
static const char *refusal(const char *tactic_name, const char *arch, const char *line, Arena *arena) {
    Graph *graph = NULL;
    Diag diag = {0};
    Problem problem;
    Config configs[MOST_CONFIGS];
    const Device *device = with_all_tactics(arch_find(arch), arena);
    CHECK_OK(problem_parse(line, infer, arena, &graph, &diag), &diag);
    if (graph == NULL) exit(1);
    (void)next_problem(graph, 0, arena, &problem, &diag);
    for (int32_t i = 0; i < tactic_count(); ++i) {
        if (strcmp(tactic_at(i)->name, tactic_name) != 0) continue;
        const char *why = tactic_refuses(tactic_at(i), &problem, device);
        if (why == NULL) CHECK(tactic_at(i)->configs(&problem, device, configs) > 0);
        return why;
    }
    CHECK(false && "a tactic of that name");
    return NULL;
}

static void expect(const char *tactic, const char *arch, const char *line, const char *refused) {
    Arena arena = {0};
    const char *why = refusal(tactic, arch, line, &arena);
    CHECK_STR(why == NULL ? "" : why, refused);
    arena_reset(&arena);
}

/* Two 1x1 convolutions with these pads and strides between a pool and a product; the input lies as stated. */
static void expect_squeeze(const char *arch, int channels, int squeezed, const char *window, const char *lies,
                           const char *refused) {
    char line[640];
    snprintf(
        line, sizeof line,
        "*GlobalAveragePool($0) + Conv(%%0.0 $1) dilations=1,1 group=1 kernel_shape=1,1 %s + "
        "Conv(%%1.0 $2) dilations=1,1 group=1 kernel_shape=1,1 pads=0,0,0,0 strides=1,1 + Mul($0 %%2.0) | "
        "f16[1, %d, 4, 4] channels_last%s f16[%d, %d, 1, 1]= f16[%d, %d, 1, 1]= -> "
        "%%3.0:f16[1, %d, 4, 4] channels_last",
        window, channels, lies, squeezed, channels, channels, squeezed, channels);
    expect("squeeze_excite", arch, line, refused);
}

static void test_squeeze(void) {
    const char *plain = "pads=0,0,0,0 strides=1,1";
    expect_squeeze("sm_90", 32, 8, plain, "", "");
    expect_squeeze("sm_90", 32, 8, "pads=1,1,0,0 strides=2,2", "", "windows that reach outside");
    expect_squeeze("sm_90", 32, 8, plain, " strides[640, 1, 160, 40]", "");
    expect_squeeze("sm_90", 32, 8, plain, " strides[576, 1, 144, 36]",
                   "channels that are not neighbours in packs of 8");
    expect_squeeze("sm_80", 2048, 512, plain, "", "");
    expect_squeeze("sm_80", 3712, 348, plain, "", "many channels");
    expect_squeeze("sm_90", 3712, 348, plain, "", "");
    expect_squeeze("sm_80", 4104, 16, plain, "", "many channels");
}

static void test_planes(void) {
    const char *line = "InstanceNormalization($0 $1 $2) epsilon=0x1p-10 | f16[1, %d, 4, 4] channels_last "
                       "f16[%d] f16[%d] -> %%0.0:f16[1, %d, 4, 4] channels_last";
    char own[256];
    const struct {
        int channels;
        const char *refused;
    } cases[] = {{0, "no channels"},
                 {8, ""},
                 {8 * MOST_GRID_YZ, ""},
                 {8 * MOST_GRID_YZ + 8, "more channels than a grid has blocks"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        int channels = cases[i].channels;
        snprintf(own, sizeof own, line, channels, channels, channels, channels);
        expect("normalize_planes", "sm_90", own, cases[i].refused);
    }
}

/* What the grid's second dimension counts: groups, or tiles of channels. */
static void expect_conv(const char *tactic, int channels, int outputs, int group, const char *refused) {
    char line[320];
    snprintf(line, sizeof line,
             "Conv($0 $1) dilations=1,1 group=%d kernel_shape=1,1 pads=0,0,0,0 strides=1,1 | "
             "f16[1, %d, 2, 2] channels_last f16[%d, %d, 1, 1]= -> %%0.0:f16[1, %d, 2, 2] channels_last",
             group, channels, outputs, channels / group, outputs);
    expect(tactic, "sm_90", line, refused);
}

static void test_grids(void) {
    int most = MOST_GRID_YZ;
    expect_conv("conv_depthwise", 8 * most, 8 * most, 8 * most, "");
    expect_conv("conv_depthwise", 8 * most + 8, 8 * most + 8, 8 * most + 8,
                "more channels than a grid has blocks");
    expect_conv("conv_stem", 3, most - 7, 1, "");
    expect_conv("conv_stem", 3, most + 1, 1, "more channels than a grid has blocks");
    expect_conv("conv_tiles", 8 * most, 8 * most, most, "");
    expect_conv("conv_tiles", 8 * most + 8, 8 * most + 8, most + 1, "more groups than a grid has blocks");
}

int main(void) {
    test_squeeze();
    test_planes();
    test_grids();
    return test_result();
}
