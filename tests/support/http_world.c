#include "tests/support/http_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define PATIENCE_MS 20000
#define TICK_MS     2

int http_world_setup(void **state)
{
    struct http_world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->ticker), 0);
    w->ticker.data = w;
    assert_int_equal(http_client_new(&w->loop, "tocsin-test/1", &w->client), 0);
    assert_int_equal(fake_provider_new(0, &w->fake), 0);
    *state = w;
    return 0;
}

int http_world_teardown(void **state)
{
    struct http_world *w = *state;
    struct buf faults = BUF_INIT((size_t)1 << 20);

    http_client_free(w->client);
    uv_close((uv_handle_t *)&w->ticker, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    bool fine = fake_provider_verify(w->fake, &faults);
    fake_provider_free(w->fake);
    free(w);
    if (!fine)
        print_error("%s", buf_str(&faults));
    buf_release(&faults);
    return fine ? 0 : -1;
}

const char *http_world_url(struct http_world *w, const char *path)
{
    int n = snprintf(w->url, sizeof(w->url), "%s%s", fake_provider_url(w->fake), path);

    assert_in_range(n, 1, sizeof(w->url) - 1);
    return w->url;
}

static char *copy(const char *text)
{
    char *kept = text ? strdup(text) : NULL;

    assert_true(kept || !text);
    return kept;
}

void http_outcome_keep(void *arg, const struct http_response *r)
{
    struct http_outcome *o = arg;
    int times = o->times;

    http_outcome_release(o);
    *o = (struct http_outcome){
        .done = true,
        .times = times + 1,
        .err = r->err,
        .status = r->status,
        .sent = r->sent,
        .elapsed_ms = r->elapsed_ms,
        .retry_after_ms = http_response_retry_after_ms(r),
        .body = copy(r->body),
        .body_len = r->body_len,
        .detail = copy(r->detail),
        .url = copy(r->url),
        .etag = copy(http_response_header(r, "etag")),
    };
}

void http_outcome_release(struct http_outcome *o)
{
    free(o->body);
    free(o->detail);
    free(o->url);
    free(o->etag);
    *o = (struct http_outcome){0};
}

static void on_tick(uv_timer_t *timer)
{
    struct http_world *w = timer->data;
    w->ticks++;
}

/* uv_run(UV_RUN_ONCE) may call back from a timer and then wait for something else to
 * happen; the ticks make it return. */
void http_world_run_until(struct http_world *w, const bool *flag)
{
    w->ticks = 0;
    uv_update_time(&w->loop);
    uv_timer_start(&w->ticker, on_tick, TICK_MS, TICK_MS);
    while (!*flag && w->ticks < PATIENCE_MS / TICK_MS)
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_timer_stop(&w->ticker);
    assert_true(*flag);
}

void http_world_call(
    struct http_world *w, const struct http_request *request, struct http_outcome *ret_outcome)
{
    struct http_request whole = *request;
    struct http_call *call;

    if (!whole.method)
        whole.method = "GET";
    http_outcome_release(ret_outcome);
    assert_int_equal(http_client_send(w->client, &whole, http_outcome_keep, ret_outcome, &call), 0);
    assert_false(ret_outcome->done); /* never from within the call */
    http_world_run_until(w, &ret_outcome->done);
}

void http_world_expect(struct http_world *w, const struct fake_rule *rule)
{
    assert_int_equal(fake_expect(w->fake, rule), 0);
}

void http_world_get(struct http_world *w, const char *path, struct http_outcome *ret_outcome)
{
    http_world_call(w,
        &(struct http_request){.url = http_world_url(w, path), .allow_private = true}, ret_outcome);
}

void http_world_post(struct http_world *w, const char *path, struct http_outcome *ret_outcome)
{
    const struct http_request request = {
        .method = "POST",
        .url = http_world_url(w, path),
        .body = "a=b",
        .body_len = 3,
        .allow_private = true,
    };
    http_world_call(w, &request, ret_outcome);
}

struct http_call *http_world_start(struct http_world *w, const char *path, struct http_outcome *o)
{
    struct http_call *call;
    const struct http_request request = {
        .method = "GET", .url = http_world_url(w, path), .allow_private = true};

    assert_int_equal(http_client_send(w->client, &request, http_outcome_keep, o, &call), 0);
    return call;
}
