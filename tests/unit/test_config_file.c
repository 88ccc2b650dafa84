/* Configuration files line by line: what a value is, and every fault with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/config.h"

#define FAULTS_MAX 65536

static int set_up(void **state)
{
    struct buf *faults = calloc(1, sizeof(*faults));

    if (!faults)
        return -1;
    buf_init(faults, FAULTS_MAX);
    *state = faults;
    return 0;
}

static int tear_down(void **state)
{
    struct buf *faults = *state;

    buf_release(faults);
    free(faults);
    return 0;
}

static void assert_says(const struct buf *faults, const char *text)
{
    if (!strstr(buf_str(faults), text))
        fail_msg("not said: %s\nin:\n%s", text, buf_str(faults));
}

static void test_file_values(void **state)
{
    static const struct {
        const char *line, *value;
    } rows[] = {
        {"K=v", "v"},
        {"K=v\r", "v"},
        {"  export\tK = a b  ", "a b"},
        {"K=a # note", "a"},
        {"K=a#b", "a#b"},
        {"K=# note", ""},
        {"K=", ""},
        {"K=\"\"", ""},
        {"K='' # note", ""},
        {"K=\"a # b\"", "a # b"},
        {"K=\"\\n\\t\\\"\\\\\"", "\n\t\"\\"},
        {"K='\\n \"$x\"'", "\\n \"$x\""},
        {"K=a'b\"c", "a'b\"c"},
        {"K=a=b", "a=b"},
        {"K=caf\xC3\xA9", "caf\xC3\xA9"},
        {"\xEF\xBB\xBFK=v", "v"},
        {"exportK=1\nK=v", "v"},
        {"export=1\nK=v", "v"},
        {"\n# c\n\t\n  # d\nK=v\n\n", "v"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf *faults = *state;
        struct config_file *file = NULL;
        int err = config_file_parse(rows[i].line, strlen(rows[i].line), "f", faults, &file);
        assert_string_equal(buf_str(faults), "");
        assert_int_equal(err, 0);
        assert_string_equal(config_file_get(file, "K"), rows[i].value);
        assert_null(config_file_get(file, "k"));
        config_file_free(file);
    }
}

static void test_file_faults_all_at_once(void **state)
{
    static const char text[] = "A=1\n"
                               "no equals\n"
                               "=x\n"
                               "9A=x\n"
                               "A=2\n"
                               "B=\"hunter2\n"
                               "C='hunter2\n"
                               "D=\"x\" y\n"
                               "E=\"\\q\"\n"
                               "F=\"x\\\n"
                               "G=fine\n";
    static const char expected[] =
        "f:2: expected = after the key\n"
        "f:3: expected KEY=value\n"
        "f:4: expected KEY=value\n"
        "f:5: the key stands on an earlier line, too\n"
        "f:6: the quote \" is not closed on its line\n"
        "f:7: the quote ' is not closed on its line\n"
        "f:8: something follows the closing quote\n"
        "f:9: after \\ only n, t, \" and \\ have a meaning; use '…' for "
        "raw text\n"
        "f:10: after \\ only n, t, \" and \\ have a meaning; use '…' for "
        "raw text\n";
    struct buf *faults = *state;
    struct config_file *file = NULL;

    assert_int_equal(config_file_parse(text, strlen(text), "f", faults, &file), ERR_INVALID);
    assert_null(file);
    assert_string_equal(buf_str(faults), expected);
}

static void test_files_that_are_none(void **state)
{
    struct buf *faults = *state;
    struct config_file *file = NULL;

    assert_int_equal(config_file_parse("A=1\0B", 5, "f", faults, &file), ERR_INVALID);
    assert_says(faults, "f: holds a NUL byte");

    size_t len = (1 << 20) + 1;
    _cleanup_(freep) char *huge = malloc(len);
    assert_non_null(huge);
    memset(huge, '#', len);
    assert_int_equal(config_file_parse(huge, len, "f", faults, &file), ERR_INVALID);
    assert_says(faults, "f: larger than 1 MiB");
    assert_int_equal(config_file_parse(huge, len - 1, "f", faults, &file), 0);

    config_file_free(file);

    struct config_file *gone = NULL;
    assert_int_equal(config_file_read("/nonexistent/t.conf", faults, &gone), ERR_INVALID);
    assert_says(faults, "/nonexistent/t.conf: cannot be read: No such file or directory\n");
    assert_int_equal(config_file_read("/", faults, &gone), ERR_INVALID);
    assert_says(faults, "/: cannot be read: Is a directory\n");
    assert_int_equal(config_file_read("/dev/zero", faults, &gone), ERR_INVALID);
    assert_says(faults, "/dev/zero: larger than 1 MiB\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_faults_all_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_are_none, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
