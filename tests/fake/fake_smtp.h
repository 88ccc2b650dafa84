/*
 * A scripted SMTP server on 127.0.0.1 in a thread of its own. It records what it accepts,
 * and answers as a friendly server would wherever no rule says otherwise.
 */
#ifndef TOCSIN_TESTS_FAKE_SMTP_H
#define TOCSIN_TESTS_FAKE_SMTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct fake_smtp;

/* What a command is answered with. Rules are tried in the order in which they were added. */
struct fake_smtp_rule {
    /* "CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", and "." for the end of
     * the text. */
    const char *command;
    int times;         /* 0: any number */
    const char *reply; /* whole, without the line end: "451 4.7.1 later"; NULL: as usual */
    bool hang;         /* no reply at all */
    bool drop;         /* the connection ends instead of a reply; a text is accepted if no reply
                          is given */
};

/* One message that was accepted. */
struct fake_mail {
    const char *from; /* of the envelope */
    const char *to;
    const char *text; /* header and body, dots unstuffed, CRLF line ends */
};

/* ERR_NOMEM or ERR_IO. */
MUST_CHECK int fake_smtp_new(struct fake_smtp **ret_smtp);
void fake_smtp_free(struct fake_smtp *s);
int fake_smtp_port(const struct fake_smtp *s);
/* Copies. Offers before a rule is met: EHLO lists AUTH PLAIN and SIZE, and no STARTTLS. */
MUST_CHECK int fake_smtp_on(struct fake_smtp *s, const struct fake_smtp_rule *rule);

size_t fake_smtp_count(struct fake_smtp *s);
/* The n-th from 0, or NULL. Lives as long as the server. */
const struct fake_mail *fake_smtp_at(struct fake_smtp *s, size_t n);
/* Every command line so far, in order, each ended by \n. The caller frees it; NULL: no memory. */
char *fake_smtp_commands(struct fake_smtp *s);
size_t fake_smtp_connections(struct fake_smtp *s);

#endif
