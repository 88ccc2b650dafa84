/*
 * A client that speaks whatever a test wants, byte by byte, to a port of this machine.
 */
#ifndef TOCSIN_TESTS_RAW_CLIENT_H
#define TOCSIN_TESTS_RAW_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "tests/support/harness.h"

struct raw_client {
    int fd;     /* -1: not connected */
    bool ended; /* the other side has closed, or reset, the connection */
    struct buf got;
};

/* Connects; false: nobody listens there. */
bool raw_client_open(struct raw_client *c, int port);
/* NULL and closed ones too. */
void raw_client_close(struct raw_client *c);

/* Sends what it can without waiting longer than SOON; false: the other side is gone. */
bool raw_client_send(struct raw_client *c, const void *data, size_t len);
bool raw_client_say(struct raw_client *c, const char *text);

/* Takes what has arrived, without waiting. */
void raw_client_take(struct raw_client *c);
/* Waits for a whole answer, or for the end, and returns the answer's status; 0: it ended without
 * one. `got` is then the answer. */
int raw_client_answer(struct harness *h, struct raw_client *c);
/* Waits until the other side ends the connection. */
void raw_client_await_end(struct harness *h, struct raw_client *c);

#endif
