/* The map of error codes: in order, complete where it must be, and told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/twilio_error.h"

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
        {30002, TWILIO_ACCOUNT},
        {30004, TWILIO_REQUEST},
        {30017, TWILIO_PASSING},
        {30034, TWILIO_ACCOUNT},
        {30036, TWILIO_REQUEST},
        {30453, TWILIO_REQUEST},
        {60005, TWILIO_PASSING},
        {63018, TWILIO_PASSING},
        {63027, TWILIO_REQUEST},
        {63038, TWILIO_ACCOUNT},
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

/* Every code that Twilio's own page of what keeps messages from being sent names
 * (docs/messaging/features/health-score). */
static void test_nothing_that_twilio_names_is_missing(void **state)
{
    static const int named[] = {14101, 14103, 20410, 20422, 20429, 20500, 21211, 21212, 21401,
        21602, 21603, 21606, 21608, 21609, 21610, 21611, 21612, 21614, 21617, 21619, 21620, 21621,
        21624, 21627, 21654, 21658, 21701, 21703, 21704, 21910, 30001, 30002, 30003, 30004, 30005,
        30006, 30007, 30008, 30011, 30015, 30017, 30019, 30036, 30042, 30410, 30450, 30453, 60005,
        63001, 63002, 63003, 63005, 63007, 63009, 63010, 63012, 63015, 63016, 63018, 63019, 63021,
        63024, 63027, 63028, 63030, 63031, 63032, 63034, 63036, 63038, 63040, 63041, 63042};

    (void)state;
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (!twilio_error_find(named[i]))
            fail_msg("%d is not in the table", named[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_in_order),
        cmocka_unit_test(test_what_may_pass_and_what_may_not),
        cmocka_unit_test(test_nothing_that_twilio_names_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
