/*
 * Schedules: what a tick costs when a thousand or a million exist and none, a thousand
 * or a hundred thousand are due: its time, the buffers that it touches, and how long
 * after the slot all runs stand in the queue.
 *
 *     BENCH_SCHEDULES=1000000 BENCH_DUE=100000 BENCH_ROUNDS=5
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sql/scheduler.h"
#include "support/bench.h"

#define LEAD_S      20 /* from the set-up of a round to its slot */
#define DEADLINE_MS 120000

struct bench {
    PGconn *db;
    pid_t scheduler;
    int64_t rounds;
};

/* `n` schedules that run every hour, the first one in half an hour, computed already. */
static void fill(struct bench *b, int64_t n)
{
    bench_exec(b->db, "SET client_min_messages = warning;"
                      "TRUNCATE job_run, schedule_slot, job_schedule RESTART IDENTITY CASCADE");
    bench_execf(b->db,
        "INSERT INTO job (key, handler, queue) VALUES ('bench', 'bench', 'bench')"
        " ON CONFLICT (key) DO UPDATE SET retired_at = NULL;"
        "INSERT INTO job_schedule (key, target_kind, target, enabled, next_slot, next_run_at, "
        "definition)"
        " SELECT 'bench-' || i, 'job', 'bench', true, slot, slot, '{\"every\": \"1h\"}'"
        " FROM (SELECT i, date_trunc('hour', now() + interval '90 min') AS slot FROM "
        "generate_series(1, %" PRId64 ") AS i) AS s",
        n);
    bench_exec(b->db, "VACUUM ANALYZE job_schedule");
}

/* Has the first `due` of them run in LEAD_S seconds. */
static void arm(struct bench *b, int64_t due)
{
    bench_exec(b->db, "TRUNCATE job_run, schedule_slot");
    bench_execf(b->db,
        "UPDATE job_schedule s SET accounted_until = now(), next_slot = t.slot, next_run_at = "
        "t.slot,"
        " definition = jsonb_build_object('every', '1h', 'anchor',"
        "  to_char(t.slot AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))"
        " FROM (SELECT date_trunc('second', now()) + interval '%d s' AS slot) AS t WHERE s.id <= "
        "%" PRId64,
        LEAD_S, due);
    bench_exec(b->db, "VACUUM ANALYZE job_schedule");
    bench_exec(b->db, "CHECKPOINT");
    bench_exec(b->db, "NOTIFY tocsin_scheduler");
}

struct cost {
    double ms;
    int64_t buffers;
};

/* Runs a statement; its time and the buffers that it touches. */
static struct cost explain(struct bench *b, const char *statement)
{
    struct buf sql = BUF_INIT(65536);
    struct cost cost = {0};

    buf_addf(&sql, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) %s", statement);
    PGresult *r = PQexec(b->db, buf_str(&sql));
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        bench_die("%s: %s", statement, PQerrorMessage(b->db));
    const char *plan = PQgetvalue(r, 0, 0);
    const char *hit = strstr(plan, "\"Shared Hit Blocks\": ");
    const char *read = strstr(plan, "\"Shared Read Blocks\": ");
    const char *time = strstr(plan, "\"Execution Time\": ");
    if (!hit || !read || !time)
        bench_die("%s: no figures in its plan", statement);
    cost.buffers = strtoll(hit + strlen("\"Shared Hit Blocks\": "), NULL, 10) +
                   strtoll(read + strlen("\"Shared Read Blocks\": "), NULL, 10);
    cost.ms = strtod(time + strlen("\"Execution Time\": "), NULL);
    PQclear(r);
    buf_release(&sql);
    return cost;
}

/* The claim as the scheduler's session plans it. */
static void prepare_tick(struct bench *b)
{
    struct buf sql = BUF_INIT(65536);

    buf_addf(&sql, "PREPARE tick AS %s", SQL_claim_schedules.text);
    bench_exec(b->db, buf_str(&sql));
    bench_exec(b->db, "SET plan_cache_mode = force_generic_plan");
    buf_release(&sql);
}

static void forget_tick(struct bench *b)
{
    bench_exec(b->db, "DEALLOCATE tick; RESET plan_cache_mode");
}

static void bench_idle(struct bench *b, int64_t n)
{
    struct bench_series ms = {0};
    struct cost tick;

    fill(b, n);
    prepare_tick(b);
    for (int64_t i = 0; i < b->rounds + 1; i++) {
        bench_exec(b->db, "BEGIN");
        tick = explain(b, "EXECUTE tick(0, 1000)");
        bench_exec(b->db, "ROLLBACK");
        if (i > 0) /* the first one warms up */
            bench_series_add(&ms, tick.ms);
    }
    forget_tick(b);
    printf("%9" PRId64 " schedules, none due: %6.3f ms a tick (%.3f to %.3f), %" PRId64
           " buffers\n",
        n, bench_series_at(&ms, 0.5), bench_series_at(&ms, 0), bench_series_at(&ms, 1),
        tick.buffers);
    bench_series_release(&ms);
}

/* One batch of those that are due: the claim, and the firing of what it claimed. */
static void bench_batch(struct bench *b, int64_t n, int64_t due)
{
    static const char fire[] =
        "SELECT count(*) FROM (SELECT array_agg(s.id) AS id, array_agg(s.fence) AS fence,"
        " array_agg(s.revision) AS revision, array_agg(s.next_run_at) AS claimed,"
        " array_agg(extract(epoch FROM s.next_slot)::bigint) AS slot,"
        " array_agg(extract(epoch FROM s.next_slot)::bigint + 3600) AS next_slot,"
        " array_agg(extract(epoch FROM s.next_slot)::bigint * 1000 + 3600000) AS next_run,"
        " array_agg(true) AS yes, array_agg(NULL::text) AS fault, array_agg(1::bigint) AS one"
        " FROM job_schedule s WHERE s.id <= 1000 AND s.locked_by = 0) AS a,"
        " schedule_advance(0, a.id, a.fence, a.revision, a.claimed, a.slot, a.next_slot,"
        " a.next_run, a.yes, a.fault, a.id, a.slot, a.slot, a.one, a.yes, false)";
    struct bench_series claim_ms = {0}, fire_ms = {0};
    struct cost claimed, fired;

    fill(b, n);
    bench_execf(b->db,
        "UPDATE job_schedule SET next_slot = date_trunc('second', now()) - interval '1 s',"
        " next_run_at = date_trunc('second', now()) - interval '1 s' WHERE id <= %" PRId64,
        due);
    bench_exec(b->db, "VACUUM ANALYZE job_schedule");
    prepare_tick(b);
    for (int64_t i = 0; i < b->rounds + 1; i++) {
        bench_exec(b->db, "BEGIN");
        claimed = explain(b, "EXECUTE tick(0, 1000)");
        fired = explain(b, fire);
        if (bench_int(b->db, "SELECT count(*) FROM job_run") != 1000)
            bench_die("a batch of 1000 did not fire");
        bench_exec(b->db, "ROLLBACK");
        if (i == 0)
            continue;
        bench_series_add(&claim_ms, claimed.ms);
        bench_series_add(&fire_ms, fired.ms);
    }
    forget_tick(b);
    printf("%9" PRId64 " schedules, %6" PRId64
           " due: a batch of 1000 is claimed in %.1f ms (%" PRId64
           " buffers) and fired in %.1f ms (%" PRId64 " buffers)\n",
        n, due, bench_series_at(&claim_ms, 0.5), claimed.buffers, bench_series_at(&fire_ms, 0.5),
        fired.buffers);
    bench_series_release(&claim_ms);
    bench_series_release(&fire_ms);
}

/* The first and the last run in the queue, ms after the slot, as another session sees them. */
static void bench_due(struct bench *b, int64_t n, int64_t due, int64_t rounds)
{
    struct bench_series last = {0}, first = {0};
    struct buf all = BUF_INIT(256);
    int64_t cpu = 0;

    buf_addf(&all, "SELECT count(*) >= %" PRId64 " FROM job_run", due);
    fill(b, n);
    for (int64_t i = 0; i < rounds; i++) {
        arm(b, due);
        int64_t before = bench_cpu_ns(b->scheduler);
        bench_await(b->db, "SELECT EXISTS (SELECT FROM job_run)", 2, DEADLINE_MS);
        bench_series_add(&first,
            (double)bench_int(b->db,
                "SELECT extract(epoch FROM clock_timestamp() - min(slot)) * 1000000 FROM job_run") /
                1000);
        bench_await(b->db, buf_str(&all), 2, DEADLINE_MS);
        bench_series_add(&last,
            (double)bench_int(b->db,
                "SELECT extract(epoch FROM clock_timestamp() - min(slot)) * 1000000 FROM job_run") /
                1000);
        cpu += bench_cpu_ns(b->scheduler) - before;
        if (bench_int(b->db,
                "SELECT count(*) FROM (SELECT schedule_key FROM job_run GROUP BY 1, slot"
                " HAVING count(*) > 1) AS twice") != 0)
            bench_die("a slot was fired twice");
    }
    printf("%9" PRId64 " schedules, %6" PRId64
           " due: first run %6.1f ms after the slot, all after %7.1f ms"
           " (%.1f to %.1f), scheduler %.1f us a run\n",
        n, due, bench_series_at(&first, 0.5), bench_series_at(&last, 0.5),
        bench_series_at(&last, 0), bench_series_at(&last, 1),
        (double)cpu / 1000 / (double)(due * rounds));
    bench_series_release(&first);
    bench_series_release(&last);
    buf_release(&all);
}

/* CPU of the scheduler in a minute in which nothing is due. */
static void bench_quiet(struct bench *b, int64_t n)
{
    fill(b, n);
    bench_exec(b->db, "NOTIFY tocsin_scheduler");
    bench_pass(2000);
    int64_t before = bench_cpu_ns(b->scheduler);
    bench_pass(60000);
    printf("%9" PRId64 " schedules, none due: the scheduler uses %.2f ms of CPU in a minute\n", n,
        (double)(bench_cpu_ns(b->scheduler) - before) / 1e6);
}

int main(void)
{
    struct buf exe = BUF_INIT(4096);
    const char *const env[] = {"SCHEDULES_FILE=deploy/schedules.json", NULL};
    int64_t most = bench_option("BENCH_SCHEDULES", 1000000);
    int64_t due = bench_option("BENCH_DUE", 100000);
    struct bench b = {.db = bench_connect("bench"), .rounds = bench_option("BENCH_ROUNDS", 5)};

    bench_print_settings(b.db);
    buf_addf(&exe, "%s/bin/scheduler", bench_option_text("BUILD", "build/release"));
    const char *const argv[] = {buf_str(&exe), NULL};
    bench_idle(&b, 1000);
    bench_idle(&b, most);
    bench_batch(&b, 1000, 1000);
    bench_batch(&b, most, 1000);
    bench_batch(&b, most, due);
    /* Its synchronisation comes first: it would retire what its file does not have. */
    bench_exec(b.db, "TRUNCATE job_schedule CASCADE");
    b.scheduler = bench_spawn(argv, env);
    bench_await(b.db, "SELECT count(*) > 0 FROM job_schedule WHERE NOT enabled", 20, DEADLINE_MS);
    bench_due(&b, 1000, 1000, b.rounds);
    bench_due(&b, most, 1000, b.rounds);
    bench_due(&b, most, due, 1);
    bench_quiet(&b, most);
    bench_end(b.scheduler);
    PQfinish(b.db);
    buf_release(&exe);
    return 0;
}
