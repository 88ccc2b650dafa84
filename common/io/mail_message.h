/*
 * One mail as RFC 5322 and MIME: plain text in UTF-8, quoted-printable.
 */
#ifndef TOCSIN_IO_MAIL_MESSAGE_H
#define TOCSIN_IO_MAIL_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Subject, text and the rest together, encoded. */
#define MAIL_BYTES_MAX ((size_t)1 << 20)

struct mail_message {
    const char *from;      /* an address, without a name */
    const char *from_name; /* UTF-8; NULL: none */
    const char *to;        /* one address */
    const char *subject;   /* UTF-8; control characters become blanks */
    const char *text;      /* UTF-8; lines end with \n or \r\n */
    /* Without its angle brackets. The same for every try of one notification: servers and
     * readers drop the second copy. */
    const char *message_id;
    const char *in_reply_to; /* a message id; NULL: none */
    int64_t date_s;          /* since 1970 */
};

/* Whether it is local@domain in ASCII as SMTP without extensions carries it (RFC 5321, 4.1.2
 * without quoted strings), of at most 254 bytes. */
bool mail_address_is_valid(const char *address);

/* Adds header and body with CRLF line ends to `ret_text`. ERR_INVALID: an address or an id that
 * is none. ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int mail_message_write(const struct mail_message *m, struct buf *ret_text);

#endif
