/* Decides how rows are predicted: one by one or in blocks, and which thread does what. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "forest.h"
#include "pool.h"

#define WORKSPACE_BYTES (512u << 10) /* half of a second-level cache; the trees want the rest */
#define WORKSPACE_ROWS 1024u
#define SHARE_NS 20000.0             /* less work than this is not worth waking another thread */
#define SMALL_SHARE_NS 2000.0        /* nor is less than this worth one that looks for work */

enum way { FEW, IN_BLOCKS };

struct predictor {
    const forest *f;
    const instruction_set *set;
    int threads;
    workspace *spaces;  /* one for each thread */
    pool *pool;         /* NULL for one thread */
    double row_ns, block_ns;
    uint32_t block_rows;
    uint32_t *spans[2]; /* by way: where each thread's trees begin, for threads over trees */
    /* What the threads are at. */
    const char *rows;
    float *out;
    size_t count, chunk;
    atomic_size_t next;
};

const instruction_set *const *instruction_sets(void) {
    static const instruction_set *const built[] = {
#if defined(__x86_64__)
        &forest_avx512, &forest_avx2,
#elif defined(__aarch64__)
        &forest_neon,
#endif
        &forest_portable, NULL,
    };
    return built;
}

static const instruction_set *choose(const char *name) {
    for (const instruction_set *const *set = instruction_sets(); *set; set++)
        if ((!name || strcmp(name, (*set)->name) == 0) && (*set)->runs_here()) return *set;
    return NULL;
}

static double tree_ns(const instruction_set *set, const fold *folds, const tree *t, enum way way) {
    if (way == FEW) return t->complete ? t->levels * set->step_ns + 1 : t->steps * set->walk_ns + 1;
    if (t->fold) {
        const fold *o = folds + t->fold - 1;
        return o->pairs_count * set->pair_ns + o->joins_count * set->join_ns + o->sets_count * set->set_ns + set->exits_ns;
    }
    const int masked = t->levels < set->mask_levels ? t->levels : set->mask_levels;
    const double heap = ((1 << masked) - 1) * set->mask_ns + (t->levels - masked) * set->level_ns;
    return heap + set->exits_ns + (t->complete ? 0 : BLOCK * (set->leave_ns + t->steps_on * set->on_ns));
}

static uint32_t rounded(uint32_t number, uint32_t multiple) { return (number + multiple - 1) / multiple * multiple; }

static int workspace_new(workspace *w, const forest *f) {
    const size_t columns = code_columns(f);
    w->code_stride = rounded((uint32_t)columns + 8, 64); /* reads of several codes end after the last */
    w->block_stride = (columns + f->most_sets) * BLOCK;
    const size_t bytes = w->code_stride + columns + f->most_sets + 4 * (size_t)f->key_columns_count + 8 * (size_t)f->outputs;
    const size_t fitting = WORKSPACE_BYTES / bytes / BLOCK * BLOCK;
    w->rows = fitting < BLOCK ? BLOCK : fitting > WORKSPACE_ROWS ? WORKSPACE_ROWS : (uint32_t)fitting;
    const size_t sizes[] = {
        w->code_stride * (size_t)w->rows, w->block_stride * (w->rows / BLOCK), 4 * (size_t)f->key_columns_count * w->rows,
        8 * (size_t)f->outputs * w->rows, 4 * (size_t)f->outputs * BLOCK, 256 * (size_t)BLOCK,
        4 * (size_t)f->rank_features_count,
    };
    size_t total = 64, at[7];
    for (int n = 0; n < 7; n++) at[n] = total, total += (sizes[n] + 127) / 64 * 64;
    /* Rows that a block does not have are computed all the same, with zeros for keys and codes. */
    if (!(w->memory = calloc(1, total))) return 0;
    char *begin = (char *)(((uintptr_t)w->memory + 63) & ~(uintptr_t)63) - 64;
    w->row_codes = (uint8_t *)begin + at[0];
    w->block_codes = (uint8_t *)begin + at[1];
    w->keys = (int32_t *)(void *)(begin + at[2]);
    /* Whatever else a row's keys are, the first keeps it in the leaf that it has come to. */
    for (uint32_t r = 0; r < w->rows; r++) w->keys[(size_t)r * f->key_columns_count] = INT32_MIN;
    w->sums = (double *)(void *)(begin + at[3]);
    w->partial = (float *)(void *)(begin + at[4]);
    w->slots = (uint8_t *)begin + at[5];
    w->ranks = (int32_t *)(void *)(begin + at[6]);
    return 1;
}

/* Cuts the trees into a span of equal work for each thread. */
static uint32_t *spans_new(const predictor *p, enum way way) {
    uint32_t *begins = calloc((size_t)p->threads + 1, sizeof *begins), n = 0;
    if (!begins) return NULL;
    const double total = way == FEW ? p->row_ns : p->block_ns;
    double done = 0;
    for (int t = 0; t < p->threads; t++) {
        begins[t] = n;
        while (n < p->f->trees_count && done < total * (t + 1) / p->threads) done += tree_ns(p->set, p->f->folds, p->f->trees + n++, way);
    }
    begins[p->threads] = p->f->trees_count;
    return begins;
}

predictor *predictor_new(const forest *f, const char *name, int threads) {
    predictor *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->f = f, p->set = choose(name), p->threads = threads;
    if (!p->set || threads < 1 || !(p->spaces = calloc((size_t)threads, sizeof *p->spaces))) goto failed;
    for (uint32_t t = 0; t < f->trees_count; t++) {
        p->row_ns += tree_ns(p->set, f->folds, f->trees + t, FEW);
        p->block_ns += tree_ns(p->set, f->folds, f->trees + t, IN_BLOCKS);
    }
    const double even = p->row_ns > 0 ? p->block_ns / p->row_ns : BLOCK;
    p->block_rows = even < 2 ? 2 : even > BLOCK ? BLOCK : (uint32_t)even;
    for (int n = 0; n < threads; n++)
        if (!workspace_new(&p->spaces[n], f)) goto failed;
    for (int way = FEW; way <= IN_BLOCKS; way++)
        if (!(p->spans[way] = spans_new(p, (enum way)way))) goto failed;
    if (threads > 1 && !(p->pool = pool_new(threads))) goto failed;
    return p;
failed:
    predictor_free(p);
    return NULL;
}

void predictor_free(predictor *p) {
    if (!p) return;
    pool_free(p->pool);
    for (int n = 0; p->spaces && n < p->threads; n++) free(p->spaces[n].memory);
    free(p->spans[FEW]);
    free(p->spans[IN_BLOCKS]);
    free(p->spaces);
    free(p);
}

const char *predictor_instruction_set(const predictor *p) { return p->set->name; }

uint32_t predictor_block_rows(const predictor *p) { return p->block_rows; }

static enum way way_of(const predictor *p, size_t count) { return count >= p->block_rows ? IN_BLOCKS : FEW; }

/* Sums of the trees [begin, end) for up to w->rows rows, which are encoded already. */
static void add_trees(const predictor *p, workspace *w, uint32_t count, uint32_t begin, uint32_t end) {
    memset(w->sums, 0, sizeof(double) * rounded(count, BLOCK) * p->f->outputs);
    if (way_of(p, count) == IN_BLOCKS) p->set->add_blocks(p->f, w, count, begin, end);
    else p->set->add_few(p->f, w, count, begin, end);
}

/* Predicts rows with one thread, as many at a time as the workspace takes. A rest that is no block goes by itself. */
static void predict_rows(const predictor *p, workspace *w, const char *rows, size_t count, float *out) {
    while (count) {
        uint32_t now = count < w->rows ? (uint32_t)count : w->rows;
        if (now > BLOCK && now % BLOCK && now % BLOCK < p->block_rows) now -= now % BLOCK;
        p->set->encode(p->f, w, rows, now, way_of(p, now) == IN_BLOCKS);
        add_trees(p, w, now, 0, p->f->trees_count);
        forest_finish(p->f, w->sums, now, out);
        rows += now * row_bytes(p->f), out += (size_t)now * p->f->outputs, count -= now;
    }
}

/* Threads over rows: each takes the next chunk until none is left. */
static void take_chunks(void *of, int n) {
    predictor *p = of;
    for (;;) {
        const size_t begin = atomic_fetch_add(&p->next, p->chunk);
        if (begin >= p->count) return;
        const size_t count = p->count - begin < p->chunk ? p->count - begin : p->chunk;
        predict_rows(p, &p->spaces[n], p->rows + begin * row_bytes(p->f), count, p->out + begin * p->f->outputs);
    }
}

/* Threads over trees: all rows, at most a workspace of them, through the thread's own trees. */
static void take_span(void *of, int n) {
    predictor *p = of;
    const enum way way = way_of(p, p->count);
    p->set->encode(p->f, &p->spaces[n], p->rows, (uint32_t)p->count, way == IN_BLOCKS);
    add_trees(p, &p->spaces[n], (uint32_t)p->count, p->spans[way][n], p->spans[way][n + 1]);
}

/* The same by one thread for all, so that sums are rounded alike whoever works. */
static void take_spans(predictor *p) {
    const enum way way = way_of(p, p->count);
    workspace w = p->spaces[0];
    p->set->encode(p->f, &w, p->rows, (uint32_t)p->count, way == IN_BLOCKS);
    for (int n = 0; n < p->threads; n++) {
        w.sums = p->spaces[n].sums;
        add_trees(p, &w, (uint32_t)p->count, p->spans[way][n], p->spans[way][n + 1]);
    }
}

/* `together` or by this thread alone: the predictions are the same. */
static void predict_in_parts(predictor *p, const char *rows, size_t count, float *out, int together) {
    p->rows = rows, p->count = count, p->out = out;
    if (count >= (size_t)p->threads * BLOCK || count > p->spaces->rows) {
        const size_t share = (count / (4 * (size_t)p->threads) + BLOCK - 1) / BLOCK * BLOCK;
        p->chunk = share < BLOCK ? BLOCK : share < p->spaces->rows ? share : p->spaces->rows;
        atomic_store(&p->next, 0);
        if (together) pool_run(p->pool, p->threads, take_chunks, p);
        else take_chunks(p, 0);
    } else {
        if (together) pool_run(p->pool, p->threads, take_span, p);
        else take_spans(p);
        for (int n = 1; n < p->threads; n++)
            for (size_t k = 0; k < count * p->f->outputs; k++) p->spaces->sums[k] += p->spaces[n].sums[k];
        forest_finish(p->f, p->spaces->sums, (uint32_t)count, out);
    }
}

void predictor_run(predictor *p, const void *rows, size_t count, float *out) {
    const double one_by_one = (double)count * p->row_ns, blocks = (double)((count + BLOCK - 1) / BLOCK) * p->block_ns;
    const double work_ns = count < p->block_rows ? one_by_one : blocks;
    if (p->threads == 1 || work_ns < 2 * SMALL_SHARE_NS) {
        predict_rows(p, p->spaces, rows, count, out);
        return;
    }
    predict_in_parts(p, rows, count, out, work_ns >= 2 * SHARE_NS || pool_is_awake(p->pool));
    pool_rests(p->pool);
}
