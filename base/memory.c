#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum {
    MEM_ALIGNMENT = 64,
    ARENA_ALIGNMENT = 16,
    ARENA_FIRST_BLOCK = 16 * 1024,
    ARENA_LARGEST_BLOCK = 1024 * 1024,
    LARGE_OBJECT = 4096
};

/* Stands before every allocation, padded to keep the alignment. */
typedef struct MemHeader {
    size_t size;
} MemHeader;

static bool allocator_admits(Allocator *allocator, size_t size) {
    if (allocator == NULL) return true;
    allocator->count++;
    if (allocator->fail_at != 0 && allocator->count == allocator->fail_at) return false;
    return allocator->limit == 0 ||
           (size <= allocator->limit && allocator->in_use <= allocator->limit - size);
}

void *mem_alloc(Allocator *allocator, size_t size) {
    size_t total;
    if (!checked_add_size(size, (size_t)2 * MEM_ALIGNMENT - 1, &total)) return NULL;
    total -= total % MEM_ALIGNMENT; /* aligned_alloc wants a multiple */
    if (!allocator_admits(allocator, size)) return NULL;
    unsigned char *memory = aligned_alloc(MEM_ALIGNMENT, total);
    if (memory == NULL) return NULL;
    ((MemHeader *)(void *)memory)->size = size;
    if (allocator != NULL) {
        allocator->in_use += size;
        if (allocator->in_use > allocator->peak) allocator->peak = allocator->in_use;
    }
    return memory + MEM_ALIGNMENT;
}

void mem_free(Allocator *allocator, void *memory) {
    if (memory == NULL) return;
    unsigned char *start = (unsigned char *)memory - MEM_ALIGNMENT;
    if (allocator != NULL) allocator->in_use -= ((MemHeader *)(void *)start)->size;
    free(start);
}

struct ArenaBlock {
    ArenaBlock *next;
    unsigned char padding[MEM_ALIGNMENT - sizeof(ArenaBlock *)]; /* keeps what follows aligned */
};

void arena_init(Arena *arena, Allocator *allocator) {
    *arena = (Arena){.allocator = allocator};
}

void arena_reset(Arena *arena) {
    for (ArenaBlock *block = arena->blocks; block != NULL;) {
        ArenaBlock *next = block->next;
        mem_free(arena->allocator, block);
        block = next;
    }
    arena_init(arena, arena->allocator);
}

static ArenaBlock *block_create(Arena *arena, size_t capacity) {
    size_t size;
    if (!checked_add_size(capacity, sizeof(ArenaBlock), &size)) return NULL;
    return mem_alloc(arena->allocator, size);
}

/* Large objects get a block of their own behind the newest one, which stays open. */
static void *alloc_large(Arena *arena, size_t size) {
    ArenaBlock *block = block_create(arena, size);
    if (block == NULL) return NULL;
    if (arena->blocks == NULL) {
        block->next = NULL;
        arena->blocks = block;
        arena->used = arena->capacity = 0;
    } else {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    }
    return block + 1;
}

static bool open_block(Arena *arena, size_t size) {
    size_t capacity = arena->capacity == 0 ? ARENA_FIRST_BLOCK : arena->capacity * 2;
    if (capacity > ARENA_LARGEST_BLOCK) capacity = ARENA_LARGEST_BLOCK;
    if (capacity < size) capacity = size;
    ArenaBlock *block = block_create(arena, capacity);
    if (block == NULL) return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->used = 0;
    arena->capacity = capacity;
    return true;
}

void *arena_alloc(Arena *arena, size_t size) {
    void *memory;
    if (size >= LARGE_OBJECT) {
        memory = alloc_large(arena, size);
        if (memory == NULL) return NULL;
    } else {
        size_t rounded = (size + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
        if (rounded == 0) rounded = ARENA_ALIGNMENT;
        if (arena->capacity - arena->used < rounded && !open_block(arena, rounded)) return NULL;
        memory = (unsigned char *)(arena->blocks + 1) + arena->used;
        arena->used += rounded;
    }
    arena->total += size;
    return memset(memory, 0, size);
}

void *arena_alloc_array(Arena *arena, size_t count, size_t size) {
    size_t bytes;
    return checked_mul_size(count, size, &bytes) ? arena_alloc(arena, bytes) : NULL;
}

void *arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size) {
    void *memory = arena_alloc_array(arena, new_count, size);
    if (memory != NULL && old_count > 0) memcpy(memory, old, old_count * size);
    return memory;
}

bool arena_reserve(Arena *arena, void **items, int32_t count, int32_t *capacity, size_t size) {
    if (count < *capacity) return true;
    if (count > INT32_MAX / 2) return false;
    int32_t wanted = count < 8 ? 8 : count * 2;
    void *grown = arena_grow(arena, *items, (size_t)count, (size_t)wanted, size);
    if (grown == NULL) return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

char *arena_strndup(Arena *arena, const char *text, size_t length) {
    char *copy = length < SIZE_MAX ? arena_alloc(arena, length + 1) : NULL;
    if (copy != NULL && length > 0) memcpy(copy, text, length);
    return copy;
}

char *arena_strdup(Arena *arena, const char *text) {
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1);
    if (text == NULL) return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
