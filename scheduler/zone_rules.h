/*
 * The rules of the zones that schedules are written in, as numbers that differ when
 * the rules do: for finding out that tzdata has changed.
 */
#ifndef TOCSIN_SCHEDULER_ZONE_RULES_H
#define TOCSIN_SCHEDULER_ZONE_RULES_H

#include <jansson.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "base/err.h"
#include "io/db_conn.h"

/* A hash over the offsets of a zone from 2020 to 2070. */
int64_t zone_rules_hash(const struct civil_zone *zone);

/* The parameters of recompute_zones for all zones that the definitions' rows name. ERR_NOMEM. */
MUST_CHECK int zone_rules_args(
    struct civil_zones *zones, const json_t *schedules, struct db_args *ret_args);

#endif
