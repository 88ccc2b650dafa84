/* The local decision: when a circuit opens, who may probe, what a row corrects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "work/circuit.h"

static int setup(void **state)
{
    struct circuit_table *t = NULL;
    int err = circuit_table_new(&t);

    *state = t;
    return err;
}

static int teardown(void **state)
{
    circuit_table_free(*state);
    return 0;
}

static void fail_times(struct circuit *c, int times, int64_t now_ms)
{
    for (int i = 0; i < times; i++)
        circuit_record(c, false, now_ms);
}

static void test_opens_after_three_failures_in_a_row(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    fail_times(c, 2, 0);
    assert_int_equal(circuit_allow(c, 0), CIRCUIT_PASS);
    circuit_record(c, true, 0);
    fail_times(c, 2, 0);
    assert_int_equal(circuit_allow(c, 0), CIRCUIT_PASS);
    fail_times(c, 1, 0);
    assert_int_equal(circuit_allow(c, 0), CIRCUIT_REFUSE);
    assert_int_equal(circuit_allow(c, CIRCUIT_OPEN_MS - 1), CIRCUIT_REFUSE);
}

static void test_one_caller_asks_for_the_probe(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    fail_times(c, 3, 0);
    assert_int_equal(circuit_allow(c, CIRCUIT_OPEN_MS), CIRCUIT_ASK);
    assert_int_equal(circuit_allow(c, CIRCUIT_OPEN_MS), CIRCUIT_REFUSE);
    circuit_probe_failed(c, CIRCUIT_OPEN_MS);
    assert_int_equal(circuit_allow(c, CIRCUIT_OPEN_MS + 999), CIRCUIT_REFUSE);
    assert_int_equal(circuit_allow(c, CIRCUIT_OPEN_MS + 1000), CIRCUIT_ASK);
}

static void test_a_row_that_grants_nothing_keeps_it_shut(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    fail_times(c, 3, 0);
    assert_int_equal(circuit_allow(c, 30000), CIRCUIT_ASK);
    circuit_correct(c, CIRCUIT_HALF_OPEN, 3, 20000, false, 30000);
    assert_int_equal(circuit_allow(c, 30001), CIRCUIT_REFUSE);
    assert_int_equal(circuit_allow(c, 50000), CIRCUIT_ASK);
}

static void test_a_row_closes_and_opens(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    circuit_correct(c, CIRCUIT_OPEN, 3, 5000, false, 0);
    assert_int_equal(circuit_allow(c, 4999), CIRCUIT_REFUSE);
    circuit_correct(c, CIRCUIT_CLOSED, 0, 0, false, 6000);
    assert_int_equal(circuit_allow(c, 6000), CIRCUIT_PASS);
}

static void test_failures_of_others_count(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    circuit_correct(c, CIRCUIT_CLOSED, 2, 0, false, 0);
    fail_times(c, 1, 0);
    assert_int_equal(circuit_state(c), CIRCUIT_OPEN);
}

/* The answer to an older report must not close what has opened since. */
static void test_a_row_that_does_not_know_yet(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    fail_times(c, 3, 0);
    circuit_correct(c, CIRCUIT_CLOSED, 0, 0, false, 0);
    assert_int_equal(circuit_allow(c, 1), CIRCUIT_REFUSE);
}

static void test_a_success_ends_what_others_counted(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");

    circuit_correct(c, CIRCUIT_CLOSED, 2, 0, false, 0);
    assert_false(circuit_table_has_news(*state));
    circuit_record(c, true, 0);
    assert_true(circuit_table_has_news(*state));
    fail_times(c, 2, 0);
    assert_int_equal(circuit_state(c), CIRCUIT_CLOSED);
}

static void test_circuits_are_apart(void **state)
{
    struct circuit *sms = circuit_get(*state, "sms"), *voice = circuit_get(*state, "voice");

    assert_ptr_equal(circuit_get(*state, "sms"), sms);
    fail_times(sms, 3, 0);
    assert_int_equal(circuit_allow(voice, 0), CIRCUIT_PASS);
}

static void test_what_was_told_is_no_news(void **state)
{
    struct circuit *c = circuit_get(*state, "sms");
    struct db_args args;

    fail_times(c, 3, 0);
    assert_true(circuit_table_is_urgent(*state));
    db_args_init(&args);
    circuit_table_tell_args(*state, 7, &args);
    assert_int_equal(args.err, 0);
    assert_int_equal(args.n, 5);
    assert_string_equal(args.text.data + args.at[1] - 1, "{\"sms\"}");
    assert_string_equal(args.text.data + args.at[2] - 1, "{3}");
    db_args_release(&args);
    assert_false(circuit_table_is_urgent(*state));
    assert_false(circuit_table_has_news(*state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_opens_after_three_failures_in_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_caller_asks_for_the_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_row_that_grants_nothing_keeps_it_shut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_row_closes_and_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_of_others_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_row_that_does_not_know_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_success_ends_what_others_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_circuits_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_told_is_no_news, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
