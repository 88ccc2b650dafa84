/*
 * What job_run.c (claiming, starting, life) and job_run_finish.c (ending runs) share.
 */
#ifndef TOCSIN_WORK_JOB_RUN_PRIVATE_H
#define TOCSIN_WORK_JOB_RUN_PRIVATE_H

#include "base/log.h"
#include "io/db_conn.h"
#include "io/loop.h"
#include "work/job_run.h"

struct run {
    struct job_run pub; /* first: job_run_finish() gets this address */
    struct batch *batch;
    struct run *prev, *next;
    int64_t started_ms; /* monotonic */
    bool timed_out;     /* finished for the database; the handler has not come back yet */
};

/* The runs of one claim and the result that their strings stand in, which go together. */
struct batch {
    struct db_result rows;
    size_t in_hand;
    struct run runs[];
};

/* Successes that wait for their statement, and those that travel with it. */
struct finishes {
    int64_t ids[2 * JOB_RUN_BATCH_MAX], fences[2 * JOB_RUN_BATCH_MAX];
    size_t n;
};

/* The finish of one run by itself, until it is answered. */
struct apart {
    struct apart *next;
    struct job_run_worker *worker;
    int64_t id;
    struct db_args args;
};

struct job_run_worker {
    uv_loop_t *loop;
    struct db_conn *db;
    struct job_run_worker_options options;
    char *queue;
    int64_t daemon_id;
    struct run *running;
    size_t n_running;
    struct finishes waiting, under_way;
    struct apart *again; /* finishes that failed of what may pass */
    size_t n_again;
    int64_t again_at_ms; /* when they are sent again, monotonic */
    struct log_rate claim_failures, finish_failures;
    struct loop_defer *turn;
    struct loop_timer *look_again;
    struct loop_timer *timeouts;
    size_t batch;              /* the size of the next claim */
    int64_t claim_sent_ms;     /* monotonic, of the claim under way or the last */
    int64_t look_at_all_at_ms; /* when a claim looks at everything again */
    int64_t took_all_ms;       /* when a claim took all that was due; -1: none has */
    int64_t oldest_us;  /* where the last claim, a full one, began to find: when its oldest run */
    int64_t oldest_id;  /* fell due, and its id; 0: it was not full */
    bool from_oldest;   /* the claim under way begins there */
    bool looks_at_all;  /* the claim under way */
    size_t statements;  /* unanswered, beside claim and finish */
    int64_t look_at_ms; /* when look_again fires, monotonic */
    int64_t look_ms;    /* the wait before it, while work was found lately */
    int64_t retries_until_ms; /* a run that failed here falls due again until then */
    bool claiming, finishing;
    bool wanted;    /* a claim is worth its while */
    bool apart;     /* the last finish and claim failed together: send them apart */
    bool uncertain; /* the connection broke under a finish: it may have been done */
    bool stopped;
    struct job_run_counts counts;
};

/* Looks for work in `ms`, or earlier where that is planned. */
void job_run_look_in(struct job_run_worker *w, int64_t ms);
/* Forgets a run that is over; the last of a claim takes the claim's result with it. */
void job_run_free(struct job_run_worker *w, struct run *run);
/* Sends the finish of one run by itself: a failure, or a success with a result. */
void job_run_finish_apart(struct job_run_worker *w, const struct job_run *run,
    const struct failure *failure, const char *result);
/* Sends what could not be finished again. */
void job_run_send_again(struct job_run_worker *w);
/* Forgets it. */
void job_run_drop_again(struct job_run_worker *w);
/* Sends the finish of what waits; false when memory is short. */
bool job_run_send_finish(struct job_run_worker *w, unsigned flags);
/* The answer to a statement that gives runs back. */
void job_run_on_released(void *arg, struct db_result *r);

/* After a statement of ours failed. */
#define APOLOGY_MS 1000
/* The same failure is told so often. */
#define FAILURE_LINE_MS 60000

#endif
