#include "work/job_run_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failure_json.h"
#include "base/log.h"
#include "sql/common.h"

/* Retries due within the first are looked for every so often; the heartbeat tells of the others. */
#define RETRY_WATCH_MS 10000

void job_run_look_in(struct job_run_worker *w, int64_t ms)
{
    int64_t at = clock_ms() + ms;

    if (loop_timer_is_active(w->look_again) && w->look_at_ms <= at)
        return;
    w->look_at_ms = at;
    loop_timer_start(w->look_again, ms);
}

/* The heartbeat tells of what falls due later than this. */
static void expect_retry(struct job_run_worker *w, int64_t in_ms)
{
    if (in_ms > RETRY_WATCH_MS)
        return;
    if (clock_ms() + in_ms > w->retries_until_ms)
        w->retries_until_ms = clock_ms() + in_ms;
    job_run_look_in(w, in_ms);
}

/* --- finishing ---------------------------------------------------------------------------- */

void job_run_free(struct job_run_worker *w, struct run *run)
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
}

static void apart_free(struct apart *a)
{
    db_args_release(&a->args);
    free(a);
}

/* Without its end a run would be worked again: what may pass is tried until it is through. */
static bool finish_again(struct apart *a, const struct db_result *r)
{
    struct job_run_worker *w = a->worker;
    struct failure f;
    uint64_t held;

    db_failure(r, &SQL_finish_run, &f);
    bool again = r->err == ERR_DB && !f.final && w->n_again < JOB_RUN_BATCH_MAX;
    if (!again)
        log_failure(
            LOG_LEVEL_ERROR, &f, F(F_STR("queue", w->queue)), "a run could not be finished");
    else if (log_rate_allow(&w->finish_failures, FAILURE_LINE_MS, &held))
        log_failure(LOG_LEVEL_WARN, &f,
            F(F_STR("queue", w->queue), F_INT("held_back", (int64_t)held)),
            "a run could not be finished, trying again");
    if (!again)
        return false;
    a->next = w->again;
    w->again = a;
    w->n_again++;
    w->again_at_ms = clock_ms() + APOLOGY_MS;
    job_run_look_in(w, APOLOGY_MS);
    return true;
}

static void on_finish_run(void *arg, struct db_result *r)
{
    struct apart *a = arg;
    struct job_run_worker *w = a->worker;

    w->statements--;
    if (r->err) {
        if (finish_again(a, r))
            return;
    } else if (!db_rows(r)) {
        w->counts.lost++;
        log_warn(F(F_STR("queue", w->queue)), "the claim of a run was lost: its result is dropped");
    } else if (db_bool(r, 0, "again")) {
        expect_retry(w, db_int(r, 0, "retry_in_ms"));
    }
    apart_free(a);
    loop_defer_start(w->turn);
}

static void send_apart(struct apart *a)
{
    if (db_conn_send(a->worker->db, &SQL_finish_run, &a->args, DB_RETRY, on_finish_run, a) == 0) {
        a->worker->statements++;
        return;
    }
    log_error(F(F_STR("queue", a->worker->queue)), "out of memory: a run waits for its rescue");
    apart_free(a);
}

void job_run_send_again(struct job_run_worker *w)
{
    struct apart *a = w->again;

    w->again = NULL;
    w->n_again = 0;
    while (a) {
        struct apart *next = a->next;
        send_apart(a);
        a = next;
    }
}

void job_run_drop_again(struct job_run_worker *w)
{
    while (w->again) {
        struct apart *a = w->again;
        w->again = a->next;
        apart_free(a);
    }
    w->n_again = 0;
}

void job_run_finish_apart(struct job_run_worker *w, const struct job_run *run,
    const struct failure *failure, const char *result)
{
    struct apart *a = calloc(1, sizeof(*a));
    char *text = failure ? failure_json(failure) : NULL;

    if (a) {
        a->worker = w;
        a->id = run->id;
        db_args_init(&a->args);
        db_arg_int(&a->args, run->id);
        db_arg_int(&a->args, run->fence);
        db_arg_int(&a->args, w->daemon_id);
        db_arg_str(&a->args, failure ? (text ? text : "{}") : NULL);
        db_arg_bool(&a->args, failure && failure->final);
        db_arg_int(&a->args, failure && failure->retry_after_ms > 0 ? failure->retry_after_ms : 0);
        db_arg_str(&a->args, result);
        send_apart(a);
    } else {
        log_error(F(F_INT("job_run_id", run->id)), "out of memory: the run waits for its rescue");
    }
    free(text);
}

void job_run_finish(struct job_run *run, const struct failure *failure, const char *result)
{
    struct run *mine = (struct run *)run;
    struct job_run_worker *w = run->worker;

    if (failure && !failure->code)
        failure = NULL;
    if (mine->timed_out) {
        job_run_free(w, mine);
        loop_defer_start(w->turn);
        return;
    }
    if (failure) {
        w->counts.failed++;
        log_failure(failure->final ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, failure,
            F(F_INT("job_run_id", run->id), F_STR("schedule", run->schedule_key),
                F_INT("attempt", run->attempt)),
            "run of %s failed", run->handler);
    } else {
        w->counts.succeeded++;
    }
    if (failure || result || w->waiting.n == 2 * JOB_RUN_BATCH_MAX) {
        job_run_finish_apart(w, run, failure, result);
    } else {
        w->waiting.ids[w->waiting.n] = run->id;
        w->waiting.fences[w->waiting.n++] = run->fence;
    }
    job_run_free(w, mine);
    loop_defer_start(w->turn);
}

void job_run_on_released(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;

    w->statements--;
    if (r->err)
        log_warn(F(F_STR("queue", w->queue)), "runs could not be given back: %s", r->message);
    loop_defer_start(w->turn);
}

void job_run_release(struct job_run *run)
{
    struct run *mine = (struct run *)run;
    struct job_run_worker *w = run->worker;
    struct db_args args;

    if (!mine->timed_out) {
        db_args_init(&args);
        db_arg_ints(&args, &run->id, 1);
        db_arg_ints(&args, &run->fence, 1);
        db_arg_int(&args, w->daemon_id);
        if (db_conn_send(w->db, &SQL_release_runs, &args, DB_RETRY, job_run_on_released, w) == 0)
            w->statements++;
        db_args_release(&args);
    }
    job_run_free(w, mine);
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
        w->uncertain |= r->err == ERR_DISCONNECTED;
        w->apart = true;
        job_run_look_in(w, APOLOGY_MS);
    } else if (!r->err) {
        int64_t lost = (int64_t)w->under_way.n - db_affected(r);
        w->apart = false;
        if (lost > 0 && w->uncertain) {
            log_info(F(F_STR("queue", w->queue)),
                "%lld runs had been finished before the connection broke, or were lost to a rescue",
                (long long)lost);
        } else if (lost > 0) {
            w->counts.lost += lost;
            log_warn(F(F_STR("queue", w->queue)),
                "the claims of %lld runs were lost: their results are dropped", (long long)lost);
        }
        w->uncertain = false;
        loop_defer_start(w->turn);
    }
    w->under_way.n = 0;
}

bool job_run_send_finish(struct job_run_worker *w, unsigned flags)
{
    struct db_args args;

    w->under_way.n = w->waiting.n;
    memcpy(w->under_way.ids, w->waiting.ids, w->waiting.n * sizeof(*w->waiting.ids));
    memcpy(w->under_way.fences, w->waiting.fences, w->waiting.n * sizeof(*w->waiting.fences));
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
