/*
 * The schedule against a clock that ticks minute by minute through 20 years of the
 * zones that are hard. What the clock shows comes from the C library, what matches
 * from predicates written for this test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "scheduler/slot_spec.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define DAY_MIN     1440
#define BLOCK_MIN   30 /* no change of these zones falls within one */
#define FROM        "2006-01-01T00:00:00Z"
#define TO          "2026-01-01T00:00:00Z"
#define LONGEST_GAP DAY_MIN
#define EXPRESSIONS 14
#define HARD_ZONES  12

/* A day as the predicates see it. */
struct day {
    int month, day, weekday, length;
};

static bool any_day(const struct day *d)
{
    return d->day > 0;
}

static bool last_day(const struct day *d)
{
    return d->day == d->length;
}

static bool near_15(const struct day *d)
{
    return (d->weekday >= 1 && d->weekday <= 5 && d->day == 15) ||
           (d->weekday == 5 && d->day == 14) || (d->weekday == 1 && d->day == 16);
}

static bool first_or_friday(const struct day *d)
{
    return d->day == 1 || d->weekday == 5;
}

static bool odd_monday(const struct day *d)
{
    return d->day % 2 == 1 && d->weekday == 1;
}

static bool second_sunday(const struct day *d)
{
    return d->weekday == 0 && d->day >= 8 && d->day <= 14;
}

static bool last_friday(const struct day *d)
{
    return d->weekday == 5 && d->day + 7 > d->length;
}

static bool leap_day(const struct day *d)
{
    return d->month == 2 && d->day == 29;
}

static bool any_time(int minute)
{
    return minute % 30 == 0;
}

static bool on_the_hour(int minute)
{
    return minute % 60 == 0;
}

static bool third_hours_of_two(int minute)
{
    return minute / 60 == 2 && minute % 20 == 0;
}

static bool early_quarters(int minute)
{
    return minute / 60 <= 3 && (minute % 60 == 15 || minute % 60 == 45);
}

static bool twice_at_night(int minute)
{
    return minute == 0 || minute == 60;
}

static bool midnight(int minute)
{
    return minute == 0;
}

static bool half_past_two(int minute)
{
    return minute == 150;
}

static bool late(int minute)
{
    return minute == 23 * 60 + 30;
}

static bool at_nine(int minute)
{
    return minute == 9 * 60;
}

static bool even_hours(int minute)
{
    return minute % 120 == 0;
}

static const struct {
    const char *cron;
    bool wild;
    bool (*day)(const struct day *);
    bool (*minute)(int minute_of_day);
} expressions[EXPRESSIONS] = {
    {"*/30 * * * *", true, any_day, any_time},
    {"0 * * * *", true, any_day, on_the_hour},
    {"*/20 2 * * *", true, any_day, third_hours_of_two},
    {"0 */2 * * *", true, any_day, even_hours},
    {"15,45 0-3 * * *", false, any_day, early_quarters},
    {"0 0,1 * * *", false, any_day, twice_at_night},
    {"0 0 * * *", false, any_day, midnight},
    {"30 2 * * *", false, any_day, half_past_two},
    {"30 23 L * *", false, last_day, late},
    {"0 9 15W * *", false, near_15, at_nine},
    {"0 0 1 * 5", false, first_or_friday, midnight},
    {"30 2 */2 * 1", false, odd_monday, half_past_two},
    {"30 23 * * 0#2,5L", false, NULL, late},
    {"0 0 29 2 *", false, leap_day, midnight},
};

static bool day_matches(size_t i, const struct day *d)
{
    if (expressions[i].day)
        return expressions[i].day(d);
    return second_sunday(d) || last_friday(d);
}

/* [expression][minute of the day], once for all zones. */
static uint8_t *make_minutes(void)
{
    uint8_t *minutes = calloc(EXPRESSIONS, DAY_MIN);

    assert_non_null(minutes);
    for (size_t i = 0; i < EXPRESSIONS; i++)
        for (int m = 0; m < DAY_MIN; m++)
            minutes[i * DAY_MIN + (size_t)m] = expressions[i].minute(m);
    return minutes;
}

static int64_t utc(const char *text)
{
    int64_t at = 0;

    assert_int_equal(civil_time_parse_instant(text, &at), 0);
    return at;
}

/* One policy of one expression, compared while the clock ticks. */
struct follower {
    struct slot_spec *spec;
    const char *zone;
    size_t expression;
    bool skip; /* dst_gap */
    bool both; /* dst_overlap */
    int64_t last;
    int64_t count;
};

static void expect_slot(struct follower *f, int64_t at, bool gap)
{
    struct slot slot = {.at = 0}, back = {.at = 0};

    if (slot_next(f->spec, f->last, &slot) != 0 || slot.at != at ||
        gap != !!(slot.flags & SLOT_MOVED_BY_GAP))
        fail_msg("%s in %s after %lld: %lld (flags %u), the clock says %lld%s",
            expressions[f->expression].cron, f->zone, (long long)f->last, (long long)slot.at,
            slot.flags, (long long)at, gap ? " after a gap" : "");
    if (f->count > 0 && (slot_prev(f->spec, at, &back) != 0 || back.at != f->last))
        fail_msg("%s in %s before %lld: %lld, the clock says %lld", expressions[f->expression].cron,
            f->zone, (long long)at, (long long)back.at, (long long)f->last);
    f->last = at;
    f->count++;
}

static struct day day_of(const struct tm *tm)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = tm->tm_year + 1900;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return (struct day){
        tm->tm_mon + 1, tm->tm_mday, tm->tm_wday, length[tm->tm_mon] + (tm->tm_mon == 1 && leap)};
}

/* Half an hour of the clock. */
struct block {
    int64_t at;      /* UTC seconds */
    int64_t local;   /* minutes */
    int64_t skipped; /* local minutes in front of it that the clock never showed */
    bool repeated;   /* the clock has shown it before */
    struct day day;
    int minute; /* of the day */
};

/* Whether a time that the clock skipped in front of a block matches. */
static bool skipped_match(size_t i, const uint8_t *minutes, const struct block *b)
{
    for (int64_t m = b->local - b->skipped; m < b->local; m++) {
        time_t as_utc = (time_t)(m * 60);
        struct tm tm;
        struct day day;

        assert_non_null(gmtime_r(&as_utc, &tm));
        day = day_of(&tm);
        if (minutes[i * DAY_MIN + (size_t)(tm.tm_hour * 60 + tm.tm_min)] && day_matches(i, &day))
            return true;
    }
    return false;
}

static void follow_block(struct follower *f, const uint8_t *minutes, const struct block *b)
{
    size_t i = f->expression;
    const uint8_t *from = minutes + i * DAY_MIN + b->minute;
    bool wild = expressions[i].wild;
    bool gap = b->skipped > 0 && !wild && !f->skip && skipped_match(i, minutes, b);

    if (gap)
        expect_slot(f, b->at, true);
    if (b->repeated && !wild && !f->both)
        return;
    if (!memchr(from, 1, BLOCK_MIN) || !day_matches(i, &b->day))
        return;
    for (int m = gap ? 1 : 0; m < BLOCK_MIN; m++)
        if (from[m])
            expect_slot(f, b->at + m * 60, false);
}

static void tick_through(struct follower *followers, size_t n, const uint8_t *minutes)
{
    int64_t high = INT64_MIN; /* the first minute that the clock has not shown */
    int64_t from = utc(FROM), to = utc(TO);

    for (int64_t at = from - 2 * CIVIL_DAY_S; at < to; at += (int64_t)BLOCK_MIN * 60) {
        time_t t = (time_t)at;
        struct block b = {.at = at};
        struct tm tm;

        assert_non_null(localtime_r(&t, &tm));
        b.day = day_of(&tm);
        b.minute = tm.tm_hour * 60 + tm.tm_min;
        b.local = timegm(&tm) / 60;
        if (high != INT64_MIN && b.local > high)
            b.skipped = b.local - high;
        b.repeated = b.local < high;
        assert_true(b.skipped <= LONGEST_GAP);
        if (b.local + BLOCK_MIN > high)
            high = b.local + BLOCK_MIN;
        for (size_t i = 0; at >= from && i < n; i++)
            follow_block(&followers[i], minutes, &b);
    }
}

static void start_follower(
    struct follower *f, const char *zone, size_t expression, bool other, struct civil_zones *zones)
{
    struct buf faults = BUF_INIT(4096);
    struct slot_options o = {.cron = expressions[expression].cron, .zone = zone};

    *f = (struct follower){.zone = zone,
        .expression = expression,
        .skip = other,
        .both = other,
        .last = utc(FROM) - 1};
    if (other) {
        o.dst_gap = "skip";
        o.dst_overlap = "both";
    }
    if (slot_spec_new(&o, zones, &faults, &f->spec) != 0)
        fail_msg("%s", buf_str(&faults));
}

/* Both policies of the fixed times; the wildcards, which they do not concern, with one of them. */
static void scan_zone(const char *zone, struct civil_zones *zones, const uint8_t *minutes)
{
    struct follower followers[2 * EXPRESSIONS];
    struct slot slot;
    size_t n = 0;

    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
    for (size_t i = 0; i < EXPRESSIONS; i++) {
        start_follower(&followers[n++], zone, i, expressions[i].wild && i % 2, zones);
        if (!expressions[i].wild)
            start_follower(&followers[n++], zone, i, true, zones);
    }
    tick_through(followers, n, minutes);
    for (size_t i = 0; i < n; i++) {
        assert_true(followers[i].count > 0);
        assert_int_equal(slot_next(followers[i].spec, followers[i].last, &slot), 0);
        assert_true(slot.at >= utc(TO));
        slot_spec_free(followers[i].spec);
    }
}

static void test_schedule_agrees_with_the_clock(void **state)
{
    static const char *const hard[HARD_ZONES] = {"Africa/Cairo", "America/Santiago",
        "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia",
        "America/Mexico_City", "Asia/Almaty", "Africa/Casablanca", "America/New_York",
        "Europe/Dublin", "America/Caracas"};
    struct civil_zones *zones = NULL;
    uint8_t *minutes = make_minutes();

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (size_t i = 0; i < HARD_ZONES; i++)
        scan_zone(hard[i], zones, minutes);
    civil_zones_free(zones);
    free(minutes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule_agrees_with_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
