/*
 * The instances of one UID within a window: its rule, its extra dates, its
 * exceptions and the instances that were changed one by one.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_EXPAND_H
#define TOCSIN_WORKER_CALENDAR_ICS_EXPAND_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/ics_item.h"

/* Steps of one rule: a daily rule of 270 years, an hourly one of 11. Rules are followed from
 * their start, as COUNT and BYSETPOS want it, and never past the window, so that one that can
 * not occur ends there. A step costs about a microsecond. */
#define ICS_STEPS_MAX 100000
/* Instances of one UID in the window; an hourly meeting has 864 in 36 days. */
#define ICS_INSTANCES_MAX 1000

struct ics_window {
    int64_t start, end; /* UTC seconds: instances that end after `start` and start before `end` */
};

/* Adds the instances of items[0..n), which share their uid, to `list`. The newest of several
 * masters counts (SEQUENCE, then place), likewise of several changes of one instance.
 * RANGE=THISANDFUTURE is read as a change of that one instance. *cut is increased when a ceiling
 * left instances out. ERR_NOMEM. */
MUST_CHECK int ics_expand(struct ics_zones *zones, const struct ics_window *window,
    const struct ics_item *items, size_t n, struct event_list *list, size_t *cut);

#endif
