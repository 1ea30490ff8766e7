/* Lines of problems: what is printed is read as the same problem, and what is none is refused. */
#include "kernels/problem.h"

#include "kernels.h"
#include "passes/pass.h"

static Status infer(Graph *graph, Diag *diag) {
    const PassOptions options = {.stop_after = "infer_shapes"};
    return passes_run(graph, &options, NULL, diag);
}

static const char conv[] = "Cast($0) to=10 + *Conv(%0.0 $1 $2) dilations=1,1 group=1 kernel_shape=3,3 "
                           "pads=1,1,1,1 strides=1,1 + Relu(%1.0) | "
                           "f32[1, 8, 6, 6] f16[16, 8, 3, 3]= f16[16]= -> %2.0:f16[1, 16, 6, 6] "
                           "channels_last strides[1152, 1, 192, 32]";

/* Fails as it should, or is read as itself (problem_parse compares). */
static Status parse(const char *line, Diag *diag) {
    Arena arena = {0};
    Graph *graph;
    Status status = problem_parse(line, infer, &arena, &graph, diag);
    arena_reset(&arena);
    return status;
}

/* Every step of the graphs that tactics are tested with, but for what a line does not tell: sizes that are
 * symbols, tensors, long constants of integers. */
static void test_all_graphs(void) {
    const char *folder = SMELT_SOURCE_DIR "/tests/kernels";
    Arena arena = {0};
    Diag diag = {0};
    char **names;
    int32_t count, read = 0, silent = 0;
    CHECK_OK(folder_list(&arena, folder, &names, &count, &diag), &diag);
    for (int32_t i = 0; i < count; ++i) {
        if (strstr(names[i], ".ir") == NULL) continue;
        Graph *graph = read_kernel_graph(path_join(&arena, folder, names[i]), &arena, &diag);
        for (int32_t at = 0; at < graph->blocks[MAIN_BLOCK].node_count;) {
            Problem problem;
            Diag why = {0};
            at = next_problem(graph, at, &arena, &problem, &diag);
            Status status = parse(problem.key, &why);
            read += status == STATUS_OK;
            silent += status == STATUS_UNSUPPORTED;
            if (status != STATUS_OK && status != STATUS_UNSUPPORTED)
                fprintf(stderr, "%s: %s: %s\n", names[i], problem.key, why.text);
            CHECK(status == STATUS_OK || status == STATUS_UNSUPPORTED);
        }
    }
    fprintf(stderr, "%d problems read, %d not told by their lines\n", read, silent);
    CHECK(read > silent);
    arena_reset(&arena);
}

static void test_what_is_read(void) {
    Arena arena = {0};
    Diag diag = {0};
    Graph *graph = NULL;
    CHECK_OK(problem_parse(conv, infer, &arena, &graph, &diag), &diag);
    if (graph == NULL) exit(1);
    const Block *block = &graph->blocks[MAIN_BLOCK];
    CHECK_INT(block->node_count, 3);
    CHECK_INT(graph->regions[0].anchor, block->nodes[1]);
    const Value *cast = &graph->values[graph->nodes[block->nodes[0]].outputs[0]];
    const Value *result = &graph->values[block->results[0]], *weights = &graph->values[1];
    CHECK(cast->dtype == DTYPE_F16 && cast->layout == LAYOUT_PLAIN);
    CHECK(result->layout == LAYOUT_CHANNELS_LAST && result->strides != NULL && result->strides[1] == 1);
    CHECK(weights->data != NULL && dtype_load_f64(DTYPE_F16, weights->data, 7) > 0);
    arena_reset(&arena);
}

/* No cut and no changed character makes trouble; a cut is noticed. */
static void test_damage(void) {
    size_t length = strlen(conv);
    char *line = malloc(length + 1);
    for (size_t i = 0; i < length; ++i) {
        Diag why = {0};
        memcpy(line, conv, i);
        line[i] = '\0';
        /* What is left may be a line that says less of where the result lies. */
        const char *type = strstr(line, "-> %2.0:f16[1, 16, 6, 6]"),
                   *rest = type != NULL ? strchr(type, ']') + 1 : "-";
        bool whole = strcmp(rest, "") == 0 || strcmp(rest, " channels_last") == 0;
        CHECK((parse(line, &why) == STATUS_OK) == whole);
        for (const char *c = "%$0[\"- "; *c != '\0'; ++c) {
            Diag changed = {0};
            memcpy(line, conv, length + 1);
            line[i] = *c;
            CHECK(parse(line, &changed) != STATUS_INTERNAL);
        }
    }
    free(line);
}

static void expect(const char *line, Status status, const char *message) {
    Diag diag = {0};
    CHECK_INT(parse(line, &diag), status);
    if (strstr(diag.text, message) == NULL) CHECK_STR(diag.text, message);
}

static void test_wrong_lines(void) {
    expect("", STATUS_USAGE, "character 1: expected an operator");
    expect("Nothing($0) | f32[4] -> %0.0:f32[4]", STATUS_USAGE, "expected an operator");
    expect("Relu($1) | f32[4] -> %0.0:f32[4]", STATUS_USAGE, "there is no input $1");
    expect("Relu(%0.0) | f32[4] -> %0.0:f32[4]", STATUS_USAGE, "within its limits");
    expect("Relu($0) | f32[4] -> %0.1:f32[4]", STATUS_BAD_MODEL, "");
    expect("Relu($0) | f32[4] -> %0.0:f32[5]", STATUS_USAGE,
           "is not as smelt writes it: 'Relu($0) | f32[4] -> %0.0:f32[4]'");
    expect("Relu($0) | f32[4] ->  %0.0:f32[4]", STATUS_USAGE, "expected an operand");
    expect("Relu($0) | f33[4] -> %0.0:f32[4]", STATUS_USAGE, "expected a type");
    expect("Relu($0) | f32[n] -> %0.0:f32[n]", STATUS_UNSUPPORTED, "a size that is not a number");
    expect("Relu($0) | f32[1, 1, 1, 1, 1, 1, 1, 1, 1] -> %0.0:f32[]", STATUS_USAGE, "at most 8 dimensions");
    expect("Relu($0) | f32[99999999999999999999] -> %0.0:f32[4]", STATUS_USAGE, "within its limits");
    expect("Add($0 $1) | f32[4] f32[1048576, 1048576]= -> %0.0:f32[4]", STATUS_UNSUPPORTED,
           "1 GiB of constants");
    expect("Add($0 $1) | f32[4] f32[4] strides[1, 1] -> %0.0:f32[4]", STATUS_USAGE, "as many strides");
    expect("Gather($0 $1) axis=0 | f32[4] i64[40]= -> %0.0:f32[40]", STATUS_UNSUPPORTED, "a constant of 40");
    expect("ConstantOfShape($0) value=tensor:0 | i64[1] -> %0.0:f32[4]", STATUS_UNSUPPORTED, "is a tensor");
    expect("Softmax($0) axis=one | f32[4] -> %0.0:f32[4]", STATUS_BAD_MODEL, "axis");
    expect("Softmax($0) axis | f32[4] -> %0.0:f32[4]", STATUS_USAGE, "name=value");
    expect("Relu($0) | f32[4] -> %0.0:f32[4] tf32", STATUS_USAGE, "is not as smelt writes it");
}

int main(void) {
    test_all_graphs();
    test_what_is_read();
    test_damage();
    test_wrong_lines();
    return test_result();
}
