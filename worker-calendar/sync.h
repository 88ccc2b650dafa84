/*
 * One sync of one calendar: a job of its own, from the claimed row to the row
 * given back. What fails concerns this calendar alone.
 */
#ifndef TOCSIN_WORKER_CALENDAR_SYNC_H
#define TOCSIN_WORKER_CALENDAR_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "service/service.h"

struct sync_shop;

enum sync_outcome { SYNC_SUCCEEDED, SYNC_FAILED, SYNC_GIVEN_BACK };

/* Called once, when a sync is over and its row is settled. */
typedef void sync_over_fn(void *arg, enum sync_outcome outcome);

/* What all syncs of the process share: zones, tokens, deadlines. ERR_NOMEM. */
MUST_CHECK int sync_shop_new(struct service *s, struct sync_shop **ret_shop);
/* No sync may be under way; NULL does nothing. */
void sync_shop_free(struct sync_shop *shop);
/* Looks for renewed time zone files. */
void sync_shop_refresh(struct sync_shop *shop);

/* Starts the sync of one row that claim_credentials returned; what it says is copied. It logs
 * what it came to, with the user's id. ERR_NOMEM: it was not started. */
MUST_CHECK int sync_start(struct sync_shop *shop, const struct db_result *claimed, int row,
    sync_over_fn *over, void *arg);

#endif
