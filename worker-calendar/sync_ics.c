#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "worker-calendar/ics_file.h"
#include "worker-calendar/sync_private.h"

#define REDIRECTS_MAX 5
/* Of a turn of the loop. */
#define PARSE_BUDGET_US 5000
/* Bytes of an address, of a validator, of a reason. */
#define ADDRESS_MAX   8192
#define VALIDATOR_MAX 1024
#define FAULT_MAX     1024

/* What a provider serves may be mended by the next time. */
static enum step fail_content(struct sync *s, int code, const char *why)
{
    enum step step = sync_fail(s, code, "the calendar", why);
    s->why.final = false;
    return step;
}

/* The address as text, from the row or from its seal, which stays open as long as *ret_secret. */
static int open_address(const struct sync *s, struct secret **ret_secret, const char **ret_address)
{
    if (!s->row.sealed) {
        *ret_address = s->row.source;
        return 0;
    }
    int err = secret_open(
        service_secrets(s->shop->service), SYNC_SEAL_CONTEXT, s->row.sealed, ret_secret);
    if (!err)
        *ret_address = secret_text(*ret_secret);
    return err;
}

static bool is_scheme(const char *address, const char *scheme)
{
    return strncasecmp(address, scheme, strlen(scheme)) == 0;
}

static enum step read_file(struct sync *s, const char *address)
{
    struct buf fault = BUF_INIT(FAULT_MAX);
    int err = ics_file_read(sync_config(s)->file_dir, address, &s->body, &fault);
    enum step step = err ? sync_fail(s, err, "file", fault.len ? buf_str(&fault) : err_name(err))
                         : job_next(&s->job, SYNC_PARSE);
    buf_release(&fault);
    return step;
}

enum step sync_ics_open(struct sync *s)
{
    _cleanup_(secret_freep) struct secret *secret = NULL;
    const char *address;
    int err = open_address(s, &secret, &address);
    s->full = true;
    if (err)
        return sync_fail(s, err, "the sealed address cannot be opened", err_name(err));
    if (is_scheme(address, "file:"))
        return read_file(s, address);
    if (is_scheme(address, "https://") || is_scheme(address, "http://") ||
        is_scheme(address, "webcal://"))
        return job_next(&s->job, SYNC_FETCH);
    return sync_fail(
        s, ERR_INVALID, "address", "a calendar lies at https://, http://, webcal:// or file:///");
}

/* Adds "Name: value" where there is a value that makes a header. */
static void add_header(struct buf *b, const char **slot, const char *name, const char *value)
{
    if (!value || strlen(value) > VALIDATOR_MAX || strpbrk(value, "\r\n"))
        return;
    buf_addf(b, "%s: %s", name, value);
    *slot = buf_str(b);
}

static enum step send_request(struct sync *s)
{
    _cleanup_(secret_freep) struct secret *secret = NULL;
    struct buf url = BUF_INIT(ADDRESS_MAX), etag = BUF_INIT(ADDRESS_MAX),
               modified = BUF_INIT(ADDRESS_MAX);
    const char *headers[4] = {"Accept: text/calendar, */*;q=0.1"};
    const char *address;
    int err = open_address(s, &secret, &address);
    if (err)
        return sync_fail(s, err, "the sealed address cannot be opened", err_name(err));
    buf_addf(&url, "%s%s", is_scheme(address, "webcal://") ? "https" : "",
        is_scheme(address, "webcal://") ? address + strlen("webcal") : address);
    if (sync_may_be_partial(s)) {
        add_header(&etag, &headers[1], "If-None-Match", s->row.etag);
        add_header(
            &modified, &headers[headers[1] ? 2 : 1], "If-Modified-Since", s->row.last_modified);
    }
    struct http_request request = {
        .method = "GET",
        .url = buf_str(&url),
        .headers = headers,
        .connect_timeout_ms = sync_config(s)->connect_ms,
        .total_timeout_ms = sync_config(s)->fetch_ms,
        .max_response = (size_t)sync_config(s)->max_body,
        .max_redirects = REDIRECTS_MAX,
        .allow_private = sync_config(s)->allow_private,
        .private_setting = "CALENDAR_ALLOW_PRIVATE",
    };
    enum step step = buf_err(&url) ? job_fail(&s->job, ERR_INVALID, "the address is too long")
                                   : job_http(&s->job, &request);
    buf_release_secret(&url);
    buf_release(&etag);
    buf_release(&modified);
    return step == STEP_FAIL ? sync_give_up(s) : step;
}

static const char *validator(const struct http_response *r, const char *name)
{
    const char *value = http_response_header(r, name);
    return value && *value && strlen(value) <= VALIDATOR_MAX ? value : NULL;
}

static enum step take_answer(struct sync *s, const struct http_response *r)
{
    if (!r->err && r->status == 304 && sync_may_be_partial(s)) {
        s->unchanged = true;
        return job_next(&s->job, SYNC_SETTLE);
    }
    if (r->err || r->status != 200)
        return sync_fail_http(s, r, "the calendar");
    buf_reset(&s->body);
    buf_add(&s->body, r->body, r->body_len);
    int err = buf_err(&s->body);
    if (!err)
        err = sync_keep(&s->etag, validator(r, "ETag"));
    if (!err)
        err = sync_keep(&s->last_modified, validator(r, "Last-Modified"));
    return err ? sync_fail(s, err, "the calendar", err_name(err)) : job_next(&s->job, SYNC_PARSE);
}

enum step sync_ics_fetch(struct sync *s, const struct event *ev)
{
    if (ev->kind == EVENT_ENTER)
        return send_request(s);
    if (ev->kind == EVENT_HTTP)
        return take_answer(s, ev->http);
    return sync_interrupted(s, ev, "fetching the calendar");
}

/* The text's hash into s->content_hash. */
static int hash_body(struct sync *s)
{
    unsigned char hash[crypto_generichash_BYTES];
    char text[2 * sizeof hash + 1];
    (void)crypto_generichash(
        hash, sizeof hash, (const unsigned char *)buf_str(&s->body), s->body.len, NULL, 0);
    (void)sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    return sync_keep(&s->content_hash, text);
}

static enum step begin_parse(struct sync *s)
{
    struct ics_read_options options = {
        .window = sync_window(s),
        .civil = s->shop->civil,
        .user_zone = s->row.time_zone,
        .addresses = s->row.addresses[0] ? (const char *const *)s->row.addresses : NULL,
    };
    int err = hash_body(s);
    if (!err && sync_may_be_partial(s) && s->row.content_hash &&
        strcmp(s->row.content_hash, s->content_hash) == 0) {
        s->unchanged = true;
        return job_next(&s->job, SYNC_SETTLE);
    }
    if (!err)
        err = ics_read_new(buf_str(&s->body), s->body.len, &options, &s->events, &s->read);
    if (err == ERR_NOT_FOUND || err == ERR_INVALID)
        return sync_fail(s, ERR_INVALID, "no such time zone of the user", s->row.time_zone);
    return err ? sync_fail(s, err, "the calendar", err_name(err)) : job_pause(&s->job, 0);
}

static enum step parse_on(struct sync *s)
{
    struct buf fault = BUF_INIT(FAULT_MAX);
    int more = ics_read_step(s->read, PARSE_BUDGET_US, &fault);
    enum step step;
    if (more > 0) {
        step = job_pause(&s->job, 0);
    } else if (more < 0) {
        step = fail_content(s, more, fault.len ? buf_str(&fault) : err_name(more));
    } else {
        ics_read_stats(s->read, &s->stats);
        ics_read_free(s->read);
        s->read = NULL;
        buf_release(&s->body);
        step = job_next(&s->job, SYNC_APPLY);
    }
    buf_release(&fault);
    return step;
}

enum step sync_ics_parse(struct sync *s, const struct event *ev)
{
    if (ev->kind == EVENT_ENTER)
        return begin_parse(s);
    if (ev->kind == EVENT_PAUSE_OVER)
        return parse_on(s);
    return sync_interrupted(s, ev, "parsing the calendar");
}
