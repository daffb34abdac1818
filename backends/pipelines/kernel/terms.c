/* Finds and counts terms: prepares a text letter by letter, cuts it into words or letters, and looks each term up. */
#include "terms.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST_TEXT (1u << 27) /* bytes; prepared it is at most 16 times as long, which 32 bits can count */

typedef struct {
    uint32_t code;
    uint8_t is_told, bytes, letters, kinds[MOST_LETTERS];
    char text[MOST_BYTES];
} letter;

/* A table of texts by open addressing: `slots` are numbers of entries from 1 on, a power of two of them. */
typedef struct { uint32_t hash, size, column; size_t begin; } entry;
typedef struct { entry *entries; uint32_t *slots; char *bytes; size_t count, room, slots_count, used, bytes_room; } table;

/* A text as letters: letter n is the bytes from marks[n].begin to marks[n + 1].begin. */
typedef struct { uint32_t begin; uint8_t kind; } mark;
typedef struct { char *bytes; mark *marks; size_t size, count, bytes_room, room; } letters;

typedef struct { uint32_t begin, end; } span;

struct terms {
    term_options o;
    table vocabulary, left_out;
    letter ascii[128];
    letter *others; /* by open addressing, a power of two */
    size_t others_count, others_room;
    letters prepared, cut;
    span *words;
    size_t words_room;
    int32_t *tally; /* of each column; those that were met in this text have its number in `met_in` */
    uint32_t *met_in, text_number;
    counted_term *counted;
    size_t counted_count, counted_room;
};

/* Gives `items` with room for `count` of them; NULL where there is no memory, and the items are gone. */
static void *reserved(void *items, size_t *room, size_t count, size_t size) {
    if (count <= *room) return items;
    const size_t wanted = count + count / 2 + 16;
    void *larger = realloc(items, wanted * size);
    if (!larger) free(items);
    *room = larger ? wanted : 0;
    return larger;
}

static uint32_t hash_of(const char *bytes, size_t size) {
    const uint64_t odd = 0x9e3779b97f4a7c15u; /* 2^64 over the golden ratio */
    uint64_t hash = size * odd, word;
    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    for (word = 0; size; size--) word = word << 8 | (uint8_t)bytes[size - 1];
    hash = (hash ^ word) * odd;
    return (uint32_t)(hash ^ hash >> 32);
}

uint32_t murmur_hash(const char *bytes, size_t size) {
    uint32_t hash = 0, word;
    const size_t tail = size % 4;
    for (size_t n = 0; n + 4 <= size; n += 4) {
        memcpy(&word, bytes + n, 4); /* little-endian, as every processor that servefit runs on */
        word *= 0xcc9e2d51u;
        word = (word << 15 | word >> 17) * 0x1b873593u;
        hash ^= word;
        hash = (hash << 13 | hash >> 19) * 5 + 0xe6546b64u;
    }
    word = 0;
    for (size_t n = tail; n; n--) word = word << 8 | (uint8_t)bytes[size - tail + n - 1];
    if (tail) {
        word *= 0xcc9e2d51u;
        hash ^= (word << 15 | word >> 17) * 0x1b873593u;
    }
    hash ^= (uint32_t)size;
    hash = (hash ^ hash >> 16) * 0x85ebca6bu;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
    return hash ^ hash >> 16;
}

static const entry *look_up(const table *t, const char *bytes, size_t size) {
    if (!t->count) return NULL;
    const uint32_t hash = hash_of(bytes, size);
    for (size_t slot = hash & (t->slots_count - 1); t->slots[slot]; slot = (slot + 1) & (t->slots_count - 1)) {
        const entry *e = t->entries + t->slots[slot] - 1;
        if (e->hash == hash && e->size == size && !memcmp(t->bytes + e->begin, bytes, size)) return e;
    }
    return NULL;
}

static void place(table *t, size_t number) {
    size_t slot = t->entries[number].hash & (t->slots_count - 1);
    while (t->slots[slot]) slot = (slot + 1) & (t->slots_count - 1);
    t->slots[slot] = (uint32_t)number + 1;
}

static int add(table *t, const char *bytes, size_t size, uint32_t column) {
    if (size > UINT32_MAX || t->count >= UINT32_MAX / 4) return -1;
    if (2 * (t->count + 1) > t->slots_count) {
        const size_t wanted = t->slots_count ? 2 * t->slots_count : 64;
        uint32_t *slots = calloc(wanted, sizeof *slots);
        if (!slots) return -1;
        free(t->slots);
        t->slots = slots, t->slots_count = wanted;
        for (size_t n = 0; n < t->count; n++) place(t, n);
    }
    t->entries = reserved(t->entries, &t->room, t->count + 1, sizeof(entry));
    t->bytes = reserved(t->bytes, &t->bytes_room, t->used + size + 1, 1);
    if (!t->entries || !t->bytes) return -1;
    memcpy(t->bytes + t->used, bytes, size);
    t->entries[t->count] = (entry){.hash = hash_of(bytes, size), .size = (uint32_t)size, .column = column, .begin = t->used};
    t->used += size;
    place(t, t->count++);
    return 0;
}

static void clear(table *t) { free(t->entries), free(t->slots), free(t->bytes); }

terms *terms_new(const term_options *options) {
    terms *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->o = *options;
    t->tally = calloc((size_t)options->width + 1, sizeof *t->tally);
    t->met_in = calloc((size_t)options->width + 1, sizeof *t->met_in);
    if (t->tally && t->met_in) return t;
    terms_free(t);
    return NULL;
}

void terms_free(terms *t) {
    if (!t) return;
    clear(&t->vocabulary), clear(&t->left_out);
    free(t->others), free(t->words), free(t->tally), free(t->met_in), free(t->counted);
    free(t->prepared.bytes), free(t->prepared.marks), free(t->cut.bytes), free(t->cut.marks);
    free(t);
}

int terms_add(terms *t, const char *term, size_t size, uint32_t column) { return add(&t->vocabulary, term, size, column); }

int terms_leave_out(terms *t, const char *word, size_t size) { return add(&t->left_out, word, size, 0); }

/* The place of a letter beyond ASCII, or where it would be. */
static letter *other(const terms *t, uint32_t code) {
    size_t slot = (code * 0x9e3779b9u) & (t->others_room - 1);
    while (t->others[slot].is_told && t->others[slot].code != code) slot = (slot + 1) & (t->others_room - 1);
    return t->others + slot;
}

int terms_learn(terms *t, uint32_t code, const char *becomes, size_t size, const uint8_t *kinds, size_t count) {
    letter l = {.code = code, .is_told = 1, .bytes = (uint8_t)size, .letters = (uint8_t)count};
    memcpy(l.text, becomes, size), memcpy(l.kinds, kinds, count);
    if (code < 128) {
        t->ascii[code] = l;
        return 0;
    }
    if (2 * (t->others_count + 1) > t->others_room) {
        letter *old = t->others;
        const size_t old_room = t->others_room;
        letter *larger = calloc(old_room ? 2 * old_room : 256, sizeof *larger);
        if (!larger) return -1;
        t->others = larger, t->others_room = old_room ? 2 * old_room : 256;
        for (size_t n = 0; n < old_room; n++)
            if (old[n].is_told) *other(t, old[n].code) = old[n];
        free(old);
    }
    letter *at = other(t, code);
    t->others_count += !at->is_told;
    *at = l;
    return 0;
}

/* The code of the letter at `text`, of which `left` bytes are left, and how many it takes: 0 where it is no UTF-8
 * (RFC 3629, section 4). */
static uint32_t code_at(const uint8_t *text, size_t left, size_t *size) {
    const uint8_t first = text[0];
    const size_t wanted = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = first & (0x7fu >> wanted);
    *size = 0;
    if (first < 0xc2 || first > 0xf4 || wanted > left) return 0;
    for (size_t n = 1; n < wanted; n++) {
        if ((text[n] & 0xc0) != 0x80) return 0;
        code = code << 6 | (text[n] & 0x3f);
    }
    if (code < (wanted == 2 ? 0x80u : wanted == 3 ? 0x800u : 0x10000u) || code > 0x10ffff) return 0;
    if (code >= 0xd800 && code < 0xe000) return 0;
    *size = wanted;
    return code;
}

static int room_for(letters *l, size_t bytes, size_t count) {
    l->bytes = reserved(l->bytes, &l->bytes_room, l->size + bytes + 1, 1);
    l->marks = reserved(l->marks, &l->room, l->count + count + 1, sizeof(mark));
    return l->bytes && l->marks ? 0 : -1;
}

static void put(letters *l, const char *bytes, size_t size, uint8_t kind) {
    l->marks[l->count++] = (mark){(uint32_t)l->size, kind};
    memcpy(l->bytes + l->size, bytes, size);
    l->size += size;
}

static void finish(letters *l) { l->marks[l->count].begin = (uint32_t)l->size; }

static const char *at(const letters *l, size_t n) { return l->bytes + l->marks[n].begin; }

static size_t between(const letters *l, size_t begin, size_t stop) { return l->marks[stop].begin - l->marks[begin].begin; }

static int prepare(terms *t, const uint8_t *text, size_t size, int *unread) {
    letters *p = &t->prepared;
    p->size = p->count = 0;
    for (size_t place = 0, width = 1; place < size; place += width, width = 1) {
        const letter *l = text[place] < 128 ? t->ascii + text[place] : NULL;
        if (!l) {
            const uint32_t code = code_at(text + place, size - place, &width);
            l = width && t->others_room ? other(t, code) : NULL;
        }
        if (!l || !l->is_told) return *unread = 1, 0;
        if (room_for(p, MOST_BYTES, MOST_LETTERS) < 0) return -1;
        for (size_t n = 0, begin = 0, stop; n < l->letters; n++, begin = stop) {
            for (stop = begin + 1; stop < l->bytes && (l->text[stop] & 0xc0) == 0x80;) stop++;
            put(p, l->text + begin, stop - begin, l->kinds[n]);
        }
    }
    if (room_for(p, 0, 0) < 0) return -1;
    finish(p);
    return 0;
}

static int meet(terms *t, const char *term, size_t size) {
    uint32_t column;
    int32_t step = 1;
    if (t->o.hashed) {
        const int32_t hash = (int32_t)murmur_hash(term, size);
        /* scikit-learn's rule where there is no absolute value */
        const uint32_t size_of_hash = hash == INT32_MIN ? (uint32_t)INT32_MAX - (t->o.width - 1) : (uint32_t)abs(hash);
        column = size_of_hash % t->o.width;
        if (t->o.alternating && hash < 0) step = -1;
    } else {
        const entry *e = look_up(&t->vocabulary, term, size);
        if (!e) return 0;
        column = e->column;
    }
    if (t->met_in[column] != t->text_number) {
        t->counted = reserved(t->counted, &t->counted_room, t->counted_count + 1, sizeof(counted_term));
        if (!t->counted) return -1;
        t->met_in[column] = t->text_number, t->tally[column] = 0;
        t->counted[t->counted_count++].column = column;
    }
    t->tally[column] += step;
    return 0;
}

/* Meets the terms of the letters [begin, end) of the text that is cut. Where they are a word's, a length that takes all
 * of them ends it, as in scikit-learn: short words count once. */
static int meet_letters(terms *t, size_t begin, size_t end, int is_word) {
    const letters *l = &t->cut;
    const size_t count = end - begin;
    for (size_t length = t->o.shortest; length <= t->o.longest; length++) {
        if (length > count && !is_word) break;
        for (size_t first = begin; first == begin || first + length <= end; first++) {
            const size_t last = first + length < end ? first + length : end;
            if (meet(t, at(l, first), between(l, first, last)) < 0) return -1;
        }
        if (is_word && length >= count) break;
    }
    return 0;
}

/* Makes one space of several white letters. */
static int cut_letters(terms *t) {
    const letters *p = &t->prepared;
    letters *c = &t->cut;
    c->size = c->count = 0;
    if (room_for(c, p->size, p->count) < 0) return -1;
    for (size_t n = 0, stop; n < p->count; n = stop) {
        for (stop = n + 1; p->marks[n].kind == WHITE && stop < p->count && p->marks[stop].kind == WHITE;) stop++;
        if (stop > n + 1)
            put(c, " ", 1, WHITE);
        else
            put(c, at(p, n), between(p, n, stop), p->marks[n].kind);
    }
    finish(c);
    return meet_letters(t, 0, c->count, 0);
}

/* Puts the words, which white letters part, one after the other with a space between them and at both ends. */
static int cut_letters_of_words(terms *t) {
    const letters *p = &t->prepared;
    letters *c = &t->cut;
    c->size = c->count = 0;
    if (room_for(c, p->size + 2, p->count + 2) < 0) return -1;
    put(c, " ", 1, WHITE);
    for (size_t n = 0; n < p->count; n++) {
        if (p->marks[n].kind != WHITE)
            put(c, at(p, n), between(p, n, n + 1), OTHER);
        else if (c->marks[c->count - 1].kind != WHITE)
            put(c, " ", 1, WHITE);
    }
    if (c->marks[c->count - 1].kind != WHITE) put(c, " ", 1, WHITE);
    finish(c);
    for (size_t begin = 0, stop; begin + 1 < c->count; begin = stop) {
        for (stop = begin + 1; c->marks[stop].kind != WHITE;) stop++;
        if (meet_letters(t, begin, stop + 1, 1) < 0) return -1;
    }
    return 0;
}

/* Puts the words that are not left out one after the other, with a space between them. */
static int cut_words(terms *t) {
    const letters *p = &t->prepared;
    letters *c = &t->cut;
    size_t count = 0;
    c->size = c->count = 0;
    if (room_for(c, p->size + p->count + 1, 0) < 0) return -1;
    for (size_t n = 0, stop; n < p->count; n = stop) {
        for (stop = n; stop < p->count && p->marks[stop].kind == PART_OF_WORD;) stop++;
        if (stop == n) {
            stop++;
            continue;
        }
        const char *word = at(p, n);
        const size_t size = between(p, n, stop);
        if (stop - n < t->o.least_letters || look_up(&t->left_out, word, size)) continue;
        if (t->o.longest == 1) {
            if (meet(t, word, size) < 0) return -1;
            continue;
        }
        t->words = reserved(t->words, &t->words_room, count + 1, sizeof(span));
        if (!t->words) return -1;
        if (count) c->bytes[c->size++] = ' ';
        memcpy(c->bytes + c->size, word, size);
        t->words[count++] = (span){(uint32_t)c->size, (uint32_t)(c->size + size)};
        c->size += size;
    }
    for (size_t length = t->o.shortest; length <= t->o.longest && length <= count; length++)
        for (size_t first = 0; first + length <= count; first++) {
            const uint32_t begin = t->words[first].begin;
            if (meet(t, c->bytes + begin, t->words[first + length - 1].end - begin) < 0) return -1;
        }
    return 0;
}

static int by_column(const void *a, const void *b) {
    const uint32_t left = ((const counted_term *)a)->column, right = ((const counted_term *)b)->column;
    return (left > right) - (left < right);
}

int terms_count(terms *t, const char *text, size_t size, int *unread) {
    *unread = size > LARGEST_TEXT;
    t->counted_count = 0;
    if (!++t->text_number) { /* after 2^32 texts their numbers begin again */
        memset(t->met_in, 0, sizeof *t->met_in * ((size_t)t->o.width + 1));
        t->text_number = 1;
    }
    if (*unread) return 0;
    if (prepare(t, (const uint8_t *)text, size, unread) < 0) return -1;
    if (*unread) return 0;
    const int failed = t->o.unit == WORDS     ? cut_words(t)
                       : t->o.unit == LETTERS ? cut_letters(t)
                                              : cut_letters_of_words(t);
    if (failed) return -1;
    if (t->counted_count) qsort(t->counted, t->counted_count, sizeof(counted_term), by_column);
    for (size_t n = 0; n < t->counted_count; n++) t->counted[n].value = t->tally[t->counted[n].column];
    return 0;
}

const counted_term *terms_counted(const terms *t, size_t *count) {
    *count = t->counted_count;
    return t->counted;
}
