/*
 * Holiday lists: files beside the definitions, either plain (a date or a range
 * FIRST..LAST a line, `#` starts a comment) or iCalendar (whole-day events, with
 * their yearly recurrence).
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_HOLIDAYS_H
#define TOCSIN_SCHEDULER_DEFINITIONS_HOLIDAYS_H

#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* The dates of a list as an array of "2026-12-24" and "2026-12-24..2026-12-26". Recurring events
 * are expanded from two years before `from` (UTC seconds) to twenty years after it. ERR_INVALID
 * with a reason in `fault`, ERR_NOMEM. */
MUST_CHECK int definitions_holidays_parse(
    const char *text, int64_t from, struct buf *fault, json_t **ret_dates);

#endif
