/* The HTTP client: where it may not go, and what redirects do not carry along. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "tests/support/certificate.h"
#include "tests/support/http_world.h"
#include "tests/support/own_network.h"

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

/* --- TLS ---------------------------------------------------------------------------------- */

static enum MHD_Result serve_nothing(void *arg, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *body, size_t *body_len, void **memory)
{
    (void)connection;
    (void)url;
    (void)method;
    (void)version;
    (void)body;
    (void)body_len;
    (void)memory;
    *(bool *)arg = true;
    return MHD_NO;
}

static void test_unknown_certificate_is_refused(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    struct certificate c;
    char url[64];
    bool served = false;

    if (!certificate_make(&c))
        skip();
    char *key = certificate_read(c.key_path), *certificate = certificate_read(c.path);
    struct MHD_Daemon *server = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0,
        NULL, NULL, serve_nothing, &served, MHD_OPTION_HTTPS_MEM_KEY, key,
        MHD_OPTION_HTTPS_MEM_CERT, certificate, MHD_OPTION_END);
    assert_non_null(server);
    int n = snprintf(url, sizeof(url), "https://127.0.0.1:%d/",
        (int)MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
    assert_in_range(n, 1, sizeof(url) - 1);
    http_world_call(w, &(struct http_request){.url = url, .allow_private = true}, &o);
    assert_int_equal(o.err, ERR_PROTOCOL);
    assert_non_null(strstr(o.detail, "certificate"));
    assert_false(o.sent);
    assert_false(served);
    MHD_stop_daemon(server);
    free(key);
    free(certificate);
    certificate_remove(&c);
    http_outcome_release(&o);
}

/* --- a public address that leads to a private one ----------------------------------------- */

#define PUBLIC_IP "8.8.4.4"

/* Answers each of two connections with a redirect to `target`. */
struct redirector {
    int listener;
    char answer[256];
    int answered;
};

static void *redirect(void *arg)
{
    struct redirector *r = arg;
    char request[4096];

    while (r->answered < 2) {
        int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        if (read(fd, request, sizeof(request)) > 0 && write(fd, r->answer, strlen(r->answer)) > 0)
            r->answered++;
        close(fd);
    }
    return NULL;
}

static int redirector_listen(struct redirector *r, const char *target)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);

    inet_pton(AF_INET, PUBLIC_IP, &address.sin_addr);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(r->listener >= 0);
    assert_int_equal(bind(r->listener, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(r->listener, 8), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&address, &len), 0);
    int n = snprintf(r->answer, sizeof(r->answer),
        "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        target);
    assert_in_range(n, 1, sizeof(r->answer) - 1);
    return ntohs(address.sin_port);
}

static void follow_to_private(void)
{
    struct http_world *w;
    struct redirector r = {.listener = -1};
    struct http_outcome o = {0};
    pthread_t thread;
    char url[64];

    assert_int_equal(http_world_setup((void **)&w), 0);
    int port = redirector_listen(&r, http_world_url(w, "/secret"));
    assert_int_equal(pthread_create(&thread, NULL, redirect, &r), 0);
    int n = snprintf(url, sizeof(url), "http://" PUBLIC_IP ":%d/", port);
    assert_in_range(n, 1, sizeof(url) - 1);

    struct http_request request = {.url = url, .max_redirects = 3};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, ERR_DENIED);
    assert_int_equal(fake_request_count(w->fake), 0);
    /* The same with leave, so that it is known what kept the other away. */
    http_world_expect(w, &(struct fake_rule){.path = "/secret", .times = 1});
    request.allow_private = true;
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.answered, 2);
    close(r.listener);
    http_outcome_release(&o);
    assert_int_equal(http_world_teardown((void **)&w), 0);
}

static void test_redirect_to_a_private_address(void **state)
{
    (void)state;
    own_network_run(PUBLIC_IP, NULL, follow_to_private);
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
        TEST(test_unknown_certificate_is_refused),
        cmocka_unit_test(test_redirect_to_a_private_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
