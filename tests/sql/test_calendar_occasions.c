/*
 * Birthdays and anniversaries: at nine in the morning of the person's own zone, once a year.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define NOW "timestamptz '2027-02-27 06:00:00+00'"

static int setup(void **state)
{
    if (harness_setup(state) != 0)
        return -1;
    harness_exec(*state, "UPDATE public.test_clock SET shift = " NOW " - pg_catalog.now();"
                         "SET TimeZone = 'UTC'");
    return 0;
}

static void add_user(struct harness *h, int id, const char *zone, const char *birthday)
{
    harness_execf(h,
        "INSERT INTO users (id, name, time_zone, birthday) VALUES (%d, 'owner', '%s', '%s');"
        "INSERT INTO contact_method (user_id, channel, address) VALUES (%d, 'console', 'c')",
        id, zone, birthday, id);
}

static void expect_due(struct harness *h, int user, const char *kind, const char *due)
{
    struct buf sql = BUF_INIT(1024);

    buf_addf(&sql,
        "SELECT string_agg(to_char(due_at, 'YYYY-MM-DD HH24:MI'), ', ' ORDER BY due_at)"
        " FROM notification WHERE user_id = %d AND kind = '%s'",
        user, kind);
    const char *found = harness_text(h, buf_str(&sql));
    if (due)
        assert_string_equal(found, due);
    else
        assert_null(found);
    buf_release(&sql);
}

static void test_nine_in_every_zone(void **state)
{
    struct harness *h = *state;

    add_user(h, 1, "UTC", "1990-02-28");
    add_user(h, 2, "Pacific/Kiritimati", "1990-03-01"); /* UTC+14 */
    add_user(h, 3, "Pacific/Pago_Pago", "1990-02-28");  /* UTC-11 */
    add_user(h, 4, "Asia/Kathmandu", "1990-02-28");     /* UTC+5:45 */
    add_user(h, 5, "UTC", "1990-03-02");                /* over 48 h ahead */
    add_user(h, 6, "UTC", "1992-02-29");                /* on the 28th of a common year */
    add_user(h, 7, "UTC", "2027-02-28");                /* born this year */
    harness_exec(h, "DELETE FROM notification");
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "5|0");
    expect_due(h, 1, "birthday", "2027-02-28 09:00");
    expect_due(h, 2, "birthday", "2027-02-28 19:00");
    expect_due(h, 3, "birthday", "2027-02-28 20:00");
    expect_due(h, 4, "birthday", "2027-02-28 03:15");
    expect_due(h, 5, "birthday", NULL);
    expect_due(h, 6, "birthday", "2027-02-28 09:00");
    expect_due(h, 7, "birthday", NULL);
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "0|0");
    assert_true(harness_bool(h, "SELECT bool_and(policy = 'at_most_once' AND useless_after ="
                                " due_at + interval '24 hours') FROM notification"));
}

static void test_leap_year(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE public.test_clock SET shift = timestamptz '2028-02-27 12:00+00'"
                    " - pg_catalog.now()");
    add_user(h, 1, "UTC", "2000-02-29");
    expect_due(h, 1, "birthday", "2028-02-29 09:00");
    assert_string_equal(
        harness_text(h, "SELECT string_agg(occasion_date('2000-02-29', y)::text, "
                        "' ' ORDER BY y) FROM unnest('{2099,2100,2400}'::int[]) AS y"),
        "2099-02-28 2100-02-28 2400-02-29");
}

/* Around New Year the year that counts is the one on the person's own wall. */
static void test_new_year(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE public.test_clock SET shift = timestamptz '2027-12-31 00:00+00'"
                    " - pg_catalog.now()");
    add_user(h, 1, "Pacific/Auckland", "1990-01-01");
    add_user(h, 2, "Pacific/Pago_Pago", "1990-12-31");
    expect_due(h, 1, "birthday", "2027-12-31 20:00");
    expect_due(h, 2, "birthday", "2027-12-31 20:00");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE idempotency_key IN"
                                    " ('occasion:1:birthday:2028', 'occasion:2:birthday:2027')"),
        2);
}

static void test_darkness(void **state)
{
    struct harness *h = *state;

    add_user(h, 1, "UTC", "1990-02-28");
    harness_exec(h, "DELETE FROM notification");
    /* Nothing ran from before it was due until 23 hours after: it is sent, once. */
    harness_clock_advance(h, "50 hours");
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "1|0");
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "0|0");
    assert_true(
        harness_bool(h, "SELECT due_at < now() AND useless_after > now() FROM notification"));
    harness_exec(h, "DELETE FROM notification");
    harness_clock_advance(h, "2 hours");
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "0|0");
}

static void test_changes_are_planned_again(void **state)
{
    struct harness *h = *state;

    add_user(h, 1, "UTC", "1990-02-28");
    expect_due(h, 1, "birthday", "2027-02-28 09:00");
    harness_exec(h, "UPDATE users SET time_zone = 'Asia/Tokyo'");
    expect_due(h, 1, "birthday", "2027-02-28 00:00");
    harness_exec(h, "UPDATE users SET birthday = '1990-03-01'");
    expect_due(h, 1, "birthday", "2027-03-01 00:00");
    harness_exec(h, "UPDATE users SET anniversary = '2020-02-28'");
    expect_due(h, 1, "anniversary", "2027-02-28 00:00");
    assert_string_equal(
        harness_rows(h, "SELECT deleted, rescheduled, errors FROM occasions_replan(1)"), "2|2|0");
    harness_exec(h, "UPDATE users SET birthday = NULL");
    expect_due(h, 1, "birthday", NULL);
    harness_refused(h, NULL, "22023", "UPDATE users SET time_zone = 'Mars/Olympus'");
}

/* What has been sent is not taken back, and not sent again in another zone. */
static void test_sent_stays(void **state)
{
    struct harness *h = *state;

    add_user(h, 1, "UTC", "1990-02-27");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()");
    harness_exec(h, "UPDATE users SET time_zone = 'Pacific/Pago_Pago'");
    expect_due(h, 1, "birthday", "2027-02-27 09:00");
    assert_string_equal(
        harness_rows(h, "SELECT deleted, rescheduled, errors FROM occasions_replan(1)"), "0|0|0");
}

static void test_nobody_to_reach_is_an_error_until_there_is(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "INSERT INTO users (id, name, birthday) VALUES (1, 'owner', '1990-02-28')");
    assert_string_equal(harness_rows(h, "SELECT planned, errors FROM occasions_plan()"), "0|1");
    harness_exec(h, "INSERT INTO contact_method (user_id, channel, address)"
                    " VALUES (1, 'console', 'c')");
    expect_due(h, 1, "birthday", "2027-02-28 09:00");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nine_in_every_zone),
        TEST(test_leap_year),
        TEST(test_new_year),
        TEST(test_darkness),
        TEST(test_changes_are_planned_again),
        TEST(test_sent_stays),
        TEST(test_nobody_to_reach_is_an_error_until_there_is),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
