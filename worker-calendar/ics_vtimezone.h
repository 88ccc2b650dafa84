/*
 * A VTIMEZONE component as a list of the instants at which its offset changes.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_VTIMEZONE_H
#define TOCSIN_WORKER_CALENDAR_ICS_VTIMEZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ics_onset {
    int64_t utc;
    int offset_before, offset; /* local time minus UTC, seconds */
};

struct ics_vtimezone {
    char *tzid;
    struct ics_onset *onsets; /* by time; the first may lie long before the rest */
    size_t n_onsets;
};

/* Parses the component; keeps the onsets in [from, until) and the last one before. A yearly
 * RRULE is followed for at most ICS_VTIMEZONE_YEARS, any other is not. ERR_INVALID: not to be
 * understood; ERR_NOMEM. */
#define ICS_VTIMEZONE_YEARS 1000
MUST_CHECK int ics_vtimezone_parse(
    const char *text, int64_t from, int64_t until, struct ics_vtimezone *ret_zone);
void ics_vtimezone_release(struct ics_vtimezone *z);

int64_t ics_vtimezone_to_utc(const struct ics_vtimezone *z, int64_t local);
int64_t ics_vtimezone_to_local(const struct ics_vtimezone *z, int64_t utc);

#endif
