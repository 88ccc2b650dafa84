#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/ack_link.h"
#include "base/log.h"
#include "gateway/ask.h"
#include "gateway/gateway.h"
#include "gateway/hear.h"
#include "io/http_listen.h"

/* Of open files, beside the connections: those that are refused, the database, the log, libraries.
 */
#define FILES_EXTRA   256
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
        .help = "Connections at a time; one more is told 503."},
    {.key = "GATEWAY_PATIENCE",
        .type = CONFIG_DURATION,
        .offset = OFFSET(patience_ms),
        .fallback = "10s",
        .min = 100,
        .max = 60000,
        .help = "How long whoever tells something waits for the database before a 503; who reads, "
                "half."},
    {.key = "GATEWAY_IDLE_TIMEOUT",
        .type = CONFIG_DURATION,
        .offset = OFFSET(idle_ms),
        .fallback = "30s",
        .min = 1000,
        .max = 3600000,
        .help = "A connection that has not sent a whole request within this time is closed."},
};

static void check(const void *config, struct buf *faults)
{
    const struct gateway_config *c = config;
    struct buf fault = BUF_INIT(512);

    if (c->listen && http_listen_check(c->listen, &fault) != 0)
        buf_addf(faults, "GATEWAY_LISTEN: %s\n", buf_str(&fault));
    buf_release(&fault);
    if (c->link_secret && strlen(c->link_secret) < ACK_LINK_SECRET_MIN)
        buf_add_str(faults, "LINK_SECRET: at least 32 characters that nobody can guess\n");
    if (c->twilio_auth_token && !c->public_url)
        buf_add_str(faults, "PUBLIC_URL: needed with TWILIO_AUTH_TOKEN, which signs it\n");
}

/* Many systems start a process with 1024 open files at most, and let it have more. */
static void raise_open_files(const struct gateway_config *c)
{
    rlim_t wanted = (rlim_t)c->max_connections + FILES_EXTRA;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warn(F(F_INT("open_files", (int64_t)limit.rlim_cur)),
            "GATEWAY_MAX_CONNECTIONS: so many need %lld open files, which are not allowed here",
            (long long)wanted);
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
    raise_open_files(config);
    err = http_server_new(service_loop(s),
        &(struct http_server_options){.listen = config->listen,
            .max_body = BODY_MAX,
            .max_connections = (unsigned)config->max_connections,
            .patience_ms = config->idle_ms},
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

    return http_server_pending(g->server) > 0 || g->n_hearings > 0;
}

static void stop(struct service *s)
{
    struct gateway *g = service_data(s);

    if (g) {
        http_server_free(g->server);
        ask_stop(g);
        hear_stop(g);
    }
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
