#include "worker-calendar/google_tokens.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CONTEXT  "google.access_token"
#define SPARE_MS INT64_C(60000)

struct slot {
    int64_t credential;
    int64_t expires_at_ms; /* monotonic */
    unsigned char origin[crypto_generichash_BYTES];
    char *sealed; /* NULL: empty */
};

struct google_tokens {
    const struct secret_ring *ring;
    struct slot slots[GOOGLE_TOKENS_MAX];
};

int google_tokens_new(const struct secret_ring *ring, struct google_tokens **ret_tokens)
{
    struct google_tokens *t = calloc(1, sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    t->ring = ring;
    *ret_tokens = t;
    return 0;
}

static void empty(struct slot *s)
{
    free(s->sealed);
    *s = (struct slot){0};
}

void google_tokens_free(struct google_tokens *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < GOOGLE_TOKENS_MAX; i++)
        empty(&t->slots[i]);
    free(t);
}

static struct slot *slot_of(struct google_tokens *t, int64_t credential)
{
    return &t->slots[(uint64_t)credential % GOOGLE_TOKENS_MAX];
}

static void hash(const char *sealed, unsigned char *ret_hash)
{
    (void)crypto_generichash(
        ret_hash, crypto_generichash_BYTES, (const unsigned char *)sealed, strlen(sealed), NULL, 0);
}

void google_tokens_put(struct google_tokens *t, int64_t credential, const char *sealed,
    const char *token, int64_t expires_ms)
{
    struct slot *s = slot_of(t, credential);
    struct buf text = BUF_INIT(SECRET_PLAIN_MAX * 2);
    empty(s);
    if (expires_ms > SPARE_MS && secret_seal(t->ring, CONTEXT, token, strlen(token), &text) == 0)
        s->sealed = buf_steal(&text);
    buf_release(&text);
    if (!s->sealed)
        return;
    s->credential = credential;
    s->expires_at_ms = clock_ms() + expires_ms - SPARE_MS;
    hash(sealed, s->origin);
}

struct secret *google_tokens_get(struct google_tokens *t, int64_t credential, const char *sealed)
{
    struct slot *s = slot_of(t, credential);
    unsigned char origin[crypto_generichash_BYTES];
    struct secret *token;
    if (!s->sealed || s->credential != credential || clock_ms() >= s->expires_at_ms)
        return NULL;
    hash(sealed, origin);
    if (memcmp(origin, s->origin, sizeof(origin)) != 0)
        return NULL;
    return secret_open(t->ring, CONTEXT, s->sealed, &token) == 0 ? token : NULL;
}

void google_tokens_drop(struct google_tokens *t, int64_t credential)
{
    struct slot *s = slot_of(t, credential);
    if (s->credential == credential)
        empty(s);
}
