/*
 * How long from the call that enqueues to the first line of the handler, which runs in another
 * process: one run at a time on an idle system, 120 ms apart. Beside it the bare round trip that
 * nothing can beat, a NOTIFY that another process LISTENs for, and other queues. Everybody
 * reads CLOCK_MONOTONIC of the same machine.
 *
 *     BENCH_SAMPLES=1000 BENCH_GAP_MS=120 BENCH_PEERS=1
 */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/bench.h"

#define ANSWER_MS 20000

struct contender {
    const char *name;
    const char *const *argv;
    const char *table;   /* emptied before */
    const char *enqueue; /* $1: what comes back through the handler */
    bool peer;
};

/* The enqueue call and the handler's line, which is the microseconds it began at. */
static double sample(PGconn *db, const struct contender *c, int output)
{
    struct pollfd ready = {.fd = output, .events = POLLIN};
    char line[64] = "";
    size_t len = 0;

    int64_t began = clock_us();
    PGresult *r = PQexecPrepared(db, c->name, 0, NULL, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        bench_die("%s", PQerrorMessage(db));
    PQclear(r);
    while (!memchr(line, '\n', len)) {
        if (poll(&ready, 1, ANSWER_MS) <= 0)
            bench_die("%s: no answer", c->name);
        ssize_t n = read(output, line + len, sizeof(line) - 1 - len);
        if (n <= 0 || (len += (size_t)n) == sizeof(line) - 1)
            bench_die("%s ended", c->name);
    }
    return (double)(strtoll(strrchr(line, ' ') ? strrchr(line, ' ') : line, NULL, 10) - began) /
           1e3;
}

static void measure(
    PGconn *db, const struct contender *c, int64_t samples, int gap_ms, struct bench_series *all)
{
    static const char *const env[] = {"NOOP_TRACE=/dev/stdout", NULL};
    int output;

    if (c->table)
        bench_execf(db, "TRUNCATE %s", c->table);
    pid_t pid = bench_spawn_piped(c->argv, env, &output);
    bench_await(db,
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state = 'idle' AND query <> ''",
        20, ANSWER_MS);
    for (int i = 0; i < 20; i++) { /* plans, caches, compilers warm up */
        (void)sample(db, c, output);
        bench_pass(gap_ms);
    }
    for (int64_t i = 0; i < samples; i++) {
        bench_series_add(all, sample(db, c, output));
        bench_pass(gap_ms);
    }
    (void)close(output);
    bench_end(pid);
}

/* The other side of a bare NOTIFY: this program again, told by an argument. */
static int listen_only(void)
{
    PGconn *db = bench_connect("bench_listen");
    struct pollfd ready = {.fd = PQsocket(db), .events = POLLIN};
    PGnotify *n;

    bench_exec(db, "LISTEN bench_bare");
    for (;;) {
        if (poll(&ready, 1, -1) < 0 || !PQconsumeInput(db))
            return 0;
        while ((n = PQnotifies(db)) != NULL) {
            (void)dprintf(STDOUT_FILENO, "%" PRId64 "\n", clock_us());
            PQfreemem(n);
        }
    }
}

int main(int argc, char **argv)
{
    const char *build = bench_option_text("BUILD", "build/release");
    struct buf worker = BUF_INIT(4096), graphile = BUF_INIT(4096), pgboss = BUF_INIT(4096);
    int64_t samples = bench_option("BENCH_SAMPLES", 1000);
    int64_t rounds = bench_option("BENCH_ROUNDS", 5);
    int gap_ms = (int)bench_option("BENCH_GAP_MS", 120);

    if (argc > 1)
        return listen_only();
    buf_addf(&worker, "%s/noop-worker", build);
    buf_addf(&graphile, "%s/work-graphile.js", bench_option_text("PEERS", "build/peers"));
    buf_addf(&pgboss, "%s/work-pgboss.js", bench_option_text("PEERS", "build/peers"));
    const char *const bare_argv[] = {argv[0], "listen", NULL};
    const char *const worker_argv[] = {buf_str(&worker), NULL};
    const char *const graphile_argv[] = {"node", buf_str(&graphile), NULL};
    const char *const pgboss_argv[] = {"node", buf_str(&pgboss), NULL};
    const struct contender contenders[] = {
        {"bare NOTIFY", bare_argv, NULL, "SELECT pg_notify('bench_bare', '')", false},
        {"tocsin", worker_argv, "job_run, job_run_done",
            "SELECT job_run_enqueue('bench', 'noop', '{}')", false},
        {"graphile-worker", graphile_argv, "graphile_worker._private_jobs",
            "SELECT graphile_worker.add_job('noop', '{\"told\": true}')", true},
        {"pg-boss", pgboss_argv, NULL,
            "INSERT INTO pgboss.job (name, data, policy, keep_until) VALUES ('bench',"
            " '{\"told\": true}', 'standard', now() + interval '1 day') RETURNING id",
            true},
    };
    enum { N = sizeof(contenders) / sizeof(*contenders) };
    static struct bench_series all[N];
    PGconn *db = bench_connect("bench");

    bench_print_settings(db);
    printf("enqueue call to handler, %lld samples %d ms apart, %lld rounds taken in turns\n",
        (long long)samples, gap_ms, (long long)rounds);
    for (int i = 0; i < N; i++) {
        if (contenders[i].peer && !bench_option("BENCH_PEERS", 1))
            continue;
        PQclear(PQprepare(db, contenders[i].name, contenders[i].enqueue, 0, NULL));
    }
    for (int64_t round = 0; round < rounds; round++)
        for (int i = 0; i < N; i++)
            if (!contenders[i].peer || bench_option("BENCH_PEERS", 1))
                measure(db, &contenders[i], samples / rounds, gap_ms, &all[i]);
    double base = bench_series_at(&all[0], 0.5);
    printf("%-18s %9s %9s %9s %9s   %s\n", "contender", "p50 ms", "p90 ms", "p99 ms", "most ms",
        "p50 to bare NOTIFY's");
    for (int i = 0; i < N; i++)
        if (all[i].n)
            printf("%-18s %9.2f %9.2f %9.2f %9.2f   %.2f\n", contenders[i].name,
                bench_series_at(&all[i], 0.5), bench_series_at(&all[i], 0.9),
                bench_series_at(&all[i], 0.99), bench_series_at(&all[i], 1),
                bench_series_at(&all[i], 0.5) / base);
    PQfinish(db);
    buf_release(&worker);
    buf_release(&graphile);
    buf_release(&pgboss);
    return 0;
}
