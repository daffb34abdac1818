/* From rows of float32 values to keys and codes. Part of every instruction set; needs `count_below16`. */

/* The place of a value in the order of all float32 values; both zeros have one. */
static inline int32_t key_of(uint32_t bits) {
    if (bits == 0x80000000u) bits = 0;
    return (int32_t)(bits ^ ((uint32_t)((int32_t)bits >> 31) & 0x7fffffffu));
}

static inline int is_missing(uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

/* The key of a category: libraries look up whole numbers only. */
static int32_t category_key(const forest *f, const key_column *column, float value) {
    const int32_t unknown = (int32_t)column->categories_count;
    if (value != value) return unknown + 1;
    if (f->truncated_categories && value > -1 && value < 0) value = 0;
    if (value < 0 || value > 16777216.0f) return unknown;
    const uint32_t wanted = (uint32_t)value, *known = f->categories + column->categories_begin;
    uint32_t low = 0, high = column->categories_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (known[middle] < wanted) low = middle + 1; else high = middle;
    }
    return low < column->categories_count && known[low] == wanted ? (int32_t)low : unknown;
}

static void encode_keys(const forest *f, const float *row, int32_t *keys) {
    const uint32_t count = f->key_columns_count;
    keys[0] = INT32_MIN;
    for (uint32_t c = 1; c < count; c++) {
        const key_column *column = f->key_columns + c;
        uint32_t bits;
        if (column->kind == CATEGORY) {
            keys[c] = category_key(f, column, row[column->feature]);
            continue;
        }
        memcpy(&bits, row + column->feature, sizeof bits);
        const int32_t missing = column->kind == MISSING_LEFT ? INT32_MIN : INT32_MAX;
        keys[c] = is_missing(bits) ? missing : key_of(bits);
    }
}

/* How many of the feature's bounds are below `key`. */
static inline uint32_t rank_of(const forest *f, const rank_feature *feature, int32_t key) {
    const int32_t *level = f->bounds + feature->bounds;
    uint32_t place = 0, size = 16;
    for (uint32_t n = 0; n < feature->search_levels; n++) {
        place = place * 16 + count_below16(level + place * 16, key);
        level += size;
        size *= 16;
    }
    return place;
}

static inline int in_set(const uint32_t *bits, uint32_t place) { return bits[place >> 5] >> (place & 31) & 1; }

/* Codes of one row: at `codes` side by side, and for a block at `column`, BLOCK bytes apart, unless that is NULL. */
static inline void encode_codes(const forest *f, const float *row, const int32_t *keys, uint8_t *codes, uint8_t *column) {
    for (uint32_t n = 0; n < f->rank_features_count; n++) {
        const rank_feature *feature = f->rank_features + n;
        uint32_t bits;
        memcpy(&bits, row + feature->feature, sizeof bits);
        const int missing = is_missing(bits);
        const uint32_t rank = missing ? 0 : rank_of(f, feature, key_of(bits));
        for (uint32_t c = feature->columns_begin; c < feature->columns_end; c++) {
            const rank_column *rc = f->rank_columns + c;
            const uint32_t above = rank > rc->base ? rank - rc->base : 0;
            const uint8_t code = missing ? (rc->missing_right ? 255 : 0) : (uint8_t)(above < 255 ? above : 255);
            codes[c] = code;
            if (column) column[(size_t)c * BLOCK] = code;
        }
    }
    for (uint32_t n = 0; n < f->set_columns_count; n++) {
        const set_column *set = f->set_columns + n;
        const uint32_t c = f->rank_columns_count + n;
        codes[c] = (uint8_t)in_set(f->bits, set->bits + (uint32_t)keys[set->key]);
        if (column) column[(size_t)c * BLOCK] = codes[c];
    }
}

static void encode(const forest *f, workspace *w, const float *rows, uint32_t count, int in_blocks) {
    const int walks = f->complete_count < f->trees_count, sets = f->set_columns_count > 0;
    const int heaps = in_blocks || f->complete_count > 0;
    const size_t block_size = (size_t)code_columns(f) * BLOCK;
    for (uint32_t r = 0; r < count; r++) {
        const float *row = rows + (size_t)r * f->features;
        int32_t *keys = w->keys + (size_t)r * f->key_columns_count;
        if (walks || sets) encode_keys(f, row, keys);
        if (!heaps) continue;
        uint8_t *column = in_blocks ? w->block_codes + r / BLOCK * block_size + r % BLOCK : NULL;
        encode_codes(f, row, keys, w->row_codes + (size_t)r * w->code_stride, column);
    }
}
