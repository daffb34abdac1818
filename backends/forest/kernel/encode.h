/* From rows of float32 or float64 values to keys and codes. Part of every instruction set; needs `count_below16` and
 * `count_below16_wide`. */

/* The place of a value in the order of all float32 values; both zeros have one. */
static inline int32_t key_of(uint32_t bits) {
    if (bits == 0x80000000u) bits = 0;
    return (int32_t)(bits ^ ((uint32_t)((int32_t)bits >> 31) & 0x7fffffffu));
}

static inline int is_missing(uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

/* The same of float64 values. */
static inline int64_t wide_key_of(uint64_t bits) {
    if (bits == UINT64_C(1) << 63) bits = 0;
    return (int64_t)(bits ^ ((uint64_t)((int64_t)bits >> 63) & INT64_MAX));
}

static inline int is_wide_missing(uint64_t bits) { return (bits & INT64_MAX) > UINT64_C(0x7ff0000000000000); }

/* The key of a category: libraries look up whole numbers only. */
static int32_t category_key(const forest *f, const key_column *column, double value) {
    const int32_t unknown = (int32_t)column->count;
    if (value != value) return unknown + 1;
    if (f->truncated_categories && value > -1 && value < 0) value = 0;
    /* XGBoost takes no category that float32 does not tell from the next; the others take what fits 32 bits. */
    if (value < 0 || value > (f->truncated_categories ? 4294967040.0 : 16777216.0)) return unknown;
    const uint32_t wanted = (uint32_t)value, *known = f->categories + column->begin;
    uint32_t low = 0, high = column->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (known[middle] < wanted) low = middle + 1; else high = middle;
    }
    return low < column->count && known[low] == wanted ? (int32_t)low : unknown;
}

static void encode_keys(const forest *f, const float *row, int32_t *keys) {
    static const int32_t missing[] = {[MISSING_LEFT] = INT32_MIN, [MISSING_RIGHT] = INT32_MAX, [MISSING_ZERO] = 0};
    const key_column *column = f->key_columns + 1, *end = f->key_columns + f->key_columns_count;
    *keys++ = INT32_MIN;
    for (; column < end && column->kind != CATEGORY; column++) {
        uint32_t bits;
        memcpy(&bits, row + column->feature, sizeof bits);
        *keys++ = is_missing(bits) ? missing[column->kind] : key_of(bits);
    }
    for (; column < end; column++) *keys++ = category_key(f, column, row[column->feature]);
}

/* How many of the feature's bounds are below `key`. */
static inline uint32_t rank_of(const forest *f, const rank_feature *feature, int32_t key) {
    const int32_t *level = (const int32_t *)f->bounds + feature->bounds;
    uint32_t place = 0, size = 16;
    for (uint32_t n = 0; n < feature->search_levels; n++) {
        place = place * 16 + count_below16(level + place * 16, key);
        level += size;
        size *= 16;
    }
    return place;
}

static inline uint32_t wide_rank_of(const forest *f, const rank_feature *feature, int64_t key) {
    const int64_t *level = (const int64_t *)f->bounds + feature->bounds;
    uint32_t place = 0, size = 16;
    for (uint32_t n = 0; n < feature->search_levels; n++) {
        place = place * 16 + count_below16_wide(level + place * 16, key);
        level += size;
        size *= 16;
    }
    return place;
}

#define MISSING_RANK (-1)

/* The ranks of a row's float64 values. */
static void encode_ranks(const forest *f, const double *row, int32_t *ranks) {
    for (uint32_t n = 0; n < f->rank_features_count; n++) {
        const rank_feature *feature = f->rank_features + n;
        uint64_t bits;
        memcpy(&bits, row + feature->feature, sizeof bits);
        if (is_wide_missing(bits)) {
            if (!feature->missing_zero) {
                ranks[n] = MISSING_RANK;
                continue;
            }
            bits = 0;
        }
        ranks[n] = (int32_t)wide_rank_of(f, feature, wide_key_of(bits));
    }
}

static void keys_of_ranks(const forest *f, const double *row, const int32_t *ranks, int32_t *keys) {
    const key_column *column = f->key_columns + 1, *end = f->key_columns + f->key_columns_count;
    *keys++ = INT32_MIN;
    for (; column < end && column->kind != CATEGORY; column++) {
        const int32_t rank = ranks[column->begin];
        *keys++ = rank != MISSING_RANK ? rank : column->kind == MISSING_RIGHT ? INT32_MAX : INT32_MIN;
    }
    for (; column < end; column++) *keys++ = category_key(f, column, row[column->feature]);
}

static inline int in_set(const uint32_t *bits, uint32_t place) { return bits[place >> 5] >> (place & 31) & 1; }

/* The codes of a feature's value. */
static inline void codes_of_rank(const forest *f, const rank_feature *feature, uint32_t rank, int missing, uint8_t *codes) {
    for (uint32_t c = feature->columns_begin; c < feature->columns_end; c++) {
        const rank_column *rc = f->rank_columns + c;
        const uint32_t above = rank > rc->base ? rank - rc->base : 0;
        codes[c] = missing ? (rc->missing_right ? 255 : 0) : (uint8_t)(above < 255 ? above : 255);
    }
}

static void encode_codes(const forest *f, const float *row, uint8_t *codes) {
    for (uint32_t n = 0; n < f->rank_features_count; n++) {
        const rank_feature *feature = f->rank_features + n;
        uint32_t bits;
        memcpy(&bits, row + feature->feature, sizeof bits);
        if (feature->missing_zero && is_missing(bits)) bits = 0;
        const int missing = is_missing(bits);
        codes_of_rank(f, feature, missing ? 0 : rank_of(f, feature, key_of(bits)), missing, codes);
    }
}

static void codes_of_ranks(const forest *f, const int32_t *ranks, uint8_t *codes) {
    for (uint32_t n = 0; n < f->rank_features_count; n++) {
        const int missing = ranks[n] == MISSING_RANK;
        codes_of_rank(f, f->rank_features + n, missing ? 0 : (uint32_t)ranks[n], missing, codes);
    }
}

/* The codes of a block by column, from those by row: 8 by 8 bytes at a time, halves exchanged in three steps (Warren,
 * Hacker's Delight, section 7-3, with bytes for bits). */
static void turn_codes(const uint8_t *rows, size_t stride, size_t columns, uint8_t *to) {
    for (size_t c = 0; c < columns; c += 8) {
        const size_t count = columns - c < 8 ? columns - c : 8;
        for (size_t r = 0; r < BLOCK; r += 8) {
            uint64_t x[8];
            UNROLL for (int k = 0; k < 8; k++) memcpy(&x[k], rows + (r + (size_t)k) * stride + c, 8);
#define EXCHANGE(a, b, bits, mask) { const uint64_t t = ((x[a] >> (bits)) ^ x[b]) & (mask); x[b] ^= t; x[a] ^= t << (bits); }
            UNROLL for (int k = 0; k < 8; k += 2) EXCHANGE(k, k + 1, 8, UINT64_C(0x00ff00ff00ff00ff))
            UNROLL for (int k = 0; k < 8; k++) if (!(k & 2)) EXCHANGE(k, k + 2, 16, UINT64_C(0x0000ffff0000ffff))
            UNROLL for (int k = 0; k < 4; k++) EXCHANGE(k, k + 4, 32, UINT64_C(0x00000000ffffffff))
#undef EXCHANGE
            for (size_t k = 0; k < count; k++) memcpy(to + (c + k) * BLOCK + r, &x[k], 8);
        }
    }
}

static void encode(const forest *f, workspace *w, const void *rows, uint32_t count, int in_blocks) {
    const int keys_needed = f->complete_count < f->trees_count; /* also by all that tests categories */
    const int codes_needed = in_blocks || f->complete_count > 0;
    for (uint32_t r = 0; r < count; r++) {
        const void *row = (const char *)rows + (size_t)r * row_bytes(f);
        int32_t *keys = w->keys + (size_t)r * f->key_columns_count;
        uint8_t *codes = w->row_codes + (size_t)r * w->code_stride;
        if (f->wide_values) {
            encode_ranks(f, row, w->ranks);
            if (keys_needed) keys_of_ranks(f, row, w->ranks, keys);
            if (codes_needed) codes_of_ranks(f, w->ranks, codes);
        } else {
            if (keys_needed) encode_keys(f, row, keys);
            if (codes_needed) encode_codes(f, row, codes);
        }
        for (uint32_t n = 0; codes_needed && n < f->category_columns_count; n++)
            codes[f->rank_columns_count + n] = (uint8_t)keys[f->category_columns[n].key];
    }
    for (uint32_t r = 0; in_blocks && r < count; r += BLOCK)
        turn_codes(w->row_codes + (size_t)r * w->code_stride, w->code_stride, code_columns(f),
                   w->block_codes + r / BLOCK * w->block_stride);
}
