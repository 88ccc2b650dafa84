/*
 * calendar_apply() and what follows from it: pending follows the meeting, and nothing remains
 * for a time that is not its own any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

/* Times of the tests count from here, in minutes. */
#define BASE "timestamptz '2027-03-13 12:00:00+00'"

#define FUNCTIONS                                                                                  \
    "CREATE FUNCTION claim(c bigint) RETURNS bigint LANGUAGE sql AS $$"                            \
    " UPDATE calendar_credentials SET locked_at = now(), locked_by = 1,"                           \
    " fence = nextval('fence_seq') WHERE id = c RETURNING fence $$;"                               \
    "CREATE FUNCTION at(minutes int) RETURNS timestamptz LANGUAGE sql AS $$"                       \
    " SELECT " BASE " + minutes * interval '1 minute' $$;"                                         \
    "CREATE FUNCTION ev(uid text, instance text, minutes int, more jsonb DEFAULT '{}')"            \
    " RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('uid', uid, 'instance',"          \
    " instance, 'title', uid, 'starts_at', extract(epoch FROM at(minutes))::bigint,"               \
    " 'ends_at', extract(epoch FROM at(minutes + 30))::bigint) || more $$;"                        \
    "CREATE FUNCTION sync(is_full boolean, VARIADIC e jsonb[]) RETURNS text LANGUAGE sql AS $$"    \
    " SELECT concat_ws(' ', r.created, r.skipped, r.updated, r.cancelled, r.opened)"               \
    " FROM calendar_apply(1, claim(1), array_to_json(e)::jsonb, is_full,"                          \
    " now() - interval '1 day', now() + interval '35 days', NULL, NULL, NULL, 'token',"            \
    " interval '55 s', interval '24 h') AS r $$;"                                                  \
    "CREATE VIEW pending AS SELECT string_agg(DISTINCT i.title || ' ' ||"                          \
    " (extract(epoch FROM i.starts_at - " BASE ") / 60)::int, ', ') AS what"                       \
    " FROM notification AS n JOIN incident AS i ON i.id = n.incident_id WHERE n.pending"

static int setup(void **state)
{
    if (harness_setup(state) != 0)
        return -1;
    harness_exec(*state, FUNCTIONS);
    harness_exec(*state, "UPDATE public.test_clock SET shift = " BASE " - pg_catalog.now()");
    harness_exec(*state,
        "INSERT INTO users (id, name, time_zone) VALUES (1, 'owner', 'America/New_York');"
        "INSERT INTO contact_method (user_id, channel, modes, address)"
        " VALUES (1, 'console', '{message,call}', 'owner');"
        "INSERT INTO calendar_credentials (id, user_id, provider, source)"
        " VALUES (1, 1, 'ics', 'file:/x')");
    return 0;
}

/* Applies and compares "created skipped updated cancelled opened". */
static void expect(struct harness *h, const char *call, const char *counts)
{
    struct buf sql = BUF_INIT(65536);

    buf_addf(&sql, "SELECT %s", call);
    assert_string_equal(harness_text(h, buf_str(&sql)), counts);
    buf_release(&sql);
}

/* "title minutes" of the incidents for which something is pending; NULL: nothing is. */
static void expect_pending(struct harness *h, const char *what)
{
    const char *pending = harness_text(h, "SELECT what FROM pending");

    if (what)
        assert_string_equal(pending, what);
    else
        assert_null(pending);
}

static void test_once(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60), ev('b', '', 120))", "2 0 0 0 2");
    expect(h, "sync(true, ev('a', '', 60), ev('b', '', 120))", "0 2 0 0 0");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM incident"), 2);
    /* At -12, -2 and 0; the other rungs have nobody to ask. */
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification"), 6);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification AS n JOIN incident AS i"
                                    " ON i.id = n.incident_id WHERE n.due_at = i.starts_at"
                                    " - interval '2 minutes' AND n.mode = 'call'"),
        2);
    assert_true(harness_bool(h, "SELECT locked_at IS NULL AND sync_token = 'token' AND"
                                " next_sync_at BETWEEN now() AND now() + interval '55 s' FROM "
                                "calendar_credentials"));
}

/* Nobody acknowledged, nothing is left to send: it closes an hour after the start, not before. */
static void test_what_is_over_closes(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60), ev('b', '', 180))", "2 0 0 0 2");
    harness_clock_advance(h, "61 minutes");
    harness_exec(h, "UPDATE notification SET state = 'expired', pending = false"
                    " WHERE due_at <= now() AND pending");
    assert_int_equal(harness_int(h, "SELECT meeting_close()"), 0);
    harness_clock_advance(h, "61 minutes");
    assert_int_equal(harness_int(h, "SELECT meeting_close()"), 1);
    assert_string_equal(harness_rows(h, "SELECT title, status FROM incident ORDER BY starts_at"),
        "a|closed\nb|open");
}

static void test_lost_claim_changes_nothing(void **state)
{
    struct harness *h = *state;

    assert_true(harness_bool(h,
        "SELECT NOT applied FROM calendar_apply(1, claim(1) - 1, '[{\"uid\": \"a\", \"starts_at\":"
        " 1, \"ends_at\": 2}]', true, now(), now() + interval '1 day', NULL, NULL, NULL, NULL,"
        " interval '55 s', interval '24 h')"));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM calendar_event"), 0);
    assert_true(harness_bool(h, "SELECT locked_at IS NOT NULL FROM calendar_credentials"));
}

static void test_moved(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60))", "1 0 0 0 1");
    expect(h, "sync(true, ev('a', '', 90))", "0 0 1 0 1");
    expect_pending(h, "a 90");
    expect(h, "sync(true, ev('a', '', 60))", "0 0 1 0 1");
    expect_pending(h, "a 60");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM incident"), 2);
    assert_int_equal(harness_int(h, "SELECT revision FROM calendar_event"), 3);
    /* To a day beyond the horizon, and back from there when it comes near. */
    expect(h, "sync(true, ev('a', '', 3000))", "0 0 1 0 0");
    expect_pending(h, NULL);
    harness_clock_advance(h, "26 hours 1 minute");
    assert_int_equal(harness_int(h, "SELECT opened FROM meeting_plan(interval '24 h')"), 1);
    assert_int_equal(harness_int(h, "SELECT opened FROM meeting_plan(interval '24 h')"), 0);
    expect_pending(h, "a 3000");
}

static void test_only_what_matters_bumps_the_revision(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60))", "1 0 0 0 1");
    expect(h, "sync(true, ev('a', '', 60, '{\"title\": \"renamed\"}'))", "0 1 0 0 0");
    assert_int_equal(harness_int(h, "SELECT revision FROM calendar_event"), 1);
    expect_pending(h, "renamed 60");
    expect(h, "sync(true, ev('a', '', 60, '{\"ends_at\": 2000000000}'))", "0 0 1 0 0");
    assert_int_equal(harness_int(h, "SELECT revision FROM calendar_event"), 2);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification"), 3);
}

static void test_cancelled_in_each_way(void **state)
{
    struct harness *h = *state;
    static const char *const ways[] = {
        "sync(true, VARIADIC '{}'::jsonb[])",
        "sync(true, ev('a', '', 60, '{\"status\": \"cancelled\"}'))",
        "sync(true, ev('a', '', 60, '{\"declined\": true}'))",
        "sync(true, ev('a', '', 60, '{\"all_day\": true}'))",
        "sync(false, jsonb '{\"uid\": \"a\", \"deleted\": true}')",
    };

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        harness_text(h, "SELECT sync(true, ev('a', '', 60))");
        expect_pending(h, "a 60");
        harness_execf(h, "SELECT %s", ways[i]);
        expect_pending(h, NULL);
        assert_int_equal(harness_int(h, "SELECT count(*) FROM incident WHERE status = 'open'"), 0);
    }
    /* What an incremental answer does not name stands; so does what a full one could not read. */
    harness_text(h, "SELECT sync(true, ev('a', '', 60))");
    expect(h, "sync(false, ev('b', '', 90))", "1 0 0 0 1");
    expect(h, "sync(true, jsonb '{\"uid\": \"a\", \"kept\": true}', ev('b', '', 90))", "0 2 0 0 0");
    expect_pending(h, "a 60, b 90");
}

/* What a full answer is silent about: gone within its window only, and not where the series
 * could not be read. */
static void test_silence_of_a_full_answer(void **state)
{
    struct harness *h = *state;

    expect(h,
        "sync(false, ev('before', '', -2000), ev('beyond', '', 52000), ev('in', '', 60),"
        " ev('s', 'i1', 120), ev('s', 'i2', 1500))",
        "5 0 0 0 2");
    expect(h, "sync(true, jsonb '{\"uid\": \"s\", \"kept\": true}')", "0 1 0 1 0");
    assert_string_equal(
        harness_rows(h, "SELECT uid FROM calendar_event WHERE status = 'cancelled'"), "in");
    expect_pending(h, "s 120");
}

/* The calendar's own ladder, not the organisation's. */
static void test_own_ladder(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "INSERT INTO ladder (id, key) VALUES (100, 'short');"
                    "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
                    " useful_for) VALUES (100, 1, '-5 min', 'call', 'alerts', 'owner', '5 min');"
                    "UPDATE calendar_credentials SET ladder_id = 100");
    expect(h, "sync(true, ev('a', '', 60))", "1 0 0 0 1");
    assert_string_equal(
        harness_rows(h, "SELECT mode, due_at = at(55) FROM notification"), "call|t");
}

static void test_made_recurring_and_single_again(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60))", "1 0 0 0 1");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE due_at = at(48);"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE due_at = at(48)");
    expect(
        h, "sync(true, ev('a', 'i1', 60), ev('a', 'i2', 1500), ev('a', 'i3', 2940))", "2 1 0 0 0");
    expect_pending(h, "a 60");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE due_at = at(48)"), 1);
    harness_clock_advance(h, "70 minutes");
    assert_int_equal(harness_int(h, "SELECT opened FROM meeting_plan(interval '24 h')"), 1);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM notification AS n JOIN incident AS i ON i.id = "
                       "n.incident_id WHERE n.pending AND i.starts_at = at(1500)"),
        3);
    /* The series is taken apart: the second instance stays as a single meeting. */
    expect(h, "sync(false, ev('a', '', 1500))", "0 1 0 2 0");
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM calendar_event WHERE status <> 'cancelled'"), 1);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM incident WHERE status = 'open' AND"
                                    " starts_at = at(1500)"),
        1);
    /* An instance by its own id, as Google deletes it; then the whole series. */
    expect(h, "sync(false, ev('s', 's_1', 1480), ev('s', 's_2', 1490))", "2 0 0 0 2");
    expect(h, "sync(false, jsonb '{\"uid\": \"s_1\", \"deleted\": true}')", "0 0 0 1 0");
    expect(h, "sync(false, jsonb '{\"uid\": \"s\", \"deleted\": true}')", "0 0 0 1 0");
}

/* 09:00 in New York is 14:00 UTC on 13 March 2027 and 13:00 UTC on the 14th, when clocks go
 * forward: the same wall clock, an hour less of waiting. */
static void test_moved_across_a_change_of_clocks(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 120))", "1 0 0 0 1");
    harness_exec(h, "CREATE FUNCTION wall(t timestamp) RETURNS jsonb LANGUAGE sql AS $$"
                    " SELECT jsonb_build_object('starts_at', extract(epoch FROM t AT TIME ZONE"
                    " 'America/New_York')::bigint, 'ends_at', extract(epoch FROM t AT TIME ZONE"
                    " 'America/New_York')::bigint + 1800) $$");
    expect(h, "sync(true, ev('a', '', 0, wall('2027-03-14 09:00')))", "0 0 1 0 0");
    expect_pending(h, NULL);
    harness_clock_advance(h, "1 hour");
    assert_int_equal(harness_int(h, "SELECT opened FROM meeting_plan(interval '24 h')"), 1);
    assert_true(harness_bool(h, "SELECT bool_and(to_char(i.starts_at AT TIME ZONE "
                                "'America/New_York', 'HH24:MI') = '09:00' AND i.starts_at = "
                                "timestamptz '2027-03-14 13:00+00') AND min(n.due_at) = "
                                "timestamptz '2027-03-14 12:48+00' FROM notification AS n"
                                " JOIN incident AS i ON i.id = n.incident_id WHERE n.pending"));
}

static void test_started_meetings_make_no_incident(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', -10), ev('b', '', 0), ev('c', '', 1))", "3 0 0 0 1");
    expect_pending(h, "c 1");
    /* What is useless by now is left out; what is late and still useful is due at once. */
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE due_at <= now()"), 2);
}

static void test_sent_is_not_sent_again(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 10))", "1 0 0 0 1");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE mode = 'message'"
                    " AND kind = 'meeting_alert';"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE state = 'sending'");
    expect(h, "sync(true, ev('a', '', 60))", "0 0 1 0 1");
    expect(h, "sync(true, ev('a', '', 10))", "0 0 1 0 1");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification AS n JOIN incident AS i"
                                    " ON i.id = n.incident_id WHERE i.starts_at = at(10)"
                                    " AND n.kind = 'meeting_alert' AND n.state <> 'cancelled'"),
        1);
}

static void test_failure_backs_off_and_death_is_told_once(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60))", "1 0 0 0 1");
    assert_true(harness_bool(
        h, "SELECT calendar_fail(1, claim(1), '{\"code\": \"io\"}', interval '2 min', false)"));
    assert_true(harness_bool(h,
        "SELECT failures = 1 AND next_sync_at BETWEEN now() AND now() + interval '2 min' AND"
        " dead_at IS NULL AND locked_at IS NULL FROM calendar_credentials"));
    assert_true(harness_bool(
        h, "SELECT calendar_fail(1, claim(1), '{\"code\": \"io\"}', interval '2 min', true)"));
    assert_false(harness_bool(h, "SELECT calendar_fail(1, 1, '{}', interval '2 min', true)"));
    assert_true(harness_bool(h, "SELECT stale FROM calendar_event"));
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM notification WHERE kind = 'calendar_dead'"), 1);
    expect_pending(h, "a 60");
    /* Connected anew: everything begins again. */
    harness_exec(h, "UPDATE calendar_credentials SET source = 'file:/y'");
    assert_true(harness_bool(h, "SELECT dead_at IS NULL AND failures = 0 AND sync_token IS NULL"
                                " FROM calendar_credentials"));
    expect(h, "sync(true, ev('a', '', 60))", "0 1 0 0 0");
    assert_false(harness_bool(h, "SELECT stale FROM calendar_event"));
}

static void test_revoked_and_deleted(void **state)
{
    struct harness *h = *state;

    expect(h, "sync(true, ev('a', '', 60), ev('b', '', 90))", "2 0 0 0 2");
    harness_exec(h, "DELETE FROM calendar_event WHERE uid = 'b'");
    expect_pending(h, "a 60");
    harness_exec(h, "UPDATE calendar_credentials SET revoked_at = now()");
    expect_pending(h, NULL);
    harness_exec(h, "UPDATE calendar_credentials SET revoked_at = NULL");
    expect(h, "sync(true, ev('a', '', 60))", "0 0 1 0 1");
    expect_pending(h, "a 60");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_once),
        TEST(test_what_is_over_closes),
        TEST(test_lost_claim_changes_nothing),
        TEST(test_moved),
        TEST(test_only_what_matters_bumps_the_revision),
        TEST(test_cancelled_in_each_way),
        TEST(test_silence_of_a_full_answer),
        TEST(test_own_ladder),
        TEST(test_made_recurring_and_single_again),
        TEST(test_moved_across_a_change_of_clocks),
        TEST(test_started_meetings_make_no_incident),
        TEST(test_sent_is_not_sent_again),
        TEST(test_failure_backs_off_and_death_is_told_once),
        TEST(test_revoked_and_deleted),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
