/*
 * Jobs of the definitions: each an object of the file, checked and turned into a
 * row of `job`; then all of them together, for what they say of each other.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_JOB_H
#define TOCSIN_SCHEDULER_DEFINITIONS_JOB_H

#include <jansson.h>

#include "base/err.h"
#include "scheduler/definitions_read.h"

/* The keys that a job may have, NULL-terminated. */
extern const char *const definitions_job_keys[];

/* The row as a JSON object. Faults are added, and the row is whole all the same. ERR_NOMEM. */
MUST_CHECK int definitions_job_row(
    const struct definitions_object *o, const char *key, json_t **ret_row);

/* Faults for dependencies that are no job, and for each cycle of them, with its jobs named.
 * `o` is the object of all jobs; `rows` what definitions_job_row() made of them. ERR_NOMEM. */
MUST_CHECK int definitions_job_graph(const struct definitions_object *o, const json_t *rows);

#endif
