/*
 * The gateway when it has to wait, and when it ends: a row that somebody holds, a database that
 * refuses, a client that leaves, SIGTERM, an address that it cannot listen at.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ack_link.h"
#include "tests/support/gateway_world.h"
#include "tests/support/raw_client.h"

#define SOON_MS REACH_SOON_MS

static void assert_has(const struct buf *text, const char *part)
{
    if (!strstr(buf_str(text), part))
        fail_msg("\"%s\" is not in: %s", part, buf_str(text));
}

/* --- a link, and who holds its rows ---------------------------------------------------------- */

/* Incident n of `n`, each with a message to the owner that has left. */
static void messages_left(struct gateway_world *w, int n)
{
    reach_world_people(w->reach, "twilio_sms", NULL);
    reach_world_alerts(w->reach, n);
    harness_exec(w->h, "UPDATE notification SET state = 'sending', attempts = 1;"
                       "UPDATE notification SET state = 'accepted', pending = false,"
                       " sent_at = now(), provider_id = 'SM' || id");
}

/* The path of the link of incident n's message; to be freed. */
static char *link_of(struct gateway_world *w, int n)
{
    struct buf path = BUF_INIT(256);
    int64_t id = harness_intf(w->h, "SELECT id FROM notification WHERE incident_id = %d", n);

    assert_int_equal(ack_link_add(&path, "", GATEWAY_SECRET, id), 0);
    char *text = buf_steal(&path);
    assert_non_null(text);
    return text;
}

static void press(struct gateway_world *w, struct raw_client *c, int n)
{
    struct buf request = BUF_INIT(1024);
    char *path = link_of(w, n);

    assert_true(raw_client_open(c, w->port));
    buf_addf(&request, "POST %s HTTP/1.1\r\nHost: gate\r\nContent-Length: 0\r\n\r\n", path);
    assert_true(raw_client_say(c, buf_str(&request)));
    buf_release(&request);
    free(path);
}

static PGconn *hold(struct gateway_world *w, int n)
{
    PGconn *keeper = harness_connect(w->h, NULL);
    char *sql = NULL;

    assert_true(asprintf(&sql, "BEGIN; SELECT FROM incident WHERE id = %d FOR UPDATE", n) > 0);
    PQclear(PQexec(keeper, sql));
    free(sql);
    assert_int_equal(PQtransactionStatus(keeper), PQTRANS_INTRANS);
    return keeper;
}

static void let_go(PGconn *keeper)
{
    PQclear(PQexec(keeper, "COMMIT"));
    assert_int_equal(PQtransactionStatus(keeper), PQTRANS_IDLE);
}

static void await_held_up(struct gateway_world *w)
{
    harness_await(w->h, SOON_MS,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'tocsin_gateway'"
        " AND datname = current_database() AND wait_event_type = 'Lock')");
}

static const char *status_of(struct gateway_world *w, int n)
{
    char *sql = NULL;

    assert_true(asprintf(&sql, "SELECT status FROM incident WHERE id = %d", n) > 0);
    const char *status = harness_text(w->h, sql);
    free(sql);
    return status;
}

/* --- a row that is held ---------------------------------------------------------------------- */

/* Whoever waits for it is told to come again and is heard nevertheless; nobody else waits. */
static void test_a_row_that_is_held(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client held, other;
    PGconn *keeper;

    messages_left(w, 2);
    gateway_world_start(w, (const char *const[]){"GATEWAY_PATIENCE=700ms", NULL});
    keeper = hold(w, 1);
    press(w, &held, 1);
    await_held_up(w);
    press(w, &other, 2);
    harness_await(w->h, SOON_MS, "SELECT status = 'acknowledged' FROM incident WHERE id = 2");
    assert_int_equal(raw_client_answer(w->h, &held), 503);
    assert_has(&held.got, "\r\nRetry-After: 10\r\n");
    assert_has(&held.got, "application/problem+json");
    assert_has(&held.got, "is kept");
    assert_string_equal(status_of(w, 1), "open");
    let_go(keeper);
    harness_await(w->h, SOON_MS, "SELECT status = 'acknowledged' FROM incident WHERE id = 1");
    raw_client_close(&held);
    raw_client_close(&other);
    assert_int_equal(harness_proc_stop(w->gateway, SOON_MS), 0);
}

/* The client leaves while its request waits: it is heard, nothing is left over, others are served.
 */
static void test_a_client_that_leaves(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client gone;
    PGconn *keeper;

    messages_left(w, 1);
    gateway_world_start(w, NULL);
    keeper = hold(w, 1);
    press(w, &gone, 1);
    await_held_up(w);
    raw_client_close(&gone);
    assert_int_equal(gateway_world_get(w, "/health/live"), 200);
    let_go(keeper);
    harness_await(w->h, SOON_MS, "SELECT status = 'acknowledged' FROM incident WHERE id = 1");
    assert_int_equal(gateway_world_get(w, "/health/database"), 200);
    assert_int_equal(harness_proc_stop(w->gateway, SOON_MS), 0);
}

/* --- many who ask the same ------------------------------------------------------------------- */

#define MANY 50

/* The view waits for an advisory lock and counts how often it was asked. */
static void slow_health(struct gateway_world *w)
{
    harness_exec(w->h,
        "CREATE SEQUENCE asked; GRANT USAGE ON SEQUENCE asked TO PUBLIC;"
        "CREATE FUNCTION asks() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN"
        " PERFORM nextval('asked'), pg_advisory_xact_lock_shared(42); RETURN true; END $$;"
        "CREATE OR REPLACE VIEW health AS SELECT 'slow'::text AS \"check\", asks() AS ok,"
        " ''::text AS detail");
}

static void test_many_who_ask_the_same(void **state)
{
    struct gateway_world *w = *state;
    PGconn *keeper = harness_connect(w->h, NULL);
    struct raw_client clients[MANY];

    slow_health(w);
    gateway_world_start(w, NULL);
    PQclear(PQexec(keeper, "SELECT pg_advisory_lock(42)"));
    for (size_t i = 0; i < MANY; i++) {
        assert_true(raw_client_open(&clients[i], w->port));
        assert_true(raw_client_say(&clients[i], "GET /health HTTP/1.1\r\nHost: gate\r\n\r\n"));
    }
    await_held_up(w);
    raw_client_close(&clients[0]); /* one of them does not wait for it */
    assert_int_equal(gateway_world_get(w, "/health/live"), 200);
    PQclear(PQexec(keeper, "SELECT pg_advisory_unlock(42)"));
    for (size_t i = 1; i < MANY; i++) {
        assert_int_equal(raw_client_answer(w->h, &clients[i]), 200);
        assert_has(&clients[i].got, "\"check\":\"slow\"");
        raw_client_close(&clients[i]);
    }
    /* the second for those who came when the first was answered */
    assert_in_range(harness_int(w->h, "SELECT last_value FROM asked"), 1, 2);
}

static void test_nobody_asks_for_ever(void **state)
{
    struct gateway_world *w = *state;
    PGconn *keeper = harness_connect(w->h, NULL);

    slow_health(w);
    gateway_world_start(w, (const char *const[]){"GATEWAY_PATIENCE=200ms", NULL});
    PQclear(PQexec(keeper, "SELECT pg_advisory_lock(42)"));
    assert_int_equal(gateway_world_get(w, "/health"), 503);
    assert_has(&w->headers, "\r\nRetry-After: 10\r\n");
    PQclear(PQexec(keeper, "SELECT pg_advisory_unlock(42)"));
}

/* --- a database that refuses ----------------------------------------------------------------- */

/* The first `n` times that something heard is written it fails of `sqlstate`. */
static void refuse_first(struct gateway_world *w, int n, const char *sqlstate)
{
    harness_execf(w->h,
        "CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO PUBLIC;"
        "CREATE FUNCTION refuse_first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('tries') <= %d THEN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END IF;"
        " RETURN NEW; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON heard FOR EACH ROW EXECUTE FUNCTION"
        " refuse_first()",
        n, sqlstate);
}

static int press_once(struct gateway_world *w, const char *says)
{
    struct raw_client c;

    press(w, &c, 1);
    int status = raw_client_answer(w->h, &c);
    assert_has(&c.got, says);
    raw_client_close(&c);
    return status;
}

static void assert_stands(struct gateway_world *w, int tries, const char *incident, int heard)
{
    assert_int_equal(harness_int(w->h, "SELECT last_value FROM tries"), tries);
    assert_string_equal(status_of(w, 1), incident);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM heard"), heard);
}

static void test_a_deadlock_is_tried_again(void **state)
{
    struct gateway_world *w = *state;

    messages_left(w, 1);
    refuse_first(w, 3, "40P01");
    gateway_world_start(w, NULL);
    assert_int_equal(press_once(w, "Nobody else is called"), 200);
    assert_stands(w, 4, "acknowledged", 1);
    assert_false(harness_proc_logged(w->gateway, " error gateway "));
}

static void test_what_cannot_pass_is_not_tried_again(void **state)
{
    struct gateway_world *w = *state;

    messages_left(w, 1);
    refuse_first(w, 3, "23514");
    gateway_world_start(w, NULL);
    assert_int_equal(press_once(w, "nothing of it was kept"), 503);
    assert_stands(w, 1, "open", 0);
}

/* Whoever waits is told 503 all the same, by then or before. */
static void test_the_tries_have_an_end(void **state)
{
    struct gateway_world *w = *state;

    messages_left(w, 1);
    refuse_first(w, 1000, "40001");
    gateway_world_start(w, (const char *const[]){"GATEWAY_PATIENCE=100ms", NULL});
    assert_int_equal(press_once(w, "\r\nRetry-After: 10\r\n"), 503);
    harness_proc_await_log(w->gateway, "could not be written", SOON_MS);
    assert_stands(w, 10, "open", 0);
}

/* --- the end --------------------------------------------------------------------------------- */

/* What has begun is answered, the half request too, however often it has to be tried; new
 * connections are refused. */
static void test_sigterm_with_requests_in_flight(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client waits, half, idle, late;
    PGconn *keeper;

    messages_left(w, 1);
    gateway_world_start(w, NULL);
    keeper = hold(w, 1);
    press(w, &waits, 1);
    assert_true(raw_client_open(&half, w->port));
    assert_true(raw_client_say(&half, "POST /hooks/twilio/reply HTTP/1.1\r\nHost: gate\r\n"
                                      "Content-Length: 6\r\n\r\nFro"));
    assert_true(raw_client_open(&idle, w->port));
    assert_true(raw_client_say(&idle, "GET /health/ready HTTP/1.1\r\nHost: gate\r\n\r\n"));
    assert_int_equal(raw_client_answer(w->h, &idle), 200);
    await_held_up(w);
    harness_proc_signal(w->gateway, SIGTERM);
    harness_proc_await_log(w->gateway, "draining", SOON_MS);
    assert_false(raw_client_open(&late, w->port));
    harness_proc_await_log(w->gateway, "tries=2", SOON_MS);
    assert_true(raw_client_say(&half, "m=x"));
    assert_int_equal(raw_client_answer(w->h, &half), 403);
    assert_has(&half.got, "\r\nConnection: close\r\n");
    let_go(keeper);
    assert_int_equal(raw_client_answer(w->h, &waits), 200);
    assert_has(&waits.got, "Nobody else is called");
    assert_int_equal(harness_proc_wait(w->gateway, SOON_MS), 0);
    assert_string_equal(status_of(w, 1), "acknowledged");
    raw_client_close(&waits);
    raw_client_close(&half);
    raw_client_close(&idle);
}

/* Whoever was told that it is kept is not lost with the process: it is written before the end. */
static void test_sigterm_with_what_is_kept(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client told;
    PGconn *keeper;

    messages_left(w, 1);
    gateway_world_start(w, (const char *const[]){"GATEWAY_PATIENCE=100ms", NULL});
    keeper = hold(w, 1);
    press(w, &told, 1);
    assert_int_equal(raw_client_answer(w->h, &told), 503);
    raw_client_close(&told);
    harness_proc_signal(w->gateway, SIGTERM);
    harness_proc_await_log(w->gateway, "draining", SOON_MS);
    harness_proc_await_log(w->gateway, "tries=2", SOON_MS);
    let_go(keeper);
    assert_int_equal(harness_proc_wait(w->gateway, SOON_MS), 0);
    assert_string_equal(status_of(w, 1), "acknowledged");
}

/* The drain has an end too: what waits then is given up, without a leak. */
static void test_the_drain_has_an_end(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client waits;
    PGconn *keeper;

    messages_left(w, 1);
    gateway_world_start(w, (const char *const[]){"TOCSIN_DRAIN_TIMEOUT=100ms", NULL});
    keeper = hold(w, 1);
    press(w, &waits, 1);
    await_held_up(w);
    assert_int_equal(harness_proc_stop(w->gateway, SOON_MS), 0);
    assert_int_equal(raw_client_answer(w->h, &waits), 0);
    raw_client_close(&waits);
    let_go(keeper);
}

/* --- where it listens ------------------------------------------------------------------------ */

static void test_where_it_cannot_listen(void **state)
{
    static const struct {
        const char *listen;
        const char *says;
    } cases[] = {
        {"8080", "an address and a port"},
        {"127.0.0.1", "an address and a port"},
        {"127.0.0.1:", "an address and a port"},
        {"127.0.0.1:http", "an address and a port"},
        {"127.0.0.1:65536", "an address and a port"},
        {"127.0.0.1:-1", "an address and a port"},
        {"127.0.0.1:+80", "an address and a port"},
        {"localhost:8080", "an address and a port"},
        {"[::1:8080", "an address and a port"},
        {"192.0.2.7:8080", "this machine has no such address"},
    };
    struct gateway_world *w = *state;
    const char *output;
    char *env = NULL;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(asprintf(&env, "GATEWAY_LISTEN=%s", cases[i].listen) > 0);
        int code = harness_run(w->h, "gateway", NULL, (const char *const[]){env, NULL}, &output);
        free(env);
        if (code != 78 || !strstr(output, "GATEWAY_LISTEN") || !strstr(output, cases[i].says))
            fail_msg("%s: exit code %d: %s", cases[i].listen, code, output);
    }
    assert_int_equal(harness_run(w->h, "gateway", (const char *const[]){"--check-config", NULL},
                         (const char *const[]){"GATEWAY_LISTEN=nonsense", NULL}, &output),
        78);
    gateway_world_start(w, NULL);
    assert_true(asprintf(&env, "GATEWAY_LISTEN=127.0.0.1:%d", w->port) > 0);
    assert_int_equal(
        harness_run(w->h, "gateway", NULL, (const char *const[]){env, NULL}, &output), 70);
    assert_non_null(strstr(output, env));
    assert_non_null(strstr(output, "another process listens there"));
    free(env);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, gateway_world_setup, gateway_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_row_that_is_held),
        TEST(test_a_client_that_leaves),
        TEST(test_many_who_ask_the_same),
        TEST(test_nobody_asks_for_ever),
        TEST(test_a_deadlock_is_tried_again),
        TEST(test_what_cannot_pass_is_not_tried_again),
        TEST(test_the_tries_have_an_end),
        TEST(test_sigterm_with_requests_in_flight),
        TEST(test_sigterm_with_what_is_kept),
        TEST(test_the_drain_has_an_end),
        TEST(test_where_it_cannot_listen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
