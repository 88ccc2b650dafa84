/*
 * A request that tells the database what somebody said, and is answered by what that came to.
 */
#ifndef TOCSIN_GATEWAY_HEAR_H
#define TOCSIN_GATEWAY_HEAR_H

#include "gateway/gateway.h"
#include "io/db_conn.h"

/* Answers the request from the row that the statement gave. */
typedef void hear_answer_fn(struct gateway *g, struct http_exchange *x, const struct db_result *r);

/* Sends an idempotent statement and answers `x` by its row. A database that is away gets the
 * statement when it is back, so that nothing that was heard is lost; whoever waits is told 503
 * after HEAR_PATIENCE_MS. */
#define HEAR_PATIENCE_MS 10000
void hear_send(struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt,
    const struct db_args *args, hear_answer_fn *answer);

#endif
