/*
 * The payload of a job with the handler `http`, which calls any address.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_HTTP_H
#define TOCSIN_SCHEDULER_DEFINITIONS_HTTP_H

#include "scheduler/definitions_read.h"

/* The handler's name. */
#define DEFINITIONS_HTTP "http"

/* Faults of a job's payload, as worker-escalation/job_http.h describes it, and of its queue.
 * `job` is the whole job. */
void definitions_http_check(const struct definitions_object *job);

#endif
