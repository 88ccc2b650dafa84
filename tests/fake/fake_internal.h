/*
 * What the files of the scripted provider share. Everything but the connections is
 * guarded by `lock`; connections belong to the provider's thread.
 */
#ifndef TOCSIN_TESTS_FAKE_INTERNAL_H
#define TOCSIN_TESTS_FAKE_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <uv.h>

#include "tests/fake/fake_provider.h"
#include "io/http_headers.h"

#define FAKE_REQUEST_MAX ((size_t)16 << 20)
#define FAKE_ANSWER_MAX  ((size_t)64 << 20)

struct fake_param {
    char *name;
    char *value;
};

/* A recorded request with the memory behind its public part. */
struct fake_record {
    struct fake_request r; /* first */
    char *method, *path, *query, *body;
    struct http_headers headers;
    struct fake_param *params;
    size_t n_params;
};

/* What will be answered. */
struct fake_reply {
    int status;
    struct buf headers; /* whole lines with their ends */
    struct buf body;
    enum fake_fault fault;
    int64_t delay_ms, drip_ms;
    size_t size;
    bool head; /* no body follows */
};

void fake_reply_init(struct fake_reply *reply);
void fake_reply_release(struct fake_reply *reply);
/* Status and a JSON document, whose reference is taken. */
void fake_reply_json(struct fake_reply *reply, int status, json_t *json);

struct fake_kept_rule;
struct fake_service;

/* A service looks at a request and answers it, or returns false. */
typedef bool fake_serve_fn(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply);

struct fake_callbacks;

/* Growing arrays of pointers, so that what was handed out never moves. */
struct fake_list {
    void **items;
    size_t n, cap;
};
MUST_CHECK int fake_list_add(struct fake_list *list, void *item);

struct fake_provider {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t wake;
    char *url;
    int port;
    bool stop, release;
    unsigned connections;
    unsigned malformed;     /* requests that are no HTTP/1.1 */
    char scratch[64 << 10]; /* what is read, before it is added to its connection */
    struct fake_conn *conns;
    struct fake_list requests;   /* struct fake_record */
    struct fake_list deliveries; /* struct fake_kept_delivery */
    struct fake_list rules;      /* struct fake_kept_rule */
    struct fake_list services;   /* struct fake_service */
    struct fake_callbacks *callbacks;
    uint64_t next_id;
    int64_t clock_shift_s;
};

/* Registers a service; state is freed by `release`. */
MUST_CHECK int fake_service_add(
    struct fake_provider *p, fake_serve_fn *serve, void *state, void (*release)(void *state));
/* The state of a service that answers by `serve`, or NULL. */
void *fake_service_state(const struct fake_service *service, fake_serve_fn *serve);
/* Lock held. */
void fake_service_remove(struct fake_provider *p, size_t index);
void fake_services_release(struct fake_provider *p);
bool fake_services_serve(
    struct fake_provider *p, const struct fake_request *r, struct fake_reply *reply);

/* Lock held. Takes copies. Wakes who waits. ERR_NOMEM. */
MUST_CHECK int fake_deliver(struct fake_provider *p, const struct fake_delivery *d);
void fake_requests_release(struct fake_provider *p);
void fake_deliveries_release(struct fake_provider *p);

/* fake_request.c: the length of a whole request at the start of `data`, 0 when more is to
 * come, or ERR_PROTOCOL, ERR_TOO_LARGE. */
MUST_CHECK int fake_request_length(const char *data, size_t len, size_t *ret_len);
/* Parses exactly one whole request. ERR_PROTOCOL, ERR_NOMEM. */
MUST_CHECK int fake_request_parse(const char *data, size_t len, struct fake_record **ret_record);
void fake_request_free(struct fake_record *record);

/* fake_rules.c: lock held. Decides the answer and records the request. */
void fake_answer(struct fake_provider *p, struct fake_record *record, struct fake_reply *reply);
void fake_rules_release(struct fake_provider *p);
void fake_rules_verify(struct fake_provider *p, struct buf *faults);

/* fake_conn.c: on the provider's thread. */
void fake_conn_accept(struct fake_provider *p);
void fake_conns_release_hanging(struct fake_provider *p);
void fake_conns_close(struct fake_provider *p);

/* fake_callback.c: on the provider's thread, but for _new and _free. */
MUST_CHECK int fake_callbacks_new(struct fake_provider *p);
void fake_callbacks_step(struct fake_provider *p);
void fake_callbacks_close(struct fake_provider *p);
void fake_callbacks_free(struct fake_provider *p);

#endif
