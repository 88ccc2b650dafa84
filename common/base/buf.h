/*
 * A growing byte buffer with a declared ceiling and an error that sticks: add
 * without checking, then ask buf_err() once. Always NUL-terminated.
 */
#ifndef TOCSIN_BASE_BUF_H
#define TOCSIN_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"

struct buf {
    char *data; /* NULL until the first byte */
    size_t len;
    size_t cap;
    size_t max; /* len never passes it */
    int err;    /* 0, ERR_NOMEM or ERR_TOO_LARGE; later additions do nothing */
};

#define BUF_INIT(ceiling)                                                                          \
    {                                                                                              \
        .max = (ceiling)                                                                           \
    }

/* An empty buffer that will hold at most `max` bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max);

/* Frees the memory and leaves an empty buffer with the same ceiling. */
void buf_release(struct buf *b);

/* Like buf_release(), but the bytes are wiped first. */
void buf_release_secret(struct buf *b);

/* Empties the buffer, forgets its error and keeps its memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

/* Adds `s` percent-encoded: all but RFC 3986's unreserved characters. */
void buf_add_percent(struct buf *b, const char *s);

/* Adds `s` escaped for XML text and attribute values. */
void buf_add_xml(struct buf *b, const char *s);

/* The bytes so far as a string, "" when there are none. Valid until the next change. */
const char *buf_str(const struct buf *b);

/* 0, or the first error met. */
MUST_CHECK int buf_err(const struct buf *b);

/* Hands the memory to the caller, who frees it with free(); the buffer is empty
 * after it. Never NULL without an error: an empty buffer gives "". On a sticky
 * error, or when memory is short, returns NULL. */
MUST_CHECK char *buf_steal(struct buf *b);

#endif
