/* What no kernel does as a whole: pools behind convolutions and normalisations in front of products that
 * kernels cannot take in, and the tactics of those that they can. */
#include "kernels.h"
#include "kernels/arch.h"

typedef struct Case {
    const char *inputs, *nodes; /* of one region, whose anchor is node number `anchor` */
    int32_t anchor;
    const char *results, *tactic, *why; /* the one that is chosen; NULL: none, because of `why` */
} Case;

#define CONV "%c : f32[1,4,6,6] = Conv(%x, %w)\n"
#define MAPS "input %x : f32[1,4,6,6]\n input %w : f32[4,4,1,1]\n"
#define ROWS "input %x : f32[20,16]\n input %s : f32[16]\n input %w : f32[16,8]\n"
#define NORM "%n : f32[20,16] = LayerNormalization(%x, %s)\n"
#define PLANES(BATCH)                                                                                        \
    "input %x : f16[" BATCH ",16,20,20] channels_last\n input %s : f16[16]\n"                                \
    " input %p : f16[" BATCH                                                                                 \
    ",16,20,20] channels_last\n input %w : f16[16,16,1,1]\n input %v : f16[16,16,3,3] channels_last\n"
#define NORMAL(BATCH) "%n : f16[" BATCH ",16,20,20] channels_last = InstanceNormalization(%x, %s, %s)\n"
#define RELU          "%r : f16[1,16,20,20] channels_last = Relu(%n)\n"
#define PLACES        "%y : f16[1,16,20,20] channels_last = Conv(%r, %w)\n"
#define PRODUCT       "%y : f32[20,8] = MatMul(%n, %w)\n"

static const Case cases[] = {
    {MAPS, CONV "%y : f32[1,4,3,3] = MaxPool(%c) {kernel_shape = [2,2], strides = [2,2]}\n", 0, "output %y\n",
     "conv_direct", NULL},
    {MAPS, CONV "%y : f32[1,4,4,4] = MaxPool(%c) {kernel_shape = [3,3]}\n", 0, "output %y\n", NULL,
     "its windows overlap"},
    {MAPS, CONV "%y : f32[1,4,3,3] = MaxPool(%c) {kernel_shape = [2,2], strides = [2,2]}\n", 0,
     "output %y\n output %c\n", NULL, "a result in front of a pool, a normalisation or a second contraction"},
    {MAPS,
     CONV "%t : f32[1,4,6,6] = Transpose(%c) {perm = [0,1,3,2]}\n"
          "%y : f32[1,4,1,1] = GlobalAveragePool(%t)\n",
     0, "output %y\n", NULL, "a result that is read in another order"},
    {"input %x : f32[1,4,9,9]\n input %w : f32[4,4,1,1]\n",
     "%c : f32[1,4,9,9] = Conv(%x, %w)\n %y : f32[1,4,1,1] = GlobalMaxPool(%c)\n", 0, "output %y\n", NULL,
     "a pool with large windows behind it"},
    {"input %x : f64[1,8,6,6]\n input %w : f64[8,8,1,1]\n",
     "%c : f64[1,8,6,6] = Conv(%x, %w)\n %y : f64[1,8,1,1] = GlobalMaxPool(%c)\n", 0, "output %y\n",
     "conv_direct", NULL},
    {"input %x : f32[1,8,6,6]\n input %w : f32[8,8,1,1]\n",
     "%c : f32[1,8,6,6] = Conv(%x, %w)\n %y : f32[1,8,1,1] = GlobalMaxPool(%c)\n", 0, "output %y\n",
     "conv_tiles", NULL},
    {"input %x : f32[1,4,6,6]\n input %w : f32[1,4,6,6]\n",
     "%c : f32[1,4,6,6] = MatMul(%x, %w)\n %y : f32[1,4,1,1] = GlobalMaxPool(%c)\n", 0, "output %y\n", NULL,
     "a pool behind the anchor"},
    {ROWS, NORM PRODUCT, 1, "output %y\n", "matmul_tiles", NULL},
    {ROWS, NORM PRODUCT, 1, "output %y\n output %n\n", NULL, "a normalisation that leaves"},
    {ROWS, "%n : f32[20,16] = LayerNormalization(%x, %s) {axis = 0}\n" PRODUCT, 1, "output %y\n", NULL,
     "a normalisation of more than rows in front"},
    {"input %x : f32[20,16]\n input %s : f32[20,16]\n input %w : f32[16,8]\n", NORM PRODUCT, 1, "output %y\n",
     NULL, "a normalisation with other parameters in front"},
    {"input %x : f32[16,16]\n input %s : f32[16]\n",
     "%n : f32[16,16] = RMSNormalization(%x, %s)\n %y : f32[16,16] = MatMul(%n, %n)\n", 1, "output %y\n",
     NULL, "a normalisation that is read twice"},
    {"input %x : f32[20,16]\n input %s : f32[16]\n input %w : f32[20,8]\n",
     NORM "%y : f32[16,8] = Gemm(%n, %w) {transA = 1}\n", 1, "output %y\n", NULL,
     "a normalisation of columns in front"},
    {"input %z : f32[20,16]\n input %s : f32[16]\n input %w : f32[16,8]\n",
     "%x : f32[20,16] = Neg(%z)\n" NORM PRODUCT, 2, "output %y\n", NULL, "nodes in front of a normalisation"},
    {"input %x : f32[4,16]\n input %s : f32[16]\n input %w : f32[16,8]\n",
     "%n : f32[4,16] = LayerNormalization(%x, %s)\n %y : f32[4,8] = MatMul(%n, %w)\n", 1, "output %y\n",
     "matmul_few", NULL},
    {"input %x : f32[4,16]\n input %s : f32[16]\n input %w : f32[8,16]\n",
     "%n : f32[4,16] = LayerNormalization(%x, %s)\n %y : f32[4,8] = Gemm(%n, %w) {transB = 1}\n", 1,
     "output %y\n", "matmul_lines", NULL},
    {PLANES("1"), NORMAL("1") RELU PLACES, 2, "output %y\n", "conv_wgmma", NULL},
    {PLANES("1"), NORMAL("1") RELU PLACES, 2, "output %y\n output %r\n", NULL, "a normalisation that leaves"},
    {PLANES("1"), NORMAL("1") "%r : f16[1,16,20,20] channels_last = Mul(%n, %p)\n" PLACES, 2, "output %y\n",
     NULL, "a normalisation with other operands behind it in front"},
    {PLANES("1"),
     NORMAL("1") RELU
     "%y : f16[1,16,10,10] channels_last = Conv(%r, %v) {pads = [1,1,1,1], strides = [2,2]}\n",
     2, "output %y\n output %r\n", "conv_planes", NULL},
    {PLANES("1"),
     NORMAL("1") RELU "%y : f16[1,16,5,5] channels_last = Conv(%r, %v) {pads = [1,1,1,1], strides = [4,4]}\n",
     2, "output %y\n", NULL, "a normalisation of windows or groups, which would be done for each"},
    {PLANES("2"), NORMAL("2") "%y : f16[2,16,20,20] channels_last = Conv(%n, %w)\n", 1, "output %y\n", NULL,
     "a normalisation of several batch entries in front"},
    {PLANES("1"),
     "%x0 : f16[1,16,20,20] channels_last = Neg(%x)\n"
     "%n : f16[1,16,20,20] channels_last = InstanceNormalization(%x0, %s, %s)\n" RELU PLACES,
     3, "output %y\n", NULL, "nodes in front of a normalisation"},
};

static void check_case(const Case *c) {
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph = NULL;
    Problem problem;
    const char *why;
    const char *text =
        arena_printf(&arena,
                     "smelt-ir 1\ngraph \"g\"\nblock \"main\" {\n %s region \"r\" anchor %d {\n"
                     " %s }\n %s }\n",
                     c->inputs, c->anchor, c->nodes, c->results);
    CHECK_OK(graph_parse(text, strlen(text), "g.ir", ".", &arena, &graph, &diag), &diag);
    if (graph != NULL) {
        (void)next_problem(graph, 0, &arena, &problem, &diag);
        const Tactic *tactic = tactic_choose(&problem, arch_find("sm_90"), &arena, &why);
        CHECK_STR(tactic != NULL ? tactic->name : "none", c->tactic != NULL ? c->tactic : "none");
        CHECK(c->why == NULL || strstr(why, c->why) != NULL);
    }
    arena_reset(&arena);
}

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) check_case(&cases[i]);
    return test_result();
}
