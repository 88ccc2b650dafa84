/*
 * Forget: what is older than its configured age goes in small batches, each a
 * transaction of its own, and the history's partitions are made ahead and dropped.
 */
#ifndef TOCSIN_WORKER_CLEANUP_CLEANUP_H
#define TOCSIN_WORKER_CLEANUP_CLEANUP_H

#include <stdint.h>

#include "service/service.h"

/* Ages in milliseconds. */
struct cleanup_config {
    int64_t webhook_event_age_ms;
    int64_t webhook_delivery_age_ms;
    int64_t notification_age_ms; /* and its attempts, transitions and incidents */
    int64_t event_age_ms;
    int64_t slot_age_ms;
    int64_t daemon_age_ms;
    int64_t run_age_ms;
    int64_t partition_days;
    int64_t batch;
};

/* The handler `cleanup` of the queue worker-cleanup; `arg` is the struct service. */
void cleanup_start_run(void *arg, struct job_run *run);

/* Makes the partitions of the days ahead, schedule or no schedule. ERR_NOMEM. */
MUST_CHECK int cleanup_extend_partitions(struct service *s);

#endif
