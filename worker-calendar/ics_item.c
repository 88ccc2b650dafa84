#include "worker-calendar/ics_item.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/ics_value.h"

/* Rules that start before are no meeting's; they would only cost steps. */
#define FIRST_YEAR 1900
/* An hourly rule with COUNT has to be followed from its start. */
#define FIRST_YEAR_HOURLY_COUNT 2020

struct parsing {
    const char *text;
    icalcomponent *event;
    struct ics_zones *zones;
    struct ics_item *item;
};

void ics_item_release(struct ics_item *item)
{
    free(item->uid);
    free(item->title);
    free(item->rules);
    free(item->rdates);
    free(item->exdates);
    *item = (struct ics_item){0};
}

static icalproperty *first(const struct parsing *p, icalproperty_kind kind)
{
    return icalcomponent_get_first_property(p->event, kind);
}

/* Whether the text has a property of that name that libical could not read and dropped: without
 * its rule a series would look like a single meeting. */
static bool was_dropped(const struct parsing *p, const char *name, icalproperty_kind kind)
{
    size_t len = strlen(name);
    for (const char *line = p->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && (line[len] == ':' || line[len] == ';'))
            return !first(p, kind);
    }
    return false;
}

static bool is_whole(const struct parsing *p)
{
    return !was_dropped(p, "RRULE", ICAL_RRULE_PROPERTY) &&
           !was_dropped(p, "RDATE", ICAL_RDATE_PROPERTY) &&
           !was_dropped(p, "EXDATE", ICAL_EXDATE_PROPERTY) &&
           !was_dropped(p, "RECURRENCE-ID", ICAL_RECURRENCEID_PROPERTY);
}

/* A time of the property, in the zone that its TZID names. */
static int read_time(
    const struct parsing *p, icalproperty *property, struct icaltimetype t, struct ics_time *ret)
{
    if (!ics_value_is_valid(&t))
        return ERR_INVALID;
    struct ics_time time = {
        .local = ics_value_local(&t), .zone = ICS_ZONE_FLOATING, .date = t.is_date};
    icalparameter *tzid = icalproperty_get_first_parameter(property, ICAL_TZID_PARAMETER);
    const char *name = tzid ? icalparameter_get_tzid(tzid) : NULL;
    if (t.is_date) {
        time.zone = ICS_ZONE_FLOATING;
    } else if (icaltime_is_utc(t)) {
        time.zone = ICS_ZONE_UTC;
    } else if (name && *name) {
        int err = ics_zones_number(p->zones, name, &time.zone);
        if (err)
            return err;
    }
    *ret = time;
    return 0;
}

static int read_span(const struct parsing *p)
{
    struct ics_item *item = p->item;
    icalproperty *start = first(p, ICAL_DTSTART_PROPERTY);
    icalproperty *end = first(p, ICAL_DTEND_PROPERTY);
    icalproperty *duration = first(p, ICAL_DURATION_PROPERTY);
    if (!start)
        return ERR_INVALID;
    int err = read_time(p, start, icalproperty_get_dtstart(start), &item->start);
    if (err)
        return err;
    if (end) {
        err = read_time(p, end, icalproperty_get_dtend(end), &item->end);
        item->has_end = !err && item->end.date == item->start.date;
        if (err == ERR_TOO_LARGE || err == ERR_NOMEM)
            return err;
    }
    /* RFC 5545 section 3.6.1: without either, a date lasts its day, a time no time. */
    item->duration_s = item->start.date ? CIVIL_DAY_S : 0;
    if (!item->has_end && duration) {
        struct icaldurationtype d = icalproperty_get_duration(duration);
        if (!icaldurationtype_is_bad_duration(d) && !d.is_neg && d.days < 36600 && d.weeks < 5200)
            item->duration_s = icaldurationtype_as_int(d);
    }
    return item->duration_s < 0 ? ERR_INVALID : 0;
}

static bool rule_is_sane(const struct icalrecurrencetype *rule)
{
    switch (rule->freq) {
    case ICAL_HOURLY_RECURRENCE:
    case ICAL_DAILY_RECURRENCE:
    case ICAL_WEEKLY_RECURRENCE:
    case ICAL_MONTHLY_RECURRENCE:
    case ICAL_YEARLY_RECURRENCE:
        return !rule->rscale && rule->interval > 0 && rule->count >= 0;
    case ICAL_SECONDLY_RECURRENCE: /* nobody meets every minute */
    case ICAL_MINUTELY_RECURRENCE:
    case ICAL_NO_RECURRENCE:
        return false;
    }
    return false;
}

static bool start_is_sane(const struct ics_item *item)
{
    int year = civil_time_from_local(item->start.local).year;
    for (size_t i = 0; i < item->n_rules; i++) {
        bool hourly = item->rules[i].freq == ICAL_HOURLY_RECURRENCE;
        if (year < (hourly && item->rules[i].count > 0 ? FIRST_YEAR_HOURLY_COUNT : FIRST_YEAR))
            return false;
    }
    return true;
}

static int read_rules(const struct parsing *p)
{
    struct ics_item *item = p->item;
    for (icalproperty *r = first(p, ICAL_RRULE_PROPERTY); r;
         r = icalcomponent_get_next_property(p->event, ICAL_RRULE_PROPERTY)) {
        struct icalrecurrencetype rule = icalproperty_get_rrule(r);
        if (item->n_rules == ICS_RULES_MAX || !rule_is_sane(&rule))
            return ERR_INVALID;
        struct icalrecurrencetype *rules =
            realloc(item->rules, (item->n_rules + 1) * sizeof(*rules));
        if (!rules)
            return ERR_NOMEM;
        item->rules = rules;
        item->rules[item->n_rules++] = rule;
    }
    return start_is_sane(item) ? 0 : ERR_INVALID;
}

static struct icaltimetype date_of(icalproperty *property, icalproperty_kind kind)
{
    if (kind == ICAL_EXDATE_PROPERTY)
        return icalproperty_get_exdate(property);
    struct icaldatetimeperiodtype d = icalproperty_get_rdate(property);
    return icaltime_is_null_time(d.time) ? d.period.start : d.time;
}

/* Of a period only its start counts: it lasts as long as every other instance. */
static int read_dates(
    const struct parsing *p, icalproperty_kind kind, struct ics_time **ret_dates, size_t *ret_n)
{
    struct ics_time *dates = NULL;
    size_t n = 0, cap = 0;
    int err = 0;
    for (icalproperty *d = first(p, kind); d && !err;
         d = icalcomponent_get_next_property(p->event, kind)) {
        if (n == ICS_DATES_MAX) {
            err = ERR_INVALID;
            break;
        }
        if (n == cap) {
            cap = cap ? cap * 2 : 8;
            struct ics_time *grown = realloc(dates, cap * sizeof(*grown));
            if (!grown) {
                err = ERR_NOMEM;
                break;
            }
            dates = grown;
        }
        err = read_time(p, d, date_of(d, kind), &dates[n]);
        n += err == 0;
    }
    if (err) {
        free(dates);
        return err;
    }
    *ret_dates = dates;
    *ret_n = n;
    return 0;
}

/* "mailto:someone@example.org" against lower-case addresses. */
static bool is_own_address(const char *uri, const char *const *addresses)
{
    if (strncasecmp(uri, "mailto:", 7) == 0)
        uri += 7;
    for (; *addresses; addresses++)
        if (strcasecmp(uri, *addresses) == 0)
            return true;
    return false;
}

static bool is_declined(const struct parsing *p, const char *const *addresses)
{
    for (icalproperty *a = addresses ? first(p, ICAL_ATTENDEE_PROPERTY) : NULL; a;
         a = icalcomponent_get_next_property(p->event, ICAL_ATTENDEE_PROPERTY)) {
        icalparameter *partstat = icalproperty_get_first_parameter(a, ICAL_PARTSTAT_PARAMETER);
        const char *uri = icalproperty_get_attendee(a);
        if (partstat && uri && icalparameter_get_partstat(partstat) == ICAL_PARTSTAT_DECLINED &&
            is_own_address(uri, addresses))
            return true;
    }
    return false;
}

static int read_rest(const struct parsing *p, const char *const *addresses)
{
    struct ics_item *item = p->item;
    icalproperty *rid = first(p, ICAL_RECURRENCEID_PROPERTY);
    if (rid) {
        item->is_override = true;
        int err = read_time(p, rid, icalproperty_get_recurrenceid(rid), &item->recurrence_id);
        if (err)
            return err;
    }
    icalproperty *status = first(p, ICAL_STATUS_PROPERTY);
    if (status) {
        item->cancelled = icalproperty_get_status(status) == ICAL_STATUS_CANCELLED;
        item->tentative = icalproperty_get_status(status) == ICAL_STATUS_TENTATIVE;
    }
    item->declined = is_declined(p, addresses);
    icalproperty *sequence = first(p, ICAL_SEQUENCE_PROPERTY);
    if (sequence)
        item->sequence = icalproperty_get_sequence(sequence);
    icalproperty *summary = first(p, ICAL_SUMMARY_PROPERTY);
    const char *title = summary ? icalproperty_get_summary(summary) : NULL;
    if (title && !(item->title = strdup(title)))
        return ERR_NOMEM;
    return 0;
}

/* The event's uid; one that lacks it is known by its start and title (RFC 5545 wants a UID). */
static int read_uid(const struct parsing *p)
{
    icalproperty *uid = first(p, ICAL_UID_PROPERTY);
    const char *text = uid ? icalproperty_get_uid(uid) : NULL;
    if (text && *text) {
        if (strlen(text) > EVENT_ID_MAX)
            return ERR_INVALID;
        p->item->uid = strdup(text);
        return p->item->uid ? 0 : ERR_NOMEM;
    }
    icalproperty *start = first(p, ICAL_DTSTART_PROPERTY);
    icalproperty *summary = first(p, ICAL_SUMMARY_PROPERTY);
    if (!start)
        return ERR_INVALID;
    struct icaltimetype t = icalproperty_get_dtstart(start);
    struct buf b = BUF_INIT(EVENT_ID_MAX);
    buf_addf(&b, "without-uid:%04d%02d%02d%02d%02d:%s", t.year, t.month, t.day, t.hour, t.minute,
        summary && icalproperty_get_summary(summary) ? icalproperty_get_summary(summary) : "");
    int err = buf_err(&b);
    p->item->uid = err ? NULL : buf_steal(&b);
    buf_release(&b);
    if (err)
        return err == ERR_TOO_LARGE ? ERR_INVALID : err;
    return p->item->uid ? 0 : ERR_NOMEM;
}

int ics_item_parse(const char *vevent, struct ics_zones *zones, const char *const *addresses,
    struct ics_item *ret_item)
{
    struct ics_item item = {0};
    struct parsing p = {.text = vevent, .zones = zones, .item = &item};
    p.event = icalparser_parse_string(vevent);
    if (!p.event)
        return ERR_INVALID;
    int err = icalcomponent_isa(p.event) == ICAL_VEVENT_COMPONENT ? read_uid(&p) : ERR_INVALID;
    if (err)
        goto out;
    err = is_whole(&p) ? read_span(&p) : ERR_INVALID;
    if (!err)
        err = read_rest(&p, addresses);
    if (!err)
        err = read_rules(&p);
    if (!err)
        err = read_dates(&p, ICAL_RDATE_PROPERTY, &item.rdates, &item.n_rdates);
    if (!err)
        err = read_dates(&p, ICAL_EXDATE_PROPERTY, &item.exdates, &item.n_exdates);
    if (err == ERR_INVALID) {
        item.broken = true;
        err = 0;
    }
out:
    icalcomponent_free(p.event);
    if (err)
        ics_item_release(&item);
    else
        *ret_item = item;
    return err;
}
