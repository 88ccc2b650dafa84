/*
 * What becomes of a schedule's slots that are due: which fire, which are passed
 * over, and what comes next. Pure arithmetic: no clock, no database.
 */
#ifndef TOCSIN_SCHEDULER_SCHEDULE_PLAN_H
#define TOCSIN_SCHEDULER_SCHEDULE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "scheduler/schedule_rule.h"

/* One turn does at most so much for one schedule; what is left is due in the next turn. */
#define PLAN_FIRES_MAX 100
#define PLAN_SKIPS_MAX 20000

/* A slot that fires (count 1), or a gap that is passed over. */
struct plan_entry {
    int64_t first; /* UTC seconds */
    int64_t last;
    int64_t count;
    bool fires;
};

struct schedule_plan {
    struct plan_entry entries[PLAN_FIRES_MAX + 1]; /* in the order of time, the gap first */
    size_t n_entries;
    int64_t accounted; /* every slot up to here stands in an entry, now or earlier */
    bool ends;         /* no slot comes any more, and `next` is not set */
    struct slot next;  /* the first slot later than `accounted` */
};

/* Accounts for the slots later than `accounted` (UTC seconds) that are due at `now_ms` (UTC
 * milliseconds), jitter included. */
void schedule_plan_make(const struct schedule_rule *rule, int64_t accounted, int64_t now_ms,
    struct schedule_plan *ret_plan);

/* When the run of a slot leaves: UTC milliseconds. */
int64_t schedule_plan_run_ms(const struct slot *slot);

#endif
