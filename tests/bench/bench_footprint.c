/*
 * What each executable costs while there is nothing to do: memory, statements and CPU, and how
 * long from exec() until its row stands in `daemon` (which is when it begins to work).
 *
 *     BENCH_IDLE_SECONDS=60 BENCH_STARTS=10
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/bench.h"

static const char *const executables[] = {
    "scheduler", "worker-calendar", "worker-escalation", "worker-cleanup", "gateway"};

/* proc(5), smaps_rollup: a line such as "Pss:   1234 kB". */
static int64_t memory_kb(pid_t pid, const char *what)
{
    char path[64], line[256];
    int64_t kb = -1;

    (void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        bench_die("%s cannot be read", path);
    while (kb < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, what, strlen(what)) == 0)
            kb = strtoll(line + strlen(what), NULL, 10);
    (void)fclose(f);
    return kb;
}

static pid_t start(const char *name, PGconn *db, double *ret_ready_ms)
{
    struct buf path = BUF_INIT(4096), ready = BUF_INIT(4096);

    buf_addf(&path, "%s/bin/%s", bench_option_text("BUILD", "build/release"), name);
    const char *const argv[] = {buf_str(&path), NULL};
    const char *const env[] = {"GATEWAY_LISTEN=127.0.0.1:0", NULL}; /* a free port */
    int64_t began = clock_us();
    pid_t pid = bench_spawn(argv, env);
    buf_addf(&ready, "SELECT EXISTS (SELECT FROM daemon WHERE pid = %d AND stopped_at IS NULL)",
        (int)pid);
    bench_await(db, buf_str(&ready), 1, 20000);
    *ret_ready_ms = (double)(clock_us() - began) / 1e3;
    buf_release(&path);
    buf_release(&ready);
    return pid;
}

/* Statements that the server logged for one application; the settings of the run make it log. */
static int64_t statements(PGconn *db, const char *name)
{
    struct buf sql = BUF_INIT(4096);

    buf_addf(&sql,
        "SELECT count(*) FROM regexp_split_to_table(pg_read_file('server.log'), E'\\n') AS line"
        " WHERE line LIKE '%% %s LOG:  execute %%'",
        name);
    int64_t n = bench_int(db, buf_str(&sql));
    buf_release(&sql);
    return n;
}

static void measure(PGconn *db, const char *name, int64_t seconds, int64_t starts)
{
    struct bench_series ready = {0};
    double ms;
    pid_t pid = 0;

    for (int64_t i = 0; i < starts; i++) {
        if (pid)
            bench_end(pid);
        pid = start(name, db, &ms);
        bench_series_add(&ready, ms);
    }
    bench_pass(5000); /* the work of a start is over */
    int64_t cpu = bench_cpu_ns(pid), said = statements(db, name);
    bench_pass((int)seconds * 1000);
    cpu = bench_cpu_ns(pid) - cpu;
    said = statements(db, name) - said;
    printf("%-18s %8.1f %8.1f %9.1f %11.1f %10.2f %9.1f %9.1f\n", name,
        (double)memory_kb(pid, "Pss:") / 1024, (double)memory_kb(pid, "Rss:") / 1024,
        (double)memory_kb(pid, "Private_Dirty:") / 1024, (double)said * 60 / (double)seconds,
        (double)cpu / 1e6 * 60 / (double)seconds, bench_series_at(&ready, 0.5),
        bench_series_at(&ready, 1));
    (void)fflush(stdout);
    bench_end(pid);
    bench_series_release(&ready);
}

int main(void)
{
    int64_t seconds = bench_option("BENCH_IDLE_SECONDS", 60);
    PGconn *db = bench_connect("bench");

    bench_print_settings(db);
    bench_exec(db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET log_statement = ''all''',"
                   " current_database()); END $$");
    printf("idle for %lld s each, nothing enqueued\n", (long long)seconds);
    printf("%-18s %8s %8s %9s %11s %10s %9s %9s\n", "", "PSS", "RSS", "private", "statements",
        "CPU ms", "ready ms", "ready ms");
    printf("%-18s %8s %8s %9s %11s %10s %9s %9s\n", "executable", "MB", "MB", "dirty MB",
        "a minute", "a minute", "median", "most");
    for (size_t i = 0; i < sizeof(executables) / sizeof(*executables); i++)
        measure(db, executables[i], seconds, bench_option("BENCH_STARTS", 10));
    PQfinish(db);
    return 0;
}
