/*
 * How one event becomes one line of text, without allocating: a line can be
 * written when memory is short. log.h is what the rest of the code calls.
 */
#ifndef TOCSIN_BASE_LOG_LINE_H
#define TOCSIN_BASE_LOG_LINE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

#define LOG_LINE_MAX 16384

/* Always NUL-terminated. What does not fit is left out, and an ellipsis says so. */
struct log_line {
    size_t len;
    bool cut;
    char data[LOG_LINE_MAX];
};

struct log_event {
    int64_t unix_s;
    int ms;
    enum log_level level;
    const char *exe;
    const char *fmt; /* the message before its values were put in; NULL: not known */
    const char *msg;
    const struct log_field *fields[2]; /* the caller's, then ours */
    size_t n_fields[2];
    bool colour; /* LOG_FORMAT_PLAIN alone */
};

/* Starts the line with the formatted text. */
void log_line_vprintf(struct log_line *line, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

/* Appends text as it is. */
void log_line_add(struct log_line *line, const char *s);

/* Writes the whole event over `line`, the newline included. */
void log_line_format(struct log_line *line, enum log_format format, const struct log_event *event);

#endif
