/* The text of units, word for word, and the launches that go with them. */
#include "kernels.h"

#include "kernels/arch.h"

typedef struct Fixture {
    Arena arena;
    Diag diag;
    Graph *graph;
    Problem problem;
    Emission *emission;
} Fixture;

/* The first step of the graph with the first config of the tactic that takes it. */
static void emit_first(Fixture *f, const char *text) {
    const char *why;
    Config configs[MOST_CONFIGS];
    *f = (Fixture){0};
    CHECK_OK(graph_parse(text, strlen(text), "test.ir", ".", &f->arena, &f->graph, &f->diag), &f->diag);
    if (f->graph == NULL) exit(1);
    next_problem(f->graph, 0, &f->arena, &f->problem, &f->diag);
    const Device *device = arch_find("sm_80");
    const Tactic *tactic = tactic_choose(&f->problem, device, &f->arena, &why);
    CHECK(tactic != NULL);
    if (tactic == NULL) exit(1);
    CHECK(tactic->configs(&f->problem, device, configs) > 0);
    f->emission = emit_problem(f->graph, &f->problem, tactic, &configs[0], device, &f->arena, &f->diag);
    CHECK_INT(f->emission->launch_count, 1);
}

static const char chain_graph[] = "smelt-ir 1\n"
                                  "graph \"chain\" opset 18\n"
                                  "constant %half : f32[] = {0.5}\n"
                                  "block \"main\" {\n"
                                  "  input %x : f32[2,64,7,7]\n"
                                  "  input %bias : f32[64,1,1]\n"
                                  "  input %mask : bool[2,64,7,7]\n"
                                  "  region \"r\" {\n"
                                  "    %a : f32[2,64,7,7] = Add(%x, %bias)\n"
                                  "    %b : f32[2,64,7,7] = Mul(%a, %half)\n"
                                  "    %c : f32[2,64,7,7] = Where(%mask, %b, %x)\n"
                                  "  }\n"
                                  "  output %c\n"
                                  "}\n";

static const char chain_unit[] =
    "#define SMELT_INDEX int\n"
    "#include \"smelt/core.cuh\"\n"
    "#include \"smelt/pointwise.cuh\"\n"
    "\n"
    "namespace smelt {\n"
    "\n"
    "struct Chain {\n"
    "    const smelt_bool *p0;\n"
    "    const float *p1;\n"
    "    const float *p2;\n"
    "    float *r0;\n"
    "    template <int N> SMELT_DEVICE void run(Index i) const {\n"
    "        using namespace math;\n"
    "        Pack<smelt_bool, N> v0;\n"
    "        Pack<float, N> v1;\n"
    "        v0 = load_pack<N>(p0, i);\n"
    "        v1 = load_pack<N>(p1, i);\n"
    "        const float a3 = 0x1p-1f;\n"
    "        Pack<float, N> w0;\n"
    "#pragma unroll\n"
    "        for (int k = 0; k < N; ++k) {\n"
    "            const bool a0 = fetch(v0.at[k]);\n"
    "            const float a1 = fetch(v1.at[k]);\n"
    "            const float a2 = fetch(p2[residue(quotient((i + k), 49), 64)]);\n"
    "            float b0; // Add\n"
    "            {\n"
    "                typedef float T;\n"
    "                const T x = T(a1);\n"
    "                const T y = T(a2);\n"
    "                b0 = convert<float>(x + y);\n"
    "            }\n"
    "            float b1; // Mul\n"
    "            {\n"
    "                typedef float T;\n"
    "                const T x = T(b0);\n"
    "                const T y = T(a3);\n"
    "                b1 = convert<float>(x * y);\n"
    "            }\n"
    "            float b2; // Where\n"
    "            {\n"
    "                typedef float T;\n"
    "                const bool x = a0;\n"
    "                const T y = T(b1);\n"
    "                const T z = T(a1);\n"
    "                b2 = T(x != 0 ? y : z);\n"
    "            }\n"
    "            put(w0.at[k], b2);\n"
    "        }\n"
    "        store_pack(r0, i, w0);\n"
    "    }\n"
    "};\n"
    "\n"
    "extern \"C\" __global__ void __launch_bounds__(256)\n"
    "pointwise_%s(const smelt_bool *__restrict__ p0, const float *__restrict__ p1, const float *__restrict__ "
    "p2, float *__restrict__ r0) {\n"
    "    wait_for_previous_kernel();\n"
    "    for_each_pack<4>(6272, Chain{p0, p1, p2, r0});\n"
    "}\n"
    "\n"
    "} // namespace smelt\n";

static void test_chain(void) {
    Fixture f;
    emit_first(&f, chain_graph);
    const KernelLaunch *launch = &f.emission->launches[0];
    CHECK_STR(launch->source, arena_printf(&f.arena, chain_unit, launch->entry + strlen("pointwise_")));
    CHECK_INT(launch->grid[0], 7); /* of 1024 elements */
    CHECK_INT(launch->grid[1], 1);
    CHECK_INT(launch->block[0], 256);
    CHECK_INT(launch->arg_count, 4);
    CHECK(launch->args[3].written && launch->args[3].value == graph_find_value(f.graph, "c"));
    CHECK_STR(f.problem.key, "Add($0 $1) + Mul(%0.0 $2) + Where($3 %1.0 $0) | f32[2, 64, 7, 7] f32[64, 1, 1] "
                             "f32[]= bool[2, 64, 7, 7] -> %2.0:f32[2, 64, 7, 7]");
    arena_reset(&f.arena);
}

/* Equal work is equal text: neither names nor numbers of values get into it. */
static void test_same_unit(void) {
    Fixture f, g;
    char other[sizeof chain_graph];
    memcpy(other, chain_graph, sizeof other);
    for (char *c = strstr(other, "%mask"); c != NULL; c = strstr(c, "%mask")) c[1] = 'q';
    emit_first(&f, chain_graph);
    emit_first(&g, other);
    CHECK_STR(f.emission->launches[0].source, g.emission->launches[0].source);
    arena_reset(&f.arena);
    arena_reset(&g.arena);
}

/* Symbols become arguments; without a maximum the index has 64 bits. */
static void test_symbols(void) {
    Fixture f;
    emit_first(&f, "smelt-ir 1\ngraph \"g\" opset 18\nsymbol n min 1 opt 4 max 9\nblock \"main\" {\n"
                   "  input %x : f32[n,5]\n  input %y : f32[n,1]\n"
                   "  %z : f32[n,5] = Add(%x, %y)\n  output %z\n}\n");
    const KernelLaunch *launch = &f.emission->launches[0];
    CHECK(strstr(launch->source, "#define SMELT_INDEX int\n") != NULL);
    CHECK(strstr(launch->source, "fetch(p1[quotient((i + k), 5)])") != NULL);
    CHECK(strstr(launch->source, "const Index n0 = (Index)n0_;") != NULL);
    CHECK(!dim_is_exact(launch->grid[0]) || launch->grid[0] == 1);
    CHECK_INT(launch->args[launch->arg_count - 1].kind, KERNEL_ARG_NUMBER);
    arena_reset(&f.arena);
    emit_first(&f, "smelt-ir 1\ngraph \"g\" opset 18\nsymbol n min 1 opt 4\nblock \"main\" {\n"
                   "  input %x : f32[n]\n  %z : f32[n] = Neg(%x)\n  output %z\n}\n");
    CHECK(strstr(f.emission->launches[0].source, "#define SMELT_INDEX long long\n") != NULL);
    arena_reset(&f.arena);
}

/* Whether an extent is repeated may show at run time only: its stride is an argument then. */
static void test_late_broadcast(void) {
    Fixture f;
    emit_first(&f,
               "smelt-ir 1\ngraph \"g\" opset 18\nsymbol n min 1 opt 4 max 9\nsymbol m min 1 opt 4 max 9\n"
               "block \"main\" {\n  input %x : f32[n,5]\n  input %y : f32[m,5]\n"
               "  %z : f32[bcast(n, m),5] = Add(%x, %y)\n  output %z\n}\n");
    const KernelLaunch *launch = &f.emission->launches[0];
    int32_t numbers = 0;
    for (int32_t i = 0; i < launch->arg_count; ++i) numbers += launch->args[i].kind == KERNEL_ARG_NUMBER;
    CHECK_INT(numbers, 3); /* both strides and the count */
    arena_reset(&f.arena);
}

static void test_literals(void) {
    Arena arena = {0};
    const double reals[] = {0.5, -2, (double)INFINITY, -(double)INFINITY, (double)NAN};
    const int8_t small = -3;
    const uint64_t large = UINT64_MAX;
    const int64_t least = INT64_MIN;
    const bool yes = true;
    CHECK_STR(cuda_real_literal(&arena, reals[0], true), "0x1p-1f");
    CHECK_STR(cuda_literal(&arena, DTYPE_F64, reals, 1), "(-0x1p+1)");
    CHECK_STR(cuda_literal(&arena, DTYPE_F64, reals, 2), "infinity_f64()");
    CHECK_STR(cuda_literal(&arena, DTYPE_F64, reals, 3), "-infinity_f64()");
    CHECK_STR(cuda_literal(&arena, DTYPE_F64, reals, 4), "nan_f64()");
    CHECK_STR(cuda_literal(&arena, DTYPE_I8, &small, 0), "(signed char)-3ll");
    CHECK_STR(cuda_literal(&arena, DTYPE_U64, &large, 0), "0xffffffffffffffffull");
    CHECK_STR(cuda_literal(&arena, DTYPE_I64, &least, 0), "(-0x7fffffffffffffffll - 1)");
    CHECK_STR(cuda_literal(&arena, DTYPE_BOOL, &yes, 0), "true");
    CHECK(cuda_type_refusal(DTYPE_F16) == NULL);
    CHECK_STR(cuda_type_refusal(DTYPE_U4), "elements of fewer than 8 bits");
    CHECK_STR(cuda_type_refusal(DTYPE_C64), "elements that are no numbers");
    arena_reset(&arena);
}

static void test_archs(void) {
    CHECK_STR(arch_find("sm_90")->arch, "sm_90a");
    CHECK_STR(arch_find("sm_90a")->arch, "sm_90a");
    CHECK(arch_find("sm_9") == NULL && arch_find("sm_70") == NULL && arch_find("") == NULL);
    CHECK_STR(arch_for_sm(87)->arch, "sm_86");
    CHECK_STR(arch_for_sm(90)->arch, "sm_90a");
    CHECK(arch_for_sm(70) == NULL && arch_for_sm(110) == NULL);
    const DeviceList both = {2, {arch_find("sm_90"), arch_find("sm_86")}};
    Device common = arch_common(&both);
    CHECK_INT(common.sm, 86);
    CHECK_INT(common.shared_per_block, 101376);
    CHECK_INT(common.sm_count, 132);
}

int main(void) {
    test_chain();
    test_same_unit();
    test_symbols();
    test_late_broadcast();
    test_literals();
    test_archs();
    return test_result();
}
