/* Compilation of units: the cache, its damage, dumps, messages. Exits with 77 (skipped) where there is no
 * NVRTC. */
#include <unistd.h>

#include "base/file.h"
#include "kernels.h"
#include "kernels/arch.h"
#include "kernels/device_source.h"
#include "kernels/jit.h"

static const char good[] = "#define SMELT_INDEX int\n#include \"smelt/core.cuh\"\n"
                           "extern \"C\" __global__ void good(float *p) { p[0] = smelt::nan_f32(); }\n";
static const char bad[] =
    "#include \"smelt/core.cuh\"\nextern \"C\" __global__ void bad(float *p) { p[0] = nothing; }\n";

typedef struct Folder {
    Arena arena;
    char path[64];
} Folder;

static void folder_make(Folder *f) {
    *f = (Folder){.path = "smelt_jit_XXXXXX"};
    CHECK(mkdtemp(f->path) != NULL);
}

static const char *inside(Folder *f, const char *name) {
    const char *path = path_join(&f->arena, f->path, name);
    if (path == NULL) exit(1);
    return path;
}

static void folder_remove(Folder *f) {
    CHECK(system(arena_printf(&f->arena, "rm -rf %s", f->path)) == 0);
    arena_reset(&f->arena);
}

static Status compile(Folder *f, const JitOptions *options, JitRequest *requests, int32_t count, Diag *diag) {
    Jit *jit = NULL;
    TRY(jit_create(options, &f->arena, &jit, diag));
    Status status = jit_compile(jit, requests, count, &f->arena, diag);
    jit_destroy(jit);
    return status;
}

static void count_progress(void *user, int32_t done, int32_t total) {
    *(int32_t *)user = done * 100 + total;
}

/* The only file of the cache. */
static const char *cache_entry(Folder *f) {
    char **names;
    int32_t count;
    Diag diag = {0};
    const char *cubins = inside(f, "cache/cubins");
    CHECK_OK(folder_list(&f->arena, cubins, &names, &count, &diag), &diag);
    CHECK_INT(count, 1);
    return count == 1 ? path_join(&f->arena, cubins, names[0]) : NULL;
}

static void damage(const char *path) {
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL);
    if (file == NULL) return;
    fseek(file, -1, SEEK_END);
    int last = fgetc(file);
    fseek(file, -1, SEEK_END);
    fputc(last ^ 1, file);
    fclose(file);
}

/* The same code compiled, from the cache, and compiled again where the cache's entry is damaged. */
static void test_cache(void) {
    Folder f;
    int32_t progress = 0;
    Diag diag = {0};
    folder_make(&f);
    JitOptions options = {
        .cache_folder = inside(&f, "cache"), .progress = count_progress, .progress_user = &progress};
    JitRequest request[3];
    for (int i = 0; i < 3; ++i) {
        request[i] =
            (JitRequest){.entry = "good", .source = good, .device = arch_find("sm_80"), .work = "test"};
        CHECK_OK(compile(&f, &options, &request[i], 1, &diag), &diag);
        CHECK_INT(progress, 101);
        CHECK_INT(request[i].cached, i == 1);
        CHECK(request[i].cubin != NULL && request[i].cubin_size == request[0].cubin_size);
        if (request[i].cubin == NULL) exit(1);
        CHECK(memcmp(request[i].cubin, request[0].cubin, request[0].cubin_size) == 0);
        const char *entry = cache_entry(&f);
        if (i == 1 && entry != NULL) damage(entry);
    }
    folder_remove(&f);
}

/* Another architecture and another unit are other entries; without a cache there are none. */
static void test_keys(void) {
    Folder f;
    char **names;
    int32_t count = 0;
    Diag diag = {0};
    folder_make(&f);
    JitOptions options = {.cache_folder = inside(&f, "cache")}, none = {.cache_folder = ""};
    const char *other = arena_printf(&f.arena, "%s// another\n", good);
    JitRequest requests[] = {{.entry = "good", .source = good, .device = arch_find("sm_80"), .work = "a"},
                             {.entry = "good", .source = good, .device = arch_find("sm_90"), .work = "b"},
                             {.entry = "good", .source = other, .device = arch_find("sm_80"), .work = "c"}};
    CHECK_OK(compile(&f, &none, requests, 3, &diag), &diag);
    CHECK(!file_exists(options.cache_folder));
    CHECK_OK(compile(&f, &options, requests, 3, &diag), &diag);
    CHECK_OK(folder_list(&f.arena, inside(&f, "cache/cubins"), &names, &count, &diag), &diag);
    CHECK_INT(count, 3);
    folder_remove(&f);
}

static void test_dump(void) {
    Folder f;
    FileMap map;
    Diag diag = {0};
    folder_make(&f);
    JitOptions options = {.cache_folder = "", .dump_folder = inside(&f, "dump")};
    JitRequest request = {.entry = "good", .source = good, .device = arch_find("sm_90"), .work = "test"};
    CHECK_OK(compile(&f, &options, &request, 1, &diag), &diag);
    CHECK_OK(file_map(inside(&f, "dump/kernels/good.cu"), &map, &diag), &diag);
    CHECK(map.size == strlen(good) && memcmp(map.data, good, map.size) == 0);
    file_unmap(&map);
    CHECK(file_exists(inside(&f, "dump/kernels/smelt/core.cuh")));
    CHECK(file_exists(inside(&f, "dump/kernels/good.sm_90a.cubin")));
    folder_remove(&f);
}

/* Each is found by its path, and their number stays within what a set of them can hold. */
static void test_sources(void) {
    int32_t count = 0;
    for (const DeviceSource *source = device_sources; source->path != NULL; ++source, ++count) {
        CHECK(strncmp(source->path, "smelt/", 6) == 0 && source->hash != 0);
        CHECK(count == 0 || strcmp(source[-1].path, source->path) < 0);
    }
    CHECK(count > 2 && count <= 64);
}

static void test_failure(void) {
    Folder f;
    Diag diag = {0};
    folder_make(&f);
    JitOptions options = {.cache_folder = inside(&f, "cache")};
    JitRequest requests[] = {{.entry = "good", .source = good, .device = arch_find("sm_80"), .work = "first"},
                             {.entry = "bad", .source = bad, .device = arch_find("sm_80"), .work = "second"}};
    CHECK_INT(compile(&f, &options, requests, 2, &diag), STATUS_INTERNAL);
    CHECK(strncmp(diag.text, "second: NVRTC ", 14) == 0);
    CHECK(strstr(diag.text, "cannot compile the kernel for sm_80") != NULL);
    CHECK(strstr(diag.text, "\"nothing\" is undefined") != NULL);
    const char *path = strstr(diag.hint, f.path);
    CHECK(path != NULL && file_exists(path));
    folder_remove(&f);
}

int main(void) {
    Arena arena = {0};
    Diag diag = {0};
    Jit *jit = NULL;
    const JitOptions options = {.cache_folder = ""};
    test_sources();
    if (jit_create(&options, &arena, &jit, &diag) == STATUS_WRONG_DEVICE) {
        fprintf(stderr, "skipped: %s\n", diag.text);
        return 77;
    }
    CHECK(strncmp(jit_version(jit), "NVRTC ", 6) == 0);
    jit_destroy(jit);
    arena_reset(&arena);
    test_cache();
    test_keys();
    test_dump();
    test_failure();
    return test_result();
}
