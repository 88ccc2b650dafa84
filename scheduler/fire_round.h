/*
 * One round of the scheduler: puts new definitions in force, claims what is due,
 * fires it, and keeps the slots to come. A job with one function a state; a round is
 * two statements when something is due, and one when nothing is.
 */
#ifndef TOCSIN_SCHEDULER_FIRE_ROUND_H
#define TOCSIN_SCHEDULER_FIRE_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "base/log.h"
#include "scheduler/definitions.h"
#include "scheduler/fire_batch.h"
#include "service/service.h"
#include "work/job.h"

#define FIRE_ROUND_CLAIM_MAX 1000

struct fire_round {
    struct job job; /* first: the driver's */
    struct service *service;
    struct civil_zones *zones;
    const struct definitions *definitions;
    struct fire_batch *batch;
    bool sync_owed;           /* the definitions are not in force yet, or not all of them */
    bool zones_owed;          /* rules of zones are to be compared */
    int64_t refused_until_ms; /* neither of them before, monotonic */
    struct log_rate refusals, stuck;
    int64_t claim_max;       /* of schedules; less after a firing that failed as a whole */
    bool hint_owed;          /* runs were made whose workers have not been woken */
    bool hints;              /* the firing under way wakes them */
    int64_t hinted_at_ms;    /* monotonic */
    struct db_args previews; /* parameters that wait to be sent */
    bool offset_known;
    int64_t offset_ms; /* at least what the database's clock, UTC, is ahead of ours, monotonic */
    /* Of the last claim. */
    bool full; /* more is due than was claimed */
    bool previews_wanted;
    int64_t asked_ms; /* monotonic */
    int64_t next_ms;  /* the next run of all, UTC milliseconds; INT64_MAX for none */
    int64_t lapse_ms; /* when another's claim on what is due may be taken over; the same */
};

enum fire_round_state {
    ROUND_SYNC,
    ROUND_ZONES,
    ROUND_CLAIM,
    ROUND_FIRE,
    ROUND_HINT,
    ROUND_READ_PREVIEWS,
    ROUND_STORE_PREVIEWS,
    FIRE_ROUND_N_STATES,
};

/* For the job's type, whose over() is its owner's. */
extern const struct job_state fire_round_states[FIRE_ROUND_N_STATES];

/* Milliseconds until the next round has something to do; INT64_MAX for never. */
int64_t fire_round_wait_ms(const struct fire_round *r);

#endif
