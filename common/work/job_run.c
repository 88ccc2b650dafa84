#include "work/job_run_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "sql/common.h"

#define BATCH_FIRST 8
/* After work was found, or a hint came, more may follow, of which no hint tells because one was
 * sent within 100 ms before: look again soon, then three times later each time, until 160 ms have
 * passed. */
#define LOOK_FIRST_MS 4
#define LOOK_LAST_MS  108
/* Claims look back to the last one that took all, and so much further, for transactions that took
 * their time to commit; while one full batch follows another, to where the last began. And every so
 * often at everything, the more seldom the longer that takes. */
#define LOOK_BACK_MS       250
#define LOOK_AT_ALL_MS     1000
#define LOOK_AT_ALL_MAX_MS 10000
#define LOOK_AT_ALL_SHARE  200
/* While a retry is near. */
#define RETRY_LOOK_MS 250
/* How often running handlers are held against their time-outs. */
#define TIMEOUT_CHECK_MS 1000

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
    job_run_finish(&run->pub, &f, NULL);
}

/* Positions of the claim's columns: looked up once a batch, not once a value. */
struct claim_columns {
    int id, fence, handler, payload, trigger, schedule_key, slot, attempt, max_attempts, timeout_ms;
};

static struct claim_columns find_columns(const struct db_result *r)
{
    return (struct claim_columns){
        .id = db_column(r, "id"),
        .fence = db_column(r, "fence"),
        .handler = db_column(r, "handler"),
        .payload = db_column(r, "payload"),
        .trigger = db_column(r, "trigger"),
        .schedule_key = db_column(r, "schedule_key"),
        .slot = db_column(r, "slot"),
        .attempt = db_column(r, "attempt"),
        .max_attempts = db_column(r, "max_attempts"),
        .timeout_ms = db_column(r, "timeout_ms"),
    };
}

static struct run *make_run(struct job_run_worker *w, struct batch *batch,
    const struct claim_columns *at, int row, int64_t now_ms)
{
    const struct db_result *r = &batch->rows;
    struct run *run = &batch->runs[row];

    *run = (struct run){
        .pub =
            {
                .id = db_int_at(r, row, at->id),
                .fence = db_int_at(r, row, at->fence),
                .handler = db_text_at(r, row, at->handler),
                .payload = db_text_at(r, row, at->payload),
                .trigger = db_text_at(r, row, at->trigger),
                .schedule_key = db_text_at(r, row, at->schedule_key),
                .slot = db_text_at(r, row, at->slot),
                .attempt = (int)db_int_at(r, row, at->attempt),
                .max_attempts = (int)db_int_at(r, row, at->max_attempts),
                .timeout_ms = db_int_at(r, row, at->timeout_ms),
                .worker = w,
            },
        .batch = batch,
        .next = w->running,
        .started_ms = now_ms,
    };
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
    struct batch *batch = malloc(sizeof(*batch) + (size_t)n * sizeof(*batch->runs));
    struct claim_columns at = find_columns(r);
    int64_t now_ms = clock_ms();

    if (!batch) {
        log_error(F(F_STR("queue", w->queue)), "out of memory: %d runs wait for their rescue", n);
        return;
    }
    batch->rows = db_result_take(r);
    batch->in_hand = 1;
    for (int row = 0; row < n; row++) {
        struct run *run = make_run(w, batch, &at, row, now_ms);
        if (w->stopped)
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

/* What this claim tells the next about how far it has to look back. */
static void note_claim(struct job_run_worker *w, const struct db_result *r, bool took_all)
{
    w->oldest_us = took_all ? 0 : db_int(r, 0, "oldest_us");
    w->oldest_id = took_all ? 0 : db_int(r, 0, "oldest_id");
    /* From the oldest of a batch on: what is older and less urgent is found by looking back as far
     * as before that. */
    if (took_all && !w->from_oldest)
        w->took_all_ms = w->claim_sent_ms;
    else if (w->looks_at_all)
        w->took_all_ms = -1;
    if (w->looks_at_all) {
        int64_t pause_ms = (clock_ms() - w->claim_sent_ms) * LOOK_AT_ALL_SHARE;
        if (pause_ms < LOOK_AT_ALL_MS)
            pause_ms = LOOK_AT_ALL_MS;
        if (pause_ms > LOOK_AT_ALL_MAX_MS)
            pause_ms = LOOK_AT_ALL_MAX_MS;
        w->look_at_all_at_ms = w->claim_sent_ms + pause_ms;
    } else if (took_all && w->look_at_all_at_ms > w->claim_sent_ms) {
        /* whatever this one could not see */
        job_run_look_in(w, w->look_at_all_at_ms - w->claim_sent_ms);
    }
}

/* Where the next claim begins: at everything when it is time for that, else at the oldest of a full
 * batch, else as far back as the last that took all. */
static void add_begin(struct job_run_worker *w, struct db_args *args, bool durable, int64_t now_ms)
{
    bool all = now_ms >= w->look_at_all_at_ms;

    w->from_oldest = !all && w->oldest_id > 0;
    w->looks_at_all = all || (!w->from_oldest && w->took_all_ms < 0);
    if (w->looks_at_all || w->from_oldest)
        db_arg_null(args);
    else
        db_arg_int(args, now_ms - w->took_all_ms + LOOK_BACK_MS);
    db_arg_bool(args, durable);
    if (w->from_oldest) {
        db_arg_int(args, w->oldest_us);
        db_arg_int(args, w->oldest_id);
    } else {
        db_arg_null(args);
        db_arg_null(args);
    }
}

static void on_claim(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;
    size_t n = (size_t)db_rows(r);

    w->claiming = false;
    if (r->err) {
        uint64_t held;
        if (r->err == ERR_DB && strcmp(r->sqlstate, "25P02") != 0 &&
            log_rate_allow(&w->claim_failures, FAILURE_LINE_MS, &held))
            log_error(F(F_STR("queue", w->queue), F_STR("sqlstate", r->sqlstate),
                          F_INT("held_back", (int64_t)held)),
                "claim failed: %s", r->message);
        w->wanted = true;
        w->took_all_ms = -1;
        w->oldest_id = 0;
        job_run_look_in(w, APOLOGY_MS);
        return;
    }
    w->counts.claimed += (int64_t)n;
    w->wanted = n == w->batch || w->from_oldest;
    note_claim(w, r, n < w->batch);
    if (n == w->batch && w->batch < JOB_RUN_BATCH_MAX)
        w->batch = w->batch * 4 < JOB_RUN_BATCH_MAX ? w->batch * 4 : JOB_RUN_BATCH_MAX;
    else if (n < w->batch / 4)
        w->batch = n > BATCH_FIRST ? n : BATCH_FIRST;
    if (n) {
        w->look_ms = LOOK_FIRST_MS;
        job_run_look_in(w, w->look_ms);
        start_batch(w, r);
    } else if (w->look_ms && w->look_ms < LOOK_LAST_MS) {
        w->look_ms *= 3;
        job_run_look_in(w, w->look_ms);
    } else if (clock_ms() < w->retries_until_ms) {
        job_run_look_in(w, RETRY_LOOK_MS);
    }
    loop_defer_start(w->turn);
}

/* `durable`: the statement before it in the same transaction has to be. */
static bool send_claim(struct job_run_worker *w, size_t limit, bool durable)
{
    struct db_args args;
    int64_t now_ms = clock_ms();

    db_args_init(&args);
    db_arg_str(&args, w->queue);
    db_arg_int(&args, (int64_t)limit);
    db_arg_int(&args, w->daemon_id);
    add_begin(w, &args, durable, now_ms);
    w->claim_sent_ms = now_ms;
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

    if (up && w->again && clock_ms() >= w->again_at_ms)
        job_run_send_again(w);
    else if (w->again)
        job_run_look_in(w, w->again_at_ms - clock_ms());
    if (finish && !job_run_send_finish(w, together ? DB_WITH_NEXT : DB_RETRY))
        job_run_look_in(w, APOLOGY_MS);
    if (claim && !send_claim(w, room, together))
        job_run_look_in(w, APOLOGY_MS);
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
        job_run_finish_apart(w, &run->pub, &f, NULL);
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
    w->took_all_ms = -1;
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
        job_run_free(w, w->running);
    job_run_drop_again(w);
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

void job_run_worker_hinted(struct job_run_worker *w)
{
    w->look_ms = LOOK_FIRST_MS;
    job_run_look_in(w, w->look_ms);
    job_run_worker_wake(w);
}

static void on_settled(void *arg, struct db_result *r)
{
    struct job_run_worker *w = arg;

    if (!r->err && db_int(r, 0, "taken_again"))
        log_warn(F(F_STR("queue", w->queue), F_INT("runs", db_int(r, 0, "taken_again"))),
            "the server had forgotten claims when it crashed: they are taken again");
    job_run_on_released(w, r);
}

void job_run_worker_reconnected(struct job_run_worker *w)
{
    struct db_args args;
    size_t n = 0, total = w->n_running + w->waiting.n + w->n_again;
    int64_t *ids = malloc(2 * (total + 1) * sizeof(*ids)), *fences = ids + total;

    if (!ids)
        return; /* the rescue by time-out finds them later */
    for (const struct run *run = w->running; run; run = run->next, n++) {
        ids[n] = run->pub.id;
        fences[n] = run->timed_out ? 0 : run->pub.fence;
    }
    for (const struct apart *a = w->again; a; a = a->next, n++) {
        ids[n] = a->id;
        fences[n] = 0;
    }
    memcpy(ids + n, w->waiting.ids, w->waiting.n * sizeof(*ids));
    memcpy(fences + n, w->waiting.fences, w->waiting.n * sizeof(*ids));
    job_run_send_again(w);
    db_args_init(&args);
    db_arg_str(&args, w->queue);
    db_arg_int(&args, w->daemon_id);
    db_arg_ints(&args, ids, total);
    db_arg_ints(&args, fences, total);
    if (db_conn_send(w->db, &SQL_settle_claims, &args, DB_RETRY, on_settled, w) == 0)
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
    return !w->n_running && !w->waiting.n && !w->claiming && !w->finishing && !w->statements &&
           !w->n_again;
}

struct job_run_counts job_run_worker_counts(const struct job_run_worker *w)
{
    return w->counts;
}
