/*
 * The driver of asynchronous work. A job is an explicit state machine, one
 * function a state. Only the driver assigns the state, and it traces each change.
 *
 * A state's function is called with EVENT_ENTER when the state is entered. It
 * starts at most one operation (job_query, job_http, job_mail, job_pause) and returns
 * STEP_WAIT; it is called again with the operation's event. It moves on with
 * `return job_next(job, STATE)`, ends with STEP_DONE, or with STEP_FAIL after
 * setting job->failure. When the state's deadline passes first, the operation is
 * dropped and the function is called with EVENT_TIMEOUT; when the process drains
 * and cannot wait, with EVENT_CANCEL. Neither may wait again.
 */
#ifndef TOCSIN_WORK_JOB_H
#define TOCSIN_WORK_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "io/db_conn.h"
#include "io/http_client.h"
#include "io/smtp_client.h"

enum step { STEP_NEXT, STEP_WAIT, STEP_DONE, STEP_FAIL };

enum event_kind {
    EVENT_ENTER,
    EVENT_DB,
    EVENT_HTTP,
    EVENT_MAIL,
    EVENT_PAUSE_OVER,
    EVENT_TIMEOUT,
    EVENT_CANCEL
};

struct event {
    enum event_kind kind;
    const struct db_result *db;       /* EVENT_DB alone */
    const struct http_response *http; /* EVENT_HTTP alone */
    const struct smtp_response *mail; /* EVENT_MAIL alone */
};

struct job;
struct job_driver;

struct job_state {
    const char *name;
    enum step (*run)(struct job *job, const struct event *ev);
    int64_t deadline_ms; /* from entering it; 0: the operation has its own */
};

struct job_type {
    const char *name;
    const struct job_state *states; /* the first is the start */
    int n_states;
    /* Called once when the job is over, after which its memory is the owner's
     * again: it frees it. job->failure.code is 0 when it ended with STEP_DONE. */
    void (*over)(struct job *job);
};

/* Embedded first in the structure of a kind of job; use the fields marked so. */
struct job {
    const struct job_type *type;
    struct job_driver *driver;
    struct failure failure; /* set by a state before STEP_FAIL */
    int64_t id;             /* for the trace: the row's id */
    /* The driver's own from here. */
    int state;
    int next_state;
    unsigned flags;
    struct job_op *op;
    struct job *prev, *next;
    struct job *ready_next;
};

/* A driver on a loop, with the connection and the client that jobs use. */
MUST_CHECK int job_driver_new(
    uv_loop_t *loop, struct db_conn *db, struct http_client *http, struct job_driver **ret_driver);
/* All jobs must be over; NULL does nothing. */
void job_driver_free(struct job_driver *d);
/* Jobs that are not over. */
size_t job_driver_running(const struct job_driver *d);
/* Delivers EVENT_CANCEL to every job that is not over. */
void job_driver_cancel(struct job_driver *d);

/* Starts a job (zeroed by the caller but for its own fields) in its first state,
 * from the loop, not from here. ERR_NOMEM: it was not started, `over` is not called. */
MUST_CHECK int job_start(
    struct job_driver *d, struct job *job, const struct job_type *type, int64_t id);

/* For states alone. */
enum step job_next(struct job *job, int state);
/* Each starts the one operation of the state and returns STEP_WAIT, or STEP_FAIL
 * with the failure set when it cannot be started. */
enum step job_query(struct job *job, const struct db_stmt *stmt, struct db_args *args,
    unsigned flags); /* releases args */
enum step job_http(struct job *job, const struct http_request *request);
enum step job_mail(struct job *job, const struct smtp_request *request);
enum step job_pause(struct job *job, int64_t ms);
/* Sets the failure from a statement's or a call's result and returns STEP_FAIL. */
enum step job_fail_db(struct job *job, const struct db_stmt *stmt, const struct db_result *r);
enum step job_fail_http(struct job *job, const struct http_response *r, const char *what);
/* Sets the failure and returns STEP_FAIL. */
enum step job_fail(struct job *job, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
