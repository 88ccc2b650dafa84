#include "worker-cleanup/cleanup_service.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker-cleanup/cleanup.h"

#define HOUR_MS       (60 * 60 * 1000LL)
#define DAY_MS        (24 * HOUR_MS)
#define AGE_MAX       (3660 * DAY_MS)
#define OFFSET(field) offsetof(struct cleanup_config, field)

/* How often partitions are made ahead when no schedule asks for a cleanup. */
#define EXTEND_EVERY_MS (6 * HOUR_MS)

#define AGE(name, field, days, text)                                                               \
    {                                                                                              \
        .key = (name), .type = CONFIG_DURATION, .offset = OFFSET(field), .fallback = (days),       \
        .min = HOUR_MS, .max = AGE_MAX, .help = (text)                                             \
    }

static const struct config_key keys[] = {
    AGE("CLEANUP_WEBHOOK_EVENT_AGE", webhook_event_age_ms, "24h",
        "How long an event that a webhook brought is known, so that it counts once."),
    AGE("CLEANUP_WEBHOOK_DELIVERY_AGE", webhook_delivery_age_ms, "7d",
        "How long the log of webhooks that were sent is kept."),
    AGE("CLEANUP_NOTIFICATION_AGE", notification_age_ms, "90d",
        "How long notifications that ended are kept, with their attempts and incidents."),
    AGE("CLEANUP_EVENT_AGE", event_age_ms, "30d", "How long calendar events that ended are kept."),
    AGE("CLEANUP_SLOT_AGE", slot_age_ms, "90d", "How long the ledger of fired slots is kept."),
    AGE("CLEANUP_DAEMON_AGE", daemon_age_ms, "7d",
        "How long a process start is remembered after its last heartbeat."),
    {.key = "CLEANUP_RUN_AGE",
        .type = CONFIG_DURATION,
        .offset = OFFSET(run_age_ms),
        .fallback = "30d",
        .min = DAY_MS,
        .max = AGE_MAX,
        .help = "How long finished runs are kept; they go a day at a time."},
    {.key = "CLEANUP_PARTITION_DAYS",
        .type = CONFIG_INT,
        .offset = OFFSET(partition_days),
        .fallback = "7",
        .min = 2,
        .max = 60,
        .help = "For how many days ahead the history has its partition."},
    {.key = "CLEANUP_BATCH",
        .type = CONFIG_INT,
        .offset = OFFSET(batch),
        .fallback = "1000",
        .min = 1,
        .max = 1000,
        .help = "Rows that one transaction deletes at most."},
};

static const struct job_run_handler handlers[] = {{"cleanup", cleanup_start_run}, {NULL, NULL}};

/* When the partitions are looked at next. */
struct cleanup_state {
    int64_t extend_at_ms;
};

static void extend_if_due(struct service *s)
{
    struct cleanup_state *state = service_data(s);

    if (service_draining(s) || clock_ms() < state->extend_at_ms)
        return;
    if (cleanup_extend_partitions(s) == 0)
        state->extend_at_ms = clock_ms() + EXTEND_EVERY_MS;
    else
        log_error(F_NONE, "out of memory: partitions ahead are made at the next look");
}

static int start(struct service *s)
{
    struct cleanup_state *state = calloc(1, sizeof *state);

    if (!state)
        return ERR_NOMEM;
    service_set_data(s, state);
    return 0;
}

static void stop(struct service *s)
{
    free(service_data(s));
    service_set_data(s, NULL);
}

const struct service_spec cleanup_service = {
    .name = "worker-cleanup",
    .summary = "deletes what is older than it has to be, in small batches",
    .queue = "worker-cleanup",
    .handlers = handlers,
    .max_running = 1,
    .keys = keys,
    .n_keys = sizeof keys / sizeof *keys,
    .config_size = sizeof(struct cleanup_config),
    .start = start,
    .wake = extend_if_due,
    .stop = stop,
};
