/*
 * Secrets at rest: sealed with XChaCha20-Poly1305, the key's id in front, bound
 * to a context so that a sealed value cannot be moved to another row's column.
 *
 *     v1.<key id>.<base64url of nonce and ciphertext>
 *
 * Keys come from TOCSIN_SEAL_KEYS: "id:base64,id:base64", 32 bytes each. The first
 * seals, all of them open: rotation without downtime.
 */
#ifndef TOCSIN_BASE_SECRET_H
#define TOCSIN_BASE_SECRET_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define SECRET_KEY_BYTES 32
#define SECRET_PLAIN_MAX 65536

struct secret_ring;

/* Parses "id:base64,…" into locked memory. NULL or "" gives an empty ring, which
 * opens nothing. Faults are appended as text. Returns 0, ERR_INVALID, ERR_NOMEM. */
MUST_CHECK int secret_ring_parse(
    const char *keys, struct buf *faults, struct secret_ring **ret_ring);
/* Wipes and frees; NULL does nothing. */
void secret_ring_free(struct secret_ring *ring);
/* How many keys it holds. */
size_t secret_ring_count(const struct secret_ring *ring);

/* Seals `plain` for `context` (such as "calendar_credentials.secret") into `ret_sealed`, which
 * is appended to. ERR_CRYPTO with an empty ring, ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int secret_seal(const struct secret_ring *ring, const char *context, const void *plain,
    size_t len, struct buf *ret_sealed);

/* A secret that has been opened: locked, guarded memory, NUL-terminated. */
struct secret;
/* ERR_INVALID: not in the form; ERR_CRYPTO: no such key, another context, or altered. */
MUST_CHECK int secret_open(const struct secret_ring *ring, const char *context, const char *sealed,
    struct secret **ret_secret);
const char *secret_text(const struct secret *s);
size_t secret_len(const struct secret *s);
/* Wipes and frees; NULL does nothing. */
void secret_free(struct secret *s);
static inline void secret_freep(struct secret **s)
{
    secret_free(*s);
}

#endif
