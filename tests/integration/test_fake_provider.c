/* The scripted provider: what the other tests rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/json_read.h"
#include "tests/support/http_world.h"

#define ACCOUNT "AC00000000000000000000000000000001"
#define BASE    "/2010-04-01/Accounts/" ACCOUNT

static void twilio(struct http_world *w, const char *method, const char *path, const char *form,
    struct http_outcome *ret_outcome)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    const struct http_request request = {
        .method = method,
        .url = http_world_url(w, path),
        .headers = form ? headers : NULL,
        .body = form,
        .body_len = form ? strlen(form) : 0,
        .user = ACCOUNT,
        .password = "token",
        .allow_private = true,
    };
    http_world_call(w, &request, ret_outcome);
}

static json_t *parse(const struct http_outcome *o)
{
    json_t *json = NULL;

    assert_int_equal(json_read(o->body, o->body_len, (size_t)1 << 20, NULL, &json), 0);
    return json;
}

static void assert_body_has(
    const struct http_outcome *o, long status, const char *key, const char *text)
{
    json_t *json = parse(o);

    assert_int_equal(o->err, 0);
    assert_int_equal(o->status, status);
    assert_string_equal(json_read_str(json, key), text);
    json_decref(json);
}

static void test_twilio_message(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};

    assert_int_equal(fake_twilio(w->fake, ACCOUNT, "token"), 0);
    twilio(w, "POST", BASE "/Messages.json",
        "To=%2B15550001111&From=%2B15550002222&Body=at+9&StatusCallback=https%3A%2F%2Fx%2Fcb", &o);
    assert_body_has(&o, 201, "status", "queued");
    assert_int_equal(fake_delivered(w->fake, "sms", "+15550001111"), 1);
    assert_int_equal(fake_delivered(w->fake, "call", NULL), 0);
    const struct fake_delivery *d = fake_delivery_at(w->fake, 0);
    assert_string_equal(d->text, "at 9");
    assert_string_equal(d->callback, "https://x/cb");
    assert_memory_equal(d->id, "SM", 2);
    assert_int_equal(strlen(d->id), 34);

    char path[128];
    int n = snprintf(path, sizeof(path), BASE "/Messages/%s.json", d->id);
    assert_in_range(n, 1, sizeof(path) - 1);
    assert_int_equal(fake_twilio_set_status(w->fake, d->id, "undelivered", 30003), 0);
    twilio(w, "GET", path, NULL, &o);
    assert_body_has(&o, 200, "status", "undelivered");
    assert_int_equal(fake_twilio_set_status(w->fake, "SMno", "sent", 0), ERR_NOT_FOUND);
    http_outcome_release(&o);
}

static void test_twilio_list(void **state)
{
    static const struct {
        const char *query;
        size_t found;
    } rows[] = {
        {"", 3},
        {"?To=%2B15550001111", 2},
        {"?To=%2B15550009999", 0},
        {"?To=%2B15550001111&PageSize=1", 1},
        {"?PageSize=2&Page=1", 1},
        {"?DateSent%3E=2000-01-01", 3},
        {"?DateSent%3E=2999-01-01", 0},
        {"?DateSent%3C=2000-01-01", 0},
        {"?DateSent=2000-01-01", 0},
    };
    struct http_world *w = *state;
    struct http_outcome o = {0};

    assert_int_equal(fake_twilio(w->fake, ACCOUNT, "token"), 0);
    for (int i = 0; i < 3; i++)
        twilio(w, "POST", BASE "/Messages.json",
            i == 1 ? "To=%2B15550003333&From=%2B15550002222&Body=b"
                   : "To=%2B15550001111&From=%2B15550002222&Body=b",
            &o);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[160];
        int n = snprintf(path, sizeof(path), BASE "/Messages.json%s", rows[i].query);
        assert_in_range(n, 1, sizeof(path) - 1);
        twilio(w, "GET", path, NULL, &o);
        json_t *json = parse(&o);
        if (json_array_size(json_object_get(json, "messages")) != rows[i].found)
            fail_msg("%s: %s", rows[i].query, o.body);
        json_decref(json);
    }
    http_outcome_release(&o);
}

static void test_twilio_refusals(void **state)
{
    static const struct {
        const char *path, *form;
        long status;
        int code;
    } rows[] = {
        {BASE "/Messages.json", "From=%2B15550002222&Body=b", 400, 21604},
        {BASE "/Messages.json", "To=5550001&From=%2B15550002222&Body=b", 400, 21211},
        {BASE "/Messages.json", "To=%2B15550001111&Body=b", 400, 21603},
        {BASE "/Messages.json", "To=%2B15550001111&From=%2B15550002222", 400, 21602},
        {BASE "/Calls.json", "To=%2B15550001111&From=%2B15550002222", 400, 21205},
        {BASE "/Calls/CA00.json", NULL, 404, 20404},
    };
    struct http_world *w = *state;
    struct http_outcome o = {0};

    assert_int_equal(fake_twilio(w->fake, ACCOUNT, "token"), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        twilio(w, rows[i].form ? "POST" : "GET", rows[i].path, rows[i].form, &o);
        json_t *json = parse(&o);
        if (o.status != rows[i].status || json_read_int(json, "code", 0) != rows[i].code)
            fail_msg("%s %s: %s", rows[i].path, rows[i].form, o.body);
        json_decref(json);
    }
    http_world_get(w, BASE "/Messages.json", &o);
    assert_int_equal(o.status, 401);
    assert_int_equal(fake_delivery_count(w->fake), 0);
    http_outcome_release(&o);
}

/* The provider has the message, and its client cannot know. */
static void test_accepted_and_dropped(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    const char *form = "To=%2B15550001111&From=%2B15550002222&Twiml=%3CResponse%2F%3E";

    assert_int_equal(fake_twilio(w->fake, ACCOUNT, "token"), 0);
    http_world_expect(w, &(struct fake_rule){.method = "POST",
                             .path = BASE "/Calls.json",
                             .times = 1,
                             .accept = true,
                             .fault = FAKE_CLOSE});
    http_world_expect(
        w, &(struct fake_rule){
               .method = "POST", .path = BASE "/Calls.json", .times = 1, .fault = FAKE_CLOSE});
    twilio(w, "POST", BASE "/Calls.json", form, &o);
    assert_int_equal(o.err, ERR_IO);
    assert_true(o.sent);
    assert_int_equal(fake_delivered(w->fake, "call", "+15550001111"), 1);
    twilio(w, "POST", BASE "/Calls.json", form, &o);
    assert_int_equal(o.err, ERR_IO);
    assert_int_equal(fake_delivered(w->fake, "call", NULL), 1);
    twilio(w, "POST", BASE "/Calls.json", form, &o);
    assert_int_equal(o.status, 201);
    assert_int_equal(fake_delivered(w->fake, "call", NULL), 2);
    http_outcome_release(&o);
}

static void test_slack_and_vapi(void **state)
{
    struct http_world *w = *state;
    struct http_outcome o = {0};
    static const char *const token[] = {"Authorization: Bearer t", NULL};
    struct http_request request = {.method = "POST",
        .url = http_world_url(w, "/api/chat.postMessage"),
        .headers = token,
        .body = "{\"channel\":\"C1\",\"text\":\"up\"}",
        .body_len = 29,
        .allow_private = true};

    assert_int_equal(fake_slack(w->fake, "t"), 0);
    assert_int_equal(fake_vapi(w->fake, "t"), 0);
    request.body_len = strlen(request.body);
    http_world_call(w, &request, &o);
    assert_body_has(&o, 200, "channel", "C1");
    request.headers = NULL;
    http_world_call(w, &request, &o);
    assert_body_has(&o, 200, "error", "invalid_auth");
    assert_int_equal(fake_delivered(w->fake, "slack", "C1"), 1);

    request.headers = token;
    request.url = http_world_url(w, "/call");
    request.body = "{\"customer\":{\"number\":\"+15550001111\"}}";
    request.body_len = strlen(request.body);
    http_world_call(w, &request, &o);
    assert_body_has(&o, 201, "status", "queued");
    assert_int_equal(fake_delivered(w->fake, "vapi", "+15550001111"), 1);
    http_outcome_release(&o);
}

/* Callbacks go to a second provider, which tells in which order they came. */
static void assert_callback_order(enum fake_order order, const char *const *bodies, size_t n)
{
    struct fake_provider *from, *to;
    static const char *const headers[] = {"X-Signed: yes", NULL};
    char url[64];

    assert_int_equal(fake_provider_new(0, &from), 0);
    assert_int_equal(fake_provider_new(0, &to), 0);
    assert_int_equal(fake_webhook(to, "/cb"), 0);
    int len = snprintf(url, sizeof(url), "%s/cb", fake_provider_url(to));
    assert_in_range(len, 1, sizeof(url) - 1);
    assert_int_equal(fake_callback(from, url, headers, "sent"), 0);
    assert_int_equal(fake_callback(from, url, headers, "delivered"), 1);
    assert_int_equal(fake_callback_status(from, 1), 0);
    fake_callbacks_send(from, order);
    assert_true(fake_callbacks_wait(from, 10000));
    assert_int_equal(fake_callback_status(from, 1), 200);
    assert_int_equal(fake_delivery_count(to), n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(fake_delivery_at(to, i)->text, bodies[i]);
        assert_string_equal(fake_request_header(fake_request_at(to, i), "X-Signed"), "yes");
    }
    fake_provider_free(from);
    fake_provider_free(to);
}

static void test_callbacks(void **state)
{
    (void)state;
    assert_callback_order(FAKE_IN_ORDER, (const char *const[]){"sent", "delivered"}, 2);
    assert_callback_order(FAKE_REVERSED, (const char *const[]){"delivered", "sent"}, 2);
    assert_callback_order(
        FAKE_TWICE, (const char *const[]){"sent", "sent", "delivered", "delivered"}, 4);
}

/* Two signatures that Twilio's own client libraries are tested with. */
static void test_twilio_signature(void **state)
{
    static const struct {
        const char *caller, *from, *signature;
    } rows[] = {{"Caller=+14158675309", "From=+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
        {"Caller=+12349013030", "From=+12349013030", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *const params[] = {"To=+18005551212", rows[i].from, "Digits=1234",
            "CallSid=CA1234567890ABCDE", rows[i].caller, NULL};
        struct buf signature = BUF_INIT(64);
        assert_int_equal(fake_twilio_signature("https://mycompany.com/myapp.php?foo=1&bar=2",
                             "12345", params, &signature),
            0);
        assert_string_equal(buf_str(&signature), rows[i].signature);
        buf_release(&signature);
    }
}

static void test_signed_callback(void **state)
{
    static const char *const params[] = {"MessageSid=SM1", "To=+1555 0001", NULL};
    struct fake_provider *from, *to;
    struct buf url = BUF_INIT(128), signature = BUF_INIT(64);

    (void)state;
    assert_int_equal(fake_provider_new(0, &from), 0);
    assert_int_equal(fake_provider_new(0, &to), 0);
    assert_int_equal(fake_webhook(to, "/cb"), 0);
    buf_addf(&url, "%s/cb?attempt=7", fake_provider_url(to));
    assert_int_equal(fake_twilio_callback(from, buf_str(&url), "token", params), 0);
    fake_callbacks_send(from, FAKE_IN_ORDER);
    assert_true(fake_callbacks_wait(from, 10000));
    assert_int_equal(fake_twilio_signature(buf_str(&url), "token", params, &signature), 0);
    assert_string_equal(
        fake_request_header(fake_request_at(to, 0), "X-Twilio-Signature"), buf_str(&signature));
    assert_string_equal(fake_delivery_at(to, 0)->text, "MessageSid=SM1&To=%2B1555%200001");
    buf_release(&url);
    buf_release(&signature);
    fake_provider_free(from);
    fake_provider_free(to);
}

/* --- it fails a test when it has to ------------------------------------------------------- */

static void assert_fault(struct fake_provider *p, const char *text)
{
    struct buf faults = BUF_INIT((size_t)1 << 16);

    assert_false(fake_provider_verify(p, &faults));
    if (!strstr(buf_str(&faults), text))
        fail_msg("%s", buf_str(&faults));
    buf_release(&faults);
}

/* The world's own provider must stay clean: another takes the faults. */
static void test_verify(void **state)
{
    struct http_world *w = *state;
    struct fake_provider *own = w->fake;
    struct http_outcome o = {0};

    assert_int_equal(fake_provider_new(0, &w->fake), 0);
    http_world_expect(w, &(struct fake_rule){.path = "/once", .times = 1});
    assert_fault(w->fake, "expected any /once 1 times, came 0 times");
    http_world_get(w, "/once", &o);
    struct buf none = BUF_INIT(64);
    assert_true(fake_provider_verify(w->fake, &none));
    http_world_get(w, "/once?again=1", &o);
    assert_int_equal(o.status, 404);
    assert_fault(w->fake, "unexpected GET /once?again=1");
    http_world_expect(w, &(struct fake_rule){.path = "/nobody", .accept = true});
    http_world_post(w, "/nobody", &o);
    assert_fault(w->fake, "unexpected POST /nobody a=b");
    http_client_free(w->client);
    w->client = NULL;
    fake_provider_free(w->fake);
    w->fake = own;
    http_outcome_release(&o);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, http_world_setup, http_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_twilio_message),
        TEST(test_twilio_list),
        TEST(test_twilio_refusals),
        TEST(test_accepted_and_dropped),
        TEST(test_slack_and_vapi),
        TEST(test_callbacks),
        TEST(test_twilio_signature),
        TEST(test_signed_callback),
        TEST(test_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
