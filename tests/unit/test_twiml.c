/* TwiML: escaped, with and without a place for the digit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/twiml.h"

static void assert_twiml(const char *text, const char *action, const char *expected)
{
    struct buf out = BUF_INIT(TWIML_MAX);

    twiml_say(text, action, &out);
    assert_int_equal(buf_err(&out), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_release(&out);
}

static void test_without_a_gateway(void **state)
{
    (void)state;
    assert_twiml("A < B & \"C\"", NULL,
        "<Response><Say loop=\"2\">A &lt; B &amp; &quot;C&quot;.</Say></Response>");
}

static void test_with_a_digit(void **state)
{
    (void)state;
    assert_twiml("Soon", "https://t.example/x?a=1&b=2",
        "<Response><Gather numDigits=\"1\" timeout=\"10\" method=\"POST\" "
        "action=\"https://t.example/x?a=1&amp;b=2\"><Say loop=\"2\">Soon. Press 1 to acknowledge, "
        "2 to escalate now."
        "</Say></Gather><Say>No key was pressed.</Say></Response>");
}

static void test_the_ceiling_holds(void **state)
{
    struct buf out = BUF_INIT(TWIML_MAX);
    char text[TWIML_MAX];

    (void)state;
    memset(text, '&', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    twiml_say(text, NULL, &out);
    assert_int_equal(buf_err(&out), ERR_TOO_LARGE);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_gateway),
        cmocka_unit_test(test_with_a_digit),
        cmocka_unit_test(test_the_ceiling_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
