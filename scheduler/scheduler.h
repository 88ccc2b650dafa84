/*
 * The scheduler as a process: its configuration, its state, and what the service
 * calls. One round of work runs at a time (fire_round.h).
 */
#ifndef TOCSIN_SCHEDULER_SCHEDULER_H
#define TOCSIN_SCHEDULER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/config.h"
#include "service/service.h"

struct scheduler_config {
    char *schedules_file;
};

extern const struct config_key scheduler_keys[];
extern const size_t scheduler_n_keys;
/* NOTIFY channels, NULL-terminated. */
extern const char *const scheduler_channels[];

/* For struct service_spec. */
void scheduler_check(const void *config, struct buf *faults);
int scheduler_start(struct service *service);
void scheduler_wake(struct service *service);
void scheduler_stop(struct service *service);

#endif
