#include "worker-escalation/job_http.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "service/service.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/webhook_sign.h"

#define PAYLOAD_MAX ((size_t)65536)
/* Before the run's own time-out ends it, so that the outcome can still be written. */
#define MARGIN_MS 2000

enum http_state { HTTP_CALL, HTTP_LOG };

struct http_job {
    struct job job;
    struct service *service;
    struct job_run *run;
    json_t *payload;
    struct failure outcome; /* of the call */
    int status;
    int64_t elapsed_ms;
};

/* --- the body ------------------------------------------------------------------------------- */

static void add_escaped(struct buf *out, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_add_char(out, '\\');
        if ((unsigned char)*p < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)*p);
        else
            buf_add_char(out, *p);
    }
}

static bool is_name(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

static int add_value(const struct job_run *run, const char *name, size_t len, struct buf *out)
{
    if (is_name(name, len, "run_id"))
        buf_addf(out, "%" PRId64, run->id);
    else if (is_name(name, len, "attempt"))
        buf_addf(out, "%d", run->attempt);
    else if (is_name(name, len, "slot"))
        add_escaped(out, run->slot);
    else if (is_name(name, len, "schedule"))
        add_escaped(out, run->schedule_key);
    else if (is_name(name, len, "trigger"))
        add_escaped(out, run->trigger);
    else
        return ERR_INVALID;
    return 0;
}

int job_http_fill(const struct job_run *run, const char *text, struct buf *out)
{
    const char *open, *close;
    int err;

    while ((open = strstr(text, "{{")) != NULL && (close = strstr(open, "}}")) != NULL) {
        buf_add(out, text, (size_t)(open - text));
        err = add_value(run, open + 2, (size_t)(close - open) - 2, out);
        if (err)
            return err;
        text = close + 2;
    }
    buf_add_str(out, text);
    return buf_err(out);
}

static int add_body(struct http_job *h, struct channel_request *r)
{
    const json_t *body = json_read_get(h->payload, "body", NULL);
    _cleanup_(freep) char *dump = NULL;

    if (!body)
        return 0;
    if (json_is_string(body))
        return job_http_fill(h->run, json_string_value(body), &r->body);
    dump = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!dump)
        return ERR_NOMEM;
    channel_request_header(r, "Content-Type: application/json");
    return job_http_fill(h->run, dump, &r->body);
}

/* --- states --------------------------------------------------------------------------------- */

static const struct reach_config *config_of(const struct http_job *h)
{
    return service_config(h->service);
}

static int build(struct http_job *h, struct channel_request *r)
{
    const char *url = json_read_str(h->payload, "url");
    const char *method = json_read_str(h->payload, "method"), *name;
    const json_t *headers = json_read_get(h->payload, "headers", NULL);
    struct buf id = BUF_INIT(64);
    const json_t *value;
    int err = url ? add_body(h, r) : ERR_INVALID;

    if (err)
        return err;
    buf_add_str(&r->url, url);
    r->http.method = method ? method : (r->body.len > 0 ? "POST" : "GET");
    r->http.allow_private = config_of(h)->http_job_allow_private;
    r->http.private_setting = "HTTP_JOB_ALLOW_PRIVATE";
    r->http.total_timeout_ms =
        h->run->timeout_ms > 2 * MARGIN_MS ? h->run->timeout_ms - MARGIN_MS : h->run->timeout_ms;
    json_object_foreach((json_t *)headers, name, value)
    {
        if (!json_is_string(value))
            return ERR_INVALID;
        channel_request_header(r, "%s: %s", name, json_string_value(value));
    }
    buf_addf(&id, "run_%" PRId64, h->run->id);
    err = webhook_sign(r, config_of(h)->webhook_secret, buf_str(&id));
    buf_release(&id);
    return err;
}

static enum step send_call(struct http_job *h)
{
    struct channel_request r;
    enum step step;
    int err;

    channel_request_init(&r);
    err = build(h, &r);
    if (!err)
        err = channel_request_seal(&r);
    if (err)
        step = job_fail(&h->job, err, "the payload of an http job: %s",
            err == ERR_TOO_LARGE ? "too much of it" : "not as it has to be");
    else
        step = job_http(&h->job, &r.http);
    channel_request_release(&r);
    return step;
}

static bool is_expected(const struct http_job *h, long status)
{
    const json_t *expect = json_read_get(h->payload, "expect", NULL), *one;
    size_t i;

    if (!json_is_array(expect))
        return status >= 200 && status < 300;
    json_array_foreach(expect, i, one)
    {
        if (json_is_integer(one) && json_integer_value(one) == status)
            return true;
    }
    return false;
}

/* The status tells; more of a body than anybody would read makes no failure of it. */
static bool has_worked(const struct http_job *h, const struct http_response *r)
{
    return (r->err == 0 || (r->err == ERR_TOO_LARGE && r->status > 0)) && is_expected(h, r->status);
}

static enum step run_call(struct job *job, const struct event *ev)
{
    struct http_job *h = (struct http_job *)job;

    if (ev->kind == EVENT_ENTER)
        return send_call(h);
    if (ev->kind != EVENT_HTTP)
        return job_fail(job, ev->kind == EVENT_TIMEOUT ? ERR_TIMEOUT : ERR_CANCELLED,
            ev->kind == EVENT_TIMEOUT ? "no answer in time" : "the process stops");
    h->status = (int)ev->http->status;
    h->elapsed_ms = ev->http->elapsed_ms;
    if (!has_worked(h, ev->http)) {
        (void)job_fail_http(job, ev->http, "http job");
        h->outcome = job->failure;
    }
    return job_next(job, HTTP_LOG);
}

static void add_failure(struct db_args *args, const struct failure *f)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    _cleanup_(freep) char *text = NULL;

    if (f->code) {
        json = json_pack("{s:s, s:s}", "code", err_name(f->code), "detail", f->detail);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    }
    db_arg_str(args, text);
}

static enum step run_log(struct job *job, const struct event *ev)
{
    struct http_job *h = (struct http_job *)job;
    const char *url = json_read_str(h->payload, "url");
    _cleanup_(freep) char *shown = NULL;
    struct db_args args;

    if (ev->kind == EVENT_ENTER) {
        shown = strndup(url, strcspn(url, "?#"));
        db_args_init(&args);
        db_arg_int(&args, h->run->id);
        db_arg_str(&args, shown);
        db_arg_int(&args, h->run->attempt);
        db_arg_int(&args, h->status);
        db_arg_int(&args, h->elapsed_ms);
        add_failure(&args, &h->outcome);
        return job_query(job, &SQL_log_delivery, &args, 0);
    }
    if (!h->outcome.code)
        return STEP_DONE; /* the call was made: a gap in the log undoes nothing */
    job->failure = h->outcome;
    return STEP_FAIL;
}

static void over(struct job *job)
{
    struct http_job *h = (struct http_job *)job;
    struct buf result = BUF_INIT(128);

    buf_addf(&result, "{\"status\":%d,\"elapsed_ms\":%" PRId64 "}", h->status, h->elapsed_ms);
    job_run_finish(h->run, &job->failure, buf_err(&result) ? NULL : buf_str(&result));
    buf_release(&result);
    json_decref(h->payload);
    free(h);
}

static const struct job_state states[] = {
    [HTTP_CALL] = {"call", run_call, 0},
    [HTTP_LOG] = {"log", run_log, 5000},
};
static const struct job_type type = {"http", states, sizeof states / sizeof states[0], over};

void job_http_start(void *arg, struct job_run *run)
{
    struct http_job *h = calloc(1, sizeof *h);
    struct buf fault = BUF_INIT(256);
    struct failure f;
    int err = h ? json_read(run->payload, strlen(run->payload), PAYLOAD_MAX, &fault, &h->payload)
                : ERR_NOMEM;

    if (!err) {
        h->service = arg;
        h->run = run;
        err = job_start(service_jobs(arg), &h->job, &type, run->id);
    }
    if (err) {
        failure_set(&f, err, "the payload cannot be read: %s", buf_str(&fault));
        job_run_finish(run, &f, NULL);
        if (h)
            json_decref(h->payload);
        free(h);
    }
    buf_release(&fault);
}
