/*
 * What a round has done, as lines for people and as metrics.
 */
#ifndef TOCSIN_SCHEDULER_FIRE_LOG_H
#define TOCSIN_SCHEDULER_FIRE_LOG_H

#include <stdint.h>

#include "base/log.h"
#include "io/db_conn.h"
#include "service/service.h"

/* The rows of claim_schedules whose lock was another daemon's. */
void fire_log_rescues(struct service *service, const struct db_result *r);

/* The rows of fire_slots, of which `claimed` schedules were sent. Returns how many stay due, as
 * they could not be fired; of those it tells as `rate` allows. */
int64_t fire_log_slots(
    struct service *service, const struct db_result *r, int64_t claimed, struct log_rate *rate);

/* The rows of sync_definitions. Returns how many changes wait for a slot that is due. */
int fire_log_changes(const struct db_result *r);

/* The rows of recompute_zones. */
void fire_log_zones(const struct db_result *r);

#endif
