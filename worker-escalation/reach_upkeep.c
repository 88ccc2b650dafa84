/*
 * What goes on beside the deliveries: circuits, rows whose process died, claims nobody learned of.
 */
#include "worker-escalation/reach_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "sql/common.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/poll.h"

/* Circuits are told at most so often while calls are made. */
#define TELL_EVERY_MS 2000
#define RESCUE_BATCH  100
/* Rescues by deadline are so far apart; a deadline has passed for sure so much later. */
#define RESCUE_EVERY_MS 1000
#define RESCUE_LATER_MS 20
/* Questions to providers under way at a time. */
#define POLLS_MAX ((size_t)16)

/* --- circuits ----------------------------------------------------------------------------- */

static void on_told(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    r->telling = false;
    if (res->err == ERR_DB) {
        db_failure(res, &SQL_tell_circuits, &f);
        log_failure(LOG_LEVEL_WARN, &f, F_NONE, "circuits could not be told");
    } else if (!res->err && circuit_table_correct(r->circuits, res, clock_ms()) > 0) {
        r->claim_wanted = true;
    }
    loop_defer_start(r->turn);
}

void reach_tell_circuits(struct reach *r)
{
    struct db_args args;
    int64_t now_ms = clock_ms();

    if (r->telling || !circuit_table_has_news(r->circuits))
        return;
    if (now_ms - r->told_at_ms < TELL_EVERY_MS && !circuit_table_is_urgent(r->circuits)) {
        service_wake_in(r->service, TELL_EVERY_MS);
        return;
    }
    db_args_init(&args);
    circuit_table_tell_args(r->circuits, service_daemon_id(r->service), &args);
    if (db_conn_send(service_db(r->service), &SQL_tell_circuits, &args, 0, on_told, r) == 0) {
        r->telling = true;
        r->told_at_ms = now_ms;
    }
    db_args_release(&args);
}

/* --- rescue ------------------------------------------------------------------------------- */

static void rescue(struct reach *r);

static void on_rescued(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    r->rescuing = false;
    if (res->err == ERR_DB) {
        db_failure(res, &SQL_rescue_notifications, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "rescuing notifications failed");
    }
    for (int row = 0; !res->err && row < db_rows(res); row++) {
        bool failed = strcmp(db_text(res, row, "state"), "failed") == 0;

        log_warn(F(F_INT("notification_id", db_int(res, row, "id")),
                     F_INT("incident_id", db_int(res, row, "incident_id")),
                     F_STR("channel", db_text(res, row, "channel")),
                     F_INT("daemon_id", db_int(res, row, "daemon_id")),
                     F_INT("rescues", db_int(res, row, "rescues"))),
            "%s %s: its process died in mid-send", db_text(res, row, "kind"),
            failed ? "quarantined" : "rescued");
        r->claim_wanted = true;
    }
    if (!res->err && db_rows(res) == RESCUE_BATCH)
        rescue(r); /* there may be more */
    loop_defer_start(r->turn);
}

static void on_resumed(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    if (res->err == ERR_DB) {
        db_failure(res, &SQL_resume_incidents, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "ladders that were to go on could not");
    }
    for (int row = 0; !res->err && row < db_rows(res); row++)
        log_info(F(F_INT("incident_id", db_int(res, row, "id"))),
            "the acknowledgement of incident %s has expired: its ladder goes on",
            db_text(res, row, "id"));
    if (!res->err && db_rows(res) > 0)
        r->claim_wanted = true;
    loop_defer_start(r->turn);
}

static void on_watched(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    if (res->err == ERR_DB) {
        db_failure(res, &SQL_watch_health, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "the health of the system cannot be read");
    }
    for (int row = 0; !res->err && row < db_rows(res); row++)
        log_warn(F(F_INT("incident_id", db_int(res, row, "incident_id")),
                     F_STR("check", db_text(res, row, "check"))),
            "health: %s", db_text(res, row, "what"));
    if (!res->err && db_rows(res) > 0)
        r->claim_wanted = true;
    loop_defer_start(r->turn);
}

/* Ladders that go on, and the system's own alert. */
static void look_after(struct reach *r)
{
    struct db_conn *db = service_db(r->service);

    if (db_conn_send(db, &SQL_resume_incidents, NULL, 0, on_resumed, r) != 0 ||
        (r->config->health_watch &&
            db_conn_send(db, &SQL_watch_health, NULL, 0, on_watched, r) != 0))
        log_error(F_NONE, "no memory to look after ladders");
}

static void rescue(struct reach *r)
{
    struct db_args args;

    if (r->rescuing || r->draining || !db_conn_is_up(service_db(r->service)))
        return;
    db_args_init(&args);
    db_arg_int(&args, RESCUE_BATCH);
    r->rescuing = db_conn_send(service_db(r->service), &SQL_rescue_notifications, &args, 0,
                      on_rescued, r) == 0;
    db_args_release(&args);
    r->rescued_at_ms = clock_ms();
    r->rescue_at_ms = 0;
}

void reach_rescue_in(struct reach *r, int64_t ms)
{
    int64_t now_ms = clock_ms(), at_ms = now_ms + ms + RESCUE_LATER_MS;

    if (at_ms < r->rescued_at_ms + RESCUE_EVERY_MS)
        at_ms = r->rescued_at_ms + RESCUE_EVERY_MS;
    if (r->rescue_at_ms == 0 || at_ms < r->rescue_at_ms)
        r->rescue_at_ms = at_ms;
    service_wake_in(r->service, r->rescue_at_ms > now_ms ? r->rescue_at_ms - now_ms : 0);
}

void reach_rescue_due(struct reach *r)
{
    if (r->rescue_at_ms > 0 && clock_ms() >= r->rescue_at_ms)
        rescue(r);
}

void reach_rescue(struct reach *r)
{
    rescue(r);
    if (r->rescuing)
        look_after(r);
}

/* --- what became of it -------------------------------------------------------------------- */

static void on_poll_ended(void *owner, bool due_now)
{
    struct reach *r = owner;

    r->polling--;
    r->claim_wanted = r->claim_wanted || due_now;
    loop_defer_start(r->turn);
}

static void on_polls(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    r->taking_polls = false;
    if (res->err == ERR_DB) {
        db_failure(res, &SQL_claim_polls, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "claiming questions to providers failed");
    }
    for (int row = 0; !res->err && row < db_rows(res); row++) {
        if (poll_start(
                service_jobs(r->service), r->config, r->circuits, res, row, on_poll_ended, r) == 0)
            r->polling++;
    }
    if (!res->err && db_rows(res) == r->poll_limit) {
        r->polls_due = true; /* there may be more as soon as one of these is answered */
        loop_defer_start(r->turn);
    }
}

void reach_poll(struct reach *r)
{
    struct db_args args;

    if (!r->polls_due || r->taking_polls || r->draining || r->polling >= POLLS_MAX)
        return;
    r->poll_limit = (int)(POLLS_MAX - r->polling);
    db_args_init(&args);
    db_arg_int(&args, r->poll_limit);
    r->taking_polls =
        db_conn_send(service_db(r->service), &SQL_claim_polls, &args, 0, on_polls, r) == 0;
    r->polls_due = false;
    db_args_release(&args);
}

/* --- lost connections ---------------------------------------------------------------------- */

void reach_release_unlearned(struct reach *r)
{
    struct db_args args;

    if (!r->unlearned || r->claiming || r->in_hand > 0)
        return; /* under load the rescue does it, by the attempt's deadline */
    db_args_init(&args);
    db_arg_int(&args, service_daemon_id(r->service));
    if (db_conn_send(service_db(r->service), &SQL_release_unlearned, &args, DB_RETRY, NULL, NULL) ==
        0)
        r->unlearned = false;
    db_args_release(&args);
}
