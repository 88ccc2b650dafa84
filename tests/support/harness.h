/*
 * A test's own world: a database cloned from a migrated template, with a clock
 * that the test moves, and real executables that are reaped when the test ends.
 *
 *     static void test_x(void **state) { struct harness *h = *state; … }
 *     cmocka_unit_test_setup_teardown(test_x, harness_setup, harness_teardown)
 *
 * Every function fails the running test, with the logs of its processes, when it
 * cannot do what it says.
 */
#ifndef TOCSIN_TESTS_HARNESS_H
#define TOCSIN_TESTS_HARNESS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What a sanitizer makes a process exit with. */
#define HARNESS_EXIT_SANITIZER 99

struct harness;
struct harness_proc;

/* Fixtures. The cluster is TOCSIN_TEST_DSN's (tests/run sets it; `make -s db` prints one). */
int harness_setup(void **state);
/* The same on a PostgreSQL of the test's own, which it may stop and start. */
int harness_setup_alone(void **state);
/* Ends and reaps every process, drops the database. Fails when a sanitizer spoke. */
int harness_teardown(void **state);

/* --- the database ---------------------------------------------------------------------------- */

/* As a role, NULL for the superuser. Valid until the test ends. */
const char *harness_dsn(struct harness *h, const char *role);
/* A connection of the test's own, closed at its end (or before, by PQfinish() through this). */
PGconn *harness_connect(struct harness *h, const char *role);
void harness_disconnect(struct harness *h, PGconn *conn);

/* One or more statements, which must succeed. */
void harness_exec(struct harness *h, const char *sql);
void harness_execf(struct harness *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The first column of the first row; no row, or NULL, fails the test (harness_text: gives NULL).
 * A text is valid until the test ends. */
int64_t harness_int(struct harness *h, const char *sql);
int64_t harness_intf(struct harness *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool harness_bool(struct harness *h, const char *sql);
const char *harness_text(struct harness *h, const char *sql);
/* Every row as text, columns parted by '|', rows by a line break; "" for none. */
const char *harness_rows(struct harness *h, const char *sql);
/* The statement must fail with that SQLSTATE. */
void harness_refused(struct harness *h, const char *role, const char *sqlstate, const char *sql);

/* Waits until the SQL gives true; fails after `deadline_ms`. */
void harness_await(struct harness *h, int64_t deadline_ms, const char *sql);
void harness_awaitf(struct harness *h, int64_t deadline_ms, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Moves the database's now() on by an interval ('12 minutes'). The heartbeats of the daemons that
 * live, children of this test or rows with its own pid, move along, so that only the dead grow
 * old; so do the deadlines of nothing else. */
void harness_clock_advance(struct harness *h, const char *interval);

/* For harness_setup_alone() only. */
void harness_postgres_stop(struct harness *h);
/* What is not on disk is lost, as in a crash of the server. */
void harness_postgres_crash(struct harness *h);
void harness_postgres_start(struct harness *h);

/* --- processes ------------------------------------------------------------------------------- */

/* Starts $BUILD/bin/<exe> with `args` (without the name; NULL-terminated, may be NULL) and
 * `env` ("NAME=value", NULL-terminated, may be NULL) over PATH, TZ=UTC, LOG_FORMAT=logfmt,
 * LOG_LEVEL=debug and TOCSIN_DATABASE_URL as the executable's own role. Dies with the test. */
struct harness_proc *harness_spawn(
    struct harness *h, const char *exe, const char *const *args, const char *const *env);
/* The same for any program by its path from the top of the checkout, or absolute. */
struct harness_proc *harness_spawn_path(
    struct harness *h, const char *path, const char *const *args, const char *const *env);
/* Starts a program, waits for it and returns its exit code; *ret_output (may be NULL) is all that
 * it wrote to stdout and stderr, valid until the test ends. */
int harness_run(struct harness *h, const char *exe, const char *const *args, const char *const *env,
    const char **ret_output);

int harness_proc_pid(const struct harness_proc *p);
bool harness_proc_alive(struct harness_proc *p);
/* SIGTERM, SIGINT, SIGKILL, SIGSTOP, … */
void harness_proc_signal(struct harness_proc *p, int signal);
/* Its exit code, or 128 + the signal that ended it. Fails when it outlives the deadline. */
int harness_proc_wait(struct harness_proc *p, int64_t deadline_ms);
/* SIGTERM, then the exit code. */
int harness_proc_stop(struct harness_proc *p, int64_t deadline_ms);
/* SIGKILL and reap. */
void harness_proc_kill(struct harness_proc *p);

/* All that it has written so far; valid until the next call. */
const char *harness_proc_log(struct harness_proc *p);
/* Waits until some line contains `text`. */
void harness_proc_await_log(struct harness_proc *p, const char *text, int64_t deadline_ms);
bool harness_proc_logged(struct harness_proc *p, const char *text);
/* How many lines contain `text`. */
int harness_proc_count_log(struct harness_proc *p, const char *text);

/* --- waiting --------------------------------------------------------------------------------- */

/* Waits until cond(arg), fails with `what` after `deadline_ms`. Nothing else passes the time. */
void harness_await_that(
    struct harness *h, int64_t deadline_ms, bool (*cond)(void *arg), void *arg, const char *what);
/* Called on every turn of every wait, for what a test has to keep going; NULL: nothing. */
void harness_on_wait(struct harness *h, void (*fn)(void *arg), void *arg);

/* A file below a directory of the test's own, removed at its end: its absolute path. */
const char *harness_write_file(struct harness *h, const char *name, const char *text);
/* That directory. */
const char *harness_dir(struct harness *h);
/* The top of the checkout. */
const char *harness_root(struct harness *h);

#endif
