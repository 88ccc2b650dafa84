/*
 * Webhooks: a JSON object by POST to the address of the contact method, signed after Standard
 * Webhooks, whose id lets the receiver tell a repeat.
 */
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/webhook_sign.h"

#define ISO_TIME_SIZE sizeof "9999-12-31T23:59:59Z"

static char *payload(const struct reach_config *config, const struct message *m)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    struct buf text = BUF_INIT(4 * MESSAGE_TEXT_MAX), link = BUF_INIT(4096);
    time_t now = (time_t)clock_unix_s();
    struct tm utc;
    char stamp[ISO_TIME_SIZE] = "";
    char *dump = NULL;

    message_text(m, MESSAGE_WRITTEN, &text);
    channel_add_link(config, m, "", &link);
    if (buf_err(&text) == 0 && gmtime_r(&now, &utc) &&
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0)
        json = json_pack("{s:s, s:s, s:{s:I, s:I, s:s, s:s, s:s, s:s?, s:s?, s:s, s:I, s:s*}}",
            "type", m->kind, "timestamp", stamp, "data", "notification_id",
            (json_int_t)m->notification_id, "incident_id", (json_int_t)m->incident_id, "kind",
            m->kind, "mode", m->mode, "person", m->person, "owner", m->owner, "title", m->title,
            "text", buf_str(&text), "starts_in_s", (json_int_t)m->starts_in_s, "acknowledge_url",
            link.len > 0 ? buf_str(&link) : NULL);
    if (json)
        dump = json_dumps(json, JSON_COMPACT);
    buf_release(&text);
    buf_release(&link);
    return dump;
}

static int build(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    _cleanup_(freep) char *body = payload(config, m);
    struct buf id = BUF_INIT(64);
    int err;

    if (!body)
        return ERR_INVALID;
    if (!m->address ||
        (strncmp(m->address, "https://", 8) != 0 && strncmp(m->address, "http://", 7) != 0))
        return ERR_INVALID;
    buf_add_str(&r->url, m->address);
    buf_add_str(&r->body, body);
    r->http.method = "POST";
    r->http.allow_private = config->webhook_allow_private;
    r->http.private_setting = "WEBHOOK_ALLOW_PRIVATE";
    channel_request_header(r, "Content-Type: application/json");
    buf_addf(&id, "notification_%" PRId64, m->notification_id);
    err = webhook_sign(r, config->webhook_secret, buf_str(&id));
    buf_release(&id);
    return err;
}

static void judge(const struct http_response *response, struct outcome *out)
{
    long status = response->status;

    /* To Standard Webhooks whatever is not 2xx was not taken. A 5xx is taken at its word no more
     * than any other provider's: one that lies would get twice what is sent at most once. */
    if (outcome_judge_http(response, "webhook", out))
        return;
    if (status >= 200 && status < 300) {
        out->kind = OUTCOME_ACCEPTED;
        return;
    }
    failure_set(&out->failure, ERR_PROTOCOL, "webhook: answered %ld", status);
    out->failure.final = true;
    out->failure.http_status = (int)status;
    out->kind = OUTCOME_FINAL;
    out->contact_dead = status == 410; /* Standard Webhooks: it asks to be left alone */
}

const struct channel channel_webhook = {
    .name = "webhook",
    .logs_delivery = true,
    .build = build,
    .judge = judge,
};
