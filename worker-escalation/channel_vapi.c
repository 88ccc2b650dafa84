/*
 * Vapi: POST and GET of /call. The assistant says the message first; the call carries our ids as
 * metadata, by which it is found again. After docs.vapi.ai/api-reference/calls.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_read.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/provider_id.h"
#include "worker-escalation/twilio.h"

/* Calls of a list carry their transcripts. */
#define LIST_BYTES_MAX ((size_t)8 << 20)
#define LIST_SIZE      100
/* Two clocks, ours and Vapi's: the list begins so much earlier. */
#define CLOCKS_APART_S 300
/* After this Vapi is asked how the call went: it has rung, and what is said takes a minute. */
#define POLL_MS       60000
#define ISO_TIME_SIZE sizeof "9999-12-31T23:59:59Z"

static const char *missing(const struct reach_config *config)
{
    if (!config->vapi_api_key)
        return "VAPI_API_KEY is not set";
    if (!config->vapi_assistant_id)
        return "VAPI_ASSISTANT_ID is not set";
    return config->vapi_phone_number_id ? NULL : "VAPI_PHONE_NUMBER_ID is not set";
}

static void start_request(const struct reach_config *config, struct channel_request *r)
{
    buf_addf(&r->url, "%s/call", config->vapi_url);
    r->http.allow_private = true; /* the base address is the operator's own */
    channel_request_header(r, "Authorization: Bearer %s", config->vapi_api_key);
    channel_request_header(r, "Accept: application/json");
}

static char *payload(const struct reach_config *config, const struct message *m)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    struct buf text = BUF_INIT(2 * MESSAGE_TEXT_MAX);
    char *body = NULL;

    message_text(m, MESSAGE_SPOKEN, &text);
    if (buf_err(&text) == 0)
        json = json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s}}}",
            "assistantId", config->vapi_assistant_id, "phoneNumberId", config->vapi_phone_number_id,
            "customer", "number", m->address, "assistantOverrides", "firstMessage", buf_str(&text),
            "firstMessageMode", "assistant-speaks-first", "variableValues", "message",
            buf_str(&text), "person", m->person, "metadata", "attempt_id", "", "notification_id",
            "", "incident_id", "");
    if (json) {
        json_t *metadata = json_object_get(json_object_get(json, "assistantOverrides"), "metadata");
        if (json_object_set_new(metadata, "attempt_id", json_sprintf("%" PRId64, m->attempt_id)) ==
                0 &&
            json_object_set_new(
                metadata, "notification_id", json_sprintf("%" PRId64, m->notification_id)) == 0 &&
            json_object_set_new(
                metadata, "incident_id", json_sprintf("%" PRId64, m->incident_id)) == 0)
            body = json_dumps(json, JSON_COMPACT);
    }
    buf_release(&text);
    return body;
}

static int build(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    _cleanup_(freep) char *body = NULL;

    if (!twilio_is_e164(m->address))
        return ERR_INVALID;
    body = payload(config, m);
    if (!body)
        return ERR_INVALID;
    start_request(config, r);
    r->http.method = "POST";
    channel_request_header(r, "Content-Type: application/json");
    buf_add_str(&r->body, body);
    return 0;
}

static void set_unknown(struct outcome *out, const char *why)
{
    failure_set(&out->failure, ERR_PROTOCOL, "Vapi: %s", why);
    out->failure.ambiguous = true;
    out->failure.http_status = out->http_status;
    out->kind = OUTCOME_AMBIGUOUS;
}

/* `message` is a text, or an array of them. */
static const char *reason(const json_t *answer)
{
    const json_t *message = json_object_get(answer, "message");
    const char *text =
        json_string_value(json_is_array(message) ? json_array_get(message, 0) : message);

    return text ? text : "no reason given";
}

/* RFC 9110, 15.5: 401, 402, 403 and 404 are about key, credit, assistant and number of ours. */
static void judge_refusal(const json_t *answer, struct outcome *out)
{
    int status = out->http_status;
    const char *why = reason(answer);

    failure_set(&out->failure, ERR_PROTOCOL, "Vapi %d: %s", status, why);
    out->failure.http_status = status;
    out->failure.final = true;
    out->kind = OUTCOME_FINAL;
    out->provider_failed = status != 400 && status != 422;
    out->contact_dead = !out->provider_failed && strstr(why, "customer.number");
}

static void judge(const struct http_response *response, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    int err;

    if (outcome_judge_http(response, "Vapi", out))
        return;
    err = json_read(response->body, response->body_len, LIST_BYTES_MAX, NULL, &answer);
    if (response->status < 200 || response->status >= 300) {
        judge_refusal(err ? NULL : answer, out);
        return;
    }
    if (err || !provider_id_set(out, json_read_str(answer, "id"), NULL)) {
        set_unknown(out, "answered without a call's id");
        out->provider_failed = true;
        return;
    }
    out->kind = OUTCOME_ACCEPTED;
    out->poll_ms = POLL_MS;
}

/* --- asking what became of an attempt ------------------------------------------------------- */

static int build_ask(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    time_t since = (time_t)(clock_unix_s() - m->unsettled_for_s - CLOCKS_APART_S);
    struct tm utc;
    char stamp[ISO_TIME_SIZE];

    if (!gmtime_r(&since, &utc) || strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        return ERR_INVALID;
    start_request(config, r);
    r->http.method = "GET";
    r->http.max_response = LIST_BYTES_MAX;
    buf_addf(&r->url, "?limit=%d&createdAtGe=", LIST_SIZE);
    buf_add_percent(&r->url, stamp);
    buf_add_str(&r->url, "&assistantId=");
    buf_add_percent(&r->url, config->vapi_assistant_id);
    return 0;
}

/* Whether this call is the message's, to the same number; other installations count as we do. */
static bool is_ours(const struct message *m, const json_t *call)
{
    const char *of = json_string_value(
        json_read_get(call, "assistantOverrides", "metadata", "notification_id", NULL));
    const char *number = json_string_value(json_read_get(call, "customer", "number", NULL));
    _cleanup_(freep) char *wanted = NULL;

    if (!of || !number || strcmp(number, m->address) != 0)
        return false;
    if (asprintf(&wanted, "%" PRId64, m->notification_id) < 0) {
        wanted = NULL;
        return false;
    }
    return strcmp(of, wanted) == 0;
}

static bool is_known(const struct message *m, const char *id)
{
    const char *at = m->known_ids && id ? strstr(m->known_ids, id) : NULL;
    size_t len = id ? strlen(id) : 0;

    return at && (at == m->known_ids || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0');
}

static void judge_ask(
    const struct message *m, const struct http_response *response, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    const json_t *call;
    size_t i;

    if (outcome_judge_http(response, "Vapi's list", out)) {
        out->kind = OUTCOME_AMBIGUOUS;
        return;
    }
    if (response->status != 200 ||
        json_read(response->body, response->body_len, LIST_BYTES_MAX, NULL, &answer) != 0 ||
        !json_is_array(answer)) {
        set_unknown(out, "its list cannot be read");
        return;
    }
    json_array_foreach(answer, i, call)
    {
        const char *id = json_read_str(call, "id");
        if (is_ours(m, call) && !is_known(m, id) && provider_id_set(out, id, NULL)) {
            out->kind = OUTCOME_ACCEPTED;
            out->poll_ms = POLL_MS;
            return;
        }
    }
    if (json_array_size(answer) < LIST_SIZE)
        out->kind = OUTCOME_NOT_THERE;
    else
        set_unknown(out, "its list is too long to tell");
}

/* --- asking how a call went ----------------------------------------------------------------- */

/* How a call ends that somebody heard; docs.vapi.ai/calls/call-ended-reason. Any other ending is
 * a line that was busy, a voice mail, or a fault. */
static const char *const heard[] = {
    "assistant-ended-call",
    "assistant-ended-call-after-message-spoken",
    "assistant-ended-call-with-hangup-task",
    "assistant-said-end-call-phrase",
    "assistant-forwarded-call",
    "customer-ended-call",
    "silence-timed-out",
    "exceeded-max-duration",
};

static enum report_kind report_end(const char *ended_reason, struct outcome *out)
{
    for (size_t i = 0; i < sizeof heard / sizeof heard[0]; i++) {
        if (strcmp(heard[i], ended_reason) == 0)
            return REPORT_ANSWERED;
    }
    failure_set(&out->failure, ERR_PROTOCOL, "Vapi: %s", ended_reason);
    return REPORT_UNANSWERED;
}

static int build_poll(
    const struct reach_config *config, const char *provider_id, struct channel_request *r)
{
    start_request(config, r);
    r->http.method = "GET";
    r->http.max_response = LIST_BYTES_MAX;
    buf_add_char(&r->url, '/');
    buf_add_percent(&r->url, provider_id);
    return 0;
}

static enum report_kind judge_poll(const struct http_response *response, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    const char *status, *ended_reason;

    if (outcome_judge_http(response, "Vapi", out) || response->status != 200 ||
        json_read(response->body, response->body_len, LIST_BYTES_MAX, NULL, &answer) != 0 ||
        (status = json_read_str(answer, "status")) == NULL)
        return REPORT_UNKNOWN;
    if (strcmp(status, "ended") != 0)
        return REPORT_WAITING;
    ended_reason = json_read_str(answer, "endedReason");
    return report_end(ended_reason ? ended_reason : "ended without a reason", out);
}

const struct channel channel_vapi_voice = {
    .name = "vapi_voice",
    .missing = missing,
    .build = build,
    .judge = judge,
    .build_ask = build_ask,
    .judge_ask = judge_ask,
    .build_poll = build_poll,
    .judge_poll = judge_poll,
};
