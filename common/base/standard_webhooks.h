/*
 * Signatures of the Standard Webhooks specification
 * (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md), symmetric
 * scheme v1: HMAC-SHA256 over "id.timestamp.body", in the headers webhook-id,
 * webhook-timestamp and webhook-signature.
 */
#ifndef TOCSIN_BASE_STANDARD_WEBHOOKS_H
#define TOCSIN_BASE_STANDARD_WEBHOOKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* How far a timestamp may be from our clock, either way. */
#define STANDARD_WEBHOOKS_TOLERANCE_S ((int64_t)300)

/* Whether `secret` is "whsec_" and the base64 of 24 to 64 bytes. 0, ERR_INVALID, ERR_NOMEM. */
MUST_CHECK int standard_webhooks_check_secret(const char *secret);

/* Adds "v1,…" to `signatures`, the value of webhook-signature, after a blank when it holds one
 * already: a secret that is being replaced signs beside the new one. The id has no dot.
 * ERR_INVALID: the secret or the id is not in its form. ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int standard_webhooks_sign(const char *secret, const char *id, int64_t timestamp_s,
    const void *body, size_t body_len, struct buf *signatures);

/* Takes the three headers as they came, at the time `now_s`. 0 when one of the v1 signatures
 * is ours. ERR_INVALID: secret, id or timestamp is not in its form. ERR_TIMEOUT: made too long
 * ago, or in the future. ERR_DENIED: no signature fits. ERR_NOMEM. */
MUST_CHECK int standard_webhooks_verify(const char *secret, const char *id, const char *timestamp,
    const char *signatures, const void *body, size_t body_len, int64_t now_s);

#endif
