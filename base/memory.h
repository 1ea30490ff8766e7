/* Memory: the only malloc in the tree. An Allocator counts and can refuse; an Arena frees a whole phase at
 * once.
 *
 * Allocator is not thread-safe: one per compile, engine or context. Worker threads never allocate. */
#ifndef SMELT_BASE_MEMORY_H
#define SMELT_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised: no limit, no fault. fail_at = n > 0 makes the n-th allocation from now on return NULL
 * (once), which is how the torture test walks every out-of-memory path. */
typedef struct Allocator {
    size_t limit; /* bytes that may be in use at once; 0 = no limit */
    size_t in_use, peak;
    uint64_t count;   /* allocations ever made or refused */
    uint64_t fail_at; /* refuse the allocation that makes count equal this; 0 = never */
} Allocator;

/* All sizes in bytes; memory is aligned to 64 bytes and not initialised. allocator may be NULL. Returns NULL
 * when out of memory, over the limit or told to fail. */
void *mem_alloc(Allocator *allocator, size_t size);
/* Releases memory of mem_alloc from the same allocator; NULL is ignored. */
void mem_free(Allocator *allocator, void *memory);

typedef struct ArenaBlock ArenaBlock;

/* Bump allocation from a chain of blocks, freed together. Zero-initialise, or arena_init with an allocator.
 */
typedef struct Arena {
    Allocator *allocator;
    ArenaBlock *blocks;    /* newest first */
    size_t used, capacity; /* of the newest block */
    size_t total;          /* bytes handed out since the last reset */
} Arena;

void arena_init(Arena *arena, Allocator *allocator);
/* Frees everything; the arena may be used again. Accepts a zeroed arena. */
void arena_reset(Arena *arena);

/* Zeroed memory aligned to 16 bytes (64 for sizes >= 4096), NULL when out of memory. size 0 gives a valid
 * pointer. */
void *arena_alloc(Arena *arena, size_t size);
/* count * size with overflow check. */
void *arena_alloc_array(Arena *arena, size_t count, size_t size);
/* A new array of new_count elements that begins with old_count old ones; the old memory stays until reset. */
void *arena_grow(Arena *arena, const void *old, size_t old_count, size_t new_count, size_t size);
char *arena_strdup(Arena *arena, const char *text);
char *arena_strndup(Arena *arena, const char *text, size_t length);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_NEW(arena, Type)          ((Type *)arena_alloc((arena), sizeof(Type)))
#define ARENA_ARRAY(arena, Type, count) ((Type *)arena_alloc_array((arena), (size_t)(count), sizeof(Type)))

/* Appends to an arena array that keeps {items, count, capacity}: makes room for one more. False: out of
 * memory. */
#define ARENA_RESERVE(arena, items, count, capacity)                                                         \
    ((count) < (capacity) || arena_reserve((arena), (void **)&(items), (count), &(capacity), sizeof *(items)))
bool arena_reserve(Arena *arena, void **items, int32_t count, int32_t *capacity, size_t size);

#endif
