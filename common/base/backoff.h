/*
 * Exponential back-off with jitter.
 */
#ifndef TOCSIN_BASE_BACKOFF_H
#define TOCSIN_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t first_ms;
    int64_t max_ms;
    unsigned failures; /* in a row */
};

/* Counts a failure and returns how long to wait: first_ms doubled for each
 * failure before this one, at most max_ms, then between half and all of it. */
int64_t backoff_next_ms(struct backoff *b);

/* A success: the next failure waits first_ms again. */
void backoff_reset(struct backoff *b);

/* `ms` ± a quarter, evenly spread. */
int64_t backoff_jitter_ms(int64_t ms);

#endif
