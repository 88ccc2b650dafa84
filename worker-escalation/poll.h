/*
 * Asks a provider what became of a notification that it took, where no callback has said so, and
 * writes the answer to the row.
 */
#ifndef TOCSIN_WORKER_ESCALATION_POLL_H
#define TOCSIN_WORKER_ESCALATION_POLL_H

#include <stdbool.h>

#include "work/circuit.h"
#include "work/job.h"
#include "worker-escalation/config.h"

/* Starts a question for row `row` of what claim_polls answered. ended(owner) is called once, later,
 * with whether something else may be due now. ERR_NOMEM, or ERR_INVALID for a channel
 * that cannot be asked: it was not started. */
MUST_CHECK int poll_start(struct job_driver *jobs, const struct reach_config *config,
    struct circuit_table *circuits, const struct db_result *r, int row,
    void (*ended)(void *owner, bool due_now), void *owner);

#endif
