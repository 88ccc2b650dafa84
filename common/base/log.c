#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_line.h"

#define NS_PER_MS 1000000

/* Written by log_setup(), before the first line, and log_set_hook() alone. */
static struct {
    const char *exe;
    enum log_level lowest;
    enum log_format format;
    bool colour;
    log_hook_fn *hook;
    void *hook_arg;
} settings = {.exe = "tocsin", .lowest = LOG_LEVEL_INFO, .format = LOG_FORMAT_LOGFMT};

void log_setup(const char *exe, enum log_level lowest, enum log_format format)
{
    settings.exe = exe;
    settings.lowest = lowest;
    settings.format = format;
    settings.colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
}

void log_set_hook(log_hook_fn *hook, void *arg)
{
    settings.hook = hook;
    settings.hook_arg = arg;
}

static void tell_hook(const struct log_event *event)
{
    log_hook_fn *hook = settings.hook;

    settings.hook = NULL;
    hook(settings.hook_arg, event);
    settings.hook = hook;
}

static void write_line(const struct log_line *line)
{
    ssize_t n;

    do {
        n = write(STDERR_FILENO, line->data, line->len);
    } while (n < 0 && errno == EINTR);
}

/* `own` are the fields that log_failure() adds to the caller's. */
static void emit(enum log_level level, const struct log_field *fields, size_t n_fields,
    const struct log_field *own, size_t n_own, const char *fmt, const char *msg)
{
    struct timespec now;
    struct log_line line;
    struct log_event event = {
        .level = level,
        .exe = settings.exe,
        .fmt = fmt,
        .msg = msg,
        .fields = {fields, own},
        .n_fields = {n_fields, n_own},
        .colour = settings.colour,
    };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    event.unix_s = now.tv_sec;
    event.ms = (int)(now.tv_nsec / NS_PER_MS);
    log_line_format(&line, settings.format, &event);
    write_line(&line);
    if (level == LOG_LEVEL_ERROR && settings.hook)
        tell_hook(&event);
}

void log_write(
    enum log_level level, const struct log_field *fields, size_t n_fields, const char *fmt, ...)
{
    struct log_line msg;
    va_list args;
    int saved = errno;

    if (level < settings.lowest)
        return;
    va_start(args, fmt);
    log_line_vprintf(&msg, fmt, args);
    va_end(args);
    emit(level, fields, n_fields, NULL, 0, fmt, msg.data);
    errno = saved;
}

void log_failure(enum log_level level, const struct failure *f, const struct log_field *fields,
    size_t n_fields, const char *fmt, ...)
{
    struct log_line msg;
    va_list args;
    int saved = errno;

    if (level < settings.lowest)
        return;
    va_start(args, fmt);
    log_line_vprintf(&msg, fmt, args);
    va_end(args);
    if (f->detail[0]) {
        log_line_add(&msg, ": ");
        log_line_add(&msg, f->detail);
    }

    struct log_field own[3] = {F_STR("error", err_name(f->code))};
    size_t n_own = 1;
    if (f->sqlstate[0])
        own[n_own++] = F_STR("sqlstate", f->sqlstate);
    if (f->http_status)
        own[n_own++] = F_INT("http_status", f->http_status);
    emit(level, fields, n_fields, own, n_own, fmt, msg.data);
    errno = saved;
}

bool log_rate_allow(struct log_rate *r, int64_t interval_ms, uint64_t *ret_held)
{
    int64_t now = clock_ms();

    if (now < r->next_ms) {
        r->held++;
        return false;
    }
    *ret_held = r->held;
    r->held = 0;
    r->next_ms = now + interval_ms;
    return true;
}
