/*
 * A scheduler among what it does not own: transactions that somebody left open, statements that run
 * into their time-out, a session that writes dates in its own way. The others' slots fire all the
 * same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define DEADLINE_MS 15000
#define SCHEDULES   40

#define JOBS                                                                                       \
    "{\"jobs\":{\"j\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\"},"                           \
    "\"solo\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"overlap\":\"forbid\"}},"           \
    "\"schedules\":{"
#define FILE_OF(schedules) JOBS schedules "}}"
#define FAST               "\"fast\":{\"every\":\"1s\",\"job\":\"j\"}"

static struct harness_proc *start_with(
    struct harness *h, const char *definitions, const char *first, const char *second)
{
    struct buf file = BUF_INIT(4096);

    buf_addf(&file, "SCHEDULES_FILE=%s", harness_write_file(h, "schedules.json", definitions));
    const char *const env[] = {buf_str(&file), first, second, NULL};
    struct harness_proc *p = harness_spawn(h, "scheduler", NULL, env);
    buf_release(&file);
    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    return p;
}

static struct harness_proc *start(struct harness *h, const char *definitions)
{
    return start_with(h, definitions, NULL, NULL);
}

static void enable(struct harness *h, const char *key)
{
    harness_awaitf(
        h, DEADLINE_MS, "SELECT EXISTS (SELECT FROM job_schedule WHERE key = '%s')", key);
    harness_execf(h, "SELECT schedule_enable('%s')", key);
    harness_awaitf(
        h, DEADLINE_MS, "SELECT next_run_at IS NOT NULL FROM job_schedule WHERE key = '%s'", key);
}

/* Somebody's transaction that stays open. */
static PGconn *leave_open(struct harness *h, const char *sql)
{
    PGconn *conn = harness_connect(h, NULL);
    PGresult *r;

    PQclear(PQexec(conn, "BEGIN"));
    r = PQexec(conn, sql);
    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    PQclear(r);
    return conn;
}

/* Somebody has run a job that forbids overlap, and not ended the transaction: whether there is such
 * a run is not known before that. Only the schedule of that job waits. */
static void test_an_open_transaction_holds_one_schedule_only(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p =
        start(h, FILE_OF(FAST ",\"alone\":{\"every\":\"1s\",\"job\":\"solo\"},"
                              "\"by_hand\":{\"every\":\"1h\",\"job\":\"solo\"}"));

    enable(h, "fast");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 3 FROM job_schedule");
    PGconn *open = leave_open(h, "SELECT schedule_run_now('by_hand')");
    harness_exec(h, "SELECT schedule_enable('alone')");
    harness_exec(h, "CREATE TABLE seen AS SELECT now() AS at");
    harness_await(h, DEADLINE_MS, "SELECT max(slot) > max(at) + interval '3 s' FROM job_run, seen");
    harness_proc_await_log(p, "alone could not be fired and is tried again", DEADLINE_MS);
    assert_int_equal(harness_proc_count_log(p, "could not be fired"), 1);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM job_run WHERE schedule_key = 'alone'"), 0);
    PQclear(PQexec(open, "ROLLBACK"));
    /* Nothing of it is lost: the slot that was held has fired. */
    harness_await(h, DEADLINE_MS,
        "SELECT count(*) = 1 FROM job_run WHERE schedule_key = 'alone' AND trigger = 'schedule'");
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM schedule_slot WHERE schedule_id = schedule_id('fast')"
                       " AND outcome <> 'fired'"),
        0);
}

/* The row of a schedule that the file edits is held: the edit waits, and nothing else. */
static void test_an_open_transaction_holds_an_edit_only(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p =
        start(h, FILE_OF(FAST ",\"edited\":{\"cron\":\"0 4 * * *\",\"job\":\"j\"}"));

    enable(h, "fast");
    enable(h, "edited");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    PGconn *open = leave_open(h, "SELECT schedule_disable('edited')");
    p = start(h, FILE_OF(FAST ",\"edited\":{\"cron\":\"0 5 * * *\",\"job\":\"j\"}"));
    harness_proc_await_log(p, "the definitions are not in force yet", DEADLINE_MS);
    harness_exec(h, "CREATE TABLE seen AS SELECT now() AS at");
    harness_await(h, DEADLINE_MS, "SELECT max(slot) > max(at) + interval '2 s' FROM job_run, seen");
    PQclear(PQexec(open, "ROLLBACK"));
    harness_await(h, DEADLINE_MS,
        "SELECT definition ->> 'cron' = '0 5 * * *' FROM job_schedule WHERE key = 'edited'");
}

/* One that runs every second is due whenever a second has passed; its edit comes in between. */
static void test_what_is_ever_due_is_edited_all_the_same(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF(FAST));

    enable(h, "fast");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    harness_await(h, DEADLINE_MS, "SELECT next_run_at <= now() FROM job_schedule");
    (void)start(h, FILE_OF("\"fast\":{\"every\":\"1s\",\"job\":\"solo\"}"));
    harness_await(h, DEADLINE_MS, "SELECT target = 'solo' FROM job_schedule");
}

/* More at once than the statement's time-out allows: in smaller parts then. */
static void test_a_firing_that_takes_too_long_is_split(void **state)
{
    struct harness *h = *state;
    struct buf file = BUF_INIT(65536);

    buf_add_str(&file, JOBS);
    for (int i = 0; i < SCHEDULES; i++)
        buf_addf(&file, "%s\"s%d\":{\"every\":\"1h\",\"job\":\"j\"}", i ? "," : "", i);
    buf_add_str(&file, "}}");
    (void)start_with(h, buf_str(&file), "TOCSIN_STATEMENT_TIMEOUT=1s", NULL);
    buf_release(&file);
    harness_awaitf(h, DEADLINE_MS, "SELECT count(*) = %d FROM job_schedule", SCHEDULES);
    harness_exec(h,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$"
        " DECLARE over timestamptz = clock_timestamp() + interval '50 ms';"
        " BEGIN WHILE clock_timestamp() < over LOOP END LOOP; RETURN NEW; END $$;"
        "CREATE TRIGGER slow BEFORE INSERT ON job_run FOR EACH ROW EXECUTE FUNCTION slow();"
        "UPDATE job_schedule SET enabled = true");
    harness_await(h, DEADLINE_MS, "SELECT bool_and(next_run_at IS NOT NULL) FROM job_schedule");
    harness_exec(h, "UPDATE test_clock SET shift = shift + date_trunc('hour', now()) + interval "
                    "'1:00:01' - now(); UPDATE daemon SET heartbeat_at = now();"
                    "NOTIFY tocsin_scheduler");
    harness_awaitf(h, DEADLINE_MS, "SELECT count(*) = %d FROM job_run", SCHEDULES);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM schedule_slot WHERE outcome = 'fired'"), SCHEDULES);
}

/* Behind a pooler the session is as the database has it: IST is read as Israel's time, and written
 * for India's. */
static void test_a_session_that_writes_dates_in_its_own_way(void **state)
{
    struct harness *h = *state;

    harness_execf(h,
        "ALTER DATABASE %s SET datestyle = 'SQL, DMY'; ALTER DATABASE %s SET timezone ="
        " 'Asia/Kolkata'",
        harness_text(h, "SELECT quote_ident(current_database())"),
        harness_text(h, "SELECT quote_ident(current_database())"));
    (void)start_with(h, FILE_OF(FAST), "TOCSIN_PREPARE=off", "TOCSIN_NOTIFY=off");
    enable(h, "fast");
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 3 FROM job_run");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_open_transaction_holds_one_schedule_only),
        TEST(test_an_open_transaction_holds_an_edit_only),
        TEST(test_what_is_ever_due_is_edited_all_the_same),
        TEST(test_a_firing_that_takes_too_long_is_split),
        TEST(test_a_session_that_writes_dates_in_its_own_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
