/*
 * How fast runs are put into the queue: by single calls of job_run_enqueue(), each a transaction,
 * by INSERTs of a thousand, by COPY; from one and from four sessions. Single calls are measured
 * with and without their hint, a worker that listens beside them, in turns.
 *
 *     BENCH_SECONDS=3 BENCH_ROUNDS=5
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/bench.h"

#define PAYLOAD                                                                                    \
    "{\"to\": \"owner\", \"text\": \"a payload as long as most of them are, so that copying it "   \
    "costs what it costs\"}"
#define SESSIONS_MAX 4

struct way {
    const char *name;
    const char *sql; /* prepared; NULL: COPY */
    int rows;        /* of one call */
    bool silent;     /* hints are off */
    size_t beside;   /* the way that it is compared with, of the same round */
};

enum { SINGLE, NOTIFY_EACH, HINT, ENQUEUE_SILENT, ENQUEUE, INSERT_1000, COPY_1000, N_WAYS };

#define INSERT_ONE                                                                                 \
    "WITH made AS (INSERT INTO job_run (queue, handler, payload) VALUES ('bench', 'noop', "        \
    "'" PAYLOAD "') RETURNING id) SELECT id"

static const struct way ways[N_WAYS] = {
    [SINGLE] = {"single INSERT", INSERT_ONE " FROM made", 1, false, SINGLE},
    [NOTIFY_EACH] = {"and NOTIFY each", INSERT_ONE ", pg_notify('tocsin_bench', '') FROM made", 1,
        false, SINGLE},
    [HINT] = {"and job_run_hint()", INSERT_ONE ", job_run_hint('bench') FROM made", 1, false,
        SINGLE},
    [ENQUEUE_SILENT] = {"enqueue(), hints off",
        "SELECT job_run_enqueue('bench', 'noop', '" PAYLOAD "')", 1, true, SINGLE},
    [ENQUEUE] = {"job_run_enqueue()", "SELECT job_run_enqueue('bench', 'noop', '" PAYLOAD "')", 1,
        false, ENQUEUE_SILENT},
    [INSERT_1000] = {"INSERT of 1000",
        "INSERT INTO job_run (queue, handler, payload) SELECT 'bench', 'noop', '" PAYLOAD
        "' FROM generate_series(1, 1000)",
        1000, false, SINGLE},
    [COPY_1000] = {"COPY of 1000", NULL, 1000, false, SINGLE},
};

static void copy(PGconn *db, const struct buf *lines)
{
    PGresult *r = PQexec(db, "COPY job_run (queue, handler, payload) FROM STDIN");

    if (PQresultStatus(r) != PGRES_COPY_IN ||
        PQputCopyData(db, lines->data, (int)lines->len) != 1 || PQputCopyEnd(db, NULL) != 1)
        bench_die("%s", PQerrorMessage(db));
    PQclear(r);
    while ((r = PQgetResult(db)) != NULL) {
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            bench_die("%s", PQerrorMessage(db));
        PQclear(r);
    }
}

/* One session, in a process of its own: calls until `ms` have passed; how many goes out as text. */
static void session(const struct way *way, int64_t ms, int out)
{
    PGconn *db = bench_connect("bench_enqueue");
    struct buf lines = BUF_INIT(1 << 20);
    int64_t calls = 0, end = clock_ms() + ms;

    for (int i = 0; !way->sql && i < way->rows; i++)
        buf_add_str(&lines, "bench\tnoop\t" PAYLOAD "\n");
    if (way->silent)
        bench_exec(db, "SET tocsin.notify = off");
    if (way->sql)
        PQclear(PQprepare(db, "way", way->sql, 0, NULL));
    for (; clock_ms() < end; calls++) {
        if (!way->sql) {
            copy(db, &lines);
            continue;
        }
        PGresult *r = PQexecPrepared(db, "way", 0, NULL, NULL, NULL, 0);
        if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
            bench_die("%s", PQerrorMessage(db));
        PQclear(r);
    }
    if (write(out, &calls, sizeof(calls)) != sizeof(calls))
        bench_die("the pipe is closed");
    _exit(0);
}

static double measure(PGconn *db, const struct way *way, int sessions, int64_t ms)
{
    int ends[2];
    int64_t calls, total = 0;

    bench_exec(db, "TRUNCATE job_run");
    if (pipe(ends) != 0)
        bench_die("no pipe");
    (void)fflush(stdout);
    for (int i = 0; i < sessions; i++) {
        pid_t pid = fork();
        if (pid == 0)
            session(way, ms, ends[1]);
        if (pid < 0)
            bench_die("fork");
    }
    for (int i = 0; i < sessions; i++) {
        if (read(ends[0], &calls, sizeof(calls)) != sizeof(calls))
            bench_die("a session died");
        total += calls;
    }
    while (wait(NULL) > 0)
        ;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return (double)total * way->rows * 1e3 / (double)ms;
}

int main(void)
{
    static struct bench_series rates[N_WAYS][SESSIONS_MAX + 1], ratios[N_WAYS][SESSIONS_MAX + 1];
    int64_t rounds = bench_option("BENCH_ROUNDS", 5), ms = bench_option("BENCH_SECONDS", 3) * 1000;
    PGconn *db = bench_connect("bench"), *listener = bench_connect("bench_listener");

    bench_print_settings(db);
    bench_exec(listener, "LISTEN tocsin_bench");
    for (int64_t round = 0; round < rounds; round++)
        for (int n = 1; n <= SESSIONS_MAX; n *= 4) {
            double rate[N_WAYS];
            for (size_t i = 0; i < N_WAYS; i++) {
                rate[i] = measure(db, &ways[i], n, ms);
                bench_series_add(&rates[i][n], rate[i]);
                bench_series_add(&ratios[i][n], rate[i] / rate[ways[i].beside]);
                (void)PQconsumeInput(listener);
                for (PGnotify *told; (told = PQnotifies(listener)) != NULL;)
                    PQfreemem(told);
            }
        }
    printf("%-24s %9s %10s %21s   %-22s %s\n", "way", "sessions", "runs/s", "least..most",
        "ratio, same round", "to");
    for (size_t i = 0; i < N_WAYS; i++)
        for (int n = 1; n <= SESSIONS_MAX; n *= 4)
            printf("%-24s %9d %10.0f %10.0f..%-9.0f   %.3f (%.3f..%.3f)    %s\n", ways[i].name, n,
                bench_series_at(&rates[i][n], 0.5), bench_series_at(&rates[i][n], 0),
                bench_series_at(&rates[i][n], 1), bench_series_at(&ratios[i][n], 0.5),
                bench_series_at(&ratios[i][n], 0), bench_series_at(&ratios[i][n], 1),
                ways[ways[i].beside].name);
    bench_exec(db, "TRUNCATE job_run");
    PQfinish(listener);
    PQfinish(db);
    return 0;
}
