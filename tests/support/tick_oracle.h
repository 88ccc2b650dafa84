/*
 * What a tick has to make of the slots that are due, said once more in plain words:
 * for tests of the planner and of the schedulers.
 */
#ifndef TOCSIN_TESTS_TICK_ORACLE_H
#define TOCSIN_TESTS_TICK_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/slot_oracle.h"

/* Of the slots that were not accounted for before: so many of the first are passed over, and so
 * many of those that follow them fire. The rest is not due, or more than one tick does. */
struct tick_verdict {
    size_t skipped;
    size_t fired;
};

/* run_ms: when the runs of the slots leave, in order. */
struct tick_verdict tick_oracle_verdict(
    const struct slot_policy *p, const int64_t *run_ms, size_t n, int64_t now_ms);

/* Whether jitter keeps the order of the slots, so that the verdict is exact. Where it does not,
 * a slot waits for those before it, and only tick_oracle_fault() holds. */
bool tick_oracle_orderly(const struct slot_policy *p, const int64_t *slots, size_t n);

/* What is wrong with a verdict by what holds for any jitter, or NULL. */
const char *tick_oracle_fault(const struct slot_policy *p, const int64_t *slots,
    const int64_t *run_ms, size_t n, int64_t now_ms, struct tick_verdict v);

#endif
