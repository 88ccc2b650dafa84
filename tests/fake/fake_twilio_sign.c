/* Twilio's signature of a callback: HMAC-SHA1, keyed with the account's token, over the address and
 * the parameters in the order of their names, each name followed by its value; base64.
 * Source: Twilio, "Webhooks security", validating signatures. */
#include "tests/fake/fake_provider.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define SHA1_BYTES 20
#define PARAMS_MAX 64

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int fake_twilio_signature(
    const char *url, const char *token, const char *const *params, struct buf *ret_signature)
{
    const char *sorted[PARAMS_MAX];
    struct buf text = BUF_INIT(65536);
    unsigned char digest[SHA1_BYTES];
    char base64[sodium_base64_ENCODED_LEN(SHA1_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    size_t n = 0;

    for (; params[n]; n++) {
        if (n == PARAMS_MAX)
            return ERR_TOO_LARGE;
        sorted[n] = params[n];
    }
    qsort(sorted, n, sizeof(*sorted), by_name);
    buf_add_str(&text, url);
    for (size_t i = 0; i < n; i++) {
        const char *value = strchr(sorted[i], '=');
        buf_add(&text, sorted[i], (size_t)(value - sorted[i]));
        buf_add_str(&text, value + 1);
    }
    int err = buf_err(&text);
    if (!err &&
        gnutls_hmac_fast(GNUTLS_MAC_SHA1, token, strlen(token), text.data, text.len, digest))
        err = ERR_CRYPTO;
    buf_release(&text);
    if (err)
        return err;
    (void)sodium_bin2base64(
        base64, sizeof(base64), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);
    buf_add_str(ret_signature, base64);
    return buf_err(ret_signature);
}

int fake_twilio_callback(
    struct fake_provider *p, const char *url, const char *token, const char *const *params)
{
    struct buf header = BUF_INIT(256), body = BUF_INIT(65536);

    buf_add_str(&header, "X-Twilio-Signature: ");
    int result = fake_twilio_signature(url, token, params, &header);
    for (size_t i = 0; !result && params[i]; i++) {
        const char *value = strchr(params[i], '=');
        buf_addf(&body, "%s%.*s=", i ? "&" : "", (int)(value - params[i]), params[i]);
        buf_add_percent(&body, value + 1);
    }
    const char *const headers[] = {
        buf_str(&header), "Content-Type: application/x-www-form-urlencoded", NULL};
    if (!result)
        result = buf_err(&body);
    if (!result)
        result = fake_callback(p, url, headers, buf_str(&body));
    buf_release(&header);
    buf_release(&body);
    return result;
}
