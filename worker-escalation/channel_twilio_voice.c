/*
 * Calls: POST and GET of /2010-04-01/Accounts/{AccountSid}/Calls.json, with what is said inline in
 * the parameter Twiml.
 */
#include "worker-escalation/twilio.h"
#include "worker-escalation/twiml.h"

/* How long it rings. Longer, and most voice mails pick up. */
#define RING_S "25"

static const char *missing(const struct reach_config *config)
{
    if (!config->twilio_account_sid || !config->twilio_auth_token)
        return "TWILIO_ACCOUNT_SID is not set";
    return config->twilio_from ? NULL : "TWILIO_FROM is not set";
}

static int add_twiml(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    struct buf text = BUF_INIT(2 * MESSAGE_TEXT_MAX);
    struct buf action = BUF_INIT(4096);
    struct buf twiml = BUF_INIT(TWIML_MAX);
    int err;

    message_text(m, MESSAGE_SPOKEN, &text);
    twilio_callback(config, "digits", m, &action);
    twiml_say(buf_str(&text), action.len > 0 ? buf_str(&action) : NULL, &twiml);
    err = buf_err(&text);
    if (!err)
        err = buf_err(&action);
    if (!err)
        err = buf_err(&twiml);
    if (!err)
        channel_request_form(r, "Twiml", buf_str(&twiml));
    buf_release(&text);
    buf_release(&action);
    buf_release(&twiml);
    return err;
}

static int build(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    struct buf callback = BUF_INIT(4096);
    int err;

    if (!twilio_is_e164(m->address))
        return ERR_INVALID;
    twilio_request(config, "Calls", NULL, r);
    channel_request_form(r, "To", m->address);
    channel_request_form(r, "From", config->twilio_from);
    channel_request_form(r, "Timeout", RING_S);
    if (!config->public_url) {
        /* Nobody can press a key: whether a person answered is all that can be known. In the
         * background, so that nobody waits in silence (docs/voice/answering-machine-detection). */
        channel_request_form(r, "MachineDetection", "Enable");
        channel_request_form(r, "AsyncAmd", "true");
    }
    twilio_callback(config, "call", m, &callback);
    if (callback.len > 0) {
        channel_request_form(r, "StatusCallback", buf_str(&callback));
        channel_request_form(r, "StatusCallbackEvent", "completed");
    }
    err = buf_err(&callback);
    buf_release(&callback);
    return err ? err : add_twiml(config, m, r);
}

static int build_ask(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    twilio_request(config, "Calls", NULL, r);
    r->http.method = "GET";
    r->http.max_response = TWILIO_LIST_BYTES_MAX;
    buf_add_str(&r->url, "?PageSize=" TWILIO_LIST_SIZE "&To=");
    buf_add_percent(&r->url, m->address);
    buf_add_str(&r->url, "&From=");
    buf_add_percent(&r->url, config->twilio_from);
    return 0;
}

static void judge_ask(
    const struct message *m, const struct http_response *response, struct outcome *out)
{
    twilio_judge_list(m, response, "calls", out);
}

static int build_poll(
    const struct reach_config *config, const char *provider_id, struct channel_request *r)
{
    twilio_request(config, "Calls", provider_id, r);
    r->http.method = "GET";
    return 0;
}

static void judge(const struct http_response *response, struct outcome *out)
{
    twilio_judge(response, out);
    if (out->kind == OUTCOME_ACCEPTED)
        out->poll_ms = TWILIO_CALL_POLL_MS;
}

const struct channel channel_twilio_voice = {
    .name = "twilio_voice",
    .takes_keys = true,
    .missing = missing,
    .build = build,
    .judge = judge,
    .build_ask = build_ask,
    .judge_ask = judge_ask,
    .build_poll = build_poll,
    .judge_poll = twilio_judge_call,
};
