#include "work/job_run.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"
#include "sql/common.h"

#define BATCH_FIRST 8
/* A hint may have been held back because one was sent just before: look once more. */
#define LOOK_AGAIN_MS 110
/* How often running handlers are held against their time-outs. */
#define TIMEOUT_CHECK_MS 1000
#define APOLOGY_MS       1000 /* after a statement of ours failed */

/* Runs of one claim share the result that their strings stand in. */
struct batch {
    struct db_result rows;
    size_t in_hand;
};

struct run {
    struct job_run pub; /* first: job_run_finish() gets this address */
    struct batch *batch;
    struct run *prev, *next;
    int64_t started_ms; /* monotonic */
    bool timed_out;     /* finished for the database; the handler has not come back yet */
};

/* Successes that wait for their statement, and those that travel with it. */
struct finishes {
    int64_t ids[2 * JOB_RUN_BATCH_MAX], fences[2 * JOB_RUN_BATCH_MAX];
    size_t n;
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
    struct loop_defer *turn;
    struct loop_timer *look_again;
    struct loop_timer *timeouts;
    size_t batch;      /* the size of the next claim */
    size_t statements; /* unanswered, beside claim and finish */
    bool claiming, finishing;
    bool wanted; /* a claim is worth its while */
    bool apart;  /* the last finish and claim failed together: send them apart */
    bool stopped;
    struct job_run_counts counts;
};

static void turn(void *arg);

/* --- finishing ---------------------------------------------------------------------------- */

static void run_free(struct job_run_worker *w, struct run *run)
{
    if (run->prev)
        run->prev->next = run->next;
    else
        w->running = run->next;
    if (run->next)
        run->next->prev = run->prev;
    w->n_running--;
    if (--run->batch->in_hand == 0) {
        db_result_release(&run->batch->rows);
        free(run->batch);
    }
    free(run);
}

static void on_finish_run(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;

    w->statements--;
    if (r->err) {
        struct failure f;
        db_failure(r, &SQL_finish_run, &f);
        log_failure(
            LOG_LEVEL_ERROR, &f, F(F_STR("queue", w->queue)), "a run could not be finished");
    } else if (!db_rows(r)) {
        w->counts.lost++;
        log_warn(F(F_STR("queue", w->queue)), "the claim of a run was lost: its result is dropped");
    } else if (db_bool(r, 0, "again")) {
        loop_timer_start(w->look_again, db_int(r, 0, "retry_in_ms"));
    }
    loop_defer_start(w->turn);
}

static json_t *failure_json(const struct failure *f)
{
    return json_pack("{s:s, s:s, s:b, s:s*, s:i*}", "code", err_name(f->code), "detail", f->detail,
        "final", f->final, "sqlstate", f->sqlstate[0] ? f->sqlstate : NULL, "http_status",
        f->http_status);
}

/* One run by itself: a failure, or a success with a result. */
static void finish_apart(struct job_run_worker *w, const struct job_run *run,
    const struct failure *failure, const char *result)
{
    struct db_args args;
    char *text = NULL;

    if (failure) {
        json_t *json = failure_json(failure);
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
    }
    db_args_init(&args);
    db_arg_int(&args, run->id);
    db_arg_int(&args, run->fence);
    db_arg_int(&args, w->daemon_id);
    db_arg_str(&args, failure ? (text ? text : "{}") : NULL);
    db_arg_bool(&args, failure && failure->final);
    db_arg_int(&args, failure && failure->retry_after_ms > 0 ? failure->retry_after_ms : 0);
    db_arg_str(&args, result);
    if (db_conn_send(w->db, &SQL_finish_run, &args, DB_RETRY, on_finish_run, w) == 0)
        w->statements++;
    else
        log_error(F(F_INT("job_run_id", run->id)), "out of memory: the run waits for its rescue");
    db_args_release(&args);
    free(text);
}

void job_run_finish(struct job_run *pub, const struct failure *failure, const char *result)
{
    struct run *run = (struct run *)pub;
    struct job_run_worker *w = pub->worker;

    if (failure && !failure->code)
        failure = NULL;
    if (run->timed_out) {
        run_free(w, run);
        loop_defer_start(w->turn);
        return;
    }
    if (failure)
        w->counts.failed++;
    else
        w->counts.succeeded++;
    if (failure || result || w->waiting.n == 2 * JOB_RUN_BATCH_MAX) {
        finish_apart(w, pub, failure, result);
    } else {
        w->waiting.ids[w->waiting.n] = pub->id;
        w->waiting.fences[w->waiting.n++] = pub->fence;
    }
    run_free(w, run);
    loop_defer_start(w->turn);
}

static void on_released(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;

    w->statements--;
    if (r->err)
        log_warn(F(F_STR("queue", w->queue)), "runs could not be given back: %s", r->message);
    loop_defer_start(w->turn);
}

void job_run_release(struct job_run *pub)
{
    struct run *run = (struct run *)pub;
    struct job_run_worker *w = pub->worker;
    struct db_args args;

    if (!run->timed_out) {
        db_args_init(&args);
        db_arg_ints(&args, &pub->id, 1);
        db_arg_ints(&args, &pub->fence, 1);
        db_arg_int(&args, w->daemon_id);
        if (db_conn_send(w->db, &SQL_release_runs, &args, DB_RETRY, on_released, w) == 0)
            w->statements++;
        db_args_release(&args);
    }
    run_free(w, run);
    loop_defer_start(w->turn);
}

/* Back into the list of what waits, so that nothing of it is forgotten. */
static void take_back(struct job_run_worker *w)
{
    for (size_t i = 0; i < w->under_way.n && w->waiting.n < 2 * JOB_RUN_BATCH_MAX; i++) {
        w->waiting.ids[w->waiting.n] = w->under_way.ids[i];
        w->waiting.fences[w->waiting.n++] = w->under_way.fences[i];
    }
}

static void on_finish_runs(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;

    w->finishing = false;
    if (r->err == ERR_DB || r->err == ERR_DISCONNECTED) {
        struct failure f;
        db_failure(r, &SQL_finish_runs, &f);
        if (!w->apart)
            log_failure(LOG_LEVEL_WARN, &f, F(F_STR("queue", w->queue)),
                "%zu runs could not be finished, trying again", w->under_way.n);
        take_back(w);
        w->apart = true;
        loop_timer_start(w->look_again, APOLOGY_MS);
    } else if (!r->err) {
        int64_t lost = (int64_t)w->under_way.n - db_affected(r);
        w->apart = false;
        if (lost > 0) {
            w->counts.lost += lost;
            log_warn(F(F_STR("queue", w->queue)),
                "the claims of %lld runs were lost: their results are dropped", (long long)lost);
        }
        loop_defer_start(w->turn);
    }
    w->under_way.n = 0;
}

static bool send_finish(struct job_run_worker *w, unsigned flags)
{
    struct db_args args;

    w->under_way = w->waiting;
    db_args_init(&args);
    db_arg_ints(&args, w->under_way.ids, w->under_way.n);
    db_arg_ints(&args, w->under_way.fences, w->under_way.n);
    db_arg_int(&args, w->daemon_id);
    int err = db_conn_send(w->db, &SQL_finish_runs, &args, flags, on_finish_runs, w);
    db_args_release(&args);
    if (err)
        return false;
    w->waiting.n = 0;
    w->finishing = true;
    return true;
}

/* --- claiming ----------------------------------------------------------------------------- */

static void start_run(struct job_run_worker *w, struct run *run)
{
    const struct job_run_handler *h = w->options.handlers;
    struct failure f;

    while (h->name && strcmp(h->name, run->pub.handler) != 0)
        h++;
    if (h->name) {
        h->start(w->options.arg, &run->pub);
        return;
    }
    failure_set(
        &f, ERR_NOT_FOUND, "no worker of queue \"%s\" handles \"%s\"", w->queue, run->pub.handler);
    f.final = true;
    log_failure(LOG_LEVEL_ERROR, &f, F(F_INT("job_run_id", run->pub.id)), "run failed");
    job_run_finish(&run->pub, &f, NULL);
}

static struct run *make_run(struct job_run_worker *w, struct batch *batch, int row)
{
    const struct db_result *r = &batch->rows;
    struct run *run = calloc(1, sizeof(*run));

    if (!run)
        return NULL;
    run->pub = (struct job_run){
        .id = db_int(r, row, "id"),
        .fence = db_int(r, row, "fence"),
        .handler = db_text(r, row, "handler"),
        .payload = db_text(r, row, "payload"),
        .trigger = db_text(r, row, "trigger"),
        .schedule_key = db_text(r, row, "schedule_key"),
        .slot = db_text(r, row, "slot"),
        .attempt = (int)db_int(r, row, "attempt"),
        .max_attempts = (int)db_int(r, row, "max_attempts"),
        .timeout_ms = db_int(r, row, "timeout_ms"),
        .worker = w,
    };
    run->started_ms = clock_ms();
    run->batch = batch;
    run->next = w->running;
    if (w->running)
        w->running->prev = run;
    w->running = run;
    w->n_running++;
    batch->in_hand++;
    return run;
}

/* A handler may finish its run at once, and the last one takes the batch with it: the batch
 * counts one more while we walk through it. */
static void start_batch(struct job_run_worker *w, struct db_result *r)
{
    int n = db_rows(r);
    struct batch *batch = calloc(1, sizeof(*batch));

    if (!batch) {
        log_error(F(F_STR("queue", w->queue)), "out of memory: %d runs wait for their rescue", n);
        return;
    }
    batch->rows = db_result_take(r);
    batch->in_hand = 1;
    for (int row = 0; row < n; row++) {
        struct run *run = make_run(w, batch, row);
        if (!run)
            log_error(F(F_STR("queue", w->queue)), "out of memory: a run waits for its rescue");
        else if (w->stopped)
            job_run_release(&run->pub);
        else
            start_run(w, run);
    }
    if (--batch->in_hand == 0) {
        db_result_release(&batch->rows);
        free(batch);
    }
    if (w->n_running && !loop_timer_is_active(w->timeouts))
        loop_timer_start(w->timeouts, TIMEOUT_CHECK_MS);
}

static void on_claim(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;
    size_t n = (size_t)db_rows(r);

    w->claiming = false;
    if (r->err) {
        if (r->err == ERR_DB && strcmp(r->sqlstate, "25P02") != 0)
            log_error(F(F_STR("queue", w->queue), F_STR("sqlstate", r->sqlstate)),
                "claim failed: %s", r->message);
        w->wanted = true;
        loop_timer_start(w->look_again, APOLOGY_MS);
        return;
    }
    w->counts.claimed += (int64_t)n;
    w->wanted = n == w->batch;
    if (w->wanted && w->batch < JOB_RUN_BATCH_MAX)
        w->batch = w->batch * 4 < JOB_RUN_BATCH_MAX ? w->batch * 4 : JOB_RUN_BATCH_MAX;
    else if (n < w->batch / 4)
        w->batch = n > BATCH_FIRST ? n : BATCH_FIRST;
    if (n) {
        loop_timer_start(w->look_again, LOOK_AGAIN_MS);
        start_batch(w, r);
    }
    loop_defer_start(w->turn);
}

static bool send_claim(struct job_run_worker *w, size_t limit)
{
    struct db_args args;

    db_args_init(&args);
    db_arg_str(&args, w->queue);
    db_arg_int(&args, (int64_t)limit);
    db_arg_int(&args, w->daemon_id);
    int err = db_conn_send(w->db, &SQL_claim_runs, &args, 0, on_claim, w);
    db_args_release(&args);
    w->batch = limit;
    w->claiming = err == 0;
    return err == 0;
}

/* What is to be sent now: the finish of what is done and the next claim, as one transaction. */
static void turn(void *arg)
{
    struct job_run_worker *w = arg;
    size_t room = (size_t)w->options.max_running;
    bool up = db_conn_is_up(w->db);

    room = room > w->n_running ? room - w->n_running : 0;
    if (room > w->batch)
        room = w->batch;
    bool claim = up && w->wanted && !w->claiming && !w->stopped && room > 0;
    bool finish = up && w->waiting.n > 0 && !w->finishing;
    bool together = claim && finish && !w->apart;

    if (finish && !send_finish(w, together ? DB_WITH_NEXT : DB_RETRY))
        loop_timer_start(w->look_again, APOLOGY_MS);
    if (claim && !send_claim(w, room))
        loop_timer_start(w->look_again, APOLOGY_MS);
    if (!claim && !w->wanted && w->options.idle && job_run_worker_idle(w))
        w->options.idle(w->options.arg);
}

static void on_look_again(void *arg)
{
    job_run_worker_wake(arg);
}

/* A handler that passed its run's time-out: the run has failed, whatever it still does. */
static void on_timeouts(void *arg)
{
    struct job_run_worker *w = arg;
    int64_t now = clock_ms();

    for (struct run *run = w->running; run; run = run->next) {
        struct failure f;
        if (run->timed_out || now - run->started_ms < run->pub.timeout_ms)
            continue;
        failure_set(&f, ERR_TIMEOUT, "\"%s\" did not end within %lld ms", run->pub.handler,
            (long long)run->pub.timeout_ms);
        log_failure(LOG_LEVEL_WARN, &f, F(F_INT("job_run_id", run->pub.id)), "run failed");
        finish_apart(w, &run->pub, &f, NULL);
        run->timed_out = true;
        w->counts.failed++;
    }
    if (w->n_running)
        loop_timer_start(w->timeouts, TIMEOUT_CHECK_MS);
}

/* --- life --------------------------------------------------------------------------------- */

int job_run_worker_new(uv_loop_t *loop, struct db_conn *db, int64_t daemon_id,
    const struct job_run_worker_options *options, struct job_run_worker **ret_worker)
{
    struct job_run_worker *w = calloc(1, sizeof(*w));

    if (!w)
        return ERR_NOMEM;
    w->loop = loop;
    w->db = db;
    w->daemon_id = daemon_id;
    w->options = *options;
    w->queue = strdup(options->queue);
    w->batch = BATCH_FIRST;
    w->turn = loop_defer_new(loop, turn, w);
    w->look_again = loop_timer_new(loop, on_look_again, w);
    w->timeouts = loop_timer_new(loop, on_timeouts, w);
    if (!w->queue || !w->turn || !w->look_again || !w->timeouts) {
        job_run_worker_free(w);
        return ERR_NOMEM;
    }
    *ret_worker = w;
    return 0;
}

void job_run_worker_free(struct job_run_worker *w)
{
    if (!w)
        return;
    while (w->running)
        run_free(w, w->running);
    loop_defer_free(w->turn);
    loop_timer_free(w->look_again);
    loop_timer_free(w->timeouts);
    free(w->queue);
    free(w);
}

void job_run_worker_wake(struct job_run_worker *w)
{
    w->wanted = true;
    loop_defer_start(w->turn);
}

void job_run_worker_reconnected(struct job_run_worker *w)
{
    struct db_args args;
    size_t n = 0, total = w->n_running + w->waiting.n;
    int64_t *ids = malloc((total + 1) * sizeof(*ids));

    if (!ids)
        return; /* the rescue by time-out finds them later */
    for (const struct run *run = w->running; run; run = run->next)
        ids[n++] = run->pub.id;
    memcpy(ids + n, w->waiting.ids, w->waiting.n * sizeof(*ids));
    db_args_init(&args);
    db_arg_str(&args, w->queue);
    db_arg_int(&args, w->daemon_id);
    db_arg_ints(&args, ids, total);
    if (db_conn_send(w->db, &SQL_release_orphans, &args, DB_RETRY, on_released, w) == 0)
        w->statements++;
    db_args_release(&args);
    free(ids);
    job_run_worker_wake(w);
}

void job_run_worker_stop(struct job_run_worker *w)
{
    w->stopped = true;
    loop_defer_start(w->turn);
}

bool job_run_worker_idle(const struct job_run_worker *w)
{
    return !w->n_running && !w->waiting.n && !w->claiming && !w->finishing && !w->statements;
}

struct job_run_counts job_run_worker_counts(const struct job_run_worker *w)
{
    return w->counts;
}
