/*
 * A request that tells the database what somebody said, and is answered by what that came to.
 */
#ifndef TOCSIN_GATEWAY_HEAR_H
#define TOCSIN_GATEWAY_HEAR_H

#include "gateway/gateway.h"
#include "io/db_conn.h"

/* Answers the request from the row that the statement gave. */
typedef void hear_answer_fn(struct gateway *g, struct http_exchange *x, const struct db_result *r);

/* Sends an idempotent statement, with the arguments that `args` held, and answers `x` by its row. A
 * database that is away gets the statement when it is back; one that fails of what may pass, such
 * as a row that is locked or a deadlock, is tried HEAR_TRIES_MAX times in all. Whoever waits is
 * told 503 after GATEWAY_PATIENCE, and at once where HEAR_WAITING_MAX wait already. */
#define HEAR_TRIES_MAX   10
#define HEAR_WAITING_MAX 10000
void hear_send(struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt,
    struct db_args *args, hear_answer_fn *answer);

/* Gives up what has not been written yet. After http_server_free(). */
void hear_stop(struct gateway *g);

#endif
