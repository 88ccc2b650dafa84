/*
 * For tests of what talks to the network: a loop, a client on it, a scripted provider
 * beside it, and calls that the test waits for. At the end the loop must be empty, and
 * the provider must have seen what it expected.
 */
#ifndef TOCSIN_TESTS_HTTP_WORLD_H
#define TOCSIN_TESTS_HTTP_WORLD_H

#include <stdbool.h>
#include <uv.h>

#include "io/http_client.h"
#include "tests/fake/fake_provider.h"

struct http_world {
    uv_loop_t loop;
    uv_timer_t ticker;
    int ticks;
    struct http_client *client;
    struct fake_provider *fake;
    char url[256]; /* of the last http_world_url() */
};

/* What a call came to, kept after its callback. */
struct http_outcome {
    bool done;
    int times; /* that done was called */
    int err;
    long status;
    bool sent;
    int64_t elapsed_ms;
    int64_t retry_after_ms;
    char *body;
    size_t body_len;
    char *detail;
    char *url;
    char *etag;
};

int http_world_setup(void **state);
int http_world_teardown(void **state);

/* The provider's address and a path. Valid until the next call. */
const char *http_world_url(struct http_world *w, const char *path);

/* http_done_fn: keeps the response in the struct http_outcome that is `arg`. */
void http_outcome_keep(void *arg, const struct http_response *r);
void http_outcome_release(struct http_outcome *o);

/* Turns the loop until *flag; fails the test after 20 s. */
void http_world_run_until(struct http_world *w, const bool *flag);
/* Sends and waits. The request may leave out method (GET) and url's host. */
void http_world_call(
    struct http_world *w, const struct http_request *request, struct http_outcome *ret_outcome);
/* GET, and POST of the body "a=b", to the provider, which is private. */
void http_world_get(struct http_world *w, const char *path, struct http_outcome *ret_outcome);
void http_world_post(struct http_world *w, const char *path, struct http_outcome *ret_outcome);
/* Starts a GET and does not wait. */
struct http_call *http_world_start(struct http_world *w, const char *path, struct http_outcome *o);
/* fake_expect() that must succeed. */
void http_world_expect(struct http_world *w, const struct fake_rule *rule);

#endif
