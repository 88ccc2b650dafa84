/*
 * Real processes under test. What they write goes to a file in memory, so that no
 * process ever waits for its test to read.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "harness_internal.h"

#define ARGS_MAX 64
#define ENV_MAX  96
#define STOP_MS  15000
#define RUN_MS   120000

/* --- starting -------------------------------------------------------------------------------- */

struct environment {
    const char *vars[ENV_MAX];
    size_t n;
};

/* A later value of a name replaces an earlier one. */
static void environment_set(struct environment *env, const char *var)
{
    size_t name = strcspn(var, "=") + 1;

    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->vars[i], var, name) == 0) {
            env->vars[i] = var;
            return;
        }
    }
    assert_true(env->n + 1 < ENV_MAX);
    env->vars[env->n++] = var;
}

/* tocsin_worker_calendar for worker-calendar; NULL, the superuser, for anything else. */
static char *role_of(const char *exe)
{
    char *role = NULL;

    if (strncmp(exe, "tocsin-", 7) == 0 || strchr(exe, '/'))
        return NULL;
    role = harness_format("tocsin_%s", exe);
    for (char *c = role; *c; c++)
        if (*c == '-')
            *c = '_';
    return role;
}

static void environment_fill(
    struct environment *env, struct harness *h, const char *exe, const char *const *extra)
{
    const char *path = getenv("PATH");
    char *role = role_of(exe);
    char *var;

    var = harness_format("PATH=%s", path ? path : "/usr/bin:/bin");
    environment_set(env, harness_keep(h, var));
    free(var);
    environment_set(env, "TZ=UTC");
    environment_set(env, "LOG_FORMAT=logfmt");
    environment_set(env, "LOG_LEVEL=debug");
    environment_set(env, "ASAN_OPTIONS=exitcode=99:detect_leaks=1:abort_on_error=0");
    environment_set(env, "UBSAN_OPTIONS=exitcode=99:print_stacktrace=1");
    if (h->name) {
        var = harness_format("TOCSIN_DATABASE_URL=%s", harness_dsn(h, role));
        environment_set(env, harness_keep(h, var));
        free(var);
    }
    free(role);
    for (; extra && *extra; extra++)
        environment_set(env, *extra);
    env->vars[env->n] = NULL;
}

static void become(const char *path, const char *const *argv, const char *const *env, int out)
    __attribute__((noreturn));
static void become(const char *path, const char *const *argv, const char *const *env, int out)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
        (void)execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    dprintf(2, "%s: %s\n", path, strerror(errno));
    _exit(127);
}

static struct harness_proc *start(struct harness *h, const char *path, const char *exe,
    const char *const *args, const char *const *extra)
{
    struct harness_proc *p = calloc(1, sizeof *p);
    struct environment env = {0};
    const char *argv[ARGS_MAX] = {path};

    for (size_t i = 0; args && args[i]; i++) {
        assert_true(i + 2 < ARGS_MAX);
        argv[i + 1] = args[i];
    }
    environment_fill(&env, h, exe, extra);
    if (!p)
        abort();
    p->h = h;
    p->name = harness_format("%s", exe);
    p->out = memfd_create(exe, MFD_CLOEXEC);
    p->pid = p->out < 0 ? -1 : fork();
    if (p->pid == 0)
        become(path, argv, env.vars, p->out);
    p->next = h->procs;
    h->procs = p;
    if (p->pid < 0) {
        p->reaped = true;
        harness_fail(h, "%s: %s", path, strerror(errno));
    }
    return p;
}

struct harness_proc *harness_spawn(
    struct harness *h, const char *exe, const char *const *args, const char *const *env)
{
    char *path = harness_format("%s/%s", h->bin, exe);
    struct harness_proc *p = start(h, path, exe, args, env);

    free(path);
    return p;
}

struct harness_proc *harness_spawn_path(
    struct harness *h, const char *path, const char *const *args, const char *const *env)
{
    char *full =
        path[0] == '/' ? harness_format("%s", path) : harness_format("%s/%s", h->root, path);
    struct harness_proc *p = start(h, full, full, args, env);

    free(full);
    return p;
}

int harness_run(struct harness *h, const char *exe, const char *const *args, const char *const *env,
    const char **ret_output)
{
    struct harness_proc *p = harness_spawn(h, exe, args, env);
    int code = harness_proc_wait(p, RUN_MS);

    if (ret_output)
        *ret_output = harness_keep(h, harness_proc_log(p));
    return code;
}

/* --- its end --------------------------------------------------------------------------------- */

int harness_proc_pid(const struct harness_proc *p)
{
    return (int)p->pid;
}

static void reap(struct harness_proc *p, int options)
{
    int status;

    if (p->reaped || waitpid(p->pid, &status, options) != p->pid)
        return;
    p->reaped = true;
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool harness_proc_alive(struct harness_proc *p)
{
    reap(p, WNOHANG);
    return !p->reaped;
}

void harness_proc_signal(struct harness_proc *p, int signal)
{
    if (harness_proc_alive(p))
        (void)kill(p->pid, signal);
}

static bool is_over(void *arg)
{
    return !harness_proc_alive(arg);
}

int harness_proc_wait(struct harness_proc *p, int64_t deadline_ms)
{
    harness_await_that(p->h, deadline_ms, is_over, p, p->name);
    return p->code;
}

int harness_proc_stop(struct harness_proc *p, int64_t deadline_ms)
{
    harness_proc_signal(p, SIGTERM);
    return harness_proc_wait(p, deadline_ms);
}

void harness_proc_kill(struct harness_proc *p)
{
    harness_proc_signal(p, SIGKILL);
    reap(p, 0);
}

static bool sanitizer_spoke(struct harness_proc *p)
{
    const char *log = harness_proc_log(p);

    return p->code == HARNESS_EXIT_SANITIZER || strstr(log, "ERROR: AddressSanitizer") ||
           strstr(log, "ERROR: LeakSanitizer") || strstr(log, ": runtime error: ");
}

int harness_procs_release(struct harness *h)
{
    int64_t end = clock_ms() + STOP_MS;
    int spoke = 0;

    for (struct harness_proc *p = h->procs; p; p = p->next) {
        harness_proc_signal(p, SIGCONT);
        harness_proc_signal(p, SIGTERM);
    }
    while (h->procs) {
        struct harness_proc *p = h->procs;

        while (harness_proc_alive(p) && clock_ms() < end)
            harness_turn(h);
        harness_proc_kill(p);
        if (sanitizer_spoke(p)) {
            print_error("--- %s: a sanitizer spoke:\n%s\n", p->name, harness_proc_log(p));
            spoke++;
        }
        h->procs = p->next;
        if (p->out >= 0)
            (void)close(p->out);
        free(p->log);
        free(p->name);
        free(p);
    }
    return spoke;
}

/* --- what it wrote --------------------------------------------------------------------------- */

const char *harness_proc_log(struct harness_proc *p)
{
    struct stat st;
    size_t len, got = 0;
    char *log;

    if (p->out < 0 || fstat(p->out, &st) < 0)
        return "";
    len = (size_t)st.st_size;
    log = realloc(p->log, len + 1);
    if (!log)
        abort();
    p->log = log;
    while (got < len) {
        ssize_t n = pread(p->out, log + got, len - got, (off_t)got);

        if (n <= 0)
            break;
        got += (size_t)n;
    }
    log[got] = '\0';
    return log;
}

bool harness_proc_logged(struct harness_proc *p, const char *text)
{
    return strstr(harness_proc_log(p), text) != NULL;
}

int harness_proc_count_log(struct harness_proc *p, const char *text)
{
    const char *at = harness_proc_log(p);
    int n = 0;

    while ((at = strstr(at, text)) != NULL) {
        n++;
        at += strcspn(at, "\n");
    }
    return n;
}

struct log_condition {
    struct harness_proc *p;
    const char *text;
};

/* A process that ended will write nothing more: no need to wait for the deadline. */
static bool is_logged(void *arg)
{
    const struct log_condition *c = arg;
    bool alive = harness_proc_alive(c->p);

    if (harness_proc_logged(c->p, c->text))
        return true;
    if (!alive)
        harness_fail(
            c->p->h, "%s ended with %d and never logged: %s", c->p->name, c->p->code, c->text);
    return false;
}

void harness_proc_await_log(struct harness_proc *p, const char *text, int64_t deadline_ms)
{
    struct log_condition c = {p, text};

    harness_await_that(p->h, deadline_ms, is_logged, &c, text);
}
