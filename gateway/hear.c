#include "gateway/hear.h"

#include <stdlib.h>

#include "base/backoff.h"
#include "base/log.h"
#include "io/loop.h"

#define AGAIN_FIRST_MS 50
/* The pause between two tries is at most a fifth of the patience, so that there are some within it.
 */
#define AGAIN_SHARE 5

struct hearing {
    struct gateway *gateway;
    struct hearing *prev, *next;
    struct http_exchange *exchange; /* NULL: answered */
    struct loop_timer *patience, *again;
    const struct db_stmt *stmt;
    struct db_args args;
    hear_answer_fn *answer;
    struct backoff backoff;
};

static void hearing_free(struct hearing *h)
{
    loop_timer_free(h->patience);
    loop_timer_free(h->again);
    db_args_release(&h->args);
    free(h);
}

static void hearing_link(struct gateway *g, struct hearing *h)
{
    h->next = g->hearings;
    if (g->hearings)
        g->hearings->prev = h;
    g->hearings = h;
    g->n_hearings++;
}

static void hearing_end(struct hearing *h)
{
    struct gateway *g = h->gateway;

    if (h->prev)
        h->prev->next = h->next;
    else
        g->hearings = h->next;
    if (h->next)
        h->next->prev = h->prev;
    g->n_hearings--;
    hearing_free(h);
}

static void answer_unwritten(struct http_exchange *x, const char *title, const char *detail)
{
    http_exchange_add_header(x, "Retry-After", GATEWAY_RETRY_AFTER_S);
    gateway_problem(x, 503, title, "%s", detail);
}

static void answer_later(struct hearing *h)
{
    answer_unwritten(h->exchange, "The database does not answer",
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

/* It was not written and will not be. */
static void fail(struct hearing *h, const struct failure *f)
{
    log_failure(LOG_LEVEL_ERROR, f, F_NONE, "what was heard could not be written");
    service_metric_add(h->gateway->service, "hooks_failed", 1);
    if (h->exchange)
        answer_unwritten(h->exchange, "What was sent could not be written",
            "nothing of it was kept: send it again");
    hearing_end(h);
}

static void on_heard(void *arg, struct db_result *r);

static void send_it(void *arg)
{
    struct hearing *h = arg;
    struct failure f;
    int err =
        db_conn_send(service_db(h->gateway->service), h->stmt, &h->args, DB_RETRY, on_heard, h);

    if (err) {
        failure_set(&f, err, "it could not be sent to the database");
        fail(h, &f);
    }
}

static void on_heard(void *arg, struct db_result *r)
{
    struct hearing *h = arg;
    struct failure f;

    if (r->err == ERR_DB) {
        db_failure(r, h->stmt, &f);
        int64_t again_ms = backoff_next_ms(&h->backoff);
        if (f.final || h->backoff.failures >= HEAR_TRIES_MAX) {
            fail(h, &f);
            return;
        }
        log_failure(LOG_LEVEL_INFO, &f, F(F_INT("tries", h->backoff.failures)),
            "what was heard is written again");
        loop_timer_start(h->again, again_ms);
        return;
    }
    if (h->exchange && (r->err || db_rows(r) == 0))
        answer_later(h);
    else if (h->exchange)
        h->answer(h->gateway, h->exchange, r);
    hearing_end(h);
}

static struct hearing *hearing_new(struct gateway *g)
{
    struct hearing *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    *h = (struct hearing){.gateway = g,
        .backoff = {.first_ms = AGAIN_FIRST_MS, .max_ms = g->config->patience_ms / AGAIN_SHARE}};
    db_args_init(&h->args);
    h->patience = loop_timer_new(service_loop(g->service), on_patience_over, h);
    h->again = loop_timer_new(service_loop(g->service), send_it, h);
    if (h->patience && h->again)
        return h;
    hearing_free(h);
    return NULL;
}

void hear_send(struct gateway *g, struct http_exchange *x, const struct db_stmt *stmt,
    struct db_args *args, hear_answer_fn *answer)
{
    struct hearing *h;

    if (g->n_hearings >= HEAR_WAITING_MAX) {
        answer_unwritten(x, "The database does not answer",
            "too much waits for it already, nothing was kept of this request: send it again");
        return;
    }
    h = hearing_new(g);
    if (!h) {
        answer_unwritten(x, "Out of memory", "nothing was kept of this request: send it again");
        return;
    }
    h->exchange = x;
    h->stmt = stmt;
    h->answer = answer;
    h->args = *args;
    db_args_init(args);
    hearing_link(g, h);
    loop_timer_start(h->patience, g->config->patience_ms);
    send_it(h);
}

void hear_stop(struct gateway *g)
{
    while (g->hearings) {
        struct hearing *h = g->hearings;
        db_conn_forget(service_db(g->service), h);
        if (h->exchange)
            answer_later(h);
        hearing_end(h);
    }
}
