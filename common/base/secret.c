#include "base/secret.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The decoder of libsodium takes some bytes above 127 for digits, so they are refused first. */
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#define FORM        "v1."
#define ID_MAX      32
#define RING_MAX    64
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define SEALED_MAX  (NONCE_BYTES + SECRET_PLAIN_MAX + TAG_BYTES)
#define BASE64_URL  sodium_base64_VARIANT_URLSAFE_NO_PADDING

_Static_assert(SECRET_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key size");

struct ring_key {
    char id[ID_MAX + 1];
    unsigned char bytes[SECRET_KEY_BYTES];
};

/* The ring and its keys lie in one block of sodium_malloc(). */
struct secret_ring {
    size_t count;
    struct ring_key keys[RING_MAX];
};

struct secret {
    char *text; /* sodium_malloc() */
    size_t len;
};

static bool id_ok(const char *id, size_t len)
{
    return len > 0 && len <= ID_MAX && strspn(id, ALNUM "_-") >= len;
}

static const struct ring_key *find_key(const struct secret_ring *ring, const char *id, size_t len)
{
    for (size_t i = 0; i < ring->count; i++) {
        const struct ring_key *key = &ring->keys[i];
        if (strlen(key->id) == len && memcmp(key->id, id, len) == 0)
            return key;
    }
    return NULL;
}

/* With or without the padding, of either alphabet. */
static bool decode_key(const char *text, size_t len, unsigned char *ret_bytes)
{
    static const int variants[] = {
        sodium_base64_VARIANT_ORIGINAL,
        sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
        sodium_base64_VARIANT_URLSAFE,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING,
    };

    if (strspn(text, ALNUM "+/-_=") < len)
        return false;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
        size_t got;
        if (sodium_base642bin(
                ret_bytes, SECRET_KEY_BYTES, text, len, NULL, &got, NULL, variants[i]) == 0 &&
            got == SECRET_KEY_BYTES)
            return true;
    }
    return false;
}

/* Takes "id:base64". A fault names the position alone: where the form is wrong,
 * any part of the text may be the key. */
static bool add_key(
    struct secret_ring *ring, const char *entry, size_t len, size_t position, struct buf *faults)
{
    const char *colon = memchr(entry, ':', len);
    size_t id_len = colon ? (size_t)(colon - entry) : 0;

    if (!colon || !id_ok(entry, id_len)) {
        buf_addf(faults,
            "TOCSIN_SEAL_KEYS: key %zu is not \"id:base64\" with an id of up to %d letters, "
            "digits, '_' and '-'\n",
            position, ID_MAX);
        return false;
    }
    if (find_key(ring, entry, id_len)) {
        buf_addf(faults, "TOCSIN_SEAL_KEYS: key %zu has the id of an earlier one\n", position);
        return false;
    }
    if (ring->count == RING_MAX) {
        buf_addf(faults, "TOCSIN_SEAL_KEYS: more than %d keys\n", RING_MAX);
        return false;
    }
    struct ring_key *key = &ring->keys[ring->count];
    if (!decode_key(colon + 1, len - id_len - 1, key->bytes)) {
        sodium_memzero(key, sizeof(*key));
        buf_addf(faults,
            "TOCSIN_SEAL_KEYS: key %zu is not %d bytes in base64; make one with "
            "`tocsin-seal --new-key ID`\n",
            position, SECRET_KEY_BYTES);
        return false;
    }
    memcpy(key->id, entry, id_len);
    ring->count++;
    return true;
}

int secret_ring_parse(const char *keys, struct buf *faults, struct secret_ring **ret_ring)
{
    bool sound = true;

    if (sodium_init() < 0)
        return ERR_NOMEM;
    struct secret_ring *ring = sodium_malloc(sizeof(*ring));
    if (!ring)
        return ERR_NOMEM;
    memset(ring, 0, sizeof(*ring));

    const char *at = keys ? keys : "";
    for (size_t position = 1; *at; position++) {
        size_t len = strcspn(at, ",");
        if (!add_key(ring, at, len, position, faults))
            sound = false;
        if (sound && at[len] == ',' && !at[len + 1]) {
            buf_addf(faults, "TOCSIN_SEAL_KEYS: a comma at the end\n");
            sound = false;
        }
        at += len + (at[len] == ',');
    }
    if (!sound) {
        secret_ring_free(ring);
        return ERR_INVALID;
    }
    (void)sodium_mprotect_readonly(ring);
    *ret_ring = ring;
    return 0;
}

void secret_ring_free(struct secret_ring *ring)
{
    sodium_free(ring);
}

size_t secret_ring_count(const struct secret_ring *ring)
{
    return ring->count;
}

int secret_seal(const struct secret_ring *ring, const char *context, const void *plain, size_t len,
    struct buf *ret_sealed)
{
    if (ring->count == 0)
        return ERR_CRYPTO;
    if (len > SECRET_PLAIN_MAX)
        return ERR_TOO_LARGE;

    size_t sealed_len = NONCE_BYTES + len + TAG_BYTES;
    size_t text_size = sodium_base64_encoded_len(sealed_len, BASE64_URL);
    _cleanup_(freep) unsigned char *sealed = malloc(sealed_len);
    _cleanup_(freep) char *text = malloc(text_size);
    if (!sealed || !text)
        return ERR_NOMEM;

    const struct ring_key *key = &ring->keys[0];
    randombytes_buf(sealed, NONCE_BYTES);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, plain, len,
        (const unsigned char *)context, strlen(context), NULL, sealed, key->bytes);
    (void)sodium_bin2base64(text, text_size, sealed, sealed_len, BASE64_URL);
    buf_addf(ret_sealed, FORM "%s.%s", key->id, text);
    return buf_err(ret_sealed);
}

/* Splits "v1.<id>.<base64url>". */
static int split(const char *sealed, const char **ret_id, size_t *ret_id_len, const char **ret_body)
{
    if (strncmp(sealed, FORM, strlen(FORM)) != 0)
        return ERR_INVALID;
    const char *id = sealed + strlen(FORM);
    size_t id_len = strcspn(id, ".");
    if (id[id_len] != '.' || !id_ok(id, id_len))
        return ERR_INVALID;
    *ret_id = id;
    *ret_id_len = id_len;
    *ret_body = id + id_len + 1;
    return 0;
}

static struct secret *secret_new(size_t len)
{
    struct secret *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->len = len;
    s->text = sodium_malloc(len + 1);
    if (!s->text) {
        free(s);
        return NULL;
    }
    s->text[len] = '\0';
    return s;
}

static int decrypt(const struct ring_key *key, const char *context, const unsigned char *sealed,
    size_t sealed_len, struct secret **ret_secret)
{
    struct secret *s = secret_new(sealed_len - NONCE_BYTES - TAG_BYTES);

    if (!s)
        return ERR_NOMEM;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *)s->text, NULL, NULL,
            sealed + NONCE_BYTES, sealed_len - NONCE_BYTES, (const unsigned char *)context,
            strlen(context), sealed, key->bytes) != 0) {
        secret_free(s);
        return ERR_CRYPTO;
    }
    (void)sodium_mprotect_readonly(s->text);
    *ret_secret = s;
    return 0;
}

int secret_open(const struct secret_ring *ring, const char *context, const char *sealed,
    struct secret **ret_secret)
{
    const char *id;
    const char *body;
    size_t id_len;
    size_t len;

    int err = split(sealed, &id, &id_len, &body);
    if (err)
        return err;
    size_t body_len = strspn(body, ALNUM "-_");
    if (body[body_len] != '\0' || body_len >= sodium_base64_encoded_len(SEALED_MAX, BASE64_URL))
        return ERR_INVALID;
    _cleanup_(freep) unsigned char *bytes = malloc(body_len + 1);
    if (!bytes)
        return ERR_NOMEM;
    if (sodium_base642bin(bytes, body_len, body, body_len, NULL, &len, NULL, BASE64_URL) != 0 ||
        len < NONCE_BYTES + TAG_BYTES)
        return ERR_INVALID;

    const struct ring_key *key = find_key(ring, id, id_len);
    if (!key)
        return ERR_CRYPTO;
    return decrypt(key, context, bytes, len, ret_secret);
}

const char *secret_text(const struct secret *s)
{
    return s->text;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    sodium_free(s->text);
    free(s);
}
