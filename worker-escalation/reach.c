#include "worker-escalation/reach.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"
#include "service/service.h"
#include "sql/common.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/finish.h"

/* A claim takes so many at first, four times as many whenever it came back full. */
#define BATCH_MIN 8
#define BATCH_MAX 1000
/* Circuits are told at most so often while calls are made. */
#define TELL_EVERY_MS 2000
#define RESCUE_BATCH  100
/* A batch that failed of something that may pass is sent again after this. */
#define FINISH_AGAIN_MS 1000
/* Of an attempt: asking and sending, each with SEND_TIMEOUT, and this for the way. */
#define DEADLINE_MARGIN_MS 5000

struct reach {
    struct service *service;
    const struct reach_config *config;
    struct circuit_table *circuits;
    struct lateness lateness;
    struct loop_defer *turn;

    struct finish_list done;      /* ended, not reported */
    struct finish_list reporting; /* in the statement under way */
    size_t report_max;            /* 1 after a batch was refused */
    int64_t in_hand;              /* claimed and not reported */
    int64_t in_flight[16];        /* by channel, claimed and not over */

    bool claim_wanted;
    bool claiming;
    bool draining;
    bool unlearned; /* the connection broke while a claim was under way */
    int64_t batch;
    bool telling;
    int64_t told_at_ms;
    bool rescuing;
};

static void take_turn(void *arg);

/* --- deliveries --------------------------------------------------------------------------- */

static int64_t *channel_load(struct reach *r, const struct channel *channel)
{
    for (size_t i = 0; i < n_channels && i < sizeof r->in_flight / sizeof r->in_flight[0]; i++) {
        if (channels[i] == channel)
            return &r->in_flight[i];
    }
    return NULL;
}

static void on_delivery_over(struct delivery *d)
{
    struct reach *r = d->owner;
    int64_t *load = channel_load(r, d->channel);

    if (load)
        --*load;
    finish_list_push(&r->done, d);
    loop_defer_start(r->turn);
}

/* A row that ended in the claim itself: it must not be sent any more. */
static void log_ended(const struct db_result *res, int row)
{
    const char *verdict = db_text(res, row, "verdict");
    const char *channel = db_text(res, row, "channel");

    log_info(F(F_INT("notification_id", db_int(res, row, "id")),
                 F_INT("incident_id", db_int(res, row, "incident_id")), F_STR("channel", channel)),
        "%s to %s not sent: %s", db_text(res, row, "kind"), db_text(res, row, "person"), verdict);
}

static void start_delivery(struct reach *r, struct claimed *claimed, int row)
{
    struct delivery *d =
        delivery_new(claimed, row, r->config, r->circuits, service_daemon_id(r->service));
    int64_t *load;

    if (!d) {
        log_error(F_NONE, "no memory for a delivery: its row is rescued later");
        return;
    }
    d->over = on_delivery_over;
    d->owner = r;
    load = channel_load(r, d->channel);
    r->in_hand++;
    if (load)
        ++*load;
    if (delivery_start(d, service_jobs(r->service)) != 0) {
        d->outcome.kind = OUTCOME_RELEASED;
        on_delivery_over(d);
    }
}

/* --- claiming ----------------------------------------------------------------------------- */

static void take_claimed(struct reach *r, struct db_result *res)
{
    struct claimed *claimed = claimed_new(res);
    const struct db_result *rows;
    int64_t n = 0;

    if (!claimed)
        return;
    rows = claimed_result(claimed);
    for (int row = 0; row < db_rows(rows); row++) {
        const char *verdict = db_text(rows, row, "verdict");

        if (!verdict)
            continue;
        n++;
        if (strcmp(verdict, "send") == 0 || strcmp(verdict, "settle") == 0)
            start_delivery(r, claimed, row);
        else
            log_ended(rows, row);
        if (db_text(rows, row, "successor"))
            r->claim_wanted = true;
    }
    if (db_rows(rows) > 0 && !db_is_null(rows, 0, "next_in_ms"))
        service_wake_in(r->service, db_int(rows, 0, "next_in_ms"));
    if (n >= r->batch) {
        r->claim_wanted = true;
        r->batch = r->batch * 4 > BATCH_MAX ? BATCH_MAX : r->batch * 4;
    } else {
        r->batch = n > BATCH_MIN ? n : BATCH_MIN;
    }
    claimed_drop(claimed);
}

static void on_claimed(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct failure f;

    r->claiming = false;
    if (!res->err) {
        take_claimed(r, res);
        loop_defer_start(r->turn);
        return;
    }
    r->claim_wanted = true;
    if (res->err == ERR_DISCONNECTED)
        r->unlearned = true; /* the next session asks for what it may have claimed */
    if (res->err != ERR_DB)
        return;
    if (strcmp(res->sqlstate, "25P02") != 0) {
        db_failure(res, &SQL_claim_notifications, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "claiming notifications failed");
    }
    service_wake_in(r->service, FINISH_AGAIN_MS);
}

static size_t gates_on(struct reach *r, const char *gates[3])
{
    unsigned flags = service_flags(r->service);
    size_t n = 0;

    if (flags & SERVICE_FLAG_ALERTS)
        gates[n++] = "alerts";
    if (flags & SERVICE_FLAG_CHECKIN)
        gates[n++] = "checkin";
    if (flags & SERVICE_FLAG_ESCALATION)
        gates[n++] = "escalation";
    return n;
}

static int64_t room(const struct reach *r)
{
    int64_t free_places = r->config->max_in_flight - r->in_hand;

    return free_places < r->batch ? free_places : r->batch;
}

static void claim_args(struct reach *r, int64_t limit, struct db_args *args)
{
    const char *gates[3], *full[16], *askable[16];
    size_t n_gates = gates_on(r, gates), n_full = 0, n_askable = 0;
    int64_t most = r->config->max_in_flight * 3 / 4;

    for (size_t i = 0; i < n_channels; i++) {
        if (r->in_flight[i] >= most)
            full[n_full++] = channels[i]->name;
        if (channels[i]->build_ask)
            askable[n_askable++] = channels[i]->name;
    }
    db_arg_int(args, service_daemon_id(r->service));
    db_arg_int(args, limit);
    db_arg_strs(args, gates, n_gates);
    db_arg_strs(args, full, n_full);
    db_arg_int(args, 2 * r->config->send_timeout_ms + DEADLINE_MARGIN_MS);
    db_arg_strs(args, askable, n_askable);
}

/* Whether a claim was sent. */
static bool send_claim(struct reach *r)
{
    int64_t limit = room(r);
    struct db_args args;
    int err;

    if (!r->claim_wanted || r->claiming || r->draining || limit <= 0)
        return false;
    db_args_init(&args);
    claim_args(r, limit, &args);
    err = db_conn_send(service_db(r->service), &SQL_claim_notifications, &args, 0, on_claimed, r);
    db_args_release(&args);
    if (err)
        return false;
    r->batch = limit;
    r->claiming = true;
    r->claim_wanted = false;
    return true;
}

/* --- reporting ---------------------------------------------------------------------------- */

static void forget_reported(struct reach *r)
{
    struct delivery *d;

    while ((d = finish_list_pop(&r->reporting)) != NULL) {
        r->in_hand--;
        delivery_free(d);
    }
}

/* Back to the front of what is to be reported. */
static void take_back(struct reach *r)
{
    struct delivery *d;

    while ((d = finish_list_pop(&r->done)) != NULL)
        finish_list_push(&r->reporting, d);
    r->done = r->reporting;
    r->reporting = (struct finish_list){0};
}

static void report_refused(struct reach *r, const struct db_result *res)
{
    struct failure f;
    bool alone = r->reporting.n == 1;

    db_failure(res, &SQL_finish_notifications, &f);
    if (alone && f.final && strcmp(res->sqlstate, "25P02") != 0) {
        log_failure(LOG_LEVEL_ERROR, &f,
            F(F_INT("notification_id", r->reporting.head->message.notification_id)),
            "an outcome cannot be written: the row is rescued later");
        forget_reported(r);
        loop_defer_start(r->turn);
        return;
    }
    /* Apart from the claim, and one by one, so that a bad row hinders no other. */
    r->report_max = 1;
    take_back(r);
    service_wake_in(r->service, alone ? FINISH_AGAIN_MS : 0);
    if (!alone)
        loop_defer_start(r->turn);
}

static void count_news(struct reach *r, const struct finish_news *news)
{
    service_metric_add(r->service, "notifications_accepted", news->accepted);
    service_metric_add(r->service, "notifications_retried", news->retried);
    service_metric_add(r->service, "notifications_diverted", news->diverted);
    service_metric_add(r->service, "notifications_failed", news->failed);
    service_metric_add(r->service, "claims_lost", news->lost);
}

static void on_reported(void *arg, struct db_result *res)
{
    struct reach *r = arg;
    struct finish_news news;

    if (res->err == ERR_DB) {
        report_refused(r, res);
        return;
    }
    if (res->err == ERR_DISCONNECTED) {
        take_back(r);
        loop_defer_start(r->turn);
        return;
    }
    if (!res->err) {
        finish_read(&r->reporting, res, &r->lateness, &news);
        count_news(r, &news);
        if (news.next_in_ms >= 0)
            service_wake_in(r->service, news.next_in_ms);
        r->claim_wanted = r->claim_wanted || news.due_now;
        r->report_max = r->report_max * 2 > BATCH_MAX ? BATCH_MAX : r->report_max * 2;
    }
    forget_reported(r);
    loop_defer_start(r->turn);
}

/* Whether a report was sent. With a claim behind it both are one transaction. */
static bool send_report(struct reach *r, bool claim_follows)
{
    unsigned flags = claim_follows ? DB_WITH_NEXT : DB_RETRY;
    struct db_args args;
    int err;

    if (r->done.n == 0 || r->reporting.n > 0)
        return false;
    while (r->done.n > 0 && r->reporting.n < r->report_max)
        finish_list_push(&r->reporting, finish_list_pop(&r->done));
    db_args_init(&args);
    finish_args(&r->reporting, service_daemon_id(r->service), &args);
    err = db_conn_send(
        service_db(r->service), &SQL_finish_notifications, &args, flags, on_reported, r);
    db_args_release(&args);
    if (err) {
        take_back(r);
        service_wake_in(r->service, FINISH_AGAIN_MS);
        return false;
    }
    return true;
}

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
        for (int row = 0; row < db_rows(res); row++)
            log_info(F(F_STR("circuit", db_text(res, row, "name"))), "circuit %s is %s",
                db_text(res, row, "name"), db_text(res, row, "state"));
    }
    loop_defer_start(r->turn);
}

static void tell_circuits(struct reach *r)
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

/* --- turns -------------------------------------------------------------------------------- */

/* After a lost connection: what was claimed and never learned of goes back, once nothing else
 * is in hand. */
static void release_unlearned(struct reach *r)
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

static void take_turn(void *arg)
{
    struct reach *r = arg;
    bool can_claim, reported;

    if (!db_conn_is_up(service_db(r->service))) {
        (void)send_report(r, false); /* it leaves with the next session */
        return;
    }
    release_unlearned(r);
    can_claim = r->claim_wanted && !r->claiming && !r->draining && r->report_max > 1 && room(r) > 0;
    reported = send_report(r, can_claim);
    if (!send_claim(r) && reported && can_claim)
        log_error(F_NONE, "a claim was announced and not sent");
    tell_circuits(r);
}

void reach_wake(struct reach *r)
{
    r->claim_wanted = true;
    take_turn(r);
}

void reach_drain(struct reach *r)
{
    r->draining = true;
}

bool reach_busy(const struct reach *r)
{
    return r->in_hand > 0 || r->claiming || r->telling || r->rescuing ||
           (r->claim_wanted && !r->draining);
}

/* --- rescue ------------------------------------------------------------------------------- */

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
    loop_defer_start(r->turn);
}

void reach_rescue(struct reach *r)
{
    struct db_args args;

    if (r->rescuing || r->draining || !db_conn_is_up(service_db(r->service)))
        return;
    db_args_init(&args);
    db_arg_int(&args, RESCUE_BATCH);
    r->rescuing = db_conn_send(service_db(r->service), &SQL_rescue_notifications, &args, 0,
                      on_rescued, r) == 0;
    db_args_release(&args);
}

/* --- life --------------------------------------------------------------------------------- */

int reach_new(struct service *s, struct reach **ret_reach)
{
    struct reach *r = calloc(1, sizeof *r);

    if (!r)
        return ERR_NOMEM;
    r->service = s;
    r->lateness.service = s;
    r->config = service_config(s);
    r->batch = BATCH_MIN;
    r->report_max = BATCH_MAX;
    r->claim_wanted = true;
    r->turn = loop_defer_new(service_loop(s), take_turn, r);
    if (!r->turn || circuit_table_new(&r->circuits) != 0) {
        reach_free(r);
        return ERR_NOMEM;
    }
    *ret_reach = r;
    return 0;
}

void reach_free(struct reach *r)
{
    struct delivery *d;

    if (!r)
        return;
    forget_reported(r);
    while ((d = finish_list_pop(&r->done)) != NULL)
        delivery_free(d);
    circuit_table_free(r->circuits);
    loop_defer_free(r->turn);
    free(r);
}
