/*
 * Hints of a queue: at most one in 100 ms, nobody waits for another's, off by one setting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define SOON_MS 10000

static PGconn *listener(struct harness *h)
{
    PGconn *c = harness_connect(h, NULL);

    PQclear(PQexec(c, "LISTEN \"tocsin_bench\""));
    return c;
}

/* Whether `c` was notified; the answer to a statement comes after what was sent before it. */
static bool was_notified(PGconn *c)
{
    PGnotify *n;
    bool was = false;

    PQclear(PQexec(c, "SELECT 1"));
    while ((n = PQnotifies(c)) != NULL) {
        was = true;
        PQfreemem(n);
    }
    return was;
}

static bool hint(PGconn *c)
{
    PGresult *r = PQexec(c, "SELECT job_run_hint('bench')");

    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    bool hinted = *PQgetvalue(r, 0, 0) == 't';
    PQclear(r);
    return hinted;
}

static void test_a_second_hint_within_100_ms_is_held_back(void **state)
{
    struct harness *h = *state;
    PGconn *c = listener(h);

    assert_true(hint(c));
    assert_true(was_notified(c));
    /* Both calls of one statement, again and again: a loaded machine may part them by more. */
    harness_await(h, SOON_MS,
        "SELECT bool_or(job_run_hint('bench')) AND NOT bool_and(job_run_hint('bench'))"
        " FROM generate_series(1, 20)");
    harness_await(h, SOON_MS, "SELECT job_run_hint('bench')");
    assert_true(was_notified(c));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM queue_hint"), 1);
}

static void test_nobody_waits_for_a_hint_that_is_not_committed(void **state)
{
    struct harness *h = *state;
    PGconn *first = harness_connect(h, NULL), *second = listener(h);

    harness_exec(h, "INSERT INTO queue_hint VALUES ('bench', now() - interval '1 hour')");
    PQclear(PQexec(first, "BEGIN"));
    assert_true(hint(first));
    PQclear(PQexec(second, "SET lock_timeout = '1ms'"));
    assert_true(hint(second));
    assert_true(was_notified(second));
    PQclear(PQexec(first, "COMMIT"));
}

/* A hint that was rolled back was none, for its session as for the others. */
static void test_a_hint_that_was_rolled_back_is_made_up_for(void **state)
{
    struct harness *h = *state;
    PGconn *c = listener(h);

    assert_true(hint(c));
    assert_true(was_notified(c));
    harness_exec(h, "UPDATE queue_hint SET hinted_at = hinted_at - interval '1 hour'");
    PQclear(PQexec(c, "SET tocsin.hinted = ''"));
    PQclear(PQexec(c, "BEGIN"));
    assert_true(hint(c));
    PQclear(PQexec(c, "ROLLBACK"));
    assert_false(was_notified(c));
    assert_true(hint(c));
    assert_true(was_notified(c));
}

/* What the session remembers is believed for 100 ms, of its queue alone, and not of the future. */
static void test_a_session_remembers(void **state)
{
    struct harness *h = *state;
    PGconn *c = listener(h);

    /* The table is empty: only the session can know. In one statement, tried until it took less
     * than 100 ms. */
    harness_await(h, SOON_MS,
        "SELECT NOT hinted FROM (SELECT set_config('tocsin.hinted', 'bench@' ||"
        " extract(epoch FROM clock_timestamp()), false) AS s OFFSET 0) AS x,"
        " LATERAL (SELECT job_run_hint(CASE WHEN x.s <> '' THEN 'bench' END) AS hinted) AS y");
    harness_exec(h, "DELETE FROM queue_hint");
    PQclear(PQexec(c, "SELECT set_config('tocsin.hinted', 'other@' ||"
                      " extract(epoch FROM clock_timestamp()), false)"));
    assert_true(hint(c));
    assert_true(was_notified(c));
    harness_exec(h, "DELETE FROM queue_hint");
    PQclear(PQexec(c, "SELECT set_config('tocsin.hinted', 'bench@' ||"
                      " extract(epoch FROM clock_timestamp() + interval '1 hour'), false)"));
    assert_true(hint(c));
    assert_true(was_notified(c));
}

static void test_off_by_a_setting_of_the_database(void **state)
{
    struct harness *h = *state;
    PGconn *c = listener(h);

    PQclear(PQexec(c, "SET tocsin.notify = 'off'"));
    assert_false(hint(c));
    assert_false(was_notified(c));
    PQclear(PQexec(c, "SET tocsin.notify = 'on'"));
    assert_true(hint(c));
    assert_true(was_notified(c));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_second_hint_within_100_ms_is_held_back),
        TEST(test_nobody_waits_for_a_hint_that_is_not_committed),
        TEST(test_a_hint_that_was_rolled_back_is_made_up_for),
        TEST(test_a_session_remembers),
        TEST(test_off_by_a_setting_of_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
