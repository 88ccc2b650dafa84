/* Calendar arithmetic, texts of dates and instants, and the zones of the system. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/civil_time.h"

static int64_t utc(const char *text)
{
    int64_t at = 0;

    if (civil_time_parse_instant(text, &at) != 0)
        fail_msg("%s is no instant", text);
    return at;
}

static const struct civil_zone *zone_of(struct civil_zones *zones, const char *name)
{
    const struct civil_zone *zone = NULL;

    if (civil_zones_get(zones, name, &zone) != 0)
        fail_msg("%s does not load", name);
    return zone;
}

static void test_days_follow_each_other(void **state)
{
    int64_t days = civil_time_days(-400, 1, 1);
    int weekday = civil_time_weekday(days);

    (void)state;
    assert_int_equal(civil_time_days(1970, 1, 1), 0);
    assert_int_equal(civil_time_days(2000, 3, 1), 11017);
    assert_int_equal(civil_time_weekday(0), 4);
    for (int year = -400; year < 2801; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= civil_time_month_length(year, month); day++, days++) {
                int y, m, d;

                civil_time_from_days(days, &y, &m, &d);
                if (y != year || m != month || d != day || weekday != civil_time_weekday(days))
                    fail_msg("day %lld is %d-%d-%d", (long long)days, y, m, d);
                assert_int_equal(civil_time_days(year, month, day), days);
                weekday = (weekday + 1) % 7;
            }
        }
    }
}

static void test_local_seconds(void **state)
{
    struct civil_time t = civil_time_from_local(-1);

    (void)state;
    assert_int_equal(t.year, 1969);
    assert_int_equal(t.day, 31);
    assert_int_equal(t.second, 59);
    assert_int_equal(civil_time_to_local(&t), -1);
    assert_int_equal(civil_time_day_of(-1), -1);
    assert_int_equal(civil_time_day_of(-86400), -1);
    assert_int_equal(civil_time_day_of(86399), 0);
}

static void test_instants_as_text(void **state)
{
    static const struct {
        const char *text;
        int64_t at;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-03-07T00:00:00Z", 1772841600},
        {"2026-03-07 01:00:00+01:00", 1772841600},
        {"2026-03-06T19:00:00.999-0500", 1772841600},
        {"2026-03-07t00:00z", 1772841600},
        {"2026-03-07", 1772841600},
        {"2026-03-07T05:30+0530", 1772841600},
        {"2026-03-07T01:00+01", 1772841600},
    };
    static const char *const bad[] = {"", "2026", "2026-3-7", "2026-02-29", "2026-13-01",
        "2026-00-01", "2026-01-00", "0000-01-01", "2026-03-07T", "2026-03-07T00:00:00",
        "2026-03-07T24:00:00Z", "2026-03-07T00:60:00Z", "2026-03-07T00:00:00.Z",
        "2026-03-07T00:00:00Zx", "2026-03-07T00:00:00+24:00", "2026-03-07T00:00:00+1"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(utc(good[i].text), good[i].at);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t at = 77;

        if (civil_time_parse_instant(bad[i], &at) != ERR_INVALID || at != 77)
            fail_msg("'%s' was read", bad[i]);
    }
}

static void test_dates_as_text(void **state)
{
    int64_t days;

    (void)state;
    assert_int_equal(civil_time_parse_date("2024-02-29", &days), 0);
    assert_int_equal(days, civil_time_days(2024, 2, 29));
    assert_int_equal(civil_time_parse_date("2023-02-29", &days), ERR_INVALID);
    assert_int_equal(civil_time_parse_date("2024-02-29 ", &days), ERR_INVALID);
}

static void assert_local_text(int64_t at, int32_t offset, const char *expected)
{
    struct buf b = BUF_INIT(100);

    civil_time_add_local(&b, at, offset);
    assert_string_equal(buf_str(&b), expected);
    buf_release(&b);
}

static void test_instants_to_text(void **state)
{
    struct buf b = BUF_INIT(100);

    (void)state;
    civil_time_add_utc(&b, 1772841600);
    assert_string_equal(buf_str(&b), "2026-03-07T00:00:00Z");
    buf_release(&b);
    assert_local_text(1772841600, -18000, "2026-03-06T19:00:00-05:00");
    assert_local_text(1772841600, 20700, "2026-03-07T05:45:00+05:45");
    assert_local_text(0, -2670, "1969-12-31T23:15:30-00:44:30");
    assert_local_text(0, 0, "1970-01-01T00:00:00+00:00");
}

static void test_local_to_utc(void **state)
{
    static const struct {
        const char *zone, *local;
        enum civil_kind kind;
        const char *first, *second;
        int32_t shift;
    } rows[] = {
        {"UTC", "2026-03-08T02:30Z", CIVIL_UNIQUE, "2026-03-08T02:30Z", "2026-03-08T02:30Z", 0},
        {"America/New_York", "2026-03-08T01:59Z", CIVIL_UNIQUE, "2026-03-08T06:59Z",
            "2026-03-08T06:59Z", 0},
        {"America/New_York", "2026-03-08T02:00Z", CIVIL_GAP, "2026-03-08T07:00Z",
            "2026-03-08T07:00Z", 3600},
        {"America/New_York", "2026-03-08T02:59Z", CIVIL_GAP, "2026-03-08T07:00Z",
            "2026-03-08T07:00Z", 3600},
        {"America/New_York", "2026-03-08T03:00Z", CIVIL_UNIQUE, "2026-03-08T07:00Z",
            "2026-03-08T07:00Z", 0},
        {"America/New_York", "2026-11-01T00:59Z", CIVIL_UNIQUE, "2026-11-01T04:59Z",
            "2026-11-01T04:59Z", 0},
        {"America/New_York", "2026-11-01T01:00Z", CIVIL_OVERLAP, "2026-11-01T05:00Z",
            "2026-11-01T06:00Z", 3600},
        {"America/New_York", "2026-11-01T02:00Z", CIVIL_UNIQUE, "2026-11-01T07:00Z",
            "2026-11-01T07:00Z", 0},
        {"America/New_York", "2150-11-01T01:30Z", CIVIL_OVERLAP, "2150-11-01T05:30Z",
            "2150-11-01T06:30Z", 3600},
        {"Australia/Lord_Howe", "2026-10-04T02:15Z", CIVIL_GAP, "2026-10-03T15:30Z",
            "2026-10-03T15:30Z", 1800},
        {"Australia/Lord_Howe", "2026-04-05T01:45Z", CIVIL_OVERLAP, "2026-04-04T14:45Z",
            "2026-04-04T15:15Z", 1800},
        {"Pacific/Apia", "2011-12-30T12:00Z", CIVIL_GAP, "2011-12-30T10:00Z", "2011-12-30T10:00Z",
            86400},
        {"Africa/Cairo", "2026-04-24T00:00Z", CIVIL_GAP, "2026-04-23T22:00Z", "2026-04-23T22:00Z",
            3600},
        {"Asia/Almaty", "2024-02-29T23:30Z", CIVIL_OVERLAP, "2024-02-29T17:30Z",
            "2024-02-29T18:30Z", 3600},
        {"Europe/Dublin", "2026-03-29T01:30Z", CIVIL_GAP, "2026-03-29T01:00Z", "2026-03-29T01:00Z",
            3600},
    };
    struct civil_zones *zones;

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct civil_instants got;

        civil_time_to_utc(zone_of(zones, rows[i].zone), utc(rows[i].local), &got);
        if (got.kind != rows[i].kind || got.first != utc(rows[i].first) ||
            got.second != utc(rows[i].second) || got.shift != rows[i].shift)
            fail_msg("%s %s: kind %d, %lld, %lld, shift %d", rows[i].zone, rows[i].local, got.kind,
                (long long)got.first, (long long)got.second, got.shift);
    }
    civil_zones_free(zones);
}

static void test_zones_are_found_by_name_alone(void **state)
{
    static const struct {
        const char *name;
        int err;
    } rows[] = {
        {"", ERR_INVALID},
        {"/etc/passwd", ERR_INVALID},
        {"../zoneinfo/UTC", ERR_INVALID},
        {"Europe/../UTC", ERR_INVALID},
        {"Europe/", ERR_INVALID},
        {"Europe//Berlin", ERR_INVALID},
        {"Europe", ERR_INVALID},
        {"Europe/Ber lin", ERR_INVALID},
        {"tzdata.zi", ERR_INVALID},
        {"right/Europe/Berlin", ERR_INVALID},
        {"Europe/Atlantis", ERR_NOT_FOUND},
        {"UTC/UTC", ERR_NOT_FOUND},
    };
    const struct civil_zone *berlin, *again;
    struct civil_zones *zones;

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct civil_zone *zone = NULL;
        int r = civil_zones_get(zones, rows[i].name, &zone);

        /* Debian installs the right/ zones, others may not. */
        if (r != rows[i].err && !(r == ERR_NOT_FOUND && strncmp(rows[i].name, "right", 5) == 0))
            fail_msg("'%s': %d", rows[i].name, r);
        assert_null(zone);
    }
    berlin = zone_of(zones, "Europe/Berlin");
    again = zone_of(zones, "Europe/Berlin");
    assert_ptr_equal(berlin, again);
    assert_string_equal(civil_zone_name(berlin), "Europe/Berlin");
    assert_int_equal(civil_time_from_utc(berlin, utc("2026-07-01T22:30Z")).day, 2);
    civil_zones_free(zones);
}

/* --- replaced files -------------------------------------------------------------------------- */

struct folder {
    char dir[64];
    char path[96];
    char other[96];
};

static void copy_zone(const char *name, const char *to)
{
    char *from = NULL;
    char bytes[8192];
    ssize_t n;
    int in, out;

    assert_true(asprintf(&from, "/usr/share/zoneinfo/%s", name) > 0);
    in = open(from, O_RDONLY);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
    free(from);
}

static int setup_folder(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/tocsin-zones-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof(f->path), "%s/Home", f->dir);
    (void)snprintf(f->other, sizeof(f->other), "%s/new", f->dir);
    *state = f;
    return 0;
}

static int teardown_folder(void **state)
{
    struct folder *f = *state;

    (void)unlink(f->path);
    (void)unlink(f->other);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static void count_change(void *ctx, const struct civil_zone *zone)
{
    assert_string_equal(civil_zone_name(zone), "Home");
    (*(int *)ctx)++;
}

static void test_replaced_files_are_read_again(void **state)
{
    struct folder *f = *state;
    const struct civil_zone *home;
    struct civil_zones *zones;
    int changes = 0;

    copy_zone("Europe/Berlin", f->path);
    assert_int_equal(civil_zones_new(f->dir, &zones), 0);
    home = zone_of(zones, "Home");
    assert_int_equal(civil_zone_offset(home, utc("2026-01-01")), 3600);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 0);

    /* Another file with the same rules: nothing to recompute. */
    copy_zone("Europe/Berlin", f->other);
    assert_int_equal(rename(f->other, f->path), 0);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 0);

    copy_zone("Asia/Tokyo", f->other);
    assert_int_equal(rename(f->other, f->path), 0);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 1);
    assert_int_equal(changes, 1);
    assert_int_equal(civil_zone_offset(home, utc("2026-01-01")), 32400);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 0);

    /* Broken or gone: what was known stays. */
    assert_int_equal(truncate(f->path, 100), 0);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(civil_zones_refresh(zones, count_change, &changes), 0);
    assert_int_equal(civil_zone_offset(home, utc("2026-01-01")), 32400);
    assert_int_equal(changes, 1);
    civil_zones_free(zones);
}

static void test_tzdir_is_honoured(void **state)
{
    struct folder *f = *state;
    struct civil_zones *zones;

    copy_zone("Asia/Tokyo", f->path);
    assert_int_equal(setenv("TZDIR", f->dir, 1), 0);
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    assert_int_equal(unsetenv("TZDIR"), 0);
    assert_int_equal(civil_zone_offset(zone_of(zones, "Home"), 0), 32400);
    civil_zones_free(zones);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_days_follow_each_other),
        cmocka_unit_test(test_local_seconds),
        cmocka_unit_test(test_instants_as_text),
        cmocka_unit_test(test_dates_as_text),
        cmocka_unit_test(test_instants_to_text),
        cmocka_unit_test(test_local_to_utc),
        cmocka_unit_test(test_zones_are_found_by_name_alone),
        cmocka_unit_test_setup_teardown(
            test_replaced_files_are_read_again, setup_folder, teardown_folder),
        cmocka_unit_test_setup_teardown(test_tzdir_is_honoured, setup_folder, teardown_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
