#include "gateway/ask.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"

/* A statement that is under way. */
struct asking {
    struct gateway *gateway;
    struct asking *next;
    const struct db_stmt *stmt;
    struct question *questions;
};

/* Somebody who waits for it. */
struct question {
    struct asking *asking;
    struct question *prev, *next;
    struct http_exchange *exchange;
    struct loop_timer *patience;
    ask_answer_fn *answer;
    int64_t asked_ms;
};

static void answer_away(struct http_exchange *x)
{
    http_exchange_add_header(x, "Retry-After", GATEWAY_RETRY_AFTER_S);
    gateway_problem(x, 503, "The database does not answer",
        "TOCSIN_DATABASE_URL: see the log of the gateway, and whether PostgreSQL is up");
}

static void question_end(struct question *q)
{
    if (q->prev)
        q->prev->next = q->next;
    else
        q->asking->questions = q->next;
    if (q->next)
        q->next->prev = q->prev;
    loop_timer_free(q->patience);
    free(q);
}

static void on_patience_over(void *arg)
{
    struct question *q = arg;

    answer_away(q->exchange);
    question_end(q);
}

static bool question_new(struct asking *a, struct http_exchange *x, ask_answer_fn *answer)
{
    struct question *q = calloc(1, sizeof(*q));

    if (!q)
        return false;
    *q = (struct question){
        .asking = a, .exchange = x, .answer = answer, .asked_ms = clock_ms(), .next = a->questions};
    q->patience = loop_timer_new(service_loop(a->gateway->service), on_patience_over, q);
    if (!q->patience) {
        free(q);
        return false;
    }
    if (q->next)
        q->next->prev = q;
    a->questions = q;
    loop_timer_start(q->patience, a->gateway->config->patience_ms / 2);
    return true;
}

/* Answers whoever waits; without a result, or with an error, that the database is away. */
static void asking_end(struct asking *a, const struct db_result *r)
{
    struct asking **at = &a->gateway->askings;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    while (a->questions) {
        struct question *q = a->questions;
        if (!r || r->err)
            answer_away(q->exchange);
        else
            q->answer(q->exchange, r, clock_ms() - q->asked_ms);
        question_end(q);
    }
    free(a);
}

static void on_answer(void *arg, struct db_result *r)
{
    struct asking *a = arg;
    struct failure f;

    if (r->err == ERR_DB) {
        db_failure(r, a->stmt, &f);
        log_failure(LOG_LEVEL_ERROR, &f, F_NONE, "the database could not be asked");
    }
    asking_end(a, r);
}

static struct asking *asking_find(struct gateway *g, const struct db_stmt *stmt)
{
    struct asking *a = g->askings;

    while (a && a->stmt != stmt)
        a = a->next;
    return a;
}

static struct asking *asking_new(struct gateway *g, const struct db_stmt *stmt)
{
    struct asking *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    *a = (struct asking){.gateway = g, .stmt = stmt, .next = g->askings};
    if (db_conn_send(service_db(g->service), stmt, NULL, 0, on_answer, a) != 0) {
        free(a);
        return NULL;
    }
    g->askings = a;
    return a;
}

void ask_send(
    struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt, ask_answer_fn *answer)
{
    struct asking *a = asking_find(g, stmt);

    if (!db_conn_is_up(service_db(g->service))) {
        answer_away(x);
        return;
    }
    if (!a)
        a = asking_new(g, stmt);
    if (!a || !question_new(a, x, answer))
        gateway_problem(x, 503, "Out of memory", "ask again");
}

void ask_stop(struct gateway *g)
{
    while (g->askings) {
        db_conn_forget(service_db(g->service), g->askings);
        asking_end(g->askings, NULL);
    }
}
