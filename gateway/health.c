#include "gateway/health.h"

#include "gateway/ask.h"
#include "sql/gateway.h"

void health_live(struct gateway *g, struct http_exchange *x)
{
    (void)g;
    gateway_answer_json(x, 200, json_pack("{s:s}", "status", "live"));
}

void health_ready(struct gateway *g, struct http_exchange *x)
{
    if (service_draining(g->service))
        gateway_problem(x, 503, "Not ready", "the gateway is ending");
    else if (!db_conn_is_up(service_db(g->service)))
        gateway_problem(x, 503, "Not ready", "the database is away: see the log of the gateway");
    else
        gateway_answer_json(x, 200, json_pack("{s:s}", "status", "ready"));
}

static void answer_ping(struct http_exchange *x, const struct db_result *r, int64_t took_ms)
{
    (void)r;
    gateway_answer_json(
        x, 200, json_pack("{s:s, s:I}", "status", "up", "took_ms", (json_int_t)took_ms));
}

void health_database(struct gateway *g, struct http_exchange *x)
{
    ask_send(g, x, &SQL_ping_database, answer_ping);
}

static void answer_checks(struct http_exchange *x, const struct db_result *r, int64_t took_ms)
{
    json_t *checks = json_array();
    bool well = true;

    (void)took_ms;
    for (int row = 0; checks && row < db_rows(r); row++) {
        well = well && db_bool(r, row, "ok");
        (void)json_array_append_new(
            checks, json_pack("{s:s, s:b, s:s}", "check", db_text(r, row, "check"), "ok",
                        db_bool(r, row, "ok"), "detail", db_text(r, row, "detail")));
    }
    gateway_answer_json(x, well ? 200 : 503,
        checks ? json_pack("{s:s, s:o}", "status", well ? "healthy" : "unhealthy", "checks", checks)
               : NULL);
}

void health_checks(struct gateway *g, struct http_exchange *x)
{
    ask_send(g, x, &SQL_read_health, answer_checks);
}
