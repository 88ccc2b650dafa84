/*
 * How the cost of a run grows: with the runs that wait (10⁴ to 10⁷), with the history that is kept,
 * and while another session holds a snapshot open. One worker process drains; its time and the
 * server's are read in samples of as many runs each, and told as ratios to the smallest of the same
 * run.
 *
 *     BENCH_BACKLOG_MAX=10000000 BENCH_HISTORY_MAX=10000000 BENCH_SAMPLE_RUNS=20000
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/bench.h"

#define SAMPLES   5
#define FILL_STEP 1000000 /* rows of one INSERT */
#define WAIT_MS   600000
#define HELD_RUNS 10 /* samples of the drain under a snapshot */

struct cost {
    struct bench_series rate, client_us, server_us;
};

static void cost_release(struct cost *c)
{
    bench_series_release(&c->rate);
    bench_series_release(&c->client_us);
    bench_series_release(&c->server_us);
}

/* Runs that have waited for an hour, a microsecond apart; returns the id of the first. */
static int64_t fill_backlog(PGconn *db, int64_t runs)
{
    bench_exec(db, "TRUNCATE job_run, job_run_done, daemon");
    for (int64_t done = 0; done < runs; done += FILL_STEP) {
        int64_t step = runs - done < FILL_STEP ? runs - done : FILL_STEP;
        bench_execf(db,
            "INSERT INTO job_run (queue, handler, payload, run_at)"
            " SELECT 'bench', 'noop', '{\"to\": \"owner\", \"text\": \"a payload as long as most "
            "of them"
            " are, so that copying it costs what it costs\"}',"
            " now() - interval '1 hour' + n * interval '1 microsecond'"
            " FROM generate_series(%" PRId64 "::bigint, %" PRId64 ") AS n",
            done + 1, done + step);
    }
    bench_exec(db, "VACUUM (ANALYZE) job_run");
    bench_exec(db, "CHECKPOINT");
    return bench_int(db, "SELECT min(id) FROM job_run");
}

static void fill_history(PGconn *db, int64_t rows)
{
    bench_exec(db, "TRUNCATE job_run_done");
    for (int64_t done = 0; done < rows; done += FILL_STEP)
        bench_execf(db,
            "INSERT INTO job_run_done (id, org_id, queue, priority, run_at, handler, payload, "
            "trigger,"
            " attempt, outcome, created_at, finished_at)"
            " SELECT -n, 1, 'bench', 5, now(), 'noop', '{\"to\": \"owner\"}', 'api', 1, "
            "'succeeded',"
            " now(), now() FROM generate_series(%" PRId64 "::bigint, %" PRId64 ") AS n",
            done + 1, done + FILL_STEP);
    bench_exec(db, "CHECKPOINT");
}

static pid_t start_worker(PGconn *db)
{
    struct buf path = BUF_INIT(4096);

    buf_addf(&path, "%s/noop-worker", bench_option_text("BUILD", "build/release"));
    const char *const argv[] = {buf_str(&path), NULL};
    pid_t pid = bench_spawn(argv, NULL);
    buf_release(&path);
    bench_await(db, "SELECT EXISTS (SELECT FROM daemon WHERE stopped_at IS NULL)", 1, WAIT_MS);
    return pid;
}

/* Waits until run `last_id` is gone. What is due first is worked first, so all before it are. */
static void await_run(PGconn *db, int64_t last_id)
{
    struct buf gone = BUF_INIT(256);

    buf_addf(&gone, "SELECT NOT EXISTS (SELECT FROM job_run WHERE id = %" PRId64 ")", last_id);
    bench_await(db, buf_str(&gone), 2, WAIT_MS);
    buf_release(&gone);
}

/* Samples of `runs` runs each, one after the other, from `first_id` on. */
static void take_samples(
    PGconn *const *db, pid_t worker, int64_t first_id, int64_t runs, int samples, struct cost *cost)
{
    struct bench_server_cpu before, after;

    await_run(db[0], first_id);
    for (int i = 0; i < samples; i++) {
        int64_t began = clock_us(), client = bench_cpu_ns(worker);
        bench_server_cpu_take(&before, db, 2);
        await_run(db[0], first_id + (i + 1) * runs - 1);
        bench_server_cpu_take(&after, db, 2);
        double seconds = (double)(clock_us() - began) / 1e6;
        bench_series_add(&cost->rate, (double)runs / seconds);
        bench_series_add(
            &cost->client_us, (double)(bench_cpu_ns(worker) - client) / 1e3 / (double)runs);
        bench_series_add(&cost->server_us,
            (double)bench_server_cpu_between(&before, &after) / 1e3 / (double)runs);
    }
}

static void print_row(const char *what, int64_t rows, struct cost *c, double base_us)
{
    printf("%-10s %10lld %10.0f %9.0f..%-9.0f %8.2f %8.2f %8.2f\n", what, (long long)rows,
        bench_series_at(&c->rate, 0.5), bench_series_at(&c->rate, 0), bench_series_at(&c->rate, 1),
        bench_series_at(&c->client_us, 0.5), bench_series_at(&c->server_us, 0.5),
        bench_series_at(&c->server_us, 0.5) / base_us);
    (void)fflush(stdout);
}

static void grow_backlog(PGconn *const *db, int64_t most, int64_t sample_runs)
{
    double base_us = 0;

    for (int64_t runs = 10000; runs <= most; runs *= 10) {
        struct cost cost = {0};
        int64_t each = runs / (SAMPLES + 1) < sample_runs ? runs / (SAMPLES + 1) : sample_runs;
        int64_t first = fill_backlog(db[0], runs);
        bench_exec(db[0], "BEGIN; LOCK TABLE job_run IN ACCESS EXCLUSIVE MODE");
        pid_t worker = start_worker(db[1]);
        bench_exec(db[0], "COMMIT");
        take_samples(db, worker, first, each, SAMPLES, &cost);
        bench_end(worker);
        if (base_us <= 0)
            base_us = bench_series_at(&cost.server_us, 0.5);
        print_row("backlog", runs, &cost, base_us);
        cost_release(&cost);
    }
}

static void grow_history(PGconn *const *db, int64_t most, int64_t sample_runs)
{
    double base_us = 0;

    for (int64_t rows = 0; rows <= most; rows = rows ? rows * 10 : 1000000) {
        struct cost cost = {0};
        int64_t first = fill_backlog(db[0], (SAMPLES + 1) * sample_runs);
        fill_history(db[0], rows);
        bench_exec(db[0], "BEGIN; LOCK TABLE job_run IN ACCESS EXCLUSIVE MODE");
        pid_t worker = start_worker(db[1]);
        bench_exec(db[0], "COMMIT");
        take_samples(db, worker, first, sample_runs, SAMPLES, &cost);
        bench_end(worker);
        if (base_us <= 0)
            base_us = bench_series_at(&cost.server_us, 0.5);
        print_row("history", rows, &cost, base_us);
        cost_release(&cost);
    }
}

/* Every row that is finished stays dead in the table and in its indexes: each sample in turn. */
static void drain_under_a_snapshot(PGconn *const *db, int64_t sample_runs)
{
    PGconn *holder = bench_connect("bench_holder");
    double base_us = 0;
    int64_t first = fill_backlog(db[0], (HELD_RUNS + 1) * sample_runs);

    bench_exec(holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM job");
    bench_exec(db[0], "BEGIN; LOCK TABLE job_run IN ACCESS EXCLUSIVE MODE");
    pid_t worker = start_worker(db[1]);
    bench_exec(db[0], "COMMIT");
    for (int i = 0; i < HELD_RUNS; i++) {
        struct cost cost = {0};
        take_samples(db, worker, first + i * sample_runs, sample_runs, 1, &cost);
        if (base_us <= 0)
            base_us = bench_series_at(&cost.server_us, 0.5);
        print_row("snapshot", (i + 1) * sample_runs, &cost, base_us);
        cost_release(&cost);
    }
    bench_end(worker);
    PQfinish(holder);
}

int main(void)
{
    int64_t sample_runs = bench_option("BENCH_SAMPLE_RUNS", 20000);
    PGconn *db[] = {bench_connect("bench"), bench_connect("bench")};

    bench_print_settings(db[0]);
    printf("one worker process, history kept; snapshot: runs drained since it was taken\n");
    printf(
        "%-10s %10s %10s %20s %8s %8s %8s\n", "", "", "runs/s", "", "client", "server", "server");
    printf("%-10s %10s %10s %20s %8s %8s %8s\n", "grows", "rows", "median", "least..most", "us/run",
        "us/run", "to least");
    grow_backlog(db, bench_option("BENCH_BACKLOG_MAX", 10000000), sample_runs);
    grow_history(db, bench_option("BENCH_HISTORY_MAX", 10000000), sample_runs);
    drain_under_a_snapshot(db, sample_runs);
    PQfinish(db[0]);
    PQfinish(db[1]);
    return 0;
}
