/* A compiled forest: what its artifact holds, where each part of the kernel finds it, and what the parts offer each other.
 *
 * A forest is one block of memory, usually a mapped file. Nothing in it is copied or changed when it is opened.
 * file.c checks it, so that nothing behind it has to: whatever an artifact holds, prediction reads inside it and ends.
 */
#ifndef SERVEFIT_FOREST_H
#define SERVEFIT_FOREST_H

#include <stddef.h>
#include <stdint.h>

#define FOREST_VERSION 2u /* of forests of float64 rows; those of float32 rows are as they were in version 1 */
#define BLOCK 64           /* rows that are predicted together, one bit of a mask for each */
#define MAX_LEVELS 8       /* of a heap, so that the number of an exit fits a byte */
#define CATEGORY_NODE 0x80000000u
#define NARROW_CATEGORY_NODE 0x8000u

/* Keys are int32 numbers in the order of the values that they stand for: of float32 rows the place of the value among all
 * float32 values, of float64 rows its rank among the bounds of its feature. A node sends a row to the right if the row's
 * key in the node's column is above the node's bound. Column 0 is below every bound, so leaves stay where they are. */
enum key_kind { MISSING_LEFT, MISSING_RIGHT, MISSING_ZERO, CATEGORY };

/* Numerical columns come first. The key of a category is its place among the known ones, which ascend; one past the last
 * for an unknown one, two past it for a missing value. `begin` and `count` are where the known ones lie; where rows are
 * float64, `begin` of a numerical column is the place of its feature among those that have ranks. */
typedef struct {
    uint32_t feature;
    uint32_t kind;
    uint32_t begin, count;
} key_column;

/* A child pair lies `step` nodes further on, left before right. A leaf has step 0, column 0, and its value as the bound. */
typedef struct { int32_t bound; uint16_t column, step; } narrow_node;
typedef struct { int32_t bound; uint32_t column, step; } wide_node;

typedef struct {
    uint32_t root;      /* in nodes; unused in complete trees */
    uint32_t output;
    uint32_t heap;      /* where the heap begins: entry 0 is unused, the children of entry i are 2i and 2i + 1 */
    uint32_t exits;     /* one for each of the 2^levels ways out of the heap */
    uint16_t levels;    /* of the heap; 0 to MAX_LEVELS */
    uint16_t complete;  /* exits are leaves if not 0, otherwise nodes to walk on from */
    float steps, steps_on; /* of a walk from the root, and from the heap's exits: means, to choose by */
    uint32_t fold;      /* one past the place of the tree's fold, for blocks; 0 if it has none */
} tree;

/* A tree of up to 256 leaves as it is folded up for a block of rows: every row has a leaf's number in every slot, and each
 * test keeps one of two. The first slots hold the leaves that stand alone, the next ones pairs of leaves under one test. */
typedef struct {
    uint32_t sets, pairs, joins; /* where they begin */
    uint32_t exits;              /* the leaves: those alone, then both of each pair */
    uint16_t sets_count, singles, pairs_count, joins_count, root, spare;
} fold;
/* Set n of a fold makes column n behind all columns of codes: 1 where the category, a code, is in the set that begins at
 * that byte of the bits. */
typedef struct { uint32_t column, byte; } fold_set;
typedef struct { uint16_t column; uint8_t bound, spare; } fold_pair;
/* Slot `left` becomes what is in slot `right` where the test says so. */
typedef struct { uint16_t column; uint8_t bound, left, right, spare; } fold_join;

/* The ranks of a feature's values among its bounds: those in heaps and folds where rows are float32, all of them where
 * they are float64. Bounds are int32 or int64 numbers in the order of the float32 or float64 values that they stand for.
 * They lie in levels of 16-ary search: each level holds 16 times as many as the one before, the last all of them, padded
 * with the largest number. */
typedef struct {
    uint32_t feature;
    uint32_t bounds, search_levels;
    uint32_t columns_begin, columns_end;
    uint32_t missing_zero; /* a missing value is a zero if not 0 */
} rank_feature;

/* A code is the part of a rank above `base`, at most 255: a node with bound b goes right if b < code. */
typedef struct { uint32_t base, missing_right; } rank_column;

/* After the rank columns: the keys of a category, of at most 256, as bytes. */
typedef struct { uint32_t key; } category_column;

typedef enum {
    IDENTITY, SIGMOID, SOFTMAX, EXPONENTIAL, LOGARITHM_ONE_PLUS_EXP, SIGNED_SQUARE, HINGE, EXPONENTIAL_STANDARD_RATIO,
    POSTPROCESSORS
} postprocessor;

typedef struct {
    uint32_t features, outputs;
    uint32_t wide_values;       /* rows are float64 if not 0, otherwise float32 */
    uint32_t vector_leaves;     /* leaves are numbers of rows of `leaves`, (count, outputs), if not 0 */
    uint32_t wide_nodes;
    uint32_t truncated_categories; /* whether -0.5 is category 0 and not an invalid one */
    uint32_t postprocessor, group; /* outputs that a softmax adds up to 1 */
    uint32_t negated;           /* the result is -value - offset if not 0 */
    double alpha, ratio, offset;

    const key_column *key_columns; uint32_t key_columns_count;
    const uint32_t *categories; uint32_t categories_count;
    const uint32_t *bits; uint32_t bits_count;                 /* words of 32 bits */
    const void *nodes; uint32_t nodes_count;
    const tree *trees; uint32_t trees_count, complete_count;   /* complete trees come first, by levels */
    const rank_feature *rank_features; uint32_t rank_features_count;
    const void *bounds; uint32_t bounds_count;                 /* int32_t, or int64_t where values are wide */
    const rank_column *rank_columns; uint32_t rank_columns_count;
    const category_column *category_columns; uint32_t category_columns_count;
    const uint8_t *heap_low, *heap_high, *heap_bounds; uint32_t heap_count; /* heap_high is NULL up to 256 columns */
    const uint32_t *exits; uint32_t exits_count;
    const fold *folds; uint32_t folds_count;
    const fold_set *fold_sets; uint32_t fold_sets_count, most_sets; /* of any fold */
    const fold_pair *fold_pairs; uint32_t fold_pairs_count;
    const fold_join *fold_joins; uint32_t fold_joins_count;
    const float *leaves; uint32_t leaves_count;                /* rows */
    const double *scale, *base;                                /* (outputs): margin = sum * scale + base */
} forest;

static inline uint32_t code_columns(const forest *f) { return f->rank_columns_count + f->category_columns_count; }
static inline size_t row_bytes(const forest *f) { return (size_t)f->features * (f->wide_values ? sizeof(double) : sizeof(float)); }

/* Room for the codes, keys and sums of up to `rows` rows, of one thread. */
typedef struct {
    uint32_t rows;              /* a multiple of BLOCK */
    uint32_t code_stride;       /* bytes from a row's codes to the next row's */
    uint8_t *row_codes;         /* (rows, code_stride) */
    size_t block_stride;        /* bytes from a block's codes to the next block's */
    uint8_t *block_codes;       /* (rows / BLOCK, code columns and most sets, BLOCK) */
    int32_t *keys;              /* (rows, key columns) */
    int32_t *ranks;             /* (rank features), of one row: where rows are float64 */
    double *sums;               /* (rows, outputs) */
    float *partial;             /* (outputs, BLOCK) */
    uint8_t *slots;             /* (256, BLOCK), of folds */
    void *memory;
} workspace;

/* One way to predict, compiled for one instruction set. */
typedef struct {
    const char *name;
    int (*runs_here)(void);
    /* Add the trees [begin, end) to the sums of `count` rows, at most workspace.rows: few rows one by one, more of them in
     * blocks. Encoding comes first, and says which of both ways it is for. */
    void (*encode)(const forest *, workspace *, const void *rows, uint32_t count, int in_blocks);
    void (*add_few)(const forest *, workspace *, uint32_t count, uint32_t begin, uint32_t end);
    void (*add_blocks)(const forest *, workspace *, uint32_t count, uint32_t begin, uint32_t end);
    /* Costs on a Zen 4 core, in ns, to choose by (benchmarks/claims/forest_costs.py). */
    int mask_levels;            /* of a heap are done by masks in a block */
    double step_ns, walk_ns;    /* a step of one of eight rows, through a heap or along nodes */
    double mask_ns, level_ns, exits_ns, pair_ns, join_ns, set_ns; /* of a block */
    double leave_ns, on_ns;     /* a row of a block that leaves a heap to walk on, and each of its steps */
} instruction_set;

extern const instruction_set forest_avx512, forest_avx2, forest_neon, forest_portable;

/* Checks `size` bytes at `data`, 64-byte aligned, and fills `f`. Gives NULL, or what is wrong with them. */
const char *forest_open(forest *f, const void *data, size_t size);

/* From sums, which become margins, to predictions; (rows, outputs) both. */
void forest_finish(const forest *f, double *sums, uint32_t count, float *out);

/* Everything that predicting needs besides the forest: instruction set, threads and their workspaces. */
typedef struct predictor predictor;

/* `set` names an instruction set; NULL takes the best that runs here. NULL where it does not run, or without memory. */
predictor *predictor_new(const forest *f, const char *set, int threads);
/* Predicts `count` rows, (count, features) float32 or float64, into (count, outputs) float32. */
void predictor_run(predictor *, const void *rows, size_t count, float *out);
const char *predictor_instruction_set(const predictor *);
uint32_t predictor_block_rows(const predictor *); /* from how many rows on they are predicted in blocks */
void predictor_free(predictor *);

/* The instruction sets that run here, best first; NULL after the last. */
const instruction_set *const *instruction_sets(void);

#endif
