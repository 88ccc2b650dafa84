/*
 * The fixture itself: paths, files, waiting, failing.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "harness_internal.h"

#define TURN_MS          10
#define CLUSTER_START_MS 60000

char *harness_format(const char *fmt, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    return text;
}

const char *harness_keep(struct harness *h, const char *text)
{
    size_t len = strlen(text) + 1;
    struct harness_text *kept = malloc(sizeof *kept + len);

    if (!kept)
        abort();
    memcpy(kept->text, text, len);
    kept->next = h->texts;
    h->texts = kept;
    return kept->text;
}

void harness_fail(struct harness *h, const char *fmt, ...)
{
    va_list args;
    char *why = NULL;

    for (struct harness_proc *p = h->procs; p; p = p->next)
        fprintf(stderr, "--- %s (pid %d) wrote:\n%s\n", p->name, (int)p->pid, harness_proc_log(p));
    va_start(args, fmt);
    if (vasprintf(&why, fmt, args) < 0)
        abort();
    va_end(args);
    print_error("%s\n", why);
    free(why);
    fail();
    abort();
}

void harness_turn(struct harness *h)
{
    if (h->on_wait)
        h->on_wait(h->on_wait_arg);
    (void)poll(NULL, 0, TURN_MS);
}

void harness_on_wait(struct harness *h, void (*fn)(void *arg), void *arg)
{
    h->on_wait = fn;
    h->on_wait_arg = arg;
}

void harness_await_that(
    struct harness *h, int64_t deadline_ms, bool (*cond)(void *arg), void *arg, const char *what)
{
    int64_t end = clock_ms() + deadline_ms;

    while (!cond(arg)) {
        if (clock_ms() > end)
            harness_fail(h, "not within %lld ms: %s", (long long)deadline_ms, what);
        harness_turn(h);
    }
}

/* --- files ----------------------------------------------------------------------------------- */

const char *harness_dir(struct harness *h)
{
    return h->dir;
}

const char *harness_root(struct harness *h)
{
    return h->root;
}

const char *harness_write_file(struct harness *h, const char *name, const char *text)
{
    char *path = harness_format("%s/%s", h->dir, name);
    const char *kept = harness_keep(h, path);
    FILE *file = fopen(path, "we");

    free(path);
    if (!file || fputs(text, file) == EOF || fclose(file) != 0)
        harness_fail(h, "%s: %s", kept, strerror(errno));
    return kept;
}

static void remove_dir(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", dir, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}

/* Cuts the last n components off a path. */
static void strip_components(char *path, int n)
{
    for (; n > 0; n--) {
        char *slash = strrchr(path, '/');

        if (slash)
            *slash = '\0';
    }
}

/* A test program is <root>/build/<mode>/tests/<suite>/test_<module>. */
static bool find_paths(struct harness *h)
{
    char *self = realpath("/proc/self/exe", NULL);

    if (!self)
        return false;
    strip_components(self, 3);
    h->bin = harness_format("%s/bin", self);
    strip_components(self, 2);
    h->root = self;
    return true;
}

/* --- the fixture ----------------------------------------------------------------------------- */

static bool make_dir(struct harness *h)
{
    h->dir = harness_format("/tmp/tocsin-test-XXXXXX");
    return mkdtemp(h->dir) != NULL && chmod(h->dir, 0755) == 0;
}

static int cluster(struct harness *h, const char *command, const char *option, const char **ret)
{
    char *state = harness_format("STATE=%s", h->cluster);
    struct harness_proc *p = harness_spawn_path(h, "deploy/dev/cluster",
        (const char *const[]){command, option, NULL}, (const char *const[]){state, NULL});
    int code = harness_proc_wait(p, CLUSTER_START_MS);

    free(state);
    if (code != 0)
        harness_fail(h, "deploy/dev/cluster %s: exit code %d", command, code);
    if (ret)
        *ret = harness_keep(h, harness_proc_log(p));
    return code;
}

void harness_postgres_stop(struct harness *h)
{
    assert_non_null(h->cluster);
    (void)cluster(h, "stop", NULL, NULL);
}

void harness_postgres_crash(struct harness *h)
{
    assert_non_null(h->cluster);
    (void)cluster(h, "stop", "--crash", NULL);
}

void harness_postgres_start(struct harness *h)
{
    assert_non_null(h->cluster);
    (void)cluster(h, "start", "--fast", NULL);
    PQreset(h->maintenance);
    PQreset(h->conn);
}

static bool find_server(struct harness *h, bool alone)
{
    const char *dsn = getenv("TOCSIN_TEST_DSN");

    if (alone) {
        h->cluster = harness_format("%s/cluster", h->dir);
        (void)cluster(h, "start", "--fast", NULL);
        (void)cluster(h, "dsn", NULL, &dsn);
    }
    if (!dsn) {
        print_error("TOCSIN_TEST_DSN is not set: start tests with tests/run, or export "
                    "TOCSIN_TEST_DSN=$(make -s db)\n");
        return false;
    }
    h->server = harness_format("%.*s", (int)strcspn(dsn, "\n"), dsn);
    return true;
}

static int setup(void **state, bool alone)
{
    struct harness *h = calloc(1, sizeof *h);

    if (!h)
        return -1;
    *state = h;
    if (find_paths(h) && make_dir(h) && find_server(h, alone) && harness_clone(h))
        return 0;
    (void)harness_teardown(state);
    return -1;
}

int harness_setup(void **state)
{
    return setup(state, false);
}

int harness_setup_alone(void **state)
{
    return setup(state, true);
}

int harness_teardown(void **state)
{
    struct harness *h = *state;
    int sanitized;

    if (!h)
        return 0;
    sanitized = harness_procs_release(h);
    harness_drop(h);
    if (h->cluster)
        (void)cluster(h, "destroy", NULL, NULL);
    (void)harness_procs_release(h);
    if (h->dir)
        remove_dir(h->dir);
    while (h->texts) {
        struct harness_text *next = h->texts->next;

        free(h->texts);
        h->texts = next;
    }
    free(h->root);
    free(h->bin);
    free(h->server);
    free(h->name);
    free(h->dir);
    free(h->cluster);
    free(h);
    *state = NULL;
    return sanitized ? -1 : 0;
}
