/*
 * HTTP out: libcurl's multi interface on the libuv loop. Every call has a
 * connect and a total deadline, a response ceiling, verified TLS, and may reach public
 * addresses alone unless told otherwise.
 */
#ifndef TOCSIN_IO_HTTP_CLIENT_H
#define TOCSIN_IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct http_client;
struct http_call;
struct http_headers;

struct http_request {
    const char *method;         /* "GET", "POST", … */
    const char *url;            /* http or https */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    const void *body;           /* NULL: none */
    size_t body_len;
    const char *user, *password; /* HTTP Basic; NULL: none */
    int64_t connect_timeout_ms;  /* 0: 5 s */
    int64_t total_timeout_ms;    /* 0: 15 s */
    size_t max_response;         /* bytes after decoding; 0: 1 MB */
    long max_redirects;          /* 0: a redirect is an answer like any other. Never from
                                    https to http; Authorization, Cookie and Basic credentials
                                    go to no other origin, headers of other names do */
    bool allow_private;          /* loopback, private, link-local addresses too */
    const char *private_setting; /* static: what allows them, for the message; may be NULL */
};

struct http_response {
    int err;            /* 0 when a whole answer came, whatever its status; else ERR_TIMEOUT,
                           ERR_IO, ERR_DENIED (address), ERR_TOO_LARGE, ERR_PROTOCOL, ERR_CANCELLED */
    const char *detail; /* what went wrong, without secrets; "" when nothing did */
    long status;        /* 0: none came */
    bool sent;          /* some of the request may have left: the outcome is unknown on err */
    const char *body;   /* NUL-terminated; "" when none */
    size_t body_len;
    const char *url; /* the last one, after redirects; may hold secrets */
    int64_t elapsed_ms;
    const struct http_headers *headers; /* ask http_response_header(); NULL: none came */
};

/* The last header of that name (any case), without surrounding blanks, or NULL. */
const char *http_response_header(const struct http_response *r, const char *name);

/* Retry-After in milliseconds: seconds, or an HTTP date; -1 when there is none. At most an hour. */
int64_t http_response_retry_after_ms(const struct http_response *r);

typedef void http_done_fn(void *arg, const struct http_response *r);

/* `user_agent` is sent with every call. ERR_NOMEM or ERR_IO. */
MUST_CHECK int http_client_new(
    uv_loop_t *loop, const char *user_agent, struct http_client **ret_client);
/* Cancels what is outstanding without calling back; NULL does nothing. */
void http_client_free(struct http_client *c);
size_t http_client_pending(const struct http_client *c);

/* Starts a call; everything in the request is copied. `done` is called exactly once, from
 * the loop, unless the call is cancelled first; the response is valid until it returns.
 * ERR_NOMEM, ERR_INVALID (not an http(s) address, a header with a line break). */
MUST_CHECK int http_client_send(struct http_client *c, const struct http_request *request,
    http_done_fn *done, void *arg, struct http_call **ret_call);
/* Ends a call without calling back. Not to be used after `done`. */
void http_call_cancel(struct http_call *call);

/* Whether a socket address is one that the public network routes: not loopback, private,
 * shared (RFC 6598), link-local, unique-local, multicast, unspecified, documentation or
 * reserved, nor any of them mapped into IPv6 (RFC 6890, RFC 4291, RFC 6052). */
struct sockaddr;
bool http_address_is_public(const struct sockaddr *address);

#endif
