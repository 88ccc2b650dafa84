/*
 * Drain: how fast 1, 2 and 4 processes empty a queue of no-op runs, history kept, beside bare
 * libpq and beside other queues on PostgreSQL. The processes are started first and held back by
 * a lock on the table, so that no start-up counts; the clock runs from the release of the lock
 * until no unfinished row is left. Contenders take turns within a round.
 *
 *     BENCH_RUNS=200000 BENCH_ROUNDS=5 BENCH_PROCESSES=4 BENCH_PEERS=1
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/bench.h"

#define PROCESSES_MAX 4
#define PAYLOAD                                                                                    \
    "{\"to\": \"owner\", \"text\": \"a payload as long as most of them are, so that "              \
    "copying it costs what it costs\"}"

struct contender {
    const char *name;
    const char *argv[4]; /* BUILD, PEERS: put in front where a path starts with '@' or '%' */
    const char *fill;    /* as many rows as the setting bench.runs says */
    const char *lock;    /* the table that holds everybody back */
    const char *left;    /* whether none is left; cheap enough to be asked all the time */
    const char *check;   /* how many were finished, -1 when nobody knows */
    int most;            /* processes */
    bool peer;
};

static const struct contender contenders[] = {
    {.name = "bare libpq",
        .argv = {"@tests/bench/bench_reference"},
        .fill =
            "TRUNCATE job_run, job_run_done, daemon; INSERT INTO job_run (queue, handler, payload)"
            " SELECT 'bench', 'noop', '" PAYLOAD
            "' FROM generate_series(1, current_setting('bench.runs')::int);"
            "ANALYZE job_run",
        .lock = "job_run",
        .left =
            "SELECT NOT EXISTS (SELECT FROM (SELECT id FROM job_run ORDER BY id DESC LIMIT 1) r)",
        .check = "SELECT count(*) FROM job_run_done",
        .most = 4},
    {.name = "tocsin",
        .argv = {"@noop-worker"},
        .fill =
            "TRUNCATE job_run, job_run_done, daemon; INSERT INTO job_run (queue, handler, payload)"
            " SELECT 'bench', 'noop', '" PAYLOAD
            "' FROM generate_series(1, current_setting('bench.runs')::int);"
            "ANALYZE job_run",
        .lock = "job_run",
        .left =
            "SELECT NOT EXISTS (SELECT FROM (SELECT id FROM job_run ORDER BY id DESC LIMIT 1) r)",
        .check = "SELECT count(*) FROM job_run_done",
        .most = 4},
    {.name = "graphile-worker, best",
        .argv = {"node", "%work-graphile.js"},
        .fill =
            "TRUNCATE graphile_worker._private_jobs; SELECT count(*) FROM graphile_worker.add_jobs("
            "ARRAY(SELECT ('noop', '" PAYLOAD "', NULL, NULL, NULL, NULL, NULL, NULL)"
            "::graphile_worker.job_spec FROM generate_series(1, "
            "current_setting('bench.runs')::int)));"
            "ANALYZE graphile_worker._private_jobs",
        .lock = "graphile_worker._private_jobs",
        .left = "SELECT NOT EXISTS (SELECT FROM (SELECT id FROM graphile_worker._private_jobs"
                " ORDER BY id DESC LIMIT 1) r)",
        .check = "SELECT -1",
        .most = 2,
        .peer = true},
    {.name = "pg-boss, best",
        .argv = {"node", "%work-pgboss.js"},
        .fill = "DELETE FROM pgboss.job; INSERT INTO pgboss.job (name, data, policy, keep_until)"
                " SELECT 'bench', '" PAYLOAD "', 'standard', now() + interval '14 days'"
                " FROM generate_series(1, current_setting('bench.runs')::int)",
        .lock = "pgboss.job",
        .left = "SELECT CASE WHEN EXISTS (SELECT FROM pgboss.job WHERE name = 'bench'"
                " AND state < 'active') THEN false"
                " ELSE NOT EXISTS (SELECT FROM pgboss.job WHERE name = 'bench'"
                " AND state < 'completed') END",
        .check = "SELECT count(*) FROM pgboss.job WHERE state = 'completed'",
        .most = 2,
        .peer = true},
};
#define N_CONTENDERS (sizeof(contenders) / sizeof(*contenders))

struct cell {
    struct bench_series rate, client_us, server_us, ratio;
};

static char *in_folder(const char *word)
{
    struct buf path = BUF_INIT(4096);

    if (*word == '@')
        buf_addf(&path, "%s/%s", bench_option_text("BUILD", "build/release"), word + 1);
    else if (*word == '%')
        buf_addf(&path, "%s/%s", bench_option_text("PEERS", "build/peers"), word + 1);
    else
        buf_add_str(&path, word);
    char *stolen = buf_steal(&path);
    if (!stolen)
        bench_die("out of memory");
    return stolen;
}

static pid_t start(const struct contender *c)
{
    char *argv[4] = {NULL};

    for (size_t i = 0; i < 3 && c->argv[i]; i++)
        argv[i] = in_folder(c->argv[i]);
    pid_t pid = bench_spawn((const char *const *)argv, NULL);
    for (size_t i = 0; i < 3; i++)
        free(argv[i]);
    return pid;
}

static void fill(PGconn *db, const struct contender *c, long runs)
{
    char vacuum[128];

    (void)snprintf(vacuum, sizeof(vacuum), "VACUUM (ANALYZE) %s", c->lock);
    bench_execf(db, "SET bench.runs = %ld", runs);
    bench_exec(db, c->fill);
    bench_exec(db, vacuum);
    bench_exec(db, "CHECKPOINT");
}

/* One drain; its rate in runs a second. */
static double drain(
    PGconn *const *db, const struct contender *c, int processes, long runs, struct cell *cell)
{
    pid_t pids[PROCESSES_MAX];
    struct bench_server_cpu before, after;
    char waiting[256];
    int64_t client_ns = 0;

    fill(db[0], c, runs);
    bench_execf(db[0], "BEGIN; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", c->lock);
    for (int i = 0; i < processes; i++)
        pids[i] = start(c);
    (void)snprintf(waiting, sizeof(waiting),
        "SELECT count(DISTINCT application_name || '/' || CASE WHEN application_name LIKE 'peer%%'"
        " THEN 0 ELSE pid END) >= %d FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()",
        processes);
    bench_await(db[1], waiting, 20, 60000);
    bench_pass(300); /* what else a process does at its start is over then */
    bench_server_cpu_take(&before, db, 2);
    for (int i = 0; i < processes; i++)
        client_ns -= bench_cpu_ns(pids[i]);
    int64_t began = clock_us();
    bench_exec(db[0], "COMMIT");
    bench_await(db[1], c->left, 4, 300000);
    double seconds = (double)(clock_us() - began) / 1e6;
    for (int i = 0; i < processes; i++)
        client_ns += bench_cpu_ns(pids[i]);
    bench_server_cpu_take(&after, db, 2);
    int64_t finished = bench_int(db[1], c->check);
    if (finished >= 0 && finished != runs)
        bench_die("%s: %lld of %ld runs have a history", c->name, (long long)finished, runs);
    for (int i = 0; i < processes; i++)
        bench_end(pids[i]);
    bench_series_add(&cell->rate, (double)runs / seconds);
    bench_series_add(&cell->client_us, (double)client_ns / 1e3 / (double)runs);
    bench_series_add(
        &cell->server_us, (double)bench_server_cpu_between(&before, &after) / 1e3 / (double)runs);
    return (double)runs / seconds;
}

static void print_cells(struct cell cells[N_CONTENDERS][PROCESSES_MAX + 1])
{
    printf("%-24s %5s %12s %21s %10s %10s %18s\n", "", "", "runs/s", "", "client", "server",
        "ratio to bare");
    printf("%-24s %5s %12s %21s %10s %10s %18s\n", "contender", "procs", "median", "least..most",
        "us/run", "us/run", "libpq, same round");
    for (size_t i = 0; i < N_CONTENDERS; i++)
        for (int p = 1; p <= PROCESSES_MAX; p *= 2) {
            struct cell *c = &cells[i][p];
            if (!c->rate.n)
                continue;
            printf("%-24s %5d %12.0f %10.0f..%-9.0f %10.2f %10.2f %6.2f (%.2f..%.2f)\n",
                contenders[i].name, p, bench_series_at(&c->rate, 0.5), bench_series_at(&c->rate, 0),
                bench_series_at(&c->rate, 1), bench_series_at(&c->client_us, 0.5),
                bench_series_at(&c->server_us, 0.5), bench_series_at(&c->ratio, 0.5),
                bench_series_at(&c->ratio, 0), bench_series_at(&c->ratio, 1));
        }
    (void)fflush(stdout);
}

int main(void)
{
    static struct cell cells[N_CONTENDERS][PROCESSES_MAX + 1];
    long runs = (long)bench_option("BENCH_RUNS", 200000);
    int64_t rounds = bench_option("BENCH_ROUNDS", 5), most = bench_option("BENCH_PROCESSES", 4);
    bool peers = bench_option("BENCH_PEERS", 1) != 0;
    const char *only = bench_option_text("BENCH_ONLY", NULL);
    PGconn *db[] = {bench_connect("bench"), bench_connect("bench")};

    bench_print_settings(db[0]);
    printf("drain of %ld no-op runs, %lld rounds\n", runs, (long long)rounds);
    for (int64_t round = 0; round < rounds; round++)
        for (int p = 1; p <= PROCESSES_MAX && p <= most; p *= 2) {
            double reference = 0;
            for (size_t i = 0; i < N_CONTENDERS; i++) {
                const struct contender *c = &contenders[i];
                if (p > c->most || (c->peer && !peers) || (only && i && !strstr(c->name, only)))
                    continue;
                double rate = drain(db, c, p, runs, &cells[i][p]);
                if (i == 0)
                    reference = rate;
                bench_series_add(&cells[i][p].ratio, rate / reference);
                (void)fprintf(stderr, "  round %lld: %s, %d processes: %.0f runs/s\n",
                    (long long)round + 1, c->name, p, rate);
            }
        }
    print_cells(cells);
    for (size_t i = 0; i < 2; i++)
        PQfinish(db[i]);
    return 0;
}
