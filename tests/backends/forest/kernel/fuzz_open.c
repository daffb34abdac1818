/* Opens whatever bytes it is given, and predicts with them if they are accepted, by every instruction set that runs here.
 *
 * An entry for libFuzzer (scripts/fuzz_artifacts); with -DINPUTS_FROM_FILES a program that takes files instead. Nothing is
 * compared: the sanitizers it is built with judge. Each array of an accepted forest is moved to memory of its own first, so
 * that a step from one into the next is found as well. What asks for much memory or time, and may, is left out.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"

#define MAX_ROWS 130u
#define MAX_VALUES (1u << 22) /* of all rows together */
#define MAX_MEMORY (64u << 20) /* of a workspace */
#define MAX_WORK (UINT64_C(1) << 30)

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* Every special value there is, and whole numbers that may be categories. */
static const float odd_values[] = {
    0.0f, -0.0f, 1.0f, 2.0f, 3.0f, 7.0f, 31.0f, 32.0f, 0.5f, -0.5f, -1.0f, 1e-45f, -1e-45f, 3.4e38f, -3.4e38f,
    16777216.0f, 16777217.0f, 4294967296.0f, (float)(0.0 / 0.0), (float)(1.0 / 0.0), (float)(-1.0 / 0.0), 1e-3f, -2.25f,
};

static void *odd_rows(const forest *f, size_t count) {
    const size_t values = count * f->features;
    float *rows = malloc(count * row_bytes(f));
    double *wide = (double *)(void *)rows;
    uint32_t random = 1;
    for (size_t n = 0; rows && n < values; n++) {
        float value;
        random = random * 1664525u + 1013904223u;
        if (random >> 28) value = odd_values[(random >> 8) % (sizeof odd_values / sizeof *odd_values)];
        else memcpy(&value, &random, sizeof value);
        if (f->wide_values) wide[n] = (double)value * (1 + (double)(random & 1) * 1e-16);
        else rows[n] = value;
    }
    return rows;
}

static void predict(const forest *f, const char *set, int threads) {
    /* 7 and 50 first: a block that they do not fill has rows that nothing was ever encoded for. */
    static const uint32_t counts[] = {1, 7, 50, 64, MAX_ROWS};
    predictor *p = predictor_new(f, set, threads);
    if (!p) return;
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        if ((uint64_t)counts[n] * f->features > MAX_VALUES) break;
        void *rows = odd_rows(f, counts[n]);
        float *out = malloc((size_t)counts[n] * f->outputs * sizeof *out);
        if (rows && out) predictor_run(p, rows, counts[n], out);
        free(rows);
        free(out);
    }
    predictor_free(p);
}

/* Whether predicting takes little memory, and little time at worst, in nodes and columns: short files can ask for a lot. */
static int is_small(const forest *f) {
    uint64_t columns = 0;
    if (BLOCK * (12 * (uint64_t)f->outputs + 4 * (uint64_t)f->key_columns_count) > MAX_MEMORY) return 0;
    for (uint32_t n = 0; n < f->rank_features_count; n++)
        columns += f->rank_features[n].columns_end - f->rank_features[n].columns_begin + 16u;
    const uint64_t tree_work = f->nodes_count + 1024u + (f->vector_leaves ? f->outputs : 0);
    return MAX_ROWS * (columns + f->key_columns_count + f->outputs + f->trees_count * tree_work) < MAX_WORK;
}

static void *moved(const void *from, size_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size ? size : 1)) abort();
    if (size) memcpy(memory, from, size);
    return memory;
}

#define ARRAYS(DO) \
    DO(key_columns, f->key_columns_count * sizeof *f->key_columns) \
    DO(categories, f->categories_count * sizeof *f->categories) \
    DO(bits, f->bits_count * sizeof *f->bits) \
    DO(nodes, f->nodes_count * (f->wide_nodes ? sizeof(wide_node) : sizeof(narrow_node))) \
    DO(trees, f->trees_count * sizeof *f->trees) \
    DO(rank_features, f->rank_features_count * sizeof *f->rank_features) \
    DO(bounds, f->bounds_count * (f->wide_values ? sizeof(int64_t) : sizeof(int32_t))) \
    DO(rank_columns, f->rank_columns_count * sizeof *f->rank_columns) \
    DO(category_columns, f->category_columns_count * sizeof *f->category_columns) \
    DO(heap_low, f->heap_count) \
    DO(heap_bounds, f->heap_count) \
    DO(exits, f->exits_count * sizeof *f->exits) \
    DO(folds, f->folds_count * sizeof *f->folds) \
    DO(fold_sets, f->fold_sets_count * sizeof *f->fold_sets) \
    DO(fold_pairs, f->fold_pairs_count * sizeof *f->fold_pairs) \
    DO(fold_joins, f->fold_joins_count * sizeof *f->fold_joins) \
    DO(leaves, (size_t)f->leaves_count * f->outputs * sizeof *f->leaves) \
    DO(scale, f->outputs * sizeof *f->scale) \
    DO(base, f->outputs * sizeof *f->base)

static void move_arrays(forest *f) {
#define MOVE(array, size) f->array = moved(f->array, size);
    ARRAYS(MOVE)
    if (f->heap_high) f->heap_high = moved(f->heap_high, f->heap_count);
}

static void free_arrays(forest *f) {
#define FREE(array, size) free((void *)(uintptr_t)f->array);
    ARRAYS(FREE)
    free((void *)(uintptr_t)f->heap_high);
}

/* Gives what is wrong with the input, or NULL. */
static const char *open_and_predict(const uint8_t *input, size_t size) {
    forest f;
    void *memory = moved(input, size);
    const char *wrong = forest_open(&f, memory, size);
    if (!wrong && is_small(&f)) {
        move_arrays(&f);
        for (const instruction_set *const *set = instruction_sets(); *set; set++)
            for (int threads = 1; threads <= 3; threads += 2)
                if ((*set)->runs_here()) predict(&f, (*set)->name, threads);
        free_arrays(&f);
    }
    free(memory);
    return wrong;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    open_and_predict(input, size);
    return 0;
}

#ifdef INPUTS_FROM_FILES
#include <time.h>

static size_t read_file(const char *path, uint8_t **content) {
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size < 0 || !(*content = malloc((size_t)size + 1))) {
        perror(path);
        exit(1);
    }
    rewind(file);
    const size_t got = fread(*content, 1, (size_t)size, file);
    fclose(file);
    return got;
}

/* Says which file it is at before a sanitizer may say something, and what became of it. */
int main(int arguments, char **argument) {
    for (int n = 1; n < arguments; n++) {
        uint8_t *content = NULL;
        const size_t size = read_file(argument[n], &content);
        printf("%s: ", argument[n]);
        fflush(stdout);
        const char *wrong = open_and_predict(content, size);
        printf("%s\n", wrong ? wrong : "accepted");
        free(content);
    }
    return 0;
}
#endif
