#include "worker-escalation/reach_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/gates.h"

/* Of an attempt: asking and sending, each with SEND_TIMEOUT, and this for the way. */
#define DEADLINE_MARGIN_MS 5000
/* While so many are in hand, fewer places than this wait for others to become free. */
#define CLAIM_WORTH 32

/* --- deliveries --------------------------------------------------------------------------- */

static int64_t *channel_load(struct reach *r, const struct channel *channel)
{
    for (size_t i = 0; i < n_channels && i < sizeof r->in_flight / sizeof r->in_flight[0]; i++) {
        if (channels[i] == channel)
            return &r->in_flight[i];
    }
    return NULL;
}

static void delivery_ended(struct reach *r, struct delivery *d)
{
    int64_t *load = channel_load(r, d->channel);
    struct delivery *member;

    if (load)
        --*load;
    if (r->behind) {
        r->behind = false;
        r->claim_wanted = true;
    }
    while ((member = delivery_take_member(d)) != NULL)
        finish_list_push(&r->done, member);
    finish_list_push(&r->done, d);
    loop_defer_start(r->turn);
}

static void on_delivery_over(struct delivery *d)
{
    delivery_ended(d->owner, d);
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

static void start_delivery(struct reach *r, struct delivery *d)
{
    int64_t *load = channel_load(r, d->channel);

    if (load)
        ++*load;
    if (delivery_start(d, service_jobs(r->service)) != 0) {
        d->outcome.kind = OUTCOME_RELEASED;
        delivery_ended(r, d);
    }
}

/* Makes a delivery of a row, or a member of one of the batch that goes to the same contact. */
static void take_row(struct reach *r, struct claimed *claimed, int row, struct finish_list *batch)
{
    struct delivery *d =
        delivery_new(claimed, row, r->config, r->circuits, service_daemon_id(r->service));

    if (!d) {
        log_error(F_NONE, "no memory for a delivery: its row is rescued later");
        return;
    }
    d->over = on_delivery_over;
    d->owner = r;
    r->in_hand++;
    for (struct delivery *leader = d->bundles ? batch->head : NULL; leader; leader = leader->next) {
        if (delivery_join(leader, d))
            return;
    }
    finish_list_push(batch, d);
}

/* --- claiming ----------------------------------------------------------------------------- */

static void take_claimed(struct reach *r, struct db_result *res)
{
    struct claimed *claimed = claimed_new(res);
    struct finish_list batch = {0};
    const struct db_result *rows;
    struct delivery *d;
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
            take_row(r, claimed, row, &batch);
        else
            log_ended(rows, row);
        if (db_text(rows, row, "successor"))
            r->claim_wanted = true;
    }
    while ((d = finish_list_pop(&batch)) != NULL)
        start_delivery(r, d);
    if (db_rows(rows) > 0 && !db_is_null(rows, 0, "next_in_ms"))
        service_wake_in(r->service, db_int(rows, 0, "next_in_ms"));
    if (db_rows(rows) > 0 && !db_is_null(rows, 0, "stale_in_ms"))
        reach_rescue_in(r, db_int(rows, 0, "stale_in_ms"));
    r->polls_due = db_rows(rows) > 0 && db_bool(rows, 0, "polls_due");
    if (n >= r->claim_limit) {
        r->claim_wanted = true;
        r->batch = r->batch * 4 > BATCH_MAX ? BATCH_MAX : r->batch * 4;
    } else {
        r->batch = n > BATCH_MIN ? n : BATCH_MIN;
        r->behind = r->passed_over;
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
    service_wake_in(r->service, AGAIN_MS);
}

/* How many rows to claim now; 0 when it is not worth a statement yet. */
static int64_t room(const struct reach *r)
{
    int64_t free_places = r->config->max_in_flight - r->in_hand;
    int64_t limit = free_places < r->batch ? free_places : r->batch;

    return limit < CLAIM_WORTH && limit < r->batch && r->in_hand > CLAIM_WORTH ? 0 : limit;
}

static void claim_args(struct reach *r, int64_t limit, struct db_args *args)
{
    const char *gates[GATES_MAX], *full[16], *askable[16], *bundling[16];
    size_t n_gates = gates_on(service_flags(r->service), gates), n_full = 0, n_askable = 0,
           n_bundling = 0;
    int64_t most = r->config->max_in_flight * 3 / 4;

    for (size_t i = 0; i < n_channels; i++) {
        if (r->in_flight[i] >= most)
            full[n_full++] = channels[i]->name;
        if (channels[i]->build_ask)
            askable[n_askable++] = channels[i]->name;
        if (channels[i]->bundles && r->config->bundle_messages)
            bundling[n_bundling++] = channels[i]->name;
    }
    r->passed_over = n_full > 0;
    db_arg_int(args, service_daemon_id(r->service));
    db_arg_int(args, limit);
    db_arg_strs(args, gates, n_gates);
    db_arg_strs(args, full, n_full);
    db_arg_int(args, 2 * r->config->send_timeout_ms + DEADLINE_MARGIN_MS);
    db_arg_strs(args, askable, n_askable);
    db_arg_strs(args, bundling, n_bundling);
    db_arg_int(args, DELIVERY_BUNDLE_MAX);
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
    r->claim_limit = limit;
    r->claiming = true;
    r->claim_wanted = false;
    return true;
}

/* --- turns -------------------------------------------------------------------------------- */

static void take_turn(void *arg)
{
    struct reach *r = arg;
    bool can_claim, reported;

    if (!db_conn_is_up(service_db(r->service))) {
        (void)reach_report(r, false); /* it leaves with the next session */
        return;
    }
    reach_release_unlearned(r);
    reach_tell_circuits(r); /* first: what is reported may be held until a circuit's row says */
    can_claim = r->claim_wanted && !r->claiming && !r->draining && r->report_max > 1 && room(r) > 0;
    reported = reach_report(r, can_claim);
    if (!send_claim(r) && reported && can_claim)
        log_error(F_NONE, "a claim was announced and not sent");
    reach_poll(r);
    reach_rescue_due(r);
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
    return r->in_hand > 0 || r->claiming || r->telling || r->rescuing || r->taking_polls ||
           (r->claim_wanted && !r->draining);
}

/* --- life --------------------------------------------------------------------------------- */

int reach_new(struct service *s, struct reach **ret_reach)
{
    struct reach *r = calloc(1, sizeof *r);

    if (!r)
        return ERR_NOMEM;
    r->service = s;
    r->config = service_config(s);
    r->batch = BATCH_MIN;
    r->report_max = BATCH_MAX;
    r->claim_wanted = true;
    r->turn = loop_defer_new(service_loop(s), take_turn, r);
    r->lateness = lateness_new();
    if (!r->turn || !r->lateness || circuit_table_new(&r->circuits) != 0) {
        reach_free(r);
        return ERR_NOMEM;
    }
    service_metric_json(s, "lateness", r->lateness);
    *ret_reach = r;
    return 0;
}

void reach_free(struct reach *r)
{
    struct delivery *d;

    if (!r)
        return;
    reach_forget_reported(r);
    while ((d = finish_list_pop(&r->done)) != NULL)
        delivery_free(d);
    circuit_table_free(r->circuits);
    json_decref(r->lateness);
    loop_defer_free(r->turn);
    free(r);
}
