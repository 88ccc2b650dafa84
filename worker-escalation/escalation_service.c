#include "worker-escalation/escalation_service.h"

#include "worker-escalation/config.h"
#include "worker-escalation/job_audit.h"
#include "worker-escalation/job_http.h"
#include "worker-escalation/reach.h"

static int start(struct service *s)
{
    struct reach *r = NULL;
    int err = reach_new(s, &r);

    if (err)
        return err;
    service_set_data(s, r);
    reach_rescue(r);
    return 0;
}

static void wake(struct service *s)
{
    reach_wake(service_data(s));
}

static void rescue(struct service *s)
{
    reach_rescue(service_data(s));
}

static void drain(struct service *s)
{
    reach_drain(service_data(s));
}

static bool busy(struct service *s)
{
    return reach_busy(service_data(s));
}

static void stop(struct service *s)
{
    reach_free(service_data(s));
}

static const struct job_run_handler handlers[] = {
    {"delivery_audit", job_audit_start},
    {"http", job_http_start},
    {NULL, NULL},
};

static const char *const listens_to[] = {"tocsin_circuit", NULL};

const struct service_spec escalation_service = {
    .name = "worker-escalation",
    .summary = "delivers notifications, retries them and climbs ladders",
    .queue = "worker-escalation",
    .handlers = handlers,
    .keys = reach_config_keys,
    .n_keys = REACH_CONFIG_N_KEYS,
    .config_size = sizeof(struct reach_config),
    .flags = SERVICE_FLAG_ALERTS | SERVICE_FLAG_CHECKIN | SERVICE_FLAG_ESCALATION,
    .channels = listens_to,
    .check = reach_config_check,
    .start = start,
    .wake = wake,
    .rescue = rescue,
    .drain = drain,
    .busy = busy,
    .stop = stop,
};
