/*
 * The connections of an HTTP server: how many there are, and how long each may take to send a whole
 * request. libmicrohttpd knows silence alone, and not who sends a byte from time to time.
 */
#ifndef TOCSIN_IO_HTTP_GUEST_H
#define TOCSIN_IO_HTTP_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct loop_timer;

struct http_guest {
    struct http_guests *all;
    int fd;
    bool over;                      /* one more than there may be */
    bool timed;                     /* in the list */
    int64_t until_ms;               /* monotonic */
    struct http_guest *prev, *next; /* of those that are timed, the first to go first */
};

/* Embedded in the server. */
struct http_guests {
    struct loop_timer *timer;
    int64_t patience_ms;
    unsigned max, n;
    struct http_guest *first, *last;
};

/* More than `max` guests are `over`. ERR_NOMEM. */
MUST_CHECK int http_guests_init(
    struct http_guests *all, uv_loop_t *loop, unsigned max, int64_t patience_ms);
/* With no guest left. */
void http_guests_release(struct http_guests *all);

/* A connection was accepted: its first request is waited for. NULL: memory is short. */
struct http_guest *http_guest_new(struct http_guests *all, int fd);
/* Its next request has to be whole within the patience; then the connection is shut down, which
 * its owner sees as its end. */
void http_guest_expect(struct http_guest *guest);
/* The request is whole: the guest waits now, not the server. */
void http_guest_heard(struct http_guest *guest);
/* The connection is closed. NULL does nothing. */
void http_guest_free(struct http_guest *guest);

#endif
