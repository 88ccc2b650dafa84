/*
 * The schedules of one claim, what becomes of their slots, and the parameters of
 * the statement that says so to the database.
 */
#ifndef TOCSIN_SCHEDULER_FIRE_BATCH_H
#define TOCSIN_SCHEDULER_FIRE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "base/err.h"
#include "io/db_conn.h"

struct fire_batch;

/* ERR_NOMEM. */
MUST_CHECK int fire_batch_new(struct civil_zones *zones, struct fire_batch **ret_batch);
/* NULL does nothing. */
void fire_batch_free(struct fire_batch *b);
/* Empties it for the next claim. */
void fire_batch_reset(struct fire_batch *b);

/* Works out a claimed schedule: row `row` of claim_schedules. One whose definition cannot be used
 * gets a fault and no next slot. ERR_NOMEM. */
MUST_CHECK int fire_batch_add(struct fire_batch *b, const struct db_result *claimed, int row);

size_t fire_batch_count(const struct fire_batch *b);
/* How many slots fire. */
size_t fire_batch_fires(const struct fire_batch *b);
/* When it may be fired: UTC milliseconds. Later than the claim where it was claimed ahead. */
int64_t fire_batch_due_ms(const struct fire_batch *b);
/* When the first of its schedules runs again: UTC milliseconds; INT64_MAX for never. */
int64_t fire_batch_next_ms(const struct fire_batch *b);

/* The parameters of fire_slots. `hint`: wake the workers. */
void fire_batch_args(
    const struct fire_batch *b, int64_t daemon_id, bool hint, struct db_args *ret_args);

#endif
