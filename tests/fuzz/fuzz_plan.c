/* Loads bytes as a plan, as they are and with their checksums made right (or no change would get past them),
 * prints what loads, and prepares and runs it: GPU plans on the fake driver, which checks every access. */
#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"
#include "tests/fake_cuda/open.h"
#include "tests/plan_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_LIMIT = 64 << 20, RUN_LIMIT = 1 << 16, MOST_BINDINGS = 16 };

static bool set_shapes(SmeltContext *context, Arena *arena, void **buffers, size_t *sizes) {
    const SmeltEngine *engine = context->engine;
    if (engine->plan.binding_count > MOST_BINDINGS) return false;
    for (int i = 0; i < engine->input_count; ++i) {
        SmeltBinding binding;
        size_t bytes = 16; /* the widest element */
        smelt_engine_binding(engine, i, &binding, NULL);
        for (int k = 0; k < binding.rank; ++k) {
            if (binding.min_dims[k] == 0 && binding.max_dims[k] > 1) binding.min_dims[k] = 2;
            if (__builtin_mul_overflow(bytes, (size_t)binding.min_dims[k], &bytes) || bytes > RUN_LIMIT)
                return false;
        }
        if (smelt_context_set_shape(context, i, binding.rank, binding.min_dims, NULL) != SMELT_OK)
            return false;
        buffers[i] = arena_alloc(arena, bytes);
        sizes[i] = bytes;
        if (buffers[i] == NULL) return false;
    }
    return true;
}

/* Loops may run as long as they please, so that plans with bodies are only prepared; and so are large ones.
 */
static void use_context(SmeltContext *context) {
    Arena arena = {0};
    void *buffers[MOST_BINDINGS] = {0};
    size_t sizes[MOST_BINDINGS] = {0};
    context->allocator.limit = MEMORY_LIMIT;
    if (set_shapes(context, &arena, buffers, sizes) && smelt_context_prepare(context, NULL) == SMELT_OK &&
        context->plan->program_count == 1 && smelt_context_workspace(context) <= RUN_LIMIT)
        smelt_context_run(context, buffers, sizes, NULL);
    arena_reset(&arena);
}

static void use_plan(const uint8_t *bytes, size_t size) {
    SmeltContextOptions options = {.threads = 1};
    SmeltEngine *engine;
    SmeltContext *context;
    Allocator allocator = {.limit = MEMORY_LIMIT};
    Arena arena = {.allocator = &allocator};
    ByteWriter text = byte_writer(&arena);
    if (smelt_engine_load_memory(bytes, size, NULL, &engine, NULL) != SMELT_OK) return;
    (void)plan_print(&engine->plan, &text, NULL);
    (void)plan_print_json(&engine->plan, &text, NULL);
    if (smelt_context_create(engine, &options, &context, NULL) == SMELT_OK) {
        use_context(context);
        smelt_context_destroy(context);
    }
    smelt_engine_destroy(engine);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copy = mem_alloc(NULL, size);
    if (copy == NULL || setenv("SMELT_CUDA_LIBRARY", SMELT_FAKE_CUDA, 1) != 0 || !open_fake(SMELT_FAKE_CUDA))
        abort();
    fake.reset();
    if (size > 0) memcpy(copy, data, size);
    use_plan(copy, size);
    sample_fix_checksums(copy, size);
    use_plan(copy, size);
    mem_free(NULL, copy);
    return 0;
}
