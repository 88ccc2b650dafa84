/*
 * The dialogue that delivers one mail over a connection that libcurl has made: greeted,
 * secured and authenticated. libcurl's own would block the loop until the server has
 * thought about the text (smtp_done() in its lib/smtp.c).
 */
#ifndef TOCSIN_IO_SMTP_SESSION_H
#define TOCSIN_IO_SMTP_SESSION_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

struct smtp_session;

struct smtp_outcome {
    int err;            /* 0, ERR_PROTOCOL, ERR_IO, ERR_TIMEOUT, ERR_TOO_LARGE, ERR_NOMEM */
    long code;          /* of the last reply; 0: none */
    const char *detail; /* "" when nothing went wrong */
    bool sent;          /* the end of the text has left, and its reply did not come */
};

/* Called once, from the loop. May free the session. */
typedef void smtp_session_done_fn(void *arg, const struct smtp_outcome *o);

/* `text` has CRLF line ends; it is copied, as are the addresses. The easy handle, made with
 * CURLOPT_CONNECT_ONLY, stays the caller's and outlives the session. ERR_NOMEM, ERR_TOO_LARGE
 * or ERR_IO. */
MUST_CHECK int smtp_session_start(uv_loop_t *loop, CURL *easy, const char *from, const char *to,
    const struct buf *text, int64_t timeout_ms, smtp_session_done_fn *done, void *arg,
    struct smtp_session **ret_session);
/* Touches the easy handle no more. Memory goes when libuv has closed the handles; NULL does
 * nothing. */
void smtp_session_free(struct smtp_session *s);

#endif
