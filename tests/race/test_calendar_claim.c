/*
 * Several processes, the same calendars: each is synced once a tick, by one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/calendar_world.h"

#define CALENDARS 60
#define TICKS     12
#define SOON_MS   30000

static void add_calendars(struct calendar_world *w)
{
    char path[64];

    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    const char *text = calendar_text_end(w);
    for (int id = 1; id <= CALENDARS; id++) {
        (void)snprintf(path, sizeof path, "/%d.ics", id);
        calendar_world_serve(w, path, text);
        calendar_world_add_user(w, id);
        calendar_world_add_ics(w, id, path);
    }
}

static void race(struct calendar_world *w, int processes)
{
    char path[64];
    struct harness_proc *procs[8];

    add_calendars(w);
    for (int i = 0; i < processes; i++)
        procs[i] = calendar_world_spawn(w, (const char *const[]){"CALENDAR_IN_FLIGHT=7", NULL});
    for (int i = 0; i < processes; i++)
        harness_proc_await_log(procs[i], "is ready", SOON_MS);
    harness_execf(w->h,
        "SELECT job_run_enqueue('worker-calendar', 'calendar_sync') FROM generate_series(1, %d)",
        TICKS);
    harness_awaitf(w->h, CALENDAR_WORLD_PATIENCE_MS,
        "SELECT count(*) = %d FROM job_run_done WHERE outcome = 'succeeded'", TICKS);
    for (int id = 1; id <= CALENDARS; id++) {
        (void)snprintf(path, sizeof path, "/%d.ics", id);
        assert_int_equal(calendar_world_requests(w, path), 1);
    }
    int done = 0;
    for (int i = 0; i < processes; i++)
        done += harness_proc_count_log(procs[i], "Calendar sync completed for user ");
    assert_int_equal(done, CALENDARS);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM incident"), CALENDARS);
    assert_true(harness_bool(w->h, "SELECT bool_and(locked_at IS NULL AND failures = 0 AND rescues "
                                   "= 0) FROM calendar_credentials"));
    /* Other people's rungs too: each incident once for each of its rungs and people. */
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM (SELECT FROM notification GROUP BY"
                          " incident_id, rung_id, user_id HAVING count(*) > 1) AS twice"),
        0);
}

static void test_two_processes(void **state)
{
    race(*state, 2);
}

static void test_eight_processes(void **state)
{
    race(*state, 8);
}

/* meeting_plan() beside calendar_apply(): the plan never makes an incident for the time that the
 * other is about to leave. */
static void test_plan_beside_apply(void **state)
{
    struct calendar_world *w = *state;
    PGconn *mover = harness_connect(w->h, NULL);

    calendar_world_add_user(w, 1);
    harness_exec(w->h,
        "INSERT INTO calendar_credentials (id, user_id, provider, source) VALUES (1, 1, 'ics', "
        "'file:/x');"
        "INSERT INTO calendar_event (credential_id, user_id, uid, title, starts_at, ends_at)"
        " VALUES (1, 1, 'm', 'm', now() + interval '1 hour', now() + interval '2 hours')");
    PQclear(
        PQexec(mover, "BEGIN; UPDATE calendar_event SET starts_at = starts_at + interval '1 hour',"
                      " planned = false"));
    assert_int_equal(harness_int(w->h, "SELECT opened FROM meeting_plan(interval '24 h')"), 0);
    PQclear(PQexec(mover, "COMMIT"));
    assert_int_equal(harness_int(w->h, "SELECT opened FROM meeting_plan(interval '24 h')"), 1);
    assert_true(harness_bool(w->h, "SELECT bool_and(i.starts_at = e.starts_at) FROM incident AS i"
                                   " JOIN calendar_event AS e ON e.id = i.event_id"));
    harness_disconnect(w->h, mover);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, calendar_world_setup, calendar_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_processes),
        TEST(test_eight_processes),
        TEST(test_plan_beside_apply),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
