/*
 * Channels: each is a row of a table that says how a message becomes a request, and what an
 * answer means. They decide nothing else: retries, circuits and fail-over are the delivery's.
 */
#ifndef TOCSIN_WORKER_ESCALATION_CHANNEL_H
#define TOCSIN_WORKER_ESCALATION_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/failure.h"
#include "io/http_client.h"
#include "worker-escalation/config.h"
#include "worker-escalation/message.h"

enum outcome_kind {
    OUTCOME_NONE,
    OUTCOME_ACCEPTED,
    OUTCOME_PASSING,   /* it may work a little later */
    OUTCOME_FINAL,     /* it cannot work through this contact method */
    OUTCOME_AMBIGUOUS, /* the provider may have taken it */
    OUTCOME_DIVERTED,  /* the circuit is open: nothing left */
    OUTCOME_RELEASED,  /* drained before anything left */
    OUTCOME_BUNDLED,   /* it left in the message of another one */
    OUTCOME_NOT_THERE, /* asked: the provider has never seen it */
};
/* As the rows say it: "accepted", "passing", … */
const char *outcome_name(enum outcome_kind kind);

#define PROVIDER_ID_MAX 64

struct outcome {
    enum outcome_kind kind;
    struct failure failure;
    char provider_id[PROVIDER_ID_MAX]; /* ids that do not fit are not this provider's */
    int http_status;
    int64_t poll_ms; /* ask after so long what became of it; -1: never */
    int64_t elapsed_ms;
    bool provider_failed; /* for the circuit */
    bool contact_dead;    /* this address will never work */
};

/* No outcome yet. */
void outcome_init(struct outcome *out);

/* A request with what it points to. */
#define CHANNEL_HEADERS_MAX 16
struct channel_request {
    struct http_request http;
    struct buf url;
    struct buf body;
    struct buf headers[CHANNEL_HEADERS_MAX];
    const char *header_list[CHANNEL_HEADERS_MAX + 1];
    int n_headers;
};
void channel_request_init(struct channel_request *r);
void channel_request_release(struct channel_request *r);
void channel_request_header(struct channel_request *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "name=value", percent-encoded, after '&' if need be. */
void channel_request_form(struct channel_request *r, const char *name, const char *value);
/* Adds `before` and the link that acknowledges from this message, where links are configured and
 * there is something to acknowledge; else nothing. */
void channel_add_link(const struct reach_config *config, const struct message *m,
    const char *before, struct buf *out);
/* Points `http` at what was built. 0 or the first error met. */
MUST_CHECK int channel_request_seal(struct channel_request *r);

/* What a provider says of a message that it took, as notification_report() takes it. */
enum report_kind {
    REPORT_UNKNOWN, /* it did not say */
    REPORT_WAITING,
    REPORT_DELIVERED,
    REPORT_UNDELIVERED,
    REPORT_ANSWERED,
    REPORT_UNANSWERED,
};
const char *report_name(enum report_kind report);
/* The one of that name; REPORT_UNKNOWN for any other, and for NULL. */
enum report_kind report_find(const char *name);

struct channel_mail;
struct smtp_response;

struct channel {
    const char *name;   /* of contact_method.channel; the circuit has the same name */
    bool bundles;       /* several pending messages to one contact leave as one */
    bool logs_delivery; /* each attempt gets a row of webhook_delivery_log */
    bool takes_keys;    /* with PUBLIC_URL set a call takes the key that acknowledges */
    /* Why it cannot be used as configured, or NULL when it can. */
    const char *(*missing)(const struct reach_config *config);
    /* Plays the message here and now; then the rest is NULL. 0 or an error. */
    int (*play)(const struct message *m);
    /* ERR_INVALID: the message or its address can never be sent this way. */
    int (*build)(
        const struct reach_config *config, const struct message *m, struct channel_request *r);
    void (*judge)(const struct http_response *response, struct outcome *out);
    /* Instead of these two, for a channel that is mail. */
    int (*build_mail)(
        const struct reach_config *config, const struct message *m, struct channel_mail *mail);
    void (*judge_mail)(
        const struct message *m, const struct smtp_response *response, struct outcome *out);
    /* Asks what became of an attempt whose outcome is unknown; NULL where the provider cannot
     * tell. The judgement is ACCEPTED, NOT_THERE, or AMBIGUOUS when it stays unknown. */
    int (*build_ask)(
        const struct reach_config *config, const struct message *m, struct channel_request *r);
    void (*judge_ask)(
        const struct message *m, const struct http_response *response, struct outcome *out);
    /* Asks what became of a message that was accepted, by the provider's id of it; NULL where
     * nothing more is known. The failure in `out` says why it was not delivered. */
    int (*build_poll)(
        const struct reach_config *config, const char *provider_id, struct channel_request *r);
    enum report_kind (*judge_poll)(const struct http_response *response, struct outcome *out);
};

/* All of them, and the one of that name or NULL. */
extern const struct channel *const channels[];
extern const size_t n_channels;
const struct channel *channel_find(const char *name);

extern const struct channel channel_console;
extern const struct channel channel_webhook;
extern const struct channel channel_twilio_sms;
extern const struct channel channel_twilio_whatsapp;
extern const struct channel channel_twilio_voice;
extern const struct channel channel_vapi_voice;
extern const struct channel channel_slack;
extern const struct channel channel_email;

/* Judges what every HTTP provider has in common: no answer, 408, 429, 5xx. Whether that decided. */
bool outcome_judge_http(
    const struct http_response *response, const char *what, struct outcome *out);

#endif
