/*
 * Inside of a slot_spec, shared by the files that make slots of it.
 */
#ifndef TOCSIN_SCHEDULER_SLOT_RULE_H
#define TOCSIN_SCHEDULER_SLOT_RULE_H

#include "scheduler/cron_expr.h"
#include "scheduler/slot_spec.h"
#include "scheduler/slot_window.h"

struct slot_spec {
    const struct civil_zone *zone;
    int64_t every_s; /* 0: by `cron` */
    int64_t anchor;
    struct cron_expr cron;
    enum slot_gap gap;
    enum slot_overlap overlap;
    int64_t jitter_ms; /* at most */
    uint64_t key_hash;
    struct slot_window *window;  /* NULL: always */
    struct slot_dates *blackout; /* sorted, apart from each other */
    size_t n_blackout;
};

/* The first instant at or after, the last one at or before `utc` that the rule names, without
 * regard to window and blackout. ERR_NOT_FOUND: none within CRON_YEARS. */
MUST_CHECK int slot_rule_from(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc);
MUST_CHECK int slot_rule_until(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc);

/* SLOT_… of an instant that the rule names. */
unsigned slot_rule_flags(const struct slot_spec *spec, int64_t utc);

#endif
