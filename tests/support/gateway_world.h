/*
 * A gateway beside the world of tests/support/reach_world.h, and requests to it as providers and
 * people make them.
 */
#ifndef TOCSIN_TESTS_GATEWAY_WORLD_H
#define TOCSIN_TESTS_GATEWAY_WORLD_H

#include "base/buf.h"
#include "tests/support/reach_world.h"

#define GATEWAY_PUBLIC "https://gate.example.org"
#define GATEWAY_SECRET "0123456789abcdef0123456789abcdef"

struct gateway_world {
    struct reach_world *reach;
    struct harness *h;
    struct harness_proc *gateway;
    int port;
    struct buf answer;  /* the body of the last answer */
    struct buf headers; /* and its head */
};

int gateway_world_setup(void **state);
int gateway_world_setup_alone(void **state);
int gateway_world_teardown(void **state);

/* Starts the gateway on a port of its own; `more` as reach_world_worker()'s. */
void gateway_world_start(struct gateway_world *w, const char *const *more);
/* A worker that asks for callbacks and puts links into messages. */
struct harness_proc *gateway_world_worker(struct gateway_world *w);

/* One request; its status, 0 when nothing answered within `deadline_ms`. `headers` is
 * NULL-terminated, may be NULL; `body` NULL: none. */
int gateway_world_request(struct gateway_world *w, const char *method, const char *target,
    const char *const *headers, const char *body, int64_t deadline_ms);
int gateway_world_get(struct gateway_world *w, const char *target);
/* A call of Twilio's, signed; `params` as fake_twilio_signature() takes them. */
int gateway_world_twilio(struct gateway_world *w, const char *target, const char *const *params);

#endif
