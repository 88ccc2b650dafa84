/* The HTTP client against a provider that is slow, endless or broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/clock.h"
#include "tests/support/http_world.h"
#include "tests/support/own_network.h"

#define MB ((size_t)1 << 20)

static void call_with_deadline(struct http_world *w, int64_t ms, struct http_outcome *ret_outcome)
{
    const struct http_request request = {
        .url = http_world_url(w, "/slow"), .total_timeout_ms = ms, .allow_private = true};

    http_world_call(w, &request, ret_outcome);
    assert_int_equal(ret_outcome->err, ERR_TIMEOUT);
    assert_true(ret_outcome->sent);
    assert_in_range(ret_outcome->elapsed_ms, ms - 20, ms + 3000);
}

static void test_total_deadline(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    http_world_expect(w, &(struct fake_rule){.times = 1, .fault = FAKE_HANG});
    call_with_deadline(w, 150, &o);
    assert_int_equal(o.status, 0);
    http_world_expect(w, &(struct fake_rule){.times = 1, .delay_ms = 60000});
    call_with_deadline(w, 150, &o);
    http_world_expect(
        w, &(struct fake_rule){.times = 1, .fault = FAKE_DRIP, .drip_ms = 5, .body = "0123456789"});
    call_with_deadline(w, 100, &o);
    http_outcome_release(&o);
}

static void test_slow_answer_within_the_deadline(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    http_world_expect(
        w, &(struct fake_rule){
               .times = 1, .delay_ms = 50, .fault = FAKE_DRIP, .drip_ms = 1, .body = "0123456789"});
    http_world_get(w, "/slow", &o);
    assert_int_equal(o.err, 0);
    assert_string_equal(o.body, "0123456789");
    assert_in_range(o.elapsed_ms, 50, 15000);
    http_outcome_release(&o);
}

static int listen_with_a_full_queue(int fillers[4], int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], (const struct sockaddr *)&address, len);
    }
    *ret_port = ntohs(address.sin_port);
    return listener;
}

static void test_connect_deadline(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    int fillers[4], port;
    int listener = listen_with_a_full_queue(fillers, &port);
    char url[64];

    int n = snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port);
    assert_in_range(n, 1, sizeof(url) - 1);
    const struct http_request request = {
        .url = url, .connect_timeout_ms = 200, .total_timeout_ms = 60000, .allow_private = true};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, ERR_TIMEOUT);
    assert_false(o.sent);
    assert_in_range(o.elapsed_ms, 180, 3000);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
    http_outcome_release(&o);
}

/* A name server that is silent: getaddrinfo() waits for seconds in a thread of its own, and
 * neither the deadline nor the rest of the loop waits for it. */
static void resolve_in_vain(void)
{
    struct http_world *w;
    struct http_outcome o = {0}, other = {0};
    struct sockaddr_in dns = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct http_call *call;

    assert_int_equal(bind(silent, (const struct sockaddr *)&dns, sizeof(dns)), 0);
    assert_int_equal(http_world_setup((void **)&w), 0);
    struct http_request request = {.method = "GET",
        .url = "http://calendar.example/",
        .total_timeout_ms = 200,
        .allow_private = true};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, ERR_TIMEOUT);
    assert_false(o.sent);
    assert_in_range(o.elapsed_ms, 150, 2000);

    /* Cancelled, and then freed, while the resolver's thread waits. */
    assert_int_equal(http_client_send(w->client, &request, http_outcome_keep, &other, &call), 0);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    http_call_cancel(call);
    assert_int_equal(http_client_send(w->client, &request, http_outcome_keep, &other, &call), 0);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    int64_t before = clock_ms();
    http_outcome_release(&o);
    assert_int_equal(http_world_teardown((void **)&w), 0);
    assert_in_range(clock_ms() - before, 0, 2000);
    assert_false(other.done);
    close(silent);
}

static void test_silent_name_server(void **state)
{
    (void)state;
    own_network_run(NULL, "nameserver 127.0.0.1\n", resolve_in_vain);
}

static void test_refused_connection(void **state)
{
    struct http_world *w = *state;
    struct fake_provider *gone;
    struct http_outcome o = {0};
    char url[64];

    assert_int_equal(fake_provider_new(0, &gone), 0);
    int n = snprintf(url, sizeof(url), "%s/", fake_provider_url(gone));
    assert_in_range(n, 1, sizeof(url) - 1);
    fake_provider_free(gone);
    http_world_call(w, &(struct http_request){.url = url, .allow_private = true}, &o);
    assert_int_equal(o.err, ERR_IO);
    assert_false(o.sent);
    assert_string_not_equal(o.detail, "");
    http_outcome_release(&o);
}

static void test_plain_server_on_a_secure_address(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    char url[64];

    int n = snprintf(url, sizeof(url), "https://127.0.0.1:%d/", fake_provider_port(w->fake));
    assert_in_range(n, 1, sizeof(url) - 1);
    http_world_call(
        w, &(struct http_request){.url = url, .total_timeout_ms = 1000, .allow_private = true}, &o);
    assert_true(o.err == ERR_PROTOCOL || o.err == ERR_IO || o.err == ERR_TIMEOUT);
    assert_false(o.sent);
    http_outcome_release(&o);
}

static void test_response_ceiling(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    http_world_expect(w, &(struct fake_rule){.path = "/huge", .times = 1, .fault = FAKE_HUGE});
    http_world_get(w, "/huge", &o);
    assert_int_equal(o.err, ERR_TOO_LARGE);
    assert_in_range(o.body_len, 0, MB);
    http_world_expect(w, &(struct fake_rule){.path = "/exact", .times = 2, .body = "12345678"});
    struct http_request request = {
        .url = http_world_url(w, "/exact"), .max_response = 8, .allow_private = true};
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_string_equal(o.body, "12345678");
    request.max_response = 7;
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, ERR_TOO_LARGE);
    http_outcome_release(&o);
}

static void test_header_ceiling(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    char *line = malloc(8193);
    const char *headers[41];

    assert_non_null(line);
    memset(line, 'x', 8192);
    line[1] = ':';
    line[8192] = '\0';
    for (int i = 0; i < 40; i++)
        headers[i] = line;
    headers[40] = NULL;
    http_world_expect(w, &(struct fake_rule){.times = 1, .headers = headers});
    http_world_get(w, "/", &o);
    assert_int_equal(o.err, ERR_TOO_LARGE);
    free(line);
    http_outcome_release(&o);
}

/* Writes bits as RFC 1951 packs them: from the least significant of each byte. */
static void add_bits(struct buf *b, unsigned *held, int *n_held, unsigned code, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        *held |= (code >> i & 1) << *n_held;
        if (++*n_held == 8) {
            buf_add_char(b, (char)*held);
            *held = 0;
            *n_held = 0;
        }
    }
}

/* A gzip stream of one byte repeated 1 + 258 * n times, in 13 n bits. */
static void add_bomb(struct buf *b, int n)
{
    static const char head[] = {0x1f, (char)0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    unsigned held = 0;
    int n_held = 0;

    buf_add(b, head, sizeof(head));
    add_bits(b, &held, &n_held, 1, 1);    /* the last block */
    add_bits(b, &held, &n_held, 2, 2);    /* fixed codes: 01, low bit first */
    add_bits(b, &held, &n_held, 0x30, 8); /* literal 0 */
    for (int i = 0; i < n; i++)
        add_bits(b, &held, &n_held, 0xc5 << 5, 13); /* length 258, distance 1 */
    add_bits(b, &held, &n_held, 0, 15);
}

static void test_ceiling_counts_decoded_bytes(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    struct buf bomb = BUF_INIT(MB);
    const char *const headers[] = {"Content-Encoding: gzip", NULL};

    add_bomb(&bomb, 40000);
    assert_int_equal(buf_err(&bomb), 0);
    assert_in_range(bomb.len, 1, 100000);
    http_world_expect(
        w, &(struct fake_rule){
               .times = 1, .headers = headers, .body = bomb.data, .body_len = bomb.len});
    http_world_get(w, "/bomb", &o);
    assert_int_equal(o.err, ERR_TOO_LARGE);
    buf_release(&bomb);
    http_outcome_release(&o);
}

static void test_broken_answers(void **state)
{
    struct http_world *w = *state;
    static const struct {
        enum fake_fault fault;
        int err;
    } rows[] = {{FAKE_CLOSE, ERR_IO}, {FAKE_RESET, ERR_IO}, {FAKE_CUT, ERR_IO},
        {FAKE_GARBAGE, ERR_PROTOCOL}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_outcome o = {0};
        http_world_expect(w, &(struct fake_rule){.method = "POST",
                                 .times = 1,
                                 .fault = rows[i].fault,
                                 .body = "half of this will come"});
        http_world_post(w, "/broken", &o);
        if (o.err != rows[i].err)
            fail_msg("fault %d: %s, %s", (int)rows[i].fault, err_name(o.err), o.detail);
        assert_true(o.sent);
        assert_string_not_equal(o.detail, "");
        http_outcome_release(&o);
    }
}

static void test_bad_encoding(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {"Content-Encoding: gzip", NULL};

    http_world_expect(
        w, &(struct fake_rule){.times = 1, .headers = headers, .body = "no gzip at all"});
    http_world_get(w, "/", &o);
    assert_int_equal(o.err, ERR_PROTOCOL);
    http_outcome_release(&o);
}

/* The connection is used again, and dies under the request. Whether the other side took
 * the request is unknown: a POST goes out once, a GET may go again. */
static void test_post_is_never_repeated(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    http_world_expect(w, &(struct fake_rule){.path = "/first", .times = 2});
    http_world_expect(w, &(struct fake_rule){.path = "/send", .times = 1, .fault = FAKE_CLOSE});
    http_world_expect(w, &(struct fake_rule){.path = "/read", .times = 1, .fault = FAKE_CLOSE});
    http_world_expect(w, &(struct fake_rule){.path = "/read", .times = 1, .body = "at last"});
    http_world_get(w, "/first", &o);
    http_world_post(w, "/send", &o);
    assert_int_equal(o.err, ERR_IO);
    assert_true(o.sent);
    assert_int_equal(fake_request_count(w->fake), 2);
    assert_int_equal(fake_request_at(w->fake, 1)->connection, 1);

    http_world_get(w, "/first", &o);
    http_world_get(w, "/read", &o);
    assert_int_equal(o.err, 0);
    assert_string_equal(o.body, "at last");
    http_outcome_release(&o);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_world_setup, http_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_total_deadline),
        TEST(test_slow_answer_within_the_deadline),
        TEST(test_connect_deadline),
        TEST(test_refused_connection),
        TEST(test_plain_server_on_a_secure_address),
        TEST(test_response_ceiling),
        TEST(test_header_ceiling),
        TEST(test_ceiling_counts_decoded_bytes),
        TEST(test_broken_answers),
        TEST(test_bad_encoding),
        TEST(test_post_is_never_repeated),
        cmocka_unit_test(test_silent_name_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
