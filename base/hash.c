#include "base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t size) {
    return XXH3_64bits(data, size);
}

uint64_t hash_combine(uint64_t a, uint64_t b) {
    uint64_t both[2] = {a, b};
    return XXH3_64bits(both, sizeof both);
}

uint64_t hash_string(const char *text) {
    return XXH3_64bits(text, strlen(text));
}

struct NameSlot {
    const char *name; /* NULL: free */
    uint64_t hash;
    int32_t value;
};

/* The slot that holds name, or the free one where it belongs. The map is never full. */
static struct NameSlot *find_slot(const NameMap *map, const char *name, uint64_t hash) {
    size_t i = (size_t)hash & (map->capacity - 1);
    while (map->slots[i].name != NULL &&
           (map->slots[i].hash != hash || strcmp(map->slots[i].name, name) != 0)) {
        i = (i + 1) & (map->capacity - 1);
    }
    return &map->slots[i];
}

static bool map_grow(NameMap *map, Arena *arena) {
    NameMap larger = {.capacity = map->capacity == 0 ? 16 : map->capacity * 2, .count = map->count};
    larger.slots = ARENA_ARRAY(arena, struct NameSlot, larger.capacity);
    if (larger.slots == NULL) return false;
    for (size_t i = 0; i < map->capacity; ++i) {
        const struct NameSlot *slot = &map->slots[i];
        if (slot->name != NULL) *find_slot(&larger, slot->name, slot->hash) = *slot;
    }
    *map = larger;
    return true;
}

int32_t name_map_find(const NameMap *map, const char *name) {
    if (map->count == 0) return -1;
    const struct NameSlot *slot = find_slot(map, name, hash_string(name));
    return slot->name == NULL ? -1 : slot->value;
}

bool name_map_set(NameMap *map, Arena *arena, const char *name, int32_t value) {
    if (map->count >= map->capacity / 4 * 3 && !map_grow(map, arena)) return false;
    uint64_t hash = hash_string(name);
    struct NameSlot *slot = find_slot(map, name, hash);
    if (slot->name == NULL) map->count++;
    *slot = (struct NameSlot){.name = slot->name == NULL ? name : slot->name, .hash = hash, .value = value};
    return true;
}
