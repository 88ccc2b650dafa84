/* The link that acknowledges: in every written message where links are configured, in no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/ack_link.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/channel_mail.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define PUBLIC "https://gate.example.org"

static const struct reach_config linked = {
    .twilio_url = (char *)"https://api.twilio.com",
    .twilio_account_sid = (char *)"AC1",
    .twilio_auth_token = (char *)"token",
    .twilio_from = (char *)"+15550001",
    .twilio_whatsapp_from = (char *)"+15550002",
    .slack_url = (char *)"https://slack.com",
    .slack_token = (char *)"xoxb",
    .smtp_url = (char *)"smtp://mail.example.org",
    .smtp_from = (char *)"alerts@example.org",
    .webhook_secret = (char *)"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    .public_url = (char *)PUBLIC,
    .link_secret = (char *)SECRET,
};

struct way {
    const struct channel *channel;
    const char *address;
};

static const struct way ways[] = {
    {&channel_twilio_sms, "+15551234"},
    {&channel_twilio_whatsapp, "+15551234"},
    {&channel_slack, "C012345"},
    {&channel_webhook, "https://hook.example.org/in"},
    {&channel_email, "owner@example.org"},
};

static struct message message_to(const char *address)
{
    return (struct message){
        .notification_id = 5,
        .attempt_id = 9,
        .incident_id = 2,
        .mode = "message",
        .kind = "meeting_alert",
        .gate = "alerts",
        .address = address,
        .person = "owner",
        .title = "Stand-up",
        .incident_kind = "meeting",
        .message_key = "key",
        .starts_in_s = 720,
        .useful_s = 700,
    };
}

/* Whether the message that goes out has that text, percent-encoded in a form. */
static bool says(const struct channel *c, const struct reach_config *config,
    const struct message *m, const char *text)
{
    struct buf encoded = BUF_INIT(4096);
    bool does;

    buf_add_percent(&encoded, text);
    if (c->build_mail) {
        struct channel_mail mail;
        channel_mail_init(&mail);
        assert_int_equal(c->build_mail(config, m, &mail), 0);
        does = strstr(buf_str(&mail.text), text) != NULL;
        assert_null(strstr(buf_str(&mail.subject), text));
        channel_mail_release(&mail);
    } else {
        struct channel_request r;
        channel_request_init(&r);
        assert_int_equal(c->build(config, m, &r), 0);
        assert_int_equal(channel_request_seal(&r), 0);
        does = strstr(r.http.body, text) || strstr(r.http.body, buf_str(&encoded));
        channel_request_release(&r);
    }
    buf_release(&encoded);
    return does;
}

static void test_every_written_message_has_it(void **state)
{
    struct buf link = BUF_INIT(256);

    (void)state;
    assert_int_equal(ack_link_add(&link, PUBLIC, SECRET, 5), 0);
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct message m = message_to(ways[i].address);
        if (!says(ways[i].channel, &linked, &m, buf_str(&link)))
            fail_msg("%s has no link", ways[i].channel->name);
    }
    buf_release(&link);
}

static void test_where_there_is_none(void **state)
{
    struct reach_config no_secret = linked;

    (void)state;
    no_secret.link_secret = NULL;
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        struct message m = message_to(ways[i].address);
        if (says(ways[i].channel, &no_secret, &m, PUBLIC "/a/"))
            fail_msg("%s has a link that is not configured", ways[i].channel->name);
        m.incident_id = 0;
        if (says(ways[i].channel, &linked, &m, PUBLIC "/a/"))
            fail_msg("%s has a link of nothing", ways[i].channel->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_written_message_has_it),
        cmocka_unit_test(test_where_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
