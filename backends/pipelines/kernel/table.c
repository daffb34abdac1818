/* Grows by doubling, and is at most half full. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

void *reserved(void *items, size_t *room, size_t count, size_t size) {
    if (count <= *room) return items;
    const size_t wanted = count + count / 2 + 16;
    void *larger = realloc(items, wanted * size);
    if (!larger) free(items);
    *room = larger ? wanted : 0;
    return larger;
}

const table_entry *table_at(const table *t, uint32_t hash, const char *bytes, size_t size) {
    if (!t->count) return NULL;
    for (size_t slot = hash & (t->slots_count - 1); t->slots[slot]; slot = (slot + 1) & (t->slots_count - 1)) {
        const table_entry *e = t->entries + t->slots[slot] - 1;
        if (e->hash == hash && e->size == size && !memcmp(t->bytes + e->begin, bytes, size)) return e;
    }
    return NULL;
}

static void place(table *t, size_t number) {
    size_t slot = t->entries[number].hash & (t->slots_count - 1);
    while (t->slots[slot]) slot = (slot + 1) & (t->slots_count - 1);
    t->slots[slot] = (uint32_t)number + 1;
}

int table_add(table *t, const char *bytes, size_t size, int64_t number) {
    if (size > UINT32_MAX || t->count >= UINT32_MAX / 4) return -1;
    if (2 * (t->count + 1) > t->slots_count) {
        const size_t wanted = t->slots_count ? 2 * t->slots_count : 64;
        uint32_t *slots = calloc(wanted, sizeof *slots);
        if (!slots) return -1;
        free(t->slots);
        t->slots = slots, t->slots_count = wanted;
        for (size_t n = 0; n < t->count; n++) place(t, n);
    }
    t->entries = reserved(t->entries, &t->room, t->count + 1, sizeof *t->entries);
    t->bytes = reserved(t->bytes, &t->bytes_room, t->used + size + 1, 1);
    if (!t->entries || !t->bytes) {
        t->count = 0; /* nothing is found any more */
        return -1;
    }
    memcpy(t->bytes + t->used, bytes, size);
    const uint32_t hash = hash_end(hash_on(HASH_BEGIN, bytes, size));
    t->entries[t->count] = (table_entry){.hash = hash, .size = (uint32_t)size, .number = number, .begin = t->used};
    t->used += size;
    place(t, t->count++);
    return 0;
}

void table_clear(table *t) { free(t->entries), free(t->slots), free(t->bytes); }
