/*
 * What the parts of the HTTP server share: http_server.c holds the connections, http_exchange.c one
 * request and its answer.
 */
#ifndef TOCSIN_IO_HTTP_SERVER_PRIVATE_H
#define TOCSIN_IO_HTTP_SERVER_PRIVATE_H

#include <microhttpd.h>
#include <stdbool.h>

#include "io/http_guest.h"
#include "io/http_server.h"

struct loop_defer;
struct loop_timer;

#define HTTP_PEER_MAX 64

struct http_server {
    uv_loop_t *loop;
    uv_poll_t *poll;
    struct loop_timer *timeout;
    struct loop_defer *again;
    struct MHD_Daemon *daemon;
    http_server_fn *fn;
    void *arg;
    size_t max_body;
    int port;
    bool quiescent; /* every answer ends its connection */
    size_t n_open;  /* exchanges whose answer has not been sent */
    struct http_guests guests;
    struct http_exchange *waiting; /* handed over and not answered */
};

struct http_exchange {
    struct http_server *server;        /* NULL: gone */
    struct MHD_Connection *connection; /* NULL: gone */
    struct http_exchange *prev, *next; /* of those that wait */
    char *uri;                         /* the path, then a NUL, then the query */
    const char *query;
    char *method;
    struct buf body;
    size_t body_len;               /* also of what was swallowed */
    struct MHD_Response *response; /* the answer, until it is queued */
    int status;
    bool handed;    /* to the server's function */
    bool answered;  /* by it */
    bool suspended; /* the connection waits for that */
    char peer[HTTP_PEER_MAX];
    struct {
        char *name, *value;
    } headers[8];
    size_t n_headers;
};

void http_exchange_free(struct http_exchange *x);
/* It has been handed over. */
void http_exchange_wait(struct http_exchange *x);

#endif
