/* Places of a block's rows as bytes in memory: for instruction sets without look-up in registers. */

typedef struct { uint8_t of[BLOCK]; } places;

/* Bit r of plane `level` becomes a bit of byte r; the first plane the highest. Eight rows at a time, as a matrix of 8 by 8
 * bits is turned (Warren, Hacker's Delight, section 7-3). */
ALWAYS_INLINE places places_of(const uint64_t *planes, int levels) {
    places p;
    for (int byte = 0; byte < 8; byte++) {
        uint64_t x = 0;
        UNROLL for (int level = 0; level < levels; level++)
            x |= (planes[level] >> (8 * byte) & 0xff) << (8 * (levels - 1 - level));
        uint64_t t = (x ^ (x >> 7)) & UINT64_C(0x00aa00aa00aa00aa);
        x ^= t ^ (t << 7);
        t = (x ^ (x >> 14)) & UINT64_C(0x0000cccc0000cccc);
        x ^= t ^ (t << 14);
        t = (x ^ (x >> 28)) & UINT64_C(0x00000000f0f0f0f0);
        x ^= t ^ (t << 28);
        for (int r = 0; r < 8; r++) p.of[8 * byte + r] = (uint8_t)(x >> (8 * r));
    }
    return p;
}

static inline void places_store(const places *p, uint8_t *to) { memcpy(to, p->of, BLOCK); }

/* From level `level` of the heap of `t` to its last, each row by itself. */
static inline void take_own_ways(const forest *f, const workspace *w, uint32_t row, const tree *t, int level, places *p) {
    const uint8_t *low = f->heap_low + t->heap, *bounds = f->heap_bounds + t->heap;
    const uint8_t *high = f->heap_high ? f->heap_high + t->heap : NULL;
    const int levels = t->levels;
    for (int begin = 0; begin < BLOCK; begin += 16) {
        const uint8_t *codes = w->row_codes + (size_t)(row + (uint32_t)begin) * w->code_stride;
        const size_t stride = w->code_stride;
        uint32_t at[16];
        for (int k = 0; k < 16; k++) at[k] = p->of[begin + k] + (1u << level);
        if (high)
            for (int n = level; n < levels; n++)
                UNROLL for (int k = 0; k < 16; k++) {
                    const uint32_t column = low[at[k]] | (uint32_t)high[at[k]] << 8;
                    at[k] = 2 * at[k] + (bounds[at[k]] < codes[(size_t)k * stride + column]);
                }
        else
            for (int n = level; n < levels; n++)
                UNROLL for (int k = 0; k < 16; k++)
                    at[k] = 2 * at[k] + (bounds[at[k]] < codes[(size_t)k * stride + low[at[k]]]);
        for (int k = 0; k < 16; k++) p->of[begin + k] = (uint8_t)(at[k] - (1u << levels));
    }
}

/* Compilers make vectors of these loops, but for the first. */
static places places_by_folding(const forest *f, const fold *o, uint8_t *codes, uint8_t *slots) {
    for (uint32_t n = 0; n < o->sets_count; n++) {
        const fold_set set = f->fold_sets[o->sets + n];
        const uint8_t *code = codes + (size_t)set.column * BLOCK, *bits = (const uint8_t *)f->bits + set.byte;
        uint8_t *to = codes + (size_t)(code_columns(f) + n) * BLOCK;
        for (int r = 0; r < BLOCK; r++) to[r] = bits[code[r] >> 3] >> (code[r] & 7) & 1;
    }
    uint8_t *slot = slots, leaf = 0;
    for (int n = 0; n < o->singles; n++, slot += BLOCK) memset(slot, leaf++, BLOCK);
    for (int n = 0; n < o->pairs_count; n++, slot += BLOCK, leaf += 2) {
        const fold_pair pair = f->fold_pairs[o->pairs + (uint32_t)n];
        const uint8_t *restrict code = codes + (size_t)pair.column * BLOCK;
        uint8_t *restrict to = slot;
        for (int r = 0; r < BLOCK; r++) to[r] = (uint8_t)(leaf + (code[r] > pair.bound));
    }
    for (int n = 0; n < o->joins_count; n++) {
        const fold_join join = f->fold_joins[o->joins + (uint32_t)n];
        const uint8_t *restrict code = codes + (size_t)join.column * BLOCK;
        uint8_t *restrict left = slots + (size_t)join.left * BLOCK;
        const uint8_t *restrict right = slots + (size_t)join.right * BLOCK;
        for (int r = 0; r < BLOCK; r++) {
            const uint8_t taken = (uint8_t)-(code[r] > join.bound); /* all bits or none: no branch to keep from vectors */
            left[r] ^= (uint8_t)((left[r] ^ right[r]) & taken);
        }
    }
    places p;
    memcpy(p.of, slots + (size_t)o->root * BLOCK, BLOCK);
    return p;
}

static inline void add_looked_up(const float *values, int entries, const places *p, float *partial) {
    (void)entries;
    for (int r = 0; r < BLOCK; r++) partial[r] += values[p->of[r]];
}
