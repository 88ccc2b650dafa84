/*
 * The only process that listens: health, metrics, what providers and people answer. It claims
 * nothing and writes through functions of the database alone.
 */
#ifndef TOCSIN_GATEWAY_GATEWAY_H
#define TOCSIN_GATEWAY_GATEWAY_H

#include <jansson.h>

#include "base/log.h"
#include "io/http_server.h"
#include "service/service.h"

struct gateway_config {
    char *listen;
    char *public_url;
    char *twilio_auth_token;
    char *link_secret;
    int64_t max_connections, idle_ms, patience_ms;
};

struct asking;
struct hearing;

struct gateway {
    struct service *service;
    const struct gateway_config *config;
    struct http_server *server;
    struct asking *askings;   /* questions under way */
    struct hearing *hearings; /* what was heard and is not written yet */
    size_t n_hearings;
    struct log_rate refusals;
};

/* What a 503 that passes says of itself. */
#define GATEWAY_RETRY_AFTER_S "10"

extern const struct service_spec gateway_service;

/* One way in. A final '*' of the path stands for any rest. */
struct gateway_route {
    const char *method;
    const char *path;
    void (*handle)(struct gateway *g, struct http_exchange *x);
    bool quiet; /* asked so often that it has no line in the log */
};

/* Hands a request to its route; answers 404 and 405 itself. */
void gateway_dispatch(void *gateway, struct http_exchange *x);
/* The route of a method and a path; NULL, with the methods that the path has in `allow` (none: the
 * path is nobody's). HEAD goes where GET goes. */
const struct gateway_route *gateway_route_find(
    const char *method, const char *path, struct buf *allow);

/* Answers with a problem document (RFC 9457). `fmt` says which field is wrong, and the remedy. */
void gateway_problem(struct http_exchange *x, int status, const char *title, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Answers with JSON and takes the reference; NULL: memory was short. */
void gateway_answer_json(struct http_exchange *x, int status, json_t *body);

#endif
