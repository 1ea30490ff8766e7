/* Steps of inverted residuals and residual blocks that become one: which of them, and why others do not. */
#include "compiler/pipeline.h"
#include "test.h"

#define WEIGHTS "input %v : f16[144,24,1,1]\n input %d : f16[144,1,3,3]\n input %p : f16[24,144,1,1]\n"

/* timings may be NULL. */
static void expect_timed(const char *nodes, const TimingCache *timings, int32_t wanted,
                         const char *rejection) {
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph = NULL;
    PassCtx ctx = {0};
    BuildSettings settings = {
        .cuda = true, .devices = {.count = 1, .at = {device_find("h200")}}, .timings = timings};
    settings.passes.start_from = settings.passes.stop_after = "fuse_blocks";
    const char *text =
        arena_printf(&arena, "smelt-ir 1\ngraph \"t\" opset 22\nblock \"main\" {\n%s}\n", nodes);
    CHECK_OK(graph_parse(text, strlen(text), "t.ir", NULL, &arena, &graph, &diag), &diag);
    if (graph == NULL) exit(1);
    CHECK_OK(build_passes(graph, &settings, &ctx, &diag), &diag);
    const Block *block = &graph->blocks[MAIN_BLOCK];
    int32_t steps = 0;
    for (int32_t i = 0; i < block->node_count; ++i) steps += node_starts_step(graph, block, i);
    CHECK_INT(steps, wanted);
    if (rejection != NULL)
        CHECK(ctx.rejection_count > 0 && strstr(ctx.rejections[0].reason, rejection) != NULL);
    if (rejection == NULL) CHECK_INT(ctx.rejection_count, 0);
    arena_reset(&arena);
}

static void expect(const char *nodes, int32_t wanted, const char *rejection) {
    expect_timed(nodes, NULL, wanted, rejection);
}

#define LAST "channels_last"
#define INVERTED(IMAGES, PLACES)                                                                             \
    "  input %x : f16[" IMAGES ",24," PLACES "] " LAST "\n"                                                  \
    "  %a : f16[" IMAGES ",144," PLACES "] " LAST " = Conv(%x, %v) \"A\"\n"                                  \
    "  %b : f16[" IMAGES ",144," PLACES "] " LAST " = Conv(%a, %d) {group = 144, pads = [1,1,1,1]} \"B\"\n"  \
    "  %c : f16[" IMAGES ",24," PLACES "] " LAST " = Conv(%b, %p) \"C\"\n"

/* -- times in sequence -- */

#define FIRST "Conv($0 $1) | f16[2, 24, 7, 7] " LAST " f16[144, 24, 1, 1] -> %0.0:f16[2, 144, 7, 7] " LAST
#define SECOND                                                                                               \
    "Conv($0 $1) group=144 pads=1,1,1,1 | f16[2, 144, 7, 7] " LAST                                           \
    " f16[144, 1, 3, 3] -> %0.0:f16[2, 144, 7, 7] " LAST
#define THIRD "Conv($0 $1) | f16[2, 144, 7, 7] " LAST " f16[24, 144, 1, 1] -> %0.0:f16[2, 24, 7, 7] " LAST
#define WHOLE                                                                                                \
    "*Conv($0 $1) + Conv(%0.0 $2) group=144 pads=1,1,1,1 + Conv(%1.0 $3) | f16[2, 24, 7, 7] " LAST           \
    " f16[144, 24, 1, 1] f16[144, 1, 3, 3] f16[24, 144, 1, 1] -> %2.0:f16[2, 24, 7, 7] " LAST
#define FRONT                                                                                                \
    "*Conv($0 $1) + Conv(%0.0 $2) group=144 pads=1,1,1,1 | f16[2, 24, 7, 7] " LAST                           \
    " f16[144, 24, 1, 1] f16[144, 1, 3, 3] -> %1.0:f16[2, 144, 7, 7] " LAST
#define BACK                                                                                                 \
    "*Conv($0 $1) group=144 pads=1,1,1,1 + Conv(%0.0 $2) | f16[2, 144, 7, 7] " LAST                          \
    " f16[144, 1, 3, 3] f16[24, 144, 1, 1] -> %1.0:f16[2, 24, 7, 7] " LAST

static TimingCache *times(Arena *arena, double apart, double whole, double front, double back,
                          const char *version) {
    const Timing rows[] = {{.problem = "steps: " FIRST " ; " SECOND " ; " THIRD, .microseconds = apart},
                           {.problem = "steps: " WHOLE, .microseconds = whole},
                           {.problem = "steps: " FRONT " ; " THIRD, .microseconds = front},
                           {.problem = "steps: " FIRST " ; " BACK, .microseconds = back}};
    TimingCache *cache = timing_cache_create(arena, "NVIDIA H200 sm_90 driver 13.0");
    const char *name = timing_tactic_name(arena, tactic_at(0));
    CHECK(cache != NULL && name != NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
        Timing row = rows[i];
        row.tactic = arena_printf(arena, "%s+%s%s", name, name, version);
        CHECK(row.microseconds <= 0 || timing_cache_add(cache, &row));
    }
    return cache;
}

/* What was measured in sequence decides, whatever the models think; where they are close, these do. */
static void measured(void) {
    Arena arena = {0};
    const char *small = WEIGHTS INVERTED("2", "7,7") "  output %c\n";
    expect(small, 3, "apart");
    expect_timed(small, times(&arena, 5, 4, 4.5, 4.5, ""), 1, NULL);
    expect_timed(small, times(&arena, 5, 4.9, 4, 6, ""), 2, NULL);
    expect_timed(small, times(&arena, 5, 4.9, 6, 4, ""), 2, NULL);
    expect_timed(small, times(&arena, 5, 4.9, 4.9, 5, ""), 3, "apart, 5.0 us against 4.9 us");
    expect_timed(small, times(&arena, 4, 5, 5, 5, ""), 3, "apart, 4.0 us against 5.0 us");
    /* some are missing, or of a tactic that there is no more: nothing is known */
    expect_timed(small, times(&arena, 5, 4, 0, 4.5, ""), 3, "apart");
    expect_timed(small, times(&arena, 5, 4, 4.5, 4.5, "7"), 3, "apart");
    const char *large = WEIGHTS INVERTED("32", "56,56") "  output %c\n";
    expect_timed(large, times(&arena, 4, 5, 5, 5, ""), 1, NULL);
    arena_reset(&arena);
}

/* From so many channels to some and back to 256, where `WHAT` is added. */
#define RESIDUAL(IMAGES, PLACES, CHANNELS, MIDDLE, BESIDE, WHAT)                                             \
    "  input %x : f16[" IMAGES "," CHANNELS "," PLACES "] " LAST "\n"                                        \
    "  input %v : f16[" MIDDLE "," CHANNELS ",1,1]\n  input %p : f16[256," MIDDLE ",1,1]\n"                  \
    "  input %s : f16[256," CHANNELS ",1,1]\n"                                                               \
    "  input %d : f16[" MIDDLE "," MIDDLE ",3,3] " LAST "\n"                                                 \
    "  %a : f16[" IMAGES "," MIDDLE "," PLACES "] " LAST " = Conv(%x, %v) \"A\"\n" BESIDE                    \
    "  %b : f16[" IMAGES "," MIDDLE "," PLACES "] " LAST " = Conv(%a, %d) {pads = [1,1,1,1]} \"B\"\n"        \
    "  region \"conv+add\" anchor 0 {\n"                                                                     \
    "    %c : f16[" IMAGES ",256," PLACES "] " LAST " = Conv(%b, %p) \"C\"\n"                                \
    "    %y : f16[" IMAGES ",256," PLACES "] " LAST " = Add(%c, " WHAT ")\n  }\n  output %y\n"

int main(void) {
    measured();
    /* one step, with what follows the last convolution */
    expect(WEIGHTS INVERTED("32", "56,56") "  %y : f16[32,24,56,56] " LAST " = Relu(%c)\n  output %y\n", 2,
           NULL);
    /* the second's result is wanted, too: the first two */
    expect("  input %x : f16[32,16,112,112] " LAST
           "\n  input %v : f16[96,16,1,1]\n  input %d : f16[96,1,3,3]\n"
           "  input %p : f16[24,96,1,1]\n"
           "  %a : f16[32,96,112,112] " LAST " = Conv(%x, %v)\n"
           "  %b : f16[32,96,56,56] " LAST " = Conv(%a, %d) {group = 96, pads = [1,1,1,1], strides = [2,2]}\n"
           "  %c : f16[32,24,56,56] " LAST " = Conv(%b, %p)\n  output %c\n  output %b\n",
           2, NULL);
    /* the first one's is: the last two */
    expect(WEIGHTS INVERTED("32", "56,56") "  output %c\n  output %a\n", 2, NULL);
    expect(WEIGHTS INVERTED("32", "7,7") "  output %c\n", 3, "apart");
    expect("  input %x : f32[1,8,56,56] " LAST "\n  input %v : f32[32,8,1,1]\n  input %d : f32[32,1,3,3]\n"
           "  %a : f32[1,32,56,56] " LAST " = Conv(%x, %v)\n"
           "  %b : f32[1,32,56,56] " LAST " = Conv(%a, %d) {group = 32, pads = [1,1,1,1]}\n  output %b\n",
           2, "other types than f16");
    /* a residual block adds its input, or another convolution of it */
    expect(RESIDUAL("32", "56,56", "256", "64", "", "%x"), 1, NULL);
    expect(RESIDUAL("32", "56,56", "64", "64", "  %t : f16[32,256,56,56] " LAST " = Conv(%x, %s)\n", "%t"), 1,
           NULL);
    expect(RESIDUAL("1", "7,7", "256", "64", "", "%x"), 3, "apart");
    expect(RESIDUAL("32", "28,28", "256", "128", "", "%x"), 3, "behind the anchor");
    return test_result();
}
