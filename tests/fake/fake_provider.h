/*
 * A scripted provider: an HTTP server on 127.0.0.1 in a thread of its own, which
 * records every request, answers by rules and by the services that it plays, and
 * fails the test on anything that no rule and no service expected.
 *
 * A request is matched against the rules in the order in which they were added; a
 * rule that has had its `times` is passed over, so that a script is a list of rules.
 * Without a rule the services answer. All functions may be called from any thread.
 */
#ifndef TOCSIN_TESTS_FAKE_PROVIDER_H
#define TOCSIN_TESTS_FAKE_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct fake_provider;

/* Listens on 127.0.0.1 at `port`, 0 for any that is free. ERR_NOMEM or ERR_IO. */
MUST_CHECK int fake_provider_new(int port, struct fake_provider **ret_provider);
/* Stops the thread and frees everything, requests and deliveries too; NULL does nothing. */
void fake_provider_free(struct fake_provider *p);
/* "http://127.0.0.1:40123" */
const char *fake_provider_url(const struct fake_provider *p);
int fake_provider_port(const struct fake_provider *p);

/* Whether every rule with a count was used that often and nothing unexpected came. What
 * was wrong is added to `faults`, one a line. */
MUST_CHECK bool fake_provider_verify(struct fake_provider *p, struct buf *faults);

/* --- what came ---------------------------------------------------------------------------- */

/* One request. Never changes once recorded; lives as long as the provider. */
struct fake_request {
    const char *method;
    const char *path;  /* without the query */
    const char *query; /* "" when there was none */
    const char *body;  /* NUL-terminated */
    size_t body_len;
    int64_t at_ms;       /* monotonic */
    bool expected;       /* a rule or a service knew it */
    unsigned connection; /* 1 for the first that was opened, and so on */
};

const char *fake_request_header(const struct fake_request *r, const char *name);
/* The first parameter of that name in the query or the form body, decoded; NULL: none. */
const char *fake_request_param(const struct fake_request *r, const char *name);

size_t fake_request_count(struct fake_provider *p);
/* The n-th from 0, or NULL. */
const struct fake_request *fake_request_at(struct fake_provider *p, size_t n);
/* Waits until at least `n` requests were recorded; false when the deadline passes first. */
MUST_CHECK bool fake_wait_requests(struct fake_provider *p, size_t n, int64_t deadline_ms);

/* --- rules -------------------------------------------------------------------------------- */

enum fake_fault {
    FAKE_ANSWER,  /* none: the whole answer */
    FAKE_HANG,    /* nothing until fake_release() */
    FAKE_CLOSE,   /* the connection ends without a byte */
    FAKE_RESET,   /* the connection is reset without a byte */
    FAKE_CUT,     /* half of the body, then the connection ends */
    FAKE_GARBAGE, /* bytes that are no HTTP, then the connection ends */
    FAKE_HUGE,    /* `size` bytes of body, made as they are sent */
    FAKE_DRIP,    /* the answer one byte every `drip_ms` */
};

struct fake_rule {
    const char *method;   /* NULL: any */
    const char *path;     /* NULL: any; a final '*' stands for any rest */
    const char *contains; /* must stand in the query or in the body; NULL: no matter */
    int times;            /* 0: any number; else exactly so many */
    bool accept;          /* a service takes the request, whatever is answered and even if
                             nothing is; without it no service sees the request */

    enum fake_fault fault;
    int64_t delay_ms; /* before anything is answered */
    int64_t drip_ms;  /* 0: 20 */
    size_t size;      /* of FAKE_HUGE; 0: 50 MB */

    int status;                 /* 0: what the service answered with `accept`, else 200 */
    const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
    const char *body;           /* NULL: none */
    size_t body_len;            /* 0: strlen(body) */
};

/* Adds a rule; everything is copied. ERR_NOMEM. */
MUST_CHECK int fake_expect(struct fake_provider *p, const struct fake_rule *rule);
/* Lets the requests of FAKE_HANG go on, with the answers of their rules. */
void fake_release(struct fake_provider *p);

/* --- services ----------------------------------------------------------------------------- */

/* A message that a service has accepted: what a person would have got. */
struct fake_delivery {
    const char *kind; /* "sms", "whatsapp", "call", "slack", "vapi", "webhook" */
    const char *id;   /* the provider's: "SM…", "CA…", a Slack ts */
    const char *to;
    const char *text;     /* body, TwiML, or the whole payload of a webhook */
    const char *callback; /* where the status goes; "" for nowhere */
    int64_t at_ms;
};

size_t fake_delivery_count(struct fake_provider *p);
/* The n-th from 0, or NULL. Never changes; lives as long as the provider. */
const struct fake_delivery *fake_delivery_at(struct fake_provider *p, size_t n);
/* How many of that kind (NULL: any) went to that address (NULL: any). */
size_t fake_delivered(struct fake_provider *p, const char *kind, const char *to);
MUST_CHECK bool fake_wait_deliveries(struct fake_provider *p, size_t n, int64_t deadline_ms);

/* Twilio's Messages and Calls of the 2010-04-01 interface: create, fetch, list by To, From
 * and day, update. Basic credentials and the required parameters are checked. */
MUST_CHECK int fake_twilio(struct fake_provider *p, const char *account_sid, const char *token);
/* What a later fetch or list says of a message or a call. ERR_NOT_FOUND. error_code 0: none. */
MUST_CHECK int fake_twilio_set_status(
    struct fake_provider *p, const char *sid, const char *status, int error_code);

/* POST /api/chat.postMessage with a bearer token. */
MUST_CHECK int fake_slack(struct fake_provider *p, const char *token);
/* POST and GET of /call, GET of /call/{id}, with a bearer token. */
MUST_CHECK int fake_vapi(struct fake_provider *p, const char *token);
/* What is said of a call from now on. ERR_NOT_FOUND. */
MUST_CHECK int fake_vapi_end(struct fake_provider *p, const char *id, const char *ended_reason);
/* Any POST to `path` is accepted with 200. */
MUST_CHECK int fake_webhook(struct fake_provider *p, const char *path);

/* A file for GET and HEAD with conditional requests; put again to change it. `etag` and
 * `last_modified` may be NULL. ERR_NOMEM. */
MUST_CHECK int fake_file(struct fake_provider *p, const char *path, const char *content_type,
    const char *body, const char *etag, const char *last_modified);

/* Takes a file away. */
void fake_file_drop(struct fake_provider *p, const char *path);

/* The dates that services put into their answers are ahead of the real time by so much. */
void fake_set_clock_shift(struct fake_provider *p, int64_t seconds);

/* --- callbacks ---------------------------------------------------------------------------- */

/* A request of the provider's own: it is kept back until fake_callbacks_send(). Returns its
 * number from 0, or ERR_NOMEM. `headers` as in fake_rule. */
MUST_CHECK int fake_callback(
    struct fake_provider *p, const char *url, const char *const *headers, const char *body);

/* What Twilio puts into X-Twilio-Signature, appended. `params`: "Name=value" as they are before any
 * encoding, NULL-terminated. ERR_TOO_LARGE, ERR_CRYPTO, ERR_NOMEM. */
struct buf;
MUST_CHECK int fake_twilio_signature(
    const char *url, const char *token, const char *const *params, struct buf *ret_signature);
/* A callback of Twilio's: the parameters as a form, signed. Returns as fake_callback(). */
MUST_CHECK int fake_twilio_callback(
    struct fake_provider *p, const char *url, const char *token, const char *const *params);

enum fake_order { FAKE_IN_ORDER, FAKE_REVERSED, FAKE_TWICE };
/* Sends what is kept back, one after the other, each when the one before was answered. */
void fake_callbacks_send(struct fake_provider *p, enum fake_order order);
/* Waits until nothing is on its way; false when the deadline passes first. */
MUST_CHECK bool fake_callbacks_wait(struct fake_provider *p, int64_t deadline_ms);
/* The last status that a callback was answered with; 0: none. */
long fake_callback_status(struct fake_provider *p, int number);

#endif
