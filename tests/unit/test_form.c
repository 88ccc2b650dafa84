/* Forms: what is read, what is refused, and that nothing is read beyond the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/form.h"

struct good {
    const char *text;
    const char *fields; /* name=value of each, one after the other, each ended by | */
};

static const struct good goods[] = {
    {"", ""},
    {"a=1", "a=1|"},
    {"a=1&b=2", "a=1|b=2|"},
    {"a=1&a=2", "a=1|a=2|"},
    {"a", "a=|"},
    {"a%41&b=1", "aA=|b=1|"},
    {"a=", "a=|"},
    {"=1", "=1|"},
    {"&&a=1&&", "a=1|"},
    {"a=b=c", "a=b=c|"},
    {"From=%2B15551001&Body=on+my+way%21", "From=+15551001|Body=on my way!|"},
    {"a%3Db=c%26d", "a=b=c&d|"},
    {"a=%c3%a9", "a=\xc3\xa9|"},
};

static const char *const bads[] = {"a=%", "a=%4", "a=%zz", "a=%0", "%4=1", "a=%00", "a=1&b=%4&c=1"};

/* In memory of its exact size, so that a sanitizer sees a byte too many. */
static int read_exactly(const char *text, size_t len, struct form *form)
{
    char *copy = malloc(len ? len : 1);

    assert_non_null(copy);
    memcpy(copy, text, len);
    int err = form_read(copy, len, form);
    free(copy);
    return err;
}

static void test_what_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
        struct buf got = BUF_INIT(4096);
        struct form form;
        assert_int_equal(read_exactly(goods[i].text, strlen(goods[i].text), &form), 0);
        for (size_t n = 0; n < form.n; n++)
            buf_addf(&got, "%s=%s|", form.fields[n].name, form.fields[n].value);
        assert_string_equal(buf_str(&got), goods[i].fields);
        buf_release(&got);
        form_release(&form);
    }
}

static void test_what_is_refused(void **state)
{
    struct form form;

    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++)
        assert_int_equal(read_exactly(bads[i], strlen(bads[i]), &form), ERR_INVALID);
    assert_int_equal(read_exactly("a=\0b", 4, &form), ERR_INVALID);
}

static void test_the_first_of_a_name(void **state)
{
    struct form form;

    (void)state;
    assert_int_equal(read_exactly("b=0&a=1&a=2", 11, &form), 0);
    assert_string_equal(form_get(&form, "a"), "1");
    assert_null(form_get(&form, "c"));
    form_release(&form);
}

static void test_the_ceiling(void **state)
{
    struct buf text = BUF_INIT(4096);
    struct form form;

    (void)state;
    for (int i = 0; i < FORM_FIELDS_MAX; i++)
        buf_add_str(&text, "a=1&");
    assert_int_equal(read_exactly(buf_str(&text), text.len, &form), 0);
    assert_int_equal(form.n, FORM_FIELDS_MAX);
    form_release(&form);
    buf_add_str(&text, "a=1");
    assert_int_equal(read_exactly(buf_str(&text), text.len, &form), ERR_TOO_LARGE);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_the_first_of_a_name),
        cmocka_unit_test(test_the_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
