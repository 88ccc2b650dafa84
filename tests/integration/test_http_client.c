/* The HTTP client against the scripted provider: requests, answers, endings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "tests/support/http_world.h"

static void test_whole_answer(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {"ETag: \"one\"", "X-Twice: a", "x-twice:  b  ", NULL};

    http_world_expect(w, &(struct fake_rule){.method = "GET",
                             .path = "/x",
                             .times = 1,
                             .status = 418,
                             .headers = headers,
                             .body = "short and stout"});
    http_world_get(w, "/x?q=1", &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.status, 418);
    assert_string_equal(o.body, "short and stout");
    assert_int_equal(o.body_len, 15);
    assert_string_equal(o.detail, "");
    assert_string_equal(o.etag, "\"one\"");
    assert_true(o.sent);
    const struct fake_request *r = fake_request_at(w->fake, 0);
    assert_string_equal(r->path, "/x");
    assert_string_equal(r->query, "q=1");
    assert_string_equal(fake_request_header(r, "User-Agent"), "tocsin-test/1");
    assert_string_equal(fake_request_header(r, "Accept-Encoding"), "gzip");
    assert_null(fake_request_header(r, "Authorization"));
    http_outcome_release(&o);
}

static void test_post_with_headers_and_basic(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded", "X-Empty:", "Idempotency-Key: k1", NULL};
    const struct http_request request = {
        .method = "POST",
        .url = http_world_url(w, "/form"),
        .headers = headers,
        .body = "To=%2B15550001&Body=a+b%26c",
        .body_len = 27,
        .user = "Aladdin",
        .password = "open sesame",
        .allow_private = true,
    };

    http_world_expect(
        w, &(struct fake_rule){.method = "POST", .path = "/form", .times = 1, .status = 201});
    http_world_call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.status, 201);
    const struct fake_request *r = fake_request_at(w->fake, 0);
    assert_string_equal(
        fake_request_header(r, "Authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_string_equal(fake_request_header(r, "Idempotency-Key"), "k1");
    assert_string_equal(fake_request_header(r, "X-Empty"), "");
    assert_null(fake_request_header(r, "Expect"));
    assert_string_equal(fake_request_param(r, "To"), "+15550001");
    assert_string_equal(fake_request_param(r, "Body"), "a b&c");
    http_outcome_release(&o);
}

static void test_methods(void **state)
{
    static const char *const methods[] = {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "REPORT", "PROPFIND"};
    struct http_world *w = *state;

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        for (int body = 0; body < 2; body++) {
            struct http_outcome o = {0};
            bool head = strcmp(methods[i], "HEAD") == 0;
            if (head && body)
                continue;
            http_world_expect(w,
                &(struct fake_rule){.method = methods[i], .path = "/m", .times = 1, .body = "yes"});
            const struct http_request request = {.method = methods[i],
                .url = http_world_url(w, "/m"),
                .body = body ? "<x/>" : NULL,
                .body_len = body ? 4 : 0,
                .allow_private = true};
            http_world_call(w, &request, &o);
            assert_int_equal(o.err, 0);
            assert_string_equal(o.body, head ? "" : "yes");
            const struct fake_request *r =
                fake_request_at(w->fake, fake_request_count(w->fake) - 1);
            assert_string_equal(r->body, body ? "<x/>" : "");
            http_outcome_release(&o);
        }
    }
}

static void test_conditional_get(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *const headers[] = {"If-None-Match: \"v1\"", NULL};

    assert_int_equal(fake_file(w->fake, "/basic.ics", "text/calendar", "BEGIN:VCALENDAR\r\n",
                         "\"v1\"", "Sun, 01 Mar 2026 00:00:00 GMT"),
        0);
    http_world_get(w, "/basic.ics", &o);
    assert_int_equal(o.status, 200);
    assert_string_equal(o.body, "BEGIN:VCALENDAR\r\n");
    assert_string_equal(o.etag, "\"v1\"");
    http_world_call(w,
        &(struct http_request){
            .url = http_world_url(w, "/basic.ics"), .headers = headers, .allow_private = true},
        &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.status, 304);
    assert_string_equal(o.body, "");
    http_outcome_release(&o);
}

static void test_retry_after(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    char date[80];
    time_t soon = time(NULL) + 100;
    struct tm tm;

    assert_non_null(gmtime_r(&soon, &tm));
    assert_true(strftime(date, sizeof(date), "Retry-After: %a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
    const struct {
        const char *header;
        int64_t least, most;
    } rows[] = {
        {"Retry-After: 7", 7000, 7000},
        {"retry-after: 0", 0, 0},
        {"Retry-After: 99999999999999999999", 3600000, 3600000},
        {"Retry-After: Sun, 01 Mar 2020 00:00:00 GMT", 0, 0},
        {date, 90000, 100000},
        {"Retry-After: soon", -1, -1},
        {"Retry-After: -5", -1, -1},
        {"Retry-After:", -1, -1},
        {"X-Other: 1", -1, -1},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const headers[] = {rows[i].header, NULL};
        http_world_expect(w, &(struct fake_rule){.times = 1, .status = 429, .headers = headers});
        http_world_get(w, "/", &o);
        assert_int_equal(o.status, 429);
        if (o.retry_after_ms < rows[i].least || o.retry_after_ms > rows[i].most)
            fail_msg("%s gave %lld", rows[i].header, (long long)o.retry_after_ms);
    }
    http_outcome_release(&o);
}

static void test_environment_proxy_is_not_asked(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    http_world_expect(w, &(struct fake_rule){.path = "/x", .times = 1});
    http_world_get(w, "/x", &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_int_equal(unsetenv("ALL_PROXY"), 0);
    http_outcome_release(&o);
}

static void test_invalid_requests(void **state)
{
    struct http_world *w = *state;
    static const char *const split[] = {"X-A: 1\r\nX-B: 2", NULL};
    static const char *const newline[] = {"X-A: 1\nX-B: 2", NULL};
    static const char *const in_name[] = {"X-A\r\nX-B: 2", NULL};
    static const char *const no_colon[] = {"X-A", NULL};
    static const char *const no_name[] = {": x", NULL};
    static const char *const blank_name[] = {"X A: x", NULL};
    const struct http_request rows[] = {
        {.method = "GET", .url = "ftp://127.0.0.1/x"},
        {.method = "GET", .url = "file:///etc/passwd"},
        {.method = "GET", .url = "gopher://127.0.0.1/x"},
        {.method = "GET", .url = "smtp://127.0.0.1/x"},
        {.method = "GET", .url = "http://"},
        {.method = "GET", .url = "/only/a/path"},
        {.method = "GET", .url = ""},
        {.method = "GET", .url = "http://127.0.0.1/a b\r\nX: y"},
        {.method = "GET / HTTP/1.1\r\nX:", .url = "http://127.0.0.1/"},
        {.method = "", .url = "http://127.0.0.1/"},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = split},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = newline},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = in_name},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = no_colon},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = no_name},
        {.method = "GET", .url = "http://127.0.0.1/", .headers = blank_name},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_call *call = NULL;
        struct http_outcome o = {0};
        if (http_client_send(w->client, &rows[i], http_outcome_keep, &o, &call) != ERR_INVALID)
            fail_msg("%s %s", rows[i].method, rows[i].url);
        assert_null(call);
    }
    assert_int_equal(http_client_pending(w->client), 0);
}

static void turn_until_request(struct http_world *w, size_t n)
{
    bool came = false;

    for (int turns = 0; !came && turns < 1000; turns++) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        came = fake_wait_requests(w->fake, n, 5);
    }
    assert_true(came);
}

static void test_cancel(void **state)
{
    struct http_world *w = *state;
    struct http_outcome at_once = {0}, waiting = {0}, other = {0};

    http_world_expect(w, &(struct fake_rule){.path = "/hang", .times = 1, .fault = FAKE_HANG});
    http_world_expect(w, &(struct fake_rule){.path = "/other", .times = 1});
    http_call_cancel(http_world_start(w, "/never", &at_once));
    assert_int_equal(http_client_pending(w->client), 0);
    struct http_call *call = http_world_start(w, "/hang", &waiting);
    turn_until_request(w, 1);
    assert_int_equal(http_client_pending(w->client), 1);
    http_call_cancel(call);
    assert_int_equal(http_client_pending(w->client), 0);
    fake_release(w->fake);
    http_world_get(w, "/other", &other);
    assert_int_equal(other.err, 0);
    assert_false(at_once.done);
    assert_false(waiting.done);
    http_outcome_release(&other);
}

static void test_free_with_calls_outstanding(void **state)
{
    struct http_world *w = *state;
    struct http_outcome outcomes[3] = {0};

    http_world_expect(w, &(struct fake_rule){.path = "/hang", .times = 3, .fault = FAKE_HANG});
    for (int i = 0; i < 3; i++)
        (void)http_world_start(w, "/hang", &outcomes[i]);
    turn_until_request(w, 3);
    http_client_free(w->client);
    w->client = NULL;
    uv_run(&w->loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 3; i++)
        assert_false(outcomes[i].done);
}

struct ending {
    struct http_world *w;
    bool done;
    struct http_outcome second;
};

static void free_client(void *arg, const struct http_response *r)
{
    struct ending *e = arg;

    assert_int_equal(r->err, 0);
    http_client_free(e->w->client);
    e->w->client = NULL;
    assert_string_equal(r->body, "still here");
    e->done = true;
}

static void test_free_in_the_callback(void **state)
{
    struct http_world *w = *state;
    struct ending e = {.w = w};
    struct http_outcome o = {0};
    struct http_call *call;

    http_world_expect(w, &(struct fake_rule){.path = "/hang", .times = 1, .fault = FAKE_HANG});
    http_world_expect(w, &(struct fake_rule){.path = "/last", .times = 1, .body = "still here"});
    (void)http_world_start(w, "/hang", &o);
    turn_until_request(w, 1);
    const struct http_request request = {
        .method = "GET", .url = http_world_url(w, "/last"), .allow_private = true};
    assert_int_equal(http_client_send(w->client, &request, free_client, &e, &call), 0);
    http_world_run_until(w, &e.done);
    assert_false(o.done);
}

static void send_another(void *arg, const struct http_response *r)
{
    struct ending *e = arg;

    assert_int_equal(r->err, 0);
    (void)http_world_start(e->w, "/second", &e->second);
    assert_int_equal(http_client_pending(e->w->client), 1);
    e->done = true;
}

static void test_send_in_the_callback(void **state)
{
    struct http_world *w = *state;
    struct ending e = {.w = w};
    struct http_call *call;

    http_world_expect(w, &(struct fake_rule){.path = "/first", .times = 1});
    http_world_expect(w, &(struct fake_rule){.path = "/second", .times = 1, .body = "2"});
    const struct http_request request = {
        .method = "GET", .url = http_world_url(w, "/first"), .allow_private = true};
    assert_int_equal(http_client_send(w->client, &request, send_another, &e, &call), 0);
    http_world_run_until(w, &e.second.done);
    assert_string_equal(e.second.body, "2");
    assert_int_equal(e.second.times, 1);
    http_outcome_release(&e.second);
}

static void test_a_thousand_calls(void **state)
{
    enum { BATCH = 100, BATCHES = 10 };
    struct http_world *w = *state;
    struct http_outcome outcomes[BATCH] = {0};
    char path[32];

    http_world_expect(
        w, &(struct fake_rule){.path = "/n/*", .times = BATCH * BATCHES, .body = "ok"});
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int i = 0; i < BATCH; i++) {
            int n = snprintf(path, sizeof(path), "/n/%d", batch * BATCH + i);
            assert_in_range(n, 1, sizeof(path) - 1);
            (void)http_world_start(w, path, &outcomes[i]);
        }
        assert_int_equal(http_client_pending(w->client), BATCH);
        for (int i = 0; i < BATCH; i++) {
            http_world_run_until(w, &outcomes[i].done);
            assert_int_equal(outcomes[i].err, 0);
            assert_string_equal(outcomes[i].body, "ok");
            http_outcome_release(&outcomes[i]);
        }
    }
    const struct fake_request *last = fake_request_at(w->fake, BATCH * BATCHES - 1);
    assert_in_range(last->connection, 1, BATCH);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_world_setup, http_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole_answer),
        TEST(test_post_with_headers_and_basic),
        TEST(test_methods),
        TEST(test_conditional_get),
        TEST(test_retry_after),
        TEST(test_environment_proxy_is_not_asked),
        TEST(test_invalid_requests),
        TEST(test_cancel),
        TEST(test_free_with_calls_outstanding),
        TEST(test_free_in_the_callback),
        TEST(test_send_in_the_callback),
        TEST(test_a_thousand_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
