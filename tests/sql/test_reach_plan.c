/*
 * Ladders in SQL: what is planned, what an acknowledgement ends, what follows a failure, what
 * cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/harness.h"

static void add_people(struct harness *h)
{
    harness_exec(h,
        "INSERT INTO users (id, name, time_zone) VALUES (1, 'owner', 'Europe/Berlin'),"
        " (2, 'second', 'America/New_York'), (3, 'third', 'UTC');"
        "INSERT INTO contact_method (id, user_id, channel, modes, address, position, verified_at)"
        " VALUES (1, 1, 'twilio_sms', '{message}', '+1555', 1, now()),"
        " (2, 1, 'twilio_voice', '{call}', '+1555', 2, now()),"
        " (3, 1, 'console', '{message,call}', 'owner', 3, NULL),"
        " (4, 2, 'console', '{message,call}', 'second', 1, NULL),"
        " (5, 3, 'twilio_sms', '{message}', '+1556', 1, NULL)");
}

static void add_incident(struct harness *h, const char *starts_in)
{
    harness_execf(h,
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " VALUES ('meeting', 1, 1, now() + interval '%s', 'Stand-up', 1)",
        starts_in);
}

static void assert_planned(struct harness *h, int64_t n)
{
    assert_int_equal(harness_int(h, "SELECT incident_plan('{1}')"), n);
}

static const char *planned(struct harness *h)
{
    return harness_rows(h, "SELECT extract(epoch FROM n.due_at - i.starts_at)::int, n.user_id, "
                           "n.channel, n.mode, n.kind"
                           " FROM notification n JOIN incident i ON i.id = n.incident_id"
                           " WHERE n.state = 'scheduled' ORDER BY n.due_at, n.user_id");
}

static void test_the_default_ladder(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    assert_string_equal(planned(h), "-720|1|twilio_sms|message|meeting_alert\n"
                                    "-120|1|twilio_voice|call|meeting_call\n"
                                    "0|1|twilio_sms|message|checkin\n"
                                    "120|2|console|message|escalation\n"
                                    "300|2|console|call|escalation");
    assert_planned(h, 0);
}

static void test_late_rungs_are_due_at_once_and_useless_ones_left_out(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "-1 minute");
    assert_planned(h, 4);
    assert_string_equal(planned(h), "60|1|twilio_voice|call|meeting_call\n"
                                    "60|1|twilio_sms|message|checkin\n"
                                    "120|2|console|message|escalation\n"
                                    "300|2|console|call|escalation");
}

static void test_a_revision_plans_anew_what_was_cancelled_alone(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "11 minutes");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1;"
                    "UPDATE incident SET revision = 2");
    assert_int_equal(harness_int(h, "SELECT incident_cancel_pending('{1}', 'moved')"), 4);
    assert_planned(h, 4);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM notification WHERE kind = 'meeting_alert'"), 1);
}

static void test_others_are_the_group_of_the_ladder(void **state)
{
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "UPDATE contact_method SET verified_at = now();"
                    "INSERT INTO person_group (id, key) VALUES (1, 'backup');"
                    "INSERT INTO person_group_member VALUES (1, 3), (1, 1);"
                    "UPDATE ladder SET others_group_id = 1");
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    assert_string_equal(harness_rows(h, "SELECT DISTINCT user_id FROM notification"
                                        " WHERE gate = 'escalation'"),
        "3");
}

static void test_another_organisation_is_not_told(void **state)
{
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "INSERT INTO org (id, key, name) VALUES (2, 'other', 'Other');"
                    "UPDATE users SET org_id = 2 WHERE id = 2");
    add_incident(h, "1 hour");
    assert_planned(h, 3);
}

static void test_after_a_failure_the_next_channel_then_the_next_rung(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "11 minutes");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE notification SET state = 'failed', pending = false WHERE id = 1");
    assert_string_equal(harness_text(h, "SELECT notification_fail_over(1)"), "next_channel");
    assert_string_equal(
        harness_rows(h, "SELECT channel, mode, due_at <= now() FROM notification WHERE id = 6"),
        "console|message|t");
    harness_exec(h, "UPDATE notification SET state = 'failed', pending = false WHERE id = 6");
    assert_string_equal(harness_text(h, "SELECT notification_fail_over(6)"), "next_channel");
    assert_string_equal(harness_rows(h, "SELECT channel, mode FROM notification WHERE id = 7"),
        "twilio_voice|call");
    harness_exec(h, "UPDATE notification SET state = 'failed', pending = false WHERE id = 7");
    assert_string_equal(harness_text(h, "SELECT notification_fail_over(7)"), "next_rung");
    assert_string_equal(
        harness_rows(h, "SELECT id, channel FROM notification WHERE state = 'scheduled'"
                        " AND due_at <= now()"),
        "2|twilio_voice");
}

static void test_a_rung_of_two_goes_on_while_one_is_reached(void **state)
{
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "UPDATE contact_method SET verified_at = now()");
    add_incident(h, "-3 minutes");
    assert_planned(h, 6);
    harness_exec(h, "UPDATE notification SET state = 'failed', pending = false"
                    " WHERE user_id = 3 AND mode = 'message' AND gate = 'escalation'");
    harness_exec(h, "SELECT notification_fail_over(id) FROM notification WHERE state = 'failed'");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE mode = 'call'"
                                    " AND gate = 'escalation' AND due_at <= now()"),
        0);
}

static const char *fail_newest(struct harness *h, bool final)
{
    harness_execf(h,
        "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = (SELECT max(id) FROM"
        " notification);"
        "UPDATE notification SET state = 'failed', pending = false, failure = '{\"final\": %s}'"
        " WHERE id = (SELECT max(id) FROM notification)",
        final ? "true" : "false");
    return harness_text(h, "SELECT notification_fail_over(max(id)) FROM notification");
}

/* A provider that is away for a moment, and another contact that is dead, are no reason to give up.
 */
static void test_what_failed_for_a_while_is_tried_again_when_nothing_is_left(void **state)
{
    static const char *const NEWEST = "SELECT channel, state, round(extract(epoch FROM"
                                      " next_attempt_at - now()) / 10) FROM notification"
                                      " ORDER BY id DESC LIMIT 1";
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "DELETE FROM ladder_rung WHERE position <> 2");
    add_incident(h, "1 minute");
    assert_planned(h, 1);
    assert_string_equal(fail_newest(h, false), "next_channel"); /* the call */
    assert_string_equal(fail_newest(h, true), "next_channel");  /* the message */
    assert_string_equal(fail_newest(h, true), "again");         /* the console */
    assert_string_equal(harness_rows(h, NEWEST), "twilio_voice|scheduled|3");
    assert_string_equal(fail_newest(h, false), "again");
    assert_string_equal(harness_rows(h, NEWEST), "twilio_voice|scheduled|3");
    harness_exec(h, "BEGIN");
    assert_string_equal(fail_newest(h, true), "nobody");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM notification WHERE pending"), 0);
    harness_exec(h, "ROLLBACK; INSERT INTO attempt (notification_id, number, circuit, daemon_id, "
                    "fence, started_at, deadline_at, finished_at, outcome) SELECT max(id), 1, 'x', "
                    "1, 1, now(), now(), now(), 'ambiguous' FROM notification");
    assert_string_equal(fail_newest(h, false), "nobody");
}

/* What concerns no incident is told through the next contact too, where it did not arrive for sure.
 */
static void test_a_notice_takes_the_next_contact(void **state)
{
    static const char *const NEWEST = "SELECT channel, mode, body, policy, due_at <= now()"
                                      " FROM notification ORDER BY id DESC LIMIT 1";
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "SELECT notification_tell(1, 'calendar_dead', 'k', 'Connect it again')");
    assert_string_equal(fail_newest(h, true), "next_channel");
    assert_string_equal(harness_rows(h, NEWEST), "console|message|Connect it again|at_most_once|t");
    assert_string_equal(fail_newest(h, false), "next_channel");
    assert_string_equal(
        harness_rows(h, NEWEST), "twilio_voice|call|Connect it again|at_most_once|t");
    assert_null(fail_newest(h, true));
    harness_exec(h, "SELECT notification_tell(1, 'calendar_dead', 'later', 'Connect it again');"
                    "INSERT INTO attempt (notification_id, number, circuit, daemon_id, fence,"
                    " started_at, deadline_at, finished_at, outcome) SELECT max(id), 1, 'x', 1, 1,"
                    " now(), now(), now(), 'ambiguous' FROM notification");
    assert_null(fail_newest(h, false));
}

static void test_a_code_goes_to_its_contact_alone(void **state)
{
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "UPDATE contact_method SET verified_at = NULL WHERE id = 1;"
                    "SELECT contact_method_verify_begin(1)");
    assert_null(fail_newest(h, true));
}

/* --- acknowledging ---------------------------------------------------------------------------- */

static void test_acknowledging(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    assert_string_equal(harness_text(h, "SELECT incident_acknowledge(7, 'owner')"),
        "refused: there is no incident 7");
    assert_string_equal(harness_text(h, "SELECT incident_acknowledge(1, '')"),
        "refused: an acknowledgement says who");
    assert_string_equal(harness_text(h, "SELECT incident_acknowledge(1, 'owner')"),
        "incident 1 acknowledged by owner: 5 pending cancelled");
    assert_true(harness_bool(h, "SELECT incident_acknowledge(1, 'second') LIKE"
                                " 'incident 1 was acknowledged before, by owner at %'"));
    assert_string_equal(harness_rows(h, "SELECT DISTINCT state, reason FROM notification"),
        "cancelled|acknowledged by owner");
    assert_planned(h, 0);
}

static void test_an_answer_older_than_the_climb_is_refused(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE incident SET climbed_at = now(), climbed_position = 4");
    assert_true(harness_bool(h, "SELECT incident_acknowledge(1, 'owner', now() - interval '1 min')"
                                " LIKE 'refused: incident 1 has climbed since, at %'"));
    assert_true(harness_bool(h, "SELECT incident_acknowledge(1, 'second', now()) LIKE"
                                " 'incident 1 acknowledged by second: 5%'"));
}

static void test_what_is_in_flight_is_said_and_left(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "11 minutes");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1, locked_at = now(),"
                    " locked_by = 1, fence = 1 WHERE id = 1");
    assert_string_equal(harness_text(h, "SELECT incident_acknowledge(1, 'owner')"),
        "incident 1 acknowledged by owner: 4 pending cancelled, 1 on their way to a provider right "
        "now");
}

static void test_escalating_by_hand(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    for (int rung = 1; rung <= 5; rung++)
        assert_true(
            harness_bool(h, "SELECT incident_escalate(1) LIKE 'incident 1 climbs to rung %'"));
    assert_string_equal(harness_text(h, "SELECT incident_escalate(1, 'second')"),
        "refused: incident 1 has no rung left");
}

/* Who has it wants others after all: the acknowledgement is taken back. */
static void test_escalating_what_was_acknowledged(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "11 minutes");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1;"
                    "SELECT incident_acknowledge(1, 'owner')");
    assert_string_equal(harness_text(h, "SELECT incident_escalate(1, 'owner')"),
        "incident 1 is open again, escalated by owner, from rung 2");
    assert_string_equal(planned(h), "-660|1|twilio_voice|call|meeting_call\n"
                                    "-540|1|twilio_sms|message|checkin\n"
                                    "-420|2|console|message|escalation\n"
                                    "-240|2|console|call|escalation");
}

static void test_a_rung_asks_somebody_who_is_there(void **state)
{
    static const char *const targets[] = {"user", "group", "rotation"};
    struct harness *h = *state;

    add_people(h);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char *sql = NULL;
        assert_true(asprintf(&sql,
                        "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target,"
                        " target_id, useful_for) VALUES (1, 9, '0', 'call', 'escalation', '%s', 99,"
                        " '1 minute')",
                        targets[i]) > 0);
        harness_refused(h, NULL, "23503", sql);
        free(sql);
    }
}

static void test_an_incident_by_hand(void **state)
{
    struct harness *h = *state;

    add_people(h);
    assert_int_equal(harness_int(h, "SELECT incident_open('Down', 1)"), 1);
    assert_string_equal(harness_rows(h, "SELECT kind, title, starts_at = now() FROM incident WHERE"
                                        " starts_at > now() - interval '1 minute'"),
        "manual|Down|f");
    assert_string_equal(harness_rows(h, "SELECT DISTINCT kind FROM notification ORDER BY 1"),
        "checkin\nescalation\nmanual_call");
    harness_refused(h, NULL, "P0002", "SELECT incident_open('Down', 99)");
    harness_refused(h, NULL, "P0002", "SELECT incident_open('Down', 1, 'none')");
}

/* --- looking ---------------------------------------------------------------------------------- */

static void test_an_instant_by_somebodys_clock(void **state)
{
    struct harness *h = *state;

    assert_string_equal(
        harness_rows(h, "SELECT local_time_text('2030-07-01 12:00Z', 'Europe/Berlin'),"
                        " local_time_text('2030-07-01 12:00Z', 'Mars/Olympus'),"
                        " local_time_text(NULL, 'UTC') IS NULL"),
        "14:00|12:00 UTC|t");
}

static void test_the_plan_in_everybodys_time(void **state)
{
    struct harness *h = *state;

    add_people(h);
    harness_exec(h, "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                    " VALUES ('meeting', 1, 1, '2100-01-15 12:00Z', 'Stand-up', 1)");
    for (int round = 0; round < 2; round++) {
        assert_string_equal(
            harness_rows(
                h, "SELECT position, local_time, person, channel, state FROM ladder_plan(1)"),
            round == 0 ? "1|Fri 12:48 Europe/Berlin|owner|twilio_sms|not planned\n"
                         "2|Fri 12:58 Europe/Berlin|owner|twilio_voice|not planned\n"
                         "3|Fri 13:00 Europe/Berlin|owner|twilio_sms|not planned\n"
                         "4|Fri 07:02 America/New_York|second|console|not planned\n"
                         "5|Fri 07:05 America/New_York|second|console|not planned"
                       : "1|Fri 12:48 Europe/Berlin|owner|twilio_sms|scheduled\n"
                         "2|Fri 12:58 Europe/Berlin|owner|twilio_voice|scheduled\n"
                         "3|Fri 13:00 Europe/Berlin|owner|twilio_sms|scheduled\n"
                         "4|Fri 07:02 America/New_York|second|console|scheduled\n"
                         "5|Fri 07:05 America/New_York|second|console|scheduled");
        harness_exec(h, "SELECT incident_plan('{1}')");
    }
}

static void test_why(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    assert_string_equal(harness_rows(h, "SELECT step FROM why('notification', 1)"), "planned\nnow");
    assert_true(harness_bool(h, "SELECT detail LIKE 'held until % UTC: not due yet'"
                                " FROM why('notification', 1) WHERE step = 'now'"));
    harness_exec(h, "SELECT incident_acknowledge(1, 'owner')");
    assert_true(harness_bool(h, "SELECT count(*) = 1 FROM why('incident', 1)"
                                " WHERE step = 'acknowledged' AND detail = 'by owner'"));
    assert_true(harness_bool(h, "SELECT count(*) = 5 FROM why('incident', 1)"
                                " WHERE step LIKE '%scheduled → cancelled'"));
}

/* --- what cannot be ----------------------------------------------------------------------------
 */

static void test_states_only_move_up(void **state)
{
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    harness_exec(h, "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 1;"
                    "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()"
                    " WHERE id = 1;"
                    "UPDATE notification SET state = 'delivered' WHERE id = 1");
    harness_refused(h, NULL, "23514", "UPDATE notification SET state = 'accepted' WHERE id = 1");
    harness_refused(h, NULL, "23514", "UPDATE notification SET state = 'failed' WHERE id = 1");
    harness_refused(
        h, NULL, "23514", "UPDATE notification SET state = 'sending', pending = true WHERE id = 1");
    harness_exec(h, "UPDATE notification SET state = 'confirmed' WHERE id = 1");
    assert_string_equal(
        harness_rows(h, "SELECT from_state, to_state FROM notification_transition ORDER BY id"),
        "scheduled|sending\nsending|accepted\naccepted|delivered\ndelivered|confirmed");
}

static void test_what_the_checks_refuse(void **state)
{
    static const char *const impossible[] = {
        "state = 'accepted', pending = false",
        "pending = false",
        "state = 'sending'",
        "locked_at = now()",
        "locked_at = now(), locked_by = 1, fence = 1",
        "state = 'cancelled', pending = false, sent_at = now()",
        "poll_at = now()",
        "state = 'failed'",
    };
    struct harness *h = *state;

    add_people(h);
    add_incident(h, "1 hour");
    assert_planned(h, 5);
    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        char *sql = NULL;
        assert_true(asprintf(&sql, "UPDATE notification SET %s WHERE id = 1", impossible[i]) > 0);
        harness_refused(h, NULL, "23514", sql);
        free(sql);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_default_ladder),
        TEST(test_late_rungs_are_due_at_once_and_useless_ones_left_out),
        TEST(test_a_revision_plans_anew_what_was_cancelled_alone),
        TEST(test_others_are_the_group_of_the_ladder),
        TEST(test_another_organisation_is_not_told),
        TEST(test_after_a_failure_the_next_channel_then_the_next_rung),
        TEST(test_a_rung_of_two_goes_on_while_one_is_reached),
        TEST(test_what_failed_for_a_while_is_tried_again_when_nothing_is_left),
        TEST(test_a_notice_takes_the_next_contact),
        TEST(test_a_code_goes_to_its_contact_alone),
        TEST(test_acknowledging),
        TEST(test_an_answer_older_than_the_climb_is_refused),
        TEST(test_what_is_in_flight_is_said_and_left),
        TEST(test_escalating_by_hand),
        TEST(test_escalating_what_was_acknowledged),
        TEST(test_a_rung_asks_somebody_who_is_there),
        TEST(test_an_incident_by_hand),
        TEST(test_an_instant_by_somebodys_clock),
        TEST(test_the_plan_in_everybodys_time),
        TEST(test_why),
        TEST(test_states_only_move_up),
        TEST(test_what_the_checks_refuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
