/*
 * The scheduler as a process: it fires in time, repairs, catches up, takes over from
 * the dead, follows its file; and what it tells a person on the command line.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "tests/support/harness.h"

#define DEADLINE_MS 15000

#define JOBS               "{\"jobs\":{\"j\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\"}},\n\"schedules\":{"
#define HOURLY             "\"hourly\":{\"cron\":\"0 * * * *\",\"job\":\"j\"}"
#define FILE_OF(schedules) JOBS schedules "}}"

/* Starts a scheduler with a file of definitions. */
static struct harness_proc *start(struct harness *h, const char *definitions)
{
    struct buf file = BUF_INIT(4096);

    buf_addf(&file, "SCHEDULES_FILE=%s", harness_write_file(h, "schedules.json", definitions));
    const char *const env[] = {buf_str(&file), NULL};
    struct harness_proc *p = harness_spawn(h, "scheduler", NULL, env);
    buf_release(&file);
    harness_proc_await_log(p, "is ready", DEADLINE_MS);
    return p;
}

/* Moves the clock and tells the schedulers, as time itself would. */
static void pass(struct harness *h, const char *interval)
{
    harness_clock_advance(h, interval);
    harness_exec(h, "NOTIFY tocsin_scheduler");
}

static void enable(struct harness *h, const char *key)
{
    harness_awaitf(
        h, DEADLINE_MS, "SELECT EXISTS (SELECT FROM job_schedule WHERE key = '%s')", key);
    harness_execf(h, "SELECT schedule_enable('%s')", key);
    harness_awaitf(
        h, DEADLINE_MS, "SELECT next_run_at IS NOT NULL FROM job_schedule WHERE key = '%s'", key);
}

static void test_a_slot_fires_by_the_timer(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF("\"fast\":{\"every\":\"1s\",\"job\":\"j\"}," HOURLY));

    harness_await(h, DEADLINE_MS, "SELECT count(*) = 2 FROM job_schedule WHERE NOT enabled");
    enable(h, "fast");
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 3 FROM job_run");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run WHERE created_at < slot"), 0);
    assert_true(harness_bool(h, "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY created_at - "
                                "slot) < '0.5 s' FROM job_run"));
    harness_proc_await_log(p, "Fired fast for 20", DEADLINE_MS);
    assert_int_equal(
        harness_int(
            h, "SELECT count(*) FROM job_schedule WHERE key = 'hourly' AND next_run_at IS NULL"),
        1);
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM job_schedule WHERE locked_by IS NOT NULL"), 0);
}

struct listener {
    PGconn *conn;
    int heard;
};

static bool heard_twice(void *arg)
{
    struct listener *l = arg;
    PGnotify *n;

    assert_true(PQconsumeInput(l->conn));
    while ((n = PQnotifies(l->conn)) != NULL) {
        l->heard++;
        PQfreemem(n);
    }
    return l->heard >= 2;
}

/* The workers of a queue are woken at most every 100 ms: the second time is made up for. */
static void test_two_firings_in_quick_succession_wake_the_workers_twice(void **state)
{
    struct harness *h = *state;
    struct listener l = {.conn = harness_connect(h, NULL)};

    (void)start(h, FILE_OF("\"first\":{\"every\":\"60s\",\"job\":\"j\"},"
                           "\"second\":{\"every\":\"60s\",\"job\":\"j\"}"));
    enable(h, "first");
    enable(h, "second");
    PQclear(PQexec(l.conn, "LISTEN \"tocsin_worker-cleanup\""));
    for (int i = 1; i <= 5; i++) {
        l.heard = 0;
        harness_clock_advance(h, "60 s");
        harness_exec(h, "UPDATE job_schedule SET next_run_at = now() + interval '40 ms'"
                        " WHERE key = 'second' AND locked_by IS NULL;"
                        "NOTIFY tocsin_scheduler");
        harness_awaitf(h, DEADLINE_MS, "SELECT count(*) >= %d FROM job_run", 2 * i);
        harness_await_that(h, DEADLINE_MS, heard_twice, &l, "two notifications");
    }
}

static void test_a_missing_next_run_is_repaired_with_a_warning(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF(HOURLY));

    enable(h, "hourly");
    assert_int_equal(harness_proc_count_log(p, "repaired"), 0);
    harness_exec(h, "UPDATE job_schedule SET next_run_at = NULL; NOTIFY tocsin_scheduler");
    harness_await(h, DEADLINE_MS, "SELECT next_run_at > now() FROM job_schedule");
    harness_proc_await_log(p, "hourly is enabled but had no next run: repaired", DEADLINE_MS);
    assert_int_equal(harness_proc_count_log(p, "repaired"), 1);
}

static void test_late_slots_are_skipped_counted_and_told(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p =
        start(h, FILE_OF(HOURLY ",\"once\":{\"cron\":\"30 * * * *\",\"job\":\"j\","
                                "\"catch_up\":\"run_once\"}"));

    enable(h, "hourly");
    enable(h, "once");
    harness_proc_signal(p, SIGSTOP);
    /* To half a minute before the next half hour, a day on: 24 slots of each are late. */
    harness_exec(h, "UPDATE test_clock SET shift = shift + date_trunc('hour', now()) + interval "
                    "'25:29:30' - now()");
    harness_proc_kill(p);
    p = start(h, FILE_OF(HOURLY ",\"once\":{\"cron\":\"30 * * * *\",\"job\":\"j\","
                                "\"catch_up\":\"run_once\"}"));
    harness_await(h, DEADLINE_MS, "SELECT bool_and(next_run_at > now()) FROM job_schedule");
    assert_string_equal(
        harness_rows(h, "SELECT s.key, l.outcome, l.reason, l.slots = 25, s.skipped_runs = l.slots,"
                        " l.last_slot = date_trunc('hour', now()), s.accounted_until = l.last_slot"
                        " FROM schedule_slot l JOIN job_schedule s ON s.id = l.schedule_id WHERE "
                        "s.key = 'hourly'"),
        "hourly|skipped|late|t|t|t|t");
    assert_string_equal(
        harness_rows(h,
            "SELECT l.outcome, l.slots BETWEEN 23 AND 24, l.last_slot = date_trunc('hour', now())"
            " - CASE l.outcome WHEN 'fired' THEN interval '30 min' ELSE interval '90 min' END"
            " FROM schedule_slot l JOIN job_schedule s ON s.id = l.schedule_id"
            " WHERE s.key = 'once' AND l.outcome = 'skipped'"),
        "skipped|t|t");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run WHERE schedule_key = 'once'"), 1);
    assert_int_equal(
        harness_int(h, "SELECT count(*) FROM job_run WHERE schedule_key = 'hourly'"), 0);
    harness_proc_await_log(p, "Skipped 25 slots of hourly", DEADLINE_MS);
}

static void test_a_claim_of_the_dead_is_taken_over(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF(HOURLY));

    enable(h, "hourly");
    /* The owner died between claim and fire: its row is there, its heartbeat goes on. */
    harness_exec(h,
        "INSERT INTO daemon (executable, host, pid, version) VALUES ('scheduler', 'h', 0, '1');"
        "UPDATE job_schedule SET locked_at = now(), fence = nextval('fence_seq'),"
        " locked_by = (SELECT max(id) FROM daemon);"
        "UPDATE test_clock SET shift = shift + date_trunc('hour', now()) + interval '1:00:05' - "
        "now();"
        "UPDATE job_schedule SET locked_at = now(); UPDATE daemon SET heartbeat_at = now();"
        "NOTIFY tocsin_scheduler");
    harness_proc_await_log(p, "from=zones to=claim", DEADLINE_MS);
    pass(h, "20 s");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
    pass(h, "15 s");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run");
    assert_string_equal(harness_rows(h, "SELECT outcome, slots FROM schedule_slot"), "fired|1");
    /* Told once, by its name: whose claim it was, and how often that happened. */
    harness_proc_await_log(p, "Claim of hourly taken over from daemon", DEADLINE_MS);
    assert_int_equal(harness_proc_count_log(p, "rescues=1"), 1);
    assert_int_equal(harness_proc_count_log(p, "taken over"), 1);
    harness_await(h, DEADLINE_MS,
        "SELECT coalesce(bool_or(metrics::text LIKE "
        "'%claims_rescued%: 1%'), false) FROM daemon");
}

static void test_a_clean_stop_hands_over_at_once(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF(HOURLY));

    enable(h, "hourly");
    harness_exec(h, "INSERT INTO daemon (executable, host, pid, version, stopped_at)"
                    " VALUES ('scheduler', 'h', 0, '1', now());"
                    "UPDATE job_schedule SET fence = nextval('fence_seq'), locked_by = (SELECT "
                    "max(id) FROM daemon),"
                    " locked_at = date_trunc('hour', now()) + interval '1:00:00';"
                    "UPDATE test_clock SET shift = shift + date_trunc('hour', now()) + interval "
                    "'1:00:01' - now();"
                    "UPDATE daemon SET heartbeat_at = now(); NOTIFY tocsin_scheduler");
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM job_run");
    (void)p;
}

static void test_it_follows_its_file(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p =
        start(h, FILE_OF(HOURLY ",\"gone\":{\"cron\":\"0 5 * * *\",\"job\":\"j\"}"));

    enable(h, "hourly");
    enable(h, "gone");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    p = start(h, FILE_OF("\"hourly\":{\"cron\":\"15 * * * *\",\"job\":\"j\"}"));
    harness_await(h, DEADLINE_MS,
        "SELECT enabled AND extract(minute FROM next_run_at) = 15 AND next_run_at > now()"
        " AND next_run_at < now() + interval '1 hour' FROM job_schedule WHERE key = 'hourly'");
    harness_await(h, DEADLINE_MS,
        "SELECT retired_at IS NOT NULL AND NOT enabled FROM job_schedule WHERE key = 'gone'");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 0);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM schedule_slot"), 0);
    harness_proc_await_log(p, "Definition of schedule gone: retired", DEADLINE_MS);
}

static void test_an_unusable_definition_does_not_stop_the_others(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF("\"fast\":{\"every\":\"1s\",\"job\":\"j\"}," HOURLY));

    enable(h, "hourly");
    harness_exec(h,
        "UPDATE job_schedule SET definition = '{\"cron\":\"0 * * * *\",\"timezone\":\"Mars/X\"}',"
        " next_run_at = NULL WHERE key = 'hourly'");
    enable(h, "fast");
    harness_await(h, DEADLINE_MS, "SELECT count(*) >= 2 FROM job_run");
    harness_await(h, DEADLINE_MS,
        "SELECT fault LIKE '%Mars/X%' AND next_run_at = 'infinity' FROM job_schedule WHERE key = "
        "'hourly'");
    assert_int_equal(harness_proc_count_log(p, "cannot be used"), 1);
    /* The file is right: with the next start it is in force again. */
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    (void)start(h, FILE_OF("\"fast\":{\"every\":\"1s\",\"job\":\"j\"}," HOURLY));
    harness_await(h, DEADLINE_MS,
        "SELECT fault IS NULL AND next_run_at < 'infinity' FROM job_schedule WHERE key = 'hourly'");
}

static void test_changed_rules_of_a_zone_move_its_schedules(void **state)
{
    static const char zoned[] = FILE_OF(
        "\"ny\":{\"cron\":\"0 9 * * *\",\"timezone\":\"America/New_York\",\"job\":\"j\"}," HOURLY);
    struct harness *h = *state;
    struct harness_proc *p = start(h, zoned);

    enable(h, "ny");
    enable(h, "hourly");
    const char *right = harness_text(h, "SELECT next_run_at FROM job_schedule WHERE key = 'ny'");
    assert_int_equal(harness_proc_stop(p, DEADLINE_MS), 0);
    /* As another tzdata would have it: other rules, and a slot an hour late. */
    harness_exec(h, "UPDATE schedule_zone SET rules = rules + 1;"
                    "UPDATE job_schedule SET next_run_at = next_run_at + interval '1 hour',"
                    " next_slot = next_slot + interval '1 hour'");
    p = start(h, zoned);
    harness_proc_await_log(p, "The rules of America/New_York have changed", DEADLINE_MS);
    harness_awaitf(
        h, DEADLINE_MS, "SELECT next_run_at = '%s' FROM job_schedule WHERE key = 'ny'", right);
    assert_int_equal(harness_proc_count_log(p, "repaired"), 0);
    /* What does not stand in that zone stays as it is. */
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_schedule WHERE key = 'hourly'"
                                    " AND next_run_at > now() + interval '1 hour'"),
        1);
}

static void test_it_rests_while_its_feature_is_off(void **state)
{
    struct harness *h = *state;
    struct harness_proc *p = start(h, FILE_OF("\"fast\":{\"every\":\"1s\",\"job\":\"j\"}"));

    enable(h, "fast");
    harness_await(h, DEADLINE_MS, "SELECT count(*) > 0 FROM job_run");
    harness_exec(h, "INSERT INTO feature_flag (name, enabled) VALUES ('scheduler', false)");
    /* The heartbeat tells it; then a slot is due and stays so. */
    harness_await(h, DEADLINE_MS, "SELECT next_run_at < now() - interval '3 s' FROM job_schedule");
    harness_exec(h, "UPDATE feature_flag SET enabled = true");
    harness_await(h, DEADLINE_MS, "SELECT next_run_at > now() - interval '1 s' FROM job_schedule");
    /* It was off for less than grace: every slot fired, none is missing. */
    assert_string_equal(
        harness_rows(h, "SELECT count(*) = 1 + extract(epoch FROM max(slot) - min(slot)),"
                        " bool_and(outcome = 'fired') FROM schedule_slot"),
        "t|t");
    (void)p;
}

static void test_a_job_that_nobody_handles_fails_at_once(void **state)
{
    struct harness *h = *state;
    (void)start(h, FILE_OF(HOURLY));
    struct harness_proc *worker = harness_spawn(h, "worker-cleanup", NULL, NULL);

    enable(h, "hourly");
    harness_proc_await_log(worker, "is ready", DEADLINE_MS);
    assert_int_equal(harness_int(h, "SELECT schedule_run_now('hourly')"), 1);
    harness_await(h, DEADLINE_MS,
        "SELECT EXISTS (SELECT FROM JobRun WHERE status = 'quarantined'"
        " AND attempt = 1 AND error LIKE '%worker-cleanup%handles \"h\"%')");
}

static const char *run_command(
    struct harness *h, const char *const *args, const char *definitions, int expected)
{
    struct buf file = BUF_INIT(4096);
    const char *output;

    buf_addf(&file, "SCHEDULES_FILE=%s", harness_write_file(h, "schedules.json", definitions));
    const char *const env[] = {buf_str(&file), NULL};
    int code = harness_run(h, "scheduler", args, env, &output);
    buf_release(&file);
    if (code != expected)
        fail_msg("%s: exit code %d, not %d: %s", args[0], code, expected, output);
    return output;
}

static void test_preview_is_the_same_in_sql(void **state)
{
    static const char hard[] = FILE_OF(
        "\"hard\":{\"cron\":\"30 2 * * *\",\"timezone\":\"America/New_York\",\"job\":\"j\"}");
    struct harness *h = *state;
    const char *const args[] = {
        "--preview", "hard", "-n", "20", "--from", "2027-03-01T00:00:00Z", NULL};

    harness_exec(h, "UPDATE test_clock SET shift = '2027-03-01 00:00Z' - pg_catalog.now()");
    (void)start(h, hard);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 1 FROM schedule_preview WHERE NOT wanted");
    const char *told = run_command(h, args, hard, 0);
    const char *sql = harness_rows(h,
        "SELECT to_char(slot AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') || ' ' ||"
        " to_char(slot AT TIME ZONE 'America/New_York', 'YYYY-MM-DD\"T\"HH24:MI:SS')"
        " || CASE WHEN slot AT TIME ZONE 'UTC' - slot AT TIME ZONE 'America/New_York' = '4 h' THEN "
        "'-04:00'"
        " ELSE '-05:00' END || CASE moved WHEN '' THEN '' ELSE ' ' || moved END FROM "
        "schedule_preview('hard', 20)");
    assert_int_equal(strlen(told), strlen(sql) + 1);
    assert_memory_equal(told, sql, strlen(sql));
    assert_non_null(strstr(sql, "2027-03-14T07:00:00Z 2027-03-14T03:00:00-04:00 gap"));
    /* Asked for more than is left: the scheduler computes more. */
    harness_exec(h, "UPDATE test_clock SET shift = shift + interval '50 days'; UPDATE daemon SET "
                    "heartbeat_at = now()");
    assert_int_equal(harness_int(h, "SELECT count(*) FROM schedule_preview('hard', 30)"), 14);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 30 FROM schedule_preview('hard', 30)");
}

static void test_commands(void **state)
{
    struct harness *h = *state;
    const char *const check[] = {"--check", harness_write_file(h, "x.json", FILE_OF(HOURLY)), NULL};
    const char *const faulty[] = {"--check",
        harness_write_file(h, "bad.json",
            FILE_OF("\"a\":{\"cron\":\"* * *\",\"job\":\"j\"},\"b\":{\"job\":\"x\"}")),
        NULL};
    const char *const diff[] = {"--diff", harness_write_file(h, "x.json", FILE_OF(HOURLY)), NULL};
    const char *const unknown[] = {"--preview", "nobody", NULL};
    const char *const usage[] = {"--preview", "hourly", "-n", "x", NULL};

    assert_non_null(strstr(run_command(h, check, "{}", 0), "1 jobs and 1 schedules, no faults"));
    const char *faults = run_command(h, faulty, "{}", 78);
    assert_non_null(strstr(faults, "bad.json:2:19: schedules.a.cron: "));
    assert_non_null(strstr(faults, "schedules.b.job: there is no job \"x\""));
    assert_non_null(strstr(run_command(h, diff, "{}", 0), "new      schedule hourly"));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_schedule"), 0);
    assert_non_null(
        strstr(run_command(h, unknown, FILE_OF(HOURLY), 78), "there is no schedule \"nobody\""));
    (void)run_command(h, usage, FILE_OF(HOURLY), 64);
}

static void test_it_refuses_a_faulty_file(void **state)
{
    struct harness *h = *state;
    const char *const none[] = {NULL};

    const char *output =
        run_command(h, none, FILE_OF("\"a\":{\"cron\":\"* * *\",\"job\":\"j\"}"), 78);
    assert_non_null(strstr(output, "schedules.json:2:19: schedules.a.cron: "));
    assert_int_equal(harness_int(h, "SELECT count(*) FROM daemon"), 0);
}

/* What was sound when it was deployed does not keep the others from their slots. */
static void test_a_schedule_that_has_ended_does_not_stop_the_others(void **state)
{
    static const char ended[] = FILE_OF(HOURLY ",\"over\":{\"cron\":\"0 * * * *\",\"job\":\"j\","
                                               "\"blackout\":[\"2020-01-01..9999-12-31\"]}");
    struct harness *h = *state;
    const char *const check[] = {"--check", harness_write_file(h, "over.json", ended), NULL};
    const char *const preview[] = {"--preview", "over", NULL};

    assert_non_null(strstr(run_command(h, check, ended, 78),
        "schedules.over: blackout: no slot of the next 50 years is left by it"));
    assert_non_null(strstr(run_command(h, preview, ended, 0), "over has no slot any more"));
    struct harness_proc *p = start(h, ended);
    enable(h, "over");
    enable(h, "hourly");
    harness_proc_await_log(p, "over has no slot any more: its blackout leaves none", DEADLINE_MS);
    assert_string_equal(
        harness_rows(h, "SELECT key, next_run_at = 'infinity', fault FROM job_schedule ORDER BY 1"),
        "hourly|f|\nover|t|");
}

/* The last slot that a blackout leaves fires, and that it was the last is told. */
static void test_the_last_slot_of_all(void **state)
{
    struct harness *h = *state;

    harness_exec(h, "UPDATE test_clock SET shift = '2030-12-31 22:30Z' - pg_catalog.now()");
    struct harness_proc *p = start(h, FILE_OF("\"last\":{\"cron\":\"0 * * * *\",\"job\":\"j\","
                                              "\"blackout\":[\"2031-01-01..9999-12-31\"]}"));
    enable(h, "last");
    assert_int_equal(harness_proc_count_log(p, "has no slot any more"), 0);
    pass(h, "30 min");
    harness_await(h, DEADLINE_MS, "SELECT next_run_at = 'infinity' FROM job_schedule");
    harness_proc_await_log(p, "last has no slot any more", DEADLINE_MS);
    assert_int_equal(harness_int(h, "SELECT count(*) FROM job_run"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_slot_fires_by_the_timer),
        TEST(test_two_firings_in_quick_succession_wake_the_workers_twice),
        TEST(test_a_missing_next_run_is_repaired_with_a_warning),
        TEST(test_late_slots_are_skipped_counted_and_told),
        TEST(test_a_claim_of_the_dead_is_taken_over),
        TEST(test_a_clean_stop_hands_over_at_once),
        TEST(test_it_follows_its_file),
        TEST(test_an_unusable_definition_does_not_stop_the_others),
        TEST(test_a_schedule_that_has_ended_does_not_stop_the_others),
        TEST(test_the_last_slot_of_all),
        TEST(test_changed_rules_of_a_zone_move_its_schedules),
        TEST(test_it_rests_while_its_feature_is_off),
        TEST(test_a_job_that_nobody_handles_fails_at_once),
        TEST(test_preview_is_the_same_in_sql),
        TEST(test_commands),
        TEST(test_it_refuses_a_faulty_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
