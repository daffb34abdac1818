/* Threads that wait for work together with the thread that gives it. */
#ifndef SERVEFIT_POOL_H
#define SERVEFIT_POOL_H

typedef struct pool pool;

/* `threads` includes the calling one. NULL without memory or threads. */
pool *pool_new(int threads);
/* Calls work(of, n) for every n below `parts`, at most one for each thread, the first in the calling thread. */
void pool_run(pool *, int parts, void (*work)(void *of, int n), void *of);
/* Whether calls follow each other so closely that threads are found looking for work: for which pool_rests says when a call
 * ends, whoever did the work. */
int pool_is_awake(const pool *);
void pool_rests(pool *);
void pool_free(pool *);

#endif
