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

/* The tick as it stands, with nothing due: its time in ms and the buffers that it touches. */
static void measure_tick(struct bench *b, double *ret_ms, int64_t *ret_buffers)
{
    struct buf sql = BUF_INIT(65536);
    PGresult *r;

    buf_addf(&sql, "PREPARE tick AS %s", SQL_claim_schedules.text);
    bench_exec(b->db, buf_str(&sql));
    bench_exec(b->db, "SET plan_cache_mode = force_generic_plan; BEGIN");
    r = PQexec(b->db, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE tick(0)");
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        bench_die("the tick: %s", PQerrorMessage(b->db));
    const char *plan = PQgetvalue(r, 0, 0);
    const char *hit = strstr(plan, "\"Shared Hit Blocks\": ");
    const char *read = strstr(plan, "\"Shared Read Blocks\": ");
    const char *time = strstr(plan, "\"Execution Time\": ");
    if (!hit || !read || !time)
        bench_die("the tick: no figures in its plan");
    *ret_buffers = strtoll(hit + strlen("\"Shared Hit Blocks\": "), NULL, 10) +
                   strtoll(read + strlen("\"Shared Read Blocks\": "), NULL, 10);
    *ret_ms = strtod(time + strlen("\"Execution Time\": "), NULL);
    PQclear(r);
    bench_exec(b->db, "ROLLBACK; DEALLOCATE tick; RESET plan_cache_mode");
    buf_release(&sql);
}

static void bench_idle(struct bench *b, int64_t n)
{
    struct bench_series ms = {0};
    int64_t buffers = 0;
    double one;

    fill(b, n);
    for (int64_t i = 0; i < b->rounds + 1; i++) {
        measure_tick(b, &one, &buffers);
        if (i > 0) /* the first one warms up */
            bench_series_add(&ms, one);
    }
    printf("%9" PRId64 " schedules, none due: %6.3f ms a tick (%.3f to %.3f), %" PRId64
           " buffers\n",
        n, bench_series_at(&ms, 0.5), bench_series_at(&ms, 0), bench_series_at(&ms, 1), buffers);
    bench_series_release(&ms);
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
