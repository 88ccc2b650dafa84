/* How late messages leave: buckets as Prometheus counts them, and no more series than said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker-escalation/lateness.h"

static json_t *series_at(json_t *histogram, size_t i)
{
    return json_array_get(json_object_get(histogram, "series"), i);
}

static int64_t number(json_t *series, const char *key)
{
    return json_integer_value(json_object_get(series, key));
}

static int64_t bucket(json_t *series, size_t i)
{
    return json_integer_value(json_array_get(json_object_get(series, "buckets"), i));
}

static void test_bounds_ascend_from_a_millisecond_to_five_minutes(void **state)
{
    json_t *histogram = lateness_new();
    json_t *bounds = json_object_get(histogram, "bounds_ms");

    (void)state;
    assert_int_equal(json_array_size(bounds), lateness_n_bounds);
    for (size_t i = 0; i < lateness_n_bounds; i++)
        assert_int_equal(json_integer_value(json_array_get(bounds, i)), lateness_bounds_ms[i]);
    for (size_t i = 1; i < lateness_n_bounds; i++)
        assert_true(lateness_bounds_ms[i - 1] < lateness_bounds_ms[i]);
    assert_int_equal(lateness_bounds_ms[0], 1);
    assert_int_equal(lateness_bounds_ms[lateness_n_bounds - 1], 300000);
    assert_int_equal(json_array_size(json_object_get(histogram, "series")), 0);
    json_decref(histogram);
}

static void test_every_bound_that_is_not_passed_counts(void **state)
{
    static const int64_t late_ms[] = {-5, 1, 2, 300000, 300001};
    json_t *histogram = lateness_new(), *series;

    (void)state;
    for (size_t i = 0; i < sizeof late_ms / sizeof late_ms[0]; i++)
        lateness_add(histogram, "meeting_call", "twilio_voice", late_ms[i]);
    series = series_at(histogram, 0);
    assert_string_equal(json_string_value(json_object_get(series, "kind")), "meeting_call");
    assert_string_equal(json_string_value(json_object_get(series, "channel")), "twilio_voice");
    assert_int_equal(bucket(series, 0), 2); /* the early one and 1 ms */
    assert_int_equal(bucket(series, 1), 3);
    assert_int_equal(bucket(series, lateness_n_bounds - 2), 3);
    assert_int_equal(bucket(series, lateness_n_bounds - 1), 4);
    assert_int_equal(number(series, "count"), 5);
    assert_int_equal(number(series, "sum_ms"), 600004);
    for (size_t i = 1; i < lateness_n_bounds; i++)
        assert_true(bucket(series, i - 1) <= bucket(series, i));
    json_decref(histogram);
}

static void test_kind_and_channel_are_told_apart(void **state)
{
    json_t *histogram = lateness_new();

    (void)state;
    lateness_add(histogram, "checkin", "slack", 10);
    lateness_add(histogram, "checkin", "email", 20);
    lateness_add(histogram, "escalation", "slack", 30);
    lateness_add(histogram, "checkin", "slack", 40);
    assert_int_equal(json_array_size(json_object_get(histogram, "series")), 3);
    assert_int_equal(number(series_at(histogram, 0), "sum_ms"), 50);
    assert_int_equal(number(series_at(histogram, 0), "count"), 2);
    assert_int_equal(number(series_at(histogram, 1), "sum_ms"), 20);
    assert_int_equal(number(series_at(histogram, 2), "sum_ms"), 30);
    json_decref(histogram);
}

static void test_series_are_bounded(void **state)
{
    json_t *histogram = lateness_new(), *other;

    (void)state;
    for (int i = 0; i < LATENESS_SERIES_MAX + 10; i++) {
        char kind[32];
        assert_true(snprintf(kind, sizeof kind, "kind_%d", i) > 0);
        lateness_add(histogram, kind, "console", 1);
    }
    lateness_add(histogram, "kind_0", "console", 1);
    assert_int_equal(
        json_array_size(json_object_get(histogram, "series")), LATENESS_SERIES_MAX + 1);
    other = series_at(histogram, LATENESS_SERIES_MAX);
    assert_string_equal(json_string_value(json_object_get(other, "kind")), LATENESS_OTHER);
    assert_int_equal(number(other, "count"), 10);
    assert_int_equal(number(series_at(histogram, 0), "count"), 2);
    json_decref(histogram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_ascend_from_a_millisecond_to_five_minutes),
        cmocka_unit_test(test_every_bound_that_is_not_passed_counts),
        cmocka_unit_test(test_kind_and_channel_are_told_apart),
        cmocka_unit_test(test_series_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
