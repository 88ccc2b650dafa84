#include "worker-calendar/tick.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sql/worker-calendar.h"
#include "worker-calendar/config.h"
#include "worker-calendar/incident_log.h"

/* The share of a run's time-out after which a tick leaves the rest to the next one. */
#define BUDGET_PERCENT 50
#define RESULT_MAX     1024

struct tick_board {
    struct service *service;
    struct sync_shop *shop;
    struct tick *ticks;
    int in_flight;     /* syncs, of all ticks */
    bool claiming;     /* one claim at a time */
    int64_t max_fence; /* of the claims that were answered */
};

struct tick {
    struct tick_board *board;
    struct tick *next;
    struct job_run *run;
    char *started_at; /* by the database's clock */
    int64_t started_ms;
    int in_flight;  /* syncs of this tick */
    int answers;    /* of the database, owed */
    bool exhausted; /* nothing more is due, or may be claimed */
    bool left;      /* the process stops before all was done: another one takes the run */
    int succeeded, failed;
    struct failure failure;
};

static void go_on(struct tick *t);

static const struct calendar_config *config_of(const struct tick *t)
{
    return service_config(t->board->service);
}

/* --- the end -------------------------------------------------------------------------------- */

static void free_tick(struct tick *t)
{
    struct tick **at = &t->board->ticks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t->started_at);
    free(t);
}

static void complete(struct tick *t)
{
    struct buf result = BUF_INIT(RESULT_MAX);
    int64_t elapsed_ms = clock_ms() - t->started_ms;
    if (t->failure.code) {
        job_run_finish(t->run, &t->failure, NULL);
    } else if (t->left) {
        job_run_release(t->run);
    } else {
        log_info(F(F_INT("job_run_id", t->run->id)),
            "Tick completed: %d succeeded, %d failed, %lld ms", t->succeeded, t->failed,
            (long long)elapsed_ms);
        buf_addf(&result, "{\"succeeded\": %d, \"failed\": %d, \"elapsed_ms\": %lld}", t->succeeded,
            t->failed, (long long)elapsed_ms);
        job_run_finish(t->run, NULL, buf_str(&result));
    }
    buf_release(&result);
    service_metric_add(t->board->service, "ticks", 1);
    free_tick(t);
}

static void fail(struct tick *t, const struct failure *failure)
{
    if (!t->failure.code)
        t->failure = *failure;
    t->exhausted = true;
}

static void fail_with(struct tick *t, int err, const char *what)
{
    struct failure failure;
    failure_set(&failure, err, "%s: %s", what, err_name(err));
    fail(t, &failure);
}

/* --- syncs ---------------------------------------------------------------------------------- */

/* Room is shared: another tick may have waited for it. */
static void all_go_on(struct tick_board *b)
{
    for (struct tick *t = b->ticks, *next; t; t = next) {
        next = t->next;
        go_on(t);
    }
}

static void on_sync_over(void *arg, enum sync_outcome outcome)
{
    struct tick *t = arg;
    t->in_flight--;
    t->board->in_flight--;
    t->succeeded += outcome == SYNC_SUCCEEDED;
    t->failed += outcome == SYNC_FAILED;
    t->left = t->left || outcome == SYNC_GIVEN_BACK;
    all_go_on(t->board);
}

static void release_row(struct tick *t, const struct db_result *r, int row)
{
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, db_int(r, row, "id"));
    db_arg_int(&args, db_int(r, row, "fence"));
    if (db_conn_send(
            service_db(t->board->service), &SQL_release_credential, &args, DB_RETRY, NULL, NULL))
        log_warn(F(F_INT("credential_id", db_int(r, row, "id"))),
            "a claimed calendar could not be given back; its lock has to go stale");
    db_args_release(&args);
}

static void start_syncs(struct tick *t, const struct db_result *r)
{
    for (int row = 0; row < db_rows(r); row++) {
        if (db_int(r, row, "fence") > t->board->max_fence)
            t->board->max_fence = db_int(r, row, "fence");
        t->in_flight++;
        t->board->in_flight++;
        if (!service_draining(t->board->service) &&
            sync_start(t->board->shop, r, row, on_sync_over, t) == 0)
            continue;
        t->in_flight--;
        t->board->in_flight--;
        release_row(t, r, row);
    }
}

/* --- claiming ------------------------------------------------------------------------------- */

static int room(const struct tick *t)
{
    return (int)config_of(t)->in_flight - t->board->in_flight;
}

/* A claim whose answer was lost may have been made: what has a fence that nobody here has seen
 * is given back before anything else is claimed. */
static void release_unseen(struct tick_board *b)
{
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, service_daemon_id(b->service));
    db_arg_int(&args, b->max_fence);
    if (db_conn_send(service_db(b->service), &SQL_release_unseen, &args, DB_RETRY, NULL, NULL))
        log_warn(F_NONE,
            "calendars of a lost claim could not be given back; their locks have to go stale");
    db_args_release(&args);
}

static void on_claimed(void *arg, struct db_result *r)
{
    struct tick *t = arg;
    struct tick_board *b = t->board;
    t->answers--;
    b->claiming = false;
    if (r->err) {
        struct failure failure;
        db_failure(r, &SQL_claim_credentials, &failure);
        fail(t, &failure);
        if (r->err == ERR_DISCONNECTED)
            release_unseen(b);
    } else {
        t->exhausted = t->exhausted || db_rows(r) == 0;
        start_syncs(t, r);
    }
    all_go_on(b);
}

static bool out_of_time(const struct tick *t)
{
    return clock_ms() - t->started_ms > t->run->timeout_ms * BUDGET_PERCENT / 100;
}

static void claim(struct tick *t)
{
    struct db_args args;
    db_args_init(&args);
    db_arg_int(&args, service_daemon_id(t->board->service));
    db_arg_int(&args, room(t));
    db_arg_str(&args, t->started_at);
    db_arg_int(&args, config_of(t)->sync_ms);
    int err = db_conn_send(
        service_db(t->board->service), &SQL_claim_credentials, &args, 0, on_claimed, t);
    db_args_release(&args);
    if (err) {
        fail_with(t, err, "calendars could not be claimed");
        return;
    }
    t->board->claiming = true;
    t->answers++;
}

/* Claims where there is room; ends the tick when nothing of it is under way any more. */
static void go_on(struct tick *t)
{
    if (service_draining(t->board->service)) {
        t->left = t->left || !t->exhausted;
        t->exhausted = true;
    }
    t->exhausted = t->exhausted || out_of_time(t);
    if (!t->exhausted && !t->board->claiming && t->started_at && room(t) > 0)
        claim(t);
    if (t->exhausted && t->in_flight == 0 && t->answers == 0)
        complete(t);
}

/* --- the beginning -------------------------------------------------------------------------- */

static void on_counted(void *arg, struct db_result *r)
{
    struct tick *t = arg;
    t->answers--;
    if (r->err) {
        struct failure failure;
        db_failure(r, &SQL_count_users, &failure);
        fail(t, &failure);
    } else {
        log_info(F(F_INT("job_run_id", t->run->id)), "Found %lld users with calendar enabled",
            (long long)db_int(r, 0, "users"));
        t->started_at = strdup(db_text(r, 0, "started_at"));
        if (!t->started_at)
            fail_with(t, ERR_NOMEM, "the tick");
    }
    go_on(t);
}

static void on_planned(void *arg, struct db_result *r)
{
    struct tick *t = arg;
    t->answers--;
    if (r->err) {
        struct failure failure;
        db_failure(r, &SQL_plan_meetings, &failure);
        fail(t, &failure);
    } else {
        incident_log(r);
    }
    go_on(t);
}

static void on_quarantined(void *arg, struct db_result *r)
{
    struct tick *t = arg;
    t->answers--;
    if (r->err) {
        struct failure failure;
        db_failure(r, &SQL_quarantine_credentials, &failure);
        fail(t, &failure);
    }
    for (int row = 0; !r->err && row < db_rows(r); row++)
        log_error(F(F_INT("user_id", db_int(r, row, "user_id")),
                      F_INT("credential_id", db_int(r, row, "id"))),
            "Calendar of user %lld is left alone for an hour: three processes died or hung with it",
            (long long)db_int(r, row, "user_id"));
    go_on(t);
}

static void ask(
    struct tick *t, const struct db_stmt *stmt, const int64_t *parameter, db_done_fn *done)
{
    struct db_args args;
    db_args_init(&args);
    if (parameter)
        db_arg_int(&args, *parameter);
    int err = db_conn_send(service_db(t->board->service), stmt, &args, DB_RETRY, done, t);
    db_args_release(&args);
    if (err)
        fail_with(t, err, stmt->name);
    else
        t->answers++;
}

void tick_start(struct tick_board *b, struct job_run *run)
{
    struct tick *t = calloc(1, sizeof *t);
    if (!t) {
        struct failure failure;
        failure_set(&failure, ERR_NOMEM, "memory is short");
        job_run_finish(run, &failure, NULL);
        return;
    }
    t->board = b;
    t->run = run;
    t->started_ms = clock_ms();
    t->next = b->ticks;
    b->ticks = t;
    sync_shop_refresh(b->shop);
    ask(t, &SQL_quarantine_credentials, &config_of(t)->sync_ms, on_quarantined);
    ask(t, &SQL_count_users, NULL, on_counted);
    ask(t, &SQL_plan_meetings, &config_of(t)->horizon_ms, on_planned);
    go_on(t);
}

int tick_board_new(struct service *s, struct sync_shop *shop, struct tick_board **ret_board)
{
    struct tick_board *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    b->service = s;
    b->shop = shop;
    *ret_board = b;
    return 0;
}

void tick_board_free(struct tick_board *b)
{
    free(b);
}

bool tick_board_busy(const struct tick_board *b)
{
    return b->ticks != NULL;
}
