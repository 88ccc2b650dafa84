/* The SMTP client against a scripted server: what it says, what it takes from refusals, and
 * that nothing leaves in the clear. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "io/smtp_client.h"
#include "tests/fake/fake_smtp.h"
#include "tests/support/certificate.h"
#include "tests/support/http_world.h"
#include "tests/support/tls_smtp.h"

struct smtp_world {
    struct http_world http; /* for its loop */
    struct smtp_client *client;
    struct fake_smtp *fake;
    char url[64];
    bool freed;
};

struct outcome {
    bool done;
    int times, err;
    long code;
    bool sent;
    char *detail;
};

static const struct mail_message mail = {
    .from = "tocsin@example.org",
    .to = "owner@example.com",
    .subject = "Meeting in 12 minutes",
    .text = "Stand-up at 9:00\n.\n..two dots\nend",
    .message_id = "attempt-7@tocsin.example.org",
    .date_s = 1772323200,
};

static int setup(void **state)
{
    struct smtp_world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->http.loop), 0);
    assert_int_equal(uv_timer_init(&w->http.loop, &w->http.ticker), 0);
    w->http.ticker.data = &w->http;
    assert_int_equal(smtp_client_new(&w->http.loop, &w->client), 0);
    assert_int_equal(fake_smtp_new(&w->fake), 0);
    assert_in_range(
        snprintf(w->url, sizeof(w->url), "smtp://127.0.0.1:%d", fake_smtp_port(w->fake)), 1, 63);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct smtp_world *w = *state;

    smtp_client_free(w->client);
    uv_close((uv_handle_t *)&w->http.ticker, NULL);
    uv_run(&w->http.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->http.loop), 0);
    fake_smtp_free(w->fake);
    free(w);
    return 0;
}

static void keep(void *arg, const struct smtp_response *r)
{
    struct outcome *o = arg;

    o->done = true;
    o->times++;
    o->err = r->err;
    o->code = r->code;
    o->sent = r->sent;
    free(o->detail);
    o->detail = strdup(r->detail);
}

static void call(
    struct smtp_world *w, const struct smtp_request *request, struct outcome *ret_outcome)
{
    struct smtp_call *started;

    free(ret_outcome->detail);
    *ret_outcome = (struct outcome){0};
    assert_int_equal(smtp_client_send(w->client, request, keep, ret_outcome, &started), 0);
    assert_false(ret_outcome->done);
    http_world_run_until(&w->http, &ret_outcome->done);
    assert_int_equal(ret_outcome->times, 1);
}

static struct smtp_request in_the_clear(const struct smtp_world *w)
{
    return (struct smtp_request){
        .url = w->url, .plaintext = true, .allow_private = true, .message = &mail};
}

static void rule(struct smtp_world *w, const struct fake_smtp_rule *r)
{
    assert_int_equal(fake_smtp_on(w->fake, r), 0);
}

static bool was_said(struct smtp_world *w, const char *text)
{
    char *commands = fake_smtp_commands(w->fake);

    assert_non_null(commands);
    bool found = strstr(commands, text) != NULL;
    free(commands);
    return found;
}

static void test_mail_arrives(void **state)
{
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0};

    request.user = "tim";
    request.password = "tanstaaf";
    call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(o.code, 250);
    assert_string_equal(o.detail, "");
    assert_int_equal(fake_smtp_count(w->fake), 1);
    const struct fake_mail *m = fake_smtp_at(w->fake, 0);
    assert_string_equal(m->from, "tocsin@example.org");
    assert_string_equal(m->to, "owner@example.com");
    assert_non_null(strstr(m->text, "Message-ID: <attempt-7@tocsin.example.org>\r\n"));
    assert_non_null(strstr(m->text, "\r\n\r\nStand-up at 9:00\r\n.\r\n..two dots\r\nend\r\n"));
    assert_true(was_said(w, "AUTH PLAIN"));

    call(w, &request, &o);
    assert_int_equal(o.err, 0);
    assert_int_equal(fake_smtp_count(w->fake), 2);
    free(o.detail);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *command, *reply;
        long code;
    } rows[] = {
        {"CONNECT", "421 4.3.2 closing", 421},
        {"AUTH", "535 5.7.8 bad credentials", 535},
        {"MAIL", "451 4.3.0 later", 451},
        {"RCPT", "550 5.1.1 no such user", 550},
        {"RCPT", "450 4.2.1 mailbox busy", 450},
        {"DATA", "452 4.3.1 no room", 452},
        {".", "554 5.7.1 looks like spam", 554},
        {".", "451 4.3.0 later", 451},
    };
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0};

    request.user = "tim";
    request.password = "tanstaaf";
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rule(w, &(struct fake_smtp_rule){
                    .command = rows[i].command, .times = 1, .reply = rows[i].reply});
        call(w, &request, &o);
        assert_int_equal(o.err, ERR_PROTOCOL);
        assert_int_equal(o.code, rows[i].code);
        if (!strstr(o.detail, rows[i].reply))
            fail_msg("%s: %s", rows[i].reply, o.detail);
        assert_false(o.sent);
        /* The next call must not find the rest of this one. */
        smtp_client_free(w->client);
        assert_int_equal(smtp_client_new(&w->http.loop, &w->client), 0);
    }
    assert_int_equal(fake_smtp_count(w->fake), 0);
    free(o.detail);
}

/* Before the end of the text nothing can have been taken; after it nobody knows. */
static void test_what_is_ambiguous(void **state)
{
    static const struct {
        const char *command;
        bool hang, drop;
        int err;
        bool sent;
        size_t taken;
    } rows[] = {
        {"CONNECT", true, false, ERR_TIMEOUT, false, 0},
        {"CONNECT", false, true, ERR_IO, false, 0},
        {"RCPT", true, false, ERR_TIMEOUT, false, 0},
        {"RCPT", false, true, ERR_IO, false, 0},
        {"DATA", false, true, ERR_IO, false, 0},
        {".", true, false, ERR_TIMEOUT, true, 1},
        {".", false, true, ERR_IO, true, 1},
    };
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0};
    size_t taken = 0;

    request.total_timeout_ms = 300;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rule(w, &(struct fake_smtp_rule){.command = rows[i].command,
                    .times = 1,
                    .hang = rows[i].hang,
                    .drop = rows[i].drop});
        call(w, &request, &o);
        if (o.err != rows[i].err || o.sent != rows[i].sent)
            fail_msg("row %zu: %s, sent %d, %s", i, err_name(o.err), o.sent, o.detail);
        taken += rows[i].taken;
        assert_int_equal(fake_smtp_count(w->fake), taken);
    }
    free(o.detail);
}

static void test_nothing_leaves_without_tls(void **state)
{
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0};

    request.plaintext = false;
    request.user = "tim";
    request.password = "tanstaaf";
    call(w, &request, &o); /* STARTTLS is not offered */
    assert_int_equal(o.err, ERR_PROTOCOL);
    rule(w, &(struct fake_smtp_rule){
                .command = "EHLO", .reply = "250-fake\r\n250-AUTH PLAIN\r\n250 STARTTLS"});
    rule(w, &(struct fake_smtp_rule){
                .command = "STARTTLS", .times = 1, .reply = "454 4.7.0 no TLS now"});
    call(w, &request, &o);
    assert_int_equal(o.err, ERR_PROTOCOL);
    rule(w, &(struct fake_smtp_rule){
                .command = "STARTTLS", .times = 1, .reply = "220 go\r\nthis is no TLS"});
    call(w, &request, &o);
    assert_true(o.err == ERR_PROTOCOL || o.err == ERR_IO);
    assert_false(o.sent);
    assert_true(was_said(w, "STARTTLS"));
    assert_false(was_said(w, "AUTH"));
    assert_false(was_said(w, "MAIL"));
    assert_int_equal(fake_smtp_count(w->fake), 0);
    free(o.detail);
}

static void test_refused_requests(void **state)
{
    struct smtp_world *w = *state;
    static const char *const urls[] = {"http://127.0.0.1/", "127.0.0.1:25", "imap://127.0.0.1",
        "smtp://", "smtp://u:p@127.0.0.1", "file:///etc/passwd", ""};
    struct smtp_request request = in_the_clear(w);
    struct mail_message bad = mail;
    struct outcome o = {0};
    struct smtp_call *started = NULL;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        request.url = urls[i];
        if (smtp_client_send(w->client, &request, keep, &o, &started) != ERR_INVALID)
            fail_msg("%s", urls[i]);
    }
    request = in_the_clear(w);
    bad.to = "a@b\r\nDATA";
    request.message = &bad;
    assert_int_equal(smtp_client_send(w->client, &request, keep, &o, &started), ERR_INVALID);
    assert_null(started);

    request = in_the_clear(w);
    request.allow_private = false;
    call(w, &request, &o);
    assert_int_equal(o.err, ERR_DENIED);
    assert_false(o.sent);
    assert_int_equal(fake_smtp_connections(w->fake), 0);
    free(o.detail);
}

static void test_cancel(void **state)
{
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0}, other = {0};
    struct smtp_call *started;

    assert_int_equal(smtp_client_send(w->client, &request, keep, &o, &started), 0);
    smtp_call_cancel(started);
    rule(w, &(struct fake_smtp_rule){.command = ".", .times = 1, .hang = true});
    assert_int_equal(smtp_client_send(w->client, &request, keep, &o, &started), 0);
    for (int turns = 0; fake_smtp_count(w->fake) == 0 && turns < 100000; turns++)
        uv_run(&w->http.loop, UV_RUN_NOWAIT);
    assert_int_equal(fake_smtp_count(w->fake), 1);
    smtp_call_cancel(started);
    call(w, &request, &other);
    assert_int_equal(other.err, 0);
    assert_false(o.done);
    free(other.detail);
}

static void free_client(void *arg, const struct smtp_response *r)
{
    struct smtp_world *w = arg;

    assert_int_equal(r->err, 0);
    smtp_client_free(w->client);
    w->client = NULL;
    assert_string_equal(r->detail, "");
    w->freed = true;
}

static void test_free_with_calls_outstanding(void **state)
{
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome o = {0};
    struct smtp_call *started;

    rule(w, &(struct fake_smtp_rule){.command = "RCPT", .times = 1, .hang = true});
    assert_int_equal(smtp_client_send(w->client, &request, keep, &o, &started), 0);
    for (int turns = 0; !was_said(w, "RCPT") && turns < 100000; turns++)
        uv_run(&w->http.loop, UV_RUN_NOWAIT);
    assert_int_equal(smtp_client_send(w->client, &request, free_client, w, &started), 0);
    http_world_run_until(&w->http, &w->freed);
    assert_false(o.done);
    assert_int_equal(fake_smtp_count(w->fake), 1);
}

/* A server that thinks about the text for long holds up nobody else on the loop. */
static void test_a_slow_server_does_not_block(void **state)
{
    struct smtp_world *w = *state;
    struct smtp_request request = in_the_clear(w);
    struct outcome slow = {0}, quick = {0};
    struct smtp_call *started;

    rule(w, &(struct fake_smtp_rule){.command = ".", .times = 1, .hang = true});
    request.total_timeout_ms = 5000;
    assert_int_equal(smtp_client_send(w->client, &request, keep, &slow, &started), 0);
    for (int turns = 0; fake_smtp_count(w->fake) == 0 && turns < 100000; turns++)
        uv_run(&w->http.loop, UV_RUN_NOWAIT);
    call(w, &request, &quick);
    assert_int_equal(quick.err, 0);
    assert_false(slow.done);
    smtp_call_cancel(started);
    free(quick.detail);
}

/* --- STARTTLS with a real TLS server ------------------------------------------------------ */

static void send_through_tls(struct smtp_world *w, const struct certificate *c, const char *ca_file,
    struct outcome *ret_outcome, char **ret_text)
{
    struct smtp_request request = in_the_clear(w);
    struct tls_smtp *server = tls_smtp_start(c);
    char url[64];

    assert_in_range(
        snprintf(url, sizeof(url), "smtp://127.0.0.1:%d", tls_smtp_port(server)), 1, 63);
    request.url = url;
    request.plaintext = false;
    request.ca_file = ca_file;
    request.total_timeout_ms = 10000;
    call(w, &request, ret_outcome);
    *ret_text = tls_smtp_stop(server);
}

static void test_starttls(void **state)
{
    struct smtp_world *w = *state;
    struct certificate c;
    struct outcome o = {0};
    char *text;

    if (!certificate_make(&c))
        skip();
    send_through_tls(w, &c, c.path, &o, &text);
    assert_string_equal(o.detail, "");
    assert_int_equal(o.err, 0);
    assert_int_equal(o.code, 250);
    assert_non_null(strstr(text, "Message-ID: <attempt-7@tocsin.example.org>"));
    free(text);
    /* The same server, unknown to the system. */
    send_through_tls(w, &c, NULL, &o, &text);
    assert_int_equal(o.err, ERR_PROTOCOL);
    assert_non_null(strstr(o.detail, "certificate"));
    assert_false(o.sent);
    assert_string_equal(text, "");
    certificate_remove(&c);
    free(text);
    free(o.detail);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mail_arrives),
        TEST(test_refusals),
        TEST(test_what_is_ambiguous),
        TEST(test_nothing_leaves_without_tls),
        TEST(test_refused_requests),
        TEST(test_cancel),
        TEST(test_free_with_calls_outstanding),
        TEST(test_a_slow_server_does_not_block),
        TEST(test_starttls),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
