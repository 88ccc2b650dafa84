/*
 * The worker's one engine: claims what is due as far as there is room, starts a delivery for each
 * row, and ends them in batches that travel with the next claim.
 */
#ifndef TOCSIN_WORKER_ESCALATION_REACH_H
#define TOCSIN_WORKER_ESCALATION_REACH_H

#include <stdbool.h>

#include "base/err.h"

struct service;
struct reach;

/* On a service whose configuration is a struct reach_config. ERR_NOMEM. */
MUST_CHECK int reach_new(struct service *s, struct reach **ret_reach);
void reach_free(struct reach *r);

/* Something may be due. */
void reach_wake(struct reach *r);
/* Frees rows whose process died, about once a minute. */
void reach_rescue(struct reach *r);
/* Claims no more. */
void reach_drain(struct reach *r);
/* Whether a delivery or a statement is under way. */
bool reach_busy(const struct reach *r);

#endif
