#include "worker-calendar/sync.h"

#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_read.h"
#include "base/log.h"
#include "sql/worker-calendar.h"
#include "worker-calendar/incident_log.h"
#include "worker-calendar/sync_private.h"

/* Of a state beyond its operation's own deadline. */
#define DEADLINE_SPARE_MS 2000

/* --- what the states share ----------------------------------------------------------------- */

const struct calendar_config *sync_config(const struct sync *s)
{
    return service_config(s->shop->service);
}

struct ics_window sync_window(const struct sync *s)
{
    return (struct ics_window){
        .start = s->row.now_s - SYNC_PAST_S,
        .end = s->row.now_s + sync_config(s)->window_ms / 1000,
    };
}

bool sync_may_be_partial(const struct sync *s)
{
    return !s->row.full_due && s->row.has_window &&
           s->row.window_ends_s - s->row.now_s >= sync_config(s)->window_min_ms / 1000;
}

int sync_keep(char **slot, const char *text)
{
    free(*slot);
    *slot = text ? strdup(text) : NULL;
    return text && !*slot ? ERR_NOMEM : 0;
}

enum step sync_give_up(struct sync *s)
{
    s->why = s->job.failure;
    failure_clear(&s->job.failure);
    return job_next(&s->job, SYNC_SETTLE);
}

enum step sync_fail(struct sync *s, int code, const char *what, const char *why)
{
    (void)job_fail(&s->job, code, "%s: %s", what, why);
    return sync_give_up(s);
}

enum step sync_fail_http(struct sync *s, const struct http_response *r, const char *what)
{
    (void)job_fail_http(&s->job, r, what);
    return sync_give_up(s);
}

static enum step give_back(struct sync *s)
{
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, s->job.id);
    db_arg_int(&args, s->row.fence);
    /* Guarded by the fence; if it cannot be sent, the lock goes stale with the daemon. */
    if (db_conn_send(
            service_db(s->shop->service), &SQL_release_credential, &args, DB_RETRY, NULL, NULL))
        log_debug(F(F_INT("credential_id", s->job.id)), "the calendar could not be given back");
    db_args_release(&args);
    return job_fail(&s->job, ERR_CANCELLED, "the process stops");
}

enum step sync_interrupted(struct sync *s, const struct event *ev, const char *what)
{
    if (ev->kind == EVENT_CANCEL)
        return give_back(s);
    (void)job_fail(&s->job, ERR_TIMEOUT, "%s took too long", what);
    return sync_give_up(s);
}

/* --- the states ----------------------------------------------------------------------------- */

static enum step open_row(struct job *job, const struct event *ev)
{
    struct sync *s = (struct sync *)job;
    if (ev->kind != EVENT_ENTER)
        return sync_interrupted(s, ev, "reading the row");
    return s->row.is_google ? sync_google_open(s) : sync_ics_open(s);
}

static enum step get_token(struct job *job, const struct event *ev)
{
    return sync_google_token((struct sync *)job, ev);
}

static enum step fetch(struct job *job, const struct event *ev)
{
    struct sync *s = (struct sync *)job;
    if (ev->kind == EVENT_ENTER && clock_ms() - s->started_ms > sync_config(s)->sync_ms / 2) {
        (void)job_fail(job, ERR_TIMEOUT, "the calendar took too long");
        return sync_give_up(s);
    }
    return s->row.is_google ? sync_google_fetch(s, ev) : sync_ics_fetch(s, ev);
}

static enum step parse(struct job *job, const struct event *ev)
{
    return sync_ics_parse((struct sync *)job, ev);
}

static enum step send_apply(struct sync *s)
{
    const struct calendar_config *config = sync_config(s);
    struct ics_window window = sync_window(s);
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, s->job.id);
    db_arg_int(&args, s->row.fence);
    db_arg_str(&args, event_list_json(&s->events));
    db_arg_bool(&args, s->full);
    db_arg_int(&args, window.start);
    db_arg_int(&args, window.end);
    db_arg_str(&args, s->etag);
    db_arg_str(&args, s->last_modified);
    db_arg_str(&args, s->content_hash);
    db_arg_str(&args, s->sync_token);
    db_arg_int(&args, config->interval_ms);
    db_arg_int(&args, config->horizon_ms);
    enum step step = job_query(&s->job, &SQL_apply_events, &args, 0);
    return step == STEP_FAIL ? sync_give_up(s) : step;
}

static enum step lost(struct sync *s)
{
    return job_fail(&s->job, ERR_LOST, "another process has claimed the calendar since");
}

static enum step apply(struct job *job, const struct event *ev)
{
    struct sync *s = (struct sync *)job;
    if (ev->kind == EVENT_ENTER)
        return send_apply(s);
    if (ev->kind != EVENT_DB)
        return sync_interrupted(s, ev, "storing the events");
    if (ev->db->err) {
        (void)job_fail_db(job, &SQL_apply_events, ev->db);
        return sync_give_up(s);
    }
    if (!db_bool(ev->db, 0, "applied"))
        return lost(s);
    s->created = db_int(ev->db, 0, "created");
    s->skipped = db_int(ev->db, 0, "skipped");
    s->updated = db_int(ev->db, 0, "updated");
    s->cancelled = db_int(ev->db, 0, "cancelled");
    s->opened = db_int(ev->db, 0, "opened");
    incident_log(ev->db);
    return STEP_DONE;
}

static int64_t wait_ms(const struct sync *s)
{
    const struct calendar_config *config = sync_config(s);
    struct backoff b = {
        .first_ms = config->backoff_first_ms,
        .max_ms = config->backoff_max_ms,
        .failures = (unsigned)s->row.failures,
    };
    int64_t ms = s->why.final ? backoff_jitter_ms(config->backoff_max_ms) : backoff_next_ms(&b);
    return s->why.retry_after_ms > ms ? s->why.retry_after_ms : ms;
}

static enum step send_failure(struct sync *s)
{
    _cleanup_(json_decrefp) json_t *why = json_pack("{s:s, s:s, s:b, s:i, s:s}", "code",
        err_name(s->why.code), "detail", s->why.detail, "final", (int)s->why.final, "http_status",
        s->why.http_status, "sqlstate", s->why.sqlstate);
    _cleanup_(freep) char *text = why ? json_dumps(why, JSON_COMPACT) : NULL;
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, s->job.id);
    db_arg_int(&args, s->row.fence);
    db_arg_str(&args, text);
    db_arg_int(&args, wait_ms(s));
    db_arg_bool(&args, s->dead);
    return job_query(&s->job, &SQL_fail_sync, &args, DB_RETRY);
}

static enum step send_unchanged(struct sync *s)
{
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, s->job.id);
    db_arg_int(&args, s->row.fence);
    db_arg_int(&args, sync_config(s)->interval_ms);
    return job_query(&s->job, &SQL_finish_unchanged, &args, 0);
}

static enum step settle_unchanged(struct sync *s, const struct event *ev)
{
    if (ev->db->err)
        return job_fail_db(&s->job, &SQL_finish_unchanged, ev->db);
    if (db_rows(ev->db) == 0)
        return lost(s);
    s->skipped = db_int(ev->db, 0, "skipped");
    return STEP_DONE;
}

static enum step settle(struct job *job, const struct event *ev)
{
    struct sync *s = (struct sync *)job;
    bool failed = s->why.code != 0;
    if (ev->kind == EVENT_ENTER)
        return failed ? send_failure(s) : send_unchanged(s);
    if (ev->kind == EVENT_CANCEL)
        return give_back(s);
    if (failed) {
        /* What went wrong first is what its user has to know; that it could not be written
         * down shows in the lock, which goes stale. */
        job->failure = s->why;
        return STEP_FAIL;
    }
    return ev->kind == EVENT_DB ? settle_unchanged(s, ev)
                                : job_fail(job, ERR_TIMEOUT, "no answer from the database");
}

/* --- the end -------------------------------------------------------------------------------- */

static void release(struct sync *s)
{
    struct sync_row *r = &s->row;
    char *texts[] = {r->source, r->sealed, r->time_zone, r->etag, r->last_modified, r->content_hash,
        r->sync_token, s->etag, s->last_modified, s->content_hash, s->sync_token};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    for (size_t i = 0; i < SYNC_ADDRESSES_MAX; i++)
        free(r->addresses[i]);
    ics_read_free(s->read);
    buf_release(&s->body);
    event_list_release(&s->events);
    google_page_release(&s->page);
    free(s);
}

static void log_success(const struct sync *s)
{
    log_info(F(F_INT("user_id", s->row.user_id), F_INT("credential_id", s->job.id),
                 F_INT("updated", s->updated), F_INT("cancelled", s->cancelled),
                 F_INT("opened", s->opened), F_INT("elapsed_ms", clock_ms() - s->started_ms)),
        "Calendar sync completed for user %lld: %lld created, %lld skipped",
        (long long)s->row.user_id, (long long)s->created, (long long)s->skipped);
    if (s->stats.broken || s->stats.cut || s->stats.unknown_zones)
        log_warn(
            F(F_INT("user_id", s->row.user_id), F_INT("credential_id", s->job.id),
                F_INT("unreadable", (int64_t)s->stats.broken), F_INT("cut", (int64_t)s->stats.cut),
                F_INT("unknown_zones", (int64_t)s->stats.unknown_zones)),
            "Calendar of user %lld was read in part", (long long)s->row.user_id);
}

static void over(struct job *job)
{
    struct sync *s = (struct sync *)job;
    enum sync_outcome outcome = SYNC_SUCCEEDED;
    if (job->failure.code == ERR_CANCELLED) {
        outcome = SYNC_GIVEN_BACK;
    } else if (job->failure.code) {
        outcome = SYNC_FAILED;
        log_failure(LOG_LEVEL_WARN, &job->failure,
            F(F_INT("user_id", s->row.user_id), F_INT("credential_id", job->id),
                F_INT("failures", s->row.failures + 1), F_BOOL("dead", s->dead)),
            "Calendar sync failed for user %lld", (long long)s->row.user_id);
    } else {
        log_success(s);
    }
    service_metric_add(s->shop->service,
        outcome == SYNC_SUCCEEDED ? "syncs_succeeded"
        : outcome == SYNC_FAILED  ? "syncs_failed"
                                  : "syncs_given_back",
        1);
    s->over(s->arg, outcome);
    release(s);
}

/* --- the beginning -------------------------------------------------------------------------- */

static int copy_addresses(struct sync_row *r, const char *json)
{
    _cleanup_(json_decrefp) json_t *list = json ? json_loads(json, 0, NULL) : NULL;
    size_t n =
        json_array_size(list) < SYNC_ADDRESSES_MAX ? json_array_size(list) : SYNC_ADDRESSES_MAX;
    for (size_t i = 0; i < n; i++)
        if (sync_keep(&r->addresses[i], json_string_value(json_array_get(list, i))))
            return ERR_NOMEM;
    return 0;
}

static int copy_row(struct sync_row *r, const struct db_result *claimed, int row)
{
    const struct {
        char **slot;
        const char *column;
    } texts[] = {{&r->source, "source"}, {&r->sealed, "sealed"}, {&r->time_zone, "time_zone"},
        {&r->etag, "etag"}, {&r->last_modified, "last_modified"},
        {&r->content_hash, "content_hash"}, {&r->sync_token, "sync_token"}};
    r->fence = db_int(claimed, row, "fence");
    r->user_id = db_int(claimed, row, "user_id");
    r->failures = db_int(claimed, row, "failures");
    r->rescues = db_int(claimed, row, "rescues");
    r->now_s = db_int(claimed, row, "now_s");
    r->has_window = !db_is_null(claimed, row, "window_ends_s");
    r->window_ends_s = db_int(claimed, row, "window_ends_s");
    r->full_due = db_bool(claimed, row, "full_due");
    r->is_google = strcmp(db_text(claimed, row, "provider"), "google") == 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (sync_keep(texts[i].slot, db_text(claimed, row, texts[i].column)))
            return ERR_NOMEM;
    return copy_addresses(r, db_text(claimed, row, "addresses"));
}

int sync_start(struct sync_shop *shop, const struct db_result *claimed, int row,
    sync_over_fn *over_fn, void *arg)
{
    struct sync *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->shop = shop;
    s->over = over_fn;
    s->arg = arg;
    s->started_ms = clock_ms();
    event_list_init(&s->events);
    int err = copy_row(&s->row, claimed, row);
    buf_init(&s->body, (size_t)sync_config(s)->max_body);
    if (!err)
        err = job_start(
            service_jobs(shop->service), &s->job, &shop->type, db_int(claimed, row, "id"));
    if (err)
        release(s);
    else if (s->row.rescues > 0)
        log_warn(F(F_INT("user_id", s->row.user_id), F_INT("credential_id", s->job.id),
                     F_INT("rescues", s->row.rescues)),
            "Calendar of user %lld taken over from a process that died or hung",
            (long long)s->row.user_id);
    return err;
}

int sync_shop_new(struct service *service, struct sync_shop **ret_shop)
{
    const struct calendar_config *config = service_config(service);
    struct sync_shop *shop = calloc(1, sizeof *shop);
    if (!shop)
        return ERR_NOMEM;
    shop->service = service;
    shop->states[SYNC_OPEN] = (struct job_state){"open", open_row, 0};
    shop->states[SYNC_TOKEN] =
        (struct job_state){"token", get_token, config->fetch_ms + DEADLINE_SPARE_MS};
    shop->states[SYNC_FETCH] =
        (struct job_state){"fetch", fetch, config->fetch_ms + DEADLINE_SPARE_MS};
    shop->states[SYNC_PARSE] = (struct job_state){"parse", parse, config->parse_ms};
    shop->states[SYNC_APPLY] = (struct job_state){"apply", apply, config->db_ms};
    shop->states[SYNC_SETTLE] = (struct job_state){"settle", settle, config->db_ms};
    shop->type = (struct job_type){"calendar_sync", shop->states, SYNC_N_STATES, over};
    int err = civil_zones_new(NULL, &shop->civil);
    if (!err)
        err = google_tokens_new(service_secrets(service), &shop->tokens);
    if (err)
        sync_shop_free(shop);
    else
        *ret_shop = shop;
    return err;
}

void sync_shop_free(struct sync_shop *shop)
{
    if (!shop)
        return;
    google_tokens_free(shop->tokens);
    civil_zones_free(shop->civil);
    free(shop);
}

void sync_shop_refresh(struct sync_shop *shop)
{
    (void)civil_zones_refresh(shop->civil, NULL, NULL);
}
