#include "worker-calendar/ics_vtimezone.h"

#include <libical/ical.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "worker-calendar/ics_value.h"

struct onset_list {
    struct ics_onset *items;
    size_t n, cap;
    int64_t from, until;
    struct ics_onset last_before;
    bool has_before;
};

static int list_add(struct onset_list *l, struct ics_onset onset)
{
    if (onset.utc >= l->until)
        return 0;
    if (onset.utc < l->from) {
        if (!l->has_before || onset.utc >= l->last_before.utc)
            l->last_before = onset;
        l->has_before = true;
        return 0;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct ics_onset *items = realloc(l->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = onset;
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct ics_onset *x = a, *y = b;
    return (x->utc > y->utc) - (x->utc < y->utc);
}

/* The onsets of a yearly rule. UNTIL is in UTC (RFC 5545 section 3.6.5). */
static int add_rule(struct onset_list *l, struct icalrecurrencetype rule, struct icaltimetype start,
    struct ics_onset onset)
{
    if (rule.freq != ICAL_YEARLY_RECURRENCE || rule.rscale || start.year < 1)
        return 0;
    int64_t last = l->until + onset.offset_before;
    if (!icaltime_is_null_time(rule.until)) {
        int64_t until = ics_value_local(&rule.until);
        if (icaltime_is_utc(rule.until))
            until += onset.offset_before;
        last = until < last ? until : last;
    }
    rule.until = ics_value_floating(last, false);
    icalrecur_iterator *it = icalrecur_iterator_new(rule, start);
    int err = 0;
    for (int i = 0; it && !err && i < ICS_VTIMEZONE_YEARS; i++) {
        struct icaltimetype t = icalrecur_iterator_next(it);
        if (icaltime_is_null_time(t))
            break;
        onset.utc = ics_value_local(&t) - onset.offset_before;
        err = list_add(l, onset);
    }
    if (it)
        icalrecur_iterator_free(it);
    return err;
}

static int add_observance(struct onset_list *l, icalcomponent *c)
{
    icalproperty *from = icalcomponent_get_first_property(c, ICAL_TZOFFSETFROM_PROPERTY);
    icalproperty *to = icalcomponent_get_first_property(c, ICAL_TZOFFSETTO_PROPERTY);
    icalproperty *dtstart = icalcomponent_get_first_property(c, ICAL_DTSTART_PROPERTY);
    if (!from || !to || !dtstart)
        return ERR_INVALID;
    struct icaltimetype start = icalproperty_get_dtstart(dtstart);
    if (!ics_value_is_valid(&start))
        return ERR_INVALID;
    struct ics_onset onset = {.offset_before = icalproperty_get_tzoffsetfrom(from),
        .offset = icalproperty_get_tzoffsetto(to)};
    if (abs(onset.offset) > 86400 || abs(onset.offset_before) > 86400)
        return ERR_INVALID;
    start = ics_value_floating(ics_value_local(&start), false);
    onset.utc = ics_value_local(&start) - onset.offset_before;
    int err = list_add(l, onset);
    icalproperty *p = icalcomponent_get_first_property(c, ICAL_RRULE_PROPERTY);
    if (!err && p)
        err = add_rule(l, icalproperty_get_rrule(p), start, onset);
    for (p = icalcomponent_get_first_property(c, ICAL_RDATE_PROPERTY); p && !err;
         p = icalcomponent_get_next_property(c, ICAL_RDATE_PROPERTY)) {
        struct icaltimetype t = icalproperty_get_rdate(p).time;
        if (!ics_value_is_valid(&t))
            continue;
        onset.utc = ics_value_local(&t) - onset.offset_before;
        err = list_add(l, onset);
    }
    return err;
}

static int collect(struct onset_list *l, icalcomponent *zone)
{
    int err = 0;
    for (icalcomponent *c = icalcomponent_get_first_component(zone, ICAL_ANY_COMPONENT); c && !err;
         c = icalcomponent_get_next_component(zone, ICAL_ANY_COMPONENT)) {
        icalcomponent_kind kind = icalcomponent_isa(c);
        if (kind == ICAL_XSTANDARD_COMPONENT || kind == ICAL_XDAYLIGHT_COMPONENT)
            err = add_observance(l, c);
    }
    if (!err && l->has_before) {
        int64_t from = l->from;
        l->from = INT64_MIN;
        err = list_add(l, l->last_before);
        l->from = from;
    }
    if (!err && l->n == 0)
        err = ERR_INVALID;
    return err;
}

int ics_vtimezone_parse(
    const char *text, int64_t from, int64_t until, struct ics_vtimezone *ret_zone)
{
    struct onset_list l = {.from = from, .until = until};
    icalcomponent *zone = icalparser_parse_string(text);
    if (!zone)
        return ERR_INVALID;
    int err = ERR_INVALID;
    icalproperty *p = icalcomponent_get_first_property(zone, ICAL_TZID_PROPERTY);
    const char *tzid = p ? icalproperty_get_tzid(p) : NULL;
    char *name = NULL;
    if (icalcomponent_isa(zone) != ICAL_VTIMEZONE_COMPONENT || !tzid)
        goto out;
    err = collect(&l, zone);
    if (!err && !(name = strdup(tzid)))
        err = ERR_NOMEM;
    if (err)
        goto out;
    qsort(l.items, l.n, sizeof(*l.items), by_time);
    *ret_zone = (struct ics_vtimezone){.tzid = name, .onsets = l.items, .n_onsets = l.n};
    l.items = NULL;
out:
    free(l.items);
    icalcomponent_free(zone);
    return err;
}

void ics_vtimezone_release(struct ics_vtimezone *z)
{
    free(z->tzid);
    free(z->onsets);
    *z = (struct ics_vtimezone){0};
}

int64_t ics_vtimezone_to_utc(const struct ics_vtimezone *z, int64_t local)
{
    int offset = z->onsets[0].offset_before;
    for (size_t i = 0; i < z->n_onsets; i++) {
        const struct ics_onset *o = &z->onsets[i];
        /* Before this onset by the offset in force, or skipped by it: that offset counts. */
        if (local - offset < o->utc || local - o->offset < o->utc)
            break;
        offset = o->offset;
    }
    return local - offset;
}

int64_t ics_vtimezone_to_local(const struct ics_vtimezone *z, int64_t utc)
{
    int offset = z->onsets[0].offset_before;
    for (size_t i = 0; i < z->n_onsets && utc >= z->onsets[i].utc; i++)
        offset = z->onsets[i].offset;
    return utc + offset;
}
