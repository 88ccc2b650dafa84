#include "base/backoff.h"

#include <sodium.h>

/* 0..span, evenly; the bias of the remainder is below 2^-20 for spans of days. */
static int64_t random_upto(int64_t span)
{
    uint64_t bits;

    randombytes_buf(&bits, sizeof(bits));
    return (int64_t)(bits % ((uint64_t)span + 1));
}

int64_t backoff_next_ms(struct backoff *b)
{
    int64_t ms = b->first_ms;

    for (unsigned i = 0; i < b->failures && ms < b->max_ms; i++)
        ms = ms > b->max_ms / 2 ? b->max_ms : ms * 2;
    if (ms > b->max_ms)
        ms = b->max_ms;
    if (ms < 0)
        ms = 0;
    if (b->failures < UINT32_MAX)
        b->failures++;
    return ms - ms / 2 + random_upto(ms / 2);
}

void backoff_reset(struct backoff *b)
{
    b->failures = 0;
}

int64_t backoff_jitter_ms(int64_t ms)
{
    int64_t quarter = ms / 4;

    return quarter > 0 ? ms - quarter + random_upto(2 * quarter) : ms;
}
