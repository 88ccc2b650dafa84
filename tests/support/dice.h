/*
 * Random numbers that a seed repeats, for tests that try many cases.
 */
#ifndef TOCSIN_TESTS_DICE_H
#define TOCSIN_TESTS_DICE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Over the seed of a test, to see a failure again. */
#define DICE_SEED_ENV "TOCSIN_TEST_SEED"

struct dice {
    uint64_t state; /* the seed, at first */
};

static inline uint64_t dice_seed(uint64_t fallback)
{
    const char *text = getenv(DICE_SEED_ENV);

    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

/* SplitMix64. */
static inline uint64_t dice_next(struct dice *d)
{
    uint64_t z = (d->state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 0 … n - 1. */
static inline int64_t dice_below(struct dice *d, int64_t n)
{
    return (int64_t)(dice_next(d) % (uint64_t)n);
}

/* Both included. */
static inline int64_t dice_between(struct dice *d, int64_t low, int64_t high)
{
    return low + dice_below(d, high - low + 1);
}

static inline bool dice_one_in(struct dice *d, int64_t n)
{
    return dice_below(d, n) == 0;
}

/* From low (over 0) to high, every power of two as often as the next one. */
static inline int64_t dice_spread(struct dice *d, int64_t low, int64_t high)
{
    int64_t powers = 1, least;

    while (low << powers <= high)
        powers++;
    least = low << dice_below(d, powers);
    return dice_between(d, least, 2 * least <= high ? 2 * least - 1 : high);
}

#endif
