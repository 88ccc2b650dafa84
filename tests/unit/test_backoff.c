/* Doubling, ceilings and the bounds of the jitter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/backoff.h"

#define DRAWS 2000

static void test_doubles_up_to_the_ceiling(void **state)
{
    static const int64_t full[] = {1000, 2000, 4000, 8000, 10000, 10000, 10000};

    (void)state;
    for (int draw = 0; draw < DRAWS; draw++) {
        struct backoff b = {.first_ms = 1000, .max_ms = 10000};
        for (unsigned i = 0; i < sizeof(full) / sizeof(full[0]); i++) {
            assert_in_range(backoff_next_ms(&b), full[i] / 2, full[i]);
            assert_int_equal(b.failures, i + 1);
        }
    }
}

static void test_reset(void **state)
{
    struct backoff b = {.first_ms = 100, .max_ms = 100000};

    (void)state;
    for (int i = 0; i < 9; i++)
        (void)backoff_next_ms(&b);
    backoff_reset(&b);
    assert_in_range(backoff_next_ms(&b), 50, 100);
}

static void test_spreads_over_its_whole_range(void **state)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;

    (void)state;
    for (int draw = 0; draw < DRAWS; draw++) {
        struct backoff b = {.first_ms = 1000, .max_ms = 1000};
        int64_t ms = backoff_next_ms(&b);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 500, 510);
    assert_in_range(most, 990, 1000);
}

static void test_extremes_do_not_overflow(void **state)
{
    struct backoff none = {0};
    struct backoff inverted = {.first_ms = 5000, .max_ms = 1000};
    struct backoff huge = {.first_ms = 1, .max_ms = INT64_MAX, .failures = UINT32_MAX};

    (void)state;
    assert_int_equal(backoff_next_ms(&none), 0);
    assert_in_range(backoff_next_ms(&inverted), 500, 1000);
    assert_true(backoff_next_ms(&huge) >= INT64_MAX / 2);
    assert_int_equal(huge.failures, UINT32_MAX);
}

static void test_jitter_is_a_quarter(void **state)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;

    (void)state;
    for (int draw = 0; draw < DRAWS; draw++) {
        int64_t ms = backoff_jitter_ms(4000);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_in_range(least, 3000, 3030);
    assert_in_range(most, 4970, 5000);
    for (int64_t small = 0; small < 4; small++)
        assert_int_equal(backoff_jitter_ms(small), small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_ceiling),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_spreads_over_its_whole_range),
        cmocka_unit_test(test_extremes_do_not_overflow),
        cmocka_unit_test(test_jitter_is_a_quarter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
