/*
 * deploy/probe as cron runs it: exit code and what it prints.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/harness.h"

#define PROBE_MS 20000

static int probe(struct harness *h, const char *option, const char *dsn, const char **ret_output)
{
    char *env = NULL;
    struct harness_proc *p;
    int code;

    assert_true(asprintf(&env, "TOCSIN_DATABASE_URL=%s", dsn) > 0);
    p = harness_spawn_path(h, "deploy/probe", (const char *const[]){option, NULL},
        (const char *const[]){env, "PATH=/usr/bin:/bin", "HOME=", NULL}); /* as cron has it */
    code = harness_proc_wait(p, PROBE_MS);
    *ret_output = harness_proc_log(p);
    free(env);
    return code;
}

static void test_quiet_when_well(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(probe(h, NULL, harness_dsn(h, "tocsin_probe"), &output), 0);
    assert_string_equal(output, "");
    assert_int_equal(probe(h, "-v", harness_dsn(h, "tocsin_probe"), &output), 0);
    assert_non_null(strstr(output, "ok heartbeat: "));
    assert_null(strstr(output, "FAIL"));
}

static void test_one_line_a_failing_check(void **state)
{
    struct harness *h = *state;
    const char *output;

    harness_exec(h, "INSERT INTO circuit (name, state, opened_at, open_until)"
                    " VALUES ('twilio_sms', 'open', now(), now()), ('slack', 'open', now(), now());"
                    "INSERT INTO job_run (queue, handler, run_at)"
                    " VALUES ('q', 'h', now() - interval '6 minutes')");
    assert_int_equal(probe(h, NULL, harness_dsn(h, "tocsin_probe"), &output), 1);
    assert_int_equal(strncmp(output, "FAIL ", 5), 0);
    assert_non_null(strstr(output, "\nFAIL circuit_open: "));
    assert_non_null(strstr(output, "FAIL run_overdue: "));
    assert_null(strstr(output, "ok "));
    output = strchr(strchr(output, '\n') + 1, '\n');
    assert_string_equal(output, "\n");
}

static void test_silent_daemon_fails(void **state)
{
    struct harness *h = *state;
    const char *output;

    harness_exec(h, "INSERT INTO daemon (executable, host, pid, version)"
                    " VALUES ('scheduler', 'h', 0, '1')");
    assert_int_equal(probe(h, NULL, harness_dsn(h, "tocsin_probe"), &output), 0);
    harness_clock_advance(h, "5 minutes 1 second");
    assert_int_equal(probe(h, NULL, harness_dsn(h, "tocsin_probe"), &output), 1);
    assert_non_null(strstr(output, "FAIL heartbeat: "));
    assert_non_null(strstr(output, "scheduler on h (pid 0)"));
}

static void test_no_database_is_one_line(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(probe(h, NULL, "host=/nonexistent user=tocsin_probe", &output), 1);
    assert_int_equal(strncmp(output, "FAIL database: ", 15), 0);
    assert_string_equal(strchr(output, '\n'), "\n");
}

static void test_address_comes_from_the_configuration(void **state)
{
    struct harness *h = *state;
    char *text = NULL, *env = NULL;
    struct harness_proc *p;

    assert_true(asprintf(&text, "# of the host\nLOG_LEVEL=info\nTOCSIN_DATABASE_URL=\"%s\"\n",
                    harness_dsn(h, "tocsin_probe")) > 0);
    assert_true(asprintf(&env, "TOCSIN_CONFIG=%s", harness_write_file(h, "tocsin.conf", text)) > 0);
    p = harness_spawn_path(
        h, "deploy/probe", NULL, (const char *const[]){env, "TOCSIN_DATABASE_URL=", NULL});
    assert_int_equal(harness_proc_wait(p, PROBE_MS), 0);
    assert_string_equal(harness_proc_log(p), "");
    free(text);
    free(env);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quiet_when_well),
        TEST(test_one_line_a_failing_check),
        TEST(test_silent_daemon_fails),
        TEST(test_no_database_is_one_line),
        TEST(test_address_comes_from_the_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
