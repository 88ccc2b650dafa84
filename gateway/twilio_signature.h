/*
 * How Twilio signs what it sends: X-Twilio-Signature.
 */
#ifndef TOCSIN_GATEWAY_TWILIO_SIGNATURE_H
#define TOCSIN_GATEWAY_TWILIO_SIGNATURE_H

#include "base/form.h"

/* Whether `signature` is that of the account with this token: the base64 of the HMAC-SHA1 over the
 * whole address, the query included, and the fields of the form in the order of their names, each
 * name followed by its value. Source: Twilio, "Webhooks security". 0, ERR_CRYPTO: it is not;
 * ERR_NOMEM, ERR_TOO_LARGE. `signature` may be NULL. */
MUST_CHECK int twilio_signature_check(
    const char *token, const char *url, const struct form *form, const char *signature);

#endif
