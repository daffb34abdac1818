/* Predicts rows from a file with the kernel alone, without Python: for sanitizers, which see every byte of it then.
 *
 *     predict ARTIFACT ROWS OUT SET THREADS ROUNDS BATCH...
 *
 * ROWS are raw float32 or float64 numbers, as the artifact takes them. For each BATCH in turn one predictor takes all rows, BATCH of them at a time; that is one
 * round, and OUT holds the predictions of all batches of the last. Artifact, rows and predictions lie in memory of just
 * their size, so that a step outside is one outside of the allocation. Ends with 3 where the artifact is refused.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forest.h"

enum { REFUSED = 3 };

static void *whole_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    void *memory = NULL;
    long end = -1;
    if (file && fseek(file, 0, SEEK_END) == 0) end = ftell(file);
    if (end < 0 || posix_memalign(&memory, 64, end ? (size_t)end : 1)) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    rewind(file);
    *size = fread(memory, 1, (size_t)end, file);
    fclose(file);
    return memory;
}

static void *allocated(size_t size) {
    void *memory = malloc(size);
    if (memory) return memory;
    fprintf(stderr, "no memory for %zu bytes\n", size);
    exit(1);
}

/* Longer than threads look for work, after every eleventh batch: so they are met awake and asleep. */
static void pause_at_times(void) {
    static unsigned batches;
    if (++batches % 11 == 0) nanosleep(&(struct timespec){0, 200000}, NULL);
}

static void predict_all(predictor *p, const forest *f, const char *rows, size_t count, size_t batch, float *out) {
    for (size_t begin = 0; begin < count; begin += batch) {
        const size_t now = count - begin < batch ? count - begin : batch;
        const size_t bytes = now * row_bytes(f), out_bytes = now * f->outputs * sizeof(float);
        char *own_rows = allocated(bytes);
        float *own_out = allocated(out_bytes);
        memcpy(own_rows, rows + begin * row_bytes(f), bytes);
        predictor_run(p, own_rows, now, own_out);
        memcpy(out + begin * f->outputs, own_out, out_bytes);
        free(own_rows);
        free(own_out);
        pause_at_times();
    }
}

int main(int arguments, char **argument) {
    if (arguments < 8) {
        fprintf(stderr, "usage: predict ARTIFACT ROWS OUT SET THREADS ROUNDS BATCH...\n");
        return 2;
    }
    size_t artifact_size, rows_size;
    void *artifact = whole_file(argument[1], &artifact_size);
    char *rows = whole_file(argument[2], &rows_size);
    const int threads = atoi(argument[5]), rounds = atoi(argument[6]), batches = arguments - 7;
    forest f;
    const char *wrong = forest_open(&f, artifact, artifact_size);
    if (wrong) {
        fprintf(stderr, "refused: %s\n", wrong);
        return REFUSED;
    }
    predictor *p = predictor_new(&f, argument[4], threads);
    if (!p) {
        fprintf(stderr, "%s does not run here\n", argument[4]);
        return 1;
    }
    const size_t count = rows_size / row_bytes(&f), size = count * f.outputs;
    float *out = allocated(sizeof(float) * size * (size_t)batches);
    for (int round = 0; round < rounds; round++)
        for (int n = 0; n < batches; n++)
            predict_all(p, &f, rows, count, (size_t)atol(argument[7 + n]), out + size * (size_t)n);
    predictor_free(p);
    FILE *file = fopen(argument[3], "wb");
    const int written = file && fwrite(out, sizeof(float) * size, (size_t)batches, file) == (size_t)batches;
    if (!file || fclose(file) || !written) {
        fprintf(stderr, "%s: %s\n", argument[3], strerror(errno));
        return 1;
    }
    free(out);
    free(rows);
    free(artifact);
    return 0;
}
