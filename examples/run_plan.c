/* run_plan MODEL.plan [INPUT]...: runs a plan with nothing but the runtime. Inputs are .npy or raw files in
 * the model's order; those left out are zeros of the least shape. Prints outputs' shapes and first values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/smelt_runtime.h"
enum { WIDEST_ELEMENT = 16, SHOWN = 5, NPY_HEAD = 10, DTYPE_F32 = 1 };
#define TRY(call)                                                                                            \
    if ((call) != SMELT_OK) return fprintf(stderr, "run_plan: %s\n", error.message), 1
/* The file's elements; a .npy header gives the dims. NULL when it cannot be read. */
static char *read_input(const char *path, int rank, int64_t *dims, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) return NULL;
    char *bytes = calloc((*size = (size_t)ftell(file)) + NPY_HEAD, 1);
    rewind(file);
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size || fclose(file) != 0) return NULL;
    if (memcmp(bytes, "\x93NUMPY", 6) != 0) return bytes;
    size_t head = NPY_HEAD + (unsigned char)bytes[8] + 256u * (unsigned char)bytes[9];
    char *at = head <= *size ? strchr(bytes + NPY_HEAD, '(') : NULL;
    for (int i = 0; at != NULL && i < rank; ++i) dims[i] = strtoll(at + 1, &at, 10);
    return at == NULL ? NULL : memmove(bytes, bytes + head, *size -= head);
}

int main(int argc, char **argv) {
    SmeltError error = {0};
    SmeltEngine *engine;
    SmeltContext *context;
    SmeltBinding b;
    if (argc < 2) return fprintf(stderr, "run_plan MODEL.plan [INPUT.npy|INPUT.raw]...\n"), 2;
    TRY(smelt_engine_load(argv[1], NULL, &engine, &error));
    TRY(smelt_context_create(engine, NULL, &context, &error));
    int count = smelt_engine_binding_count(engine);
    void **buffers = calloc((size_t)count, sizeof *buffers); /* NULL for outputs: the context keeps them */
    size_t *sizes = calloc((size_t)count, sizeof *sizes);
    for (int i = 0; i < count; ++i) {
        TRY(smelt_engine_binding(engine, i, &b, &error));
        if (b.is_output) break;
        sizes[i] = WIDEST_ELEMENT;
        for (int k = 0; k < b.rank; ++k) sizes[i] *= (size_t)(b.min_dims[k] += b.min_dims[k] == 0);
        buffers[i] =
            i + 2 < argc ? read_input(argv[i + 2], b.rank, b.min_dims, sizes + i) : calloc(sizes[i], 1);
        TRY(smelt_context_set_shape(context, i, b.rank, b.min_dims, &error));
    }
    TRY(smelt_context_run(context, buffers, sizes, &error));
    for (int i = 0; i < count; ++i) {
        const void *data = NULL;
        if (smelt_context_output(context, i, &data, sizes + i, NULL) != SMELT_OK) continue; /* an input */
        TRY(smelt_engine_binding(engine, i, &b, &error));
        TRY(smelt_context_shape(context, i, &b.rank, b.dims, &error));
        printf("%s", b.name);
        for (int k = 0; k < b.rank; ++k) printf(k == 0 ? " %lld" : "x%lld", (long long)b.dims[k]);
        for (size_t k = 0; b.dtype == DTYPE_F32 && k < SHOWN && 4 * k < sizes[i]; ++k)
            printf(" %g", ((const float *)data)[k]);
        puts("");
    }
    for (int i = 0; i < count; ++i) free(buffers[i]);
    return free(sizes), free(buffers), smelt_context_destroy(context), smelt_engine_destroy(engine), 0;
}
