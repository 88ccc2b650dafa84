#include "slot_oracle.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "cron_oracle.h"

#define DATES_MAX    32
#define DATE_BYTES   40
#define WEEK_MINUTES (7 * CRON_ORACLE_MINUTES)
/* Further back than this, no clock showed a time that it shows again. */
#define LOOK_BACK_S (3 * CIVIL_DAY_S)

struct zone_clock {
    const struct civil_zone *zone;
    struct tzif_span span; /* around the last instant that was asked for */
};

struct slot_oracle {
    json_t *json;
    struct slot_policy policy;
    struct cron_oracle cron;
    int64_t every_s; /* 0: by `cron` */
    int64_t anchor;
    bool gap_skips, overlap_both;
    struct zone_clock clock, window_clock;
    bool windowed;
    bool week[WEEK_MINUTES]; /* from Sunday 00:00: within the window */
    const char *dark[DATES_MAX];
    size_t n_dark;
    int64_t day; /* asked for last */
    bool day_dark;
};

/* --- reading a definition --------------------------------------------------------------------- */

static const char *word_of(const struct slot_oracle *o, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(o->json, key));

    return text ? text : fallback;
}

static bool says(const struct slot_oracle *o, const char *key, const char *word)
{
    return strcmp(word_of(o, key, ""), word) == 0;
}

static int64_t unit_ms(const char *unit)
{
    switch (*unit) {
    case 's':
        return 1000;
    case 'm':
        return unit[1] == 's' ? 1 : 60 * 1000;
    case 'h':
        return 3600 * 1000;
    default:
        return CIVIL_DAY_S * 1000;
    }
}

/* "1h30m", "500ms": milliseconds; `fallback` where the definition has none. */
static int64_t duration_of(const struct slot_oracle *o, const char *key, int64_t fallback)
{
    const char *at = word_of(o, key, NULL);
    int64_t total = 0;

    for (; at && *at; at += strcspn(at, "0123456789")) {
        char *unit;
        int64_t n = strtoll(at, &unit, 10);

        assert_true(unit > at && strchr("smhd", *unit));
        total += n * unit_ms(unit);
        at = unit;
    }
    return at ? total : fallback;
}

static void read_policy(struct slot_oracle *o)
{
    const json_t *cap = json_object_get(o->json, "catch_up_cap");
    struct slot_policy *p = &o->policy;

    p->catch_up = says(o, "catch_up", "run_once")  ? ORACLE_RUN_ONCE
                  : says(o, "catch_up", "run_all") ? ORACLE_RUN_ALL
                                                   : ORACLE_SKIP;
    p->grace_ms = duration_of(o, "grace", 60000);
    p->window_ms = duration_of(o, "catch_up_window", INT64_MAX);
    p->cap = cap ? json_integer_value(cap) : 1;
    p->jitter_ms = duration_of(o, "jitter", 0);
}

static void read_zone(struct zone_clock *clock, const char *name, struct civil_zones *zones)
{
    assert_int_equal(civil_zones_get(zones, name, &clock->zone), 0);
    civil_zone_span_at(clock->zone, 0, &clock->span);
}

static void mark_days(bool days[7], char *text)
{
    char *item;

    while ((item = strsep(&text, ","))) {
        const char *at = item;
        int from = cron_oracle_take_weekday(&at), to = from;

        if (*at == '-') {
            at++;
            to = cron_oracle_take_weekday(&at);
        }
        for (int day = from; day <= (to < from ? to + 7 : to); day++)
            days[day % 7] = true;
    }
}

static void mark_hours(struct slot_oracle *o, const bool days[7], const char *range)
{
    int hour = 0, minute = 0, last_hour = 0, last_minute = 0, from, to;

    assert_int_equal(sscanf(range, "%d:%d-%d:%d", &hour, &minute, &last_hour, &last_minute), 4);
    from = hour * 60 + minute;
    to = last_hour * 60 + last_minute;
    if (to < from)
        to += CRON_ORACLE_MINUTES;
    for (int day = 0; day < 7; day++)
        for (int m = from; days[day] && m < to; m++)
            o->week[(day * CRON_ORACLE_MINUTES + m) % WEEK_MINUTES] = true;
}

/* Words that begin with a digit are hours; those with a slash in them a zone; the others days. */
static void read_window_part(struct slot_oracle *o, char *part, struct civil_zones *zones)
{
    bool days[7] = {true, true, true, true, true, true, true}, some_hours = false;
    char *word;

    while ((word = strsep(&part, " "))) {
        char *range;

        if (isdigit((unsigned char)*word)) {
            some_hours = true;
            while ((range = strsep(&word, ",")))
                mark_hours(o, days, range);
        } else if (strchr(word, '/') || strcmp(word, "UTC") == 0) {
            read_zone(&o->window_clock, word, zones);
        } else if (*word) {
            memset(days, 0, sizeof(days));
            mark_days(days, word);
        }
    }
    if (!some_hours)
        mark_hours(o, days, "00:00-24:00");
}

static void read_window(struct slot_oracle *o, struct civil_zones *zones)
{
    const char *window = word_of(o, "window", NULL);
    char *copy = window ? strdup(window) : NULL, *rest = copy, *part;

    o->windowed = window;
    o->window_clock = o->clock;
    while ((part = strsep(&rest, ";")))
        read_window_part(o, part, zones);
    free(copy);
}

struct slot_oracle *slot_oracle_new(const char *definition, struct civil_zones *zones)
{
    struct slot_oracle *o = calloc(1, sizeof(*o));
    const json_t *dark;

    assert_non_null(o);
    o->json = json_loads(definition, 0, NULL);
    assert_non_null(o->json);
    o->day = INT64_MIN;
    o->every_s = duration_of(o, "every", 0) / 1000;
    o->gap_skips = says(o, "dst_gap", "skip");
    o->overlap_both = says(o, "dst_overlap", "both");
    read_policy(o);
    read_zone(&o->clock, word_of(o, "timezone", "UTC"), zones);
    if (o->every_s == 0)
        cron_oracle_init(&o->cron, word_of(o, "cron", ""));
    assert_int_equal(
        civil_time_parse_instant(word_of(o, "anchor", "1970-01-01T00:00:00Z"), &o->anchor), 0);
    read_window(o, zones);
    dark = json_object_get(o->json, "blackout");
    assert_true(json_array_size(dark) <= DATES_MAX);
    while (o->n_dark < json_array_size(dark)) {
        o->dark[o->n_dark] = json_string_value(json_array_get(dark, o->n_dark));
        o->n_dark++;
    }
    return o;
}

void slot_oracle_free(struct slot_oracle *o)
{
    if (!o)
        return;
    cron_oracle_release(&o->cron);
    json_decref(o->json);
    free(o);
}

const struct slot_policy *slot_oracle_policy(const struct slot_oracle *o)
{
    return &o->policy;
}

/* --- the clock -------------------------------------------------------------------------------- */

static int64_t local_at(struct zone_clock *clock, int64_t utc)
{
    if (utc < clock->span.start || utc >= clock->span.end)
        civil_zone_span_at(clock->zone, utc, &clock->span);
    return utc + clock->span.offset;
}

/* Dates compare as their texts do. */
static bool is_dark(struct slot_oracle *o, int64_t utc)
{
    int64_t day = civil_time_day_of(local_at(&o->clock, utc));
    char text[DATE_BYTES];
    int year, month, d;

    if (day == o->day)
        return o->day_dark;
    o->day = day;
    o->day_dark = false;
    civil_time_from_days(day, &year, &month, &d);
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02d", year, month, d);
    for (size_t i = 0; i < o->n_dark; i++) {
        const char *dots = strstr(o->dark[i], "..");
        const char *last = dots ? dots + 2 : o->dark[i];

        o->day_dark |= strncmp(o->dark[i], text, strlen(text)) <= 0 && strcmp(text, last) <= 0;
    }
    return o->day_dark;
}

static bool is_open(struct slot_oracle *o, int64_t utc)
{
    int64_t local, day;

    if (!o->windowed)
        return true;
    local = local_at(&o->window_clock, utc);
    day = civil_time_day_of(local);
    return o
        ->week[civil_time_weekday(day) * CRON_ORACLE_MINUTES + (local - day * CIVIL_DAY_S) / 60];
}

/* --- listing ---------------------------------------------------------------------------------- */

struct list {
    struct slot_oracle *o;
    int64_t from, to;
    int64_t *slots;
    size_t n, max;
};

/* A slot that stands there already is the same one. */
static void offer(struct list *l, int64_t at)
{
    if (l->n == l->max || at <= l->from || at > l->to || (l->n > 0 && at <= l->slots[l->n - 1]))
        return;
    if (is_open(l->o, at) && !is_dark(l->o, at))
        l->slots[l->n++] = at;
}

static void list_every(struct list *l)
{
    int64_t at = l->from + 1;

    while ((at - l->o->anchor) % l->o->every_s != 0)
        at++;
    for (; at <= l->to && l->n < l->max; at += l->o->every_s)
        offer(l, at);
}

static void list_cron(struct list *l)
{
    struct slot_oracle *o = l->o;
    bool moves = o->cron.fixed && !o->gap_skips, once = o->cron.fixed && !o->overlap_both;
    int64_t at = (l->from - LOOK_BACK_S) / 60 * 60;
    int64_t shown = local_at(&o->clock, at); /* every local minute before it has been shown */

    for (; at <= l->to && l->n < l->max; at += 60) {
        int64_t local = local_at(&o->clock, at);
        bool skipped = false;

        assert_int_equal(local % 60, 0);
        for (int64_t hidden = shown; moves && hidden < local; hidden += 60)
            skipped |= cron_oracle_names(&o->cron, hidden);
        if (skipped)
            offer(l, at);
        if (at + 60 > l->from && !(once && local < shown) && cron_oracle_names(&o->cron, local))
            for (int s = 0; s < 60; s++)
                if (o->cron.seconds[s])
                    offer(l, at + s);
        if (local + 60 > shown)
            shown = local + 60;
    }
}

size_t slot_oracle_list(
    struct slot_oracle *o, int64_t from, int64_t to, int64_t *ret_slots, size_t max)
{
    struct list l = {o, from, to, ret_slots, 0, max};

    if (o->every_s)
        list_every(&l);
    else
        list_cron(&l);
    return l.n;
}
