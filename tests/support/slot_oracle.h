/*
 * The slots of a schedule by brute force: a second reading of the same definition,
 * which shares nothing with the scheduler's but the zones. The clock ticks on minute by
 * minute, and what it shows is held against the text.
 */
#ifndef TOCSIN_TESTS_SLOT_ORACLE_H
#define TOCSIN_TESTS_SLOT_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/civil_time.h"

enum oracle_catch_up { ORACLE_SKIP, ORACLE_RUN_ONCE, ORACLE_RUN_ALL };

/* What the definition says of runs that are late. */
struct slot_policy {
    enum oracle_catch_up catch_up;
    int64_t grace_ms;
    int64_t window_ms; /* INT64_MAX: any */
    int64_t cap;
    int64_t jitter_ms; /* at most */
};

struct slot_oracle;

/* Reads a definition that the scheduler has accepted, or refused for having no slot. Fails the
 * test where it cannot. The zones must outlive it. */
struct slot_oracle *slot_oracle_new(const char *definition, struct civil_zones *zones);
/* NULL does nothing. */
void slot_oracle_free(struct slot_oracle *o);
static inline void slot_oracle_freep(struct slot_oracle **o)
{
    slot_oracle_free(*o);
}

const struct slot_policy *slot_oracle_policy(const struct slot_oracle *o);

/* The slots in (from, to], in the order of time, but not more than `max` of them: how many. */
size_t slot_oracle_list(
    struct slot_oracle *o, int64_t from, int64_t to, int64_t *ret_slots, size_t max);

#endif
