/*
 * The gates of notifications by feature flag: alerts, checkin, escalation.
 */
#ifndef TOCSIN_WORKER_ESCALATION_GATES_H
#define TOCSIN_WORKER_ESCALATION_GATES_H

#include <stddef.h>

#define GATES_MAX 3

/* Fills in the names of those that `flags` (enum service_flag) lets pass and returns how many. */
size_t gates_on(unsigned flags, const char *ret_gates[GATES_MAX]);

#endif
