#include "worker-escalation/job_audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "service/service.h"
#include "sql/worker-escalation.h"
#include "worker-escalation/config.h"
#include "worker-escalation/gates.h"

#define LATE_MS (5 * 60 * 1000)

enum audit_state { AUDIT_LOOK, AUDIT_CALL };

struct audit_job {
    struct job job;
    struct service *service;
    struct job_run *run;
    int found;
};

static enum step look(struct audit_job *a)
{
    const char *gates[GATES_MAX];
    size_t n = gates_on(service_flags(a->service), gates);
    struct db_args args;

    db_args_init(&args);
    db_arg_int(&args, LATE_MS);
    db_arg_strs(&args, gates, n);
    return job_query(&a->job, &SQL_audit_reach, &args, 0);
}

static void tell(const struct db_result *r)
{
    for (int row = 0; row < db_rows(r); row++)
        log_error(F(F_STR("kind", db_text(r, row, "kind")),
                      F_INT("incident_id", db_int(r, row, "incident_id")),
                      F_INT("notification_id", db_int(r, row, "notification_id"))),
            "audit: %s%s", db_text(r, row, "detail"),
            db_bool(r, row, "is_new") ? "" : ", and still so after the repair");
}

static enum step run_look(struct job *job, const struct event *ev)
{
    struct audit_job *a = (struct audit_job *)job;
    const struct reach_config *config = service_config(a->service);

    if (ev->kind == EVENT_ENTER)
        return look(a);
    if (ev->kind != EVENT_DB)
        return ev->kind == EVENT_TIMEOUT ? job_fail(job, ERR_TIMEOUT, "no answer from the database")
                                         : job_fail(job, ERR_CANCELLED, "the process stops");
    if (ev->db->err)
        return job_fail_db(job, &SQL_audit_reach, ev->db);
    tell(ev->db);
    a->found = db_rows(ev->db);
    return a->found == 0 && config->dead_man_url ? job_next(job, AUDIT_CALL) : STEP_DONE;
}

static enum step run_call(struct job *job, const struct event *ev)
{
    struct audit_job *a = (struct audit_job *)job;
    const struct reach_config *config = service_config(a->service);

    if (ev->kind == EVENT_ENTER)
        return job_http(job, &(struct http_request){.method = "GET",
                                 .url = config->dead_man_url,
                                 .allow_private = true}); /* the operator's own address */
    if (ev->kind != EVENT_HTTP)
        return job_fail(job, ERR_CANCELLED, "the process stops");
    if (ev->http->err || ev->http->status < 200 || ev->http->status > 299)
        return job_fail_http(job, ev->http, "DEAD_MAN_URL");
    return STEP_DONE;
}

static void over(struct job *job)
{
    struct audit_job *a = (struct audit_job *)job;
    struct buf result = BUF_INIT(64);

    buf_addf(&result, "{\"found\":%d}", a->found);
    if (job->failure.code == ERR_CANCELLED)
        job_run_release(a->run);
    else
        job_run_finish(a->run, &job->failure, buf_err(&result) ? NULL : buf_str(&result));
    buf_release(&result);
    free(a);
}

static const struct job_state states[] = {
    [AUDIT_LOOK] = {"look", run_look, 60000},
    [AUDIT_CALL] = {"call", run_call, 0},
};
static const struct job_type type = {"audit", states, sizeof states / sizeof states[0], over};

void job_audit_start(void *arg, struct job_run *run)
{
    struct audit_job *a = calloc(1, sizeof *a);
    struct failure f;

    if (a) {
        a->service = arg;
        a->run = run;
    }
    if (a && job_start(service_jobs(arg), &a->job, &type, run->id) == 0)
        return;
    failure_set(&f, ERR_NOMEM, "no memory for an audit");
    job_run_finish(run, &f, NULL);
    free(a);
}
