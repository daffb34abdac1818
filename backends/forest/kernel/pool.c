/* Threads look for work for some 50 us after the last before they sleep: waking one takes that long on its own. Meanwhile
 * they let others go first: the one that has the work may be on the same processor.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "pool.h"

#define LOOKING_NS 50000

struct pool {
    int threads, started;
    pid_t process; /* which has the threads: a fork of it does not */
    pthread_t *ids;
    pthread_mutex_t lock;
    pthread_cond_t given, done;
    atomic_uint round;     /* changes when there is work */
    atomic_int unfinished; /* parts of this round that are not done */
    atomic_int ending;
    long rests_ns;         /* since when */
    int parts;
    void (*work)(void *, int);
    void *of;
};

struct start {
    pool *p;
    int n;
};

static void breathe(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int has_news(pool *p, unsigned seen) { return atomic_load(&p->round) != seen || atomic_load(&p->ending); }

static void wait_for_work(pool *p, unsigned seen) {
    const long until = now_ns() + LOOKING_NS;
    for (; now_ns() < until; sched_yield())
        for (int n = 0; n < 64; n++, breathe())
            if (has_news(p, seen)) return;
    pthread_mutex_lock(&p->lock);
    while (!has_news(p, seen)) pthread_cond_wait(&p->given, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void finish_part(pool *p) {
    if (atomic_fetch_sub(&p->unfinished, 1) != 1) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
}

static void *thread_main(void *argument) {
    const struct start start = *(struct start *)argument;
    pool *p = start.p;
    free(argument);
    for (unsigned seen = 0;;) {
        wait_for_work(p, seen);
        if (atomic_load(&p->ending)) return NULL;
        seen = atomic_load(&p->round);
        /* A thread without a part counts as well, so that no round begins while one still reads what the last was. */
        if (start.n < p->parts) p->work(p->of, start.n);
        finish_part(p);
    }
}

pool *pool_new(int threads) {
    pool *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->threads = threads;
    p->process = getpid();
    p->ids = calloc((size_t)threads, sizeof *p->ids);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->given, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int n = 1; p->ids && n < threads; n++) {
        struct start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (struct start){p, n};
        if (pthread_create(&p->ids[n], NULL, thread_main, start)) {
            free(start);
            break;
        }
        p->started++;
    }
    if (p->started == threads - 1) return p;
    pool_free(p);
    return NULL;
}

void pool_run(pool *p, int parts, void (*work)(void *of, int n), void *of) {
    if (getpid() != p->process) {
        for (int n = 0; n < parts; n++) work(of, n);
        return;
    }
    p->parts = parts, p->work = work, p->of = of;
    atomic_store(&p->unfinished, p->started);
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->round, 1);
    pthread_cond_broadcast(&p->given);
    pthread_mutex_unlock(&p->lock);
    work(of, 0);
    const long until = now_ns() + LOOKING_NS;
    for (; atomic_load(&p->unfinished) && now_ns() < until; sched_yield())
        for (int n = 0; n < 64 && atomic_load(&p->unfinished); n++) breathe();
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->unfinished)) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

int pool_is_awake(const pool *p) { return now_ns() - p->rests_ns < LOOKING_NS / 2; }

void pool_rests(pool *p) { p->rests_ns = now_ns(); }

void pool_free(pool *p) {
    if (!p) return;
    if (getpid() != p->process) return; /* a copy of memory that other threads may have been at */
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->ending, 1);
    pthread_cond_broadcast(&p->given);
    pthread_mutex_unlock(&p->lock);
    for (int n = 1; n <= p->started; n++) pthread_join(p->ids[n], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->given);
    pthread_mutex_destroy(&p->lock);
    free(p->ids);
    free(p);
}
