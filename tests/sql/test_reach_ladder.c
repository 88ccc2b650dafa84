/*
 * Rotations, repeats, acknowledgements that expire, the auditor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

/* Three people on the console, a rotation of the second and the third, a ladder that asks it. */
static void add_rotation(
    struct harness *h, const char *zone, const char *starts_on, const char *hand_over_at, int days)
{
    harness_execf(h,
        "INSERT INTO users (id, name) VALUES (1, 'owner'), (2, 'second'), (3, 'third');"
        "INSERT INTO contact_method (user_id, channel, modes, address)"
        " SELECT id, 'console', '{message,call}', name FROM users;"
        "INSERT INTO rotation (id, key, time_zone, starts_on, hand_over_at, days)"
        " VALUES (1, 'primary', '%s', '%s', '%s', %d);"
        "INSERT INTO rotation_member VALUES (1, 10, 2), (1, 20, 3);"
        "INSERT INTO ladder (id, key) VALUES (9, 'on call');"
        "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target, target_id,"
        " useful_for) VALUES (9, 1, '0', 'message', 'escalation', 'rotation', 1, '10 minutes')",
        zone, starts_on, hand_over_at, days);
}

static void add_incident(struct harness *h, const char *starts_at)
{
    harness_execf(h,
        "INSERT INTO incident (kind, user_id, starts_at, title, ladder_id)"
        " VALUES ('manual', 1, %s, 'Disk', 9); SELECT incident_plan('{1}')",
        starts_at);
}

static void test_the_hand_over_is_local(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "America/New_York", "2026-03-02", "09:00", 7);
    assert_string_equal(
        harness_rows(h,
            "SELECT rotation_on_call(1, t::timestamptz) FROM unnest('{2026-03-02 13:59Z,"
            "2026-03-02 14:00Z,2026-03-09 12:59Z,2026-03-09 13:00Z,2026-03-16 13:00Z}'::text[]) AS "
            "t"),
        "\n2\n2\n3\n2"); /* summer time began on the 8th */
}

static void test_a_zone_that_nobody_knows_is_refused(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_refused(h, NULL, "22023", "UPDATE rotation SET time_zone = 'Europe/Berln'");
    harness_refused(h, NULL, "22023",
        "INSERT INTO rotation (key, time_zone, starts_on) VALUES ('b', 'Mars/Olympus', now())");
}

/* Around both changes of the clocks, minute by minute: one hand-over a day, never back. */
static void test_one_hand_over_a_day_across_changes_of_clocks(void **state)
{
    static const char *const hand_overs[] = {"01:30", "02:30", "03:00", "00:00"};
    struct harness *h = *state;

    add_rotation(h, "America/New_York", "2026-01-01", "00:00", 1);
    for (size_t i = 0; i < sizeof hand_overs / sizeof hand_overs[0]; i++) {
        harness_execf(h, "UPDATE rotation SET hand_over_at = '%s'", hand_overs[i]);
        for (int fall = 0; fall <= 1; fall++)
            assert_int_equal(
                harness_intf(h,
                    "SELECT count(*) FROM (SELECT rotation_on_call(1, t) AS now_on,"
                    " lag(rotation_on_call(1, t)) OVER (ORDER BY t) AS before"
                    " FROM generate_series('2026-%s 12:00Z'::timestamptz,"
                    " '2026-%s 12:00Z'::timestamptz + interval '2 days', '1 minute') AS t) AS s"
                    " WHERE now_on <> before",
                    fall ? "10-31" : "03-07", fall ? "10-31" : "03-07"),
                2);
    }
}

static void test_an_override_goes_first_and_plans_anew(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    add_incident(h, "'2100-01-05 12:00Z'");
    int64_t planned = harness_int(h, "SELECT user_id FROM notification");
    harness_execf(h,
        "INSERT INTO rotation_override (rotation_id, user_id, from_at, until_at)"
        " VALUES (1, %lld, '2100-01-05 11:00Z', '2100-01-05 13:00Z')",
        (long long)(planned == 2 ? 3 : 2));
    assert_int_equal(harness_int(h, "SELECT user_id FROM notification WHERE state = 'scheduled'"),
        planned == 2 ? 3 : 2);
    harness_exec(h, "DELETE FROM rotation_override");
    assert_int_equal(
        harness_int(h, "SELECT user_id FROM notification WHERE state = 'scheduled'"), planned);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM notification WHERE state = 'cancelled'"), 2);
}

/* A call that is about to be made again goes on when somebody takes another shift. */
static void test_an_override_leaves_a_call_that_is_made_again(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "UPDATE ladder_rung SET mode = 'call' WHERE ladder_id = 9");
    add_incident(h, "now()");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1; SELECT notification_report(1, 'answered', NULL, false, true);"
                    "INSERT INTO rotation_override (rotation_id, user_id, from_at, until_at)"
                    " VALUES (1, 3, '2100-01-05 11:00Z', '2100-01-05 13:00Z')");
    assert_string_equal(
        harness_rows(h, "SELECT state FROM notification ORDER BY id"), "delivered\nscheduled");
}

static void test_who_comes_to_be_on_call_is_asked_of_what_is_open(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "DELETE FROM rotation_member");
    add_incident(h, "now()");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification"), 0);
    harness_exec(h, "INSERT INTO rotation_member VALUES (1, 1, 3)");
    assert_string_equal(harness_rows(h, "SELECT user_id, state, due_at <= now() FROM notification"),
        "3|scheduled|t");
}

static void test_repeats(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "UPDATE ladder_rung SET repeats = 3, repeat_every = '15 minutes'"
                    " WHERE ladder_id = 9");
    add_incident(h, "now() + interval '1 hour'");
    assert_string_equal(
        harness_rows(h, "SELECT n.round, extract(epoch FROM n.due_at - i.starts_at)::int"
                        " FROM notification n JOIN incident i ON i.id = n.incident_id ORDER BY 1"),
        "0|0\n1|900\n2|1800\n3|2700");
    assert_int_equal(harness_int(h, "SELECT incident_plan('{1}')"), 0);
    assert_string_equal(harness_text(h, "SELECT incident_acknowledge(1, 'owner')"),
        "incident 1 acknowledged by owner: 4 pending cancelled");
}

/* A rung that repeats and comes early comes once, and again at its distance: four calls at the same
 * moment would be one, and then silence. */
static void test_what_repeats_keeps_its_distance_when_it_is_brought_forward(void **state)
{
    static const char *const PLAN =
        "SELECT n.round, round(extract(epoch FROM n.due_at - now()) / 60), n.next_attempt_at = "
        "n.due_at FROM notification n JOIN ladder_rung r ON r.id = n.rung_id"
        " WHERE r.position = 2 AND n.state = 'scheduled' ORDER BY 1";
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
                    " useful_for, repeats, repeat_every) VALUES (9, 2, '30 min', 'call',"
                    " 'escalation', 'owner', '10 min', 2, '20 min')");
    add_incident(h, "now()");
    assert_string_equal(harness_rows(h, PLAN), "0|30|t\n1|50|t\n2|70|t");
    harness_exec(h, "BEGIN; UPDATE notification SET state = 'failed', pending = false"
                    " WHERE rung_id = (SELECT id FROM ladder_rung WHERE ladder_id = 9"
                    " AND position = 1); SELECT notification_fail_over(id) FROM notification"
                    " WHERE state = 'failed'");
    assert_string_equal(harness_rows(h, PLAN), "0|0|t\n1|20|t\n2|40|t");
    harness_exec(h, "ROLLBACK");
    assert_string_equal(
        harness_text(h, "SELECT incident_escalate(1)"), "incident 1 climbs to rung 2: 1 due now");
    assert_string_equal(harness_rows(h, PLAN), "0|0|t\n1|20|t\n2|40|t");
    assert_string_equal(
        harness_text(h, "SELECT incident_escalate(1)"), "incident 1 climbs to rung 2: 1 due now");
    assert_string_equal(harness_rows(h, PLAN), "0|0|t\n1|0|t\n2|20|t");
}

/* A call that is to be made again is not the next rung. */
static void test_escalating_passes_over_a_call_that_is_made_again(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h,
        "UPDATE ladder_rung SET mode = 'call' WHERE ladder_id = 9;"
        "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
        " useful_for) VALUES (9, 2, '30 min', 'call', 'escalation', 'owner', '10 min')");
    add_incident(h, "now()");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1; SELECT notification_report(1, 'answered', NULL, false, true)");
    assert_string_equal(
        harness_text(h, "SELECT incident_escalate(1)"), "incident 1 climbs to rung 2: 1 due now");
}

static void test_an_acknowledgement_expires_and_the_ladder_goes_on(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "UPDATE ladder SET ack_expires_after = '30 minutes' WHERE id = 9;"
                    "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
                    " useful_for) VALUES (9, 2, '5 min', 'call', 'escalation', 'owner', '10 min'),"
                    " (9, 3, '8 min', 'call', 'escalation', 'others', '10 min')");
    add_incident(h, "now()");
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1;"
                    "SELECT incident_acknowledge(1, 'second')");
    assert_string_equal(harness_rows(h, "SELECT incident_resume()"), "");
    harness_clock_advance(h, "31 minutes");
    assert_string_equal(harness_rows(h, "SELECT incident_resume()"), "1");
    assert_string_equal(
        harness_rows(h, "SELECT status, revision, resumed_position FROM incident"), "open|2|2");
    assert_string_equal(
        harness_rows(h, "SELECT DISTINCT mode, extract(epoch FROM n.due_at - i.resumed_at)::int"
                        " FROM notification n JOIN incident i ON i.id = n.incident_id"
                        " WHERE n.state = 'scheduled' ORDER BY 2"),
        "call|0\ncall|180");
    assert_true(harness_bool(h, "SELECT incident_acknowledge(1, 'owner') LIKE '%acknowledged by"
                                " owner: 3 pending cancelled'"));
}

/* Nobody is called about a meeting that was taken off the calendar after it was acknowledged. */
static void test_the_ladder_of_what_was_cancelled_does_not_go_on(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "UPDATE ladder SET ack_expires_after = '30 minutes' WHERE id = 9;"
                    "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                    " VALUES ('meeting', 1, 1, now() + interval '10 minutes', 'Stand-up', 9);"
                    "SELECT incident_plan('{1}'); SELECT incident_acknowledge(1, 'owner');"
                    "SELECT meeting_withdraw('{1}', 'the meeting was cancelled')");
    harness_clock_advance(h, "31 minutes");
    assert_string_equal(harness_rows(h, "SELECT incident_resume()"), "");
    assert_string_equal(harness_text(h, "SELECT status FROM incident"), "acknowledged");
}

static void test_the_auditor_finds_each_fault_once(void **state)
{
    static const char *const AUDIT =
        "SELECT kind, is_new FROM reach_audit('5 minutes', '{alerts,escalation}') ORDER BY 1";
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    add_incident(h, "now()");
    harness_exec(h, "INSERT INTO incident (kind, user_id, starts_at, title, ladder_id)"
                    " VALUES ('manual', 1, now() + interval '1 hour', 'Unplanned', 9)");
    assert_string_equal(harness_rows(h, AUDIT), "");
    harness_clock_advance(h, "6 minutes");
    assert_string_equal(harness_rows(h, AUDIT), "overdue|t\nunplanned|t");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE incident_id = 2"), 1);
    /* Nobody sends here, so that one stands: it is told again and repaired no more. */
    assert_string_equal(harness_rows(h, AUDIT), "overdue|f");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM audit_finding"), 2);
    harness_exec(h, "SELECT incident_acknowledge(1, 'owner')");
    assert_string_equal(harness_rows(h, AUDIT), "");
}

static void test_the_auditor_follows_up_a_failure(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "INSERT INTO contact_method (user_id, channel, address, position)"
                    " SELECT id, 'webhook', 'https://x.example/', 2 FROM users;"
                    "UPDATE ladder_rung SET useful_for = '1 hour' WHERE ladder_id = 9");
    add_incident(h, "now()");
    harness_exec(h, "UPDATE notification SET state = 'failed', pending = false");
    harness_clock_advance(h, "6 minutes");
    assert_string_equal(
        harness_rows(h, "SELECT kind FROM reach_audit('5 minutes', '{escalation}')"),
        "not_followed");
    assert_string_equal(harness_rows(h, "SELECT channel, state FROM notification ORDER BY id"),
        "console|failed\nwebhook|scheduled");
}

/* --- the system's own alert ------------------------------------------------------------------- */

static const char *const WATCH =
    "SELECT \"check\", what = 'well again' FROM health_watch() ORDER BY 1";

static void test_a_failing_check_becomes_an_incident_and_closes_again(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "INSERT INTO contact_method (user_id, channel, address, position, verified_at)"
                    " SELECT id, 'twilio_sms', '+1555100' || id, 0, now() FROM users");
    harness_exec(h, "SELECT health_watch()"); /* what a bare database lacks */
    harness_exec(h, "INSERT INTO circuit (name, state, opened_at, open_until)"
                    " VALUES ('twilio_voice', 'open', now(), now() + interval '1 hour')");
    assert_string_equal(harness_rows(h, WATCH), "");
    harness_clock_advance(h, "1 minute");
    assert_true(harness_bool(h, "SELECT bool_or(what LIKE 'Tocsin, circuit_open: not closed:"
                                " twilio_voice%') FROM health_watch()"));
    assert_string_equal(harness_rows(h, WATCH), "");
    assert_string_equal(
        harness_rows(h, "SELECT DISTINCT n.channel, n.mode FROM notification n JOIN incident i"
                        " ON i.id = n.incident_id WHERE i.health_check = 'circuit_open'"
                        " AND n.due_at <= now()"),
        "console|message"); /* not through the provider that fails */
    harness_exec(h, "DELETE FROM circuit");
    assert_string_equal(harness_rows(h, WATCH), "circuit_open|t");
    assert_string_equal(harness_rows(h, "SELECT DISTINCT n.state, n.reason FROM notification n JOIN"
                                        " incident i ON i.id = n.incident_id"
                                        " WHERE i.health_check = 'circuit_open'"),
        "cancelled|it is well again");
}

static void test_an_acknowledged_check_is_quiet_until_it_is_well(void **state)
{
    struct harness *h = *state;

    add_rotation(h, "UTC", "2026-01-05", "09:00", 7);
    harness_exec(h, "SELECT health_watch()");
    harness_exec(h, "INSERT INTO circuit (name, state, opened_at, open_until)"
                    " VALUES ('twilio_voice', 'open', now(), now() + interval '1 hour');"
                    "SELECT health_watch()");
    harness_clock_advance(h, "1 minute");
    harness_exec(h, "SELECT health_watch();"
                    "SELECT incident_acknowledge(id, 'owner') FROM incident"
                    " WHERE health_check = 'circuit_open'");
    harness_clock_advance(h, "10 minutes");
    harness_exec(h, "SELECT health_watch()");
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM incident WHERE health_check = 'circuit_open'"), 1);
}

/* --- throttles ------------------------------------------------------------------------------ */

/* GoAlert's defaults: per channel and class, and how the longer ones spread what they allow. */
static void test_throttle_rules(void **state)
{
    static const struct {
        const char *channel, *class;
        int ahead;
        const char *sends, *class_sends; /* minutes ago, the latest first */
        const char *held;                /* minutes from now; "": not */
    } cases[] = {
        {"twilio_sms", "alert", 0, "", "", ""},
        {"twilio_sms", "alert", 1, "", "", "1.0"},
        {"twilio_sms", "alert", 0, "0.5", "0.5", "0.5"},
        {"twilio_sms", "alert", 0, "0.5", "", "0.5"},
        {"twilio_sms", "alert", 0, "2", "2", ""},
        {"twilio_sms", "alert", 0, "2,4,6,8,10", "2,4,6,8,10", "5.0"},
        {"twilio_sms", "alert", 0, "2,4,6,8,10", "2,4,6,8", ""},
        {"twilio_sms", "alert", 1, "2,4,6,8", "2,4,6,8", "7.0"},
        /* Six more in the 45 minutes after the first 15: one each 7.5. */
        {"twilio_sms", "alert", 0, "", "16,18,20,22,24,26", ""},
        {"twilio_sms", "alert", 0, "", "16,17,18,19,20,21", "1.5"},
        {"twilio_sms", "alert", 0, "", "16,20,24,28,32,36,40,44,48,52,56", "4.0"},
        {"twilio_voice", "alert", 0, "2,4,6", "2,4,6", "9.0"},
        {"email", "alert", 0, "2,4,6,8,10", "2,4,6,8,10", ""},
        {"email", "notice", 0, "2", "2", "1.0"},
        {"email", "notice", 0, "4,8,12", "4,8,12", "8.0"},
        {"console", "alert", 9, "0.1", "0.1", ""},
        {"slack", "alert", 9, "0.1", "0.1", ""},
    };
    struct harness *h = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        harness_execf(h,
            "CREATE OR REPLACE VIEW held AS SELECT round(extract(epoch FROM t.until - now()) / 60, "
            "1)"
            " AS minutes FROM throttle_until('%s', '%s', %d,"
            " ARRAY(SELECT now() - a::float * interval '1 minute' FROM unnest('{%s}'::text[]) AS "
            "a),"
            " ARRAY(SELECT now() - a::float * interval '1 minute' FROM unnest('{%s}'::text[]) AS "
            "a))"
            " AS t",
            cases[i].channel, cases[i].class, cases[i].ahead, cases[i].sends, cases[i].class_sends);
        if (strcmp(harness_rows(h, "SELECT minutes FROM held"), cases[i].held) != 0)
            fail_msg("case %zu: held for \"%s\" minutes, not \"%s\"", i,
                harness_rows(h, "SELECT minutes FROM held"), cases[i].held);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_hand_over_is_local),
        TEST(test_a_zone_that_nobody_knows_is_refused),
        TEST(test_one_hand_over_a_day_across_changes_of_clocks),
        TEST(test_an_override_goes_first_and_plans_anew),
        TEST(test_an_override_leaves_a_call_that_is_made_again),
        TEST(test_who_comes_to_be_on_call_is_asked_of_what_is_open),
        TEST(test_repeats),
        TEST(test_what_repeats_keeps_its_distance_when_it_is_brought_forward),
        TEST(test_escalating_passes_over_a_call_that_is_made_again),
        TEST(test_an_acknowledgement_expires_and_the_ladder_goes_on),
        TEST(test_the_ladder_of_what_was_cancelled_does_not_go_on),
        TEST(test_the_auditor_finds_each_fault_once),
        TEST(test_the_auditor_follows_up_a_failure),
        TEST(test_a_failing_check_becomes_an_incident_and_closes_again),
        TEST(test_an_acknowledged_check_is_quiet_until_it_is_well),
        TEST(test_throttle_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
