/* Finds and counts terms: prepares a text letter by letter, cuts it into words or letters, and looks each term up. */
#include "terms.h"

#include "table.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST_TEXT (1u << 27) /* bytes; prepared it is at most 16 times as long, which 32 bits can count */

typedef struct {
    uint32_t code;
    uint8_t is_told, bytes, letters, kinds[MAX_LETTERS];
    char text[MAX_BYTES];
} letter;

/* A text as letters: letter n is the bytes from marks[n].begin to marks[n + 1].begin. */
typedef struct { uint32_t begin; uint8_t kind; } mark;
typedef struct { char *bytes; mark *marks; size_t size, count, bytes_room, room; } letters;

typedef struct { uint32_t begin, end; } span;

/* Columns that a text has: a bit each, and a bit for each 64 columns, so that they are found in their order. */
typedef struct { uint64_t *bits, *groups; size_t groups_count; } columns_met;

struct terms {
    term_options o;
    table vocabulary, left_out;
    letter ascii[128];
    letter *others; /* by open addressing, a power of two */
    size_t others_count, others_room;
    letters prepared, cut;
    span *words;
    size_t words_room;
    int32_t *tally; /* of each column that was met; 0 elsewhere */
    columns_met met;
    counted_term *counted;
    size_t counted_count, counted_room, met_count;
};

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

terms *terms_new(const term_options *options) {
    terms *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->o = *options;
    const size_t words = options->width / 64 + 1;
    t->met.groups_count = words / 64 + 1;
    t->tally = calloc(options->width, sizeof *t->tally);
    t->met.bits = calloc(words, sizeof *t->met.bits);
    t->met.groups = calloc(t->met.groups_count, sizeof *t->met.groups);
    if (t->tally && t->met.bits && t->met.groups) return t;
    terms_free(t);
    return NULL;
}

void terms_free(terms *t) {
    if (!t) return;
    table_clear(&t->vocabulary), table_clear(&t->left_out);
    free(t->others), free(t->words), free(t->tally), free(t->met.bits), free(t->met.groups), free(t->counted);
    free(t->prepared.bytes), free(t->prepared.marks), free(t->cut.bytes), free(t->cut.marks);
    free(t);
}

int terms_add(terms *t, const char *term, size_t size, uint32_t column) {
    return table_add(&t->vocabulary, term, size, column);
}

int terms_leave_out(terms *t, const char *word, size_t size) { return table_add(&t->left_out, word, size, 0); }

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
    if (size == 1)
        l->bytes[l->size] = *bytes; /* most are, and memcpy is called */
    else
        memcpy(l->bytes + l->size, bytes, size);
    l->size += size;
}

static void finish(letters *l) { l->marks[l->count].begin = (uint32_t)l->size; }

static const char *at(const letters *l, size_t n) { return l->bytes + l->marks[n].begin; }

static size_t between(const letters *l, size_t begin, size_t stop) { return l->marks[stop].begin - l->marks[begin].begin; }

/* Prepares the letters of ASCII at the beginning of `text` that become one such letter; gives how many. There is room
 * for them. The numbers are local: what bytes are written to might be the structure's own, so it would be read again. */
static size_t prepare_plain(const terms *t, letters *p, const uint8_t *text, size_t size) {
    char *bytes = p->bytes + p->size;
    mark *marks = p->marks + p->count;
    const uint32_t begin = (uint32_t)p->size;
    size_t n = 0;
    for (; n < size && text[n] < 128; n++) {
        const letter *l = t->ascii + text[n];
        if (!l->is_told || l->letters != 1 || l->bytes != 1) break;
        bytes[n] = l->text[0];
        marks[n] = (mark){begin + (uint32_t)n, l->kinds[0]};
    }
    p->size += n, p->count += n;
    return n;
}

static int prepare(terms *t, const uint8_t *text, size_t size, int *unread) {
    letters *p = &t->prepared;
    p->size = p->count = 0;
    if (room_for(p, size, size) < 0) return -1;
    for (size_t place = 0, width = 1;; place += width, width = 1) {
        place += prepare_plain(t, p, text + place, size - place);
        if (place == size) break;
        const letter *l = text[place] < 128 ? t->ascii + text[place] : NULL;
        if (!l) {
            const uint32_t code = code_at(text + place, size - place, &width);
            l = width && t->others_room ? other(t, code) : NULL;
        }
        if (!l || !l->is_told) return *unread = 1, 0;
        if (room_for(p, size - place + MAX_BYTES, size - place + MAX_LETTERS) < 0) return -1;
        for (size_t n = 0, begin = 0, stop; n < l->letters; n++, begin = stop) {
            for (stop = begin + 1; stop < l->bytes && (l->text[stop] & 0xc0) == 0x80;) stop++;
            put(p, l->text + begin, stop - begin, l->kinds[n]);
        }
    }
    finish(p);
    return 0;
}

static void meet_column(terms *t, uint32_t column, int32_t step) {
    const size_t word = column / 64;
    const uint64_t bit = 1ull << column % 64;
    t->met_count += !(t->met.bits[word] & bit);
    t->met.bits[word] |= bit, t->met.groups[word / 64] |= 1ull << word % 64;
    t->tally[column] += step;
}

/* The hash that the vocabulary is asked by; of no use where terms are hashed into columns. */
static uint64_t hash_further(const terms *t, uint64_t hash, const char *bytes, size_t size) {
    return t->o.hashed ? 0 : hash_on(hash, bytes, size);
}

/* Meets a term of which the hash has gone through all bytes. */
static void meet(terms *t, const char *term, size_t size, uint64_t hash) {
    if (!t->o.hashed) {
        const table_entry *e = table_at(&t->vocabulary, hash_end(hash), term, size);
        if (e) meet_column(t, (uint32_t)e->number, 1);
        return;
    }
    const int32_t number = (int32_t)murmur_hash(term, size);
    /* scikit-learn's rule where there is no absolute value */
    const uint32_t positive = number == INT32_MIN ? (uint32_t)INT32_MAX - (t->o.width - 1) : (uint32_t)abs(number);
    meet_column(t, positive % t->o.width, t->o.alternating && number < 0 ? -1 : 1);
}

/* Meets the terms of the letters [begin, end) of the text that is cut. Where they are a word's, those that are longer are
 * the word itself, once, as in scikit-learn. */
static void meet_letters(terms *t, size_t begin, size_t end, int is_word) {
    const letters *l = &t->cut;
    const size_t count = end - begin;
    if (is_word && count <= t->o.shortest) {
        meet(t, at(l, begin), between(l, begin, end), hash_further(t, HASH_BEGIN, at(l, begin), between(l, begin, end)));
        return;
    }
    for (size_t first = begin; first < end; first++) {
        uint64_t hash = HASH_BEGIN;
        for (size_t last = first; last < end && last - first < t->o.longest; last++) {
            hash = hash_on(hash, at(l, last), between(l, last, last + 1));
            if (last + 1 - first >= t->o.shortest) meet(t, at(l, first), between(l, first, last + 1), hash);
        }
    }
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
    meet_letters(t, 0, c->count, 0);
    return 0;
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
        meet_letters(t, begin, stop + 1, 1);
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
        if (stop - n < t->o.least_letters || table_look_up(&t->left_out, word, size)) continue;
        if (t->o.longest == 1) {
            meet(t, word, size, hash_further(t, HASH_BEGIN, word, size));
            continue;
        }
        t->words = reserved(t->words, &t->words_room, count + 1, sizeof(span));
        if (!t->words) return -1;
        if (count) c->bytes[c->size++] = ' ';
        memcpy(c->bytes + c->size, word, size);
        t->words[count++] = (span){(uint32_t)c->size, (uint32_t)(c->size + size)};
        c->size += size;
    }
    for (size_t first = 0; first < count; first++) {
        const uint32_t begin = t->words[first].begin;
        uint64_t hash = HASH_BEGIN;
        for (size_t last = first, gone = begin; last < count && last - first < t->o.longest; last++) {
            hash = hash_further(t, hash, c->bytes + gone, t->words[last].end - gone);
            gone = t->words[last].end;
            if (last + 1 - first >= t->o.shortest) meet(t, c->bytes + begin, gone - begin, hash);
        }
    }
    return 0;
}

/* Takes the counts of the columns that were met, in their order, and leaves none behind. */
static int collect(terms *t) {
    t->counted = reserved(t->counted, &t->counted_room, t->met_count + 1, sizeof(counted_term));
    for (size_t group = 0; group < t->met.groups_count; group++)
        for (; t->met.groups[group]; t->met.groups[group] &= t->met.groups[group] - 1) {
            const size_t word = 64 * group + (size_t)__builtin_ctzll(t->met.groups[group]);
            for (; t->met.bits[word]; t->met.bits[word] &= t->met.bits[word] - 1) {
                const uint32_t column = (uint32_t)(64 * word + (size_t)__builtin_ctzll(t->met.bits[word]));
                if (t->counted) t->counted[t->counted_count++] = (counted_term){column, t->tally[column]};
                t->tally[column] = 0;
            }
        }
    t->met_count = 0;
    return t->counted ? 0 : -1;
}

int terms_count(terms *t, const char *text, size_t size, int *unread) {
    *unread = size > LARGEST_TEXT;
    t->counted_count = 0;
    if (*unread) return 0;
    if (prepare(t, (const uint8_t *)text, size, unread) < 0) return -1;
    if (*unread) return 0;
    const int failed = t->o.unit == WORDS     ? cut_words(t)
                       : t->o.unit == LETTERS ? cut_letters(t)
                                              : cut_letters_of_words(t);
    return collect(t) < 0 || failed ? -1 : 0;
}

const counted_term *terms_counted(const terms *t, size_t *count) {
    *count = t->counted_count;
    return t->counted;
}
