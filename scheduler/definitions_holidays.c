#include "scheduler/definitions_holidays.h"

#include <libical/ical.h>
#include <string.h>

#include "base/civil_time.h"
#include "base/cleanup.h"
#include "scheduler/schedule_rule.h"

#define YEARS_BEFORE 2
#define YEARS_AFTER  20
#define LINE_MAX_LEN 4096

static void add_date(struct buf *b, int64_t day)
{
    int year, month, dom;

    civil_time_from_days(day, &year, &month, &dom);
    buf_addf(b, "%04d-%02d-%02d", year, month, dom);
}

static int append_dates(json_t *dates, struct slot_dates d)
{
    _cleanup_(buf_release) struct buf b = BUF_INIT(64);

    add_date(&b, d.first);
    if (d.last > d.first) {
        buf_add_str(&b, "..");
        add_date(&b, d.last);
    }
    if (buf_err(&b) < 0)
        return buf_err(&b);
    return json_array_append_new(dates, json_string(buf_str(&b))) < 0 ? ERR_NOMEM : 0;
}

static int parse_plain(const char *text, struct buf *fault, json_t *dates)
{
    for (int line = 1; *text; line++) {
        size_t len = strcspn(text, "\n");
        const char *first = text + strspn(text, " \t\r");
        _cleanup_(buf_release) struct buf word = BUF_INIT(LINE_MAX_LEN);
        struct slot_dates d;

        buf_add(&word, first, strcspn(first, " \t\r\n#"));
        if (word.len > 0) {
            int err = schedule_rule_parse_dates(buf_str(&word), &d);
            if (err == ERR_INVALID)
                buf_addf(fault,
                    "line %d: write a date (2026-12-24) or a range (2026-12-24..2027-01-02)", line);
            if (err == 0)
                err = append_dates(dates, d);
            if (err < 0)
                return err;
        }
        text += len + (text[len] == '\n');
    }
    return 0;
}

static int64_t day_of(struct icaltimetype t)
{
    return civil_time_days(t.year, t.month, t.day);
}

/* One event: its day or days, again for each year that it recurs in. */
static int append_event(icalcomponent *event, int64_t from, json_t *dates)
{
    struct icaltimetype start = icalcomponent_get_dtstart(event);
    struct icaltimetype end = icalcomponent_get_dtend(event);
    icalproperty *rule = icalcomponent_get_first_property(event, ICAL_RRULE_PROPERTY);
    int64_t today = civil_time_day_of(from);
    int err = 0;

    if (icaltime_is_null_time(start))
        return 0;
    int64_t days = icaltime_is_null_time(end) ? 0 : day_of(end) - day_of(start) - 1;
    if (days < 0)
        days = 0;
    if (!rule)
        return append_dates(dates, (struct slot_dates){day_of(start), day_of(start) + days});

    icalrecur_iterator *it = icalrecur_iterator_new(icalproperty_get_rrule(rule), start);
    if (!it)
        return 0;
    for (struct icaltimetype t = icalrecur_iterator_next(it); !icaltime_is_null_time(t) && err == 0;
         t = icalrecur_iterator_next(it)) {
        int64_t day = day_of(t);
        if (day > today + YEARS_AFTER * 366)
            break;
        if (day >= today - YEARS_BEFORE * 366)
            err = append_dates(dates, (struct slot_dates){day, day + days});
    }
    icalrecur_iterator_free(it);
    return err;
}

static int parse_ical(const char *text, int64_t from, struct buf *fault, json_t *dates)
{
    icalcomponent *root = icalparser_parse_string(text);
    int err = 0;

    if (!root) {
        buf_add_str(fault, "not an iCalendar file that can be read");
        return ERR_INVALID;
    }
    for (icalcomponent *event = icalcomponent_get_first_component(root, ICAL_VEVENT_COMPONENT);
         event && err == 0; event = icalcomponent_get_next_component(root, ICAL_VEVENT_COMPONENT))
        err = append_event(event, from, dates);
    icalcomponent_free(root);
    return err;
}

int definitions_holidays_parse(
    const char *text, int64_t from, struct buf *fault, json_t **ret_dates)
{
    json_t *dates = json_array();
    int err;

    if (!dates)
        return ERR_NOMEM;
    if (strncmp(text, "BEGIN:VCALENDAR", strlen("BEGIN:VCALENDAR")) == 0)
        err = parse_ical(text, from, fault, dates);
    else
        err = parse_plain(text, fault, dates);
    if (err < 0) {
        json_decref(dates);
        return err;
    }
    *ret_dates = dates;
    return 0;
}
