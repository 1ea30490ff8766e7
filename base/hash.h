/* 64-bit content hash (XXH3, from the xxHash library). */
#ifndef SMELT_BASE_HASH_H
#define SMELT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size);
uint64_t hash_combine(uint64_t a, uint64_t b);
uint64_t hash_string(const char *text);

/* Names to numbers, open addressing, keys borrowed. Zero-initialise; memory from an arena. */
#include "base/memory.h"
typedef struct NameMap {
    struct NameSlot *slots;
    size_t capacity, count;
} NameMap;
/* The value of name, or -1. */
int32_t name_map_find(const NameMap *map, const char *name);
/* Sets name to value (>= 0), replacing. False: out of memory. */
bool name_map_set(NameMap *map, Arena *arena, const char *name, int32_t value);

#endif
