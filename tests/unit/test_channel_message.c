/* What messages say, by kind, distance to the start, and style. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/message.h"

static struct message alert(int64_t starts_in_s)
{
    return (struct message){
        .notification_id = 1,
        .incident_id = 2,
        .channel = "console",
        .mode = "message",
        .kind = "meeting_alert",
        .gate = "alerts",
        .person = "owner",
        .owner = "owner",
        .title = "Stand-up",
        .incident_kind = "meeting",
        .starts_local = "10:30",
        .starts_in_s = starts_in_s,
    };
}

static void assert_text(const struct message *m, enum message_style style, const char *expected)
{
    struct buf out = BUF_INIT(MESSAGE_TEXT_MAX * 2);

    message_text(m, style, &out);
    assert_int_equal(buf_err(&out), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_release(&out);
}

static void test_the_distance_to_the_start(void **state)
{
    static const struct {
        int64_t starts_in_s;
        const char *text;
    } cases[] = {
        {720, "\"Stand-up\" starts in 12 min (10:30)"},
        {719, "\"Stand-up\" starts in 12 min (10:30)"},
        {119, "\"Stand-up\" starts in 2 min (10:30)"},
        {30, "\"Stand-up\" starts in 1 min (10:30)"},
        {29, "\"Stand-up\" starts now (10:30)"},
        {-29, "\"Stand-up\" starts now (10:30)"},
        {-120, "\"Stand-up\" started 2 min ago (10:30)"},
        {3 * 3600, "\"Stand-up\" starts in 3 h (10:30)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message m = alert(cases[i].starts_in_s);
        assert_text(&m, MESSAGE_WRITTEN, cases[i].text);
    }
}

static void test_spoken(void **state)
{
    struct message m = alert(60);

    (void)state;
    assert_text(&m, MESSAGE_SPOKEN, "Stand-up starts in 1 minute, at 10:30");
    m.starts_in_s = 120;
    assert_text(&m, MESSAGE_SPOKEN, "Stand-up starts in 2 minutes, at 10:30");
}

static void test_by_gate(void **state)
{
    struct message m = alert(0);

    (void)state;
    m.gate = "checkin";
    assert_text(&m, MESSAGE_WRITTEN, "\"Stand-up\" starts now (10:30). Are you there?");
    assert_string_equal(message_label(&m), "Check-in message");
    m.gate = "escalation";
    m.mode = "call";
    m.person = "second";
    m.starts_in_s = -300;
    assert_text(
        &m, MESSAGE_WRITTEN, "owner has not answered: \"Stand-up\" started 5 min ago (10:30)");
    assert_string_equal(message_label(&m), "Escalation call");
}

static void test_a_fixed_text(void **state)
{
    struct message m = {.channel = "console",
        .mode = "message",
        .kind = "birthday",
        .gate = "alerts",
        .person = "owner",
        .body = "Happy birthday,\nowner!"};

    (void)state;
    assert_text(&m, MESSAGE_WRITTEN, "Happy birthday, owner!");
    assert_string_equal(message_label(&m), "Greeting");
}

static void test_a_long_title_is_clipped_at_a_character(void **state)
{
    char title[4 * MESSAGE_TITLE_MAX];
    struct message m = alert(120);
    struct buf out = BUF_INIT(MESSAGE_TEXT_MAX * 2);

    (void)state;
    memset(title, 'a', MESSAGE_TITLE_MAX - 1);
    memcpy(title + MESSAGE_TITLE_MAX - 1, "\xC3\xA4 and more", 12);
    m.title = title;
    message_text(&m, MESSAGE_WRITTEN, &out);
    assert_int_equal(buf_err(&out), 0);
    assert_non_null(strstr(buf_str(&out), "a\xE2\x80\xA6\" starts"));
    buf_release(&out);
}

static void test_what_is_no_text_is_replaced(void **state)
{
    struct message m = alert(120);

    (void)state;
    m.title = "A\x01\xFF"
              "B";
    assert_text(&m, MESSAGE_WRITTEN,
        "\"A \xEF\xBF\xBD"
        "B\" starts in 2 min (10:30)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_distance_to_the_start),
        cmocka_unit_test(test_spoken),
        cmocka_unit_test(test_by_gate),
        cmocka_unit_test(test_a_fixed_text),
        cmocka_unit_test(test_a_long_title_is_clipped_at_a_character),
        cmocka_unit_test(test_what_is_no_text_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
