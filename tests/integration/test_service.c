/*
 * The course of a process, whatever its work: configuration, daemon row, signals, readiness.
 * worker-cleanup stands for all of them; what happens without a database is in test_outage.c.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "sql/schema.h"
#include "tests/support/harness.h"

#define EXE     "worker-cleanup"
#define READY   "worker-cleanup is ready"
#define SOON_MS 20000

static int run_with(struct harness *h, const char *option, const char *env, const char **ret_output)
{
    return harness_run(
        h, EXE, (const char *const[]){option, NULL}, (const char *const[]){env, NULL}, ret_output);
}

static void assert_says(const char *output, const char *text)
{
    if (!strstr(output, text))
        fail_msg("expected \"%s\" in:\n%s", text, output);
}

static struct harness_proc *spawn_ready(struct harness *h, const char *const *env)
{
    struct harness_proc *p = harness_spawn(h, EXE, NULL, env);

    harness_proc_await_log(p, READY, SOON_MS);
    return p;
}

/* --- the command line and the configuration -------------------------------------------------- */

static void test_help_version_and_manual(void **state)
{
    struct harness *h = *state;
    const char *output;

    assert_int_equal(run_with(h, "--help", NULL, &output), 0);
    assert_says(output, "CLEANUP_BATCH");
    assert_says(output, "TOCSIN_DATABASE_URL");
    assert_int_equal(run_with(h, "--version", NULL, &output), 0);
    assert_int_equal(strncmp(output, EXE " ", sizeof EXE), 0);
    assert_int_equal(run_with(h, "--manual", NULL, &output), 0);
    assert_int_equal(strncmp(output, ".TH worker-cleanup 8", 20), 0);
}

static void test_every_fault_at_once(void **state)
{
    struct harness *h = *state;
    const char *output;
    int code = harness_run(h, EXE, (const char *const[]){"--check-config", NULL},
        (const char *const[]){
            "CLEANUP_BATCH=5000", "CLEANUP_RUN_AGE=soon", "FEATURE_ALERTS_ENABLED=perhaps", NULL},
        &output);

    assert_int_equal(code, 78);
    assert_says(output, "CLEANUP_BATCH");
    assert_says(output, "CLEANUP_RUN_AGE");
    assert_says(output, "FEATURE_ALERTS_ENABLED");
    assert_int_equal(run_with(h, "--check-config", NULL, &output), 0);
    assert_int_equal(run_with(h, "--no-such-option", NULL, &output), 78);
}

static void test_secrets_are_not_shown(void **state)
{
    struct harness *h = *state;
    const char *output;
    const char *key = "TOCSIN_SEAL_KEYS=k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    assert_int_equal(run_with(h, "--show-config", key, &output), 0);
    assert_says(output, "TOCSIN_SEAL_KEYS");
    assert_null(strstr(output, "AAAAAAAA"));
    assert_null(strstr(output, harness_dsn(h, "tocsin_worker_cleanup")));
}

static void test_environment_wins_over_the_file(void **state)
{
    struct harness *h = *state;
    const char *output;
    const char *file =
        harness_write_file(h, "tocsin.conf", "CLEANUP_BATCH=10\nCLEANUP_PARTITION_DAYS=9\n");

    assert_int_equal(
        harness_run(h, EXE, (const char *const[]){"--config", file, "--show-config", NULL},
            (const char *const[]){"CLEANUP_BATCH=20", NULL}, &output),
        0);
    assert_says(output, "CLEANUP_BATCH=20");
    assert_says(output, "CLEANUP_PARTITION_DAYS=9");
}

/* The names of --show-config, set or not, as KEY= lines, each once. */
static void add_keys(struct buf *all, const char *shown)
{
    for (const char *line = shown; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *key = line + (strncmp(line, "# ", 2) == 0 ? 2 : 0);
        size_t len = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        char *entry = NULL;

        if (len == 0 || key[len] != '=')
            continue;
        assert_true(asprintf(&entry, "\n%.*s=\n", (int)len, key) > 0);
        if (!strstr(buf_str(all), entry))
            buf_add_str(all, entry);
        free(entry);
    }
}

/* One file configures every executable: each knows the keys of the others, and no other key. */
static void test_one_file_for_all(void **state)
{
    static const char *const executables[] = {
        "scheduler", "worker-calendar", "worker-escalation", "worker-cleanup", "gateway"};
    const size_t n = sizeof executables / sizeof *executables;
    struct harness *h = *state;
    struct buf all = BUF_INIT(1 << 20);
    const char *file, *output;
    char *schedules = NULL;

    assert_true(
        asprintf(&schedules, "SCHEDULES_FILE=%s/deploy/schedules.json", harness_root(h)) > 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(
            harness_run(h, executables[i], (const char *const[]){"--show-config", NULL},
                (const char *const[]){schedules, NULL}, &output),
            0);
        add_keys(&all, output);
    }
    assert_int_equal(buf_err(&all), 0);
    file = harness_write_file(h, "all.conf", buf_str(&all));
    for (size_t i = 0; i < n; i++) {
        (void)harness_run(h, executables[i],
            (const char *const[]){"--config", file, "--check-config", NULL}, NULL, &output);
        if (strstr(output, "unknown"))
            fail_msg("%s:\n%s", executables[i], output);
    }
    buf_add_str(&all, "CLEANUP_BATHC=1\n");
    file = harness_write_file(h, "slip.conf", buf_str(&all));
    assert_int_equal(
        harness_run(
            h, EXE, (const char *const[]){"--config", file, "--check-config", NULL}, NULL, &output),
        78);
    assert_says(output, "CLEANUP_BATHC");
    buf_release(&all);
    free(schedules);
}

/* --- the life of a process ------------------------------------------------------------------- */

static void test_one_row_a_start_and_a_clean_stop(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p =
        spawn_ready(h, (const char *const[]){"FEATURE_CALENDAR_ENABLED=false", NULL});

    assert_true(harness_proc_logged(p, "feature flags: scheduler=true calendar=false alerts=true"));
    assert_int_equal(harness_int(h, "SELECT pid FROM daemon"), harness_proc_pid(p));
    assert_string_equal(
        harness_rows(h, "SELECT executable, (flags ->> 'calendar'), (flags ->> 'alerts'),"
                        " stopped_at IS NULL FROM daemon"),
        EXE "|false|true|t");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_true(harness_bool(h, "SELECT stopped_at IS NOT NULL FROM daemon"));
    assert_true(harness_bool(h, "SELECT daemon_is_dead(id) FROM daemon"));
}

static void test_interrupt_drains_like_terminate(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = spawn_ready(h, NULL);

    harness_proc_signal(p, SIGINT);
    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    assert_true(harness_bool(h, "SELECT stopped_at IS NOT NULL FROM daemon"));
}

/* Work in hand that cannot end: the first signal waits for it, the second does not. */
static void test_second_signal_ends_at_once(void **state)
{
    struct harness *h = *state;
    PGconn *blocker = harness_connect(h, NULL);
    struct harness_proc *p = spawn_ready(h, NULL);

    PQclear(PQexec(blocker, "BEGIN; LOCK TABLE processed_webhook_events IN ACCESS EXCLUSIVE MODE"));
    harness_exec(h, "SELECT job_run_enqueue('" EXE "', 'cleanup')");
    harness_await(h, SOON_MS,
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
        " AND relation = 'processed_webhook_events'::regclass");
    harness_proc_signal(p, SIGTERM);
    harness_proc_await_log(p, "draining", SOON_MS);
    assert_true(harness_proc_alive(p));
    harness_proc_signal(p, SIGTERM);
    assert_int_equal(harness_proc_wait(p, SOON_MS), 128 + SIGTERM);
    PQclear(PQexec(blocker, "ROLLBACK"));
}

/* What does not end within the drain's deadline goes back, its attempt not counted. */
static void test_drain_gives_back_what_it_holds(void **state)
{
    struct harness *h = *state;
    PGconn *blocker = harness_connect(h, NULL);
    struct harness_proc *p =
        spawn_ready(h, (const char *const[]){"TOCSIN_DRAIN_TIMEOUT=100ms", NULL});

    PQclear(PQexec(blocker, "BEGIN; LOCK TABLE processed_webhook_events IN ACCESS EXCLUSIVE MODE"));
    harness_exec(h, "SELECT job_run_enqueue('" EXE "', 'cleanup')");
    harness_await(h, SOON_MS,
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
        " AND relation = 'processed_webhook_events'::regclass");
    harness_proc_signal(p, SIGTERM);
    harness_proc_await_log(p, "cancelled", SOON_MS);
    PQclear(PQexec(blocker, "ROLLBACK"));
    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    assert_string_equal(harness_rows(h, "SELECT attempt, locked_by IS NULL FROM job_run"), "0|t");
}

static void test_superseded_claims_no_more(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = spawn_ready(h, NULL);

    harness_exec(h, "UPDATE daemon SET superseded = true");
    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    assert_true(harness_proc_logged(p, "superseded"));
}

/* As after a restore of the database: whoever watches over the process starts it anew. */
static void test_forgotten_ends_to_be_started_again(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = spawn_ready(h, NULL);

    harness_exec(h, "DELETE FROM daemon");
    assert_int_equal(harness_proc_wait(p, SOON_MS), 75);
    assert_true(harness_proc_logged(p, "the row of this process is gone"));
}

static void test_unknown_schema_is_refused(void **state)
{
    static const char *const workers[] = {"worker-calendar", "worker-escalation", EXE};
    struct harness *h = *state;
    const char *output;

    harness_execf(h, "INSERT INTO schema_migration (version, name, checksum) VALUES (%d, 'n', 'x')",
        SCHEMA_VERSION + 1);
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        assert_int_equal(harness_run(h, workers[i], NULL, NULL, &output), 78);
        assert_says(output, "install the newer executables");
    }
    harness_execf(h, "DELETE FROM schema_migration WHERE version >= %d", SCHEMA_VERSION);
    assert_int_equal(run_with(h, NULL, NULL, &output), 78);
    assert_says(output, "run tocsin-migrate");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon"), 0);
}

/* --- what systemd hears ---------------------------------------------------------------------- */

struct listener {
    int fd;
    char heard[1024];
    size_t len;
    const char *wanted;
};

static bool has_heard(void *arg)
{
    struct listener *l = arg;
    ssize_t n = recv(l->fd, l->heard + l->len, sizeof l->heard - l->len - 2, MSG_DONTWAIT);

    if (n > 0) {
        l->len += (size_t)n;
        l->heard[l->len++] = '\n';
        l->heard[l->len] = '\0';
    }
    return strstr(l->heard, l->wanted) != NULL;
}

static void await_notice(struct harness *h, struct listener *l, const char *wanted)
{
    l->wanted = wanted;
    harness_await_that(h, SOON_MS, has_heard, l, wanted);
}

/* Listens; the setting that names the socket, which the caller frees. */
static char *listen_for_notices(struct harness *h, struct listener *l)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char *env = NULL;

    *l = (struct listener){.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    assert_true(snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", harness_dir(h)) <
                (int)sizeof at.sun_path);
    assert_int_equal(bind(l->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_true(asprintf(&env, "NOTIFY_SOCKET=%s", at.sun_path) > 0);
    return env;
}

/* Else the unit would count as failed. */
static void test_systemd_is_told_of_nothing_to_do(void **state)
{
    struct harness *h = *state;
    struct listener l;
    char *env = listen_for_notices(h, &l);
    struct harness_proc *p = harness_spawn(h, "worker-calendar", NULL,
        (const char *const[]){env, "FEATURE_CALENDAR_ENABLED=false", NULL});

    await_notice(h, &l, "READY=1");
    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    (void)close(l.fd);
    free(env);
}

static void test_systemd_is_told(void **state)
{
    struct harness *h = *state;
    struct listener l;
    char *env = listen_for_notices(h, &l);
    struct harness_proc *p;

    p = harness_spawn(h, EXE, NULL, (const char *const[]){env, "WATCHDOG_USEC=200000", NULL});
    await_notice(h, &l, "READY=1");
    assert_true(harness_proc_logged(p, READY));
    await_notice(h, &l, "WATCHDOG=1");
    harness_proc_signal(p, SIGTERM);
    await_notice(h, &l, "STOPPING=1");
    assert_int_equal(harness_proc_wait(p, SOON_MS), 0);
    (void)close(l.fd);
    free(env);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_help_version_and_manual),
        TEST(test_every_fault_at_once),
        TEST(test_secrets_are_not_shown),
        TEST(test_environment_wins_over_the_file),
        TEST(test_one_file_for_all),
        TEST(test_one_row_a_start_and_a_clean_stop),
        TEST(test_interrupt_drains_like_terminate),
        TEST(test_second_signal_ends_at_once),
        TEST(test_drain_gives_back_what_it_holds),
        TEST(test_superseded_claims_no_more),
        TEST(test_forgotten_ends_to_be_started_again),
        TEST(test_unknown_schema_is_refused),
        TEST(test_systemd_is_told),
        TEST(test_systemd_is_told_of_nothing_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
