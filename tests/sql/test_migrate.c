/*
 * tocsin-migrate against a database of its own: what it applies, what it refuses.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sql/schema.h"
#include "tests/support/harness.h"

static int run_migrate(struct harness *h, const char *option, const char **ret_output)
{
    return harness_run(h, "tocsin-migrate", (const char *const[]){option, NULL}, NULL, ret_output);
}

static void assert_says(const char *output, const char *text)
{
    if (!strstr(output, text))
        fail_msg("expected \"%s\" in:\n%s", text, output);
}

static void test_second_run_does_nothing(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(harness_int(h, "SELECT count(*) FROM schema_migration"), SCHEMA_VERSION);
    assert_int_equal(run_migrate(h, NULL, &output), 0);
    assert_says(output, "nothing to do");
}

static void test_status_lists_every_file(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(run_migrate(h, "--status", &output), 0);
    for (const struct schema_file *file = schema_files; file->name; file++)
        assert_says(output, file->name);
    assert_null(strstr(output, "pending"));
}

static void test_edited_migration_is_refused(void **state)
{
    struct harness *h = *state;
    const char *output;

    harness_exec(h, "UPDATE schema_migration SET checksum = 'other' WHERE version = 1");
    assert_int_equal(run_migrate(h, NULL, &output), 78);
    assert_says(output, "was edited after it landed");
}

static void test_newer_database_is_refused(void **state)
{
    struct harness *h = *state;
    const char *output;

    harness_execf(h,
        "INSERT INTO schema_migration (version, name, checksum) VALUES (%d, 'new', 'x')",
        SCHEMA_VERSION + 1);
    assert_int_equal(run_migrate(h, NULL, &output), 78);
    assert_says(output, "newer release");
}

static void test_changed_runbook_is_applied_again(void **state)
{
    struct harness *h = *state;
    const char *output;

    if (harness_int(h, "SELECT count(*) FROM schema_runbook") == 0)
        fail_msg("no runbook file was applied");
    harness_exec(h, "UPDATE schema_runbook SET checksum = 'other'");
    assert_int_equal(run_migrate(h, "--dry-run", &output), 0);
    assert_says(output, "would apply sql/runbook/");
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM schema_runbook WHERE checksum <> 'other'"), 0);
    assert_int_equal(run_migrate(h, NULL, &output), 0);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM schema_runbook WHERE checksum = 'other'"), 0);
}

/* A migration that fails leaves nothing of itself, and says which file it was. */
static void test_failed_migration_leaves_nothing(void **state)
{
    struct harness *h = *state;
    const char *output;

    harness_execf(h, "DELETE FROM schema_migration WHERE version = %d", SCHEMA_VERSION);
    assert_int_equal(run_migrate(h, NULL, &output), 1);
    assert_says(output, "sql/migrations/");
    assert_says(output, "already exists");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM schema_migration"), SCHEMA_VERSION - 1);
}

static void test_no_database_is_temporary(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(harness_run(h, "tocsin-migrate",
                         (const char *const[]){"--dsn", "host=/nonexistent", NULL}, NULL, &output),
        75);
    assert_says(output, "/nonexistent");
}

/* Two at once: one waits for the other, and finds the work done. */
static void test_two_at_once(void **state)
{
    struct harness *h = *state;
    struct harness_proc *one, *two;

    harness_exec(h, "DELETE FROM schema_runbook");
    harness_exec(h, "SELECT pg_advisory_lock(1953456995)");
    one = harness_spawn(h, "tocsin-migrate", NULL, NULL);
    two = harness_spawn(h, "tocsin-migrate", NULL, NULL);
    harness_await(h, 20000,
        "SELECT count(*) = 2 FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted");
    harness_exec(h, "SELECT pg_advisory_unlock(1953456995)");
    assert_int_equal(harness_proc_wait(one, 20000), 0);
    assert_int_equal(harness_proc_wait(two, 20000), 0);
    assert_int_equal(
        harness_proc_logged(one, "nothing to do") + harness_proc_logged(two, "nothing to do"), 1);
}

/* The clock that a test moves decides what an unqualified now() says, in defaults too. */
static void test_clock_moves(void **state)
{
    struct harness *h = *state;

    harness_exec(
        h, "INSERT INTO daemon (executable, host, pid, version) VALUES ('x', 'h', 0, '1')");
    harness_clock_advance(h, "6 minutes");
    assert_true(harness_bool(h, "SELECT now() > pg_catalog.now() + interval '5 minutes'"));
    assert_true(harness_bool(h, "SELECT daemon_is_dead(id) FROM daemon"));
    harness_exec(h, "INSERT INTO org (key, name) VALUES ('later', 'Later')");
    assert_true(harness_bool(h, "SELECT created_at > pg_catalog.now() + interval '5 minutes' FROM "
                                "org WHERE key = 'later'"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_run_does_nothing),
        TEST(test_status_lists_every_file),
        TEST(test_edited_migration_is_refused),
        TEST(test_newer_database_is_refused),
        TEST(test_changed_runbook_is_applied_again),
        TEST(test_failed_migration_leaves_nothing),
        TEST(test_no_database_is_temporary),
        TEST(test_two_at_once),
        TEST(test_clock_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
