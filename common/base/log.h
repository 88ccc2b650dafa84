/*
 * Structured lines on standard error: `time level exe msg key=value…` as logfmt
 * or JSON, or as plain text for a person at a terminal. One event, one line,
 * once, with the id that an operator looks for.
 *
 *     log_info(F(F_INT("user_id", 7)), "Calendar sync completed for user %d: …", 7, …);
 *     log_warn(F_NONE, "connection lost");
 */
#ifndef TOCSIN_BASE_LOG_H
#define TOCSIN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/failure.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON, LOG_FORMAT_PLAIN };

enum log_type { LOG_TYPE_INT, LOG_TYPE_STR, LOG_TYPE_BOOL };

struct log_field {
    const char *key;
    enum log_type type;
    union {
        int64_t i;
        const char *s; /* NULL: the field is left out */
        bool b;
    } v;
};

#define F_INT(k, val)  ((struct log_field){.key = (k), .type = LOG_TYPE_INT, .v.i = (val)})
#define F_STR(k, val)  ((struct log_field){.key = (k), .type = LOG_TYPE_STR, .v.s = (val)})
#define F_BOOL(k, val) ((struct log_field){.key = (k), .type = LOG_TYPE_BOOL, .v.b = (val)})
#define F(...)                                                                                     \
    (const struct log_field[]){__VA_ARGS__},                                                       \
        sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)
#define F_NONE NULL, (size_t)0

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Called once, before the first line: the name of the executable, the lowest
 * level that is written, and the shape. Before it: info, logfmt, "tocsin". */
void log_setup(const char *exe, enum log_level lowest, enum log_format format);

/* Writes one line with one write(2). Long lines end with an ellipsis at 16 kB. */
void log_write(enum log_level level, const struct log_field *fields, size_t n_fields,
    const char *fmt, ...) PRINTF_LIKE(4, 5);

struct log_event;
typedef void log_hook_fn(void *arg, const struct log_event *event);
/* From now on `hook` is told of every line of level error once it is written; NULL: nobody is. The
 * event lives until it returns, and lines that it writes itself are not told. */
void log_set_hook(log_hook_fn *hook, void *arg);

/* A failure as one line: detail after the message, and its code, sqlstate and
 * status as fields. Not to be called by a function that also returns it. */
void log_failure(enum log_level level, const struct failure *f, const struct log_field *fields,
    size_t n_fields, const char *fmt, ...) PRINTF_LIKE(5, 6);

/*
 * At most one line a key and interval: for what may fail a thousand times a
 * second. Embed one in the object that fails; zero-initialised is ready.
 */
struct log_rate {
    int64_t next_ms; /* monotonic */
    uint64_t held;   /* since the last line */
};

/* Whether to write now. *ret_held is how many were held back since the last time. */
bool log_rate_allow(struct log_rate *r, int64_t interval_ms, uint64_t *ret_held);

#endif
