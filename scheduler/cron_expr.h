/*
 * A cron expression as bit sets, and the wall-clock times that match it.
 *
 *     [second] minute hour day-of-month month day-of-week
 *
 * Values, names (JAN, MON), lists, ranges, steps ("a-b/n", "a/n" up to the end); `?` for `*` in
 * the two day fields; L, L-n, LW, nW in the day of the month; n#k and nL in the day of the week
 * (0 and 7 are Sunday); @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.
 *
 * The two day fields as in Vixie cron (crontab(5)): a day matches by either when both are
 * restricted, by both when one of them begins with `*`, which also counts in front of a step.
 *
 * Times are local seconds as in base/civil_time.h.
 */
#ifndef TOCSIN_SCHEDULER_CRON_EXPR_H
#define TOCSIN_SCHEDULER_CRON_EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* How many years a search looks ahead or back. 29 February falls on a given weekday every 28
 * years, or 40 around a year such as 2100. */
#define CRON_YEARS 50

struct cron_expr {
    uint64_t seconds; /* bit n: second n */
    uint64_t minutes;
    uint32_t hours;
    uint32_t months; /* bits 1..12 */

    bool days_star;
    uint32_t days;         /* bits 1..31 */
    uint32_t days_to_last; /* bit n: n days before the last of the month */
    uint32_t near_days;    /* bit n: the working day nearest to n, in the same month */
    bool last_working_day;

    bool weekdays_star;
    uint32_t weekdays;       /* bit 0: Sunday … bit 6 */
    uint32_t last_weekdays;  /* bit n: the last weekday n of the month */
    uint8_t nth_weekdays[7]; /* [n] bit k: the k-th weekday n of the month, k in 1..5 */

    bool wild; /* hours or minutes begin with `*` or leave nothing out */
};

/* Parses an expression. Each fault is added to `faults` as "minute: 61 is above 59, at column
 * 3", one a line; columns count from 1. An expression that no date matches is a fault.
 * ERR_INVALID. */
MUST_CHECK int cron_parse(const char *text, struct buf *faults, struct cron_expr *ret_expr);

/* The first match at or after, the last match at or before a local second. ERR_NOT_FOUND: none
 * within CRON_YEARS, or none in the years 1 to 9999. */
MUST_CHECK int cron_at_or_after(const struct cron_expr *expr, int64_t local, int64_t *ret_local);
MUST_CHECK int cron_at_or_before(const struct cron_expr *expr, int64_t local, int64_t *ret_local);

/* Whether a local second matches. */
bool cron_matches(const struct cron_expr *expr, int64_t local);

#endif
