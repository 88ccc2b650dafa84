/*
 * One time zone as a TZif file describes it (RFC 8536): a sorted list of
 * stretches of constant offset. The rule in the file's footer is unrolled over one
 * 400-year cycle of the Gregorian calendar and repeats from there, so that
 * answers hold for any later year. Leap seconds are not counted, as in PostgreSQL.
 */
#ifndef TOCSIN_BASE_TZIF_H
#define TOCSIN_BASE_TZIF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Bytes; the largest file of tzdata has under 8 kB. */
#define TZIF_SIZE_MAX 65536

struct tzif;

/* A stretch of time with one offset. Neighbours differ in their offsets. */
struct tzif_span {
    int64_t start;  /* UTC seconds; INT64_MIN: since ever */
    int64_t end;    /* the first second after it; INT64_MAX: for good */
    int32_t offset; /* local time minus UTC, seconds */
    /* The local second that no clock of the zone had yet reached at `start`; INT64_MIN in the
     * first span. start + offset lies after it where clocks skip, before it where they repeat. */
    int64_t wall_high;
};

/* Parses the bytes of a file, version 1 to 4. A file that counts leap seconds
 * ("right/…") is refused. ERR_INVALID, ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int tzif_parse(const void *data, size_t len, struct tzif **ret_tzif);
/* NULL does nothing. */
void tzif_free(struct tzif *tz);

/* The span that holds an instant. */
void tzif_span_at(const struct tzif *tz, int64_t utc, struct tzif_span *ret_span);

#endif
