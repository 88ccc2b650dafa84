#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define END_MS 10000

void bench_die(const char *fmt, ...)
{
    va_list args;

    (void)fflush(stdout);
    va_start(args, fmt);
    (void)fputs("bench: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

const char *bench_option_text(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

int64_t bench_option(const char *name, int64_t fallback)
{
    const char *value = bench_option_text(name, NULL);
    char *end;

    if (!value)
        return fallback;
    int64_t number = strtoll(value, &end, 10);
    if (*end || number < 0)
        bench_die("%s=%s is no number", name, value);
    return number;
}

const char *bench_dsn(void)
{
    const char *dsn = bench_option_text("BENCH_DSN", NULL);
    if (!dsn)
        bench_die("BENCH_DSN is not set: start this through make bench-…");
    return dsn;
}

/* --- the database -------------------------------------------------------------------------- */

PGconn *bench_connect(const char *application_name)
{
    const char *const keys[] = {"dbname", "application_name", NULL};
    const char *const values[] = {bench_dsn(), application_name, NULL};
    PGconn *db = PQconnectdbParams(keys, values, 1);

    if (PQstatus(db) != CONNECTION_OK)
        bench_die("%s", PQerrorMessage(db));
    return db;
}

static PGresult *query(PGconn *db, const char *sql)
{
    PGresult *r = PQexec(db, sql);
    ExecStatusType status = PQresultStatus(r);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        bench_die("%s\n  in: %s", PQerrorMessage(db), sql);
    return r;
}

void bench_exec(PGconn *db, const char *sql)
{
    PQclear(query(db, sql));
}

void bench_execf(PGconn *db, const char *fmt, ...)
{
    struct buf sql = BUF_INIT(1 << 20);
    va_list args;

    va_start(args, fmt);
    buf_vaddf(&sql, fmt, args);
    va_end(args);
    if (buf_err(&sql))
        bench_die("out of memory");
    bench_exec(db, buf_str(&sql));
    buf_release(&sql);
}

int64_t bench_int(PGconn *db, const char *sql)
{
    PGresult *r = query(db, sql);
    int64_t n = PQntuples(r) ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : 0;

    PQclear(r);
    return n;
}

bool bench_bool(PGconn *db, const char *sql)
{
    PGresult *r = query(db, sql);
    bool is = PQntuples(r) && *PQgetvalue(r, 0, 0) == 't';

    PQclear(r);
    return is;
}

void bench_await(PGconn *db, const char *sql, int every_ms, int64_t deadline_ms)
{
    int64_t deadline = clock_ms() + deadline_ms;

    while (!bench_bool(db, sql)) {
        if (clock_ms() > deadline)
            bench_die("not true within %lld ms: %s", (long long)deadline_ms, sql);
        bench_pass(every_ms);
    }
}

void bench_print_settings(PGconn *db)
{
    PGresult *r = query(db,
        "SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name)"
        " FROM pg_settings WHERE name IN ('server_version', 'fsync', 'synchronous_commit',"
        " 'full_page_writes', 'shared_buffers', 'max_wal_size', 'wal_level', 'autovacuum',"
        " 'autovacuum_naptime', 'wal_sync_method')");
    struct utsname host;
    double load[3] = {0};

    (void)uname(&host);
    (void)getloadavg(load, 3);
    printf("PostgreSQL: %s\n", PQgetvalue(r, 0, 0));
    printf("host: %s %s %s, %ld cores, load %.2f %.2f %.2f before\n\n", host.sysname, host.release,
        host.machine, sysconf(_SC_NPROCESSORS_ONLN), load[0], load[1], load[2]);
    (void)fflush(stdout);
    PQclear(r);
}

/* --- processes ----------------------------------------------------------------------------- */

static int open_log(void)
{
    int fd = open(bench_option_text("BENCH_LOG", "/dev/null"),
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        bench_die("BENCH_LOG: %s", strerror(errno));
    return fd;
}

static pid_t spawn(const char *const *argv, const char *const *env, int out, int err)
{
    pid_t pid = fork();

    if (pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    for (; env && *env; env++)
        (void)putenv((char *)*env);
    (void)execvp(argv[0], (char *const *)argv);
    (void)dprintf(STDERR_FILENO, "bench: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t bench_spawn(const char *const *argv, const char *const *env)
{
    int log = open_log();
    pid_t pid = spawn(argv, env, log, log);

    (void)close(log);
    return pid;
}

pid_t bench_spawn_piped(const char *const *argv, const char *const *env, int *ret_output)
{
    int ends[2], log = open_log();

    if (pipe2(ends, O_CLOEXEC) != 0)
        bench_die("pipe: %s", strerror(errno));
    pid_t pid = spawn(argv, env, ends[1], log);
    (void)close(ends[1]);
    (void)close(log);
    *ret_output = ends[0];
    return pid;
}

void bench_end(pid_t pid)
{
    int64_t deadline = clock_ms() + END_MS;
    int status;

    (void)kill(pid, SIGTERM);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_ms() > deadline) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return;
        }
        bench_pass(2);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        bench_die("a program could not be started; see %s", bench_option_text("BENCH_LOG", ""));
}

void bench_pass(int ms)
{
    (void)poll(NULL, 0, ms);
}
