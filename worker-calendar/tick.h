/*
 * The run `calendar_sync`: claims the calendars that are due, as many at a time
 * as there is room for, until none is left, and plans the stored meetings that
 * have come within the horizon.
 */
#ifndef TOCSIN_WORKER_CALENDAR_TICK_H
#define TOCSIN_WORKER_CALENDAR_TICK_H

#include <stdbool.h>

#include "base/err.h"
#include "service/service.h"
#include "worker-calendar/sync.h"

/* The ticks of a process, and the room that they share. */
struct tick_board;

/* `shop` is borrowed. ERR_NOMEM. */
MUST_CHECK int tick_board_new(
    struct service *s, struct sync_shop *shop, struct tick_board **ret_board);
/* No tick may be under way; NULL does nothing. */
void tick_board_free(struct tick_board *b);
/* Whether a tick is under way. */
bool tick_board_busy(const struct tick_board *b);

/* Starts a tick; it finishes the run. */
void tick_start(struct tick_board *b, struct job_run *run);

#endif
