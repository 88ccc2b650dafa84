/*
 * A socket that listens at an address such as "127.0.0.1:8080".
 */
#ifndef TOCSIN_IO_HTTP_LISTEN_H
#define TOCSIN_IO_HTTP_LISTEN_H

#include "base/buf.h"
#include "base/err.h"

/* Whether it is an address and a port at all: 0, ERR_INVALID with what it has to be added to
 * `fault`, ERR_NOMEM. */
MUST_CHECK int http_listen_check(const char *listen, struct buf *fault);

/* Opens it without blocking and without inheritance; port 0 takes one that is free, and *ret_port
 * is the one it has. Returns the descriptor, the caller's; with what is wrong added to `fault`
 * ERR_INVALID, where another try would not mend it, and ERR_IO; ERR_NOMEM. */
MUST_CHECK int http_listen(const char *listen, int *ret_family, int *ret_port, struct buf *fault);

#endif
