/* Counts the terms of texts that a vocabulary has, as scikit-learn's vectorizers do it: words or letters, each alone and
 * with those beside it. It knows no letter by itself: it is told what each becomes when a text is prepared (lower case,
 * accents) and of what kind that is. A text with a letter that it was not told of is left to its caller.
 */
#include <stddef.h>
#include <stdint.h>

enum unit { WORDS, LETTERS, LETTERS_OF_WORDS };
enum letter_kind { OTHER, PART_OF_WORD, WHITE };

#define MAX_LETTERS 4 /* that one letter becomes: enough for all but some ligatures of Arabic */
#define MAX_BYTES 16  /* of these as UTF-8 */

typedef struct {
    enum unit unit;
    uint32_t least_letters; /* of a word */
    uint32_t shortest, longest; /* terms, in words or letters */
    uint32_t width; /* columns */
    int hashed; /* columns are the hash of a term, and `alternating` counts half of them down */
    int alternating;
} term_options;

typedef struct { uint32_t column; int32_t value; } counted_term;
typedef struct terms terms;

/* NULL where there is no memory. The others give 0, or -1 where there is none. */
terms *terms_new(const term_options *options);
void terms_free(terms *t);
int terms_add(terms *t, const char *term, size_t size, uint32_t column);
int terms_leave_out(terms *t, const char *word, size_t size);
int terms_learn(terms *t, uint32_t letter, const char *becomes, size_t size, const uint8_t *kinds, size_t count);

/* Counts the terms of one text; *unread is set where it has a letter that was not told, or is no UTF-8. */
int terms_count(terms *t, const char *text, size_t size, int *unread);

/* Gives what was counted last, by rising columns. */
const counted_term *terms_counted(const terms *t, size_t *count);

/* MurmurHash3 of 32 bits with the seed 0 (Appleby, 2011), as scikit-learn hashes terms. */
uint32_t murmur_hash(const char *bytes, size_t size);
