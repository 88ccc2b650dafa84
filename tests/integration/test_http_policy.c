/* The HTTP client: where it may not go, and what redirects do not carry along. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/support/http_world.h"

#define MB ((size_t)1 << 20)

static void test_private_addresses_are_refused(void **state)
{
    struct http_world *w = *state;
    static const char *const forms[] = {"http://127.0.0.1:%d/", "http://localhost:%d/",
        "http://127.1:%d/", "http://2130706433:%d/", "http://0x7f000001:%d/",
        "http://0177.0.0.1:%d/", "http://[::ffff:127.0.0.1]:%d/", "http://[::1]:%d/",
        "http://0.0.0.0:%d/", "http://10.255.255.1:%d/", "http://169.254.169.254:%d/",
        "http://[fe80::1%%25lo]:%d/"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct http_outcome o = {0};
        char url[128];
        int n = -1;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        n = snprintf(url, sizeof(url), forms[i], fake_provider_port(w->fake));
#pragma GCC diagnostic pop
        assert_in_range(n, 1, sizeof(url) - 1);
        http_world_call(w, &(struct http_request){.url = url}, &o);
        if (o.err != ERR_DENIED)
            fail_msg("%s: %s, %s", url, err_name(o.err), o.detail);
        assert_false(o.sent);
        assert_int_equal(o.status, 0);
        http_outcome_release(&o);
    }
    assert_int_equal(fake_request_count(w->fake), 0);
}

/* A connection that was opened for a call that allows private addresses is there to be
 * used again; a call that does not must not get it. */
static void test_reused_connection_is_checked(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    http_world_expect(w, &(struct fake_rule){.path = "/open", .times = 2});
    http_world_get(w, "/open", &o);
    http_world_get(w, "/open", &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(fake_request_at(w->fake, 1)->connection, 1);
    http_world_call(w, &(struct http_request){.url = http_world_url(w, "/closed")}, &o);
    assert_int_equal(o.err, ERR_DENIED);
    assert_false(o.sent);
    assert_int_equal(fake_request_count(w->fake), 2);
    http_outcome_release(&o);
}

static void test_redirect_is_an_answer(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {"Location: /b", NULL};

    http_world_expect(
        w, &(struct fake_rule){.path = "/a", .times = 1, .status = 302, .headers = headers});
    http_world_get(w, "/a", &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.status, 302);
    http_outcome_release(&o);
}

static void test_redirect_is_followed_without_credentials(void **state)
{
    struct http_world *w = *state;
    struct fake_provider *other;
    struct http_outcome o = {0};
    char location[128];
    const char *const headers[] = {"Authorization: Bearer secret", "Cookie: c=1", NULL};

    assert_int_equal(fake_provider_new(0, &other), 0);
    int n = snprintf(location, sizeof(location), "Location: %s/there", fake_provider_url(other));
    assert_in_range(n, 1, sizeof(location) - 1);
    const char *const location_headers[] = {location, "ETag: \"of the redirect\"", NULL};
    http_world_expect(w,
        &(struct fake_rule){
            .path = "/a", .times = 2, .status = 302, .headers = location_headers, .body = "moved"});
    assert_int_equal(
        fake_expect(other, &(struct fake_rule){.path = "/there", .times = 2, .body = "here"}), 0);

    struct http_request request = {.url = http_world_url(w, "/a"),
        .headers = headers,
        .max_redirects = 3,
        .allow_private = true};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_string_equal(o.body, "here");
    assert_null(o.etag);
    assert_string_equal(o.url + strlen(fake_provider_url(other)), "/there");
    request.headers = NULL;
    request.user = "u";
    request.password = "p";
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, 0);

    for (size_t i = 0; i < 2; i++) {
        assert_non_null(fake_request_header(fake_request_at(w->fake, i), "Authorization"));
        assert_null(fake_request_header(fake_request_at(other, i), "Authorization"));
        assert_null(fake_request_header(fake_request_at(other, i), "Cookie"));
    }
    struct buf faults = BUF_INIT(MB);
    assert_true(fake_provider_verify(other, &faults));
    fake_provider_free(other);
    http_outcome_release(&o);
}

static void test_redirects_are_limited(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {"Location: /loop", NULL};

    http_world_expect(
        w, &(struct fake_rule){.path = "/loop", .times = 4, .status = 302, .headers = headers});
    const struct http_request request = {
        .url = http_world_url(w, "/loop"), .max_redirects = 3, .allow_private = true};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, ERR_PROTOCOL);
    http_outcome_release(&o);
}

static void test_redirect_to_another_protocol_is_refused(void **state)
{
    static const char *const places[] = {"Location: file:///etc/passwd",
        "Location: ftp://127.0.0.1/", "Location: gopher://127.0.0.1/"};
    struct http_world *w = *state;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct http_outcome o = {0};
        const char *const headers[] = {places[i], NULL};
        http_world_expect(w, &(struct fake_rule){.times = 1, .status = 302, .headers = headers});
        const struct http_request request = {
            .url = http_world_url(w, "/a"), .max_redirects = 3, .allow_private = true};
        http_world_call(w, &request, &o);
        assert_int_equal(o.err, ERR_PROTOCOL);
        assert_string_equal(o.body, "");
        http_outcome_release(&o);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_world_setup, http_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_private_addresses_are_refused),
        TEST(test_reused_connection_is_checked),
        TEST(test_redirect_is_an_answer),
        TEST(test_redirect_is_followed_without_credentials),
        TEST(test_redirects_are_limited),
        TEST(test_redirect_to_another_protocol_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
