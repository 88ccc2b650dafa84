/*
 * SIGKILL at each statement that a scheduler sends, with 1, 2 and 8 of them, before the statement
 * commits and after it, with its answer unread. At most one run a (schedule, slot, job), every slot
 * accounted for, next_run_at strictly increasing. A gate in the test's database holds the statement
 * by its text, after its work is done; all but the victim stand still meanwhile.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sql/common.h"
#include "sql/scheduler.h"
#include "tests/support/harness.h"
#include "tests/support/schedule_books.h"

#define DEADLINE_MS 60000
#define RETRY_MS    1000
#define DAEMONS_MAX 8

/* Each schedule by its interval, so that SQL can count its slots without knowing cron. */
static const char definitions[] =
    "{\"jobs\":{"
    "\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\"},"
    "\"b\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\",\"depends_on\":[\"a\"]}}"
    ","
    "\"schedules\":{"
    "\"s7\":{\"every\":\"7s\",\"group\":\"g\",\"grace\":\"0s\"},"
    "\"s31\":{\"every\":\"31s\",\"job\":\"b\",\"catch_up\":\"run_all\",\"catch_up_window\":\"5m\","
    "\"catch_up_cap\":4,\"grace\":\"1s\"},"
    "\"s60\":{\"every\":\"60s\",\"all\":true,\"grace\":\"10m\"}}}";

/* A statement trigger fires for no row too; what only reads is held by a policy. */
static const char world_sql[] =
    "CREATE TABLE gate (statement text);"
    "CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET "
    "lock_timeout = 0"
    " AS $$ BEGIN"
    " IF EXISTS (SELECT FROM gate WHERE statement = current_query()) THEN"
    " PERFORM pg_advisory_xact_lock_shared(77); END IF; RETURN true; END $$;"
    "CREATE FUNCTION hold_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " PERFORM pass_gate(); RETURN NULL; END $$;"
    "DO $$ DECLARE t text; BEGIN"
    " FOREACH t IN ARRAY ARRAY['daemon', 'job', 'job_schedule', 'schedule_zone', "
    "'schedule_preview',"
    " 'queue_hint']"
    " LOOP EXECUTE format('CREATE TRIGGER gate AFTER INSERT OR UPDATE ON %I FOR EACH STATEMENT"
    " EXECUTE FUNCTION hold_at_gate()', t); END LOOP; END $$;"
    "ALTER TABLE schedule_preview ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY gate ON schedule_preview USING (pass_gate()) WITH CHECK (true);"
    "ALTER TABLE schema_migration ENABLE ROW LEVEL SECURITY;"
    "CREATE POLICY gate ON schema_migration USING (pass_gate());";

/* How a daemon comes to a statement. */
enum way {
    BY_STARTING,
    BY_SIGTERM,
    BY_WAITING,
    BY_FIRING_TWICE /* within the time in which the workers are woken once */
};

static const struct place {
    const struct db_stmt *stmt;
    enum way way;
} places[] = {
    {&SQL_read_schema, BY_STARTING},
    {&SQL_register_daemon, BY_STARTING},
    {&SQL_sync_definitions, BY_STARTING},
    {&SQL_recompute_zones, BY_STARTING},
    {&SQL_claim_schedules, BY_STARTING},
    {&SQL_fire_slots, BY_STARTING},
    {&SQL_read_previews, BY_STARTING},
    {&SQL_store_previews, BY_STARTING},
    {&SQL_beat_daemon, BY_WAITING},
    {&SQL_hint_queues, BY_FIRING_TWICE},
    {&SQL_stop_daemon, BY_SIGTERM},
};

struct world {
    struct harness *h;
    const char *env[2];
    struct buf file;
    struct harness_proc *others[DAEMONS_MAX];
    int n_others;
    int64_t next_try_ms;
};

static struct harness_proc *spawn(struct world *w)
{
    return harness_spawn(w->h, "scheduler", NULL, w->env);
}

static void signal_others(struct world *w, int signal)
{
    for (int i = 0; i < w->n_others; i++)
        harness_proc_signal(w->others[i], signal);
}

#define AT_GATE                                                                                    \
    " FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname ="                  \
    " current_database() AND l.locktype = 'advisory' AND l.objid = 77 AND NOT l.granted"
#define CLOSE_GATE "INSERT INTO gate VALUES ($gate$%s$gate$)"
#define NONE_DUE                                                                                   \
    "SELECT bool_and(next_run_at > now() AND locked_by IS NULL) FROM job_schedule WHERE enabled"

static void begin(struct world *w, struct harness *h, int n)
{
    *w = (struct world){.h = h, .n_others = n - 1, .file = BUF_INIT(4096)};
    buf_addf(&w->file, "SCHEDULES_FILE=%s", harness_write_file(h, "s.json", definitions));
    w->env[0] = buf_str(&w->file);
    schedule_books_open(h);
    harness_exec(h, world_sql);
    for (int i = 0; i < w->n_others; i++)
        w->others[i] = spawn(w);
    struct harness_proc *first = spawn(w);
    harness_await(h, DEADLINE_MS, "SELECT count(*) = 3 FROM job_schedule");
    schedule_books_begin(h);
    harness_await(h, DEADLINE_MS, NONE_DUE);
    for (int i = 0; i < w->n_others; i++)
        harness_proc_await_log(w->others[i], "is ready", DEADLINE_MS);
    harness_proc_kill(first);
}

/* Something to do for each of the statements. */
static void give_work(struct world *w)
{
    harness_clock_advance(w->h, "61 s");
    harness_exec(w->h, "UPDATE schedule_preview SET wanted = true; DELETE FROM schedule_zone;"
                       "UPDATE job SET max_attempts = max_attempts + 1");
}

/* One schedule due, and another so soon after it that the second firing finds the first one's hint
 * too fresh. Tried again, since a busy machine may be slower than that. */
static void fire_twice(void *arg)
{
    struct world *w = arg;

    if (clock_ms() < w->next_try_ms)
        return;
    w->next_try_ms = clock_ms() + RETRY_MS;
    harness_clock_advance(w->h, "61 s");
    harness_exec(w->h, "UPDATE job_schedule SET next_run_at = now() + interval '40 ms'"
                       " WHERE key = 's60' AND locked_by IS NULL;"
                       "NOTIFY tocsin_scheduler");
}

/* Has the victim come to the statement and wait in it; its backend's pid. */
static int64_t hold_at(struct world *w, const struct place *at, struct harness_proc *victim)
{
    switch (at->way) {
    case BY_STARTING:
    case BY_WAITING:
        break;
    case BY_SIGTERM:
        harness_proc_signal(victim, SIGTERM);
        break;
    case BY_FIRING_TWICE:
        harness_on_wait(w->h, fire_twice, w);
        break;
    }
    harness_await(w->h, DEADLINE_MS, "SELECT count(*) = 1" AT_GATE);
    harness_on_wait(w->h, NULL, NULL);
    return harness_int(w->h, "SELECT l.pid" AT_GATE);
}

static void kill_at(struct world *w, const struct place *at, bool committed)
{
    struct harness *h = w->h;
    PGconn *gate = harness_connect(h, NULL);

    signal_others(w, SIGSTOP);
    give_work(w);
    PQclear(PQexec(gate, "SELECT pg_advisory_lock(77)"));
    if (at->way == BY_STARTING)
        harness_execf(h, CLOSE_GATE, at->stmt->text);
    struct harness_proc *victim = spawn(w);
    if (at->way != BY_STARTING) {
        harness_await(h, DEADLINE_MS, NONE_DUE);
        harness_execf(h, CLOSE_GATE, at->stmt->text);
    }
    int64_t pid = hold_at(w, at, victim);
    if (committed) {
        harness_proc_signal(victim, SIGSTOP);
        PQclear(PQexec(gate, "SELECT pg_advisory_unlock(77)"));
        harness_awaitf(h, DEADLINE_MS,
            "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = %" PRId64, pid);
        harness_proc_kill(victim);
    } else {
        harness_proc_kill(victim);
        harness_execf(h, "SELECT pg_terminate_backend(%" PRId64 ")", pid);
    }
    harness_awaitf(h, DEADLINE_MS,
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %" PRId64 ")", pid);
    harness_exec(h, "DELETE FROM gate");
    harness_disconnect(h, gate);
}

/* The survivors, or one new daemon, take up what the dead one held once its lock is old. */
static void recover(struct world *w)
{
    struct harness_proc *successor = w->n_others == 0 ? spawn(w) : NULL;

    signal_others(w, SIGCONT);
    harness_clock_advance(w->h, "31 s");
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
    harness_await(w->h, DEADLINE_MS, NONE_DUE);
    if (successor)
        harness_proc_kill(successor);
}

static void kill_everywhere(struct harness *h, int n)
{
    struct world w;

    begin(&w, h, n);
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        for (int committed = 0; committed < 2; committed++) {
            int64_t before = harness_int(h, "SELECT count(*) FROM schedule_slot");
            print_message(
                "%s, %s\n", places[i].stmt->name, committed ? "committed" : "not committed");
            kill_at(&w, &places[i], committed);
            recover(&w);
            signal_others(&w, SIGSTOP);
            schedule_books_balance(h);
            assert_true(harness_int(h, "SELECT count(*) FROM schedule_slot") > before);
        }
    assert_true(harness_int(h, "SELECT count(*) FROM schedule_slot WHERE outcome = 'fired'") > 30);
    signal_others(&w, SIGCONT);
    buf_release(&w.file);
}

static void test_one(void **state)
{
    kill_everywhere(*state, 1);
}

static void test_two(void **state)
{
    kill_everywhere(*state, 2);
}

static void test_eight(void **state)
{
    kill_everywhere(*state, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_one), TEST(test_two), TEST(test_eight)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
