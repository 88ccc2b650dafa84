#include "base/ack_link.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* 128 bits, which nobody guesses, in 22 characters. */
#define CODE_BYTES 16
#define CODE_SIZE  sodium_base64_ENCODED_LEN(CODE_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)

/* A keyed hash (BLAKE2b) of a text of our own, so that the secret may serve nothing else. */
static int make_code(const char *secret, int64_t notification_id, char ret_code[CODE_SIZE])
{
    unsigned char key[crypto_generichash_KEYBYTES], code[CODE_BYTES];
    size_t len = strlen(secret);
    char text[64];

    if (len < ACK_LINK_SECRET_MIN)
        return ERR_INVALID;
    (void)snprintf(text, sizeof(text), "tocsin.acknowledge:%" PRId64, notification_id);
    int failed = crypto_generichash(key, sizeof(key), (const unsigned char *)secret, len, NULL, 0);
    failed |= crypto_generichash(
        code, sizeof(code), (const unsigned char *)text, strlen(text), key, sizeof(key));
    (void)sodium_bin2base64(
        ret_code, CODE_SIZE, code, sizeof(code), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(key, sizeof(key));
    return failed ? ERR_CRYPTO : 0;
}

int ack_link_add(
    struct buf *out, const char *public_url, const char *secret, int64_t notification_id)
{
    char code[CODE_SIZE];
    int err = make_code(secret, notification_id, code);

    if (!err)
        buf_addf(out, "%s/a/%" PRId64 "-%s", public_url, notification_id, code);
    return err ? err : buf_err(out);
}

int ack_link_read(const char *text, const char *secret, int64_t *ret_notification_id)
{
    char code[CODE_SIZE], *end;

    if (*text < '1' || *text > '9')
        return ERR_INVALID;
    errno = 0;
    long long id = strtoll(text, &end, 10);
    if (errno || *end != '-' || strlen(end + 1) != CODE_SIZE - 1)
        return ERR_INVALID;
    int err = make_code(secret, id, code);
    if (!err && sodium_memcmp(code, end + 1, CODE_SIZE - 1) != 0)
        err = ERR_CRYPTO;
    if (!err)
        *ret_notification_id = id;
    return err;
}
