/*
 * What is heard races with those who send and those who acknowledge: real connections, each made to
 * wait where it hurts. Nobody is refused, nothing is told or counted twice, and who came first
 * changes nothing in what is stored.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sql/worker-escalation.h"
#include "tests/support/harness.h"

#define SOON_MS 20000
#define DAEMON  "7"
#define FENCE   "11"

static const char *const locks[] = {NULL, "SELECT FROM incident FOR NO KEY UPDATE",
    "SELECT FROM notification WHERE kind = 'escalation' FOR UPDATE"};

#define LOCKS (sizeof(locks) / sizeof(*locks))

/* --- what there is --------------------------------------------------------------------------- */

/* Incident 1 has reached the calls to two others: user 2 by attempt 102, user 3 by 103. */
static void calls_go_out(struct harness *h, bool claimed)
{
    harness_exec(h,
        "INSERT INTO users (id, name) VALUES (1, 'owner'), (2, 'second'), (3, 'third');"
        "INSERT INTO contact_method (user_id, channel, modes, address, verified_at)"
        " SELECT u.id, 'twilio_voice', '{call}', '+1555100' || u.id, now() FROM users AS u;"
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " VALUES ('meeting', 1, 1, now() - interval '5 minutes', 'Stand-up', 1);"
        "SELECT incident_plan('{1}');"
        "DELETE FROM notification WHERE kind <> 'escalation' OR rung_id <> ("
        " SELECT id FROM ladder_rung WHERE ladder_id = 1 AND position = 5)");
    harness_execf(h,
        "UPDATE notification SET state = 'sending', attempts = 1, locked_at = %s, locked_by = %s,"
        " fence = %s;"
        "INSERT INTO attempt (id, notification_id, number, circuit, daemon_id, fence, started_at,"
        "  deadline_at)"
        " SELECT 100 + n.user_id, n.id, 1, n.channel, " DAEMON ", " FENCE ", now(),"
        "  now() + interval '1 minute' FROM notification AS n",
        claimed ? "now()" : "NULL", claimed ? DAEMON : "NULL", claimed ? FENCE : "NULL");
}

static void forget_all(struct harness *h)
{
    harness_exec(h, "DELETE FROM incident; DELETE FROM contact_method; DELETE FROM users;"
                    "DELETE FROM processed_webhook_events;"
                    "ALTER TABLE incident ALTER COLUMN id RESTART");
}

/* --- who races ------------------------------------------------------------------------------- */

struct racer {
    PGconn *conn;
    const char *sql;              /* NULL: the finish of what daemon 7 sent to user 2 */
    char first[256], second[256]; /* columns of the row that it gave */
};

static void start(struct racer *r, struct harness *h)
{
    if (r->sql) {
        assert_int_equal(PQsendQuery(r->conn, r->sql), 1);
        return;
    }
    char *id = NULL;
    assert_true(asprintf(&id, "{%" PRId64 "}",
                    harness_int(h, "SELECT id FROM notification WHERE user_id = 2")) > 0);
    const char *const values[] = {DAEMON, id, "{" FENCE "}", "{accepted}", "{CA102}", "{201}",
        "{NULL}", "{-1}", "{60000}", "{f}", "{250}", "{NULL}"};
    assert_int_equal(
        PQsendQueryParams(r->conn, SQL_finish_notifications.text, 12, NULL, values, NULL, NULL, 0),
        1);
    free(id);
}

static void keep_column(const PGresult *res, int column, char ret_text[static 256])
{
    const char *text = column < PQnfields(res) ? PQgetvalue(res, 0, column) : "";

    assert_true(snprintf(ret_text, 256, "%s", text) < 256);
}

static void take(struct racer *r)
{
    PGresult *res;

    while ((res = PQgetResult(r->conn)) != NULL) {
        if (PQresultStatus(res) != PGRES_TUPLES_OK)
            fail_msg("%s: %s", r->sql ? r->sql : "finish", PQresultErrorMessage(res));
        assert_int_equal(PQntuples(res), 1);
        keep_column(res, 0, r->first);
        keep_column(res, 1, r->second);
        PQclear(res);
    }
}

static void await_blocked(struct harness *h, PGconn *conn)
{
    harness_awaitf(h, SOON_MS,
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %d", PQbackendPID(conn));
}

static void command(PGconn *conn, const char *sql)
{
    PGresult *res = PQexec(conn, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    PQclear(res);
}

/* With a lock both wait for whoever has it, `a` in front, and meet when it goes. Without one `a` is
 * through with its statement and `b` waits for its end. */
static void race(struct harness *h, const char *lock, struct racer *a, struct racer *b)
{
    PGconn *keeper = harness_connect(h, NULL);

    if (lock) {
        command(keeper, "BEGIN");
        command(keeper, lock);
        start(a, h);
        await_blocked(h, a->conn);
        start(b, h);
        await_blocked(h, b->conn);
        command(keeper, "COMMIT");
    } else {
        command(a->conn, "BEGIN");
        start(a, h);
        take(a);
        start(b, h);
        await_blocked(h, b->conn);
        command(a->conn, "COMMIT");
    }
    take(a);
    take(b);
    harness_disconnect(h, keeper);
}

/* --- the races ------------------------------------------------------------------------------- */

static void assert_starts(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("\"%s\" does not start with \"%s\"", text, with);
}

/* A key of a call whose outcome nobody knows yet, and somebody at psql. */
static void test_a_key_and_an_acknowledgement(void **state)
{
    struct harness *h = *state;
    struct racer key = {.conn = harness_connect(h, "tocsin_gateway"),
        .sql = "SELECT outcome, say FROM hear_digit(102, 'CA102', '1', 'k')"};
    struct racer hand = {
        .conn = harness_connect(h, NULL), .sql = "SELECT incident_acknowledge(1, 'hand')"};

    for (size_t i = 0; i < 2 * LOCKS; i++) {
        bool key_first = i < LOCKS;
        calls_go_out(h, false);
        race(h, locks[i % LOCKS], key_first ? &key : &hand, key_first ? &hand : &key);
        assert_string_equal(key.first, "acknowledged");
        assert_string_equal(key.second, "Acknowledged. Nobody else is called.");
        if (strcmp(harness_text(h, "SELECT acknowledged_by FROM incident"), "hand") == 0)
            assert_starts(hand.first, "incident 1 acknowledged by hand");
        else
            assert_starts(hand.first, "incident 1 was acknowledged before, by second");
        assert_string_equal(harness_rows(h, "SELECT i.status, count(n.id) FROM incident AS i"
                                            " LEFT JOIN notification AS n ON n.pending"
                                            " GROUP BY i.id"),
            "acknowledged|0");
        forget_all(h);
    }
}

/* The callback and the finish of the process that sent, for a call that climbs: the same rows come
 * of it whoever is first. */
static void test_a_callback_and_a_finish(void **state)
{
    struct harness *h = *state;
    struct racer callback = {.conn = harness_connect(h, "tocsin_gateway"),
        .sql = "SELECT hear_status(102, 'CA102', 'waiting', NULL, false, 'k')"};
    struct racer finish = {.conn = harness_connect(h, "tocsin_worker_escalation")};

    for (size_t i = 0; i < 2 * LOCKS; i++) {
        bool callback_first = i < LOCKS;
        calls_go_out(h, true);
        race(h, locks[i % LOCKS], callback_first ? &callback : &finish,
            callback_first ? &finish : &callback);
        if (strcmp(finish.second, "done") == 0) {
            assert_string_equal(callback.first, "known");
        } else {
            /* "already" where it began after the callback, else its claim is gone */
            assert_true(
                strcmp(finish.second, "already") == 0 || strcmp(finish.second, "lost") == 0);
            assert_string_equal(callback.first, "moved");
        }
        assert_string_equal(
            harness_rows(h, "SELECT n.state, n.pending, n.locked_by IS NULL, n.provider_id,"
                            " n.sent_at = i.climbed_at, i.climbed_position, a.outcome,"
                            " a.provider_id, a.finished_at = n.sent_at"
                            " FROM notification AS n JOIN incident AS i ON i.id = n.incident_id"
                            " JOIN attempt AS a ON a.notification_id = n.id WHERE n.user_id = 2"),
            "accepted|f|t|CA102|t|5|accepted|CA102|t");
        forget_all(h);
    }
}

/* Two people press 1 at once, in calls whose outcome nobody knows yet: one acknowledges, and the
 * other is told that it is done. */
static void test_two_keys_at_once(void **state)
{
    struct harness *h = *state;
    struct racer second = {.conn = harness_connect(h, "tocsin_gateway"),
        .sql = "SELECT outcome, say FROM hear_digit(102, 'CA102', '1', 'k2')"};
    struct racer third = {.conn = harness_connect(h, "tocsin_gateway"),
        .sql = "SELECT outcome, say FROM hear_digit(103, 'CA103', '1', 'k3')"};

    for (size_t i = 0; i < LOCKS; i++) {
        calls_go_out(h, false);
        race(h, locks[i], &second, &third);
        assert_string_equal(second.second, "Acknowledged. Nobody else is called.");
        assert_string_equal(third.second, "Acknowledged. Nobody else is called.");
        assert_string_equal(harness_rows(h, "SELECT i.status, count(n.id) FROM incident AS i"
                                            " LEFT JOIN notification AS n ON n.pending"
                                            " GROUP BY i.id"),
            "acknowledged|0");
        assert_string_equal(
            harness_rows(h, "SELECT attempt_id, outcome FROM heard ORDER BY attempt_id"),
            "102|acknowledged\n103|acknowledged");
        forget_all(h);
    }
}

/* A provider sends an event to two gateways at the same moment. */
static void test_one_event_twice_at_once(void **state)
{
    static const char *const events[][3] = {
        {"SELECT hear_status(102, 'CA102', 'waiting', NULL, false, 'k')", "moved", "repeated"},
        {"SELECT outcome FROM hear_reply('twilio_voice', '+15551002', 'hello', 'k')", "help",
            "repeated"},
        {"SELECT say FROM hear_digit(102, 'CA102', '2', 'k')", "There is nobody left to ask.",
            "There is nobody left to ask."},
    };
    struct harness *h = *state;
    struct racer a = {.conn = harness_connect(h, "tocsin_gateway")};
    struct racer b = {.conn = harness_connect(h, "tocsin_gateway")};

    for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
        calls_go_out(h, true);
        if (i == 1) /* what a phone is told of has reached it */
            harness_exec(h, "SELECT hear_status(102, 'CA102', 'waiting', NULL, false, 'before')");
        a.sql = b.sql = events[i][0];
        race(h, NULL, &a, &b);
        assert_string_equal(a.first, events[i][1]);
        assert_string_equal(b.first, events[i][2]);
        assert_int_equal(
            harness_int(h, "SELECT count(*) FROM processed_webhook_events WHERE event_id = 'k'"),
            1);
        if (i < 2)
            assert_int_equal(harness_int(h, "SELECT count(*) FROM heard WHERE kind ="
                                            " (SELECT kind FROM heard ORDER BY id DESC LIMIT 1)"),
                1);
        forget_all(h);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_key_and_an_acknowledgement),
        TEST(test_a_callback_and_a_finish),
        TEST(test_two_keys_at_once),
        TEST(test_one_event_twice_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
