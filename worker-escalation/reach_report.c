/*
 * Outcomes on their way to their rows: in batches, one at a time, and one by one after a refusal.
 */
#include "worker-escalation/reach_private.h"

#include <string.h>

#include "base/log.h"
#include "sql/worker-escalation.h"

void reach_forget_reported(struct reach *r)
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
        reach_forget_reported(r);
        loop_defer_start(r->turn);
        return;
    }
    /* Apart from the claim, and one by one, so that a bad row hinders no other. */
    r->report_max = 1;
    take_back(r);
    service_wake_in(r->service, alone ? AGAIN_MS : 0);
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
        finish_read(&r->reporting, res, r->lateness, &r->held_lines, &news);
        count_news(r, &news);
        if (news.next_in_ms >= 0)
            service_wake_in(r->service, news.next_in_ms);
        r->claim_wanted = r->claim_wanted || news.due_now;
        r->report_max = r->report_max * 2 > BATCH_MAX ? BATCH_MAX : r->report_max * 2;
    }
    reach_forget_reported(r);
    loop_defer_start(r->turn);
}

bool reach_report(struct reach *r, bool claim_follows)
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
        service_wake_in(r->service, AGAIN_MS);
        return false;
    }
    return true;
}
