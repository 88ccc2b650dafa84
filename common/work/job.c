#include "work/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/loop.h"

struct job_driver {
    uv_loop_t *loop;
    struct db_conn *db;
    struct http_client *http;
    struct smtp_client *smtp; /* NULL until the first mail */
    struct job *jobs;         /* all that are not over */
    size_t n_jobs;
    struct job *ready_head, *ready_tail;
    struct loop_defer *turn;
};

enum job_flag {
    JOB_READY = 1,  /* in the ready list */
    JOB_ENDING = 2, /* after EVENT_TIMEOUT or EVENT_CANCEL a state may not wait */
};

/* The one operation of a job, its deadline, and the event that is to be delivered. */
struct job_op {
    struct job *job;
    struct loop_timer *deadline;
    struct loop_timer *pause;
    struct http_call *call;
    struct smtp_call *mail;
    bool query; /* an answer of the database is owed */
    struct event event;
    struct db_result db;
};

static void run_job(struct job *job, struct event ev);

/* --- events ------------------------------------------------------------------------------- */

static void mark_ready(struct job *job, enum event_kind kind)
{
    struct job_driver *d = job->driver;

    job->op->event = (struct event){.kind = kind};
    if (job->flags & JOB_READY)
        return;
    job->flags |= JOB_READY;
    job->ready_next = NULL;
    if (d->ready_tail)
        d->ready_tail->ready_next = job;
    else
        d->ready_head = job;
    d->ready_tail = job;
    loop_defer_start(d->turn);
}

static void run_ready(void *arg)
{
    struct job_driver *d = arg;
    struct job *job = d->ready_head;

    d->ready_head = d->ready_tail = NULL;
    while (job) {
        struct job *next = job->ready_next;
        job->flags &= ~(unsigned)JOB_READY;
        struct event ev = job->op->event;
        if (ev.kind == EVENT_DB)
            ev.db = &job->op->db;
        run_job(job, ev);
        job = next;
    }
}

static void on_db(void *arg, struct db_result *r)
{
    struct job_op *op = arg;

    op->query = false;
    op->db = db_result_take(r);
    mark_ready(op->job, EVENT_DB);
}

/* The response lives until this returns, so its state runs now: unlike other events it is
 * not put off. */
static void on_http(void *arg, const struct http_response *r)
{
    struct job_op *op = arg;

    op->call = NULL;
    if (!(op->job->flags & JOB_READY)) /* else the deadline came first */
        run_job(op->job, (struct event){.kind = EVENT_HTTP, .http = r});
}

/* As on_http(). */
static void on_mail(void *arg, const struct smtp_response *r)
{
    struct job_op *op = arg;

    op->mail = NULL;
    if (!(op->job->flags & JOB_READY))
        run_job(op->job, (struct event){.kind = EVENT_MAIL, .mail = r});
}

/* Ends the operation under way; nothing of it arrives any more. */
static void drop_operation(struct job *job)
{
    struct job_op *op = job->op;

    if (op->query)
        db_conn_forget(job->driver->db, op);
    op->query = false;
    if (op->call)
        http_call_cancel(op->call);
    op->call = NULL;
    if (op->mail)
        smtp_call_cancel(op->mail);
    op->mail = NULL;
    loop_timer_stop(op->pause);
    db_result_release(&op->db);
}

static void on_pause_over(void *arg)
{
    struct job_op *op = arg;
    mark_ready(op->job, EVENT_PAUSE_OVER);
}

static void on_deadline(void *arg)
{
    struct job_op *op = arg;

    if (op->job->flags & JOB_READY)
        return;
    drop_operation(op->job);
    mark_ready(op->job, EVENT_TIMEOUT);
}

/* --- the driver --------------------------------------------------------------------------- */

static void finish(struct job *job)
{
    struct job_driver *d = job->driver;

    drop_operation(job);
    loop_timer_free(job->op->deadline);
    loop_timer_free(job->op->pause);
    free(job->op);
    job->op = NULL;
    if (job->prev)
        job->prev->next = job->next;
    else
        d->jobs = job->next;
    if (job->next)
        job->next->prev = job->prev;
    d->n_jobs--;
    job->type->over(job);
}

static void enter(struct job *job, int state)
{
    const struct job_type *t = job->type;

    log_debug(F(F_STR("job", t->name), F_INT("id", job->id),
                  F_STR("from", job->state < 0 ? "-" : t->states[job->state].name),
                  F_STR("to", t->states[state].name)),
        "job state");
    job->state = state;
    job->flags &= ~(unsigned)JOB_ENDING;
    if (t->states[state].deadline_ms > 0)
        loop_timer_start(job->op->deadline, t->states[state].deadline_ms);
    else
        loop_timer_stop(job->op->deadline);
}

static bool is_waiting(const struct job *job)
{
    const struct job_op *op = job->op;
    return op->query || op->call || op->mail || (job->flags & JOB_READY) ||
           loop_timer_is_active(op->pause);
}

static void run_job(struct job *job, struct event ev)
{
    for (;;) {
        if (ev.kind == EVENT_TIMEOUT || ev.kind == EVENT_CANCEL)
            job->flags |= JOB_ENDING;
        enum step step = job->type->states[job->state].run(job, &ev);
        db_result_release(&job->op->db);
        if (step == STEP_WAIT && (job->flags & JOB_ENDING || !is_waiting(job)))
            step = job_fail(job, ERR_TIMEOUT, "state %s has nothing to wait for",
                job->type->states[job->state].name);
        switch (step) {
        case STEP_WAIT:
            return;
        case STEP_NEXT:
            drop_operation(job);
            enter(job, job->next_state);
            ev = (struct event){.kind = EVENT_ENTER};
            continue;
        case STEP_DONE:
            failure_clear(&job->failure);
            finish(job);
            return;
        case STEP_FAIL:
            if (!job->failure.code)
                failure_set(&job->failure, ERR_PROTOCOL, "state %s failed without a reason",
                    job->type->states[job->state].name);
            finish(job);
            return;
        }
    }
}

int job_driver_new(
    uv_loop_t *loop, struct db_conn *db, struct http_client *http, struct job_driver **ret_driver)
{
    struct job_driver *d = calloc(1, sizeof(*d));

    if (!d)
        return ERR_NOMEM;
    d->loop = loop;
    d->db = db;
    d->http = http;
    d->turn = loop_defer_new(loop, run_ready, d);
    if (!d->turn) {
        free(d);
        return ERR_NOMEM;
    }
    *ret_driver = d;
    return 0;
}

void job_driver_free(struct job_driver *d)
{
    if (!d)
        return;
    smtp_client_free(d->smtp);
    loop_defer_free(d->turn);
    free(d);
}

size_t job_driver_running(const struct job_driver *d)
{
    return d->n_jobs;
}

void job_driver_cancel(struct job_driver *d)
{
    for (struct job *job = d->jobs; job; job = job->next) {
        drop_operation(job);
        mark_ready(job, EVENT_CANCEL);
    }
}

int job_start(struct job_driver *d, struct job *job, const struct job_type *type, int64_t id)
{
    struct job_op *op = calloc(1, sizeof(*op));

    if (!op)
        return ERR_NOMEM;
    op->job = job;
    op->db.message = "";
    op->deadline = loop_timer_new(d->loop, on_deadline, op);
    op->pause = loop_timer_new(d->loop, on_pause_over, op);
    if (!op->deadline || !op->pause) {
        loop_timer_free(op->deadline);
        loop_timer_free(op->pause);
        free(op);
        return ERR_NOMEM;
    }
    job->type = type;
    job->driver = d;
    job->id = id;
    job->op = op;
    job->state = -1;
    job->flags = 0;
    failure_clear(&job->failure);
    job->prev = NULL;
    job->next = d->jobs;
    if (d->jobs)
        d->jobs->prev = job;
    d->jobs = job;
    d->n_jobs++;
    enter(job, 0);
    mark_ready(job, EVENT_ENTER);
    return 0;
}

/* --- for states --------------------------------------------------------------------------- */

enum step job_next(struct job *job, int state)
{
    job->next_state = state;
    return STEP_NEXT;
}

enum step job_query(
    struct job *job, const struct db_stmt *stmt, struct db_args *args, unsigned flags)
{
    int err = db_conn_send(job->driver->db, stmt, args, flags, on_db, job->op);

    if (args)
        db_args_release(args);
    if (err)
        return job_fail(job, err, "%s could not be sent: %s", stmt->name, err_name(err));
    job->op->query = true;
    return STEP_WAIT;
}

enum step job_http(struct job *job, const struct http_request *request)
{
    int err = http_client_send(job->driver->http, request, on_http, job->op, &job->op->call);

    if (err)
        return job_fail(job, err, "the request could not be made: %s", err_name(err));
    return STEP_WAIT;
}

enum step job_mail(struct job *job, const struct smtp_request *request)
{
    struct job_driver *d = job->driver;
    int err = d->smtp ? 0 : smtp_client_new(d->loop, &d->smtp);

    if (!err)
        err = smtp_client_send(d->smtp, request, on_mail, job->op, &job->op->mail);
    if (err)
        return job_fail(job, err, "the mail could not be made: %s", err_name(err));
    return STEP_WAIT;
}

enum step job_pause(struct job *job, int64_t ms)
{
    loop_timer_start(job->op->pause, ms);
    return STEP_WAIT;
}

enum step job_fail_db(struct job *job, const struct db_stmt *stmt, const struct db_result *r)
{
    db_failure(r, stmt, &job->failure);
    return STEP_FAIL;
}

enum step job_fail_http(struct job *job, const struct http_response *r, const char *what)
{
    if (r->err) {
        failure_set(&job->failure, r->err, "%s: %s", what, r->detail);
        job->failure.ambiguous = r->sent;
    } else {
        failure_set(&job->failure, ERR_PROTOCOL, "%s: answered %ld", what, r->status);
        job->failure.retry_after_ms = http_response_retry_after_ms(r);
        /* RFC 9110: 4xx is about the request, but for 408, 425 and 429. */
        job->failure.final = r->status >= 300 && r->status < 500 && r->status != 408 &&
                             r->status != 425 && r->status != 429;
    }
    job->failure.http_status = (int)r->status;
    return STEP_FAIL;
}

enum step job_fail(struct job *job, int code, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        text = NULL;
    va_end(args);
    failure_set(&job->failure, code, "%s", text ? text : err_name(code));
    free(text);
    return STEP_FAIL;
}
