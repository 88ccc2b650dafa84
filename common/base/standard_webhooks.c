#include "base/standard_webhooks.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_PREFIX "whsec_"
#define SECRET_MIN    ((size_t)24)
#define SECRET_MAX    ((size_t)64)
#define SCHEME        "v1,"
#define MAC_BYTES     crypto_auth_hmacsha256_BYTES
#define MAC_TEXT_SIZE sodium_base64_ENCODED_LEN(MAC_BYTES, sodium_base64_VARIANT_ORIGINAL)
#define ID_MAX        ((size_t)256)

/* libsodium's decoder takes some bytes above 127 for digits. */
static bool is_base64(const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strspn(text, digits);
    return text[n + strspn(text + n, "=")] == '\0';
}

/* With or without the padding. */
static int read_secret(const char *secret, unsigned char key[SECRET_MAX], size_t *ret_len)
{
    size_t prefix = strlen(SECRET_PREFIX);

    if (strncmp(secret, SECRET_PREFIX, prefix) != 0 || !is_base64(secret + prefix))
        return ERR_INVALID;
    const char *text = secret + prefix;
    int variant = strchr(text, '=') ? sodium_base64_VARIANT_ORIGINAL
                                    : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    if (sodium_base642bin(key, SECRET_MAX, text, strlen(text), NULL, ret_len, NULL, variant) != 0 ||
        *ret_len < SECRET_MIN)
        return ERR_INVALID;
    return 0;
}

int standard_webhooks_check_secret(const char *secret)
{
    unsigned char key[SECRET_MAX];
    size_t len;
    int err = read_secret(secret, key, &len);

    sodium_memzero(key, sizeof(key));
    return err;
}

static bool id_is_valid(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len <= ID_MAX && !strchr(id, '.');
}

/* The text of one signature, without its scheme. */
static int compute(const char *secret, const char *id, const char *timestamp, const void *body,
    size_t body_len, char ret_text[MAC_TEXT_SIZE])
{
    unsigned char key[SECRET_MAX], mac[MAC_BYTES];
    crypto_auth_hmacsha256_state hmac;
    size_t key_len;
    int err = id_is_valid(id) ? read_secret(secret, key, &key_len) : ERR_INVALID;

    if (err == 0) {
        crypto_auth_hmacsha256_init(&hmac, key, key_len);
        crypto_auth_hmacsha256_update(&hmac, (const unsigned char *)id, strlen(id));
        crypto_auth_hmacsha256_update(&hmac, (const unsigned char *)".", 1);
        crypto_auth_hmacsha256_update(&hmac, (const unsigned char *)timestamp, strlen(timestamp));
        crypto_auth_hmacsha256_update(&hmac, (const unsigned char *)".", 1);
        crypto_auth_hmacsha256_update(&hmac, body, body_len);
        crypto_auth_hmacsha256_final(&hmac, mac);
        sodium_bin2base64(
            ret_text, MAC_TEXT_SIZE, mac, sizeof(mac), sodium_base64_VARIANT_ORIGINAL);
        sodium_memzero(&hmac, sizeof(hmac));
    }
    sodium_memzero(key, sizeof(key));
    return err;
}

int standard_webhooks_sign(const char *secret, const char *id, int64_t timestamp_s,
    const void *body, size_t body_len, struct buf *signatures)
{
    char text[MAC_TEXT_SIZE];
    struct buf timestamp = BUF_INIT(32);

    buf_addf(&timestamp, "%" PRId64, timestamp_s);
    int err = buf_err(&timestamp);
    if (err == 0)
        err = compute(secret, id, buf_str(&timestamp), body, body_len, text);
    buf_release(&timestamp);
    if (err < 0)
        return err;
    if (signatures->len > 0)
        buf_add_char(signatures, ' ');
    buf_addf(signatures, SCHEME "%s", text);
    return buf_err(signatures);
}

static int check_time(const char *timestamp, int64_t now_s)
{
    char *end;

    if (timestamp[0] < '0' || timestamp[0] > '9')
        return ERR_INVALID;
    errno = 0;
    int64_t at = strtoll(timestamp, &end, 10);
    if (errno != 0 || *end != '\0')
        return ERR_INVALID;
    bool fits =
        at >= now_s - STANDARD_WEBHOOKS_TOLERANCE_S && at <= now_s + STANDARD_WEBHOOKS_TOLERANCE_S;
    return fits ? 0 : ERR_TIMEOUT;
}

/* Whether the list, parted by blanks, holds the signature. Compares in constant time. */
static bool list_holds(const char *signatures, const char *text)
{
    size_t scheme = strlen(SCHEME), len = strlen(text);
    bool found = false;

    while (*signatures != '\0') {
        size_t n = strcspn(signatures, " ");
        if (n == scheme + len && memcmp(signatures, SCHEME, scheme) == 0 &&
            sodium_memcmp(signatures + scheme, text, len) == 0)
            found = true;
        signatures += n;
        signatures += strspn(signatures, " ");
    }
    return found;
}

int standard_webhooks_verify(const char *secret, const char *id, const char *timestamp,
    const char *signatures, const void *body, size_t body_len, int64_t now_s)
{
    char text[MAC_TEXT_SIZE];
    int err = check_time(timestamp, now_s);

    if (err == 0)
        err = compute(secret, id, timestamp, body, body_len, text);
    if (err < 0)
        return err;
    return list_holds(signatures, text) ? 0 : ERR_DENIED;
}
