#include "worker-escalation/channel.h"

#include <stdarg.h>
#include <string.h>

#include "base/ack_link.h"

#define URL_MAX    ((size_t)8192)
#define BODY_MAX   ((size_t)65536)
#define HEADER_MAX ((size_t)4096)

const struct channel *const channels[] = {
    &channel_console,
    &channel_webhook,
    &channel_twilio_sms,
    &channel_twilio_whatsapp,
    &channel_twilio_voice,
    &channel_vapi_voice,
    &channel_slack,
    &channel_email,
};
const size_t n_channels = sizeof channels / sizeof channels[0];

const struct channel *channel_find(const char *name)
{
    for (size_t i = 0; i < n_channels; i++) {
        if (strcmp(channels[i]->name, name) == 0)
            return channels[i];
    }
    return NULL;
}

const char *outcome_name(enum outcome_kind kind)
{
    switch (kind) {
    case OUTCOME_NONE:
        break;
    case OUTCOME_ACCEPTED:
        return "accepted";
    case OUTCOME_PASSING:
        return "passing";
    case OUTCOME_FINAL:
        return "final";
    case OUTCOME_AMBIGUOUS:
        return "ambiguous";
    case OUTCOME_DIVERTED:
        return "diverted";
    case OUTCOME_RELEASED:
        return "released";
    case OUTCOME_BUNDLED:
        return "bundled";
    case OUTCOME_NOT_THERE:
        return "not there";
    }
    return "none";
}

const char *report_name(enum report_kind report)
{
    switch (report) {
    case REPORT_UNKNOWN:
        break;
    case REPORT_WAITING:
        return "waiting";
    case REPORT_DELIVERED:
        return "delivered";
    case REPORT_UNDELIVERED:
        return "undelivered";
    case REPORT_ANSWERED:
        return "answered";
    case REPORT_UNANSWERED:
        return "unanswered";
    }
    return "unknown";
}

enum report_kind report_find(const char *name)
{
    for (enum report_kind r = REPORT_WAITING; name && r <= REPORT_UNANSWERED; r++)
        if (strcmp(report_name(r), name) == 0)
            return r;
    return REPORT_UNKNOWN;
}

void channel_add_link(
    const struct reach_config *config, const struct message *m, const char *before, struct buf *out)
{
    struct buf link = BUF_INIT(4096);

    if (config->public_url && config->link_secret && m->incident_id &&
        ack_link_add(&link, config->public_url, config->link_secret, m->notification_id) == 0) {
        buf_add_str(out, before);
        buf_add_str(out, buf_str(&link));
    }
    buf_release(&link);
}

void outcome_init(struct outcome *out)
{
    memset(out, 0, sizeof *out);
    out->poll_ms = -1;
    failure_clear(&out->failure);
}

void channel_request_init(struct channel_request *r)
{
    memset(r, 0, sizeof *r);
    buf_init(&r->url, URL_MAX);
    buf_init(&r->body, BODY_MAX);
    for (int i = 0; i < CHANNEL_HEADERS_MAX; i++)
        buf_init(&r->headers[i], HEADER_MAX);
}

void channel_request_release(struct channel_request *r)
{
    buf_release(&r->url);
    buf_release(&r->body);
    for (int i = 0; i < CHANNEL_HEADERS_MAX; i++)
        buf_release_secret(&r->headers[i]);
}

void channel_request_header(struct channel_request *r, const char *fmt, ...)
{
    va_list args;

    if (r->n_headers == CHANNEL_HEADERS_MAX) {
        r->url.err = ERR_TOO_LARGE;
        return;
    }
    va_start(args, fmt);
    buf_vaddf(&r->headers[r->n_headers++], fmt, args);
    va_end(args);
}

void channel_request_form(struct channel_request *r, const char *name, const char *value)
{
    if (r->body.len > 0)
        buf_add_char(&r->body, '&');
    buf_add_percent(&r->body, name);
    buf_add_char(&r->body, '=');
    buf_add_percent(&r->body, value);
}

int channel_request_seal(struct channel_request *r)
{
    int err = buf_err(&r->url);

    if (!err)
        err = buf_err(&r->body);
    for (int i = 0; i < r->n_headers && !err; i++) {
        err = buf_err(&r->headers[i]);
        r->header_list[i] = buf_str(&r->headers[i]);
    }
    if (err)
        return err;
    r->header_list[r->n_headers] = NULL;
    r->http.url = buf_str(&r->url);
    r->http.headers = r->header_list;
    if (r->body.len > 0) {
        r->http.body = buf_str(&r->body);
        r->http.body_len = r->body.len;
    }
    return 0;
}

static void judge_no_answer(
    const struct http_response *response, const char *what, struct outcome *out)
{
    failure_set(&out->failure, response->err, "%s: %s", what, response->detail);
    switch (response->err) {
    case ERR_DENIED:
    case ERR_INVALID:
        out->kind = OUTCOME_FINAL;
        break;
    default:
        out->kind = response->sent ? OUTCOME_AMBIGUOUS : OUTCOME_PASSING;
        out->provider_failed = true;
    }
    out->failure.ambiguous = out->kind == OUTCOME_AMBIGUOUS;
    out->failure.final = out->kind == OUTCOME_FINAL;
}

bool outcome_judge_http(const struct http_response *response, const char *what, struct outcome *out)
{
    long status = response->status;

    out->elapsed_ms = response->elapsed_ms;
    out->http_status = (int)status;
    if (response->err) {
        judge_no_answer(response, what, out);
        return true;
    }
    if (status != 408 && status != 429 && status < 500)
        return false;
    failure_set(&out->failure, ERR_PROTOCOL, "%s: answered %ld", what, status);
    out->failure.http_status = (int)status;
    out->failure.retry_after_ms = http_response_retry_after_ms(response);
    out->provider_failed = true;
    /* RFC 9110, 15: 408, 429 and 503 say that the request was not worked; any other 5xx leaves
     * that open. */
    out->kind =
        status == 408 || status == 429 || status == 503 ? OUTCOME_PASSING : OUTCOME_AMBIGUOUS;
    out->failure.ambiguous = out->kind == OUTCOME_AMBIGUOUS;
    return true;
}
