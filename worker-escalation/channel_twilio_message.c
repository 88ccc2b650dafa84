/*
 * SMS and WhatsApp: POST and GET of /2010-04-01/Accounts/{AccountSid}/Messages.json.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "worker-escalation/twilio.h"

/* ValidityPeriod: 1 to 36000 seconds, and more than 5 are recommended, because less is mostly over
 * before the message has left Twilio (docs/messaging/api/message-resource; error 90007). */
#define VALIDITY_MIN_S 6
#define VALIDITY_MAX_S 36000
/* A longer body is refused whole (error 21617). Of characters, of which there are never more than
 * bytes.
 */
#define BODY_MAX ((size_t)1600)
/* What follows each text of a body: an ellipsis, its reference, "; ". */
#define TAIL_MAX ((size_t)32)

static const char *missing_account(const struct reach_config *config)
{
    if (!config->twilio_account_sid || !config->twilio_auth_token)
        return "TWILIO_ACCOUNT_SID is not set";
    return NULL;
}

static const char *missing_sms(const struct reach_config *config)
{
    return config->twilio_from ? missing_account(config) : "TWILIO_FROM is not set";
}

static const char *missing_whatsapp(const struct reach_config *config)
{
    return config->twilio_whatsapp_from ? missing_account(config)
                                        : "TWILIO_WHATSAPP_FROM is not set";
}

static void add_number(struct channel_request *r, const char *name, const char *prefix,
    const char *number, struct buf *into)
{
    buf_reset(into);
    buf_addf(into, "%s%s", prefix, number);
    channel_request_form(r, name, buf_str(into));
}

/* At most `max` bytes of the text, and its reference. */
static void add_one(const struct message *m, size_t max, struct buf *out)
{
    struct buf text = BUF_INIT(4 * MESSAGE_TEXT_MAX);
    size_t kept;

    message_text(m, MESSAGE_WRITTEN, &text);
    kept = utf8_clip(buf_str(&text), text.len, max);
    buf_add(out, buf_str(&text), kept);
    if (kept < text.len)
        buf_add_str(out, UTF8_ELLIPSIS);
    buf_add_char(out, ' ');
    twilio_reference(m->notification_id, out);
    if (buf_err(&text))
        out->err = buf_err(&text);
    buf_release(&text);
}

/* Each text with its reference, those of a bundle after their number; none takes the room of
 * another. */
static void add_text(const struct reach_config *config, const struct message *m, struct buf *out)
{
    struct buf link = BUF_INIT(BODY_MAX / 2); /* one that is longer is left out */
    size_t n = 0, room;

    for (const struct message *each = m; each; each = each->also)
        n++;
    if (n > 1)
        buf_addf(out, "%zu alerts: ", n);
    else
        channel_add_link(config, m, " ", &link);
    if (buf_err(&link))
        buf_reset(&link);
    room = (BODY_MAX - out->len - link.len) / n - TAIL_MAX;
    for (const struct message *each = m; each; each = each->also) {
        add_one(each, room, out);
        if (each->also)
            buf_add_str(out, "; ");
    }
    buf_add_str(out, buf_str(&link));
    buf_release(&link);
}

static int build(const struct reach_config *config, const struct message *m, const char *prefix,
    const char *from, struct channel_request *r)
{
    struct buf value = BUF_INIT(2 * BODY_MAX);
    int64_t validity = m->useful_s;
    int err;

    if (!twilio_is_e164(m->address))
        return ERR_INVALID;
    if (validity < VALIDITY_MIN_S)
        validity = VALIDITY_MIN_S;
    if (validity > VALIDITY_MAX_S)
        validity = VALIDITY_MAX_S;
    twilio_request(config, "Messages", NULL, r);
    add_number(r, "To", prefix, m->address, &value);
    add_number(r, "From", prefix, from, &value);
    buf_reset(&value);
    add_text(config, m, &value);
    channel_request_form(r, "Body", buf_str(&value));
    buf_reset(&value);
    buf_addf(&value, "%" PRId64, validity);
    channel_request_form(r, "ValidityPeriod", buf_str(&value));
    buf_reset(&value);
    twilio_callback(config, "message", m, &value);
    if (value.len > 0)
        channel_request_form(r, "StatusCallback", buf_str(&value));
    err = buf_err(&value);
    buf_release(&value);
    return err;
}

static int build_ask(const struct reach_config *config, const struct message *m, const char *prefix,
    const char *from, struct channel_request *r)
{
    twilio_request(config, "Messages", NULL, r);
    r->http.method = "GET";
    r->http.max_response = TWILIO_LIST_BYTES_MAX;
    buf_add_str(&r->url, "?PageSize=" TWILIO_LIST_SIZE "&To=");
    buf_add_percent(&r->url, prefix);
    buf_add_percent(&r->url, m->address);
    buf_add_str(&r->url, "&From=");
    buf_add_percent(&r->url, prefix);
    buf_add_percent(&r->url, from);
    return 0;
}

static int build_sms(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    return build(config, m, "", config->twilio_from, r);
}

static int build_ask_sms(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    return build_ask(config, m, "", config->twilio_from, r);
}

static int build_whatsapp(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    return build(config, m, "whatsapp:", config->twilio_whatsapp_from, r);
}

static int build_ask_whatsapp(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    return build_ask(config, m, "whatsapp:", config->twilio_whatsapp_from, r);
}

static void judge_ask(
    const struct message *m, const struct http_response *response, struct outcome *out)
{
    twilio_judge_list(m, response, "messages", out);
}

static int build_poll(
    const struct reach_config *config, const char *provider_id, struct channel_request *r)
{
    twilio_request(config, "Messages", provider_id, r);
    r->http.method = "GET";
    return 0;
}

const struct channel channel_twilio_sms = {
    .name = "twilio_sms",
    .bundles = true,
    .missing = missing_sms,
    .build = build_sms,
    .judge = twilio_judge,
    .build_ask = build_ask_sms,
    .judge_ask = judge_ask,
    .build_poll = build_poll,
    .judge_poll = twilio_judge_message,
};

const struct channel channel_twilio_whatsapp = {
    .name = "twilio_whatsapp",
    .bundles = true,
    .missing = missing_whatsapp,
    .build = build_whatsapp,
    .judge = twilio_judge,
    .build_ask = build_ask_whatsapp,
    .judge_ask = judge_ask,
    .build_poll = build_poll,
    .judge_poll = twilio_judge_message,
};
