#include "worker-calendar/statement_run.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"

#define TEXT_MAX 4096

struct statement_run {
    struct job job;
    struct job_run *run;
    const struct db_stmt *stmt;
    const char *what;
    bool has_parameter;
    int64_t parameter;
    struct buf result;
};

static void take_row(struct statement_run *r, const struct db_result *answer)
{
    struct buf line = BUF_INIT(TEXT_MAX);
    buf_add_char(&r->result, '{');
    for (int i = 0; i < PQnfields(answer->res); i++) {
        const char *name = PQfname(answer->res, i);
        long long value = (long long)db_int(answer, 0, name);
        buf_addf(&r->result, "%s\"%s\": %lld", i ? ", " : "", name, value);
        buf_addf(&line, "%s%lld %s", i ? ", " : "", value, name);
    }
    buf_add_char(&r->result, '}');
    log_info(F(F_INT("job_run_id", r->run->id)), "%s: %s", r->what, buf_str(&line));
    buf_release(&line);
}

static enum step execute(struct job *job, const struct event *ev)
{
    struct statement_run *r = (struct statement_run *)job;
    struct db_args args;
    switch (ev->kind) {
    case EVENT_ENTER:
        db_args_init(&args);
        if (r->has_parameter)
            db_arg_int(&args, r->parameter);
        return job_query(job, r->stmt, &args, DB_RETRY);
    case EVENT_DB:
        if (ev->db->err)
            return job_fail_db(job, r->stmt, ev->db);
        take_row(r, ev->db);
        return STEP_DONE;
    case EVENT_CANCEL:
        return job_fail(job, ERR_CANCELLED, "the process stops");
    case EVENT_TIMEOUT:
    case EVENT_HTTP:
    case EVENT_MAIL:
    case EVENT_PAUSE_OVER:
        break;
    }
    return job_fail(job, ERR_TIMEOUT, "no answer from the database");
}

static void over(struct job *job)
{
    struct statement_run *r = (struct statement_run *)job;
    if (job->failure.code == ERR_CANCELLED)
        job_run_release(r->run);
    else if (job->failure.code)
        job_run_finish(r->run, &job->failure, NULL);
    else
        job_run_finish(r->run, NULL, buf_str(&r->result));
    buf_release(&r->result);
    free(r);
}

void statement_run_start(struct service *s, struct job_run *run, const struct db_stmt *stmt,
    const int64_t *parameter, const char *what)
{
    /* The worker ends a run that passes its time-out. */
    static const struct job_state states[] = {{"execute", execute, 0}};
    static const struct job_type type = {"statement", states, 1, over};
    struct statement_run *r = calloc(1, sizeof *r);
    struct failure failure;
    if (r) {
        r->run = run;
        r->stmt = stmt;
        r->what = what;
        r->has_parameter = parameter != NULL;
        r->parameter = parameter ? *parameter : 0;
        buf_init(&r->result, TEXT_MAX);
        if (job_start(service_jobs(s), &r->job, &type, run->id) == 0)
            return;
    }
    free(r);
    failure_set(&failure, ERR_NOMEM, "memory is short");
    job_run_finish(run, &failure, NULL);
}
