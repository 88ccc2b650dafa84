/*
 * The link by which a person acknowledges from a message: it names the notification and carries a
 * code that only the holders of LINK_SECRET can make.
 */
#ifndef TOCSIN_BASE_ACK_LINK_H
#define TOCSIN_BASE_ACK_LINK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Bytes that a secret has at least. */
#define ACK_LINK_SECRET_MIN 32

/* Adds "<public_url>/a/<id>-<code>" for a notification. ERR_INVALID: the secret is too short. */
MUST_CHECK int ack_link_add(
    struct buf *out, const char *public_url, const char *secret, int64_t notification_id);

/* Reads what stands behind /a/. ERR_INVALID: it is none; ERR_CRYPTO: the code is not of this
 * secret; the comparison takes the same time wherever they differ. */
MUST_CHECK int ack_link_read(const char *text, const char *secret, int64_t *ret_notification_id);

#endif
