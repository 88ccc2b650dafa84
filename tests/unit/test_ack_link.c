/* Acknowledge links: made and read back; anything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/ack_link.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define OTHER  "0123456789abcdef0123456789abcdeg"
#define BASE   "https://gate.example.org"

static void test_there_and_back(void **state)
{
    static const int64_t ids[] = {1, 42, INT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        struct buf link = BUF_INIT(256);
        int64_t id = 0;
        assert_int_equal(ack_link_add(&link, BASE, SECRET, ids[i]), 0);
        assert_memory_equal(buf_str(&link), BASE "/a/", strlen(BASE "/a/"));
        const char *token = buf_str(&link) + strlen(BASE "/a/");
        assert_int_equal(strlen(strchr(token, '-') + 1), 22);
        assert_int_equal(ack_link_read(token, SECRET, &id), 0);
        assert_int_equal(id, ids[i]);
        assert_int_equal(ack_link_read(token, OTHER, &id), ERR_CRYPTO);
        buf_release(&link);
    }
}

/* Every character of it counts, and so does the number before it. */
static void test_a_changed_one(void **state)
{
    struct buf link = BUF_INIT(256);
    char token[128];
    int64_t id = 0;

    (void)state;
    assert_int_equal(ack_link_add(&link, "", SECRET, 1234), 0);
    for (size_t i = strlen("/a/"); i < link.len; i++) {
        (void)snprintf(token, sizeof(token), "%s", buf_str(&link) + strlen("/a/"));
        token[i - strlen("/a/")] = token[i - strlen("/a/")] == '7' ? '8' : '7';
        assert_true(ack_link_read(token, SECRET, &id) < 0);
    }
    buf_release(&link);
    assert_int_equal(id, 0);
}

static void test_what_is_none(void **state)
{
    static const char *const texts[] = {"", "-", "1", "1-", "x-AAAAAAAAAAAAAAAAAAAAAA",
        "0-AAAAAAAAAAAAAAAAAAAAAA", "-1-AAAAAAAAAAAAAAAAAAAAAA", "1-AAAAAAAAAAAAAAAAAAAAA",
        "1-AAAAAAAAAAAAAAAAAAAAAAA", "99999999999999999999-AAAAAAAAAAAAAAAAAAAAAA",
        " 1-AAAAAAAAAAAAAAAAAAAAAA"};
    int64_t id = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_int_equal(ack_link_read(texts[i], SECRET, &id), ERR_INVALID);
    assert_int_equal(id, 0);
}

static void test_a_short_secret(void **state)
{
    struct buf link = BUF_INIT(256);

    (void)state;
    assert_int_equal(ack_link_add(&link, BASE, "short", 1), ERR_INVALID);
    assert_int_equal(link.len, 0);
    buf_release(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_a_changed_one),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_a_short_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
