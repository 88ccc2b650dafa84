#include "scheduler/slot_window.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DAY_S         86400
#define WEEK_S        (7 * DAY_S)
#define EPOCH_WEEKDAY 4                     /* 1970-01-01 was a Thursday */
#define UTC_MIN       INT64_C(-62135596800) /* the year 1 */
#define UTC_MAX       INT64_C(253402300799) /* the end of the year 9999 */
#define ALL_DAYS      0x7fu
#define ZONE_MAX      80

struct parse {
    const char *text;
    const char *at;
    struct buf *faults;
    struct slot_window *window;
};

static int fault(const struct parse *p, const char *where, const char *reason)
{
    buf_addf(p->faults, "window: %s, at column %d\n", reason, (int)(where - p->text) + 1);
    return ERR_INVALID;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take(struct parse *p, char wanted)
{
    if (*p->at != wanted)
        return false;
    p->at++;
    return true;
}

static void skip_blanks(struct parse *p)
{
    while (*p->at == ' ' || *p->at == '\t')
        p->at++;
}

/* A weekday by its first three letters; -1 where none stands. */
static int peek_weekday(const struct parse *p)
{
    static const char names[][4] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

    for (int i = 0; i < 7; i++)
        if (strncasecmp(p->at, names[i], 3) == 0 &&
            (p->at[3] == '\0' || strchr("-, \t;", p->at[3])))
            return i;
    return -1;
}

static int take_weekday(struct parse *p, int *ret)
{
    int weekday = peek_weekday(p);

    if (weekday < 0)
        return fault(p, p->at, "a weekday from Sun to Sat is wanted");
    p->at += 3;
    *ret = weekday;
    return 0;
}

/* "Mon-Fri,Sun"; FRI-MON goes over the end of the week. */
static int take_days(struct parse *p, unsigned *ret_days)
{
    unsigned days = 0;

    do {
        int from, to, r;

        r = take_weekday(p, &from);
        if (r)
            return r;
        to = from;
        if (take(p, '-')) {
            r = take_weekday(p, &to);
            if (r)
                return r;
        }
        for (int d = from;; d = (d + 1) % 7) {
            days |= 1u << d;
            if (d == to)
                break;
        }
    } while (take(p, ','));
    *ret_days = days;
    return 0;
}

/* h:mm or hh:mm, up to 24:00, in seconds of the day. */
static int take_time(struct parse *p, int32_t *ret)
{
    const char *from = p->at;
    int hour = 0, minute = 0;

    while (is_digit(*p->at) && p->at - from < 2)
        hour = hour * 10 + (*p->at++ - '0');
    if (p->at == from || !take(p, ':') || !is_digit(p->at[0]) || !is_digit(p->at[1]))
        return fault(p, from, "a time of day as 09:00 is wanted");
    minute = (p->at[0] - '0') * 10 + (p->at[1] - '0');
    p->at += 2;
    if (minute > 59 || hour * 60 + minute > 24 * 60)
        return fault(p, from, "this time of day does not exist");
    *ret = hour * 3600 + minute * 60;
    return 0;
}

static int add_range(struct parse *p, const char *where, int32_t from, int32_t to)
{
    struct slot_window *w = p->window;

    /* Room for both halves of a range that goes over the end of the week. */
    if (w->n + 2 > SLOT_WINDOW_RANGES_MAX)
        return fault(p, where, "too many ranges");
    if (to > WEEK_S) {
        w->ranges[w->n++] = (struct slot_week_range){0, to - WEEK_S};
        to = WEEK_S;
    }
    w->ranges[w->n++] = (struct slot_week_range){from, to};
    return 0;
}

static int add_days(struct parse *p, const char *where, unsigned days, int32_t from, int32_t to)
{
    for (int d = 0; d < 7; d++) {
        int r = days >> d & 1 ? add_range(p, where, d * DAY_S + from, d * DAY_S + to) : 0;

        if (r)
            return r;
    }
    return 0;
}

static int take_hours(struct parse *p, unsigned days)
{
    do {
        const char *where = p->at;
        int32_t from, to;
        int r;

        r = take_time(p, &from);
        if (r)
            return r;
        if (!take(p, '-'))
            return fault(p, p->at, "the end of the range is missing");
        r = take_time(p, &to);
        if (r)
            return r;
        if (from == to || from == DAY_S)
            return fault(p, where, "the range is empty");
        r = add_days(p, where, days, from, to < from ? to + DAY_S : to);
        if (r)
            return r;
    } while (take(p, ','));
    return 0;
}

/* One `[days] [hours]`. */
static int take_part(struct parse *p)
{
    const char *where = p->at;
    unsigned days = ALL_DAYS;

    if (!is_digit(*p->at)) {
        int r = take_days(p, &days);

        if (r)
            return r;
        skip_blanks(p);
        if (!is_digit(*p->at))
            return add_days(p, where, days, 0, DAY_S);
    }
    return take_hours(p, days);
}

static int take_zone(struct parse *p, struct civil_zones *zones)
{
    struct buf name = BUF_INIT(ZONE_MAX);
    const char *where = p->at;
    int r;

    while (*p->at && !strchr(" \t;", *p->at))
        buf_add_char(&name, *p->at++);
    r = buf_err(&name) == ERR_TOO_LARGE ? ERR_INVALID : buf_err(&name);
    if (!r)
        r = civil_zones_get(zones, buf_str(&name), &p->window->zone);
    buf_release(&name);
    return r == 0 || r == ERR_NOMEM ? r : fault(p, where, "no such zone in the system's tzdata");
}

static int compare_ranges(const void *a, const void *b)
{
    const struct slot_week_range *x = a, *y = b;

    return (x->from > y->from) - (x->from < y->from);
}

static void merge_ranges(struct slot_window *w)
{
    int n = 1;

    qsort(w->ranges, (size_t)w->n, sizeof(w->ranges[0]), compare_ranges);
    for (int i = 1; i < w->n; i++) {
        struct slot_week_range *last = &w->ranges[n - 1];

        if (w->ranges[i].from > last->to)
            w->ranges[n++] = w->ranges[i];
        else if (w->ranges[i].to > last->to)
            last->to = w->ranges[i].to;
    }
    w->n = n;
}

int slot_window_parse(const char *text, struct civil_zones *zones,
    const struct civil_zone *fallback, struct buf *faults, struct slot_window *ret_window)
{
    struct slot_window window = {.zone = fallback};
    struct parse p = {text, text, faults, &window};
    int r;

    do {
        skip_blanks(&p);
        r = take_part(&p);
        if (r)
            return r;
        skip_blanks(&p);
    } while (take(&p, ';'));
    if (*p.at) {
        r = take_zone(&p, zones);
        if (r)
            return r;
        skip_blanks(&p);
    }
    if (*p.at)
        return fault(&p, p.at, "nothing may follow the zone");
    merge_ranges(&window);
    *ret_window = window;
    return 0;
}

static int32_t second_of_week(int64_t local)
{
    int64_t s = (local + EPOCH_WEEKDAY * DAY_S) % WEEK_S;

    return (int32_t)(s < 0 ? s + WEEK_S : s);
}

/* The first local second at or after `local` within the window. */
static int64_t open_from(const struct slot_window *w, int64_t local)
{
    int32_t s = second_of_week(local);

    for (int i = 0; i < w->n; i++) {
        if (s < w->ranges[i].from)
            return local + (w->ranges[i].from - s);
        if (s < w->ranges[i].to)
            return local;
    }
    return local + (w->ranges[0].from + WEEK_S - s);
}

/* The last local second at or before `local` within the window. */
static int64_t open_until(const struct slot_window *w, int64_t local)
{
    int32_t s = second_of_week(local);

    for (int i = w->n - 1; i >= 0; i--) {
        if (s >= w->ranges[i].to)
            return local - (s - (w->ranges[i].to - 1));
        if (s >= w->ranges[i].from)
            return local;
    }
    return local - (s + WEEK_S - (w->ranges[w->n - 1].to - 1));
}

int64_t slot_window_open_from(const struct slot_window *window, int64_t utc)
{
    struct tzif_span span;

    for (; utc <= UTC_MAX; utc = span.end) {
        int64_t found;

        civil_zone_span_at(window->zone, utc, &span);
        found = open_from(window, utc + span.offset) - span.offset;
        if (found < span.end)
            return found;
    }
    return INT64_MAX;
}

int64_t slot_window_open_until(const struct slot_window *window, int64_t utc)
{
    struct tzif_span span;

    for (; utc >= UTC_MIN; utc = span.start - 1) {
        int64_t found;

        civil_zone_span_at(window->zone, utc, &span);
        found = open_until(window, utc + span.offset) - span.offset;
        if (found >= span.start)
            return found;
    }
    return INT64_MIN;
}
