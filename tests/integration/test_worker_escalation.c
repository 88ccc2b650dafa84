/*
 * worker-escalation as its own role: what is delivered, when, through what, and how often.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define SOON_MS 20000

/* An owner and a second, both on the console, and a meeting of the owner. */
static void add_meeting(struct harness *h, const char *starts_in)
{
    harness_execf(h,
        "INSERT INTO users (id, name) VALUES (1, 'owner'), (2, 'second');"
        "INSERT INTO contact_method (user_id, channel, modes, address)"
        " SELECT id, 'console', '{message,call}', name FROM users;"
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " VALUES ('meeting', 1, 1, now() + interval '%s', 'Stand-up', 1);"
        "SELECT incident_plan('{1}')",
        starts_in);
}

static struct harness_proc *start_worker(struct harness *h)
{
    static const char *const env[] = {"FEATURE_ALERTS_ENABLED=true", "FEATURE_CHECKIN_ENABLED=true",
        "FEATURE_ESCALATION_ENABLED=true", NULL};

    return harness_spawn(h, "worker-escalation", NULL, env);
}

static void advance(struct harness *h, const char *interval)
{
    harness_clock_advance(h, interval);
    harness_exec(h, "SELECT pg_notify('tocsin_worker-escalation', '')");
}

static void test_the_whole_ladder(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p;

    add_meeting(h, "12 minutes 30 seconds");
    p = start_worker(h);
    harness_proc_await_log(p, "ready", SOON_MS);
    assert_false(harness_proc_logged(p, "MESSAGE"));
    advance(h, "30 seconds");
    harness_proc_await_log(p, "MESSAGE  owner    \"Stand-up\" starts in 12 min", SOON_MS);
    harness_proc_await_log(p, "Alert message to owner accepted (console)", SOON_MS);
    advance(h, "10 minutes");
    harness_proc_await_log(p, "CALL     owner    \"Stand-up\" starts in 2 min", SOON_MS);
    advance(h, "2 minutes");
    harness_proc_await_log(p, "\"Stand-up\" starts now", SOON_MS);
    advance(h, "2 minutes");
    harness_proc_await_log(
        p, "MESSAGE  second   owner has not answered: \"Stand-up\" started 2 min ago", SOON_MS);
    harness_await(h, SOON_MS, "SELECT climbed_position = 4 FROM incident");
    advance(h, "3 minutes");
    harness_proc_await_log(p, "CALL     second   owner has not answered", SOON_MS);
    harness_await(h, SOON_MS, "SELECT count(*) = 0 FROM notification WHERE pending");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM attempt WHERE outcome = 'accepted'"), 5);
    assert_int_equal(harness_proc_count_log(p, "MESSAGE  "), 3);
    assert_int_equal(harness_proc_count_log(p, "CALL  "), 2);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_whole_ladder, harness_setup, harness_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
