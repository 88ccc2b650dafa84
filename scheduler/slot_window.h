/*
 * The hours of the week in which a schedule may run.
 *
 *     [days] [hh:mm-hh:mm[,…]] [; …] [zone]      "Mon-Fri 09:00-17:00 America/New_York"
 *
 * A range begins with its first minute and ends before its last one; one that ends earlier than
 * it begins lasts past midnight, and belongs to the day on which it begins. Without days it is
 * every day; without hours the whole day. Several, split by `;`, add up.
 */
#ifndef TOCSIN_SCHEDULER_SLOT_WINDOW_H
#define TOCSIN_SCHEDULER_SLOT_WINDOW_H

#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/err.h"

#define SLOT_WINDOW_RANGES_MAX 64

/* Seconds of the week from Sunday 00:00; the last one not included. */
struct slot_week_range {
    int32_t from;
    int32_t to;
};

struct slot_window {
    const struct civil_zone *zone;
    int n;
    struct slot_week_range ranges[SLOT_WINDOW_RANGES_MAX]; /* sorted, apart from each other */
};

/* `fallback` is the zone of a window that names none. Faults are added as "window: …, at column
 * n". ERR_INVALID, ERR_NOMEM. */
MUST_CHECK int slot_window_parse(const char *text, struct civil_zones *zones,
    const struct civil_zone *fallback, struct buf *faults, struct slot_window *ret_window);

/* The first instant at or after `utc` within the window; INT64_MAX: none before the year 10000. */
int64_t slot_window_open_from(const struct slot_window *window, int64_t utc);
/* The last instant at or before `utc` within the window; INT64_MIN: none since the year 1. */
int64_t slot_window_open_until(const struct slot_window *window, int64_t utc);

#endif
