/*
 * The headers of a signed request (Standard Webhooks).
 */
#ifndef TOCSIN_WORKER_ESCALATION_WEBHOOK_SIGN_H
#define TOCSIN_WORKER_ESCALATION_WEBHOOK_SIGN_H

#include "worker-escalation/channel.h"

/* Adds webhook-id, webhook-timestamp and, with a secret (may be NULL), webhook-signature over the
 * body as it stands. The id stays the same over attempts, so that a receiver can tell repeats. */
MUST_CHECK int webhook_sign(struct channel_request *r, const char *secret, const char *id);

#endif
