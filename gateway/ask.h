/*
 * A request that reads the database and is answered by what that says.
 */
#ifndef TOCSIN_GATEWAY_ASK_H
#define TOCSIN_GATEWAY_ASK_H

#include "gateway/gateway.h"

/* Answers the request from the result of its statement, which took so long. */
typedef void ask_answer_fn(struct http_exchange *x, const struct db_result *r, int64_t took_ms);

/* Sends a statement without parameters. Who asks the same while it is under way is answered by it
 * too: anybody may ask, and what is heard goes through the same session. A database that does not
 * answer within half of GATEWAY_PATIENCE, or is away, is a 503. */
void ask_send(
    struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt, ask_answer_fn *answer);

/* Gives up what has not been answered. After http_server_free(). */
void ask_stop(struct gateway *g);

#endif
