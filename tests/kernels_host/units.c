#include "tests/kernels_host/units.h"

#include <dlfcn.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

enum { BATCH = 48, MOST_BATCHES = 1024, MOST_COMPILERS = 64 };

/* Units with the same type of indices. */
typedef struct Batch {
    const char *name; /* path without its ending */
    const KernelLaunch *launches[BATCH];
    int32_t count;
    pid_t compiler;
    void *handles[GPU_BLOCKS]; /* copies of the library that are loaded */
} Batch;

struct Units {
    Arena arena;
    Diag diag;
    const char *compiler, *shim, *work;
    NameMap known; /* entry -> batch */
    Batch batches[MOST_BATCHES];
    int32_t count, open[2]; /* open: the batch that takes more, by type of indices; -1: none */
};

static void stop(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

Units *units_create(const char *compiler, const char *shim, const char *work) {
    Units *units = calloc(1, sizeof *units);
    if (units == NULL) stop("units", "out of memory");
    units->compiler = compiler;
    units->shim = shim;
    units->work = work;
    units->open[0] = units->open[1] = -1;
    return units;
}

void units_destroy(Units *units) {
    for (int32_t i = 0; i < units->count; ++i)
        for (int32_t copy = 0; copy < GPU_BLOCKS; ++copy)
            if (units->batches[i].handles[copy] != NULL) dlclose(units->batches[i].handles[copy]);
    arena_reset(&units->arena);
    free(units);
}

void units_add(Units *units, const KernelLaunch *launch) {
    if (name_map_find(&units->known, launch->entry) >= 0) return;
    int32_t *open = &units->open[strstr(launch->source, "#define SMELT_INDEX int\n") != NULL];
    if (*open < 0 || units->batches[*open].count == BATCH) *open = units->count++;
    if (units->count > MOST_BATCHES) stop("units", "too many");
    Batch *batch = &units->batches[*open];
    batch->launches[batch->count++] = launch;
    if (!name_map_set(&units->known, &units->arena, launch->entry, *open)) stop("units", "out of memory");
}

bool units_have(const Units *units, const char *text) {
    for (int32_t i = 0; i < units->count; ++i)
        for (int32_t k = 0; k < units->batches[i].count; ++k)
            if (strstr(units->batches[i].launches[k]->source, text) != NULL) return true;
    return false;
}

/* -- text -- */

static bool is_map(const KernelLaunch *launch, int32_t arg) {
    return launch->args[arg].kind == KERNEL_ARG_MAP;
}

/* `void run_ENTRY(const long long *args)`: pointers and numbers are as good as each other in registers. */
static void write_call(ByteWriter *out, const KernelLaunch *launch) {
    write_format(
        out, "extern \"C\" __attribute__((visibility(\"default\"))) void run_%s(const long long *args) {\n",
        launch->entry);
    write_format(out, "    ((void (*)(");
    for (int32_t i = 0; i < launch->arg_count; ++i)
        write_format(out, "%s%s", i > 0 ? ", " : "", is_map(launch, i) ? "smelt::TensorMap" : "long long");
    write_format(out, "))%s)(", launch->entry);
    for (int32_t i = 0; i < launch->arg_count; ++i)
        write_format(out, is_map(launch, i) ? "%s*(const smelt::TensorMap *)args[%d]" : "%sargs[%d]",
                     i > 0 ? ", " : "", i);
    write_format(out, ");\n}\n");
}

/* What each unit declares is in a namespace of its own. */
static void write_unit(ByteWriter *out, const KernelLaunch *launch, int32_t number) {
    static const char begin[] = "\nnamespace smelt {\n", end[] = "} // namespace smelt\n";
    const char *body = strstr(launch->source, begin);
    size_t size = strlen(launch->source);
    if (body == NULL || size < sizeof end || strcmp(launch->source + size - strlen(end), end) != 0)
        stop(launch->entry, "not the text of a unit");
    write_format(out, "#line 1 \"%s.cu\"\n", launch->entry);
    write_bytes(out, launch->source, (size_t)(body - launch->source));
    write_format(out, "\nnamespace smelt { namespace unit_%d {\n", number);
    body += strlen(begin);
    write_bytes(out, body, (size_t)(launch->source + size - strlen(end) - body));
    write_call(out, launch);
    write_format(out, "} }\n");
}

static void write_batch(Units *units, Batch *batch) {
    ByteWriter out = byte_writer(&units->arena);
    uint64_t hash = 0;
    write_format(&out, "#include \"device_shim.h\"\n");
    for (int32_t i = 0; i < batch->count; ++i) {
        write_unit(&out, batch->launches[i], i);
        hash = hash * 31 + hash_string(batch->launches[i]->entry);
    }
    batch->name = arena_printf(&units->arena, "%s/units_%016llx", units->work, (unsigned long long)hash);
    if (out.failed || batch->name == NULL) stop("units", "out of memory");
    if (file_replace(arena_printf(&units->arena, "%s.cpp", batch->name), out.data, out.size, &units->diag) !=
        STATUS_OK)
        stop(batch->name, "cannot be written");
}

/* -- compilers -- */

static const char *library_of(Units *units, const Batch *batch) {
    return arena_printf(&units->arena, "%s.so", batch->name);
}

static void start_compiler(Units *units, Batch *batch) {
    Arena *arena = &units->arena;
    char *words[] = {arena_strdup(arena, units->compiler),
                     "-std=c++17",
                     "-O0",
                     "-w",
                     "-Wno-psabi",
                     "-fno-strict-aliasing",
                     "-fvisibility=hidden",
                     "-fPIC",
                     "-shared",
                     arena_printf(arena, "-I%s", units->shim),
                     arena_printf(arena, "-I%s", units->work),
                     "-o",
                     arena_printf(arena, "%s.tmp", batch->name),
                     arena_printf(arena, "%s.cpp", batch->name),
                     NULL};
    if (posix_spawnp(&batch->compiler, words[0], NULL, NULL, words, environ) != 0)
        stop(units->compiler, "cannot be started");
}

/* Waits for one. */
static bool finish_compiler(Units *units) {
    int outcome = 0;
    pid_t child = wait(&outcome);
    for (int32_t i = 0; i < units->count; ++i) {
        Batch *batch = &units->batches[i];
        if (child <= 0 || batch->compiler != child) continue;
        batch->compiler = 0;
        return outcome == 0 &&
               rename(arena_printf(&units->arena, "%s.tmp", batch->name), library_of(units, batch)) == 0;
    }
    return false;
}

bool units_compile(Units *units) {
    long most = sysconf(_SC_NPROCESSORS_ONLN);
    int32_t running = 0;
    bool fine = true;
    for (int32_t i = 0; i < units->count; ++i) {
        Batch *batch = &units->batches[i];
        write_batch(units, batch);
        if (access(library_of(units, batch), R_OK) == 0) continue;
        if (running >= most && running-- > 0) fine = finish_compiler(units) && fine;
        start_compiler(units, batch);
        ++running;
    }
    while (running-- > 0) fine = finish_compiler(units) && fine;
    return fine;
}

/* -- libraries -- */

/* A second copy is a file of its own: one file is loaded once. */
static void *load(Units *units, const Batch *batch, int32_t copy) {
    const char *path = library_of(units, batch);
    FileMap map;
    if (copy > 0) {
        const char *original = path;
        path = arena_printf(&units->arena, "%s.%d.so", batch->name, copy);
        if (file_map(original, &map, &units->diag) != STATUS_OK ||
            file_replace(path, map.data, map.size, &units->diag) != STATUS_OK)
            stop(path, "cannot be copied");
        file_unmap(&map);
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) stop(path, dlerror());
    return handle;
}

/* Of __cluster_dims__. */
static unsigned cluster_of(const KernelLaunch *launch) {
    static const char attribute[] = "__cluster_dims__(";
    const char *at = strstr(launch->source, attribute);
    return at == NULL ? 1 : (unsigned)atoi(at + strlen(attribute));
}

void units_find(Units *units, const KernelLaunch *launch, GpuLaunch *out) {
    int32_t number = name_map_find(&units->known, launch->entry);
    if (number < 0) stop(launch->entry, "not compiled");
    Batch *batch = &units->batches[number];
    const char *symbol = arena_printf(&units->arena, "run_%s", launch->entry);
    out->cluster = out->together = cluster_of(launch);
    if (out->cluster > GPU_BLOCKS) stop(launch->entry, "too large a cluster");
    if (launch->together) { /* as many as there is room for, as the runtime does it */
        const unsigned most = GPU_BLOCKS / out->cluster * out->cluster;
        if (out->grid[0] > most) out->grid[0] = most;
        out->together = out->grid[0];
    }
    for (unsigned i = 0; i < out->together; ++i) {
        if (batch->handles[i] == NULL) batch->handles[i] = load(units, batch, (int32_t)i);
        *(void **)&out->kernel[i] = dlsym(batch->handles[i], symbol);
        out->data[i] = dlsym(batch->handles[i], "gpu_data");
        if (out->kernel[i] == NULL || out->data[i] == NULL) stop(launch->entry, "not in its library");
    }
}
