/*
 * Civil time: what the clocks on the wall of a zone show, and the instants behind
 * it. Zones come from the system's tzdata, the same that PostgreSQL reads.
 *
 * Instants are UTC seconds since 1970, without leap seconds. A local second is
 * the wall clock's reading counted as though it were UTC. Days count from
 * 1970-01-01. Years up to 9999 in the proleptic Gregorian calendar.
 */
#ifndef TOCSIN_BASE_CIVIL_TIME_H
#define TOCSIN_BASE_CIVIL_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/tzif.h"

#define CIVIL_DAY_S INT64_C(86400)

struct civil_time {
    int year;
    int month; /* 1..12 */
    int day;   /* 1..31 */
    int hour;
    int minute;
    int second;
};

/* Calendar arithmetic, without a zone. */
int64_t civil_time_days(int year, int month, int day);
void civil_time_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day);
/* 0 Sunday … 6 Saturday. */
int civil_time_weekday(int64_t days);
int civil_time_month_length(int year, int month);
/* Rounds down, unlike `/`: the day of a local second. */
int64_t civil_time_day_of(int64_t local);
int64_t civil_time_to_local(const struct civil_time *t);
struct civil_time civil_time_from_local(int64_t local);

/* "2026-12-24". ERR_INVALID also for a day that the calendar does not have. */
MUST_CHECK int civil_time_parse_date(const char *text, int64_t *ret_days);
/* RFC 3339: "2026-03-07T00:00:00Z", "…+01:00"; a blank instead of the T and a missing
 * fraction are allowed, a fraction is dropped; a bare date is its midnight in UTC. ERR_INVALID. */
MUST_CHECK int civil_time_parse_instant(const char *text, int64_t *ret_utc);
/* Adds "2026-03-07T00:00:00Z". */
void civil_time_add_utc(struct buf *b, int64_t utc);
/* Adds "2026-03-07T00:00:00-05:00"; seconds of the offset only where there are any. */
void civil_time_add_local(struct buf *b, int64_t utc, int32_t offset);

/*
 * Zones. A cache owned by one thread: it loads each zone once, and keeps the
 * pointer to it valid, with renewed contents after civil_zones_refresh().
 */
struct civil_zones;
struct civil_zone;

/* `dir` is copied; NULL: $TZDIR, else /usr/share/zoneinfo. Opens nothing. ERR_NOMEM. */
MUST_CHECK int civil_zones_new(const char *dir, struct civil_zones **ret_zones);
/* Frees the zones too; NULL does nothing. */
void civil_zones_free(struct civil_zones *zones);
static inline void civil_zones_freep(struct civil_zones **zones)
{
    civil_zones_free(*zones);
}

/* A zone by its IANA name ("Europe/Berlin", "UTC"), owned by `zones`. ERR_INVALID: no
 * possible name (absolute, "..", odd characters) or not a zone's file; ERR_NOT_FOUND; ERR_IO;
 * ERR_NOMEM. */
MUST_CHECK int civil_zones_get(
    struct civil_zones *zones, const char *name, const struct civil_zone **ret_zone);

/* Looks at every loaded file (one stat each) and reads those that were replaced. Calls
 * `changed` (may be NULL) for each zone whose rules are different now, and returns how many
 * these were. A file that is gone or broken leaves its zone as it was. */
size_t civil_zones_refresh(struct civil_zones *zones,
    void (*changed)(void *ctx, const struct civil_zone *zone), void *ctx);

const char *civil_zone_name(const struct civil_zone *zone);
/* Local time minus UTC in seconds at an instant. */
int32_t civil_zone_offset(const struct civil_zone *zone, int64_t utc);
/* The stretch of constant offset around an instant. */
void civil_zone_span_at(const struct civil_zone *zone, int64_t utc, struct tzif_span *ret_span);
/* What the wall clock shows. */
struct civil_time civil_time_from_utc(const struct civil_zone *zone, int64_t utc);

enum civil_kind {
    CIVIL_UNIQUE,  /* the clocks show it once */
    CIVIL_GAP,     /* they skip it */
    CIVIL_OVERLAP, /* they show it twice */
};

struct civil_instants {
    enum civil_kind kind;
    int64_t first;  /* the instant; in a gap the first one after it; in an overlap the earlier */
    int64_t second; /* in an overlap the later one, else the same as `first` */
    int32_t shift;  /* seconds that the clocks skip (gap) or repeat (overlap), else 0 */
};

/* The instants at which the wall clock shows a local second. */
void civil_time_to_utc(const struct civil_zone *zone, int64_t local, struct civil_instants *ret);

#endif
