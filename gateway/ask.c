#include "gateway/ask.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"

struct question {
    struct http_exchange *exchange; /* NULL: answered */
    struct loop_timer *patience;
    const struct db_stmt *stmt;
    ask_answer_fn *answer;
    int64_t asked_ms;
};

static void question_free(struct question *q)
{
    loop_timer_free(q->patience);
    free(q);
}

static void answer_away(struct http_exchange *x)
{
    http_exchange_add_header(x, "Retry-After", GATEWAY_RETRY_AFTER_S);
    gateway_problem(x, 503, "The database does not answer",
        "TOCSIN_DATABASE_URL: see the log of the gateway, and whether PostgreSQL is up");
}

static void on_patience_over(void *arg)
{
    struct question *q = arg;

    if (q->exchange)
        answer_away(q->exchange);
    q->exchange = NULL;
}

static void on_answer(void *arg, struct db_result *r)
{
    struct question *q = arg;
    struct failure f;

    if (r->err == ERR_DB) {
        db_failure(r, q->stmt, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "the database could not be asked");
    }
    if (q->exchange && r->err)
        answer_away(q->exchange);
    else if (q->exchange)
        q->answer(q->exchange, r, clock_ms() - q->asked_ms);
    question_free(q);
}

void ask_send(
    struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt, ask_answer_fn *answer)
{
    struct question *q;

    if (!db_conn_is_up(service_db(g->service))) {
        answer_away(x);
        return;
    }
    q = calloc(1, sizeof(*q));
    if (q) {
        *q = (struct question){
            .exchange = x, .stmt = stmt, .answer = answer, .asked_ms = clock_ms()};
        q->patience = loop_timer_new(service_loop(g->service), on_patience_over, q);
    }
    if (!q || !q->patience ||
        db_conn_send(service_db(g->service), stmt, NULL, 0, on_answer, q) != 0) {
        if (q)
            question_free(q);
        gateway_problem(x, 503, "Out of memory", "ask again");
        return;
    }
    loop_timer_start(q->patience, ASK_PATIENCE_MS);
}
