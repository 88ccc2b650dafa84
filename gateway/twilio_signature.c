#include "gateway/twilio_signature.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define SHA1_BYTES 20
#define TEXT_MAX   ((size_t)1 << 20)

static int by_name(const void *a, const void *b)
{
    const struct form_field *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : strcmp(x->value, y->value);
}

int twilio_signature_check(
    const char *token, const char *url, const struct form *form, const char *signature)
{
    struct form_field sorted[FORM_FIELDS_MAX];
    struct buf text = BUF_INIT(TEXT_MAX);
    unsigned char digest[SHA1_BYTES];
    char right[sodium_base64_ENCODED_LEN(SHA1_BYTES, sodium_base64_VARIANT_ORIGINAL)];

    if (!signature || strlen(signature) != sizeof(right) - 1)
        return ERR_CRYPTO;
    memcpy(sorted, form->fields, form->n * sizeof(*sorted));
    qsort(sorted, form->n, sizeof(*sorted), by_name);
    buf_add_str(&text, url);
    for (size_t i = 0; i < form->n; i++) {
        buf_add_str(&text, sorted[i].name);
        buf_add_str(&text, sorted[i].value);
    }
    int err = buf_err(&text);
    if (!err && gnutls_hmac_fast(
                    GNUTLS_MAC_SHA1, token, strlen(token), buf_str(&text), text.len, digest) < 0)
        err = ERR_CRYPTO;
    buf_release(&text);
    if (err)
        return err;
    (void)sodium_bin2base64(
        right, sizeof(right), digest, sizeof(digest), sodium_base64_VARIANT_ORIGINAL);
    return sodium_memcmp(right, signature, sizeof(right) - 1) == 0 ? 0 : ERR_CRYPTO;
}
