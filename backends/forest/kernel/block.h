/* Blocks of 64 rows. Part of every instruction set, which says in `vector/` how much of it is vectorised.
 *
 * The nodes of a heap's first levels are evaluated for all rows of a block: one comparison gives a mask with a bit for
 * each row. From the masks of the rows that reach a node, those that reach its children follow, and a level's decisions
 * add one bit to the number of the exit that a row takes. Below MASK_LEVELS a level has more nodes than looking up each
 * row's own node costs, so from there rows take their own ways.
 *
 * A tree with few nodes but many levels is folded up instead: all of its tests are made for all rows.
 */

#if MASK_LEVELS > 0
/* Numbers of the rows' places in level `levels` of a heap, by masks. `levels` is a constant where it is inlined. */
ALWAYS_INLINE void places_by_masks(const forest *f, const tree *t, const uint8_t *codes, int levels, places *out) {
    uint64_t reached[1 << MASK_LEVELS], planes[MASK_LEVELS];
    reached[1] = ~UINT64_C(0);
    UNROLL for (int level = 0; level < levels; level++) {
        uint64_t plane = 0;
        UNROLL for (int i = 1 << level; i < 2 << level; i++) {
            const uint32_t column = heap_column(f, t->heap + (size_t)i);
            const uint64_t right = reached[i] & mask_above(codes + (size_t)column * BLOCK, f->heap_bounds[t->heap + (size_t)i]);
            plane |= right;
            if (level + 1 < levels) {
                reached[2 * i] = reached[i] ^ right;
                reached[2 * i + 1] = right;
            }
        }
        planes[level] = plane;
    }
    *out = places_of(planes, levels);
}
#endif

static inline places places_in_heap(const forest *f, const workspace *w, uint32_t row, const tree *t, const uint8_t *codes) {
    places p = places_of(NULL, 0);
#if MASK_LEVELS > 0
    const int level = t->levels < MASK_LEVELS ? t->levels : MASK_LEVELS;
    switch (level) {
    case 1: places_by_masks(f, t, codes, 1, &p); break;
    case 2: places_by_masks(f, t, codes, 2, &p); break;
    case 3: places_by_masks(f, t, codes, 3, &p); break;
    case 4: places_by_masks(f, t, codes, 4, &p); break;
#if MASK_LEVELS > 4
    case 5: places_by_masks(f, t, codes, 5, &p); break;
#endif
    default: break;
    }
#else
    const int level = 0;
    (void)codes;
#endif
    if (level < t->levels) take_own_ways(f, w, row, t, level, &p);
    return p;
}

/* One tree for the block that begins at `row`; scalar leaves go to `partial`, vectors to the sums. */
static inline void add_tree(const forest *f, workspace *w, uint32_t row, const tree *t, uint8_t *codes) {
    const fold *o = t->fold ? f->folds + t->fold - 1 : NULL;
    const places p = o ? places_by_folding(f, o, codes, w->slots) : places_in_heap(f, w, row, t, codes);
    const uint32_t *exits = f->exits + (o ? o->exits : t->exits);
    const int leaves = o != NULL || t->complete;
    if (leaves && !f->vector_leaves) {
        const int entries = o ? o->singles + 2 * o->pairs_count : 1 << t->levels;
        add_looked_up((const float *)exits, entries, &p, w->partial + (size_t)t->output * BLOCK);
        return;
    }
    uint8_t place[BLOCK];
    uint32_t leaf[BLOCK];
    places_store(&p, place);
    for (int r = 0; r < BLOCK; r++) leaf[r] = exits[place[r]];
    if (!leaves) {
        if (f->wide_nodes) walk_on_wide(f, w, row, leaf);
        else walk_on_narrow(f, w, row, leaf);
    }
    if (f->vector_leaves) {
        for (int r = 0; r < BLOCK; r++) add_leaf(f, leaf[r], 0, w->sums + (size_t)(row + (uint32_t)r) * f->outputs);
        return;
    }
    float value[BLOCK], *partial = w->partial + (size_t)t->output * BLOCK;
    memcpy(value, leaf, sizeof value);
    for (int r = 0; r < BLOCK; r++) partial[r] += value[r];
}

/* The trees that fit the second-level cache go through all blocks before the next ones do. Leaves are added up in float32
 * within such a group, groups in float64. */
#define GROUP_BYTES (256u << 10)
#define GROUP_TREES 128u

/* What a block reads of a tree, at most. */
static size_t tree_bytes(const forest *f, uint32_t number) {
    const tree *t = f->trees + number;
    if (t->fold) return 8u * f->folds[t->fold - 1].joins_count + 12u * f->folds[t->fold - 1].pairs_count;
    const size_t heap = (size_t)7 << t->levels;
    if (t->complete) return heap;
    const uint32_t next = number + 1 < f->trees_count ? t[1].root : f->nodes_count;
    return heap + (next > t->root ? next - t->root : 0) * (f->wide_nodes ? sizeof(wide_node) : sizeof(narrow_node));
}

static uint32_t group_end(const forest *f, uint32_t begin, uint32_t end) {
    size_t bytes = 0;
    uint32_t t = begin;
    while (t < end && t - begin < GROUP_TREES && (bytes < GROUP_BYTES || t == begin)) bytes += tree_bytes(f, t++);
    return t;
}

static void add_blocks(const forest *f, workspace *w, uint32_t count, uint32_t begin, uint32_t end) {
    for (uint32_t group = begin; group < end;) {
        const uint32_t next = group_end(f, group, end);
        for (uint32_t row = 0; row < count; row += BLOCK) {
            uint8_t *codes = w->block_codes + row / BLOCK * w->block_stride;
            memset(w->partial, 0, sizeof(float) * BLOCK * f->outputs);
            for (uint32_t t = group; t < next; t++) add_tree(f, w, row, f->trees + t, codes);
            if (f->vector_leaves) continue;
            for (uint32_t k = 0; k < f->outputs; k++)
                for (uint32_t r = 0; r < BLOCK; r++)
                    w->sums[(size_t)(row + r) * f->outputs + k] += w->partial[(size_t)k * BLOCK + r];
        }
        group = next;
    }
}
