/* Twilio's signature, against the example of its documentation and against changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/twilio_signature.h"

/* "Webhooks security", validating signatures: the example with this token. */
#define TOKEN     "12345"
#define URL       "https://mycompany.com/myapp.php?foo=1&bar=2"
#define SIGNATURE "0/KCTR6DLpKmkAf8muzZqo1nDgQ="
#define FORM                                                                                       \
    "CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030"              \
    "&To=%2B18005551212"

static int check(const char *token, const char *url, const char *text, const char *signature)
{
    struct form form;

    assert_int_equal(form_read(text, strlen(text), &form), 0);
    int err = twilio_signature_check(token, url, &form, signature);
    form_release(&form);
    return err;
}

static void test_the_example(void **state)
{
    (void)state;
    assert_int_equal(check(TOKEN, URL, FORM, SIGNATURE), 0);
    /* in whatever order the fields come */
    assert_int_equal(check(TOKEN, URL,
                         "To=%2B18005551212&From=%2B12349013030&Digits=1234"
                         "&Caller=%2B12349013030&CallSid=CA1234567890ABCDE",
                         SIGNATURE),
        0);
}

static void test_what_is_not_signed(void **state)
{
    (void)state;
    assert_int_equal(check("12346", URL, FORM, SIGNATURE), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL "3", FORM, SIGNATURE), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM "3", SIGNATURE), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM "&More=1", SIGNATURE), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM, "1/KCTR6DLpKmkAf8muzZqo1nDgQ="), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM, "0/KCTR6DLpKmkAf8muzZqo1nDgQ"), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM, ""), ERR_CRYPTO);
    assert_int_equal(check(TOKEN, URL, FORM, NULL), ERR_CRYPTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example),
        cmocka_unit_test(test_what_is_not_signed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
