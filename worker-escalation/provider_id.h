/*
 * Ids that providers give to what they have taken.
 */
#ifndef TOCSIN_WORKER_ESCALATION_PROVIDER_ID_H
#define TOCSIN_WORKER_ESCALATION_PROVIDER_ID_H

#include "worker-escalation/channel.h"

/* Sets the outcome's provider id to the parts, joined by ':' where `second` is not NULL. False,
 * and nothing is set, when a part is missing, has another character than letters, digits, '.', '-'
 * and '_', or the whole does not fit. */
bool provider_id_set(struct outcome *out, const char *first, const char *second);

#endif
