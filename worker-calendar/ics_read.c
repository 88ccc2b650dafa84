#include "worker-calendar/ics_read.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker-calendar/ics_item.h"
#include "worker-calendar/ics_lines.h"

#define NESTING_MAX 32
/* Single events this far from the window are not kept: no zone and no duration of a meeting
 * brings them into it. */
#define NEAR_S (8 * CIVIL_DAY_S)

enum place { OUTSIDE, IN_CALENDAR, IN_EVENT, IN_ZONE, IN_OTHER };
enum phase { SCAN, SORT, EXPAND, DONE };

struct ics_read {
    struct ics_lines lines;
    struct ics_read_options options;
    struct event_list *list;
    struct ics_zones *zones;
    enum phase phase;
    enum place place;
    int nesting; /* components open within the one of `place` */
    size_t calendars;
    struct buf component; /* its text, for libical */
    bool cut_component;   /* a line of it was too long */
    struct ics_item *items;
    size_t n_items, cap_items;
    size_t next; /* item to expand */
    struct ics_read_stats stats;
};

/* Properties of a VEVENT that planning reads. */
static const char *const wanted[] = {"UID", "DTSTART", "DTEND", "DURATION", "SUMMARY", "STATUS",
    "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "SEQUENCE"};

int ics_read_new(const char *text, size_t len, const struct ics_read_options *options,
    struct event_list *list, struct ics_read **ret_read)
{
    struct ics_read *r = calloc(1, sizeof(*r));
    if (!r)
        return ERR_NOMEM;
    int err = ics_zones_new(
        options->civil, options->user_zone, options->window.start, options->window.end, &r->zones);
    if (err) {
        free(r);
        return err;
    }
    icalerror_set_errors_are_fatal(0);
    ics_lines_init(&r->lines, text, len);
    r->options = *options;
    r->list = list;
    buf_init(&r->component, ICS_COMPONENT_MAX);
    *ret_read = r;
    return 0;
}

void ics_read_free(struct ics_read *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_items; i++)
        ics_item_release(&r->items[i]);
    free(r->items);
    ics_zones_free(r->zones);
    buf_release(&r->component);
    ics_lines_release(&r->lines);
    free(r);
}

static int broken_text(const struct ics_read *r, struct buf *fault, const char *what)
{
    buf_addf(fault, "line %zu: %s", r->lines.number, what);
    return ERR_INVALID;
}

static int add_item(struct ics_read *r, struct ics_item *item)
{
    if (r->n_items == ICS_ITEMS_MAX)
        return ERR_TOO_LARGE;
    if (r->n_items == r->cap_items) {
        size_t cap = r->cap_items ? r->cap_items * 2 : 64;
        struct ics_item *items = realloc(r->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        r->items = items;
        r->cap_items = cap;
    }
    item->ordinal = r->stats.events;
    r->items[r->n_items++] = *item;
    return 0;
}

static bool is_near(const struct ics_read *r, const struct ics_item *item)
{
    if (item->broken || item->is_override || ics_item_recurs(item))
        return true;
    int64_t end = item->has_end ? item->end.local : item->start.local + item->duration_s;
    return item->start.local < r->options.window.end + NEAR_S &&
           end > r->options.window.start - NEAR_S;
}

static int end_event(struct ics_read *r)
{
    struct ics_item item;
    buf_add_str(&r->component, "END:VEVENT\r\n");
    r->stats.events++;
    bool whole = !r->cut_component && buf_err(&r->component) == 0;
    int err = ics_item_parse(buf_str(&r->component), r->zones, r->options.addresses, &item);
    if (err == ERR_INVALID) {
        r->stats.broken++;
        return 0;
    }
    if (err)
        return err;
    item.broken = item.broken || !whole;
    r->stats.broken += item.broken;
    err = is_near(r, &item) ? add_item(r, &item) : (ics_item_release(&item), 0);
    if (err)
        ics_item_release(&item);
    return err;
}

static int end_zone(struct ics_read *r)
{
    buf_add_str(&r->component, "END:VTIMEZONE\r\n");
    return buf_err(&r->component) == 0 ? ics_zones_add(r->zones, buf_str(&r->component)) : 0;
}

static void begin(struct ics_read *r, enum place place, const char *opening)
{
    r->place = place;
    r->nesting = 0;
    r->cut_component = false;
    buf_reset(&r->component);
    buf_add_str(&r->component, opening);
}

/* A line of the component for libical, under the name given; NULL: under its own. A NUL would
 * end the text. */
static void collect(struct ics_read *r, const struct ics_line *line, const char *name)
{
    size_t from = name ? line->name_len : 0;
    if (memchr(line->text, '\0', line->len)) {
        r->cut_component = true;
        return;
    }
    buf_add_str(&r->component, name ? name : "");
    buf_add(&r->component, line->text + from, line->len - from);
    buf_add_str(&r->component, "\r\n");
}

static void take_event_line(struct ics_read *r, const struct ics_line *line)
{
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (!ics_line_is(line, wanted[i]))
            continue;
        if (line->cut)
            r->cut_component = true;
        else
            collect(r, line, wanted[i]);
        return;
    }
    if (r->options.addresses && !line->cut && ics_line_is(line, "ATTENDEE"))
        collect(r, line, "ATTENDEE");
}

/* A line within a component other than the calendar itself. */
static int take_inner_line(struct ics_read *r, const struct ics_line *line, struct buf *fault)
{
    bool opens = ics_line_is(line, "BEGIN"), closes = ics_line_is(line, "END");
    if (opens && ++r->nesting > NESTING_MAX)
        return broken_text(r, fault, "components are nested too deeply");
    if (closes && r->nesting == 0) {
        enum place place = r->place;
        r->place = IN_CALENDAR;
        if (place == IN_EVENT)
            return ics_line_says(line, "END", "VEVENT")
                       ? end_event(r)
                       : broken_text(r, fault, "END:VEVENT expected");
        if (place == IN_ZONE)
            return ics_line_says(line, "END", "VTIMEZONE")
                       ? end_zone(r)
                       : broken_text(r, fault, "END:VTIMEZONE expected");
        return 0;
    }
    if (r->place == IN_ZONE)
        collect(r, line, NULL);
    else if (r->place == IN_EVENT && r->nesting == 0)
        take_event_line(r, line);
    r->nesting -= closes;
    return 0;
}

static int set_fallback_zone(struct ics_read *r, const struct ics_line *line)
{
    struct buf name = BUF_INIT(EVENT_ID_MAX);
    const char *value = line->text + line->name_len + 1;
    buf_add(&name, value, line->len - line->name_len - 1);
    if (buf_err(&name) == 0)
        ics_zones_set_fallback(r->zones, buf_str(&name));
    buf_release(&name);
    return 0;
}

static int take_line(struct ics_read *r, const struct ics_line *line, struct buf *fault)
{
    switch (r->place) {
    case OUTSIDE:
        if (!ics_line_says(line, "BEGIN", "VCALENDAR"))
            return broken_text(r, fault, "this is no calendar: BEGIN:VCALENDAR expected");
        r->calendars++;
        r->place = IN_CALENDAR;
        return 0;
    case IN_CALENDAR:
        if (ics_line_says(line, "END", "VCALENDAR"))
            r->place = OUTSIDE;
        else if (ics_line_is(line, "END"))
            return broken_text(r, fault, "END without its BEGIN");
        else if (ics_line_says(line, "BEGIN", "VEVENT"))
            begin(r, IN_EVENT, "BEGIN:VEVENT\r\n");
        else if (ics_line_says(line, "BEGIN", "VTIMEZONE"))
            begin(r, IN_ZONE, "BEGIN:VTIMEZONE\r\n");
        else if (ics_line_is(line, "BEGIN"))
            begin(r, IN_OTHER, "");
        else if (ics_line_is(line, "X-WR-TIMEZONE") && !line->cut)
            return set_fallback_zone(r, line);
        return 0;
    case IN_EVENT:
    case IN_ZONE:
    case IN_OTHER:
        return take_inner_line(r, line, fault);
    }
    return ERR_INVALID;
}

/* 0 at the end of the text, 1 before. */
static int scan(struct ics_read *r, struct buf *fault)
{
    struct ics_line line;
    int more = ics_lines_next(&r->lines, &line);
    if (more < 0)
        return more;
    if (more > 0) {
        int err = take_line(r, &line, fault);
        return err ? err : 1;
    }
    if (r->place != OUTSIDE)
        return broken_text(r, fault, "the text ends within the calendar");
    if (r->calendars == 0)
        return broken_text(r, fault, "the text is empty");
    if (r->stats.events > 0 && r->stats.broken == r->stats.events)
        return broken_text(r, fault, "not one event can be read");
    return 0;
}

static int by_uid(const void *a, const void *b)
{
    const struct ics_item *x = a, *y = b;
    int order = strcmp(x->uid, y->uid);
    return order ? order : (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

/* Expands the next UID: 0 after the last, 1 before. */
static int expand_next(struct ics_read *r)
{
    size_t first = r->next, n = 0;
    while (first + n < r->n_items && strcmp(r->items[first].uid, r->items[first + n].uid) == 0)
        n++;
    if (n == 0)
        return 0;
    r->next += n;
    int err = ics_expand(r->zones, &r->options.window, &r->items[first], n, r->list, &r->stats.cut);
    if (!err)
        err = event_list_err(r->list);
    return err ? err : 1;
}

static int step(struct ics_read *r, struct buf *fault)
{
    int more = 0;
    switch (r->phase) {
    case SCAN:
        more = scan(r, fault);
        break;
    case SORT:
        if (r->n_items > 0)
            qsort(r->items, r->n_items, sizeof(*r->items), by_uid);
        break;
    case EXPAND:
        more = expand_next(r);
        break;
    case DONE:
        return 0;
    }
    if (more == 0)
        r->phase++;
    return more < 0 ? more : 1;
}

int ics_read_step(struct ics_read *r, int64_t budget_us, struct buf *fault)
{
    int64_t until = clock_us() + budget_us;
    while (r->phase != DONE) {
        int err = step(r, fault);
        if (err == ERR_TOO_LARGE)
            buf_addf(fault, "line %zu: the calendar has too many events", r->lines.number);
        if (err < 0)
            return err;
        if (clock_us() >= until)
            return 1;
    }
    return 0;
}

void ics_read_stats(const struct ics_read *r, struct ics_read_stats *ret_stats)
{
    *ret_stats = r->stats;
    ret_stats->unknown_zones = ics_zones_unknown(r->zones);
}
