#include "kernels/jit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "kernels/device_source.h"
#include "kernels/jit_cache.h"
#include "kernels/jit_dump.h"
#include "kernels/nvrtc.h"

enum { MOST_HEADERS = 64, LOG_LINES = 3, ERROR_TEXT = 640 };

/* Beside the architecture. All stated, so that another version's defaults change nothing. */
static const char *const fixed_options[] = {"--std=c++17", "-default-device", "--fmad=true",
                                            "--ftz=false", "--prec-div=true", "--prec-sqrt=true"};
enum { FIXED_OPTIONS = sizeof fixed_options / sizeof fixed_options[0] };

struct Jit {
    JitOptions options;
    Nvrtc nvrtc;
    JitCache cache;
    const char *version;
};

/* -- opening -- */

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

Status jit_create(const JitOptions *options, Arena *arena, Jit **out, Diag *diag) {
    Jit *jit = ARENA_NEW(arena, Jit);
    TRY_ALLOC(diag, jit);
    jit->options = *options;
    TRY(nvrtc_open(&jit->nvrtc, diag));
    jit->version = arena_printf(arena, "NVRTC %d.%d (%s)", jit->nvrtc.major, jit->nvrtc.minor,
                                file_name(jit->nvrtc.path));
    Status status = STATUS_OK;
    if (jit->version == NULL) status = FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK && options->dump_folder != NULL)
        status = jit_dump_begin(options->dump_folder, arena, diag);
    if (status != STATUS_OK) {
        nvrtc_close(&jit->nvrtc);
        return status;
    }
    jit->cache = jit_cache_open(options->cache_folder, arena);
    if (jit->cache.folder == NULL && options->cache_folder != NULL && options->cache_folder[0] != '\0')
        log_line(options->log, LOG_WARNING, "compiled kernels are not kept: no folder can be made in '%s'",
                 options->cache_folder);
    *out = jit;
    return STATUS_OK;
}

void jit_destroy(Jit *jit) {
    if (jit != NULL) nvrtc_close(&jit->nvrtc);
}

int jit_major(const Jit *jit) {
    return jit->nvrtc.major;
}

const char *jit_version(const Jit *jit) {
    return jit->version;
}

/* -- what a compilation depends on -- */

typedef struct Task {
    JitRequest *request;
    JitKey key;
    uint64_t headers; /* bit i: device_sources[i] */
    bool failed;
    char error[ERROR_TEXT];
} Task;

/* The headers that a text includes, and theirs. */
static uint64_t find_headers(const char *text, uint64_t known) {
    static const char directive[] = "#include \"";
    for (const char *at = strstr(text, directive); at != NULL; at = strstr(at + 1, directive)) {
        const char *path = at + sizeof directive - 1;
        for (int i = 0; i < MOST_HEADERS && device_sources[i].path != NULL; ++i) {
            size_t length = strlen(device_sources[i].path);
            if ((known >> i & 1) != 0 || strncmp(path, device_sources[i].path, length) != 0 ||
                path[length] != '"')
                continue;
            known = find_headers(device_sources[i].text, known | (uint64_t)1 << i);
        }
    }
    return known;
}

static bool make_key(const Jit *jit, Task *task, Arena *scratch) {
    ByteWriter text = byte_writer(scratch);
    write_format(&text, "smelt cubin\n%d.%d\n%s\n", jit->nvrtc.major, jit->nvrtc.minor,
                 task->request->device->arch);
    for (int i = 0; i < FIXED_OPTIONS; ++i) write_format(&text, "%s\n", fixed_options[i]);
    for (int i = 0; i < MOST_HEADERS && device_sources[i].path != NULL; ++i)
        if ((task->headers >> i & 1) != 0)
            write_format(&text, "%s %016llx\n", device_sources[i].path,
                         (unsigned long long)device_sources[i].hash);
    write_format(&text, "%s", task->request->source);
    if (text.failed) return false;
    task->key.high = hash_bytes(text.data, text.size);
    write_u64(&text, task->key.high);
    task->key.low = hash_bytes(text.data, text.size);
    return !text.failed;
}

/* -- one unit -- */

typedef struct Batch {
    Jit *jit;
    Task *tasks;
    int32_t count, done;
    _Atomic int32_t next;
    pthread_mutex_t lock; /* of arena, done and progress */
    Arena *arena;
} Batch;

static void *batch_alloc(Batch *batch, size_t size) {
    pthread_mutex_lock(&batch->lock);
    void *memory = arena_alloc(batch->arena, size);
    pthread_mutex_unlock(&batch->lock);
    return memory;
}

static void set_error(Task *task, const char *text) {
    task->failed = true;
    snprintf(task->error, sizeof task->error, "%.*s", (int)sizeof task->error - 1, text);
}

static void keep_result(Batch *batch, Task *task, const void *cubin, size_t size) {
    void *copy = batch_alloc(batch, size);
    if (copy == NULL) {
        set_error(task, "out of memory");
        return;
    }
    memcpy(copy, cubin, size);
    task->request->cubin = copy;
    task->request->cubin_size = size;
}

static bool find_cached(Batch *batch, Task *task) {
    FileMap map;
    const void *cubin;
    size_t size;
    if (batch->jit->options.dump_folder != NULL) return false; /* its files come from a compilation */
    if (!jit_cache_find(&batch->jit->cache, task->key, &map, &cubin, &size)) return false;
    keep_result(batch, task, cubin, size);
    task->request->cached = true;
    file_unmap(&map);
    return true;
}

/* The first lines of the compiler's log. */
static void set_compiler_error(Batch *batch, Task *task, void *program) {
    const Nvrtc *nvrtc = &batch->jit->nvrtc;
    size_t size = 0;
    char *text = NULL;
    if (nvrtc->nvrtcGetProgramLogSize(program, &size) == 0 && size > 1) text = batch_alloc(batch, size + 1);
    if (text == NULL || nvrtc->nvrtcGetProgramLog(program, text) != 0) {
        set_error(task, "the compiler says nothing");
        return;
    }
    char *end = text;
    for (int line = 0; line < LOG_LINES && *end != '\0'; ++line) {
        end += strcspn(end, "\n");
        if (*end != '\0') *end++ = line + 1 < LOG_LINES ? ' ' : '\0';
    }
    *end = '\0';
    set_error(task, text);
}

static int run_compiler(const Batch *batch, const Task *task, void *program) {
    char arch[64];
    const char *options[FIXED_OPTIONS + 1];
    snprintf(arch, sizeof arch, "--gpu-architecture=%s", task->request->device->arch);
    options[0] = arch;
    memcpy(options + 1, fixed_options, sizeof fixed_options);
    return batch->jit->nvrtc.nvrtcCompileProgram(program, FIXED_OPTIONS + 1, options);
}

static void *create_program(const Batch *batch, const Task *task) {
    const char *headers[MOST_HEADERS], *names[MOST_HEADERS];
    int count = 0;
    void *program = NULL;
    for (int i = 0; i < MOST_HEADERS; ++i) {
        if ((task->headers >> i & 1) == 0) continue;
        headers[count] = device_sources[i].text;
        names[count++] = device_sources[i].path;
    }
    int outcome = batch->jit->nvrtc.nvrtcCreateProgram(&program, task->request->source, "unit.cu", count,
                                                       headers, names);
    return outcome == 0 ? program : NULL;
}

static void dump_text(Batch *batch, Task *task, const char *suffix, const void *data, size_t size) {
    Diag diag = {0};
    if (jit_dump_file(batch->jit->options.dump_folder, task->request->entry, suffix, data, size, NULL,
                      &diag) != STATUS_OK)
        set_error(task, diag.text);
}

static void dump_unit(Batch *batch, Task *task, void *program) {
    const Nvrtc *nvrtc = &batch->jit->nvrtc;
    const JitRequest *request = task->request;
    char suffix[64];
    size_t size = 0;
    if (batch->jit->options.dump_folder == NULL || task->failed) return;
    dump_text(batch, task, ".cu", request->source, strlen(request->source));
    snprintf(suffix, sizeof suffix, ".%s.cubin", request->device->arch);
    dump_text(batch, task, suffix, request->cubin, request->cubin_size);
    jit_dump_sass(batch->jit->options.dump_folder, request->entry, request->device->arch);
    if (nvrtc->nvrtcGetPTXSize(program, &size) != 0 || size <= 1) return;
    char *ptx = batch_alloc(batch, size);
    if (ptx == NULL || nvrtc->nvrtcGetPTX(program, ptx) != 0) return;
    snprintf(suffix, sizeof suffix, ".%s.ptx", request->device->arch);
    dump_text(batch, task, suffix, ptx, size - 1);
}

static void take_cubin(Batch *batch, Task *task, void *program) {
    const Nvrtc *nvrtc = &batch->jit->nvrtc;
    size_t size = 0;
    char *cubin = NULL;
    if (nvrtc->nvrtcGetCUBINSize(program, &size) == 0 && size > 0) cubin = batch_alloc(batch, size);
    if (cubin == NULL || nvrtc->nvrtcGetCUBIN(program, cubin) != 0) {
        set_error(task, "the compiler gives no code");
        return;
    }
    task->request->cubin = cubin;
    task->request->cubin_size = size;
    jit_cache_add(&batch->jit->cache, task->key, cubin, size);
    dump_unit(batch, task, program);
}

static void compile_unit(Batch *batch, Task *task) {
    void *program = create_program(batch, task);
    if (program == NULL)
        set_error(task, "the compiler refuses to begin");
    else if (run_compiler(batch, task, program) != 0)
        set_compiler_error(batch, task, program);
    else
        take_cubin(batch, task, program);
    if (program != NULL) batch->jit->nvrtc.nvrtcDestroyProgram(&program);
}

/* -- all units -- */

static void report_progress(Batch *batch) {
    const JitOptions *options = &batch->jit->options;
    pthread_mutex_lock(&batch->lock);
    batch->done++;
    if (options->progress != NULL) options->progress(options->progress_user, batch->done, batch->count);
    pthread_mutex_unlock(&batch->lock);
}

static void run_worker(void *context, int64_t first, int64_t last, int worker) {
    Batch *batch = context;
    (void)first, (void)last, (void)worker;
    for (int32_t i = atomic_fetch_add(&batch->next, 1); i < batch->count;
         i = atomic_fetch_add(&batch->next, 1)) {
        if (!find_cached(batch, &batch->tasks[i])) compile_unit(batch, &batch->tasks[i]);
        report_progress(batch);
    }
}

/* Leaves the source where the message can point to. */
static Status report_failure(const Jit *jit, const Task *task, Arena *scratch, Diag *diag) {
    char path[JIT_PATH];
    Diag ignored = {0};
    const JitRequest *request = task->request;
    const char *folder = jit->options.dump_folder != NULL ? jit->options.dump_folder : jit->cache.folder;
    bool dumped = folder != NULL && jit_dump_begin(folder, scratch, &ignored) == STATUS_OK &&
                  jit_dump_file(folder, request->entry, ".cu", request->source, strlen(request->source), path,
                                &ignored) == STATUS_OK;
    Status status = FAIL(diag, STATUS_INTERNAL, "%s: %s cannot compile the kernel for %s: %s", request->work,
                         jit->version, request->device->arch, task->error);
    diag_hint(diag, "%s%s", dumped ? "its source is " : "pass --dump-dir to keep its source",
              dumped ? path : "");
    return status;
}

static Status prepare_tasks(Jit *jit, JitRequest *requests, int32_t count, Task *tasks, Diag *diag) {
    Arena scratch;
    bool made = true;
    arena_init(&scratch, NULL);
    for (int32_t i = 0; i < count; ++i) {
        tasks[i] = (Task){.request = &requests[i], .headers = find_headers(requests[i].source, 0)};
        requests[i].cubin = NULL;
        requests[i].cubin_size = 0;
        requests[i].cached = false;
        made = made && make_key(jit, &tasks[i], &scratch);
        arena_reset(&scratch);
    }
    if (!made) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    for (int32_t i = 0; i < count; ++i)
        if (!nvrtc_supports(&jit->nvrtc, requests[i].device->sm))
            return FAIL(diag, STATUS_WRONG_DEVICE, "%s cannot compile for %s", jit->version,
                        requests[i].device->arch);
    return STATUS_OK;
}

static Status run_batch(Batch *batch, Diag *diag) {
    ThreadPool *pool;
    TRY(thread_pool_create(batch->jit->options.threads, NULL, &pool, diag));
    if (pthread_mutex_init(&batch->lock, NULL) != 0) {
        thread_pool_destroy(pool);
        return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    }
    parallel_for(pool, min_i64(thread_pool_size(pool), batch->count), 1, run_worker, batch);
    pthread_mutex_destroy(&batch->lock);
    thread_pool_destroy(pool);
    return STATUS_OK;
}

static Status report_batch(const Batch *batch, Arena *scratch, Diag *diag) {
    int32_t cached = 0;
    for (int32_t i = 0; i < batch->count; ++i) {
        if (batch->tasks[i].failed) return report_failure(batch->jit, &batch->tasks[i], scratch, diag);
        cached += batch->tasks[i].request->cached;
    }
    log_line(batch->jit->options.log, LOG_INFO, "%s: %d kernels compiled, %d from the cache",
             batch->jit->version, batch->count - cached, cached);
    return STATUS_OK;
}

Status jit_compile(Jit *jit, JitRequest *requests, int32_t count, Arena *arena, Diag *diag) {
    Batch batch = {.jit = jit, .count = count, .arena = arena};
    Arena scratch;
    if (count == 0) return STATUS_OK;
    arena_init(&scratch, NULL);
    batch.tasks = ARENA_ARRAY(&scratch, Task, count);
    Status status = batch.tasks != NULL ? STATUS_OK : FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK) status = prepare_tasks(jit, requests, count, batch.tasks, diag);
    if (status == STATUS_OK) status = run_batch(&batch, diag);
    if (status == STATUS_OK) status = report_batch(&batch, &scratch, diag);
    if (status == STATUS_OK) jit_cache_trim(&jit->cache, &scratch);
    arena_reset(&scratch);
    return status;
}
