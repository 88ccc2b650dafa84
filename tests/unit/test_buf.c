/* Growing, ceilings, the error that sticks, and the two escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/utf8.h"

static void test_empty(void **state)
{
    struct buf b = BUF_INIT(10);

    (void)state;
    assert_string_equal(buf_str(&b), "");
    assert_null(b.data);
    buf_add(&b, NULL, 0);
    buf_add_str(&b, "");
    assert_null(b.data);
    assert_int_equal(buf_err(&b), 0);

    char *s = buf_steal(&b);
    assert_string_equal(s, "");
    free(s);
    buf_release(&b);
    buf_release(&b);
}

static void test_grows(void **state)
{
    struct buf b = BUF_INIT(SIZE_MAX);

    (void)state;
    for (int i = 0; i < 5000; i++)
        buf_addf(&b, "%04d,", i);
    assert_int_equal(buf_err(&b), 0);
    assert_int_equal(b.len, 25000);
    assert_int_equal(strlen(buf_str(&b)), 25000);
    assert_memory_equal(buf_str(&b), "0000,0001,", 10);
    assert_memory_equal(buf_str(&b) + 24990, "4998,4999,", 10);
    buf_release(&b);
    assert_int_equal(b.max, SIZE_MAX);
}

static void test_ceiling_is_exact(void **state)
{
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        struct buf b = BUF_INIT(max);
        for (size_t i = 0; i < max; i++)
            buf_add_char(&b, 'x');
        assert_int_equal(buf_err(&b), 0);
        assert_int_equal(b.len, max);
        buf_add_char(&b, 'y');
        assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
        assert_int_equal(b.len, max);
        assert_null(strchr(buf_str(&b), 'y'));
        buf_release(&b);
    }
}

static void test_error_sticks(void **state)
{
    struct buf b = BUF_INIT(4);

    (void)state;
    buf_add_str(&b, "ab");
    buf_add_str(&b, "cde");
    assert_string_equal(buf_str(&b), "ab");
    buf_add_char(&b, 'c');
    buf_addf(&b, "%d", 1);
    assert_string_equal(buf_str(&b), "ab");
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    assert_null(buf_steal(&b));

    buf_reset(&b);
    assert_string_equal(buf_str(&b), "");
    buf_add_str(&b, "abcd");
    assert_int_equal(buf_err(&b), 0);
    assert_string_equal(buf_str(&b), "abcd");
    buf_release(&b);
    assert_int_equal(buf_err(&b), 0);
}

static void test_format_over_the_ceiling_adds_nothing(void **state)
{
    struct buf b = BUF_INIT(4);

    (void)state;
    buf_addf(&b, "%s", "");
    buf_addf(&b, "%s-%d", "abc", 12);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    buf_release(&b);
}

static void test_steal_leaves_an_empty_buffer(void **state)
{
    struct buf b = BUF_INIT(8);

    (void)state;
    buf_add_str(&b, "first");
    char *first = buf_steal(&b);
    buf_add_str(&b, "second");
    assert_string_equal(first, "first");
    assert_string_equal(buf_str(&b), "second");
    free(first);
    buf_release_secret(&b);
    buf_release_secret(&b);
}

static void test_percent(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"azAZ09-._~", "azAZ09-._~"},
        {"a b+c&d=e/f?g", "a%20b%2Bc%26d%3De%2Ff%3Fg"},
        {"%", "%25"},
        {"\xC3\xA9\xFF\x01", "%C3%A9%FF%01"},
        {"+15005550006", "%2B15005550006"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b = BUF_INIT(100);
        buf_add_percent(&b, rows[i].in);
        assert_string_equal(buf_str(&b), rows[i].out);
        buf_release(&b);
    }
}

static void test_xml(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"a<b>&\"c\"'", "a&lt;b&gt;&amp;&quot;c&quot;&#39;"},
        {"\t\r\n", "&#9;&#13;&#10;"},
        {"caf\xC3\xA9 \xF0\x9F\x98\x80", "caf\xC3\xA9 \xF0\x9F\x98\x80"},
        {"\x01\x1F", UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"a\xFF\xC3", "a" UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"\xEF\xBF\xBE\xEF\xBF\xBF\xEF\xBF\xBD",
            UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b = BUF_INIT(100);
        buf_add_xml(&b, rows[i].in);
        assert_string_equal(buf_str(&b), rows[i].out);
        buf_release(&b);
    }
}

static void test_utf8_step(void **state)
{
    static const struct {
        const char *in;
        size_t len, step;
    } rows[] = {
        {"a", 1, 1},
        {"", 0, 0},
        {"\x7F", 1, 1},
        {"\x80", 1, 0},
        {"\xC0\x80", 2, 0}, /* overlong */
        {"\xC1\xBF", 2, 0},
        {"\xC2\x80", 2, 2},
        {"\xC2", 1, 0},
        {"\xC2z", 2, 0},
        {"\xE0\x9F\xBF", 3, 0}, /* overlong */
        {"\xE0\xA0\x80", 3, 3},
        {"\xE2\x82", 2, 0},
        {"\xE2\x82\xAC", 3, 3},
        {"\xED\x9F\xBF", 3, 3},
        {"\xED\xA0\x80", 3, 0},     /* surrogate */
        {"\xF0\x8F\xBF\xBF", 4, 0}, /* overlong */
        {"\xF0\x90\x80\x80", 4, 4},
        {"\xF4\x8F\xBF\xBF", 4, 4},
        {"\xF4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(utf8_step(rows[i].in, rows[i].len), rows[i].step);
}

static void test_utf8_clip(void **state)
{
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"; /* 1, 2, 3, 4 bytes */
    static const size_t clipped[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    static const char tails[] = "\x80\x80\x80\x80\x80\x80";

    (void)state;
    for (size_t max = 0; max < sizeof(clipped) / sizeof(clipped[0]); max++)
        assert_int_equal(utf8_clip(text, 10, max), clipped[max]);
    /* What is no UTF-8 is cut where it has to be. */
    assert_int_equal(utf8_clip(tails, 6, 5), 5);
    assert_int_equal(utf8_clip(tails, 6, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_ceiling_is_exact),
        cmocka_unit_test(test_error_sticks),
        cmocka_unit_test(test_format_over_the_ceiling_adds_nothing),
        cmocka_unit_test(test_steal_leaves_an_empty_buffer),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_utf8_step),
        cmocka_unit_test(test_utf8_clip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
