/*
 * When a schedule runs. A slot is an instant that its rule names: a cron
 * expression in a zone, or `every` so many seconds; moved or left out where the
 * clocks change; and only inside its window and outside its blackouts.
 *
 * A fixed time is a cron expression whose hours and minutes are both lists or
 * numbers. Where the clocks skip it, it runs once at the first instant after the
 * gap; where they repeat it, it runs at its first occurrence; `dst_gap` and
 * `dst_overlap` change that. An expression with `*` in hours or minutes, and
 * `every`, keep elapsed time: they run whenever the wall clock matches, in both
 * passes of a repeated hour. Times that collapse into one instant are one slot.
 *
 * Instants are UTC seconds since 1970.
 */
#ifndef TOCSIN_SCHEDULER_SLOT_SPEC_H
#define TOCSIN_SCHEDULER_SLOT_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/err.h"

enum slot_gap { SLOT_GAP_RUN_AFTER, SLOT_GAP_SKIP };
enum slot_overlap { SLOT_OVERLAP_FIRST, SLOT_OVERLAP_BOTH };

/* Civil dates in days since 1970, both included. */
struct slot_dates {
    int64_t first;
    int64_t last;
};

/* The definition as text. Nothing of it is kept after slot_spec_new(). */
struct slot_options {
    const char *cron;                  /* exactly one of cron and every */
    const char *every;                 /* "90s", "5m", "1h30m", "2d" */
    const char *anchor;                /* of every, RFC 3339; NULL: 1970-01-01T00:00:00Z */
    const char *zone;                  /* NULL: UTC */
    const char *dst_gap;               /* run_after | skip; NULL: run_after */
    const char *dst_overlap;           /* first | both; NULL: first */
    const char *window;                /* "Mon-Fri 09:00-17:00 America/New_York"; NULL: always */
    const char *jitter;                /* at most so long, as `every`; NULL: none */
    const char *key;                   /* of the schedule, hashed into the jitter; NULL: "" */
    const struct slot_dates *blackout; /* in any order; dates in `zone` */
    size_t n_blackout;
};

enum slot_flag {
    SLOT_MOVED_BY_GAP = 1 << 0, /* its time was skipped: it stands at the first instant after */
    SLOT_IN_OVERLAP = 1 << 1,   /* its local time is one that the clocks repeat */
};

struct slot {
    int64_t at;        /* UTC seconds */
    int32_t offset;    /* of local time, seconds */
    unsigned flags;    /* SLOT_… */
    int64_t jitter_ms; /* the run leaves so much later; the same for the same key and slot */
};

struct slot_spec;

/* Parses a definition. Every fault is added to `faults`, one a line, as "field: reason, at
 * column n". The zones must outlive the spec. ERR_INVALID (faults were added), ERR_NOMEM. */
MUST_CHECK int slot_spec_new(const struct slot_options *options, struct civil_zones *zones,
    struct buf *faults, struct slot_spec **ret_spec);
/* NULL does nothing. */
void slot_spec_free(struct slot_spec *spec);
static inline void slot_spec_freep(struct slot_spec **spec)
{
    slot_spec_free(*spec);
}

/* Whether the spec depends on a zone (its own or its window's), so that a change of that
 * zone's rules moves its slots. */
bool slot_spec_uses_zone(const struct slot_spec *spec, const struct civil_zone *zone);
/* The zone whose local time it is written in. */
const struct civil_zone *slot_spec_zone(const struct slot_spec *spec);

/* 0, or ERR_INVALID with a reason in `faults` when no slot comes within 50 years after `from`:
 * the window or the blackout leaves out every one of them. */
MUST_CHECK int slot_spec_check(const struct slot_spec *spec, int64_t from, struct buf *faults);

/* Whether no slot comes within 50 years after `from`, and only for the blackout: what time alone
 * may bring about, where the dates go far. */
bool slot_spec_ends(const struct slot_spec *spec, int64_t from);

/* The first slot later than `after`. ERR_NOT_FOUND: none within 50 years, or the year 9999 passed.
 */
MUST_CHECK int slot_next(const struct slot_spec *spec, int64_t after, struct slot *ret_slot);
/* The last slot earlier than `before`. ERR_NOT_FOUND as above. */
MUST_CHECK int slot_prev(const struct slot_spec *spec, int64_t before, struct slot *ret_slot);
/* How many slots lie in (from, to], at most `cap`: counting stops there. */
int64_t slot_count(const struct slot_spec *spec, int64_t from, int64_t to, int64_t cap);
/* Whether an instant is a slot. */
bool slot_is(const struct slot_spec *spec, int64_t at);

#endif
