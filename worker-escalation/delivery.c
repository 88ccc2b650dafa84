#include "worker-escalation/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sql/common.h"
#include "worker-escalation/channel_mail.h"

/* An at-least-once message whose provider does not answer the question is sent again after this. */
#define SETTLE_PATIENCE_S 12

enum delivery_state { DELIVERY_BEGIN, DELIVERY_PROBE, DELIVERY_ASK, DELIVERY_SEND };

struct claimed {
    struct db_result result;
    size_t holders;
};

struct claimed *claimed_new(struct db_result *r)
{
    struct claimed *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->result = db_result_take(r);
    c->holders = 1;
    return c;
}

void claimed_drop(struct claimed *c)
{
    if (!c || --c->holders > 0)
        return;
    db_result_release(&c->result);
    free(c);
}

const struct db_result *claimed_result(const struct claimed *c)
{
    return &c->result;
}

/* --- states ------------------------------------------------------------------------------- */

static enum step end_with(struct delivery *d, enum outcome_kind kind)
{
    d->outcome.kind = kind;
    return STEP_DONE;
}

static enum step end_failed(struct delivery *d, enum outcome_kind kind, int code, const char *why)
{
    failure_set(&d->outcome.failure, code, "%s: %s", d->message.channel, why);
    d->outcome.failure.final = kind == OUTCOME_FINAL;
    d->outcome.failure.ambiguous = kind == OUTCOME_AMBIGUOUS;
    return end_with(d, kind);
}

static enum step past_circuit(struct delivery *d)
{
    return job_next(&d->job, d->settle ? DELIVERY_ASK : DELIVERY_SEND);
}

static enum step run_begin(struct job *job, const struct event *ev)
{
    struct delivery *d = (struct delivery *)job;
    const char *missing;

    if (ev->kind != EVENT_ENTER)
        return end_with(d, OUTCOME_RELEASED);
    if (!d->channel)
        return end_failed(d, OUTCOME_FINAL, ERR_INVALID, "no such channel");
    missing = d->channel->missing ? d->channel->missing(d->config) : NULL;
    if (missing)
        return end_failed(d, OUTCOME_FINAL, ERR_INVALID, missing);
    if (!d->circuit)
        return past_circuit(d);
    switch (circuit_allow(d->circuit, clock_ms())) {
    case CIRCUIT_PASS:
        return past_circuit(d);
    case CIRCUIT_ASK:
        return job_next(job, DELIVERY_PROBE);
    case CIRCUIT_REFUSE:
        break;
    }
    return end_with(d, OUTCOME_DIVERTED);
}

static enum step run_probe(struct job *job, const struct event *ev)
{
    struct delivery *d = (struct delivery *)job;

    if (ev->kind == EVENT_ENTER) {
        struct db_args args;

        db_args_init(&args);
        circuit_probe_args(d->circuit, d->daemon_id, &args);
        return job_query(job, &SQL_tell_circuits, &args, 0);
    }
    if (ev->kind != EVENT_DB || ev->db->err) {
        circuit_probe_failed(d->circuit, clock_ms());
        return end_with(d, ev->kind == EVENT_CANCEL ? OUTCOME_RELEASED : OUTCOME_DIVERTED);
    }
    (void)circuit_table_correct(d->circuits, ev->db, clock_ms());
    if (circuit_allow(d->circuit, clock_ms()) == CIRCUIT_PASS)
        return past_circuit(d);
    return end_with(d, OUTCOME_DIVERTED);
}

static enum step send_request(struct delivery *d,
    int (*build)(const struct reach_config *, const struct message *, struct channel_request *))
{
    struct channel_request r;
    enum step step;
    int err;

    channel_request_init(&r);
    r.http.total_timeout_ms = d->config->send_timeout_ms;
    err = build(d->config, &d->message, &r);
    if (!err)
        err = channel_request_seal(&r);
    if (err)
        step = end_failed(d, err == ERR_NOMEM ? OUTCOME_PASSING : OUTCOME_FINAL, err,
            "the address or the text cannot be sent");
    else
        step = job_http(&d->job, &r.http);
    channel_request_release(&r);
    return step;
}

static enum step send_mail(struct delivery *d)
{
    struct channel_mail mail;
    enum step step;
    int err;

    channel_mail_init(&mail);
    mail.smtp.total_timeout_ms = d->config->send_timeout_ms;
    err = d->channel->build_mail(d->config, &d->message, &mail);
    if (err)
        step = end_failed(d, err == ERR_NOMEM ? OUTCOME_PASSING : OUTCOME_FINAL, err,
            "the address or the text cannot be sent");
    else
        step = job_mail(&d->job, &mail.smtp);
    channel_mail_release(&mail);
    return step;
}

/* Whether the earlier attempt got through stays unknown: the kind's policy decides. */
static enum step unsettled(struct delivery *d)
{
    if (d->at_most_once || !d->wanted || d->message.unsettled_for_s < SETTLE_PATIENCE_S)
        return end_with(d, OUTCOME_AMBIGUOUS);
    return job_next(&d->job, DELIVERY_SEND);
}

static enum step run_ask(struct job *job, const struct event *ev)
{
    struct delivery *d = (struct delivery *)job;

    switch (ev->kind) {
    case EVENT_ENTER:
        return send_request(d, d->channel->build_ask);
    case EVENT_CANCEL:
        return end_with(d, OUTCOME_RELEASED);
    case EVENT_HTTP:
        d->channel->judge_ask(&d->message, ev->http, &d->outcome);
        break;
    case EVENT_DB:
    case EVENT_MAIL:
    case EVENT_PAUSE_OVER:
    case EVENT_TIMEOUT:
        return unsettled(d);
    }
    circuit_record(d->circuit, !d->outcome.provider_failed, clock_ms());
    if (d->outcome.kind == OUTCOME_AMBIGUOUS)
        return unsettled(d);
    if (d->outcome.kind == OUTCOME_NOT_THERE)
        return d->wanted ? job_next(job, DELIVERY_SEND) : end_with(d, OUTCOME_RELEASED);
    return STEP_DONE;
}

static enum step run_send(struct job *job, const struct event *ev)
{
    struct delivery *d = (struct delivery *)job;

    switch (ev->kind) {
    case EVENT_ENTER:
        outcome_init(&d->outcome);
        if (d->channel->build_mail)
            return send_mail(d);
        if (!d->channel->play)
            return send_request(d, d->channel->build);
        if (d->channel->play(&d->message) == 0)
            return end_with(d, OUTCOME_ACCEPTED);
        return end_failed(d, OUTCOME_PASSING, ERR_IO, "cannot be written to");
    case EVENT_HTTP:
        d->channel->judge(ev->http, &d->outcome);
        circuit_record(d->circuit, !d->outcome.provider_failed, clock_ms());
        return STEP_DONE;
    case EVENT_MAIL:
        d->channel->judge_mail(&d->message, ev->mail, &d->outcome);
        circuit_record(d->circuit, !d->outcome.provider_failed, clock_ms());
        return STEP_DONE;
    case EVENT_TIMEOUT:
        circuit_record(d->circuit, false, clock_ms());
        return end_failed(d, OUTCOME_AMBIGUOUS, ERR_TIMEOUT, "no answer in time");
    case EVENT_CANCEL:
    case EVENT_DB:
    case EVENT_PAUSE_OVER:
        break;
    }
    return end_failed(d, OUTCOME_AMBIGUOUS, ERR_CANCELLED, "ended in mid-send");
}

static void delivery_over(struct job *job)
{
    struct delivery *d = (struct delivery *)job;

    if (job->failure.code) {
        d->outcome.kind = job->failure.final ? OUTCOME_FINAL : OUTCOME_PASSING;
        d->outcome.failure = job->failure;
    }
    d->over(d);
}

static const struct job_state delivery_states[] = {
    [DELIVERY_BEGIN] = {"begin", run_begin, 0},
    [DELIVERY_PROBE] = {"probe", run_probe, 5000},
    [DELIVERY_ASK] = {"ask", run_ask, 0},
    [DELIVERY_SEND] = {"send", run_send, 0},
};
static const struct job_type delivery_type = {
    "delivery", delivery_states, sizeof delivery_states / sizeof delivery_states[0], delivery_over};

/* --- life --------------------------------------------------------------------------------- */

static void read_message(const struct db_result *r, int row, struct message *m)
{
    m->notification_id = db_int(r, row, "id");
    m->attempt_id = db_int(r, row, "attempt_id");
    m->incident_id = db_int(r, row, "incident_id");
    m->channel = db_text(r, row, "channel");
    m->mode = db_text(r, row, "mode");
    m->kind = db_text(r, row, "kind");
    m->gate = db_text(r, row, "gate");
    m->address = db_text(r, row, "address");
    m->person = db_text(r, row, "person");
    m->owner = db_text(r, row, "owner");
    m->title = db_text(r, row, "title");
    m->incident_kind = db_text(r, row, "incident_kind");
    m->body = db_text(r, row, "body");
    m->starts_local = db_text(r, row, "starts_local");
    m->known_ids = db_text(r, row, "known_ids");
    m->message_key = db_text(r, row, "message_key");
    m->thread_id = db_text(r, row, "thread_id");
    m->starts_in_s = db_int(r, row, "starts_in_s");
    m->useful_s = db_int(r, row, "useful_s");
    m->unsettled_for_s = db_int(r, row, "unsettled_for_s");
}

struct delivery *delivery_new(struct claimed *claimed, int row, const struct reach_config *config,
    struct circuit_table *circuits, int64_t daemon_id)
{
    const struct db_result *r = &claimed->result;
    struct delivery *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    read_message(r, row, &d->message);
    d->channel = channel_find(d->message.channel);
    if (d->channel && !d->channel->play) {
        d->circuit = circuit_get(circuits, db_text(r, row, "circuit"));
        if (!d->circuit) {
            free(d);
            return NULL;
        }
        circuit_learn(d->circuit, r, row, clock_ms());
    }
    d->claimed = claimed;
    claimed->holders++;
    d->config = config;
    d->circuits = circuits;
    d->daemon_id = daemon_id;
    d->fence = db_int(r, row, "fence");
    d->contact_method_id = db_int(r, row, "contact_method_id");
    d->attempt = (int)db_int(r, row, "attempt");
    d->lateness_ms = db_int(r, row, "lateness_ms");
    d->settle = strcmp(db_text(r, row, "verdict"), "settle") == 0;
    d->wanted = db_bool(r, row, "wanted");
    d->at_most_once = strcmp(db_text(r, row, "policy"), "at_most_once") == 0;
    d->bundles = config->bundle_messages && d->channel && d->channel->bundles && !d->settle &&
                 d->message.incident_id != 0 && !db_bool(r, row, "passes");
    outcome_init(&d->outcome);
    return d;
}

bool delivery_join(struct delivery *leader, struct delivery *d)
{
    struct delivery **at = &leader->members;
    struct message *last = &leader->message;

    if (!leader->bundles || !d->bundles || leader->contact_method_id != d->contact_method_id ||
        leader->n_members + 2 > DELIVERY_BUNDLE_MAX)
        return false;
    for (; *at; at = &(*at)->next)
        last = &(*at)->message;
    last->also = &d->message;
    *at = d;
    leader->n_members++;
    return true;
}

struct delivery *delivery_take_member(struct delivery *leader)
{
    struct delivery *d = leader->members;

    if (!d)
        return NULL;
    leader->members = d->next;
    d->next = NULL;
    d->outcome = leader->outcome;
    if (d->outcome.kind == OUTCOME_ACCEPTED) {
        d->outcome.kind = OUTCOME_BUNDLED; /* the provider's id tells in which message */
        d->outcome.poll_ms = -1;
    }
    return d;
}

void delivery_free(struct delivery *d)
{
    struct delivery *member;

    if (!d)
        return;
    while ((member = delivery_take_member(d)) != NULL)
        delivery_free(member);
    claimed_drop(d->claimed);
    free(d);
}

int delivery_start(struct delivery *d, struct job_driver *jobs)
{
    return job_start(jobs, &d->job, &delivery_type, d->message.notification_id);
}
