/*
 * The definitions of jobs and schedules (deploy/schedules.json): read, checked as a
 * whole, and turned into rows. Every fault is reported at once, as
 * "FILE:line:column: path: reason".
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_H
#define TOCSIN_SCHEDULER_DEFINITIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/err.h"
#include "scheduler/definitions_env.h"

#define DEFINITIONS_BYTES_MAX ((size_t)16 << 20)

struct definitions {
    json_t *jobs;      /* array of rows of `job` */
    json_t *schedules; /* array of rows of `job_schedule` */
};

/* What the definitions are read with. */
struct definitions_source {
    const char *file; /* its name in faults; holiday files are looked for beside it */
    struct civil_zones *zones;
    definitions_env_fn *env;
    int64_t now; /* UTC seconds: schedules must have a slot after it */
    bool in_use; /* by a scheduler: one whose blackout leaves it no slot any more is no fault */
};

/* The keys at the top of the file, NULL-terminated. */
extern const char *const definitions_top_keys[];

/* ERR_INVALID with faults, one a line, in `faults`; ERR_NOMEM. */
MUST_CHECK int definitions_parse(const struct definitions_source *source, const char *text,
    size_t len, struct buf *faults, struct definitions **ret_definitions);
/* Reads source->file. ERR_INVALID also where it cannot be read. */
MUST_CHECK int definitions_load(const struct definitions_source *source, struct buf *faults,
    struct definitions **ret_definitions);
/* NULL does nothing. */
void definitions_free(struct definitions *d);
static inline void definitions_freep(struct definitions **d)
{
    definitions_free(*d);
}

/* The row of a schedule, or NULL. */
const json_t *definitions_schedule(const struct definitions *d, const char *key);

/* The whole of a file as text. ERR_INVALID with a reason in `fault`: missing, not readable, over
 * DEFINITIONS_BYTES_MAX. */
MUST_CHECK int definitions_read_text(const char *path, struct buf *fault, struct buf *ret_text);

#endif
