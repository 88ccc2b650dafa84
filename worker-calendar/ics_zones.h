/*
 * The zones that one calendar's times are in. A TZID that names a zone of the
 * system's tzdata is that zone, whatever the calendar's VTIMEZONE says: tzdata is
 * newer, and right beyond the last rule that was written down. Only other names
 * are taken from their VTIMEZONE (RFC 5545 section 3.6.5).
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_ZONES_H
#define TOCSIN_WORKER_CALENDAR_ICS_ZONES_H

#include <stddef.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "base/err.h"

/* TZIDs, and VTIMEZONEs, of one calendar. */
#define ICS_ZONES_MAX 256

/* Numbers of the two zones that need no name. */
#define ICS_ZONE_UTC      0
#define ICS_ZONE_FLOATING 1

struct ics_zones;

/* `civil` is borrowed. Floating times are in `user_zone`. Conversions of VTIMEZONEs hold for
 * two years around [from, until) in UTC seconds. ERR_NOT_FOUND and ERR_INVALID: no such zone;
 * ERR_NOMEM, ERR_IO. */
MUST_CHECK int ics_zones_new(struct civil_zones *civil, const char *user_zone, int64_t from,
    int64_t until, struct ics_zones **ret_zones);
void ics_zones_free(struct ics_zones *z);

/* The number of a TZID, given out before its VTIMEZONE may have been seen. ERR_TOO_LARGE,
 * ERR_NOMEM. */
MUST_CHECK int ics_zones_number(struct ics_zones *z, const char *tzid, int *ret_number);
/* Takes in the text of one VTIMEZONE component. One that cannot be understood is passed over.
 * ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int ics_zones_add(struct ics_zones *z, const char *vtimezone);
/* X-WR-TIMEZONE: what unknown TZIDs fall back to, before the user's zone. */
void ics_zones_set_fallback(struct ics_zones *z, const char *name);

/* A wall clock's reading as UTC seconds. One that the clocks skip counts with the offset before
 * the gap, one that they show twice is the first (RFC 5545 section 3.3.5). */
int64_t ics_zones_to_utc(struct ics_zones *z, int number, int64_t local);
int64_t ics_zones_to_local(struct ics_zones *z, int number, int64_t utc);
/* How many TZIDs were converted without anything known of them. */
size_t ics_zones_unknown(const struct ics_zones *z);

#endif
