/*
 * What is heard, in SQL: for each way to say something what it comes to, and what it leaves behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

/*
 * A meeting of the owner that starts in a minute. The owner's phone has taken message 1 ten minutes
 * ago (attempt 101, SM1), and is being called: 2 (attempt 102, claimed). The message 3 and the call
 * 4 to the second person come at +2 and +5 minutes.
 */
static const char WORLD[] =
    "INSERT INTO users (id, name, time_zone) VALUES (1, 'owner', 'UTC'), (2, 'second', 'UTC');"
    "DELETE FROM throttle_rule;"
    "INSERT INTO contact_method (id, user_id, channel, modes, address, position, verified_at) "
    "VALUES"
    " (1, 1, 'twilio_sms', '{message}', '+15551001', 1, now()),"
    " (2, 1, 'twilio_voice', '{call}', '+15551001', 2, now()),"
    " (3, 2, 'twilio_sms', '{message}', '+15551002', 1, now()),"
    " (4, 2, 'twilio_voice', '{call}', '+15551002', 2, now());"
    "INSERT INTO incident (id, kind, user_id, event_id, starts_at, title, ladder_id)"
    " OVERRIDING SYSTEM VALUE VALUES (1, 'meeting', 1, 1, now() + interval '1 minute', 'Stand-up', "
    "1);"
    "INSERT INTO notification (id, incident_id, rung_id, user_id, contact_method_id, channel, mode,"
    "  kind, gate, policy, due_at, next_attempt_at, useless_after, idempotency_key)"
    " OVERRIDING SYSTEM VALUE"
    " SELECT v.id, 1, r.id, c.user_id, c.id, c.channel, r.mode, 'meeting', r.gate, 'at_least_once',"
    "  d.at, d.at, d.at + interval '20 minutes', v.id"
    " FROM (VALUES (1, 1, 1), (2, 2, 2), (3, 4, 3), (4, 5, 4)) AS v (id, \"position\", contact)"
    " JOIN ladder_rung AS r ON r.ladder_id = 1 AND r.position = v.position"
    " JOIN contact_method AS c ON c.id = v.contact"
    " CROSS JOIN LATERAL (SELECT now() + interval '1 minute' + r.after AS at) AS d;"
    "ALTER TABLE incident ALTER COLUMN id RESTART WITH 2;"
    "ALTER TABLE notification ALTER COLUMN id RESTART WITH 100;"
    "UPDATE notification SET state = 'sending', attempts = 1 WHERE id IN (1, 2);"
    "UPDATE notification SET locked_at = now(), locked_by = 7, fence = 11 WHERE id = 2;"
    "INSERT INTO attempt (id, notification_id, number, circuit, daemon_id, fence, started_at,"
    "  deadline_at)"
    " SELECT 100 + n.id, n.id, 1, n.channel, 7, 11, now() - interval '10 seconds', now()"
    " FROM notification AS n;"
    "UPDATE attempt SET finished_at = now(), outcome = 'accepted', provider_id = 'SM1'"
    " WHERE id = 101;"
    "UPDATE notification SET state = 'accepted', pending = false, provider_id = 'SM1',"
    " sent_at = now() - interval '10 minutes' WHERE id = 1;";

/* What a case starts from, beyond that. */
#define CALL_TAKEN                                                                                 \
    "UPDATE notification SET state = 'accepted', pending = false, locked_at = NULL,"               \
    " locked_by = NULL, fence = NULL, provider_id = 'CA2', sent_at = now() WHERE id = 2;"          \
    "UPDATE attempt SET finished_at = now(), outcome = 'accepted', provider_id = 'CA2'"            \
    " WHERE id = 102;"
/* The call to the second person is what climbed: the provider took it just now. */
#define OTHERS_CALLED                                                                              \
    "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 4;"                        \
    "UPDATE notification SET state = 'accepted', pending = false, provider_id = 'CA4',"            \
    " sent_at = now() WHERE id = 4;"                                                               \
    "UPDATE attempt SET finished_at = now(), outcome = 'accepted', provider_id = 'CA4'"            \
    " WHERE id = 104;"                                                                             \
    "UPDATE incident SET climbed_at = now(), climbed_position = 5;"
#define CLIMBED                                                                                    \
    "UPDATE incident SET climbed_at = now() + interval '1 second', climbed_position = 5;"
#define ACKNOWLEDGED "SELECT incident_acknowledge(1, 'hand');"
#define CLOSED       "UPDATE incident SET status = 'closed';"
#define CANCELLED    "UPDATE incident SET status = 'cancelled';"
#define GREETING     "UPDATE notification SET incident_id = NULL, rung_id = NULL WHERE id IN (1, 2);"
#define SECOND_MEETING                                                                             \
    "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"                  \
    " VALUES ('meeting', 1, 2, now() + interval '2 minutes', 'Review', 1);"                        \
    "INSERT INTO notification (incident_id, user_id, contact_method_id, channel, mode, kind, "     \
    "gate,"                                                                                        \
    "  policy, due_at, next_attempt_at, useless_after, idempotency_key, state, pending, sent_at)"  \
    " SELECT max(i.id), 1, 1, 'twilio_sms', 'message', 'meeting', 'alerts', 'at_least_once', "     \
    "now(),"                                                                                       \
    "  now(), now() + interval '20 minutes', 'second', 'accepted', false, now() FROM incident AS " \
    "i;"
#define CODE(expires)                                                                              \
    "INSERT INTO contact_verification (contact_method_id, salt, code_hash, expires_at)"            \
    " VALUES (1, 's', contact_code_hash('s', '123456'), now() + interval '" expires "');"

#define STATUS(attempt, sid, report, key)                                                          \
    "SELECT hear_status(" attempt ", '" sid "', '" report "', NULL, false, '" key "')"
#define DEAD(attempt, sid)                                                                         \
    "SELECT hear_status(" attempt ", '" sid "', 'undelivered', '{\"detail\": \"gone\"}', true,"    \
    " 'k')"
#define DIGIT(attempt, sid, digit)                                                                 \
    "SELECT concat_ws(': ', h.outcome, h.say) FROM hear_digit(" attempt ", '" sid "', '" digit     \
    "', 'k') AS h"
#define REPLY_BY(channel, address, text, key)                                                      \
    "SELECT concat_ws(': ', h.outcome, h.say) FROM hear_reply('" channel "', '" address            \
    "', '" text "', '" key "') AS h"
#define REPLY(text) REPLY_BY("twilio_sms", "+15551001", text, "k")
#define LINK(notification, presses)                                                                \
    "SELECT concat_ws(', ', h.outcome, h.title, h.person) FROM hear_link(" notification            \
    ", " presses ") AS h"

#define TAKEN     "acknowledged: Acknowledged. Nobody else is called."
#define TOO_LATE  "stale: Too late: others have been asked since then."
#define OVER      "over: This is over. There is nothing to do any more."
#define NOBODY    "nobody: There is nobody left to ask."
#define ESCALATED "escalated: Others are asked now."
#define HELP      "help: Answer ACK to acknowledge. STOP ends these messages."
#define NOTHING   "nothing: Nothing is open. STOP ends these messages."

#define AS_IT_WAS "open: 1 accepted, 2 sending, 3 scheduled, 4 scheduled"

struct hearing {
    const char *what;
    const char *before;
    const char *call;
    const char *gives;
    const char *leaves; /* the incident's status and each notification's state */
};

/* --- the provider ---------------------------------------------------------------------------- */

static const struct hearing statuses[] = {
    {"of no attempt", "", STATUS("999", "CA2", "waiting", "k"), "unknown", AS_IT_WAS},
    {"of another message", "", STATUS("101", "SM9", "delivered", "k"), "unknown", AS_IT_WAS},
    {"the provider has it", "", STATUS("102", "CA2", "waiting", "k"), "moved",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"its process is dead",
        "UPDATE notification SET locked_at = NULL, locked_by = NULL, fence ="
        " NULL, unsettled_since = now() WHERE id = 2;",
        STATUS("102", "CA2", "waiting", "k"), "moved",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"the same event again", STATUS("102", "CA2", "waiting", "k") ";",
        STATUS("102", "CA2", "waiting", "k"), "repeated",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"the same thing in another event", CALL_TAKEN, STATUS("102", "CA2", "waiting", "k"), "known",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"delivered", "", STATUS("101", "SM1", "delivered", "k"), "moved",
        "open: 1 delivered, 2 sending, 3 scheduled, 4 scheduled"},
    {"sent, after delivered", STATUS("101", "SM1", "delivered", "j") ";",
        STATUS("101", "SM1", "waiting", "k"), "known",
        "open: 1 delivered, 2 sending, 3 scheduled, 4 scheduled"},
    {"undelivered, after delivered", STATUS("101", "SM1", "delivered", "j") ";",
        STATUS("101", "SM1", "undelivered", "k"), "known",
        "open: 1 delivered, 2 sending, 3 scheduled, 4 scheduled"},
    {"undelivered: what follows", "DELETE FROM notification WHERE id = 2;",
        STATUS("101", "SM1", "undelivered", "k"), "moved",
        "open: 1 failed, 3 scheduled, 4 scheduled, 100 due"},
    {"undelivered: the contact is dead", "DELETE FROM notification WHERE id = 2;",
        DEAD("101", "SM1"), "moved", "open: 1 failed, 3 scheduled, 4 scheduled, 100 due, 101 due"},
    {"delivered, after undelivered", STATUS("101", "SM1", "undelivered", "j") ";",
        STATUS("101", "SM1", "delivered", "k"), "known",
        "open: 1 failed, 2 sending, 3 scheduled, 4 scheduled, 100 due"},
    {"answered without a key: again", "", STATUS("102", "CA2", "answered", "k"), "moved",
        "open: 1 accepted, 2 delivered, 3 scheduled, 4 scheduled, 100 scheduled"},
    {"not answered: again, and the other contact at once", "",
        STATUS("102", "CA2", "unanswered", "k"), "moved",
        "open: 1 accepted, 2 failed, 3 scheduled, 4 scheduled, 100 scheduled, 101 due"},
    {"not answered, and acknowledged meanwhile", CALL_TAKEN ACKNOWLEDGED,
        STATUS("102", "CA2", "unanswered", "k"), "moved",
        "acknowledged: 1 accepted, 2 failed, 3 cancelled, 4 cancelled"},
    {"of what was cancelled",
        "UPDATE notification SET state = 'cancelled', pending = false,"
        " locked_at = NULL, locked_by = NULL, fence = NULL WHERE id = 2;",
        STATUS("102", "CA2", "delivered", "k"), "known",
        "open: 1 accepted, 2 cancelled, 3 scheduled, 4 scheduled"},
};

/* --- keys ------------------------------------------------------------------------------------ */

static const struct hearing digits[] = {
    {"of no attempt", "", DIGIT("999", "CA2", "1"), "unknown", AS_IT_WAS},
    {"of another call", CALL_TAKEN, DIGIT("102", "CA9", "1"), "unknown",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"1, of a call that is not known to be taken", "", DIGIT("102", "CA2", "1"), TAKEN,
        "acknowledged: 1 accepted, 2 confirmed, 3 cancelled, 4 cancelled"},
    {"1", CALL_TAKEN, DIGIT("102", "CA2", "1"), TAKEN,
        "acknowledged: 1 accepted, 2 confirmed, 3 cancelled, 4 cancelled"},
    {"1, after another", CALL_TAKEN ACKNOWLEDGED, DIGIT("102", "CA2", "1"), TAKEN,
        "acknowledged: 1 accepted, 2 confirmed, 3 cancelled, 4 cancelled"},
    {"1, after the climb", CALL_TAKEN CLIMBED, DIGIT("102", "CA2", "1"), TOO_LATE,
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"1, of the call that climbed", OTHERS_CALLED, DIGIT("104", "CA4", "1"), TAKEN,
        "acknowledged: 1 accepted, 2 sending, 3 cancelled, 4 confirmed"},
    {"1, closed", CALL_TAKEN CLOSED, DIGIT("102", "CA2", "1"), OVER,
        "closed: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"1, cancelled", CALL_TAKEN CANCELLED, DIGIT("102", "CA2", "1"), OVER,
        "cancelled: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"1, of no incident", GREETING, DIGIT("102", "CA2", "1"), OVER,
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"2", CALL_TAKEN, DIGIT("102", "CA2", "2"), ESCALATED,
        "open: 1 accepted, 2 confirmed, 3 due, 4 scheduled"},
    {"2, twice the same", CALL_TAKEN DIGIT("102", "CA2", "2") ";", DIGIT("102", "CA2", "2"),
        ESCALATED, "open: 1 accepted, 2 confirmed, 3 due, 4 scheduled"},
    {"2, nobody left", CALL_TAKEN "DELETE FROM notification WHERE id IN (3, 4);",
        DIGIT("102", "CA2", "2"), NOBODY, "open: 1 accepted, 2 accepted"},
    {"2, nobody left, twice the same",
        CALL_TAKEN "DELETE FROM notification WHERE id IN (3, 4);" DIGIT("102", "CA2", "2") ";",
        DIGIT("102", "CA2", "2"), NOBODY, "open: 1 accepted, 2 accepted"},
    {"2, acknowledged before", CALL_TAKEN ACKNOWLEDGED, DIGIT("102", "CA2", "2"), ESCALATED,
        "open: 1 accepted, 2 confirmed, 3 cancelled, 4 cancelled, 100 due, 101 scheduled, 102 "
        "scheduled"},
    {"2, closed", CALL_TAKEN CLOSED, DIGIT("102", "CA2", "2"), OVER,
        "closed: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"3", CALL_TAKEN, DIGIT("102", "CA2", "3"), "repeat: Stand-up",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"none", CALL_TAKEN, DIGIT("102", "CA2", ""), "again",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"11", CALL_TAKEN, DIGIT("102", "CA2", "11"), "again",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
    {"#", CALL_TAKEN, DIGIT("102", "CA2", "#"), "again",
        "open: 1 accepted, 2 accepted, 3 scheduled, 4 scheduled"},
};

/* --- replies --------------------------------------------------------------------------------- */

#define ENDED "acknowledged: 1 accepted, 2 sending, 3 cancelled, 4 cancelled"

static const struct hearing replies[] = {
    {"a stranger", "", REPLY_BY("twilio_sms", "+15559999", "ack", "k"), "unknown", AS_IT_WAS},
    {"another channel", "", REPLY_BY("twilio_whatsapp", "+15551001", "ack", "k"), "unknown",
        AS_IT_WAS},
    {"the same event again", REPLY("hm") ";", REPLY("ack"), "repeated", AS_IT_WAS},
    {"ack", "", REPLY("ack"), TAKEN, ENDED},
    {"ACK, and a point", "", REPLY(" ACK. "), TAKEN, ENDED},
    {"ok", "", REPLY("Ok!"), TAKEN, ENDED},
    {"the word", "", REPLY("acknowledge"), TAKEN, ENDED},
    {"its number", "", REPLY("1"), TAKEN, ENDED},
    {"number and word", "", REPLY("1 ack"), TAKEN, ENDED},
    {"word and number", "", REPLY("Ack1"), TAKEN, ENDED},
    {"another number", "", REPLY("2"), HELP, AS_IT_WAS},
    {"a large number", "", REPLY("99999999999999999999"), HELP, AS_IT_WAS},
    {"a sentence", "", REPLY("ack, I am on it"), HELP, AS_IT_WAS},
    {"an empty one", "", REPLY(""), HELP, AS_IT_WAS},
    {"stop within a sentence", "", REPLY("please stop"), HELP, AS_IT_WAS},
    {"STOP", "", REPLY(" Stop "), "stopped", AS_IT_WAS},
    {"UNSUBSCRIBE", "", REPLY("unsubscribe"), "stopped", AS_IT_WAS},
    {"START", REPLY_BY("twilio_sms", "+15551001", "stop", "j") ";", REPLY("START"), "started",
        AS_IT_WAS ", 100 scheduled"}, /* the check-in, which this world left out */
    {"yes, to \"Are you there?\"", "", REPLY("Yes"), TAKEN, ENDED},
    {"yes, after STOP", REPLY_BY("twilio_sms", "+15551001", "stop", "j") ";", REPLY("Yes"),
        "started", AS_IT_WAS ", 100 scheduled"},
    {"after the climb", CLIMBED, REPLY("ack"), TOO_LATE, AS_IT_WAS},
    {"after the climb, with more to come",
        CLIMBED "INSERT INTO notification (incident_id, user_id, contact_method_id, channel, mode,"
                " kind, gate, policy, due_at, next_attempt_at, useless_after, idempotency_key)"
                " SELECT 1, 1, 1, 'twilio_sms', 'message', 'meeting', 'checkin', 'at_least_once',"
                " t.at, t.at, t.at, 'later' FROM (SELECT now() + interval '1 hour' AS at) AS t;",
        REPLY("ack"), TOO_LATE,
        "open: 1 accepted, 2 sending, 3 scheduled, 4 scheduled, 100 scheduled"},
    {"to a message that left with others",
        "UPDATE notification SET state = 'sending', attempts = 1 WHERE id = 3;"
        "UPDATE notification SET state = 'bundled', pending = false WHERE id = 3;",
        REPLY_BY("twilio_sms", "+15551002", "ack", "k"), TAKEN,
        "acknowledged: 1 accepted, 2 sending, 3 bundled, 4 cancelled"},
    {"to a message that left with others and climbed",
        "UPDATE notification SET state = 'sending', attempts = 1, due_at = now() - interval '1 "
        "minute' WHERE id = 3;"
        "UPDATE notification SET state = 'bundled', pending = false WHERE id = 3;"
        "UPDATE attempt SET finished_at = now(), outcome = 'bundled' WHERE id = 103;"
        "UPDATE incident SET climbed_at = now(), climbed_position = 4;",
        REPLY_BY("twilio_sms", "+15551002", "ack", "k"), TAKEN,
        "acknowledged: 1 accepted, 2 sending, 3 bundled, 4 cancelled"},
    {"nothing has left to that phone", "", REPLY_BY("twilio_sms", "+15551002", "ack", "k"), NOTHING,
        AS_IT_WAS},
    {"nothing is open", CLOSED, REPLY("ack"), NOTHING,
        "closed: 1 accepted, 2 sending, 3 scheduled, 4 scheduled"},
    {"acknowledged before", ACKNOWLEDGED, REPLY("ack"), NOTHING, ENDED},
    {"two are open", SECOND_MEETING, REPLY("ack"),
        "listed: 1 Stand-up (12:01), 2 Review (12:02). Answer with a number to acknowledge.",
        AS_IT_WAS ", 100 accepted"},
    {"two are open, the second", SECOND_MEETING, REPLY("2"), TAKEN, AS_IT_WAS ", 100 accepted"},
    {"two are open, the first", SECOND_MEETING, REPLY("1"), TAKEN, ENDED ", 100 accepted"},
    {"a number that was told, of what was acknowledged since",
        SECOND_MEETING REPLY_BY("twilio_sms", "+15551001", "ack",
            "j") ";" ACKNOWLEDGED
                 "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                 " VALUES ('meeting', 1, 3, now() + interval '3 minutes', 'Retro', 1);"
                 "UPDATE notification SET incident_id = (SELECT max(id) FROM incident) WHERE id = "
                 "2;"
                 "UPDATE notification SET contact_method_id = 1, state = 'accepted', pending = "
                 "false,"
                 " locked_at = NULL, locked_by = NULL, fence = NULL, sent_at = now() WHERE id = 2;",
        REPLY("1"), "acknowledged: Stand-up was acknowledged before. Still open: 2.",
        "acknowledged: 1 accepted, 2 accepted, 3 cancelled, 4 cancelled, 100 accepted"},
    {"a number that nobody was told is free again",
        REPLY_BY("twilio_sms", "+15551001", "1", "j") ";" SECOND_MEETING, REPLY("1"), TAKEN,
        ENDED ", 100 accepted"},
    {"a code", CODE("1 minute"), REPLY("123 456"), "verified: Thank you: this number is verified.",
        AS_IT_WAS},
    {"a wrong code", CODE("1 minute"), REPLY("123457"),
        "wrong: That did not verify this number: wrong.", AS_IT_WAS},
    {"a code too late", CODE("0"), REPLY("123456"),
        "expired: That did not verify this number: expired.", AS_IT_WAS},
    {"a code too often", CODE("1 minute") "UPDATE contact_verification SET tries = 5;",
        REPLY("123456"), "too many tries: That did not verify this number: too many tries.",
        AS_IT_WAS},
    {"a code that nobody asked for", "", REPLY("123456"), HELP, AS_IT_WAS},
    {"five that did nothing",
        "INSERT INTO heard (kind, contact_method_id, said, outcome)"
        " SELECT 'reply', 1, 'x', 'help' FROM generate_series(1, 5);",
        REPLY("hm"), "silent", AS_IT_WAS},
    {"five that did nothing, then ack",
        "INSERT INTO heard (kind, contact_method_id, said, outcome)"
        " SELECT 'reply', 1, 'x', 'help' FROM generate_series(1, 5);",
        REPLY("ack"), TAKEN, ENDED},
};

/* --- links ----------------------------------------------------------------------------------- */

static const struct hearing links[] = {
    {"a look", "", LINK("1", "false"), "open, Stand-up, owner", AS_IT_WAS},
    {"the button", "", LINK("1", "true"), "acknowledged, Stand-up, owner",
        "acknowledged: 1 confirmed, 2 sending, 3 cancelled, 4 cancelled"},
    {"a look after it", ACKNOWLEDGED, LINK("1", "false"), "acknowledged, Stand-up, owner", ENDED},
    {"the button after another", ACKNOWLEDGED, LINK("1", "true"), "acknowledged, Stand-up, owner",
        "acknowledged: 1 confirmed, 2 sending, 3 cancelled, 4 cancelled"},
    {"a look after the climb", CLIMBED, LINK("1", "false"), "stale, Stand-up, owner", AS_IT_WAS},
    {"the button after the climb", CLIMBED, LINK("1", "true"), "stale, Stand-up, owner", AS_IT_WAS},
    {"the button of what climbed", OTHERS_CALLED, LINK("4", "true"),
        "acknowledged, Stand-up, second",
        "acknowledged: 1 accepted, 2 sending, 3 cancelled, 4 confirmed"},
    {"the button, closed", CLOSED, LINK("1", "true"), "over, Stand-up, owner",
        "closed: 1 accepted, 2 sending, 3 scheduled, 4 scheduled"},
    {"the button, cancelled", CANCELLED, LINK("1", "true"), "over, Stand-up, owner",
        "cancelled: 1 accepted, 2 sending, 3 scheduled, 4 scheduled"},
    {"of nothing", "", LINK("999", "true"), "unknown", AS_IT_WAS},
    {"of no incident", GREETING, LINK("1", "true"), "unknown", AS_IT_WAS},
    {"an acknowledgement that has expired",
        ACKNOWLEDGED "UPDATE incident SET ack_expires_at = now(); SELECT incident_resume();",
        LINK("1", "false"), "open, Stand-up, owner",
        "open: 1 accepted, 2 sending, 3 cancelled, 4 cancelled, 100 scheduled, 101 scheduled, 102 "
        "scheduled"},
    {"a zone that nobody knows",
        "ALTER TABLE users DISABLE TRIGGER USER; UPDATE users SET time_zone = 'Mars/Olympus';",
        "SELECT outcome || ', ' || right(starts_local, 9) FROM hear_link(1, false)",
        "open, 12:01 UTC", AS_IT_WAS},
};

/* --- the table, worked ----------------------------------------------------------------------- */

static void assert_gives(
    const struct hearing *c, const char *what, const char *got, const char *wanted)
{
    if (strcmp(got ? got : "", wanted) != 0)
        fail_msg("%s: %s\n    %s\n    instead of\n    %s", c->what, what, got, wanted);
}

static void work(struct harness *h, const struct hearing *cases, size_t n)
{
    /* A noon for all of them, so that texts may say when. */
    harness_exec(h, "UPDATE test_clock SET shift = date_trunc('day', pg_catalog.now())"
                    " + interval '12 hours' - pg_catalog.now()");
    for (size_t i = 0; i < n; i++) {
        harness_execf(h, "BEGIN;%s%s", WORLD, cases[i].before);
        assert_gives(&cases[i], "gives", harness_text(h, cases[i].call), cases[i].gives);
        assert_gives(&cases[i], "leaves",
            harness_text(h, "SELECT i.status || ': ' || string_agg(n.id || ' ' || CASE"
                            " WHEN n.state = 'scheduled' AND n.due_at <= now() THEN 'due'"
                            " ELSE n.state END, ', ' ORDER BY n.id)"
                            " FROM notification AS n, incident AS i WHERE i.title = 'Stand-up'"
                            " GROUP BY i.id"),
            cases[i].leaves);
        harness_exec(h, "ROLLBACK");
    }
}

#define WORK(name, cases)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        work(*state, cases, sizeof(cases) / sizeof(*(cases)));                                     \
    }
WORK(test_statuses, statuses)
WORK(test_digits, digits)
WORK(test_replies, replies)
WORK(test_links, links)

/* --- what else is left behind ---------------------------------------------------------------- */

/* What nobody said leaves nothing; what was said stands with its outcome; looking is not saying. */
static void test_what_stands_in_heard(void **state)
{
    struct harness *h = *state;

    harness_exec(h, WORLD);
    harness_exec(h, STATUS("999", "CA2", "waiting", "k1"));
    harness_exec(h, DIGIT("999", "CA2", "1"));
    harness_exec(h, REPLY_BY("twilio_sms", "+15559999", "ack", "k2"));
    harness_exec(h, LINK("1", "false"));
    harness_exec(h, LINK("999", "true"));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM heard"), 0);
    harness_exec(h, STATUS("102", "CA2", "waiting", "k3"));
    harness_exec(h, REPLY_BY("twilio_sms", "+15551001", "hm", "k4"));
    harness_exec(h, CODE("1 minute"));
    harness_exec(h, REPLY_BY("twilio_sms", "+15551001", "123456", "k5"));
    harness_exec(h, DIGIT("102", "CA2", "1"));
    harness_exec(h, LINK("1", "true"));
    assert_string_equal(
        harness_rows(h, "SELECT kind, attempt_id, notification_id, incident_id, contact_method_id,"
                        " said, outcome FROM heard ORDER BY id"),
        "status|102|2|1|2|waiting, CA2|moved\n"
        "reply||||1|hm|help\n"
        "reply||||1|a code|verified\n"
        "digit|102|2|1|2|key 1|acknowledged\n"
        "link||1|1|1|the button|acknowledged");
    assert_string_equal(harness_text(h, "SELECT acknowledged_by FROM incident"), "owner");
}

/* A list that does not end would not fit a message. */
static void test_a_long_list(void **state)
{
    struct harness *h = *state;
    const char *say;

    harness_exec(h, WORLD);
    harness_exec(h,
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " SELECT 'meeting', 1, k, now() + interval '1 hour', repeat('x', 100), 1"
        " FROM generate_series(10, 29) AS k;"
        "INSERT INTO notification (incident_id, user_id, contact_method_id, channel, mode, kind,"
        "  gate, policy, due_at, next_attempt_at, useless_after, idempotency_key, state, pending,"
        "  sent_at)"
        " SELECT i.id, 1, 1, 'twilio_sms', 'message', 'meeting', 'alerts', 'at_least_once', now(),"
        "  now(), now(), 'n' || i.id, 'accepted', false, now() FROM incident AS i WHERE event_id > "
        "9");
    say = harness_text(h, REPLY("ack"));
    assert_non_null(strstr(say, "listed: 1 Stand-up"));
    assert_non_null(strstr(say, ", 12 xxx"));
    assert_null(strstr(say, ", 13 xxx"));
    assert_non_null(strstr(say, ", and 9 more. Answer with a number"));
    assert_in_range(strlen(say), 1, 1600);
    assert_string_equal(harness_text(h, REPLY_BY("twilio_sms", "+15551001", "21", "k2")), TAKEN);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_statuses),
        TEST(test_digits),
        TEST(test_replies),
        TEST(test_links),
        TEST(test_what_stands_in_heard),
        TEST(test_a_long_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
