#include "tests/support/gateway_world.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ANSWER_MAX ((size_t)1 << 20)
#define ENV_MAX    16

static int setup(void **state, int (*reach)(void **))
{
    struct gateway_world *w = calloc(1, sizeof(*w));
    void *r = NULL;

    if (!w || reach(&r) != 0)
        return -1;
    w->reach = r;
    w->h = w->reach->h;
    buf_init(&w->answer, ANSWER_MAX);
    buf_init(&w->headers, ANSWER_MAX);
    *state = w;
    return 0;
}

int gateway_world_setup(void **state)
{
    return setup(state, reach_world_setup);
}

int gateway_world_setup_alone(void **state)
{
    return setup(state, reach_world_setup_alone);
}

int gateway_world_teardown(void **state)
{
    struct gateway_world *w = *state;
    void *r;

    if (!w)
        return 0;
    r = w->reach;
    buf_release(&w->answer);
    buf_release(&w->headers);
    free(w);
    return reach_world_teardown(&r);
}

void gateway_world_start(struct gateway_world *w, const char *const *more)
{
    const char *env[ENV_MAX] = {"GATEWAY_LISTEN=127.0.0.1:0", "PUBLIC_URL=" GATEWAY_PUBLIC,
        "LINK_SECRET=" GATEWAY_SECRET, "TWILIO_AUTH_TOKEN=token"};
    size_t n = 4;
    const char *at;

    for (; more && *more; more++) {
        assert_true(n + 1 < ENV_MAX);
        env[n++] = *more;
    }
    w->gateway = harness_spawn(w->h, "gateway", NULL, env);
    harness_proc_await_log(w->gateway, "listening on", REACH_SOON_MS);
    harness_proc_await_log(w->gateway, "is ready", REACH_SOON_MS);
    at = strstr(harness_proc_log(w->gateway), "port=");
    assert_non_null(at);
    w->port = (int)strtol(at + strlen("port="), NULL, 10);
    assert_in_range(w->port, 1, 65535);
}

struct harness_proc *gateway_world_worker(struct gateway_world *w)
{
    return reach_world_worker(w->reach,
        (const char *const[]){"PUBLIC_URL=" GATEWAY_PUBLIC, "LINK_SECRET=" GATEWAY_SECRET, NULL});
}

static size_t keep(char *data, size_t size, size_t n, void *to)
{
    buf_add(to, data, size * n);
    return size * n;
}

int gateway_world_request(struct gateway_world *w, const char *method, const char *target,
    const char *const *headers, const char *body, int64_t deadline_ms)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *list = NULL;
    struct buf url = BUF_INIT(65536);
    long status = 0;

    assert_non_null(curl);
    buf_reset(&w->answer);
    buf_reset(&w->headers);
    buf_addf(&url, "http://127.0.0.1:%d%s", w->port, target);
    for (; headers && *headers; headers++)
        list = curl_slist_append(list, *headers);
    list = curl_slist_append(list, "Expect:");
    (void)curl_easy_setopt(curl, CURLOPT_URL, buf_str(&url));
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)deadline_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &w->answer);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, &w->headers);
    if (body)
        (void)curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
    if (curl_easy_perform(curl) == CURLE_OK)
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    buf_release(&url);
    return (int)status;
}

int gateway_world_get(struct gateway_world *w, const char *target)
{
    return gateway_world_request(w, "GET", target, NULL, NULL, REACH_SOON_MS);
}

int gateway_world_twilio(struct gateway_world *w, const char *target, const char *const *params)
{
    struct buf url = BUF_INIT(8192), header = BUF_INIT(256), body = BUF_INIT(65536);
    int status;

    buf_addf(&url, "%s%s", GATEWAY_PUBLIC, target);
    buf_add_str(&header, "X-Twilio-Signature: ");
    assert_int_equal(fake_twilio_signature(buf_str(&url), "token", params, &header), 0);
    for (size_t i = 0; params[i]; i++) {
        const char *value = strchr(params[i], '=');
        buf_addf(&body, "%s%.*s=", i ? "&" : "", (int)(value - params[i]), params[i]);
        buf_add_percent(&body, value + 1);
    }
    const char *const headers[] = {
        buf_str(&header), "Content-Type: application/x-www-form-urlencoded", NULL};
    status = gateway_world_request(w, "POST", target, headers, buf_str(&body), REACH_SOON_MS);
    buf_release(&url);
    buf_release(&header);
    buf_release(&body);
    return status;
}
