/* Walks through linked nodes, of either size. Included once for each: NODE, NAME, IS_CATEGORY, COLUMN. */

/* Whether the row with these keys goes right at `node`. */
static inline uint32_t NAME(goes_right)(const forest *f, NODE node, const int32_t *keys) {
    if (f->bits_count && IS_CATEGORY(node))
        return (uint32_t)in_set(f->bits, (uint32_t)node.bound + (uint32_t)keys[COLUMN(node)]);
    return keys[node.column] > node.bound;
}

/* Takes `lanes` walks to their leaves. Leaves stay where they are, so the walks wait for each other. */
ALWAYS_INLINE void NAME(walk)(const forest *f, uint32_t *at, const int32_t *const *keys, uint32_t lanes, int categories) {
    const NODE *nodes = f->nodes;
    for (;;) {
        uint32_t steps = 0;
        UNROLL for (uint32_t k = 0; k < lanes; k++) {
            const NODE node = nodes[at[k]];
            steps |= node.step;
            at[k] += node.step + (categories ? NAME(goes_right)(f, node, keys[k]) : keys[k][node.column] > node.bound);
        }
        if (!steps) return;
    }
}

/* The trees, not complete, from their roots: `rows` rows times `count` trees, at most `lanes`. */
ALWAYS_INLINE void NAME(add_walks)(
    const forest *f, workspace *w, uint32_t row, const tree *trees, int rows, int count, uint32_t lanes
) {
    uint32_t at[MAX_LANES];
    const int32_t *keys[MAX_LANES];
    for (uint32_t k = 0; k < lanes; k++) { /* lanes to spare repeat the last one */
        const int lane = (int)k < rows * count ? (int)k : rows * count - 1;
        at[k] = trees[lane / rows].root;
        keys[k] = w->keys + (size_t)(row + (uint32_t)(lane % rows)) * f->key_columns_count;
    }
    if (f->bits_count) NAME(walk)(f, at, keys, lanes, 1);
    else NAME(walk)(f, at, keys, lanes, 0);
    for (int k = 0; k < rows * count; k++) {
        const uint32_t leaf = (uint32_t)((const NODE *)f->nodes)[at[k]].bound;
        add_leaf(f, leaf, trees[k / rows].output, w->sums + (size_t)(row + (uint32_t)(k % rows)) * f->outputs);
    }
}

/* Rows of a block that left the heap of a tree at `at`, walk on; `at` becomes the leaves. */
static void NAME(walk_on)(const forest *f, const workspace *w, uint32_t row, uint32_t *at) {
    const NODE *nodes = f->nodes;
    uint8_t under_way[BLOCK + LANES];
    int count = 0;
    for (int r = 0; r < BLOCK; r++) {
        under_way[count] = (uint8_t)r;
        count += nodes[at[r]].step != 0;
    }
    for (int n = 0; n < count; n += LANES) {
        uint32_t lane_at[LANES];
        const int32_t *keys[LANES];
        for (int k = 0; k < LANES; k++) {
            const int r = under_way[n + k < count ? n + k : n];
            lane_at[k] = at[r];
            keys[k] = w->keys + (size_t)(row + (uint32_t)r) * f->key_columns_count;
        }
        if (f->bits_count) NAME(walk)(f, lane_at, keys, LANES, 1);
        else NAME(walk)(f, lane_at, keys, LANES, 0);
        for (int k = 0; k < LANES && n + k < count; k++) at[under_way[n + k]] = lane_at[k];
    }
    for (int r = 0; r < BLOCK; r++) at[r] = (uint32_t)nodes[at[r]].bound;
}

#undef NODE
#undef NAME
#undef IS_CATEGORY
#undef COLUMN
