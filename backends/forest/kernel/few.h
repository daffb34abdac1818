/* Few rows: several ways through the trees side by side, so that one waits for memory while the others compute.
 * Part of every instruction set. LANES ways are `rows` rows times `trees` trees; both are constants where it is inlined. */

#define LANES 8
#define MAX_LANES 16
#define MANY_NODES_BYTES (1u << 20) /* of linked nodes do not stay in a second-level cache: twice the lanes wait for them */

static inline uint32_t heap_column(const forest *f, size_t entry) {
    return f->heap_high ? f->heap_low[entry] | (uint32_t)f->heap_high[entry] << 8 : f->heap_low[entry];
}

static inline void add_leaf(const forest *f, uint32_t leaf, uint32_t output, double *sums) {
    float value;
    if (!f->vector_leaves) {
        memcpy(&value, &leaf, sizeof value);
        sums[output] += value;
        return;
    }
    const float *values = f->leaves + (size_t)leaf * f->outputs;
    for (uint32_t k = 0; k < f->outputs; k++) sums[k] += values[k];
}

/* Complete trees of equal levels through their heaps. */
ALWAYS_INLINE void add_heaps(const forest *f, workspace *w, uint32_t row, const tree *trees, int rows, int count, int wide) {
    const uint32_t levels = trees->levels;
    const uint8_t *low[LANES], *high[LANES], *bounds[LANES], *codes[LANES];
    uint32_t at[LANES];
    UNROLL for (int k = 0; k < rows * count; k++) {
        const tree *t = trees + k / rows;
        low[k] = f->heap_low + t->heap;
        high[k] = wide ? f->heap_high + t->heap : NULL;
        bounds[k] = f->heap_bounds + t->heap;
        codes[k] = w->row_codes + (size_t)(row + (uint32_t)(k % rows)) * w->code_stride;
        at[k] = 1;
    }
    for (uint32_t level = 0; level < levels; level++) {
        UNROLL for (int k = 0; k < rows * count; k++) {
            const uint32_t column = wide ? low[k][at[k]] | (uint32_t)high[k][at[k]] << 8 : low[k][at[k]];
            at[k] = 2 * at[k] + (bounds[k][at[k]] < codes[k][column]);
        }
    }
    UNROLL for (int k = 0; k < rows * count; k++) {
        const tree *t = trees + k / rows;
        const uint32_t leaf = f->exits[t->exits + at[k] - (1u << levels)];
        add_leaf(f, leaf, t->output, w->sums + (size_t)(row + (uint32_t)(k % rows)) * f->outputs);
    }
}

#define NODE narrow_node
#define NAME(x) x##_narrow
#define IS_CATEGORY(node) ((node).column & NARROW_CATEGORY_NODE)
#define COLUMN(node) ((node).column & 0x7fffu)
#include "walk.h"
#define NODE wide_node
#define NAME(x) x##_wide
#define IS_CATEGORY(node) ((node).column & CATEGORY_NODE)
#define COLUMN(node) ((node).column & 0x7fffffffu)
#include "walk.h"

/* All trees [begin, end) for the rows [row, row + rows). */
ALWAYS_INLINE void add_rows(const forest *f, workspace *w, uint32_t row, int rows, uint32_t begin, uint32_t end) {
    const int together = LANES / rows, wide = f->heap_high != NULL;
    const uint32_t complete = end < f->complete_count ? end : f->complete_count;
    uint32_t t = begin;
    while (t < complete) {
        const tree *trees = f->trees + t;
        /* Trees lie in the order of their levels, so the last tells of all. */
        if (t + (uint32_t)together <= complete && trees[together - 1].levels == trees->levels) {
            if (wide) add_heaps(f, w, row, trees, rows, together, 1);
            else add_heaps(f, w, row, trees, rows, together, 0);
            t += (uint32_t)together;
        } else {
            add_heaps(f, w, row, trees, rows, 1, wide);
            t++;
        }
    }
    const size_t nodes_bytes = (size_t)f->nodes_count * (f->wide_nodes ? sizeof(wide_node) : sizeof(narrow_node));
    const uint32_t lanes = nodes_bytes > MANY_NODES_BYTES ? MAX_LANES : LANES, walks = lanes / (uint32_t)rows;
    for (; t < end; t += walks) {
        const int count = (int)(end - t < walks ? end - t : walks);
        if (f->wide_nodes && lanes == LANES) add_walks_wide(f, w, row, f->trees + t, rows, count, LANES);
        else if (f->wide_nodes) add_walks_wide(f, w, row, f->trees + t, rows, count, MAX_LANES);
        else if (lanes == LANES) add_walks_narrow(f, w, row, f->trees + t, rows, count, LANES);
        else add_walks_narrow(f, w, row, f->trees + t, rows, count, MAX_LANES);
    }
}

static void add_few(const forest *f, workspace *w, uint32_t count, uint32_t begin, uint32_t end) {
    uint32_t row = 0;
    for (; row + 8 <= count; row += 8) add_rows(f, w, row, 8, begin, end);
    if (count - row >= 4) add_rows(f, w, row, 4, begin, end), row += 4;
    if (count - row >= 2) add_rows(f, w, row, 2, begin, end), row += 2;
    if (row < count) add_rows(f, w, row, 1, begin, end);
}
