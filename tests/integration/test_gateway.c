/*
 * The gateway's edge, a real process: what is no request, what is too large, who is slow, and how
 * many there may be. Nobody hinders others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/support/gateway_world.h"
#include "tests/support/raw_client.h"

#define SOON_MS  REACH_SOON_MS
#define BODY_MAX 65536
#define LIVE     "GET /health/live HTTP/1.1\r\nHost: gate\r\n"

static void assert_has(const struct buf *text, const char *part)
{
    if (!strstr(buf_str(text), part))
        fail_msg("\"%s\" is not in: %s", part, buf_str(text));
}

static void assert_lives(struct gateway_world *w)
{
    assert_int_equal(gateway_world_get(w, "/health/live"), 200);
}

static bool lives(void *arg)
{
    return gateway_world_get(arg, "/health/live") == 200;
}

static void open_client(struct gateway_world *w, struct raw_client *c)
{
    assert_true(raw_client_open(c, w->port));
}

/* --- methods and addresses ------------------------------------------------------------------- */

static void test_methods_and_addresses(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
        const char *allow; /* NULL: none */
    } cases[] = {
        {"GET", "/health/live", 200, NULL},
        {"HEAD", "/health/live", 200, NULL},
        {"HEAD", "/metrics", 200, NULL},
        {"GET", "/", 404, NULL},
        {"GET", "/health/", 404, NULL},
        {"GET", "/Health", 404, NULL},
        {"GET", "/%68ealth", 404, NULL},
        {"HEAD", "/nothing", 404, NULL},
        {"POST", "/health", 405, "Allow: GET, HEAD\r\n"},
        {"BREW", "/metrics", 405, "Allow: GET, HEAD\r\n"},
        {"DELETE", "/a/1", 405, "Allow: GET, HEAD, POST\r\n"},
        {"GET", "/hooks/twilio/reply", 405, "Allow: POST\r\n"},
        {"HEAD", "/hooks/twilio/reply", 405, "Allow: POST\r\n"},
    };
    struct gateway_world *w = *state;

    gateway_world_start(w, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bool head = strcmp(cases[i].method, "HEAD") == 0;
        int status =
            gateway_world_request(w, cases[i].method, cases[i].target, NULL, NULL, SOON_MS);
        if (status != cases[i].status)
            fail_msg("%s %s: %d", cases[i].method, cases[i].target, status);
        assert_true(head == (w->answer.len == 0));
        assert_has(&w->headers, "Cache-Control: no-store\r\n");
        if (cases[i].allow)
            assert_has(&w->headers, cases[i].allow);
        else
            assert_null(strstr(buf_str(&w->headers), "Allow:"));
        if (status >= 400)
            assert_has(&w->headers, "application/problem+json");
    }
}

/* --- what is no request ---------------------------------------------------------------------- */

/* Says it, then `n` times `c`, then `end`; the status of the answer, after which it is the end. */
static int say(struct gateway_world *w, const char *begin, char c, size_t n, const char *end)
{
    struct raw_client client;
    char *filler = malloc(n + 1);

    assert_non_null(filler);
    memset(filler, c, n);
    open_client(w, &client);
    if (raw_client_say(&client, begin) && raw_client_send(&client, filler, n))
        (void)raw_client_say(&client, end);
    int status = raw_client_answer(w->h, &client);
    raw_client_await_end(w->h, &client);
    raw_client_close(&client);
    free(filler);
    return status;
}

static void test_what_is_no_request(void **state)
{
    static const struct {
        const char *begin;
        size_t n;
        const char *end;
        int status;
    } cases[] = {
        {"x\r\n\r\n", 0, "", 0},
        {"\x16\x03\x01\r\n\r\n", 0, "", 0}, /* TLS */
        {"GET /health/live\r\n\r\n", 0, "", 400},
        {"GET /health/live HTTP/1.1\r\n\r\n", 0, "", 400},
        {"GET /health/live HTTP/1.0\r\n\r\n", 0, "", 200},
        {LIVE "Host: other\r\n\r\n", 0, "", 400},
        {LIVE "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 0, "", 400},
        {LIVE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0, "", 400},
        {LIVE "Transfer-Encoding: gzip\r\n\r\n", 0, "", 400},
        {LIVE "no colon\r\n\r\n", 0, "", 400},
        {LIVE "Content-Length: x\r\n\r\n", 0, "", 400},
        {LIVE "Content-Length: -1\r\n\r\n", 0, "", 400},
        {"GET /", 40000, " HTTP/1.1\r\nHost: gate\r\n\r\n", 414},
        {LIVE "X: ", 40000, "\r\n\r\n", 431},
    };
    struct gateway_world *w = *state;

    gateway_world_start(w, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status = say(w, cases[i].begin, 'a', cases[i].n, cases[i].end);
        if (status != cases[i].status)
            fail_msg("case %zu: %d", i, status);
    }
    assert_lives(w);
}

/* --- bodies ---------------------------------------------------------------------------------- */

static void test_bodies(void **state)
{
    static const struct {
        const char *head;
        size_t n; /* bytes of the body */
        const char *end;
        int status;
    } cases[] = {
        {"Content-Length: 65536\r\n\r\n", BODY_MAX, "", 403}, /* fits, and is not signed */
        {"Content-Length: 65537\r\n\r\n", BODY_MAX + 1, "", 413},
        {"Content-Length: 999999999999\r\n\r\n", 0, "", 413},
        {"Content-Length: 99999999999999999999999\r\n\r\n", 0, "", 413},
        {"Content-Length: 65537\r\nExpect: 100-continue\r\n\r\n", 0, "", 413},
        {"Transfer-Encoding: chunked\r\n\r\n10000\r\n", BODY_MAX, "\r\n0\r\n\r\n", 403},
        {"Transfer-Encoding: chunked\r\n\r\n10001\r\n", BODY_MAX + 1, "\r\n0\r\n\r\n", 413},
        {"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 2 << 20, "", 0}, /* endless */
    };
    struct gateway_world *w = *state;

    gateway_world_start(w, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct buf head = BUF_INIT(1024);
        buf_addf(&head,
            "POST /hooks/twilio/reply HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n%s",
            cases[i].head);
        int status = say(w, buf_str(&head), 'a', cases[i].n, cases[i].end);
        if (status != cases[i].status)
            fail_msg("case %zu: %d", i, status);
        buf_release(&head);
    }
    char *body = malloc(BODY_MAX + 2);
    assert_non_null(body);
    memset(body, 'a', BODY_MAX + 1);
    body[BODY_MAX + 1] = '\0';
    assert_int_equal(
        gateway_world_request(w, "POST", "/hooks/twilio/reply", NULL, body, SOON_MS), 413);
    free(body);
    assert_has(&w->headers, "application/problem+json");
    assert_has(&w->answer, "\"status\":413");
    assert_has(&w->answer, "65536");
}

/* --- slow clients ---------------------------------------------------------------------------- */

#define SLOW 5

/* One byte of a header on each turn of a wait. */
static void drip(void *arg)
{
    (void)raw_client_say(arg, "a");
}

/* A client that says nothing, half a line, half a head, half a body, or a byte from time to time is
 * dropped, and one that has been answered too. */
static void test_slow_clients(void **state)
{
    static const char *const halves[SLOW] = {"", "GET /heal", LIVE "X-",
        "POST /hooks/twilio/reply HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nBody=",
        LIVE "X-Slow: "};
    /* which the waits of a test that has failed still see */
    static struct raw_client slow[SLOW];
    struct gateway_world *w = *state;
    struct raw_client answered;

    gateway_world_start(w, (const char *const[]){"GATEWAY_IDLE_TIMEOUT=1s", NULL});
    open_client(w, &answered);
    assert_true(raw_client_say(&answered, LIVE "\r\n"));
    assert_int_equal(raw_client_answer(w->h, &answered), 200);
    for (size_t i = 0; i < SLOW; i++) {
        open_client(w, &slow[i]);
        assert_true(raw_client_say(&slow[i], halves[i]));
    }
    harness_on_wait(w->h, drip, &slow[SLOW - 1]);
    assert_lives(w);
    for (size_t i = 0; i < SLOW; i++) {
        raw_client_await_end(w->h, &slow[i]);
        assert_null(strstr(buf_str(&slow[i].got), "HTTP/1.1 200"));
    }
    harness_on_wait(w->h, NULL, NULL);
    raw_client_await_end(w->h, &answered);
    for (size_t i = 0; i < SLOW; i++)
        raw_client_close(&slow[i]);
    raw_client_close(&answered);
    assert_lives(w);
    assert_int_equal(harness_proc_stop(w->gateway, SOON_MS), 0);
}

/* --- many connections ------------------------------------------------------------------------ */

#define MANY 300
#define MOST 200

static void test_many_connections(void **state)
{
    struct gateway_world *w = *state;
    struct raw_client *clients = calloc(MANY, sizeof(*clients));
    struct rlimit limit, few;
    int answered = 0, refused = 0;

    assert_non_null(clients);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = 128; /* which the gateway raises */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    gateway_world_start(w, (const char *const[]){"GATEWAY_MAX_CONNECTIONS=200", NULL});
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < MANY; i++)
        open_client(w, &clients[i]);
    for (size_t i = 0; i < MANY; i++)
        assert_true(
            raw_client_say(&clients[i], "GET /health/database HTTP/1.1\r\nHost: gate\r\n\r\n"));
    for (size_t i = 0; i < MANY; i++) {
        int status = raw_client_answer(w->h, &clients[i]);
        if (status == 200) {
            answered++;
            continue;
        }
        assert_int_equal(status, 503);
        assert_has(&clients[i].got, "Too many connections");
        assert_has(&clients[i].got, "Retry-After: 1\r\n");
        assert_has(&clients[i].got, "Connection: close\r\n");
        raw_client_await_end(w->h, &clients[i]);
        refused++;
    }
    assert_int_equal(answered, MOST);
    assert_int_equal(refused, MANY - MOST);
    for (size_t i = 0; i < MANY; i++)
        raw_client_close(&clients[i]);
    free(clients);
    harness_await_that(w->h, SOON_MS, lives, w, "room for one more, when the others have left");
}

/* --- what Twilio does not send --------------------------------------------------------------- */

static void test_what_twilio_does_not_send(void **state)
{
    struct gateway_world *w = *state;

    gateway_world_start(w, NULL);
    assert_int_equal(gateway_world_twilio(w, "/hooks/twilio/digits?attempt=1",
                         (const char *const[]){"Digits=1", NULL}),
        400);
    assert_has(&w->answer, "CallSid");
    assert_int_equal(
        gateway_world_twilio(w, "/hooks/twilio/reply",
            (const char *const[]){"From=+15551001", "Body=\xff", "MessageSid=SM1", NULL}),
        400);
    assert_has(&w->answer, "UTF-8");
    for (int i = 0; i < 5; i++)
        assert_int_equal(
            gateway_world_request(w, "POST", "/hooks/twilio/reply", NULL, "From=x", SOON_MS), 403);
    assert_int_equal(harness_proc_count_log(w->gateway, "not Twilio's was refused"), 1);
    assert_false(harness_proc_logged(w->gateway, " error gateway "));
    assert_int_equal(harness_proc_stop(w->gateway, SOON_MS), 0);
    assert_int_equal(harness_int(w->h, "SELECT (metrics ->> 'hooks_refused')::int FROM daemon"), 5);
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, gateway_world_setup, gateway_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_methods_and_addresses),
        TEST(test_what_is_no_request),
        TEST(test_bodies),
        TEST(test_slow_clients),
        TEST(test_many_connections),
        TEST(test_what_twilio_does_not_send),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
