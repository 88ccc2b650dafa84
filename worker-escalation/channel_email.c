/*
 * Email: one plain text to one address. Every try of a notification has the same Message-ID, so
 * that a second copy is recognised; what follows in an incident answers its first mail.
 */
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/channel_mail.h"
#include "worker-escalation/provider_id.h"

#define MESSAGE_ID_MAX ((size_t)512)
#define KEY_HASH_BYTES 16
#define KEY_HEX_SIZE   (2 * KEY_HASH_BYTES + 1)

void channel_mail_init(struct channel_mail *mail)
{
    memset(mail, 0, sizeof *mail);
    buf_init(&mail->subject, (size_t)4 * MESSAGE_TEXT_MAX);
    buf_init(&mail->text, (size_t)8 * MESSAGE_TEXT_MAX);
    buf_init(&mail->message_id, MESSAGE_ID_MAX);
    buf_init(&mail->in_reply_to, MESSAGE_ID_MAX);
}

void channel_mail_release(struct channel_mail *mail)
{
    buf_release(&mail->subject);
    buf_release(&mail->text);
    buf_release(&mail->message_id);
    buf_release(&mail->in_reply_to);
}

static const char *missing(const struct reach_config *config)
{
    if (!config->smtp_url)
        return "SMTP_URL is not set";
    return config->smtp_from ? NULL : "SMTP_FROM is not set";
}

/* The left part of a Message-ID: a digest, because a key has characters that an id may not have. */
static int key_id(const char *message_key, char ret_hex[KEY_HEX_SIZE])
{
    unsigned char hash[KEY_HASH_BYTES];

    if (!message_key)
        return ERR_INVALID;
    if (crypto_generichash(hash, sizeof hash, (const unsigned char *)message_key,
            strlen(message_key), NULL, 0) != 0)
        return ERR_CRYPTO;
    (void)sodium_bin2hex(ret_hex, KEY_HEX_SIZE, hash, sizeof hash);
    return 0;
}

static int write_texts(const struct reach_config *config, const struct message *m,
    const char *left_part, struct channel_mail *mail)
{
    const struct buf *all[] = {&mail->subject, &mail->text, &mail->message_id, &mail->in_reply_to};
    const char *at = strrchr(config->smtp_from, '@');
    int err = at ? 0 : ERR_INVALID;

    if (err)
        return err;
    message_text(m, MESSAGE_WRITTEN, &mail->subject);
    buf_add_str(&mail->text, buf_str(&mail->subject));
    channel_add_link(config, m, "\n\nAcknowledge: ", &mail->text);
    buf_addf(&mail->text, "\n\n-- \nTocsin, notification %" PRId64, m->notification_id);
    if (m->incident_id)
        buf_addf(&mail->text, ", incident %" PRId64, m->incident_id);
    buf_add_char(&mail->text, '\n');
    buf_addf(&mail->message_id, "%s%s", left_part, at);
    if (m->thread_id)
        buf_addf(&mail->in_reply_to, "%s%s", m->thread_id, at);
    for (size_t i = 0; i < sizeof all / sizeof all[0] && !err; i++)
        err = buf_err(all[i]);
    return err;
}

static int build_mail(
    const struct reach_config *config, const struct message *m, struct channel_mail *mail)
{
    char left_part[KEY_HEX_SIZE];
    int err = m->address && mail_address_is_valid(m->address) ? 0 : ERR_INVALID;

    if (!err)
        err = key_id(m->message_key, left_part);
    if (!err)
        err = write_texts(config, m, left_part, mail);
    if (err)
        return err;
    mail->message = (struct mail_message){
        .from = config->smtp_from,
        .from_name = "Tocsin",
        .to = m->address,
        .subject = buf_str(&mail->subject),
        .text = buf_str(&mail->text),
        .message_id = buf_str(&mail->message_id),
        .in_reply_to = m->thread_id ? buf_str(&mail->in_reply_to) : NULL,
        .date_s = clock_unix_s(),
    };
    mail->smtp.url = config->smtp_url;
    mail->smtp.user = config->smtp_user;
    mail->smtp.password = config->smtp_password;
    mail->smtp.ca_file = config->smtp_ca_file;
    mail->smtp.plaintext = config->smtp_allow_plain;
    mail->smtp.allow_private = true; /* the server is the operator's own */
    mail->smtp.message = &mail->message;
    return 0;
}

/* Whether a reply has one of RFC 3463's codes of an address that does not exist or takes no mail
 * any more: "550 5.1.1 …". 5.1.10 is RFC 7505's. */
static bool is_dead_address(const char *reply)
{
    static const char *const codes[] = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"};
    const char *at = reply + strspn(reply, "0123456789");
    size_t len;

    at += *at == ' ' || *at == '-';
    len = strspn(at, "0123456789.");
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (len == strlen(codes[i]) && memcmp(at, codes[i], len) == 0)
            return true;
    }
    return false;
}

/* Replies about the server or who signs in, not about this mail: RFC 5321, 4.2.2 and RFC 4954, 6,
 * RFC 3207, 4. */
static bool is_about_server(long code)
{
    return code == 421 || code == 454 || code == 530 || code == 534 || code == 535 || code == 538;
}

static void judge_refusal(const struct smtp_response *response, struct outcome *out)
{
    out->kind = response->code < 500 ? OUTCOME_PASSING : OUTCOME_FINAL;
    out->provider_failed = is_about_server(response->code);
    out->contact_dead = response->code >= 500 && is_dead_address(response->detail);
}

static void judge_mail(
    const struct message *m, const struct smtp_response *response, struct outcome *out)
{
    char left_part[KEY_HEX_SIZE];

    out->elapsed_ms = response->elapsed_ms;
    if (!response->err) {
        out->kind = OUTCOME_ACCEPTED;
        if (key_id(m->message_key, left_part) == 0)
            (void)provider_id_set(out, left_part, NULL);
        return;
    }
    failure_set(&out->failure, response->err, "email: %s", response->detail);
    if (response->code >= 400 && response->code <= 599) {
        judge_refusal(response, out);
    } else {
        out->kind = response->sent ? OUTCOME_AMBIGUOUS : OUTCOME_PASSING;
        out->provider_failed = true;
    }
    out->failure.final = out->kind == OUTCOME_FINAL;
    out->failure.ambiguous = out->kind == OUTCOME_AMBIGUOUS;
}

const struct channel channel_email = {
    .name = "email",
    .missing = missing,
    .build_mail = build_mail,
    .judge_mail = judge_mail,
};
