/*
 * The job handler `delivery_audit`: finds what should have been sent or climbed over five minutes
 * ago and was not, records it and repairs it once. After a clean audit, and only then, it calls the
 * external dead-man address, whose silence tells others that this whole system is down.
 */
#ifndef TOCSIN_WORKER_ESCALATION_JOB_AUDIT_H
#define TOCSIN_WORKER_ESCALATION_JOB_AUDIT_H

#include "work/job_run.h"

/* job_run_fn; arg is the service. */
void job_audit_start(void *arg, struct job_run *run);

#endif
