/* gemm: smelt's f32 MatMul beside OpenBLAS's sgemm on one thread, where OpenBLAS is installed (it is no part
 * of smelt).
 *
 * Shapes are those of ResNet-50's and BERT's layers. Both run in turns on the same operands; figures are
 * medians in GFLOP/s. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ops/op.h"

typedef void (*Sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float,
                      float *, int);
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TURNS = 15 };

typedef struct Product {
    const char *name;
    int m, n, k;
} Product;

static const Product products[] = {
    {"resnet res2 1x1", 64, 3136, 256},  {"resnet res3 3x3", 128, 784, 1152},
    {"resnet res4 1x1", 1024, 196, 256}, {"resnet res5 3x3", 512, 49, 4608},
    {"bert qkv", 128, 2304, 768},        {"bert ffn", 128, 3072, 768},
    {"classifier", 1, 1000, 2048},       {"square", 1024, 1024, 1024},
};

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, TURNS, sizeof *values, by_value);
    return values[TURNS / 2];
}

static Sgemm find_openblas(void) {
    Sgemm sgemm = NULL;
    void (*set_threads)(int) = NULL;
    void *library = dlopen("libopenblas.so.0", RTLD_NOW), *address;
    if (library == NULL) return NULL;
    address = dlsym(library, "cblas_sgemm");
    memcpy(&sgemm, &address, sizeof address);
    address = dlsym(library, "openblas_set_num_threads");
    memcpy(&set_threads, &address, sizeof address);
    if (set_threads != NULL) set_threads(1);
    return sgemm;
}

/* One MatMul through the operator's own kernel. */
static void run_smelt(KernelCtx *ctx) {
    if (op_def(OP_MatMul)->kernel(ctx) != STATUS_OK) {
        fprintf(stderr, "gemm: the kernel failed\n");
        exit(5);
    }
}

static void run_product(const Product *p, Sgemm sgemm) {
    Arena arena = {0};
    Tensor t[3] = {{DTYPE_F32, 2, {p->m, p->k}, NULL},
                   {DTYPE_F32, 2, {p->k, p->n}, NULL},
                   {DTYPE_F32, 2, {p->m, p->n}, NULL}};
    double ours[TURNS], theirs[TURNS], flop = 2.0 * p->m * p->n * p->k;
    for (int i = 0; i < 3; ++i) {
        t[i].data = arena_alloc(&arena, tensor_bytes(&t[i]));
        if (t[i].data == NULL) exit(5);
        for (int64_t e = 0; e < tensor_count(&t[i]); ++e)
            ((float *)t[i].data)[e] = (float)(e * 7919 % 1000) / 500 - 1;
    }
    const Tensor *const inputs[] = {&t[0], &t[1]};
    Tensor *const outputs[] = {&t[2]};
    Host host = {0};
    Diag diag = {0};
    AttrList none = {0};
    ParseCtx parse = {.list = &none,
                      .input_count = 2,
                      .output_count = 1,
                      .inputs_present = 3,
                      .arena = &arena,
                      .diag = &diag};
    KernelCtx ctx = {.input_count = 2,
                     .output_count = 1,
                     .inputs = inputs,
                     .outputs = outputs,
                     .host = &host,
                     .diag = &diag};
    if (op_parse(OP_MatMul, &parse, &ctx.attrs) != STATUS_OK) exit(5);
    host.scratch_size = op_def(OP_MatMul)->scratch(&ctx);
    host.scratch = arena_alloc(&arena, host.scratch_size);
    int repeats = (int)(2e8 / flop) + 1;
    for (int turn = 0; turn < TURNS; ++turn) {
        double start = seconds();
        for (int r = 0; r < repeats; ++r) run_smelt(&ctx);
        ours[turn] = (seconds() - start) / repeats;
        start = seconds();
        for (int r = 0; r < repeats && sgemm != NULL; ++r)
            sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, p->m, p->n, p->k, 1, t[0].data, p->k, t[1].data,
                  p->n, 0, t[2].data, p->n);
        theirs[turn] = (seconds() - start) / repeats;
    }
    double a = median(ours), b = median(theirs);
    printf("%-18s %5d x %5d x %5d %9.1f", p->name, p->m, p->n, p->k, flop / a * 1e-9);
    if (sgemm != NULL)
        printf(" %9.1f %7.2f\n", flop / b * 1e-9, a / b);
    else
        printf(" %9s %7s\n", "-", "-");
    arena_reset(&arena);
}

int main(void) {
    Sgemm sgemm = find_openblas();
    printf("%-18s %21s %9s %9s %7s\n", "GFLOP/s", "m x n x k", "smelt", "OpenBLAS", "time");
    for (size_t i = 0; i < sizeof products / sizeof products[0]; ++i) run_product(&products[i], sgemm);
    return 0;
}
