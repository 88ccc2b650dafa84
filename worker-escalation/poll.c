#include "worker-escalation/poll.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failure_json.h"
#include "base/log.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/finish.h"

enum poll_state { POLL_ASK, POLL_REPORT };

struct poll {
    struct job job;
    const struct reach_config *config;
    const struct channel *channel;
    struct circuit *circuit;
    void (*ended)(void *owner, bool due_now);
    void *owner;
    char *provider_id;
    int64_t incident_id;
    enum report_kind report;
    struct outcome outcome; /* its failure, and whether the contact is dead */
    bool due_now;
};

static enum step ask(struct poll *p)
{
    struct channel_request r;
    enum step step;
    int err;

    if (circuit_allow(p->circuit, clock_ms()) != CIRCUIT_PASS)
        return STEP_DONE; /* claim_polls has put it off */
    channel_request_init(&r);
    r.http.total_timeout_ms = p->config->send_timeout_ms;
    err = p->channel->build_poll(p->config, p->provider_id, &r);
    if (!err)
        err = channel_request_seal(&r);
    step = err ? job_fail(&p->job, err, "%s cannot be asked", p->channel->name)
               : job_http(&p->job, &r.http);
    channel_request_release(&r);
    return step;
}

static enum step run_ask(struct job *job, const struct event *ev)
{
    struct poll *p = (struct poll *)job;

    if (ev->kind == EVENT_ENTER)
        return ask(p);
    if (ev->kind != EVENT_HTTP)
        return STEP_DONE;
    outcome_init(&p->outcome);
    p->report = p->channel->judge_poll(ev->http, &p->outcome);
    circuit_record(p->circuit, !p->outcome.provider_failed, clock_ms());
    return p->report == REPORT_UNKNOWN ? STEP_DONE : job_next(job, POLL_REPORT);
}

static void tell(const struct poll *p, const struct db_result *r)
{
    const char *state = db_text(r, 0, "state"), *successor = db_text(r, 0, "successor");

    if (!state || p->report == REPORT_WAITING)
        return;
    log_info(F(F_INT("notification_id", p->job.id), F_INT("incident_id", p->incident_id),
                 F_STR("channel", p->channel->name), F_STR("provider_id", p->provider_id),
                 F_STR("successor", successor)),
        "%s says: %s%s%s", p->channel->name, report_name(p->report),
        p->outcome.failure.code ? ", " : "", p->outcome.failure.detail);
}

static enum step run_report(struct job *job, const struct event *ev)
{
    struct poll *p = (struct poll *)job;
    _cleanup_(freep) char *failure = NULL;
    struct db_args args;

    if (ev->kind == EVENT_ENTER) {
        failure = failure_json(&p->outcome.failure);
        db_args_init(&args);
        db_arg_int(&args, job->id);
        db_arg_str(&args, report_name(p->report));
        db_arg_str(&args, failure);
        db_arg_bool(&args, p->outcome.contact_dead);
        /* Where nobody can press a key an answered call is all that can be had. */
        db_arg_bool(&args, p->channel->takes_keys && p->config->public_url != NULL);
        return job_query(job, &SQL_report_notification, &args, DB_RETRY);
    }
    if (ev->kind != EVENT_DB)
        return STEP_DONE;
    if (ev->db->err)
        return job_fail_db(job, &SQL_report_notification, ev->db);
    tell(p, ev->db);
    p->due_now = db_text(ev->db, 0, "successor") != NULL;
    return STEP_DONE;
}

static void over(struct job *job)
{
    struct poll *p = (struct poll *)job;

    if (job->failure.code)
        log_failure(LOG_LEVEL_WARN, &job->failure, F(F_INT("notification_id", job->id)),
            "asking what became of a notification failed");
    p->ended(p->owner, p->due_now);
    free(p->provider_id);
    free(p);
}

static const struct job_state states[] = {
    [POLL_ASK] = {"ask", run_ask, 0},
    [POLL_REPORT] = {"report", run_report, 10000},
};
static const struct job_type type = {"poll", states, sizeof states / sizeof states[0], over};

int poll_start(struct job_driver *jobs, const struct reach_config *config,
    struct circuit_table *circuits, const struct db_result *r, int row,
    void (*ended)(void *owner, bool due_now), void *owner)
{
    const struct channel *channel = channel_find(db_text(r, row, "channel"));
    const char *provider_id = db_text(r, row, "provider_id");
    struct poll *p;
    int err = ERR_NOMEM;

    if (!channel || !channel->build_poll || !provider_id)
        return ERR_INVALID;
    p = calloc(1, sizeof *p);
    if (!p)
        return ERR_NOMEM;
    p->config = config;
    p->channel = channel;
    p->circuit = circuit_get(circuits, channel->name);
    p->ended = ended;
    p->owner = owner;
    p->provider_id = strdup(provider_id);
    p->incident_id = db_int(r, row, "incident_id");
    if (p->circuit && p->provider_id)
        err = job_start(jobs, &p->job, &type, db_int(r, row, "id"));
    if (err) {
        free(p->provider_id);
        free(p);
    }
    return err;
}
