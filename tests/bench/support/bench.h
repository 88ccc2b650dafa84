/*
 * What the benchmarks share: a database of their own, processes, CPU time as the
 * operating system counts it, and numbers told as median with spread. Whatever
 * cannot be done ends the benchmark with a line that says what.
 */
#ifndef TOCSIN_TESTS_BENCH_H
#define TOCSIN_TESTS_BENCH_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

_Noreturn void bench_die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A number, or words, from the environment. */
int64_t bench_option(const char *name, int64_t fallback);
const char *bench_option_text(const char *name, const char *fallback);
/* BENCH_DSN, which tests/bench/run sets. */
const char *bench_dsn(void);

/* --- the database -------------------------------------------------------------------------- */

PGconn *bench_connect(const char *application_name);
/* One or more statements. */
void bench_exec(PGconn *db, const char *sql);
void bench_execf(PGconn *db, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The first column of the first row as a number; 0 for NULL. */
int64_t bench_int(PGconn *db, const char *sql);
bool bench_bool(PGconn *db, const char *sql);
/* Asks every `every_ms` until the statement gives true; dies after `deadline_ms`. */
void bench_await(PGconn *db, const char *sql, int every_ms, int64_t deadline_ms);
/* Prints what the numbers depend on. */
void bench_print_settings(PGconn *db);

/* --- processes ----------------------------------------------------------------------------- */

/* Starts a program; `env` ("NAME=value", NULL-terminated, may be NULL) goes over ours. Its
 * output goes to bench.log in the state directory. It dies with the benchmark. */
pid_t bench_spawn(const char *const *argv, const char *const *env);
/* The same, its stdout at *ret_output. */
pid_t bench_spawn_piped(const char *const *argv, const char *const *env, int *ret_output);
/* SIGTERM, then waits; what does not end within ten seconds is killed. */
void bench_end(pid_t pid);
/* Waits for `ms` milliseconds. */
void bench_pass(int ms);

/* --- CPU ----------------------------------------------------------------------------------- */

/* CPU time of a process, all its threads, user and system, ns. 0 when it is gone. */
int64_t bench_cpu_ns(pid_t pid);

struct bench_server_cpu {
    int64_t ns[512];
    pid_t pids[512];
    size_t n;
    int64_t ended_ns; /* of the server's children that are reaped */
};
/* Takes the time of every process of the server but the backends of `own`. */
void bench_server_cpu_take(struct bench_server_cpu *c, PGconn *const *own, size_t n_own);
/* What it used between two takes. */
int64_t bench_server_cpu_between(
    const struct bench_server_cpu *from, const struct bench_server_cpu *to);

/* --- numbers ------------------------------------------------------------------------------- */

struct bench_series {
    double *values;
    size_t n, cap;
};
void bench_series_add(struct bench_series *s, double value);
void bench_series_reset(struct bench_series *s);
void bench_series_release(struct bench_series *s);
/* Sorts; 0.5 is the median. 0 of an empty series. */
double bench_series_at(struct bench_series *s, double share);

#endif
