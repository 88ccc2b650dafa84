/* Slots: changes of the clocks, windows, blackouts, jitter, counting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "scheduler/slot_spec.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int64_t utc(const char *text)
{
    int64_t at = 0;

    if (civil_time_parse_instant(text, &at) != 0)
        fail_msg("'%s' is no instant", text);
    return at;
}

static int setup(void **state)
{
    struct civil_zones *zones = NULL;

    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    *state = zones;
    return 0;
}

static int teardown(void **state)
{
    civil_zones_free(*state);
    return 0;
}

static struct slot_spec *make(struct civil_zones *zones, const struct slot_options *o)
{
    struct buf faults = BUF_INIT(4096);
    struct slot_spec *spec = NULL;

    if (slot_spec_new(o, zones, &faults, &spec) != 0)
        fail_msg("%s", buf_str(&faults));
    return spec;
}

/* The next slots as "MM-DDTHH:MM±HH[ gap][ overlap]" parted by commas. */
static void next_as_text(const struct slot_spec *spec, const char *from, int n, struct buf *ret)
{
    struct slot slot = {.at = utc(from)};

    for (int i = 0; i < n; i++) {
        struct civil_time t;

        if (slot_next(spec, slot.at, &slot) != 0) {
            buf_add_str(ret, i ? ", none" : "none");
            return;
        }
        t = civil_time_from_local(slot.at + slot.offset);
        buf_addf(ret, "%s%02d-%02dT%02d:%02d%+03d", i ? ", " : "", t.month, t.day, t.hour, t.minute,
            slot.offset / 3600);
        if (slot.flags & SLOT_MOVED_BY_GAP)
            buf_add_str(ret, " gap");
        if (slot.flags & SLOT_IN_OVERLAP)
            buf_add_str(ret, " overlap");
    }
}

struct row {
    struct slot_options options;
    const char *from;
    int n;
    const char *expected;
};

static void check_rows(struct civil_zones *zones, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slot_spec *spec = make(zones, &rows[i].options);
        struct buf got = BUF_INIT(4096);

        next_as_text(spec, rows[i].from, rows[i].n, &got);
        if (strcmp(buf_str(&got), rows[i].expected) != 0)
            fail_msg("row %zu (%s):\n%s\ninstead of\n%s", i,
                rows[i].options.cron ? rows[i].options.cron : rows[i].options.every, buf_str(&got),
                rows[i].expected);
        buf_release(&got);
        slot_spec_free(spec);
    }
}

#define NY     .zone = "America/New_York"
#define CAIRO  .zone = "Africa/Cairo"
#define HAVANA .zone = "America/Havana"
#define HOWE   .zone = "Australia/Lord_Howe"
#define APIA   .zone = "Pacific/Apia"

static void test_skipped_times(void **state)
{
    static const struct row rows[] = {
        /* A fixed time runs once, at the first instant after the gap. */
        {{.cron = "30 2 * * *", NY}, "2026-03-07T12:00Z", 2, "03-08T03:00-04 gap, 03-09T02:30-04"},
        {{.cron = "0,30 2 * * *", NY}, "2026-03-07T12:00Z", 2,
            "03-08T03:00-04 gap, 03-09T02:00-04"},
        {{.cron = "0 2,3 * * *", NY}, "2026-03-07T12:00Z", 2, "03-08T03:00-04 gap, 03-09T02:00-04"},
        {{.cron = "30 2 * * *", NY, .dst_gap = "skip"}, "2026-03-07T12:00Z", 2,
            "03-09T02:30-04, 03-10T02:30-04"},
        {{.cron = "0 2,3 * * *", NY, .dst_gap = "skip"}, "2026-03-07T12:00Z", 2,
            "03-08T03:00-04, 03-09T02:00-04"},
        /* Gap at midnight: the day still has its run, once. */
        {{.cron = "0 0 * * *", CAIRO}, "2026-04-23T12:00Z", 2,
            "04-24T01:00+03 gap, 04-25T00:00+03"},
        {{.cron = "0 0,1 * * *", CAIRO}, "2026-04-23T12:00Z", 2,
            "04-24T01:00+03 gap, 04-25T00:00+03"},
        {{.cron = "0 0 * * 5", CAIRO}, "2026-04-23T12:00Z", 1, "04-24T01:00+03 gap"},
        {{.cron = "0 0 * * *", HAVANA}, "2026-03-07T12:00Z", 1, "03-08T01:00-04 gap"},
        /* Half an hour. */
        {{.cron = "15 2 * * *", HOWE}, "2026-10-03T00:00Z", 1, "10-04T02:30+11 gap"},
        /* A whole day. */
        {{.cron = "0 9 * * *", APIA}, "2011-12-29T12:00Z", 3,
            "12-29T09:00-10, 12-31T00:00+14 gap, 12-31T09:00+14"},
        {{.cron = "0 9 30 * *", APIA}, "2011-12-01T00:00Z", 2,
            "12-31T00:00+14 gap, 01-30T09:00+14"},
        {{.cron = "0 9 30 * *", APIA, .dst_gap = "skip"}, "2011-12-01T00:00Z", 1, "01-30T09:00+14"},
        /* Wildcards and intervals keep elapsed time. */
        {{.cron = "*/30 * * * *", NY}, "2026-03-08T06:00Z", 3,
            "03-08T01:30-05, 03-08T03:00-04, 03-08T03:30-04"},
        {{.cron = "30 * * * *", NY}, "2026-03-08T06:00Z", 2, "03-08T01:30-05, 03-08T03:30-04"},
        {{.cron = "*/20 2 * * *", NY}, "2026-03-07T12:00Z", 1, "03-09T02:00-04"},
        {{.every = "90m", NY}, "2026-03-08T06:00Z", 2, "03-08T03:30-04, 03-08T05:00-04"},
    };

    check_rows(*state, rows, COUNT(rows));
}

static void test_repeated_times(void **state)
{
    static const struct row rows[] = {
        {{.cron = "30 1 * * *", NY}, "2026-10-31T12:00Z", 2,
            "11-01T01:30-04 overlap, 11-02T01:30-05"},
        {{.cron = "30 1 * * *", NY, .dst_overlap = "both"}, "2026-10-31T12:00Z", 3,
            "11-01T01:30-04 overlap, 11-01T01:30-05 overlap, 11-02T01:30-05"},
        {{.cron = "0 1,2 * * *", NY}, "2026-10-31T12:00Z", 3,
            "11-01T01:00-04 overlap, 11-01T02:00-05, 11-02T01:00-05"},
        /* Asked between the two passes. */
        {{.cron = "30 1 * * *", NY}, "2026-11-01T05:30Z", 1, "11-02T01:30-05"},
        {{.cron = "30 1 * * *", NY}, "2026-11-01T06:10Z", 1, "11-02T01:30-05"},
        {{.cron = "*/30 * * * *", NY}, "2026-11-01T04:30Z", 5,
            "11-01T01:00-04 overlap, 11-01T01:30-04 overlap, 11-01T01:00-05 overlap, "
            "11-01T01:30-05 overlap, 11-01T02:00-05"},
        {{.cron = "15,45 1 * * *", HOWE}, "2026-04-04T00:00Z", 3,
            "04-05T01:15+11, 04-05T01:45+11 overlap, 04-06T01:15+10"},
        {{.cron = "0 0 * * *", HAVANA}, "2026-10-31T12:00Z", 2,
            "11-01T00:00-04 overlap, 11-02T00:00-05"},
        {{.cron = "30 23 L 2 *", .zone = "Asia/Almaty"}, "2024-02-01T00:00Z", 2,
            "02-29T23:30+06 overlap, 02-28T23:30+05"},
        {{.every = "30m", NY}, "2026-11-01T05:30Z", 2,
            "11-01T01:00-05 overlap, 11-01T01:30-05 overlap"},
    };

    check_rows(*state, rows, COUNT(rows));
}

static void test_windows(void **state)
{
    static const struct row rows[] = {
        {{.cron = "0 * * * *", NY, .window = "Mon-Fri 09:00-11:00"}, "2026-03-06T15:30Z", 3,
            "03-09T09:00-04, 03-09T10:00-04, 03-10T09:00-04"},
        /* A zone of its own. */
        {{.cron = "0 * * * *", .window = "Mon-Fri 09:00-11:00 America/New_York"},
            "2026-03-06T15:30Z", 2, "03-09T13:00+00, 03-09T14:00+00"},
        /* Over midnight, and over the end of the week: it belongs to the day on which it begins. */
        {{.cron = "0 * * * *", .window = "Sat 23:00-01:00"}, "2026-03-07T12:00Z", 3,
            "03-07T23:00+00, 03-08T00:00+00, 03-14T23:00+00"},
        {{.cron = "0 */12 * * *", .window = "Fri-Sun"}, "2026-03-08T06:00Z", 2,
            "03-08T12:00+00, 03-13T00:00+00"},
        {{.cron = "0 */6 * * *", .window = "Fri-Mon 06:00-7:00,18:00-24:00; Wed 12:00-12:01 UTC"},
            "2026-03-08T06:00Z", 5,
            "03-08T18:00+00, 03-09T06:00+00, 03-09T18:00+00, 03-11T12:00+00, 03-13T06:00+00"},
        {{.every = "1s", .window = "00:00-00:01"}, "2026-03-08T00:00:58Z", 2,
            "03-08T00:00+00, 03-09T00:00+00"},
        /* The run after a gap has to be inside as well. */
        {{.cron = "30 2 * * *", NY, .window = "02:00-03:00"}, "2026-03-07T12:00Z", 1,
            "03-09T02:30-04"},
        /* The opening is skipped: it opens with the first instant after. */
        {{.every = "10m", NY, .window = "02:30-03:20"}, "2026-03-08T06:00Z", 3,
            "03-08T03:00-04, 03-08T03:10-04, 03-09T02:30-04"},
    };

    check_rows(*state, rows, COUNT(rows));
}

static void test_blackouts(void **state)
{
    static struct slot_dates days[4];
    const struct row rows[] = {
        {{.cron = "0 9 * * *", NY, .blackout = days, .n_blackout = 4}, "2026-12-22T00:00Z", 4,
            "12-22T09:00-05, 12-23T09:00-05, 12-27T09:00-05, 12-30T09:00-05"},
        /* The dates are those of the schedule's zone. */
        {{.cron = "0 */6 * * *", .zone = "Asia/Tokyo", .blackout = days + 3, .n_blackout = 1},
            "2026-12-24T12:00Z", 2, "12-25T00:00+09, 12-25T06:00+09"},
        {{.cron = "0 * * * *", .window = "Sat 10:00-11:00", .blackout = days, .n_blackout = 4},
            "2026-12-20T00:00Z", 1, "01-02T10:00+00"},
    };

    days[0] = (struct slot_dates){civil_time_days(2026, 12, 28), civil_time_days(2026, 12, 29)};
    days[1] = (struct slot_dates){civil_time_days(2026, 12, 25), civil_time_days(2026, 12, 26)};
    days[2] = (struct slot_dates){civil_time_days(2026, 12, 24), civil_time_days(2026, 12, 25)};
    days[3] = (struct slot_dates){civil_time_days(2026, 12, 24), civil_time_days(2026, 12, 24)};
    check_rows(*state, rows, COUNT(rows));
}

/* Walking back from each slot gives the one before it, with the same flags. */
static void test_previous_slots(void **state)
{
    static struct slot_dates dark[1];
    static const struct slot_options all[] = {
        {.cron = "30 2 * * *", NY},
        {.cron = "30 1 * * *", NY, .dst_overlap = "both"},
        {.cron = "*/30 * * * *", NY},
        {.cron = "0 0 * * *", CAIRO, .window = "Mon-Fri"},
        {.every = "7h", NY, .window = "08:00-20:00 Asia/Tokyo"},
        {.every = "1h", NY, .blackout = dark, .n_blackout = 1},
    };

    dark[0] = (struct slot_dates){civil_time_days(2026, 3, 1), civil_time_days(2026, 3, 31)};
    for (size_t i = 0; i < COUNT(all); i++) {
        struct slot_spec *spec = make(*state, &all[i]);
        struct slot slot, next, back;

        assert_int_equal(slot_next(spec, utc("2026-01-01"), &slot), 0);
        for (int n = 0; n < 2000; n++) {
            assert_int_equal(slot_next(spec, slot.at, &next), 0);
            assert_true(next.at > slot.at);
            assert_true(slot_is(spec, next.at));
            assert_false(slot_is(spec, next.at - 1));
            assert_int_equal(slot_prev(spec, next.at, &back), 0);
            if (back.at != slot.at || back.flags != slot.flags || back.jitter_ms != slot.jitter_ms)
                fail_msg("spec %zu: before %lld comes %lld, not %lld", i, (long long)next.at,
                    (long long)back.at, (long long)slot.at);
            slot = next;
        }
        slot_spec_free(spec);
    }
}

static void test_counting(void **state)
{
    struct slot_options o = {.cron = "0 * * * *"};
    struct slot_spec *spec = make(*state, &o);

    assert_int_equal(slot_count(spec, utc("2026-01-01"), utc("2026-01-02"), 1000), 24);
    assert_int_equal(slot_count(spec, utc("2026-01-01"), utc("2026-01-02"), 10), 10);
    assert_int_equal(slot_count(spec, utc("2026-01-01T00:01Z"), utc("2026-01-01T00:59Z"), 10), 0);
    assert_int_equal(slot_count(spec, utc("2026-01-02"), utc("2026-01-01"), 10), 0);
    slot_spec_free(spec);
}

static void test_intervals_keep_to_their_anchor(void **state)
{
    struct slot_options o = {.every = "90s", .anchor = "2026-03-07T00:00:10Z"};
    struct slot_spec *spec = make(*state, &o);
    struct slot slot;

    assert_int_equal(slot_next(spec, utc("2026-03-07T00:00:09Z"), &slot), 0);
    assert_int_equal(slot.at, utc("2026-03-07T00:00:10Z"));
    assert_int_equal(slot_next(spec, slot.at, &slot), 0);
    assert_int_equal(slot.at, utc("2026-03-07T00:01:40Z"));
    /* Before the anchor, too. */
    assert_int_equal(slot_prev(spec, utc("2026-03-07T00:00:10Z"), &slot), 0);
    assert_int_equal(slot.at, utc("2026-03-06T23:58:40Z"));
    slot_spec_free(spec);
}

static void test_jitter_is_of_schedule_and_slot(void **state)
{
    struct slot_options o = {.cron = "* * * * *", .jitter = "30s", .key = "a"};
    struct slot_spec *a = make(*state, &o), *again = make(*state, &o), *b;
    struct slot slot = {.at = utc("2026-01-01")}, other;
    int64_t sum = 0, largest = 0;
    int same = 0;

    o.key = "b";
    b = make(*state, &o);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(slot_next(again, slot.at, &other), 0);
        assert_int_equal(slot_next(a, slot.at, &slot), 0);
        assert_int_equal(slot.jitter_ms, other.jitter_ms);
        assert_true(slot.jitter_ms >= 0 && slot.jitter_ms <= 30000);
        assert_int_equal(slot_next(b, slot.at - 1, &other), 0);
        same += slot.jitter_ms == other.jitter_ms;
        sum += slot.jitter_ms;
        largest = slot.jitter_ms > largest ? slot.jitter_ms : largest;
    }
    assert_true(same < 5);
    assert_true(sum > 14000 * 1000 && sum < 16000 * 1000);
    assert_true(largest > 29000);
    slot_spec_free(a);
    slot_spec_free(again);
    slot_spec_free(b);
}

static void test_faults(void **state)
{
    static const struct slot_dates backwards[] = {{10, 9}};
    static const struct {
        struct slot_options options;
        const char *faults;
    } rows[] = {
        {{.cron = NULL}, "schedule: either cron or every is wanted\n"},
        {{.cron = "* * * * *", .every = "5s"}, "schedule: either cron or every is wanted\n"},
        {{.cron = "61 * * * *", .zone = "No/Zone", .dst_gap = "maybe", .jitter = "5"},
            "minute: 61 is above 59, at column 1\n"
            "timezone: 'No/Zone' is no zone of the system's tzdata\n"
            "dst_gap: 'maybe' is neither run_after nor skip\n"
            "jitter: a time such as 90s, 5m, 1h30m or 2d is wanted, at column 2\n"},
        {{.every = ""}, "every: a time such as 90s, 5m, 1h30m or 2d is wanted, at column 1\n"},
        {{.every = "5m1h"}, "every: a time such as 90s, 5m, 1h30m or 2d is wanted, at column 4\n"},
        {{.every = "0s"}, "every: 0s lies outside of 1s to 366d\n"},
        {{.every = "367d"}, "every: 367d lies outside of 1s to 366d\n"},
        {{.every = "5s", .anchor = "noon"},
            "anchor: 'noon' is no instant such as 2026-03-07T00:00:00Z\n"},
        {{.every = "5s", .dst_overlap = "last"}, "dst_overlap: 'last' is neither first nor both\n"},
        {{.every = "5s", .window = "Mon-"},
            "window: a weekday from Sun to Sat is wanted, at column 5\n"},
        {{.every = "5s", .window = "Mon 9"},
            "window: a time of day as 09:00 is wanted, at column 5\n"},
        {{.every = "5s", .window = "09:00"},
            "window: the end of the range is missing, at column 6\n"},
        {{.every = "5s", .window = "09:00-24:01"},
            "window: this time of day does not exist, at column 7\n"},
        {{.every = "5s", .window = "09:00-09:00"}, "window: the range is empty, at column 1\n"},
        {{.every = "5s", .window = "09:00-10:00 Mars"},
            "window: no such zone in the system's tzdata, at column 13\n"},
        {{.every = "5s", .window = "09:00-10:00 UTC x"},
            "window: nothing may follow the zone, at column 17\n"},
        {{.every = "5s", .blackout = backwards, .n_blackout = 1},
            "blackout: a range of dates runs backwards or lies outside of the years 1 to 9999\n"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf faults = BUF_INIT(4096);
        struct slot_spec *spec = NULL;

        assert_int_equal(slot_spec_new(&rows[i].options, *state, &faults, &spec), ERR_INVALID);
        assert_null(spec);
        assert_string_equal(buf_str(&faults), rows[i].faults);
        buf_release(&faults);
    }
}

static void test_schedules_that_can_never_run_are_refused(void **state)
{
    static const struct slot_dates always[] = {{0, 2000000}};
    static const struct {
        struct slot_options options;
        const char *faults;
    } rows[] = {
        {{.cron = "0 9 * * *", .window = "Mon-Fri 10:00-17:00"},
            "window: no slot of the next 50 years is left by it\n"},
        {{.cron = "0 12 * * 0", .window = "Mon-Fri"},
            "window: no slot of the next 50 years is left by it\n"},
        {{.cron = "0 12 * * *", .blackout = always, .n_blackout = 1},
            "blackout: no slot of the next 50 years is left by it\n"},
        {{.cron = "0 12 * * 0", .window = "Sun", .blackout = always, .n_blackout = 1},
            "blackout: no slot of the next 50 years is left by it\n"},
        /* Rare, but it comes: 29 February on a Monday. */
        {{.cron = "0 12 29 2 *", .window = "Mon"}, ""},
        {{.cron = "0 9 * * *", .window = "10:00-17:00 Asia/Tokyo", NY},
            "window: no slot of the next 50 years is left by it\n"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slot_spec *spec = make(*state, &rows[i].options);
        struct buf faults = BUF_INIT(4096);
        int r = slot_spec_check(spec, utc("2026-01-01"), &faults);

        assert_string_equal(buf_str(&faults), rows[i].faults);
        assert_int_equal(r, *buf_str(&faults) ? ERR_INVALID : 0);
        assert_int_equal(
            slot_spec_ends(spec, utc("2026-01-01")), strncmp(buf_str(&faults), "black", 5) == 0);
        buf_release(&faults);
        slot_spec_free(spec);
    }
}

static void test_zones_in_use(void **state)
{
    struct slot_options o = {.cron = "0 9 * * *", NY, .window = "09:00-10:00 Asia/Tokyo"};
    const struct civil_zone *tokyo = NULL, *paris = NULL;
    struct slot_spec *spec = make(*state, &o);

    assert_int_equal(civil_zones_get(*state, "Asia/Tokyo", &tokyo), 0);
    assert_int_equal(civil_zones_get(*state, "Europe/Paris", &paris), 0);
    assert_string_equal(civil_zone_name(slot_spec_zone(spec)), "America/New_York");
    assert_true(slot_spec_uses_zone(spec, slot_spec_zone(spec)));
    assert_true(slot_spec_uses_zone(spec, tokyo));
    assert_false(slot_spec_uses_zone(spec, paris));
    slot_spec_free(spec);
}

static void test_ends_of_time(void **state)
{
    static const struct slot_options all[] = {
        {.cron = "* * * * *", NY},
        {.every = "1s"},
        {.cron = "0 0 1 1 *", .window = "Mon"},
    };
    struct slot slot;

    for (size_t i = 0; i < COUNT(all); i++) {
        struct slot_spec *spec = make(*state, &all[i]);

        assert_int_equal(slot_next(spec, INT64_MAX, &slot), ERR_NOT_FOUND);
        assert_int_equal(slot_prev(spec, INT64_MIN, &slot), ERR_NOT_FOUND);
        assert_int_equal(slot_next(spec, INT64_MIN, &slot), ERR_NOT_FOUND);
        assert_int_equal(slot_prev(spec, INT64_MAX, &slot), ERR_NOT_FOUND);
        assert_false(slot_is(spec, INT64_MIN));
        assert_false(slot_is(spec, INT64_MAX));
        slot_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skipped_times),
        cmocka_unit_test(test_repeated_times),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_blackouts),
        cmocka_unit_test(test_previous_slots),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_intervals_keep_to_their_anchor),
        cmocka_unit_test(test_jitter_is_of_schedule_and_slot),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_schedules_that_can_never_run_are_refused),
        cmocka_unit_test(test_zones_in_use),
        cmocka_unit_test(test_ends_of_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
