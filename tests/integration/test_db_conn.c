/*
 * The asynchronous connection against a real PostgreSQL: order, transactions, lost sessions,
 * hosts, patience, notifications.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/db_conn.h"
#include "io/loop.h"
#include "tests/support/harness.h"

#define DEADLINE_MS 20000
#define TICK_MS     1000

static const struct db_stmt SAY = {"say", "SELECT $1::text AS value, $2::text AS other", 2};
static const struct db_stmt ARRAYS = {"arrays",
    "SELECT $1::text[] = ARRAY['a\"b', 'c\\d', NULL, ''] AND $2::bigint[] = "
    "ARRAY[-9223372036854775808, 7] "
    "AND $3::boolean[] = ARRAY[true, false] AS same",
    3};
static const struct db_stmt PUT = {"put", "INSERT INTO thing (id) VALUES ($1)", 1};
static const struct db_stmt CUT = {"cut", "SELECT pg_terminate_backend(pg_backend_pid())", 0};
static const struct db_stmt PREPARED = {
    "prepared", "SELECT count(*) FROM pg_prepared_statements WHERE name = 'say'", 0};
static const struct db_stmt TYPO = {"typo", "SELECT nonsense FROM nowhere WHERE id = $1", 1};

struct answer {
    int count;
    int err;
    char sqlstate[6];
    char value[64];
    int64_t affected;
    int turn; /* the how-manieth answer of the world */
};

struct world {
    uv_loop_t loop;
    struct db_conn *conn;
    struct loop_timer *deadline;
    int ups, downs, notes, answers;
    bool gave_up, late;
    char payload[32];
};

static struct world *the_world; /* answers are counted across all of them */

static void on_up(void *arg)
{
    ((struct world *)arg)->ups++;
}

static void on_down(void *arg, const char *why)
{
    assert_true(*why != '\0');
    ((struct world *)arg)->downs++;
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
    struct world *w = arg;

    assert_string_equal(channel, "Bell's");
    w->notes++;
    (void)snprintf(w->payload, sizeof(w->payload), "%s", payload);
}

static void on_gave_up(void *arg, const char *why)
{
    assert_true(*why != '\0');
    ((struct world *)arg)->gave_up = true;
}

static void on_deadline(void *arg)
{
    ((struct world *)arg)->late = true;
}

static void on_answer(void *arg, struct db_result *r)
{
    struct answer *a = arg;

    a->count++;
    a->err = r->err;
    a->turn = ++the_world->answers;
    memcpy(a->sqlstate, r->sqlstate, sizeof(a->sqlstate));
    a->affected = db_affected(r);
    if (db_rows(r))
        (void)snprintf(a->value, sizeof(a->value), "%s", PQgetvalue(r->res, 0, 0));
}

static void open_world_with(struct world *w, const char *dsn, bool prepare, int64_t patience_ms,
    int64_t statement_timeout_ms)
{
    static const char *const channels[] = {"Bell's", NULL};
    struct buf fault = BUF_INIT(1024);
    const struct db_conn_options options = {.dsn = dsn,
        .application_name = "test_db_conn",
        .prepare = prepare,
        .listen = true,
        .channels = channels,
        .patience_ms = patience_ms,
        .connect_timeout_ms = 3000,
        .statement_timeout_ms = statement_timeout_ms};
    const struct db_conn_events events = {on_up, on_down, NULL, on_notified, on_gave_up, w};

    memset(w, 0, sizeof(*w));
    the_world = w;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->deadline = loop_timer_new(&w->loop, on_deadline, w);
    loop_timer_start(w->deadline, DEADLINE_MS);
    assert_int_equal(db_conn_new(&w->loop, &options, &events, &fault, &w->conn), 0);
    buf_release(&fault);
}

static void open_world(struct world *w, const char *dsn, bool prepare, int64_t patience_ms)
{
    open_world_with(w, dsn, prepare, patience_ms, 5000);
}

static void close_world(struct world *w)
{
    db_conn_free(w->conn);
    loop_timer_free(w->deadline);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

#define RUN_UNTIL(w, cond)                                                                         \
    while (!(cond)) {                                                                              \
        assert_false((w)->late);                                                                   \
        (void)uv_run(&(w)->loop, UV_RUN_ONCE);                                                     \
    }

static void send_text(
    struct world *w, const struct db_stmt *stmt, const char *text, unsigned flags, struct answer *a)
{
    struct db_args args;

    *a = (struct answer){0};
    db_args_init(&args);
    if (stmt->n_params > 0)
        db_arg_str(&args, text);
    if (stmt->n_params > 1)
        db_arg_null(&args);
    assert_int_equal(db_conn_send(w->conn, stmt, &args, flags, on_answer, a), 0);
    db_args_release(&args);
}

static void answers_in_order(struct harness *h, bool prepare)
{
    struct world w;
    struct answer a[200];

    open_world(&w, harness_dsn(h, NULL), prepare, 10000);
    for (int i = 0; i < 200; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%d", i);
        send_text(&w, &SAY, text, 0, &a[i]);
    }
    RUN_UNTIL(&w, w.answers == 200);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(a[i].err, 0);
        assert_int_equal(a[i].turn, i + 1);
        assert_int_equal(strtol(a[i].value, NULL, 10), i);
    }
    send_text(&w, &PREPARED, NULL, 0, &a[0]);
    RUN_UNTIL(&w, a[0].count);
    assert_string_equal(a[0].value, prepare ? "1" : "0");
    close_world(&w);
}

static void test_answers_come_in_order(void **state)
{
    answers_in_order(*state, true);
}

static void test_a_pooler_needs_no_prepared_statements(void **state)
{
    answers_in_order(*state, false);
}

static void test_arrays_arrive_as_they_were(void **state)
{
    static const char *const strs[] = {"a\"b", "c\\d", NULL, ""};
    static const int64_t ints[] = {INT64_MIN, 7};
    static const bool bools[] = {true, false};
    struct world w;
    struct answer a = {0};
    struct db_args args;

    open_world(&w, harness_dsn(*state, NULL), true, 10000);
    db_args_init(&args);
    db_arg_strs(&args, strs, 4);
    db_arg_ints(&args, ints, 2);
    db_arg_bools(&args, bools, 2);
    assert_int_equal(db_conn_send(w.conn, &ARRAYS, &args, 0, on_answer, &a), 0);
    db_args_release(&args);
    RUN_UNTIL(&w, a.count);
    assert_int_equal(a.err, 0);
    assert_string_equal(a.value, "t");
    close_world(&w);
}

static void test_two_statements_are_one_transaction(void **state)
{
    struct harness *h = *state;
    struct world w;
    struct answer a[6];

    harness_exec(h, "CREATE TABLE thing (id int PRIMARY KEY)");
    open_world(&w, harness_dsn(h, NULL), true, 10000);
    send_text(&w, &PUT, "1", DB_WITH_NEXT, &a[0]);
    send_text(&w, &PUT, "2", 0, &a[1]);
    send_text(&w, &PUT, "3", DB_WITH_NEXT, &a[2]);
    send_text(&w, &PUT, "2", 0, &a[3]); /* is there: takes 3 along */
    send_text(&w, &PUT, "1", DB_WITH_NEXT, &a[4]);
    send_text(&w, &PUT, "4", 0, &a[5]); /* never runs */
    RUN_UNTIL(&w, w.answers == 6);
    assert_int_equal(a[0].err, 0);
    assert_int_equal(a[1].affected, 1);
    assert_int_equal(a[2].err, ERR_DB);
    assert_string_equal(a[2].sqlstate, "25P02");
    assert_string_equal(a[3].sqlstate, "23505");
    assert_string_equal(a[4].sqlstate, "23505");
    assert_string_equal(a[5].sqlstate, "25P02");
    assert_string_equal(harness_rows(h, "SELECT id FROM thing ORDER BY id"), "1\n2");
    close_world(&w);
}

static void test_a_lost_session_is_made_again(void **state)
{
    struct harness *h = *state;
    struct world w;
    struct answer a[4];

    harness_exec(h, "CREATE TABLE thing (id int PRIMARY KEY)");
    open_world(&w, harness_dsn(h, NULL), true, 10000);
    send_text(&w, &CUT, NULL, 0, &a[0]);
    send_text(&w, &PUT, "1", 0, &a[1]);
    send_text(&w, &PUT, "2", DB_RETRY, &a[2]);
    RUN_UNTIL(&w, w.answers == 3);
    assert_int_equal(a[0].err, ERR_DISCONNECTED);
    assert_int_equal(a[1].err, ERR_DISCONNECTED);
    assert_int_equal(a[2].err, 0);
    assert_int_equal(w.downs, 1);
    assert_int_equal(w.ups, 2);
    assert_string_equal(harness_rows(h, "SELECT id FROM thing"), "2");
    close_world(&w);
}

static void test_a_statement_that_cannot_be_prepared(void **state)
{
    struct world w;
    struct answer a[3];

    open_world(&w, harness_dsn(*state, NULL), true, 10000);
    send_text(&w, &TYPO, "1", 0, &a[0]);
    send_text(&w, &TYPO, "1", 0, &a[1]);
    send_text(&w, &SAY, "still here", 0, &a[2]);
    RUN_UNTIL(&w, w.answers == 3);
    assert_string_equal(a[0].sqlstate, "42P01");
    assert_string_equal(a[1].sqlstate, "42P01");
    assert_string_equal(a[2].value, "still here");
    assert_int_equal(w.downs, 0);
    close_world(&w);
}

static void test_the_next_host_is_tried(void **state)
{
    struct harness *h = *state;
    struct world w;
    struct answer a;
    const char *host =
        harness_text(h, "SELECT split_part(current_setting('unix_socket_directories'), ',', 1)");
    struct buf dsn = BUF_INIT(2048);

    buf_addf(&dsn, "host=%s,%s port=1,%s user=tocsin dbname=%s target_session_attrs=read-write",
        harness_dir(h), host, harness_text(h, "SELECT current_setting('port')"),
        harness_text(h, "SELECT current_database()"));
    open_world(&w, buf_str(&dsn), true, 10000);
    send_text(&w, &SAY, "second", 0, &a);
    RUN_UNTIL(&w, a.count);
    assert_string_equal(a.value, "second");
    close_world(&w);
    buf_release(&dsn);
}

static void test_patience_has_an_end(void **state)
{
    struct world w;
    struct answer a;

    open_world(&w, "host=/nowhere", true, 300);
    send_text(&w, &SAY, "never", 0, &a);
    RUN_UNTIL(&w, w.gave_up);
    assert_int_equal(a.count, 0);
    assert_int_equal(w.ups, 0);
    close_world(&w);
    assert_int_equal(a.count, 1); /* answered when the connection went */
    assert_int_equal(a.err, ERR_CANCELLED);
    (void)state;
}

struct ticker {
    struct world *world;
    struct loop_timer *timer;
};

/* As a heartbeat does, whoever answers. */
static void on_tick(void *arg)
{
    struct ticker *t = arg;
    struct db_args args;

    db_args_init(&args);
    db_arg_str(&args, "tick");
    db_arg_null(&args);
    assert_int_equal(db_conn_send(t->world->conn, &SAY, &args, 0, NULL, NULL), 0);
    db_args_release(&args);
    loop_timer_start(t->timer, TICK_MS);
}

/* A server that hangs takes what it is sent and never answers: what is sent is no sign of life. */
static void test_a_server_that_hangs_is_left(void **state)
{
    struct harness *h = *state;
    struct world w;
    struct ticker t = {.world = &w};
    struct answer a;

    open_world_with(&w, harness_dsn(h, NULL), true, 60000, 100);
    RUN_UNTIL(&w, w.ups == 1);
    pid_t server = (pid_t)harness_int(h, "SELECT pid FROM pg_stat_activity WHERE application_name ="
                                         " 'test_db_conn' AND datname = current_database()");
    t.timer = loop_timer_new(&w.loop, on_tick, &t);
    assert_int_equal(kill(server, SIGSTOP), 0);
    send_text(&w, &SAY, "unheard", 0, &a);
    loop_timer_start(t.timer, TICK_MS);
    while (!w.downs && !w.late)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(kill(server, SIGCONT), 0);
    assert_int_equal(w.downs, 1);
    assert_int_equal(a.err, ERR_DISCONNECTED);
    RUN_UNTIL(&w, w.ups == 2);
    loop_timer_free(t.timer);
    close_world(&w);
}

static void test_notifications_arrive(void **state)
{
    struct world w;

    open_world(&w, harness_dsn(*state, NULL), true, 10000);
    RUN_UNTIL(&w, w.ups == 1);
    harness_exec(*state, "NOTIFY \"Bell's\", 'ding'");
    RUN_UNTIL(&w, w.notes == 1);
    assert_string_equal(w.payload, "ding");
    close_world(&w);
}

static void test_what_is_forgotten_is_not_answered(void **state)
{
    struct world w;
    struct answer a, b, c;

    harness_exec(*state, "CREATE TABLE thing (id int PRIMARY KEY)");
    open_world(&w, harness_dsn(*state, NULL), true, 10000);
    send_text(&w, &PUT, "1", 0, &a); /* has not left: taken back */
    db_conn_forget(w.conn, &a);
    send_text(&w, &SAY, "x", 0, &b);
    RUN_UNTIL(&w, b.count);
    send_text(&w, &PUT, "2", 0, &c);
    send_text(&w, &SAY, "x", 0, &b);
    RUN_UNTIL(&w, b.count);
    assert_int_equal(a.count, 0);
    assert_int_equal(c.count, 1);
    assert_string_equal(harness_rows(*state, "SELECT id FROM thing"), "2");
    close_world(&w);
}

static void test_a_wrong_number_of_parameters_is_refused(void **state)
{
    struct world w;
    struct buf fault = BUF_INIT(1024);
    struct db_conn *conn = NULL;
    const struct db_conn_options bad = {.dsn = "host='", .application_name = "x"};
    const struct db_conn_events events = {0};

    open_world(&w, harness_dsn(*state, NULL), true, 10000);
    assert_int_equal(db_conn_send(w.conn, &SAY, NULL, 0, NULL, NULL), ERR_INVALID);
    close_world(&w);
    assert_int_equal(db_conn_new(&w.loop, &bad, &events, &fault, &conn), ERR_INVALID);
    assert_non_null(strstr(buf_str(&fault), "quot"));
    assert_null(conn);
    buf_release(&fault);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_answers_come_in_order),
        CASE(test_a_pooler_needs_no_prepared_statements),
        CASE(test_arrays_arrive_as_they_were),
        CASE(test_two_statements_are_one_transaction),
        CASE(test_a_lost_session_is_made_again),
        CASE(test_a_statement_that_cannot_be_prepared),
        CASE(test_the_next_host_is_tried),
        CASE(test_patience_has_an_end),
        CASE(test_a_server_that_hangs_is_left),
        CASE(test_notifications_arrive),
        CASE(test_what_is_forgotten_is_not_answered),
        CASE(test_a_wrong_number_of_parameters_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
