/* Mails as RFC 5322 and MIME have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "io/mail_message.h"

static struct mail_message plain(void)
{
    return (struct mail_message){
        .from = "tocsin@example.org",
        .to = "owner@example.com",
        .subject = "Meeting in 12 minutes",
        .text = "Stand-up at 9:00",
        .message_id = "attempt-7@tocsin.example.org",
        .date_s = 1772323200,
    };
}

static void assert_written(const struct mail_message *m, const char *text)
{
    struct buf b = BUF_INIT(MAIL_BYTES_MAX);

    assert_int_equal(mail_message_write(m, &b), 0);
    assert_string_equal(buf_str(&b), text);
    buf_release(&b);
}

#define REST                                                                                       \
    "Auto-Submitted: auto-generated\r\n"                                                           \
    "MIME-Version: 1.0\r\n"                                                                        \
    "Content-Type: text/plain; charset=utf-8\r\n"                                                  \
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n"

static void test_whole_mail(void **state)
{
    struct mail_message m = plain();

    (void)state;
    assert_written(&m, "Date: Sun, 01 Mar 2026 00:00:00 +0000\r\n"
                       "From: tocsin@example.org\r\n"
                       "To: owner@example.com\r\n"
                       "Message-ID: <attempt-7@tocsin.example.org>\r\n"
                       "Subject: Meeting in 12 minutes\r\n" REST "Stand-up at 9:00\r\n");
    m.from_name = "Tocsin \"<x>";
    m.in_reply_to = "incident-3@tocsin.example.org";
    m.subject = "R\xc3\xa9union";
    m.text = "";
    assert_written(&m, "Date: Sun, 01 Mar 2026 00:00:00 +0000\r\n"
                       "From: =?UTF-8?B?VG9jc2luICI8eD4=?=\r\n <tocsin@example.org>\r\n"
                       "To: owner@example.com\r\n"
                       "Message-ID: <attempt-7@tocsin.example.org>\r\n"
                       "In-Reply-To: <incident-3@tocsin.example.org>\r\n"
                       "References: <incident-3@tocsin.example.org>\r\n"
                       "Subject: =?UTF-8?B?UsOpdW5pb24=?=\r\n" REST);
}

static void test_body(void **state)
{
    static const struct {
        const char *text, *written;
    } rows[] = {
        {"", ""},
        {"a", "a\r\n"},
        {"a\nb\n", "a\r\nb\r\n"},
        {"a\r\nb\r\n", "a\r\nb\r\n"},
        {"a\rb", "a=0Db\r\n"},
        {"1=2", "1=3D2\r\n"},
        {"at 9 \nx\t", "at 9=20\r\nx=09\r\n"},
        {"at 9 \r\nx", "at 9=20\r\nx\r\n"},
        {"\xc3\xa9", "=C3=A9\r\n"},
        {".\n..", ".\r\n..\r\n"},
        {"\n\n", "\r\n\r\n"},
        {"123456789 123456789 123456789 123456789 123456789 123456789 123456789 12345",
            "123456789 123456789 123456789 123456789 123456789 123456789 123456789 12345\r\n"},
        {"123456789 123456789 123456789 123456789 123456789 123456789 123456789 123456",
            "123456789 123456789 123456789 123456789 123456789 123456789 123456789 "
            "12345=\r\n6\r\n"},
        {"123456789 123456789 123456789 123456789 123456789 123456789 123456789 123\xc3\xa9",
            "123456789 123456789 123456789 123456789 123456789 123456789 123456789 "
            "123=\r\n=C3=A9\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mail_message m = plain();
        struct buf b = BUF_INIT(MAIL_BYTES_MAX);
        m.text = rows[i].text;
        assert_int_equal(mail_message_write(&m, &b), 0);
        assert_string_equal(strstr(buf_str(&b), "\r\n\r\n") + 4, rows[i].written);
        buf_release(&b);
    }
}

/* A subject cannot make a header of its own, and no line is longer than RFC 5322 allows. */
static void test_subject(void **state)
{
    static const char *const subjects[] = {"a\r\nBcc: other@example.com", "a\nb", "\x01\x7f",
        "=?UTF-8?B?QQ==?=",
        ("Grüße aus der Rufbereitschaft: die Besprechung wurde verschoben, zum "
         "dritten Mal in dieser Woche, und niemand hat es gesagt")};

    (void)state;
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        struct mail_message m = plain();
        struct buf b = BUF_INIT(MAIL_BYTES_MAX);
        m.subject = subjects[i];
        assert_int_equal(mail_message_write(&m, &b), 0);
        assert_null(strstr(buf_str(&b), "Bcc"));
        assert_non_null(strstr(buf_str(&b), "Subject: =?UTF-8?B?"));
        for (const char *line = buf_str(&b); line[0] != '\0';) {
            const char *eol = strstr(line, "\r\n");
            assert_non_null(eol);
            assert_in_range(eol - line, 0, 76);
            line = eol + 2;
        }
        buf_release(&b);
    }
}

static void test_a_character_is_not_cut(void **state)
{
    struct mail_message m = plain();
    struct buf b = BUF_INIT(MAIL_BYTES_MAX);

    (void)state;
    /* The 39th byte would be the first half of the last character. */
    m.subject = "12345678901234567890123456789012345678\xc3\xa9";
    assert_int_equal(mail_message_write(&m, &b), 0);
    assert_non_null(strstr(buf_str(&b),
        "Subject: =?UTF-8?B?MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg=?="
        "\r\n =?UTF-8?B?w6k=?=\r\n"));
    buf_release(&b);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *address;
        bool valid;
    } rows[] = {
        {"a@b", true},
        {"first.last+tag@sub.example.com", true},
        {"o'neil@example.com", true},
        {"", false},
        {"@", false},
        {"a@", false},
        {"@b", false},
        {"a.b", false},
        {"a@b@c", false},
        {".a@b", false},
        {"a.@b", false},
        {"a..b@c", false},
        {"a@b..c", false},
        {"a@.b", false},
        {"a@b.", false},
        {"a@-b", false},
        {"a b@c", false},
        {"a@b c", false},
        {"a@b\r\nRCPT TO:<x@y>", false},
        {"a\n@b", false},
        {"<a@b>", false},
        {"a@b>", false},
        {"a,b@c", false},
        {"\"a\"@b", false},
        {"\xc3\xa9@b", false},
        {"a@\xc3\xa9.org", false},
        {"1234567890123456789012345678901234567890123456789012345678901234@b", true},
        {"12345678901234567890123456789012345678901234567890123456789012345@b", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (mail_address_is_valid(rows[i].address) != rows[i].valid)
            fail_msg("%s", rows[i].address);
}

static void test_refused(void **state)
{
    struct mail_message rows[] = {plain(), plain(), plain(), plain(), plain()};
    struct buf b = BUF_INIT(MAIL_BYTES_MAX);

    (void)state;
    rows[0].from = "nobody";
    rows[1].to = "a@b, c@d";
    rows[2].message_id = "a@b>\r\nBcc: c@d";
    rows[3].message_id = "no-domain";
    rows[4].in_reply_to = "a b@c";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(mail_message_write(&rows[i], &b), ERR_INVALID);
    assert_int_equal(b.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_mail),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_subject),
        cmocka_unit_test(test_a_character_is_not_cut),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
