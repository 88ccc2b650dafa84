#include "gateway/hear.h"

#include <stdlib.h>

#include "base/log.h"
#include "io/loop.h"

struct hearing {
    struct gateway *gateway;
    struct http_exchange *exchange; /* NULL: answered */
    struct loop_timer *patience;
    const struct db_stmt *stmt;
    hear_answer_fn *answer;
};

static void hearing_free(struct hearing *h)
{
    loop_timer_free(h->patience);
    free(h);
}

static void answer_later(struct hearing *h)
{
    http_exchange_add_header(h->exchange, "Retry-After", "10");
    gateway_problem(h->exchange, 503, "The database does not answer",
        "what was sent is kept and worked as soon as the database is back; send it again if in "
        "doubt");
    h->exchange = NULL;
}

static void on_patience_over(void *arg)
{
    struct hearing *h = arg;

    if (h->exchange)
        answer_later(h);
}

static void on_heard(void *arg, struct db_result *r)
{
    struct hearing *h = arg;
    struct failure f;

    if (r->err == ERR_DB) {
        db_failure(r, h->stmt, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "what was heard could not be written");
        service_metric_add(h->gateway->service, "hooks_failed", 1);
    }
    if (h->exchange && r->err == ERR_DB)
        gateway_problem(h->exchange, 503, "What was sent could not be written",
            "nothing of it was kept: send it again");
    else if (h->exchange && (r->err || db_rows(r) == 0))
        answer_later(h);
    else if (h->exchange)
        h->answer(h->gateway, h->exchange, r);
    hearing_free(h);
}

void hear_send(struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt,
    const struct db_args *args, hear_answer_fn *answer)
{
    struct hearing *h = calloc(1, sizeof(*h));

    if (h) {
        *h = (struct hearing){.gateway = g, .exchange = x, .stmt = stmt, .answer = answer};
        h->patience = loop_timer_new(service_loop(g->service), on_patience_over, h);
    }
    if (!h || !h->patience ||
        db_conn_send(service_db(g->service), stmt, args, DB_RETRY, on_heard, h) != 0) {
        if (h)
            hearing_free(h);
        gateway_problem(x, 503, "Out of memory", "nothing was kept of this request: send it again");
        return;
    }
    loop_timer_start(h->patience, HEAR_PATIENCE_MS);
}
