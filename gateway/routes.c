#include <string.h>

#include "base/log.h"
#include "gateway/ack_page.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "gateway/hook_twilio.h"
#include "gateway/metrics.h"

static const struct gateway_route routes[] = {
    {"GET", "/health", health_checks, true},
    {"GET", "/health/detailed", health_checks, true},
    {"GET", "/health/live", health_live, true},
    {"GET", "/health/ready", health_ready, true},
    {"GET", "/health/database", health_database, true},
    {"GET", "/metrics", metrics_show, true},
    {"POST", "/hooks/twilio/message", hook_twilio_message, false},
    {"POST", "/hooks/twilio/call", hook_twilio_call, false},
    {"POST", "/hooks/twilio/digits", hook_twilio_digits, false},
    {"POST", "/hooks/twilio/reply", hook_twilio_reply, false},
    {"GET", "/a/*", ack_page_show, false},
    {"POST", "/a/*", ack_page_press, false},
};

static bool path_matches(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);

    if (pattern[len - 1] == '*')
        return strncmp(pattern, path, len - 1) == 0;
    return strcmp(pattern, path) == 0;
}

const struct gateway_route *gateway_route_find(
    const char *method, const char *path, struct buf *allow)
{
    bool head = strcmp(method, "HEAD") == 0;

    for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++) {
        const struct gateway_route *r = &routes[i];
        if (!path_matches(r->path, path))
            continue;
        if (strcmp(r->method, head ? "GET" : method) == 0)
            return r;
        buf_addf(allow, "%s%s%s", allow->len ? ", " : "", r->method,
            strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

/* Of a secret address the log keeps where it leads, not what it opens. */
static void log_request(const struct gateway_route *r, const struct http_exchange *x)
{
    if (!r->quiet)
        log_info(F(F_STR("method", http_exchange_method(x)), F_STR("path", r->path),
                     F_STR("peer", http_exchange_peer(x))),
            "request");
}

void gateway_dispatch(void *gateway, struct http_exchange *x)
{
    struct gateway *g = gateway;
    struct buf allow = BUF_INIT(256);
    const struct gateway_route *r =
        gateway_route_find(http_exchange_method(x), http_exchange_path(x), &allow);

    service_metric_add(g->service, "requests", 1);
    http_exchange_add_header(x, "Cache-Control", "no-store");
    http_exchange_add_header(x, "X-Content-Type-Options", "nosniff");
    if (r) {
        log_request(r, x);
        r->handle(g, x);
    } else if (allow.len > 0) {
        http_exchange_add_header(x, "Allow", buf_str(&allow));
        gateway_problem(x, 405, "Not by this method", "this address takes %s", buf_str(&allow));
    } else {
        gateway_problem(x, 404, "No such address", "docs/gateway.md lists what is served here");
    }
    buf_release(&allow);
}
