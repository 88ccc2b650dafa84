/* The map of error codes: in order, complete where it must be, and told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker-escalation/twilio_error.h"

static void test_the_table_is_in_order(void **state)
{
    size_t n;
    const struct twilio_error *table = twilio_error_table(&n);

    (void)state;
    for (size_t i = 1; i < n; i++)
        assert_true(table[i - 1].code < table[i].code);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(twilio_error_find(table[i].code), &table[i]);
    assert_null(twilio_error_find(0));
    assert_null(twilio_error_find(99999));
}

static void test_what_may_pass_and_what_may_not(void **state)
{
    static const struct {
        int code;
        enum twilio_blame blame;
    } known[] = {
        {20003, TWILIO_ACCOUNT},
        {20429, TWILIO_PASSING},
        {21211, TWILIO_CONTACT},
        {21408, TWILIO_ACCOUNT},
        {21610, TWILIO_CONTACT},
        {21614, TWILIO_CONTACT},
        {30001, TWILIO_PASSING},
        {30003, TWILIO_PASSING},
        {30005, TWILIO_CONTACT},
        {30006, TWILIO_CONTACT},
        {30007, TWILIO_REQUEST},
        {30008, TWILIO_PASSING},
        {30034, TWILIO_ACCOUNT},
        {63016, TWILIO_REQUEST},
        {63024, TWILIO_CONTACT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct twilio_error *e = twilio_error_find(known[i].code);
        assert_non_null(e);
        assert_int_equal(e->blame, known[i].blame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_in_order),
        cmocka_unit_test(test_what_may_pass_and_what_may_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
