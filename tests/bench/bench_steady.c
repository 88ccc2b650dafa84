/*
 * A constant offer: so many runs a second for a minute, one worker process. Latency is from
 * the call that enqueues to the first line of the handler. Then the same while another session
 * holds a snapshot open, which keeps every dead row and index entry from being removed: what a
 * claim costs must stay bounded. Dead tuples are counted at the end of each part.
 *
 *     BENCH_OFFER=5000 BENCH_STEADY_SECONDS=60 BENCH_HELD_SECONDS=120
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/bench.h"

#define TICK_MS 10

/* Offers in slices of ten milliseconds; each payload says when its statement was sent. */
static int64_t offer(PGconn *db, int64_t a_second, int64_t seconds)
{
    char slice[24], sent_us[24];
    const char *const values[] = {sent_us, slice};
    int64_t began = clock_us(), end = began + seconds * 1000000, offered = 0, now;

    while ((now = clock_us()) < end) {
        int64_t due = (now - began) * a_second / 1000000 - offered;
        if (due > 0) {
            (void)snprintf(slice, sizeof(slice), "%" PRId64, due);
            (void)snprintf(sent_us, sizeof(sent_us), "%" PRId64, clock_us());
            PGresult *r = PQexecPrepared(db, "offer", 2, values, NULL, NULL, 0);
            if (PQresultStatus(r) != PGRES_TUPLES_OK)
                bench_die("%s", PQerrorMessage(db));
            PQclear(r);
            offered += due;
        }
        bench_pass(TICK_MS);
    }
    return offered;
}

/* The trace holds "id attempt microseconds" a line; the history holds id and payload. */
static void read_latencies(PGconn *db, const char *trace, struct bench_series *ms)
{
    char line[128];
    FILE *f = fopen(trace, "re");
    PGresult *r;

    if (!f)
        bench_die("%s cannot be read", trace);
    bench_exec(db, "CREATE TEMP TABLE IF NOT EXISTS began (id bigint, us bigint);"
                   "TRUNCATE began; ");
    r = PQexec(db, "COPY began FROM STDIN WITH (DELIMITER ' ')");
    if (PQresultStatus(r) != PGRES_COPY_IN)
        bench_die("%s", PQerrorMessage(db));
    PQclear(r);
    while (fgets(line, sizeof(line), f)) {
        int64_t id, us;
        char row[64];
        if (sscanf(line, "%" SCNd64 " %*d %" SCNd64, &id, &us) != 2)
            continue;
        int n = snprintf(row, sizeof(row), "%" PRId64 " %" PRId64 "\n", id, us);
        if (PQputCopyData(db, row, n) != 1)
            bench_die("%s", PQerrorMessage(db));
    }
    (void)fclose(f);
    (void)PQputCopyEnd(db, NULL);
    while ((r = PQgetResult(db)) != NULL)
        PQclear(r);
    r = PQexec(
        db, "SELECT b.us - (d.payload->>'us')::bigint FROM began b JOIN job_run_done d USING (id)");
    for (int i = 0; i < PQntuples(r); i++)
        bench_series_add(ms, strtod(PQgetvalue(r, i, 0), NULL) / 1e3);
    PQclear(r);
}

static void part(PGconn *const *db, const char *name, int64_t a_second, int64_t seconds, bool held)
{
    struct buf trace = BUF_INIT(4096), env_trace = BUF_INIT(4096), path = BUF_INIT(4096);
    struct bench_series ms = {0};
    PGconn *holder = bench_connect("bench_holder");
    struct bench_server_cpu before, after;

    buf_addf(&trace, "%s.trace", bench_option_text("BENCH_LOG", "bench"));
    buf_addf(&env_trace, "NOOP_TRACE=%s", buf_str(&trace));
    buf_addf(&path, "%s/noop-worker", bench_option_text("BUILD", "build/release"));
    const char *const argv[] = {buf_str(&path), NULL}, *const env[] = {buf_str(&env_trace), NULL};
    (void)unlink(buf_str(&trace));
    bench_exec(db[0], "TRUNCATE job_run, job_run_done");
    bench_exec(db[0], "VACUUM job_run");
    pid_t pid = bench_spawn(argv, env);
    bench_await(db[0],
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'noop-worker'"
        " AND state = 'idle'",
        10, 10000);
    if (held) /* a snapshot with an xid, as a long report or a dump has */
        bench_exec(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM job");
    bench_server_cpu_take(&before, db, 2);
    int64_t cpu = bench_cpu_ns(pid), offered = offer(db[0], a_second, seconds);
    bench_await(db[0],
        "SELECT NOT EXISTS (SELECT FROM (SELECT id FROM job_run ORDER BY id DESC LIMIT 1) r)", 5,
        120000);
    cpu = bench_cpu_ns(pid) - cpu;
    bench_server_cpu_take(&after, db, 2);
    bench_exec(db[1], "SELECT pg_stat_force_next_flush()");
    int64_t dead =
        bench_int(db[1], "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'job_run'");
    int64_t pages = bench_int(db[1], "SELECT pg_relation_size('job_run') / 8192");
    int64_t index_pages = bench_int(db[1], "SELECT pg_relation_size('job_run_claim') / 8192");
    bench_end(pid);
    read_latencies(db[1], buf_str(&trace), &ms);
    printf("%-22s %8lld %8.2f %8.2f %8.2f %8.2f %9lld %8lld %8lld %8.2f %8.2f\n", name,
        (long long)offered, bench_series_at(&ms, 0.5), bench_series_at(&ms, 0.9),
        bench_series_at(&ms, 0.99), bench_series_at(&ms, 1), (long long)dead, (long long)pages,
        (long long)index_pages, (double)cpu / 1e3 / (double)offered,
        (double)bench_server_cpu_between(&before, &after) / 1e3 / (double)offered);
    (void)fflush(stdout);
    PQfinish(holder);
    bench_series_release(&ms);
    buf_release(&trace);
    buf_release(&env_trace);
    buf_release(&path);
}

int main(void)
{
    int64_t a_second = bench_option("BENCH_OFFER", 5000);
    PGconn *db[] = {bench_connect("bench"), bench_connect("bench")};

    bench_print_settings(db[0]);
    PQclear(PQprepare(db[0], "offer",
        "WITH made AS (INSERT INTO job_run (queue, handler, payload)"
        " SELECT 'bench', 'noop', jsonb_build_object('us', $1::bigint)"
        " FROM generate_series(1, $2::int) RETURNING id) SELECT job_run_hint('bench') FROM made "
        "LIMIT 1",
        0, NULL));
    printf("%lld runs a second offered in slices of %d ms, one worker process\n",
        (long long)a_second, TICK_MS);
    printf("%-22s %8s %8s %8s %8s %8s %9s %8s %8s %8s %8s\n", "", "runs", "p50 ms", "p90 ms",
        "p99 ms", "most ms", "dead rows", "pages", "index pg", "client", "server");
    part(db, "steady", a_second, bench_option("BENCH_STEADY_SECONDS", 60), false);
    part(db, "snapshot held", a_second, bench_option("BENCH_HELD_SECONDS", 120), true);
    PQfinish(db[0]);
    PQfinish(db[1]);
    return 0;
}
