#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- CPU ----------------------------------------------------------------------------------- */

int64_t bench_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec t;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* proc_pid_stat(5): the parent, and the ticks of the children that were waited for. */
static bool read_stat(pid_t pid, pid_t *ret_parent, int64_t *ret_children_ticks)
{
    char path[64], text[1024];
    long long user = 0, kernel = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')');
    int parent = 0;
    if (!rest || sscanf(rest + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %lld %lld",
                     &parent, &user, &kernel) != 3)
        return false;
    *ret_parent = parent;
    *ret_children_ticks = user + kernel;
    return true;
}

static pid_t postmaster_of(PGconn *db)
{
    pid_t parent;
    int64_t ticks;

    if (!read_stat(PQbackendPID(db), &parent, &ticks))
        bench_die("the server's processes cannot be seen from here");
    return parent;
}

static bool is_own(pid_t pid, PGconn *const *own, size_t n_own)
{
    for (size_t i = 0; i < n_own; i++)
        if (PQbackendPID(own[i]) == pid)
            return true;
    return false;
}

void bench_server_cpu_take(struct bench_server_cpu *c, PGconn *const *own, size_t n_own)
{
    pid_t postmaster = postmaster_of(own[0]), parent;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    int64_t ticks;

    if (!proc)
        bench_die("/proc: %s", strerror(errno));
    c->n = 0;
    c->ended_ns = 0;
    while ((entry = readdir(proc)) != NULL) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !read_stat(pid, &parent, &ticks))
            continue;
        if (pid == postmaster)
            c->ended_ns = ticks * (1000000000 / sysconf(_SC_CLK_TCK));
        else if (parent != postmaster || is_own(pid, own, n_own))
            continue;
        if (c->n == sizeof(c->pids) / sizeof(*c->pids))
            bench_die("the server has more processes than expected");
        c->pids[c->n] = pid;
        c->ns[c->n++] = bench_cpu_ns(pid);
    }
    (void)closedir(proc);
}

int64_t bench_server_cpu_between(
    const struct bench_server_cpu *from, const struct bench_server_cpu *to)
{
    int64_t ns = to->ended_ns - from->ended_ns;

    for (size_t i = 0; i < to->n; i++) {
        ns += to->ns[i];
        for (size_t j = 0; j < from->n; j++)
            if (from->pids[j] == to->pids[i])
                ns -= from->ns[j];
    }
    return ns;
}

/* --- series -------------------------------------------------------------------------------- */

void bench_series_add(struct bench_series *s, double value)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        double *grown = realloc(s->values, cap * sizeof(*grown));
        if (!grown)
            bench_die("out of memory");
        s->values = grown;
        s->cap = cap;
    }
    s->values[s->n++] = value;
}

void bench_series_reset(struct bench_series *s)
{
    s->n = 0;
}

void bench_series_release(struct bench_series *s)
{
    free(s->values);
    *s = (struct bench_series){0};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_series_at(struct bench_series *s, double share)
{
    if (!s->n)
        return 0;
    qsort(s->values, s->n, sizeof(*s->values), by_value);
    return s->values[(size_t)((double)(s->n - 1) * share + 0.5)];
}
