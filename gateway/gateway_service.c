#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/ack_link.h"
#include "base/log.h"
#include "gateway/gateway.h"

#define BODY_MAX      ((size_t)64 << 10)
#define OFFSET(field) offsetof(struct gateway_config, field)

static const struct config_key keys[] = {
    {.key = "GATEWAY_LISTEN",
        .type = CONFIG_STRING,
        .offset = OFFSET(listen),
        .fallback = "127.0.0.1:8080",
        .help = "Address and port to listen on; port 0 takes one that is free."},
    {.key = "PUBLIC_URL",
        .type = CONFIG_URL,
        .offset = OFFSET(public_url),
        .help = "How providers and people reach this gateway; the same as worker-escalation's."},
    {.key = "TWILIO_AUTH_TOKEN",
        .type = CONFIG_STRING,
        .offset = OFFSET(twilio_auth_token),
        .secret = true,
        .help = "What Twilio signs its calls with; without it the hooks of Twilio are off."},
    {.key = "LINK_SECRET",
        .type = CONFIG_STRING,
        .offset = OFFSET(link_secret),
        .secret = true,
        .help = "The same as worker-escalation's: opens the links that acknowledge."},
    {.key = "GATEWAY_MAX_CONNECTIONS",
        .type = CONFIG_INT,
        .offset = OFFSET(max_connections),
        .fallback = "1000",
        .min = 1,
        .max = 20000,
        .help = "Connections at a time; one more is closed."},
    {.key = "GATEWAY_IDLE_TIMEOUT",
        .type = CONFIG_DURATION,
        .offset = OFFSET(idle_ms),
        .fallback = "30s",
        .min = 1000,
        .max = 3600000,
        .help = "A connection that says nothing for so long is closed."},
};

static void check(const void *config, struct buf *faults)
{
    const struct gateway_config *c = config;

    if (c->link_secret && strlen(c->link_secret) < ACK_LINK_SECRET_MIN)
        buf_add_str(faults, "LINK_SECRET: at least 32 characters that nobody can guess\n");
    if (c->twilio_auth_token && !c->public_url)
        buf_add_str(faults, "PUBLIC_URL: needed with TWILIO_AUTH_TOKEN, which signs it\n");
}

static int start(struct service *s)
{
    const struct gateway_config *config = service_config(s);
    struct gateway *g = calloc(1, sizeof(*g));
    struct buf fault = BUF_INIT(512);
    int err;

    if (!g)
        return ERR_NOMEM;
    g->service = s;
    g->config = config;
    err = http_server_new(service_loop(s),
        &(struct http_server_options){.listen = config->listen,
            .max_body = BODY_MAX,
            .max_connections = (unsigned)config->max_connections,
            .idle_s = (unsigned)(config->idle_ms / 1000)},
        gateway_dispatch, g, &fault, &g->server);
    if (err)
        log_error(F_NONE, "GATEWAY_LISTEN=%s: %s", config->listen, buf_str(&fault));
    else
        log_info(F(F_INT("port", http_server_port(g->server))), "listening on %s", config->listen);
    buf_release(&fault);
    if (err) {
        free(g);
        return err;
    }
    service_set_data(s, g);
    return 0;
}

static void drain(struct service *s)
{
    struct gateway *g = service_data(s);

    http_server_quiesce(g->server);
}

static bool busy(struct service *s)
{
    const struct gateway *g = service_data(s);

    return http_server_pending(g->server) > 0;
}

static void stop(struct service *s)
{
    struct gateway *g = service_data(s);

    if (g)
        http_server_free(g->server);
    free(g);
    service_set_data(s, NULL);
}

const struct service_spec gateway_service = {
    .name = "gateway",
    .summary = "answers HTTP: health, metrics, what providers and people say",
    .keys = keys,
    .n_keys = sizeof(keys) / sizeof(*keys),
    .config_size = sizeof(struct gateway_config),
    .check = check,
    .start = start,
    .drain = drain,
    .busy = busy,
    .stop = stop,
};
