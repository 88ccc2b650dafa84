/* What a failure says, whether it may pass, and where its text is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/failure.h"
#include "base/utf8.h"

static void test_clear(void **state)
{
    struct failure f;

    (void)state;
    memset(&f, 0x55, sizeof(f));
    failure_clear(&f);
    assert_int_equal(f.code, 0);
    assert_false(f.final);
    assert_false(f.ambiguous);
    assert_int_equal(f.http_status, 0);
    assert_int_equal(f.retry_after_ms, -1);
    assert_string_equal(f.sqlstate, "");
    assert_string_equal(f.detail, "");
}

static void test_which_are_final(void **state)
{
    (void)state;
    for (int code = -14; code < 0; code++) {
        struct failure f;
        failure_set(&f, code, "x");
        bool final = code == ERR_INVALID || code == ERR_DENIED || code == ERR_TOO_LARGE ||
                     code == ERR_CRYPTO;
        assert_int_equal(f.final, final);
        assert_int_equal(f.code, code);
    }
}

static void test_every_code_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(err_name(0), "ok");
    assert_string_equal(err_name(1), "unknown");
    assert_string_equal(err_name(-15), "unknown");
    assert_string_equal(err_name(ERR_TIMEOUT), "timeout");
    for (int code = -14; code < 0; code++) {
        assert_string_not_equal(err_name(code), "unknown");
        for (int other = code + 1; other < 0; other++)
            assert_string_not_equal(err_name(code), err_name(other));
    }
}

static void test_set_clears_the_rest(void **state)
{
    struct failure f = {
        .ambiguous = true, .sqlstate = "40001", .http_status = 503, .retry_after_ms = 5};

    (void)state;
    failure_set(&f, ERR_IO, "%s:%d", "host", 443);
    assert_string_equal(f.detail, "host:443");
    assert_false(f.ambiguous);
    assert_string_equal(f.sqlstate, "");
    assert_int_equal(f.http_status, 0);
    assert_int_equal(f.retry_after_ms, -1);
}

static void test_arguments_may_point_into_it(void **state)
{
    struct failure f;

    (void)state;
    failure_set(&f, ERR_IO, "refused");
    failure_set(&f, ERR_TIMEOUT, "after: %s", f.detail);
    assert_string_equal(f.detail, "after: refused");
}

static void test_unprintable_becomes_harmless(void **state)
{
    struct failure f;

    (void)state;
    failure_set(&f, ERR_IO, "%s", "a\nb\r\x1B[31mc\x7F \xC3\xA9 \xFF\xC3");
    assert_string_equal(f.detail, "a b  [31mc  \xC3\xA9 ??");
}

/* Every length around the ceiling, with a character of each width at the cut. */
static void test_cut_at_a_character(void **state)
{
    static const char *const chars[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    char text[FAILURE_DETAIL_MAX + 64];
    struct failure f;

    (void)state;
    for (size_t c = 0; c < 4; c++) {
        size_t width = strlen(chars[c]);
        for (size_t lead = FAILURE_DETAIL_MAX - 12; lead < FAILURE_DETAIL_MAX + 8; lead++) {
            memset(text, '.', lead);
            for (size_t i = 0; i < 6; i++)
                memcpy(text + lead + i * width, chars[c], width);
            size_t len = lead + 6 * width;
            text[len] = '\0';
            failure_set(&f, ERR_IO, "%s", text);
            if (len < FAILURE_DETAIL_MAX) {
                assert_string_equal(f.detail, text);
                continue;
            }
            size_t got = strlen(f.detail);
            assert_in_range(got, FAILURE_DETAIL_MAX - 4, FAILURE_DETAIL_MAX - 1);
            assert_string_equal(f.detail + got - 3, UTF8_ELLIPSIS);
            assert_memory_equal(f.detail, text, got - 3);
            for (size_t i = 0; i < got;) {
                size_t step = utf8_step(f.detail + i, got - i);
                assert_int_not_equal(step, 0);
                i += step;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_which_are_final),
        cmocka_unit_test(test_every_code_has_a_name),
        cmocka_unit_test(test_set_clears_the_rest),
        cmocka_unit_test(test_arguments_may_point_into_it),
        cmocka_unit_test(test_unprintable_becomes_harmless),
        cmocka_unit_test(test_cut_at_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
