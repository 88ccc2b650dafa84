/*
 * Reads a calendar's text (RFC 5545) into the events of a window, a stretch at a
 * time, so that a large one does not hold up the loop. Only the lines that
 * planning needs reach libical.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_READ_H
#define TOCSIN_WORKER_CALENDAR_ICS_READ_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/err.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/ics_expand.h"

/* VEVENTs that recur or lie near the window; those that do not are passed over. */
#define ICS_ITEMS_MAX 50000
/* Bytes of what is kept of one component. */
#define ICS_COMPONENT_MAX ((size_t)512 << 10)

struct ics_read_options {
    struct ics_window window;
    struct civil_zones *civil;    /* borrowed */
    const char *user_zone;        /* IANA; of floating times and all-day events */
    const char *const *addresses; /* the owner's, lower case, NULL-terminated; NULL: not known */
};

struct ics_read_stats {
    size_t events;        /* VEVENTs seen */
    size_t broken;        /* of them, those that could not be read */
    size_t cut;           /* ceilings of recurrence that were met */
    size_t unknown_zones; /* TZIDs that nothing is known of */
};

struct ics_read;

/* Borrows `text` and `list` until it is freed. ERR_NOT_FOUND and ERR_INVALID: the user's zone;
 * ERR_NOMEM, ERR_IO. */
MUST_CHECK int ics_read_new(const char *text, size_t len, const struct ics_read_options *options,
    struct event_list *list, struct ics_read **ret_read);
/* NULL does nothing. */
void ics_read_free(struct ics_read *r);

/* Works for about `budget_us`, then returns 1; 0 when all is read. A text that is no calendar,
 * that ends within one, or of which no event can be read is ERR_INVALID, as a calendar that was
 * cut short must not cancel meetings; ERR_TOO_LARGE where a ceiling was met; ERR_NOMEM. The
 * reason is added to `fault`. */
MUST_CHECK int ics_read_step(struct ics_read *r, int64_t budget_us, struct buf *fault);

void ics_read_stats(const struct ics_read *r, struct ics_read_stats *ret_stats);

#endif
