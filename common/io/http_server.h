/*
 * An HTTP server on the libuv loop: libmicrohttpd without a thread of its own, its epoll descriptor
 * polled by the loop. A request is handed over whole and answered once, now or later.
 */
#ifndef TOCSIN_IO_HTTP_SERVER_H
#define TOCSIN_IO_HTTP_SERVER_H

#include <stddef.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

struct http_server;
struct http_exchange;

struct http_server_options {
    const char *listen;       /* "127.0.0.1:8080", "[::1]:0"; port 0: any that is free */
    size_t max_body;          /* bytes; a larger one is answered with 413 */
    unsigned max_connections; /* one more is answered with 503 and closed */
    int64_t patience_ms;      /* a connection without a whole request for so long is closed */
};

/* A whole request, to be answered exactly once on the loop's thread. */
typedef void http_server_fn(void *arg, struct http_exchange *x);

/* ERR_INVALID or ERR_IO with what is wrong added to `fault`, ERR_NOMEM. */
MUST_CHECK int http_server_new(uv_loop_t *loop, const struct http_server_options *options,
    http_server_fn *fn, void *arg, struct buf *fault, struct http_server **ret_server);
int http_server_port(const struct http_server *s);
/* Requests that have begun and whose answer has not been sent yet. */
size_t http_server_pending(const struct http_server *s);
/* Listens no more; what has been accepted goes on, and each connection ends with its answer. */
void http_server_quiesce(struct http_server *s);
/* Closes every connection. Requests that still wait may be answered after it, to nobody. NULL does
 * nothing. */
void http_server_free(struct http_server *s);

/* Of the request; valid until it is answered. */
const char *http_exchange_method(const struct http_exchange *x);
const char *http_exchange_path(const struct http_exchange *x);  /* as sent, without the query */
const char *http_exchange_query(const struct http_exchange *x); /* as sent, "" for none */
const char *http_exchange_header(const struct http_exchange *x, const char *name); /* or NULL */
const char *http_exchange_body(const struct http_exchange *x, size_t *ret_len);    /* and a NUL */
const char *http_exchange_peer(const struct http_exchange *x); /* the address, without the port */

/* Of the answer. Everything is copied; `content_type` may be NULL, and `x` is gone after the
 * answer. Whoever asked may have left: then nothing happens. */
void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value);
void http_exchange_answer(
    struct http_exchange *x, int status, const char *content_type, const char *body, size_t len);

#endif
