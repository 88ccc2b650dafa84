/*
 * An SMTP server with STARTTLS on 127.0.0.1 that takes one mail: openssl(1) does TLS, so that
 * the tests need no TLS library of their own.
 */
#ifndef TOCSIN_TESTS_TLS_SMTP_H
#define TOCSIN_TESTS_TLS_SMTP_H

#include "tests/support/certificate.h"

struct tls_smtp;

/* Fails the test when it cannot be had. */
struct tls_smtp *tls_smtp_start(const struct certificate *c);
int tls_smtp_port(const struct tls_smtp *t);
/* Ends it and returns what it took for the text of a mail; "" for none. The caller frees it. */
char *tls_smtp_stop(struct tls_smtp *t);

#endif
