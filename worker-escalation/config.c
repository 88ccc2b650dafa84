#include "worker-escalation/config.h"

#include <string.h>

#include "base/ack_link.h"
#include "base/standard_webhooks.h"
#include "io/mail_message.h"

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
    KEY("SLACK_API_URL", CONFIG_URL, slack_url, .fallback = "https://slack.com",
        .help = "Base address of Slack's interface, without the /api."),
    KEY("SLACK_TOKEN", CONFIG_STRING, slack_token, .secret = true,
        .help = "A bot's token with chat:write; without it the channel slack is off."),
    KEY("VAPI_API_URL", CONFIG_URL, vapi_url, .fallback = "https://api.vapi.ai",
        .help = "Base address of Vapi's interface."),
    KEY("VAPI_API_KEY", CONFIG_STRING, vapi_api_key, .secret = true,
        .help = "Vapi's private key; without it the channel vapi_voice is off."),
    KEY("VAPI_ASSISTANT_ID", CONFIG_STRING, vapi_assistant_id,
        .help = "The assistant that speaks; its first message is replaced by ours."),
    KEY("VAPI_PHONE_NUMBER_ID", CONFIG_STRING, vapi_phone_number_id,
        .help = "Vapi's id of the number that calls come from."),
    KEY("SMTP_URL", CONFIG_STRING, smtp_url,
        .help = "smtp://host:587 with STARTTLS or smtps://host:465; without it email is off."),
    KEY("SMTP_USER", CONFIG_STRING, smtp_user, .help = "Who signs in to that server."),
    KEY("SMTP_PASSWORD", CONFIG_STRING, smtp_password, .secret = true,
        .help = "The password of that user."),
    KEY("SMTP_FROM", CONFIG_STRING, smtp_from, .help = "The address that mail comes from."),
    KEY("SMTP_CA_FILE", CONFIG_STRING, smtp_ca_file,
        .help = "PEM of who may sign that server's certificate; empty: the system's."),
    KEY("SMTP_ALLOW_PLAIN", CONFIG_BOOL, smtp_allow_plain, .fallback = "false",
        .help = "Whether smtp:// goes without STARTTLS: for a relay on the same host alone."),
    KEY("PUBLIC_URL", CONFIG_URL, public_url,
        .help = "Where providers reach the gateway; without it no callbacks are asked for."),
    KEY("LINK_SECRET", CONFIG_STRING, link_secret, .secret = true,
        .help = "The gateway's too, at least 32 characters: puts a link that acknowledges into "
                "messages, below PUBLIC_URL."),
    KEY("DEAD_MAN_URL", CONFIG_URL, dead_man_url, .secret = true,
        .help = "Called by GET after every clean delivery audit; its silence is the alarm."),
    KEY("WEBHOOK_SECRET", CONFIG_STRING, webhook_secret, .secret = true,
        .help = "Signs webhooks and http jobs after Standard Webhooks: whsec_ and base64."),
    KEY("BUNDLE_MESSAGES", CONFIG_BOOL, bundle_messages, .fallback = "true",
        .help = "Whether several messages that are due to one phone leave as one."),
    KEY("HEALTH_WATCH", CONFIG_BOOL, health_watch, .fallback = "true",
        .help = "Whether a failing check of the view health becomes an incident of its own."),
    KEY("WEBHOOK_ALLOW_PRIVATE", CONFIG_BOOL, webhook_allow_private, .fallback = "false",
        .help = "Whether a webhook may go to a loopback, private or link-local address."),
    KEY("HTTP_JOB_ALLOW_PRIVATE", CONFIG_BOOL, http_job_allow_private, .fallback = "false",
        .help = "Whether an http job may call a loopback, private or link-local address."),
    KEY("MAX_IN_FLIGHT", CONFIG_INT, max_in_flight, .fallback = "512", .min = 4, .max = 2000,
        .help = "Deliveries under way at a time; one channel takes at most three quarters."),
    KEY("SEND_TIMEOUT", CONFIG_DURATION, send_timeout_ms, .fallback = "10s", .min = 500,
        .max = 60000, .help = "How long a provider may take to answer."),
};

static bool has_scheme(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

static void check_mail(const struct reach_config *c, struct buf *faults)
{
    if (c->smtp_url && !has_scheme(c->smtp_url, "smtp://") && !has_scheme(c->smtp_url, "smtps://"))
        buf_add_str(faults, "SMTP_URL: starts with smtp:// or smtps://\n");
    if (c->smtp_url && !c->smtp_from)
        buf_add_str(faults, "SMTP_FROM: needed with SMTP_URL\n");
    if (c->smtp_from && !mail_address_is_valid(c->smtp_from))
        buf_add_str(faults, "SMTP_FROM: an address such as alerts@example.org\n");
    if (!c->smtp_user != !c->smtp_password)
        buf_add_str(faults, "SMTP_USER and SMTP_PASSWORD go together\n");
}

void reach_config_check(const void *config, struct buf *faults)
{
    const struct reach_config *c = config;

    if (!c->twilio_account_sid != !c->twilio_auth_token)
        buf_add_str(faults, "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN go together\n");
    if (c->twilio_account_sid && !c->twilio_from && !c->twilio_whatsapp_from)
        buf_add_str(faults, "TWILIO_FROM: needed with TWILIO_ACCOUNT_SID\n");
    if (c->webhook_secret && standard_webhooks_check_secret(c->webhook_secret) != 0)
        buf_add_str(faults, "WEBHOOK_SECRET: whsec_ and the base64 of 24 to 64 bytes\n");
    if (c->vapi_api_key && (!c->vapi_assistant_id || !c->vapi_phone_number_id))
        buf_add_str(
            faults, "VAPI_ASSISTANT_ID and VAPI_PHONE_NUMBER_ID: needed with VAPI_API_KEY\n");
    if (c->link_secret && strlen(c->link_secret) < ACK_LINK_SECRET_MIN)
        buf_add_str(faults, "LINK_SECRET: at least 32 characters that nobody can guess\n");
    if (c->link_secret && !c->public_url)
        buf_add_str(faults, "PUBLIC_URL: needed with LINK_SECRET\n");
    check_mail(c, faults);
    if (c->twilio_from && c->twilio_from[0] != '+')
        buf_add_str(faults, "TWILIO_FROM: a number in E.164 starts with +\n");
    if (c->twilio_whatsapp_from && c->twilio_whatsapp_from[0] != '+')
        buf_add_str(faults, "TWILIO_WHATSAPP_FROM: a number in E.164 starts with +\n");
}
