#include "worker-cleanup/cleanup.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "sql/worker-cleanup.h"

#define BATCH_DEADLINE_MS 60000
#define SUMMARY_MAX       2048

/* The share of a run's time-out after which it leaves the rest to the next one. */
#define BUDGET_PERCENT 80

/* PostgreSQL's lock_not_available: somebody reads the history for longer than the function waits.
 */
#define SQLSTATE_LOCK_NOT_AVAILABLE "55P03"

struct target {
    const char *name; /* as the log and the result of the run say it */
    const struct db_stmt *stmt;
    size_t age; /* offset into struct cleanup_config */
};

/* What depends on a row goes before the row. */
static const struct target targets[] = {
    {"webhook_events", &SQL_forget_webhook_events,
        offsetof(struct cleanup_config, webhook_event_age_ms)},
    {"webhook_deliveries", &SQL_forget_webhook_deliveries,
        offsetof(struct cleanup_config, webhook_delivery_age_ms)},
    {"heard", &SQL_forget_heard, offsetof(struct cleanup_config, notification_age_ms)},
    {"transitions", &SQL_forget_transitions, offsetof(struct cleanup_config, notification_age_ms)},
    {"attempts", &SQL_forget_attempts, offsetof(struct cleanup_config, notification_age_ms)},
    {"notifications", &SQL_forget_notifications,
        offsetof(struct cleanup_config, notification_age_ms)},
    {"incidents", &SQL_forget_incidents, offsetof(struct cleanup_config, notification_age_ms)},
    {"events", &SQL_forget_events, offsetof(struct cleanup_config, event_age_ms)},
    {"slots", &SQL_forget_slots, offsetof(struct cleanup_config, slot_age_ms)},
    {"daemons", &SQL_forget_daemons, offsetof(struct cleanup_config, daemon_age_ms)},
    {"runs", &SQL_forget_runs, offsetof(struct cleanup_config, run_age_ms)},
};
#define N_TARGETS (sizeof targets / sizeof *targets)

enum { STATE_EXTEND, STATE_DROP, STATE_FORGET };

struct cleanup_job {
    struct job job;
    struct service *service;
    struct job_run *run; /* NULL: partitions alone */
    int64_t started_ms;
    size_t target;
    int64_t gone[N_TARGETS];
    int64_t partitions_made, partitions_dropped;
};

static const struct cleanup_config *config_of(const struct cleanup_job *c)
{
    return service_config(c->service);
}

static int64_t age_of(const struct cleanup_job *c, const struct target *t)
{
    int64_t age_ms;

    memcpy(&age_ms, (const char *)config_of(c) + t->age, sizeof age_ms);
    return age_ms;
}

static enum step query_int(struct job *job, const struct db_stmt *stmt, int64_t first)
{
    struct db_args args;

    db_args_init(&args);
    db_arg_int(&args, first);
    return job_query(job, stmt, &args, DB_RETRY);
}

/* Whether a step on partitions can be put off: it could not have the lock. */
static bool is_locked_out(const struct event *ev, const char *what)
{
    if (ev->db->err != ERR_DB || strcmp(ev->db->sqlstate, SQLSTATE_LOCK_NOT_AVAILABLE) != 0)
        return false;
    log_warn(F_NONE, "%s: the history is in use, left for the next time", what);
    return true;
}

/* --- the states ------------------------------------------------------------------------------ */

static enum step over_early(struct job *job, const struct event *ev)
{
    return ev->kind == EVENT_TIMEOUT ? job_fail(job, ERR_TIMEOUT, "no answer from the database")
                                     : job_fail(job, ERR_CANCELLED, "the process stops");
}

static enum step extend(struct job *job, const struct event *ev)
{
    struct cleanup_job *c = (struct cleanup_job *)job;

    if (ev->kind == EVENT_ENTER)
        return query_int(job, &SQL_extend_partitions, config_of(c)->partition_days);
    if (ev->kind != EVENT_DB)
        return over_early(job, ev);
    if (ev->db->err && !is_locked_out(ev, "partitions ahead"))
        return job_fail_db(job, &SQL_extend_partitions, ev->db);
    c->partitions_made = ev->db->err ? 0 : db_rows(ev->db);
    if (c->partitions_made > 0)
        log_info(F_NONE, "made %lld partitions of job_run_done, %s to %s",
            (long long)c->partitions_made, db_text(ev->db, 0, "name"),
            db_text(ev->db, (int)c->partitions_made - 1, "name"));
    return c->run ? job_next(job, STATE_DROP) : STEP_DONE;
}

static enum step drop(struct job *job, const struct event *ev)
{
    struct cleanup_job *c = (struct cleanup_job *)job;

    if (ev->kind == EVENT_ENTER)
        return query_int(job, &SQL_drop_partition, config_of(c)->run_age_ms);
    if (ev->kind != EVENT_DB)
        return over_early(job, ev);
    if (ev->db->err && !is_locked_out(ev, "old partitions"))
        return job_fail_db(job, &SQL_drop_partition, ev->db);
    if (ev->db->err || db_is_null(ev->db, 0, "name"))
        return job_next(job, STATE_FORGET);
    c->partitions_dropped++;
    log_info(F_NONE, "dropped %s", db_text(ev->db, 0, "name"));
    return job_next(job, STATE_DROP);
}

static bool out_of_time(const struct cleanup_job *c)
{
    return clock_ms() - c->started_ms > c->run->timeout_ms * BUDGET_PERCENT / 100;
}

/* One batch; then the same target again while batches come back full, else the next one. */
static enum step forget(struct job *job, const struct event *ev)
{
    struct cleanup_job *c = (struct cleanup_job *)job;
    const struct target *t = &targets[c->target];
    int64_t gone;

    if (ev->kind == EVENT_ENTER) {
        struct db_args args;

        if (service_draining(c->service))
            return job_fail(job, ERR_CANCELLED, "the process stops");
        db_args_init(&args);
        db_arg_int(&args, age_of(c, t));
        db_arg_int(&args, config_of(c)->batch);
        return job_query(job, t->stmt, &args, DB_RETRY);
    }
    if (ev->kind != EVENT_DB)
        return over_early(job, ev);
    if (ev->db->err)
        return job_fail_db(job, t->stmt, ev->db);
    gone = db_int(ev->db, 0, "gone");
    c->gone[c->target] += gone;
    if (gone < config_of(c)->batch)
        c->target++;
    if (c->target == N_TARGETS || out_of_time(c))
        return STEP_DONE;
    return job_next(job, STATE_FORGET);
}

/* --- the end --------------------------------------------------------------------------------- */

static int64_t rows_gone(const struct cleanup_job *c)
{
    int64_t sum = 0;

    for (size_t i = 0; i < N_TARGETS; i++)
        sum += c->gone[i];
    return sum;
}

static void log_summary(const struct cleanup_job *c)
{
    struct buf what = BUF_INIT(SUMMARY_MAX);

    for (size_t i = 0; i < N_TARGETS; i++)
        if (c->gone[i] > 0)
            buf_addf(
                &what, "%s%lld %s", what.len ? ", " : "", (long long)c->gone[i], targets[i].name);
    log_info(F(F_INT("job_run_id", c->run->id), F_INT("rows", rows_gone(c)),
                 F_INT("partitions_dropped", c->partitions_dropped)),
        "Cleanup completed: %s%s, %lld ms", what.len ? buf_str(&what) : "nothing was old enough",
        c->target < N_TARGETS ? ", the rest is left for the next run" : "",
        (long long)(clock_ms() - c->started_ms));
    buf_release(&what);
}

/* The result of the run: rows by target. NULL when memory is short: then the run has none. */
static char *result_text(const struct cleanup_job *c)
{
    _cleanup_(json_decrefp) json_t *result = json_object();

    for (size_t i = 0; i < N_TARGETS; i++)
        if (json_object_set_new(result, targets[i].name, json_integer(c->gone[i])) < 0)
            return NULL;
    if (json_object_set_new(result, "partitions", json_integer(c->partitions_dropped)) < 0 ||
        json_object_set_new(result, "complete", json_boolean(c->target == N_TARGETS)) < 0)
        return NULL;
    return json_dumps(result, JSON_COMPACT);
}

static void over(struct job *job)
{
    struct cleanup_job *c = (struct cleanup_job *)job;
    _cleanup_(freep) char *result = NULL;

    service_metric_add(c->service, "rows_forgotten", rows_gone(c));
    if (job->failure.code == ERR_CANCELLED) {
        job_run_release(c->run);
    } else if (job->failure.code) {
        job_run_finish(c->run, &job->failure, NULL);
    } else {
        log_summary(c);
        result = result_text(c);
        job_run_finish(c->run, NULL, result);
    }
    free(c);
}

static void partitions_over(struct job *job)
{
    if (job->failure.code && job->failure.code != ERR_CANCELLED)
        log_failure(LOG_LEVEL_ERROR, &job->failure, F_NONE, "partitions ahead could not be made");
    free(job);
}

static const struct job_state states[] = {
    [STATE_EXTEND] = {"extend", extend, BATCH_DEADLINE_MS},
    [STATE_DROP] = {"drop", drop, BATCH_DEADLINE_MS},
    [STATE_FORGET] = {"forget", forget, BATCH_DEADLINE_MS},
};

static const struct job_type cleanup_type = {"cleanup", states, 3, over};
static const struct job_type partitions_type = {"partitions", states, 1, partitions_over};

void cleanup_start_run(void *arg, struct job_run *run)
{
    struct service *s = arg;
    struct cleanup_job *c = calloc(1, sizeof *c);
    struct failure failure;

    if (c) {
        c->service = s;
        c->run = run;
        c->started_ms = clock_ms();
        if (job_start(service_jobs(s), &c->job, &cleanup_type, run->id) == 0)
            return;
    }
    free(c);
    failure_set(&failure, ERR_NOMEM, "memory is short");
    job_run_finish(run, &failure, NULL);
}

int cleanup_extend_partitions(struct service *s)
{
    struct cleanup_job *c = calloc(1, sizeof *c);
    int err = ERR_NOMEM;

    if (c) {
        c->service = s;
        err = job_start(service_jobs(s), &c->job, &partitions_type, 0);
    }
    if (err)
        free(c);
    return err;
}
