/* AVX-512 with VBMI: masks of 64 rows in one comparison, and look-up of bytes in registers. */

typedef __m512i places;

#define MASK_LEVELS 5

static inline uint32_t count_below16(const int32_t *sorted, int32_t key) {
    return (uint32_t)_mm_popcnt_u32(_mm512_cmplt_epi32_mask(_mm512_loadu_si512(sorted), _mm512_set1_epi32(key)));
}

static inline uint32_t count_below16_wide(const int64_t *sorted, int64_t key) {
    const __m512i k = _mm512_set1_epi64(key);
    const uint32_t lower = _mm512_cmplt_epi64_mask(_mm512_loadu_si512(sorted), k);
    return (uint32_t)_mm_popcnt_u32(lower | (uint32_t)_mm512_cmplt_epi64_mask(_mm512_loadu_si512(sorted + 8), k) << 8);
}

ALWAYS_INLINE uint64_t mask_above(const uint8_t *codes, uint8_t bound) {
    return _mm512_cmpgt_epu8_mask(_mm512_load_si512(codes), _mm512_set1_epi8((char)bound));
}

/* One level further down: twice the place, and one more where the mask is set. */
ALWAYS_INLINE places one_further(places p, uint64_t right) {
    const places doubled = _mm512_add_epi8(p, p);
    return _mm512_mask_add_epi8(doubled, right, doubled, _mm512_set1_epi8(1));
}

ALWAYS_INLINE places places_of(const uint64_t *planes, int levels) {
    places p = _mm512_setzero_si512();
    UNROLL for (int level = 0; level < levels; level++) p = one_further(p, planes[level]);
    return p;
}

static inline void places_store(const places *p, uint8_t *to) { _mm512_storeu_si512(to, *p); }

/* The entries of a table of up to 128 bytes at the places. */
ALWAYS_INLINE __m512i at_places(const uint8_t *table, int entries, places p) {
    if (entries <= 64) return _mm512_permutexvar_epi8(p, _mm512_loadu_si512(table));
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(table), p, _mm512_loadu_si512(table + 64));
}

#define QUARTER(x, n) _mm512_extracti32x4_epi32(x, n)

/* Which rows' codes are above `bounds`, each in its own of up to 256 columns. Stores of 16 bytes can be read byte by byte at
 * once, one of 64 cannot. */
ALWAYS_INLINE uint64_t above_in_columns(const uint8_t *codes, size_t stride, __m512i columns, __m512i bounds) {
    uint8_t column[BLOCK] __attribute__((aligned(64)));
    __m128i quarters[4];
    _mm_store_si128((__m128i *)column, QUARTER(columns, 0));
    _mm_store_si128((__m128i *)(column + 16), QUARTER(columns, 1));
    _mm_store_si128((__m128i *)(column + 32), QUARTER(columns, 2));
    _mm_store_si128((__m128i *)(column + 48), QUARTER(columns, 3));
    __asm__ volatile("" ::: "memory"); /* keeps the four stores apart */
    UNROLL for (int q = 0; q < 4; q++) {
        const uint8_t *c = column + 16 * q, *of = codes + 16 * (size_t)q * stride;
        __m128i v = _mm_cvtsi32_si128(of[c[0]]);
#define INSERT(k) v = _mm_insert_epi8(v, of[(k) * stride + c[k]], k);
        INSERT(1) INSERT(2) INSERT(3) INSERT(4) INSERT(5) INSERT(6) INSERT(7) INSERT(8)
        INSERT(9) INSERT(10) INSERT(11) INSERT(12) INSERT(13) INSERT(14) INSERT(15)
#undef INSERT
        quarters[q] = v;
    }
    const __m256i lower = _mm256_set_m128i(quarters[1], quarters[0]), upper = _mm256_set_m128i(quarters[3], quarters[2]);
    return _mm512_cmpgt_epu8_mask(_mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1), bounds);
}

/* The same for 16 rows and any number of columns. Reads four bytes at each place, so codes end in room for three more. */
ALWAYS_INLINE uint64_t above_in_wide_columns(const uint8_t *codes, size_t stride, __m128i low, __m128i high, __m128i bounds) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i column = _mm512_or_si512(_mm512_cvtepu8_epi32(low), _mm512_slli_epi32(_mm512_cvtepu8_epi32(high), 8));
    const __m512i at = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32((int)stride)), column);
    const __m512i code = _mm512_and_si512(_mm512_i32gather_epi32(at, codes, 1), _mm512_set1_epi32(255));
    return _mm512_cmpgt_epi32_mask(code, _mm512_cvtepu8_epi32(bounds));
}

static inline void take_own_ways(const forest *f, const workspace *w, uint32_t row, const tree *t, int level, places *p) {
    const uint8_t *codes = w->row_codes + (size_t)row * w->code_stride;
    const size_t stride = w->code_stride;
    for (; level < t->levels; level++) {
        const size_t begin = t->heap + ((size_t)1 << level);
        const __m512i bounds = at_places(f->heap_bounds + begin, 1 << level, *p);
        const __m512i low = at_places(f->heap_low + begin, 1 << level, *p);
        if (!f->heap_high) {
            *p = one_further(*p, above_in_columns(codes, stride, low, bounds));
            continue;
        }
        const __m512i high = at_places(f->heap_high + begin, 1 << level, *p);
        uint64_t right = 0;
#define SIXTEEN(q) right |= above_in_wide_columns(codes + 16 * (q) * stride, stride, QUARTER(low, q), QUARTER(high, q), \
                                                  QUARTER(bounds, q)) << (16 * (q));
        SIXTEEN(0) SIXTEEN(1) SIXTEEN(2) SIXTEEN(3)
#undef SIXTEEN
        *p = one_further(*p, right);
    }
}

/* Which rows' categories, as codes, are in the set that begins at `bits`: a byte of it from a register, and a bit of that. */
ALWAYS_INLINE uint64_t mask_in_set(const uint8_t *codes, const uint8_t *bits) {
    const __m512i code = _mm512_load_si512(codes), lowest = _mm512_set1_epi8(7);
    const __m512i byte = _mm512_and_si512(_mm512_srli_epi16(code, 3), _mm512_set1_epi8(31));
    const __m512i powers = _mm512_set1_epi64((long long)0x8040201008040201);
    const __m512i bit = _mm512_shuffle_epi8(powers, _mm512_and_si512(code, lowest));
    return _mm512_test_epi8_mask(_mm512_permutexvar_epi8(byte, _mm512_loadu_si512(bits)), bit);
}

static places places_by_folding(const forest *f, const fold *o, uint8_t *codes, uint8_t *slots) {
    const __m512i one = _mm512_set1_epi8(1), two = _mm512_set1_epi8(2);
    for (uint32_t n = 0; n < o->sets_count; n++) {
        const fold_set set = f->fold_sets[o->sets + n];
        const uint64_t in = mask_in_set(codes + (size_t)set.column * BLOCK, (const uint8_t *)f->bits + set.byte);
        _mm512_store_si512(codes + (size_t)(code_columns(f) + n) * BLOCK, _mm512_maskz_mov_epi8(in, one));
    }
    __m512i leaf = _mm512_setzero_si512();
    uint8_t *slot = slots;
    for (int n = 0; n < o->singles; n++, slot += BLOCK) {
        _mm512_store_si512(slot, leaf);
        leaf = _mm512_add_epi8(leaf, one);
    }
    const fold_pair *pair = f->fold_pairs + o->pairs;
    for (int n = 0; n < o->pairs_count; n++, slot += BLOCK, pair++) {
        const uint64_t right = mask_above(codes + (size_t)pair->column * BLOCK, pair->bound);
        _mm512_store_si512(slot, _mm512_mask_add_epi8(leaf, right, leaf, one));
        leaf = _mm512_add_epi8(leaf, two);
    }
    const fold_join *join = f->fold_joins + o->joins;
    for (int n = 0; n < o->joins_count; n++, join++) {
        const uint64_t right = mask_above(codes + (size_t)join->column * BLOCK, join->bound);
        uint8_t *left = slots + (size_t)join->left * BLOCK;
        const __m512i other = _mm512_load_si512(slots + (size_t)join->right * BLOCK);
        _mm512_store_si512(left, _mm512_mask_blend_epi8(right, _mm512_load_si512(left), other));
    }
    return _mm512_load_si512(slots + (size_t)o->root * BLOCK);
}

/* Entries of tables of up to 32 floats are looked up in two registers, of larger ones gathered. */
ALWAYS_INLINE __m512 float_at(const float *values, int entries, __m512i at) {
    if (entries <= 32) return _mm512_permutex2var_ps(_mm512_loadu_ps(values), at, _mm512_loadu_ps(values + 16));
    if (entries <= 64) {
        const __m512 first = _mm512_permutex2var_ps(_mm512_loadu_ps(values), at, _mm512_loadu_ps(values + 16));
        const __m512 second = _mm512_permutex2var_ps(_mm512_loadu_ps(values + 32), at, _mm512_loadu_ps(values + 48));
        return _mm512_mask_mov_ps(first, _mm512_test_epi32_mask(at, _mm512_set1_epi32(32)), second);
    }
    return _mm512_i32gather_ps(at, values, 4);
}

static inline void add_looked_up(const float *values, int entries, const places *p, float *partial) {
#define SIXTEEN(q) _mm512_storeu_ps(partial + 16 * (q), _mm512_add_ps(_mm512_loadu_ps(partial + 16 * (q)), \
                                    float_at(values, entries, _mm512_cvtepu8_epi32(QUARTER(*p, q)))));
    SIXTEEN(0) SIXTEEN(1) SIXTEEN(2) SIXTEEN(3)
#undef SIXTEEN
}
