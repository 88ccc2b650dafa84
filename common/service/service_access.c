/*
 * What an executable's own code asks of its service.
 */
#include "service/service_private.h"

uv_loop_t *service_loop(struct service *s)
{
    return s->loop;
}

struct db_conn *service_db(struct service *s)
{
    return s->db;
}

struct http_client *service_http(struct service *s)
{
    return s->http;
}

struct job_driver *service_jobs(struct service *s)
{
    return s->jobs;
}

const struct secret_ring *service_secrets(struct service *s)
{
    return s->secrets;
}

const void *service_config(struct service *s)
{
    return s->config;
}

int64_t service_daemon_id(struct service *s)
{
    return s->daemon_id;
}

unsigned service_flags(struct service *s)
{
    return service_options_flags(&s->options) & ~s->flags_off;
}

bool service_draining(struct service *s)
{
    return s->phase >= SERVICE_PHASE_DRAINING;
}

bool service_once(struct service *s)
{
    return s->once;
}

void service_set_data(struct service *s, void *data)
{
    s->data = data;
}

void *service_data(struct service *s)
{
    return s->data;
}

void service_metric_set(struct service *s, const char *name, int64_t value)
{
    (void)json_object_set_new(s->metrics, name, json_integer(value));
}

void service_metric_json(struct service *s, const char *name, json_t *value)
{
    (void)json_object_set(s->metrics, name, value);
}

void service_metric_add(struct service *s, const char *name, int64_t delta)
{
    json_t *value = json_object_get(s->metrics, name);

    if (value)
        (void)json_integer_set(value, json_integer_value(value) + delta);
    else
        service_metric_set(s, name, delta);
}
