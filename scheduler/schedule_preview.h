/*
 * The slots to come of schedules, kept in the database for those who ask there: SQL
 * knows no cron.
 */
#ifndef TOCSIN_SCHEDULER_SCHEDULE_PREVIEW_H
#define TOCSIN_SCHEDULER_SCHEDULE_PREVIEW_H

#include "base/civil_time.h"
#include "base/err.h"
#include "io/db_conn.h"

/* Schedules of one statement. */
#define PREVIEW_SCHEDULES_MAX 100
/* Slots that are kept of each. */
#define PREVIEW_SLOTS 64

/* Works out the rows of read_previews; the parameters of store_previews. ERR_NOMEM. */
MUST_CHECK int schedule_preview_args(
    struct civil_zones *zones, const struct db_result *wanted, struct db_args *ret_args);

#endif
