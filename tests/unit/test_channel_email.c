/* What a mail says, by what it is recognised, and what a server's replies mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/channel.h"
#include "worker-escalation/channel_mail.h"

static const struct reach_config config = {
    .smtp_url = (char *)"smtp://mail.example:587",
    .smtp_from = (char *)"alerts@example.org",
};

static const struct message message = {
    .notification_id = 5,
    .attempt_id = 9,
    .incident_id = 2,
    .channel = "email",
    .mode = "message",
    .kind = "meeting_alert",
    .gate = "alerts",
    .address = "owner@example.org",
    .person = "owner",
    .title = "Stand-up",
    .incident_kind = "meeting",
    .starts_local = "10:30",
    .starts_in_s = 720,
    .message_key = "incident:2:1:1:1:1700000000.5",
};

static void test_a_mail(void **state)
{
    struct channel_mail mail;

    (void)state;
    channel_mail_init(&mail);
    assert_int_equal(channel_email.build_mail(&config, &message, &mail), 0);
    assert_string_equal(mail.smtp.url, "smtp://mail.example:587");
    assert_false(mail.smtp.plaintext);
    assert_string_equal(mail.message.to, "owner@example.org");
    assert_string_equal(mail.message.from, "alerts@example.org");
    assert_string_equal(mail.message.subject, "\"Stand-up\" starts in 12 min (10:30)");
    assert_string_equal(mail.message.text, "\"Stand-up\" starts in 12 min (10:30)\n\n"
                                           "-- \nTocsin, notification 5, incident 2\n");
    assert_null(mail.message.in_reply_to);
    channel_mail_release(&mail);
}

/* The id of a message with that key; the caller's buffer holds it. */
static const char *id_of(const char *key, struct channel_mail *mail)
{
    struct message m = message;

    m.message_key = key;
    m.attempt_id++;
    channel_mail_init(mail);
    assert_int_equal(channel_email.build_mail(&config, &m, mail), 0);
    return mail->message.message_id;
}

static void test_every_try_has_one_id_and_every_message_its_own(void **state)
{
    struct channel_mail first, again, other;

    (void)state;
    assert_string_equal(id_of("k:1", &first), id_of("k:1", &again));
    assert_string_not_equal(first.message.message_id, id_of("k:2", &other));
    assert_int_equal(strlen(first.message.message_id), 32 + strlen("@example.org"));
    assert_non_null(strstr(first.message.message_id, "@example.org"));
    channel_mail_release(&first);
    channel_mail_release(&again);
    channel_mail_release(&other);
}

static void test_what_follows_answers_the_first(void **state)
{
    struct message m = message;
    struct channel_mail mail;

    (void)state;
    m.thread_id = "00ff";
    channel_mail_init(&mail);
    assert_int_equal(channel_email.build_mail(&config, &m, &mail), 0);
    assert_string_equal(mail.message.in_reply_to, "00ff@example.org");
    channel_mail_release(&mail);
}

static void test_what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        NULL, "owner", "owner@", "a b@example.org", "a@b\r\nRCPT TO:<x@y>"};
    struct channel_mail mail;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct message m = message;

        m.address = bad[i];
        channel_mail_init(&mail);
        assert_int_equal(channel_email.build_mail(&config, &m, &mail), ERR_INVALID);
        channel_mail_release(&mail);
    }
}

static void test_replies(void **state)
{
    static const struct {
        int err;
        long code;
        bool sent;
        const char *detail;
        enum outcome_kind kind;
        bool provider_failed, contact_dead;
    } cases[] = {
        {0, 250, true, "", OUTCOME_ACCEPTED, false, false},
        {ERR_PROTOCOL, 450, false, "450 4.2.0 greylisted", OUTCOME_PASSING, false, false},
        {ERR_PROTOCOL, 451, true, "451 4.7.1 later", OUTCOME_PASSING, false, false},
        {ERR_PROTOCOL, 421, false, "421 4.3.2 closing", OUTCOME_PASSING, true, false},
        {ERR_PROTOCOL, 535, false, "535 5.7.8 bad password", OUTCOME_FINAL, true, false},
        {ERR_PROTOCOL, 550, false, "550 5.1.1 no such user", OUTCOME_FINAL, false, true},
        {ERR_PROTOCOL, 550, false, "550-5.1.1 no such user", OUTCOME_FINAL, false, true},
        {ERR_PROTOCOL, 550, false, "550 5.1.12 odd", OUTCOME_FINAL, false, false},
        {ERR_PROTOCOL, 550, false, "550 5.7.1 spam", OUTCOME_FINAL, false, false},
        {ERR_PROTOCOL, 552, true, "552 5.2.2 mailbox full", OUTCOME_FINAL, false, false},
        {ERR_PROTOCOL, 0, false, "no STARTTLS", OUTCOME_PASSING, true, false},
        {ERR_TIMEOUT, 0, false, "time-out", OUTCOME_PASSING, true, false},
        {ERR_TIMEOUT, 354, true, "time-out", OUTCOME_AMBIGUOUS, true, false},
        {ERR_IO, 354, true, "closed", OUTCOME_AMBIGUOUS, true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct smtp_response response = {.err = cases[i].err,
            .code = cases[i].code,
            .sent = cases[i].sent,
            .detail = cases[i].detail};
        struct outcome out;

        outcome_init(&out);
        channel_email.judge_mail(&message, &response, &out);
        if (out.kind != cases[i].kind || out.provider_failed != cases[i].provider_failed ||
            out.contact_dead != cases[i].contact_dead)
            fail_msg("case %zu: %s, provider failed %d, contact dead %d: %s", i,
                outcome_name(out.kind), out.provider_failed, out.contact_dead, out.failure.detail);
        assert_int_equal(out.failure.code != 0, out.kind != OUTCOME_ACCEPTED);
        assert_int_equal(strlen(out.provider_id), i == 0 ? 32 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mail),
        cmocka_unit_test(test_every_try_has_one_id_and_every_message_its_own),
        cmocka_unit_test(test_what_follows_answers_the_first),
        cmocka_unit_test(test_what_is_no_address_is_refused),
        cmocka_unit_test(test_replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
