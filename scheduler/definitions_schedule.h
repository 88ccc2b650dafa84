/*
 * Schedules of the definitions: each an object of the file, checked and turned into
 * a row of `job_schedule`.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_SCHEDULE_H
#define TOCSIN_SCHEDULER_DEFINITIONS_SCHEDULE_H

#include <jansson.h>

#include "base/civil_time.h"
#include "base/err.h"
#include "scheduler/definitions_read.h"

/* The keys of a schedule that say what and how, NULL-terminated; beside schedule_rule_keys. */
extern const char *const definitions_schedule_keys[];

/* What a schedule is checked against. */
struct definitions_context {
    struct civil_zones *zones;
    const json_t *jobs;     /* array of rows */
    const json_t *holidays; /* name → array of dates and ranges */
    int64_t from;           /* it must have a slot after this: UTC seconds */
    bool may_have_ended;    /* unless only its blackout leaves none */
};

/* The row as a JSON object, its definition with holiday lists resolved. Faults are added; NULL
 * when they left nothing to make a row of. ERR_NOMEM. */
MUST_CHECK int definitions_schedule_row(const struct definitions_object *o, const char *key,
    const struct definitions_context *context, json_t **ret_row);

#endif
