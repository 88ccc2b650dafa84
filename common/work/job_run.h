/*
 * The worker side of the queue: claims runs of one queue in batches, hands each
 * to its handler, and finishes them in batches that travel with the next claim
 * as one transaction.
 */
#ifndef TOCSIN_WORK_JOB_RUN_H
#define TOCSIN_WORK_JOB_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "work/job.h"

struct job_run_worker;

/* One claimed run. Owned by the worker until job_run_finish(). */
struct job_run {
    int64_t id;
    int64_t fence;
    const char *handler;
    const char *payload;      /* JSON text */
    const char *trigger;      /* schedule, manual, api, recovery */
    const char *schedule_key; /* NULL where no schedule made it */
    const char *slot;         /* timestamptz as ISO text, UTC; NULL likewise */
    int attempt;              /* 1 at the first */
    int max_attempts;
    int64_t timeout_ms;
    struct job_run_worker *worker;
};

/* Starts the work of a run. It calls job_run_finish() once, at once or later. */
typedef void job_run_fn(void *arg, struct job_run *run);

struct job_run_handler {
    const char *name;
    job_run_fn *start;
};

struct job_run_worker_options {
    const char *queue;
    const struct job_run_handler *handlers; /* ended by a NULL name */
    int max_running;                        /* runs in hand at a time, 1..JOB_RUN_BATCH_MAX */
    void *arg;                              /* handed to the handlers */
    /* Called when the worker has nothing in hand and found nothing due; may be NULL. */
    void (*idle)(void *arg);
};

/* The most runs that one claim takes, and that one worker has in hand. */
#define JOB_RUN_BATCH_MAX 1000

struct job_run_counts {
    int64_t claimed, succeeded, failed, lost; /* since the start; lost: the claim was gone */
};

MUST_CHECK int job_run_worker_new(uv_loop_t *loop, struct db_conn *db, int64_t daemon_id,
    const struct job_run_worker_options *options, struct job_run_worker **ret_worker);
/* Nothing may be in hand (job_run_worker_idle()), or db_conn must be gone. */
void job_run_worker_free(struct job_run_worker *w);

/* There may be work: claims now, if there is room and no claim is under way. */
void job_run_worker_wake(struct job_run_worker *w);
/* A hint came: as above, and looks again for a while even if this finds nothing, since the hints of
 * what was enqueued just after it were held back. */
void job_run_worker_hinted(struct job_run_worker *w);
/* A new session: gives back what was claimed in the old one without our learning of it. */
void job_run_worker_reconnected(struct job_run_worker *w);
/* Claims no more and gives back what is claimed and not started; runs in hand go on. */
void job_run_worker_stop(struct job_run_worker *w);
/* Whether nothing is in hand and every statement has been answered. */
bool job_run_worker_idle(const struct job_run_worker *w);
struct job_run_counts job_run_worker_counts(const struct job_run_worker *w);

/* Ends a run: `failure` NULL or with code 0 is success, `result` is a JSON object as text
 * or NULL, both copied. A failure that may pass and has attempts left goes back to the queue
 * after the job's back-off. */
void job_run_finish(struct job_run *run, const struct failure *failure, const char *result);
/* Gives a run back unworked, its attempt not counted: for drain. */
void job_run_release(struct job_run *run);

#endif
