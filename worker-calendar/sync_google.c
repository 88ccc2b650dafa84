#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "worker-calendar/sync_private.h"

#define URL_MAX    32768
#define HEADER_MAX (GOOGLE_TOKEN_MAX + 64)
#define FAULT_MAX  1024
#define ANSWER_MAX ((size_t)65536)

static enum step die(struct sync *s)
{
    s->dead = true;
    return sync_give_up(s);
}

/* Forgets what pages have brought so far; `full`: asks for everything. */
static void begin_anew(struct sync *s, bool full)
{
    s->full = full;
    s->pages = 0;
    google_page_release(&s->page);
    event_list_release(&s->events);
    event_list_init(&s->events);
}

enum step sync_google_open(struct sync *s)
{
    begin_anew(s, !(s->row.sync_token && sync_may_be_partial(s)));
    struct secret *token = google_tokens_get(s->shop->tokens, s->job.id, s->row.sealed);
    bool has_token = token != NULL;
    secret_free(token);
    return job_next(&s->job, has_token ? SYNC_FETCH : SYNC_TOKEN);
}

/* --- a refresh token for an access token ----------------------------------------------------- */

static enum step send_refresh(struct sync *s)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded", "Accept: application/json", NULL};
    _cleanup_(secret_freep) struct secret *secret = NULL;
    struct buf body = BUF_INIT(SECRET_PLAIN_MAX);
    int err =
        secret_open(service_secrets(s->shop->service), SYNC_SEAL_CONTEXT, s->row.sealed, &secret);
    if (err)
        return sync_fail(s, err, "the sealed credential cannot be opened", err_name(err));
    err = google_refresh_body(secret_text(secret), secret_len(secret), &body);
    if (err) {
        buf_release_secret(&body);
        return sync_fail(s, err, "the sealed credential",
            "it is a JSON object with client_id, client_secret and refresh_token");
    }
    struct http_request request = {
        .method = "POST",
        .url = sync_config(s)->google_token_url,
        .headers = headers,
        .body = body.data,
        .body_len = body.len,
        .connect_timeout_ms = sync_config(s)->connect_ms,
        .total_timeout_ms = sync_config(s)->fetch_ms,
        .max_response = ANSWER_MAX,
        .allow_private = sync_config(s)->allow_private,
        .private_setting = "CALENDAR_ALLOW_PRIVATE",
    };
    enum step step = job_http(&s->job, &request);
    buf_release_secret(&body);
    return step == STEP_FAIL ? sync_give_up(s) : step;
}

static enum step take_token(struct sync *s, const struct http_response *r)
{
    struct buf token = BUF_INIT(GOOGLE_TOKEN_MAX + 1);
    int64_t expires_ms = 0;
    if (r->err)
        return sync_fail_http(s, r, "the token endpoint");
    enum google_verdict verdict =
        google_token_read(r->status, r->body, r->body_len, &token, &expires_ms, &s->job.failure);
    if (verdict == GOOGLE_OK) {
        s->exchanges++;
        google_tokens_put(s->shop->tokens, s->job.id, s->row.sealed, buf_str(&token), expires_ms);
    } else {
        s->job.failure.retry_after_ms = http_response_retry_after_ms(r);
    }
    buf_release_secret(&token);
    if (verdict == GOOGLE_OK)
        return job_next(&s->job, SYNC_FETCH);
    return verdict == GOOGLE_DEAD ? die(s) : sync_give_up(s);
}

enum step sync_google_token(struct sync *s, const struct event *ev)
{
    if (ev->kind == EVENT_ENTER)
        return send_refresh(s);
    if (ev->kind == EVENT_HTTP)
        return take_token(s, ev->http);
    return sync_interrupted(s, ev, "the exchange of the refresh token");
}

/* --- pages ------------------------------------------------------------------------------------ */

static enum step send_page_request(struct sync *s)
{
    _cleanup_(secret_freep) struct secret *token =
        google_tokens_get(s->shop->tokens, s->job.id, s->row.sealed);
    if (!token)
        return s->exchanges == SYNC_EXCHANGES_MAX
                   ? sync_fail(s, ERR_PROTOCOL, "the access token", "it expires at once")
                   : job_next(&s->job, SYNC_TOKEN);
    struct buf url = BUF_INIT(URL_MAX), authorization = BUF_INIT(HEADER_MAX);
    struct ics_window window = sync_window(s);
    struct google_query query = {
        .base = sync_config(s)->google_api_url,
        .calendar = s->row.source ? s->row.source : "primary",
        .sync_token = s->full ? NULL : s->row.sync_token,
        .page_token = s->page.next_page,
        .window_start = window.start,
        .window_end = window.end,
    };
    google_events_url(&query, &url);
    buf_addf(&authorization, "Authorization: Bearer %s", secret_text(token));
    const char *headers[] = {buf_str(&authorization), "Accept: application/json", NULL};
    struct http_request request = {
        .method = "GET",
        .url = buf_str(&url),
        .headers = headers,
        .connect_timeout_ms = sync_config(s)->connect_ms,
        .total_timeout_ms = sync_config(s)->fetch_ms,
        .max_response = (size_t)sync_config(s)->max_body,
        .allow_private = sync_config(s)->allow_private,
        .private_setting = "CALENDAR_ALLOW_PRIVATE",
    };
    enum step step = buf_err(&url) || buf_err(&authorization)
                         ? job_fail(&s->job, ERR_TOO_LARGE, "the request is too long")
                         : job_http(&s->job, &request);
    buf_release(&url);
    buf_release_secret(&authorization);
    return step == STEP_FAIL ? sync_give_up(s) : step;
}

static enum step take_page(struct sync *s, const struct http_response *r)
{
    struct buf fault = BUF_INIT(FAULT_MAX);
    const struct civil_zone *zone = NULL;
    struct google_page page = {0};
    int err = civil_zones_get(s->shop->civil, s->row.time_zone, &zone);
    if (err)
        return sync_fail(s, ERR_INVALID, "no such time zone of the user", s->row.time_zone);
    err = google_page_read(r->body, r->body_len, s->shop->civil, zone, &s->events, &fault, &page);
    if (!err && page.next_page && ++s->pages >= SYNC_PAGES_MAX) {
        buf_add_str(&fault, "it has too many pages");
        err = ERR_TOO_LARGE;
    }
    google_page_release(&s->page);
    s->page = page;
    enum step step;
    if (err) {
        step = sync_fail(s, err, "the page of events", fault.len ? buf_str(&fault) : err_name(err));
        s->why.final = false; /* it may be mended by the next time */
    } else if (s->page.next_page) {
        step = job_next(&s->job, SYNC_FETCH);
    } else if (sync_keep(&s->sync_token, s->page.next_sync)) {
        step = sync_fail(s, ERR_NOMEM, "the sync token", err_name(ERR_NOMEM));
    } else {
        step = job_next(&s->job, SYNC_APPLY);
    }
    buf_release(&fault);
    return step;
}

static enum step take_answer(struct sync *s, const struct http_response *r)
{
    if (r->err)
        return sync_fail_http(s, r, "Google Calendar");
    enum google_verdict verdict =
        google_events_verdict(r->status, r->body, r->body_len, !s->full, &s->job.failure);
    if (verdict != GOOGLE_OK)
        s->job.failure.retry_after_ms = http_response_retry_after_ms(r);
    switch (verdict) {
    case GOOGLE_OK:
        return take_page(s, r);
    case GOOGLE_REFRESH:
        google_tokens_drop(s->shop->tokens, s->job.id);
        if (s->refused)
            return sync_give_up(s);
        s->refused = true;
        begin_anew(s, s->full);
        return job_next(&s->job, SYNC_TOKEN);
    case GOOGLE_FULL_SYNC:
        begin_anew(s, true);
        return job_next(&s->job, SYNC_FETCH);
    case GOOGLE_DEAD:
        return die(s);
    case GOOGLE_FAILED:
        return sync_give_up(s);
    }
    return sync_give_up(s);
}

enum step sync_google_fetch(struct sync *s, const struct event *ev)
{
    if (ev->kind == EVENT_ENTER)
        return send_page_request(s);
    if (ev->kind == EVENT_HTTP)
        return take_answer(s, ev->http);
    return sync_interrupted(s, ev, "fetching the events");
}
