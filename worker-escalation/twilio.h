/*
 * Twilio's interface of 2010-04-01: what its three channels have in common. Requests and answers
 * after its OpenAPI description (github.com/twilio/twilio-oai).
 */
#ifndef TOCSIN_WORKER_ESCALATION_TWILIO_H
#define TOCSIN_WORKER_ESCALATION_TWILIO_H

#include <jansson.h>

#include "worker-escalation/channel.h"

/* How long after it was taken Twilio is asked what became of it. */
#define TWILIO_POLL_MS      60000
#define TWILIO_CALL_POLL_MS 40000 /* ringing and what is said */
/* What is looked through for an attempt of unknown outcome, newest first; Twilio gives at most
 * 1000. */
#define TWILIO_LIST_SIZE      "500"
#define TWILIO_LIST_BYTES_MAX ((size_t)4 << 20)

/* Starts a request to a collection, "Messages" or "Calls", of the account: address and credentials.
 * `sid` (may be NULL) names one resource of it. */
void twilio_request(const struct reach_config *config, const char *collection, const char *sid,
    struct channel_request *r);
/* "<prefix><PUBLIC_URL>/hooks/twilio/<what>?attempt=<id>", or "" without PUBLIC_URL. */
void twilio_callback(
    const struct reach_config *config, const char *what, const struct message *m, struct buf *out);

/* Adds "[#17]", by which a message is found again in Twilio's list, and in ours. */
void twilio_reference(int64_t notification_id, struct buf *out);

/* The answer to a creation: its sid, or what its error means. */
void twilio_judge(const struct http_response *response, struct outcome *out);
/* Sets an outcome by an error code; `status` decides where the code is not known. */
void twilio_judge_code(int code, int status, const char *message, struct outcome *out);

/* The answer to a list: looks among `items` ("messages", "calls") for what an attempt of unknown
 * outcome may have made. The judgement as in struct channel's judge_ask. */
void twilio_judge_list(const struct message *m, const struct http_response *response,
    const char *items, struct outcome *out);

/* The answer to one resource. A message: waiting, delivered or undelivered with its failure; a
 * call: waiting, answered or unanswered. */
enum report_kind twilio_judge_message(const struct http_response *response, struct outcome *out);
enum report_kind twilio_judge_call(const struct http_response *response, struct outcome *out);

/* Whether a number is in E.164: + and 2 to 15 digits, the first not 0. */
bool twilio_is_e164(const char *number);

#endif
