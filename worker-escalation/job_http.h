/*
 * The job handler `http`: calls any address, so that any program can be a job. Its payload:
 *
 *     {"url": "https://…", "method": "POST", "headers": {"X-Name": "value"},
 *      "body": {"run": "{{run_id}}", "slot": "{{slot}}"}, "expect": [200, 204]}
 *
 * Only `url` is required; the method is POST with a body and GET without one, any 2xx is expected.
 * The body is an object, an array, or text; {{run_id}}, {{attempt}}, {{slot}}, {{schedule}} and
 * {{trigger}} are replaced, escaped as in a JSON string. Each call is signed after Standard
 * Webhooks with WEBHOOK_SECRET; the id is the run's.
 */
#ifndef TOCSIN_WORKER_ESCALATION_JOB_HTTP_H
#define TOCSIN_WORKER_ESCALATION_JOB_HTTP_H

#include "base/buf.h"
#include "work/job_run.h"

/* job_run_fn; arg is the service. */
void job_http_start(void *arg, struct job_run *run);

/* Adds `text` with the variables of a run replaced. ERR_INVALID: a variable that nobody
 * knows. */
MUST_CHECK int job_http_fill(const struct job_run *run, const char *text, struct buf *out);

#endif
