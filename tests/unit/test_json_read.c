/* Limits, faults that quote nothing of the document, and look-ups that never crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json_read.h"

static json_t *read_ok(const char *text)
{
    json_t *j = NULL;

    assert_int_equal(json_read(text, strlen(text), 1000, NULL, &j), 0);
    assert_non_null(j);
    return j;
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
        const char *fault;
    } rows[] = {
        {"", ERR_INVALID, "line 1, column 0: the document ends too early"},
        {"{\"a\":", ERR_INVALID, "line 1, column 5: the document ends too early"},
        {"{\n  \"a\": x}", ERR_INVALID, "line 2, column 8: not valid JSON"},
        {"{} {}", ERR_INVALID, "line 1, column 4: something follows the end of the document"},
        {"{\"a\":1,\"a\":2}", ERR_INVALID, "line 1, column 10: a key appears twice in one object"},
        {"[\"\xFF\"]", ERR_INVALID, "line 1, column 2: not UTF-8"},
        {"[1e999]", ERR_INVALID, "line 1, column 6: a number is too large"},
        {"[99999999999999999999]", ERR_INVALID, "line 1, column 21: a number is too large"},
        {"[\"\\u0000\"]", ERR_INVALID, "line 1, column 9: a NUL character in a string"},
        {"[01]", ERR_INVALID, NULL},
        {"[1,]", ERR_INVALID, NULL},
        {"{'a':1}", ERR_INVALID, NULL},
        {"]", ERR_INVALID, NULL},
        {"[\"tok-12345\" \"x\"]", ERR_INVALID, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf fault = BUF_INIT(200);
        json_t *j = NULL;
        int err = json_read(rows[i].text, strlen(rows[i].text), 1000, &fault, &j);
        assert_int_equal(err, rows[i].err);
        assert_null(j);
        assert_int_not_equal(fault.len, 0);
        if (rows[i].fault)
            assert_string_equal(buf_str(&fault), rows[i].fault);
        assert_null(strstr(buf_str(&fault), "tok-12345"));
        buf_release(&fault);
    }
}

static void test_size(void **state)
{
    struct buf fault = BUF_INIT(200);
    _cleanup_(json_decrefp) json_t *j = NULL;

    (void)state;
    assert_int_equal(json_read("[1]", 3, 2, &fault, &j), ERR_TOO_LARGE);
    assert_string_equal(buf_str(&fault), "3 bytes, of which at most 2 are allowed");
    assert_int_equal(json_read("[1]", 3, 3, NULL, &j), 0);
    buf_release(&fault);
}

/* `n` times `open`, then `close` as often. */
static int read_nested(int n, char open, char close)
{
    size_t len = 2 * (size_t)n;
    char *text = malloc(len);
    json_t *j = NULL;

    assert_non_null(text);
    memset(text, open, len / 2);
    memset(text + len / 2, close, len / 2);
    int err = json_read(text, len, len, NULL, &j);
    free(text);
    json_decref(j);
    return err;
}

static void test_depth(void **state)
{
    (void)state;
    assert_int_equal(read_nested(JSON_READ_DEPTH_MAX, '[', ']'), 0);
    assert_int_equal(read_nested(JSON_READ_DEPTH_MAX + 1, '[', ']'), ERR_TOO_LARGE);
    assert_int_equal(read_nested(100000, '[', ']'), ERR_TOO_LARGE);
    assert_int_equal(read_nested(100000, '{', '}'), ERR_TOO_LARGE);
    assert_int_equal(read_nested(100000, '[', ' '), ERR_TOO_LARGE);
    assert_int_equal(read_nested(100000, ']', '['), ERR_TOO_LARGE);
}

static void test_brackets_in_strings_do_not_nest(void **state)
{
    char text[300] = "[\"\\\"";
    json_t *j = NULL;

    (void)state;
    memset(text + 4, '[', 200);
    memcpy(text + 204, "\\\\\"]", 5);
    assert_int_equal(json_read(text, strlen(text), 1000, NULL, &j), 0);
    assert_int_equal(json_string_length(json_array_get(j, 0)), 202);
    json_decref(j);
}

static void test_strings(void **state)
{
    _cleanup_(json_decrefp) json_t *j = read_ok("{\"s\":\"x\",\"e\":\"\",\"n\":1,\"z\":null}");

    (void)state;
    assert_string_equal(json_read_str(j, "s"), "x");
    assert_string_equal(json_read_str(j, "e"), "");
    assert_null(json_read_str(j, "n"));
    assert_null(json_read_str(j, "z"));
    assert_null(json_read_str(j, "gone"));
    assert_null(json_read_str(NULL, "s"));
    assert_null(json_read_str(json_object_get(j, "s"), "s"));
}

static void test_numbers(void **state)
{
    static const struct {
        const char *key;
        int64_t value;
    } rows[] = {
        {"i", 7},
        {"max", INT64_MAX},
        {"min", INT64_MIN},
        {"whole", 3},
        {"exp", 1200},
        {"half", -1},
        {"huge", -1},
        {"text", -1},
        {"null", -1},
        {"gone", -1},
    };
    _cleanup_(json_decrefp) json_t *j =
        read_ok("{\"i\":7,\"max\":9223372036854775807,\"min\":-9223372036854775808,\"whole\":3.0,"
                "\"exp\":1.2e3,\"half\":0.5,\"huge\":1e300,\"text\":\"7\",\"null\":null}");

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(json_read_int(j, rows[i].key, -1), rows[i].value);
    assert_int_equal(json_read_int(NULL, "i", 5), 5);
}

static void test_booleans(void **state)
{
    _cleanup_(json_decrefp) json_t *j = read_ok("{\"t\":true,\"f\":false,\"n\":1,\"s\":\"true\"}");

    (void)state;
    assert_true(json_read_bool(j, "t", false));
    assert_false(json_read_bool(j, "f", true));
    assert_true(json_read_bool(j, "n", true));
    assert_false(json_read_bool(j, "s", false));
    assert_true(json_read_bool(NULL, "t", true));
}

static void test_paths(void **state)
{
    _cleanup_(json_decrefp) json_t *j = read_ok("{\"a\":{\"b\":{\"c\":5},\"l\":[1]}}");

    (void)state;
    assert_int_equal(json_integer_value(json_read_get(j, "a", "b", "c", NULL)), 5);
    assert_ptr_equal(json_read_get(j, "a", NULL), json_object_get(j, "a"));
    assert_null(json_read_get(j, "a", "x", "c", NULL));
    assert_null(json_read_get(j, "a", "l", "c", NULL));
    assert_null(json_read_get(NULL, "a", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_brackets_in_strings_do_not_nest),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_booleans),
        cmocka_unit_test(test_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
