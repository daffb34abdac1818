/* A table of texts, each with a number, by open addressing. */
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t hash, size; int64_t number; size_t begin; } table_entry;
typedef struct {
    table_entry *entries;
    uint32_t *slots; /* numbers of entries from 1 on; a power of two */
    char *bytes;
    size_t count, room, slots_count, used, bytes_room;
} table;

/* Gives `items` with room for `count` of them; NULL where there is no memory, and the items are gone. */
void *reserved(void *items, size_t *room, size_t count, size_t size);

int table_add(table *t, const char *bytes, size_t size, int64_t number); /* -1 where there is no memory */
void table_clear(table *t);

/* A hash that goes on from letter to letter: FNV-1a (Fowler, Noll and Vo, 1991). */
#define HASH_BEGIN 0xcbf29ce484222325u

static inline uint64_t hash_on(uint64_t hash, const char *bytes, size_t size) {
    for (size_t n = 0; n < size; n++) hash = (hash ^ (uint8_t)bytes[n]) * 0x100000001b3u;
    return hash;
}

static inline uint32_t hash_end(uint64_t hash) { return (uint32_t)((hash ^ hash >> 29) * 0x9e3779b97f4a7c15u >> 32); }

const table_entry *table_at(const table *t, uint32_t hash, const char *bytes, size_t size);

static inline const table_entry *table_look_up(const table *t, const char *bytes, size_t size) {
    return t->count ? table_at(t, hash_end(hash_on(HASH_BEGIN, bytes, size)), bytes, size) : NULL;
}
