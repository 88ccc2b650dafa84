/*
 * One VEVENT, reduced to what planning needs.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_ITEM_H
#define TOCSIN_WORKER_CALENDAR_ICS_ITEM_H

#include <libical/ical.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "worker-calendar/ics_zones.h"

/* RRULEs, RDATEs and EXDATEs of one event; more make it unreadable. */
#define ICS_RULES_MAX 4
#define ICS_DATES_MAX 5000

struct ics_time {
    int64_t local; /* the wall clock's reading, or midnight of a date */
    int zone;      /* of struct ics_zones */
    bool date;
};

struct ics_item {
    char *uid;
    char *title; /* NULL: none */
    struct ics_time start;
    struct ics_time end;           /* where has_end */
    int64_t duration_s;            /* where not */
    struct ics_time recurrence_id; /* where is_override */
    struct icalrecurrencetype *rules;
    struct ics_time *rdates, *exdates;
    size_t n_rules, n_rdates, n_exdates;
    int sequence;
    size_t ordinal; /* place in the calendar */
    bool has_end;
    bool is_override;
    bool cancelled;
    bool tentative;
    bool declined;
    bool broken; /* nothing but uid holds */
};

/* Parses the text of one VEVENT, unfolded, property names in upper case. `addresses` are the
 * owner's mail addresses in lower case, NULL-terminated, or NULL. An event that cannot be read is
 * `broken`, and has at least its uid; one without even that is ERR_INVALID. ERR_TOO_LARGE (zones),
 * ERR_NOMEM. */
MUST_CHECK int ics_item_parse(const char *vevent, struct ics_zones *zones,
    const char *const *addresses, struct ics_item *ret_item);
void ics_item_release(struct ics_item *item);

static inline bool ics_item_recurs(const struct ics_item *item)
{
    return item->n_rules > 0 || item->n_rdates > 0;
}

#endif
