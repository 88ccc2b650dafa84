/*
 * Access tokens of Google calendars, kept until they expire: in memory, sealed, a
 * bounded number of them.
 */
#ifndef TOCSIN_WORKER_CALENDAR_GOOGLE_TOKENS_H
#define TOCSIN_WORKER_CALENDAR_GOOGLE_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

/* Tokens kept; a further one takes the place of another. */
#define GOOGLE_TOKENS_MAX 4096

struct google_tokens;

/* `ring` is borrowed. ERR_NOMEM. */
MUST_CHECK int google_tokens_new(const struct secret_ring *ring, struct google_tokens **ret_tokens);
/* NULL does nothing. */
void google_tokens_free(struct google_tokens *t);

/* Keeps a token of a credential, whose `sealed` it was got with, for `expires_ms`. That it
 * cannot be kept is no error: the next sync gets another. */
void google_tokens_put(struct google_tokens *t, int64_t credential, const char *sealed,
    const char *token, int64_t expires_ms);
/* The token, opened, if it holds for a minute more and `sealed` is still the same; else NULL.
 * The caller frees it. */
struct secret *google_tokens_get(struct google_tokens *t, int64_t credential, const char *sealed);
void google_tokens_drop(struct google_tokens *t, int64_t credential);

#endif
