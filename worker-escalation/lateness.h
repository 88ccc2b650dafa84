/*
 * How late messages leave: a histogram of sent − due by channel, in daemon.metrics.
 */
#ifndef TOCSIN_WORKER_ESCALATION_LATENESS_H
#define TOCSIN_WORKER_ESCALATION_LATENESS_H

#include <stdint.h>

struct service;

/* Where the numbers go; without a service (NULL) they are dropped. */
struct lateness {
    struct service *service;
};

/* Counts one message into lateness_ms_le_<bound>.<channel> (Prometheus' rule: every bound that it
 * does not pass), lateness_ms_sum.<channel> and lateness_ms_count.<channel>. */
void lateness_add(struct lateness *l, const char *channel, int64_t lateness_ms);

#endif
