#include "worker-escalation/config.h"

#include "base/standard_webhooks.h"

#define KEY(name, kind, member, ...)                                                               \
    {                                                                                              \
        .key = (name), .type = (kind), .offset = offsetof(struct reach_config, member),            \
        __VA_ARGS__                                                                                \
    }

const struct config_key reach_config_keys[REACH_CONFIG_N_KEYS] = {
    KEY("TWILIO_API_URL", CONFIG_URL, twilio_url, .fallback = "https://api.twilio.com",
        .help = "Base address of Twilio's interface, without the /2010-04-01."),
    KEY("TWILIO_ACCOUNT_SID", CONFIG_STRING, twilio_account_sid,
        .help = "The Twilio account; without it the twilio channels are off."),
    KEY("TWILIO_AUTH_TOKEN", CONFIG_STRING, twilio_auth_token, .secret = true,
        .help = "The token of that account."),
    KEY("TWILIO_FROM", CONFIG_STRING, twilio_from,
        .help = "The number, in E.164, that messages and calls come from."),
    KEY("TWILIO_WHATSAPP_FROM", CONFIG_STRING, twilio_whatsapp_from,
        .help = "The number, in E.164, that WhatsApp messages come from."),
    KEY("PUBLIC_URL", CONFIG_URL, public_url,
        .help = "Where providers reach the gateway; without it no callbacks are asked for."),
    KEY("DEAD_MAN_URL", CONFIG_URL, dead_man_url, .secret = true,
        .help = "Called by GET after every clean delivery audit; its silence is the alarm."),
    KEY("WEBHOOK_SECRET", CONFIG_STRING, webhook_secret, .secret = true,
        .help = "Signs webhooks and http jobs after Standard Webhooks: whsec_ and base64."),
    KEY("WEBHOOK_ALLOW_PRIVATE", CONFIG_BOOL, webhook_allow_private, .fallback = "false",
        .help = "Whether a webhook may go to a loopback, private or link-local address."),
    KEY("HTTP_JOB_ALLOW_PRIVATE", CONFIG_BOOL, http_job_allow_private, .fallback = "false",
        .help = "Whether an http job may call a loopback, private or link-local address."),
    KEY("MAX_IN_FLIGHT", CONFIG_INT, max_in_flight, .fallback = "512", .min = 4, .max = 2000,
        .help = "Deliveries under way at a time; one channel takes at most three quarters."),
    KEY("SEND_TIMEOUT", CONFIG_DURATION, send_timeout_ms, .fallback = "10s", .min = 500,
        .max = 60000, .help = "How long a provider may take to answer."),
};

void reach_config_check(const void *config, struct buf *faults)
{
    const struct reach_config *c = config;

    if (!c->twilio_account_sid != !c->twilio_auth_token)
        buf_add_str(faults, "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN go together\n");
    if (c->twilio_account_sid && !c->twilio_from && !c->twilio_whatsapp_from)
        buf_add_str(faults, "TWILIO_FROM: needed with TWILIO_ACCOUNT_SID\n");
    if (c->webhook_secret && standard_webhooks_check_secret(c->webhook_secret) != 0)
        buf_add_str(faults, "WEBHOOK_SECRET: whsec_ and the base64 of 24 to 64 bytes\n");
    if (c->twilio_from && c->twilio_from[0] != '+')
        buf_add_str(faults, "TWILIO_FROM: a number in E.164 starts with +\n");
    if (c->twilio_whatsapp_from && c->twilio_whatsapp_from[0] != '+')
        buf_add_str(faults, "TWILIO_WHATSAPP_FROM: a number in E.164 starts with +\n");
}
