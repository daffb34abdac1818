/* Opens an artifact: a header, and arrays that begin at multiples of 64 bytes. Every number that is used as a place is
 * checked here, once. The checksum over the whole is the caller's business: it finds what was damaged, this finds what
 * would make prediction read elsewhere, or never end.
 */
#include <math.h>
#include <string.h>

#include "forest.h"

enum section {
    KEY_COLUMNS, CATEGORIES, BITS, NODES, TREES, RANK_FEATURES, BOUNDS, RANK_COLUMNS, CATEGORY_COLUMNS, HEAP_LOW,
    HEAP_HIGH, HEAP_BOUNDS, EXITS, FOLDS, FOLD_SETS, FOLD_PAIRS, FOLD_JOINS, LEAVES, SCALE, BASE, SECTIONS
};

typedef struct {
    char magic[8];
    uint32_t version, checksum;
    uint64_t size;
    uint32_t features, outputs, vector_leaves, wide_nodes, truncated_categories, postprocessor, group, negated, complete_count,
        wide_values;
    double alpha, ratio, offset;
    struct { uint64_t begin, count; } sections[SECTIONS];
} header;

#define LARGEST 0x40000000u /* counts and places stay far from overflow in 32 bits */

/* `count` items of `size` bytes in the section, or NULL where they are not all inside the file. */
static const void *section(const header *h, enum section which, size_t size, uint32_t *count) {
    const uint64_t begin = h->sections[which].begin, n = h->sections[which].count;
    if (begin % 64 || begin > h->size || n > LARGEST || n > (h->size - begin) / size) return NULL;
    *count = (uint32_t)n;
    return (const char *)h + begin;
}

static int in(uint64_t begin, uint64_t count, uint64_t whole) { return begin <= whole && count <= whole - begin; }

static const char *check_key_columns(const forest *f) {
    if (!f->key_columns_count) return "it has no column of keys";
    for (uint32_t c = 0; c < f->key_columns_count; c++) {
        const key_column *column = f->key_columns + c;
        if (column->feature >= f->features) return "a column of keys is of a feature that does not exist";
        if (column->kind > CATEGORY) return "a column of keys is of no known kind";
        if (column->kind == CATEGORY && !in(column->begin, column->count, f->categories_count))
            return "a column's categories lie outside the table of categories";
        if (c && column->kind != CATEGORY && column[-1].kind == CATEGORY) return "numerical columns do not come first";
        if (c && f->wide_values && column->kind != CATEGORY && column->begin >= f->rank_features_count)
            return "a column of keys is of ranks that do not exist";
    }
    return f->key_columns[0].kind == CATEGORY ? "the first column of keys holds categories" : NULL;
}

/* Whether `column` holds categories, with a bit from `begin` on for each of them and for unknown and missing ones. */
static int has_bits(const forest *f, uint32_t column, uint64_t begin) {
    return column < f->key_columns_count && f->key_columns[column].kind == CATEGORY &&
           in(begin, (uint64_t)f->key_columns[column].count + 2, 32 * (uint64_t)f->bits_count);
}

static const char *check_nodes(const forest *f) {
    const narrow_node *narrow = f->nodes;
    const wide_node *wide = f->nodes;
    for (uint32_t n = 0; n < f->nodes_count; n++) {
        uint32_t column, step;
        int32_t bound;
        int is_category;
        if (f->wide_nodes) {
            column = wide[n].column & ~CATEGORY_NODE, is_category = (wide[n].column & CATEGORY_NODE) != 0;
            step = wide[n].step, bound = wide[n].bound;
        } else {
            column = narrow[n].column & ~NARROW_CATEGORY_NODE, is_category = (narrow[n].column & NARROW_CATEGORY_NODE) != 0;
            step = narrow[n].step, bound = narrow[n].bound;
        }
        if (!step) {
            if (column || is_category) return "a leaf has a column";
            if (f->vector_leaves && (uint32_t)bound >= f->leaves_count) return "a leaf lies outside the table of leaves";
        } else if ((uint64_t)n + step + 1 >= f->nodes_count) {
            return "a node's children lie outside the nodes";
        } else if (is_category ? bound < 0 || !has_bits(f, column, (uint32_t)bound) : column >= f->key_columns_count) {
            return "a node's column does not exist";
        }
    }
    return NULL;
}

/* Whether the bound at that place is above every key. */
static int is_largest(const forest *f, uint64_t place) {
    return f->wide_values ? ((const int64_t *)f->bounds)[place] == INT64_MAX : ((const int32_t *)f->bounds)[place] == INT32_MAX;
}

static const char *check_heaps(const forest *f) {
    for (uint32_t n = 0; n < f->rank_features_count; n++) {
        const rank_feature *feature = f->rank_features + n;
        uint64_t size = 0;
        if (feature->feature >= f->features) return "ranks are of a feature that does not exist";
        if (feature->search_levels > 7) return "ranks are searched for in too many levels";
        for (uint32_t level = 0, width = 16; level < feature->search_levels; level++, width *= 16) size += width;
        if (!in(feature->bounds, size, f->bounds_count)) return "a feature's bounds lie outside the table of bounds";
        /* Only where the last entry of a search is above every key, the next level is entered inside. */
        uint64_t begin = feature->bounds;
        for (uint32_t level = 0, width = 16; level + 1 < feature->search_levels; begin += width, level++, width *= 16)
            for (uint32_t entry = 15; entry < width; entry += 16)
                if (!is_largest(f, begin + entry)) return "a search among bounds leaves its level";
        if (feature->columns_begin != (n ? feature[-1].columns_end : 0) || feature->columns_begin > feature->columns_end ||
            feature->columns_end > f->rank_columns_count)
            return "a feature's columns do not exist";
    }
    for (uint32_t n = 0; n < f->category_columns_count; n++) {
        const uint32_t key = f->category_columns[n].key;
        if (key >= f->key_columns_count || f->key_columns[key].kind != CATEGORY || f->key_columns[key].count > 254)
            return "a column of categories is of no category, or of too many";
    }
    if (f->category_columns_count && f->complete_count == f->trees_count) return "categories are tested by no tree";
    for (uint32_t n = 0; n < f->heap_count; n++) {
        const uint32_t column = f->heap_low[n] | (f->heap_high ? (uint32_t)f->heap_high[n] << 8 : 0);
        /* Entries that no test belongs to name column 0, also where there is none. */
        if (column && column >= f->rank_columns_count) return "a heap's column does not exist";
    }
    return NULL;
}

static const char *check_trees(const forest *f) {
    for (uint32_t n = 0; n < f->trees_count; n++) {
        const tree *t = f->trees + n;
        if (t->output >= f->outputs) return "a tree adds to an output that does not exist";
        if (t->levels > MAX_LEVELS) return "a heap has too many levels";
        const uint32_t exits = 1u << t->levels;
        /* Registers are loaded whole: 64 bytes from each level on, 32 exits. */
        if (!in(t->heap, exits + 64, f->heap_count)) return "a heap lies outside the heaps";
        if (!in(t->exits, exits < 32 ? 32 : exits, f->exits_count)) return "a heap's exits lie outside the exits";
        if (t->levels && !f->rank_columns_count) return "a heap has no columns";
        if (t->fold > f->folds_count) return "a tree's fold does not exist";
        if (!(t->steps >= 0 && t->steps < 1e6f && t->steps_on >= 0 && t->steps_on < 1e6f)) return "a tree has no depth";
        if (t->complete != (n < f->complete_count)) return "complete trees do not come first";
        if (n && t->complete && t->levels < f->trees[n - 1].levels) return "complete trees are not in order";
        for (uint32_t e = 0; e < exits; e++) {
            const uint32_t exit = f->exits[t->exits + e];
            if (t->complete ? f->vector_leaves && exit >= f->leaves_count : exit >= f->nodes_count)
                return "an exit leads nowhere";
        }
        if (!t->complete && t->root >= f->nodes_count) return "a root lies outside the nodes";
    }
    return NULL;
}

static const char *check_folds(forest *f) {
    for (uint32_t n = 0; n < f->fold_sets_count; n++) {
        const fold_set *set = f->fold_sets + n;
        if (set->column < f->rank_columns_count || set->column >= code_columns(f)) return "a set is of no category";
        /* Registers are loaded whole. */
        if (!in(set->byte, 64, 4 * (uint64_t)f->bits_count)) return "a set lies outside the table of bits";
    }
    for (uint32_t n = 0; n < f->folds_count; n++) {
        const fold *o = f->folds + n;
        const uint32_t columns = code_columns(f) + o->sets_count;
        const uint32_t slots = (uint32_t)o->singles + o->pairs_count, leaves = slots + o->pairs_count;
        if (!leaves || leaves > 256) return "a fold has no leaves, or too many";
        if (!in(o->pairs, o->pairs_count, f->fold_pairs_count) || !in(o->joins, o->joins_count, f->fold_joins_count) ||
            o->sets_count > 256 || !in(o->sets, o->sets_count, f->fold_sets_count))
            return "a fold's tests do not exist";
        if (!in(o->exits, leaves <= 32 ? 32 : leaves <= 64 ? 64 : leaves, f->exits_count))
            return "a fold's leaves lie outside the exits";
        if (o->root >= slots) return "a fold ends nowhere";
        for (uint32_t e = 0; e < leaves && f->vector_leaves; e++)
            if (f->exits[o->exits + e] >= f->leaves_count) return "a fold ends in a leaf that does not exist";
        for (uint32_t k = 0; k < o->pairs_count; k++)
            if (f->fold_pairs[o->pairs + k].column >= columns) return "a fold's column does not exist";
        for (uint32_t k = 0; k < o->joins_count; k++) {
            const fold_join *join = f->fold_joins + o->joins + k;
            if (join->column >= columns) return "a fold's column does not exist";
            if (join->left >= slots || join->right >= slots || join->left == join->right) return "a fold's slot does not exist";
        }
        f->most_sets = o->sets_count > f->most_sets ? o->sets_count : f->most_sets;
    }
    return NULL;
}

const char *forest_open(forest *f, const void *data, size_t size) {
    const header *h = data;
    uint32_t high_count = 0, heap_bounds_count = 0, scale_count = 0, base_count = 0;
    memset(f, 0, sizeof *f);
    if (size < sizeof *h) return "it is too short";
    if (memcmp(h->magic, "SFforest", 8) != 0) return "it does not begin as a forest does";
    if (h->version != (h->wide_values ? FOREST_VERSION : 1u)) return "it is of another version";
    if (h->size != size) return "it is not as long as it says";
    if (!h->features || h->features > LARGEST || !h->outputs || h->outputs > 65536) return "it has no inputs or outputs";
    if (h->postprocessor >= POSTPROCESSORS) return "its post-processor is unknown";
    if (!h->group || h->outputs % h->group) return "its outputs are not in equal groups";
    if (!isfinite(h->alpha) || !isfinite(h->ratio) || !isfinite(h->offset)) return "a parameter is not finite";
    f->features = h->features, f->outputs = h->outputs, f->vector_leaves = h->vector_leaves, f->wide_nodes = h->wide_nodes;
    f->truncated_categories = h->truncated_categories, f->postprocessor = h->postprocessor, f->group = h->group;
    f->negated = h->negated, f->complete_count = h->complete_count, f->wide_values = h->wide_values;
    f->alpha = h->alpha, f->ratio = h->ratio, f->offset = h->offset;
#define SECTION(field, which, size) \
    if (!(f->field = section(h, which, size, &f->field##_count))) return "an array lies outside it";
    SECTION(key_columns, KEY_COLUMNS, sizeof(key_column))
    SECTION(categories, CATEGORIES, sizeof(uint32_t))
    SECTION(bits, BITS, sizeof(uint32_t))
    SECTION(nodes, NODES, f->wide_nodes ? sizeof(wide_node) : sizeof(narrow_node))
    SECTION(trees, TREES, sizeof(tree))
    SECTION(rank_features, RANK_FEATURES, sizeof(rank_feature))
    SECTION(bounds, BOUNDS, f->wide_values ? sizeof(int64_t) : sizeof(int32_t))
    SECTION(rank_columns, RANK_COLUMNS, sizeof(rank_column))
    SECTION(category_columns, CATEGORY_COLUMNS, sizeof(category_column))
    SECTION(exits, EXITS, sizeof(uint32_t))
    SECTION(folds, FOLDS, sizeof(fold))
    SECTION(fold_sets, FOLD_SETS, sizeof(fold_set))
    SECTION(fold_pairs, FOLD_PAIRS, sizeof(fold_pair))
    SECTION(fold_joins, FOLD_JOINS, sizeof(fold_join))
    SECTION(leaves, LEAVES, sizeof(float) * f->outputs)
#undef SECTION
    f->heap_low = section(h, HEAP_LOW, 1, &f->heap_count);
    f->heap_high = section(h, HEAP_HIGH, 1, &high_count);
    f->heap_bounds = section(h, HEAP_BOUNDS, 1, &heap_bounds_count);
    f->scale = section(h, SCALE, sizeof(double), &scale_count);
    f->base = section(h, BASE, sizeof(double), &base_count);
    if (!f->heap_low || !f->heap_high || !f->heap_bounds || !f->scale || !f->base) return "an array lies outside it";
    if (!high_count) f->heap_high = NULL;
    if (heap_bounds_count != f->heap_count || (high_count && high_count != f->heap_count)) return "its heaps differ in size";
    if (scale_count != f->outputs || base_count != f->outputs) return "it has no base score for each output";
    if (code_columns(f) > 65536 || f->key_columns_count > LARGEST) return "it has too many columns";
    if (f->complete_count > f->trees_count) return "it has fewer trees than it says";
    const char *wrong = check_key_columns(f);
    if (!wrong) wrong = check_nodes(f);
    if (!wrong) wrong = check_heaps(f);
    if (!wrong) wrong = check_folds(f);
    if (!wrong) wrong = check_trees(f);
    return wrong;
}
