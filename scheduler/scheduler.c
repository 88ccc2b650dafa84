#include "scheduler/scheduler.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "scheduler/fire_round.h"

/* The longest sleep: for what neither a NOTIFY nor a claim's answer tells of. */
#define SLEEP_MS_MAX    15000
#define RETRY_MS        1000
#define ZONES_EVERY_MS  60000
#define FAULTS_MAX      ((size_t)1 << 20)
#define FAILURE_LINE_MS 60000

struct scheduler {
    struct fire_round round; /* first: a job is its round is its scheduler */
    struct service *service;
    struct civil_zones *zones;
    struct definitions *definitions;
    bool running; /* a round is under way */
    bool again;   /* it was woken meanwhile */
    int64_t zones_checked_ms;
    struct log_rate failures;
};

const struct config_key scheduler_keys[] = {
    {.key = "SCHEDULES_FILE",
        .type = CONFIG_STRING,
        .offset = offsetof(struct scheduler_config, schedules_file),
        .fallback = TOCSIN_PREFIX "/share/tocsin/schedules.json",
        .required = true,
        .help = "The definitions of jobs and schedules; see scheduler --check FILE."},
};
const size_t scheduler_n_keys = sizeof(scheduler_keys) / sizeof(*scheduler_keys);

const char *const scheduler_channels[] = {"tocsin_scheduler", NULL};

static const char *environment(const char *name)
{
    return getenv(name);
}

static int load(const struct scheduler_config *config, struct civil_zones *zones,
    struct buf *faults, struct definitions **ret_definitions)
{
    const struct definitions_source source = {
        config->schedules_file, zones, environment, clock_unix_s(), true};

    return definitions_load(&source, faults, ret_definitions);
}

void scheduler_check(const void *config, struct buf *faults)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    _cleanup_(definitions_freep) struct definitions *definitions = NULL;
    int err = civil_zones_new(NULL, &zones);

    if (err == 0)
        err = load(config, zones, faults, &definitions);
    if (err == ERR_INVALID)
        buf_add_str(faults, "SCHEDULES_FILE names the file of the definitions\n");
    else if (err < 0)
        buf_addf(faults, "SCHEDULES_FILE: %s\n", err_name(err));
}

/* --- rounds ----------------------------------------------------------------------------------- */

static void round_over(struct job *job)
{
    struct scheduler *s = (struct scheduler *)job;
    int64_t wait = fire_round_wait_ms(&s->round);
    uint64_t held;

    s->running = false;
    if (service_draining(s->service))
        return;
    if (job->failure.code) {
        if (log_rate_allow(&s->failures, FAILURE_LINE_MS, &held))
            log_failure(LOG_LEVEL_WARN, &job->failure, F(F_INT("held_back", (int64_t)held)),
                "the round of the scheduler failed");
        service_wake_in(s->service, RETRY_MS);
        return;
    }
    if (s->again || s->round.full)
        service_wake_in(s->service, s->again ? 0 : RETRY_MS);
    else if (s->round.sync_owed) /* between two slots of what is ever due, it is not */
        service_wake_in(s->service, wait < RETRY_MS ? wait : RETRY_MS);
    else if (service_once(s->service))
        service_quit(s->service, SERVICE_EXIT_DONE);
    else
        service_wake_in(s->service, wait < SLEEP_MS_MAX ? wait : SLEEP_MS_MAX);
    s->again = false;
}

static void zone_changed(void *ctx, const struct civil_zone *zone)
{
    struct scheduler *s = ctx;

    (void)zone;
    s->round.zones_owed = true;
}

static const struct job_type round_type = {
    "fire_round", fire_round_states, FIRE_ROUND_N_STATES, round_over};

void scheduler_wake(struct service *service)
{
    struct scheduler *s = service_data(service);

    if (s->running) {
        s->again = true;
        return;
    }
    if (service_draining(service) || !(service_flags(service) & SERVICE_FLAG_SCHEDULER))
        return;
    if (clock_ms() - s->zones_checked_ms >= ZONES_EVERY_MS) {
        s->zones_checked_ms = clock_ms();
        (void)civil_zones_refresh(s->zones, zone_changed, s);
    }
    s->running = job_start(service_jobs(service), &s->round.job, &round_type, 0) == 0;
    if (!s->running)
        service_wake_in(service, RETRY_MS);
}

int scheduler_start(struct service *service)
{
    struct scheduler *s = calloc(1, sizeof(*s));
    _cleanup_(buf_release) struct buf faults = BUF_INIT(FAULTS_MAX);
    int err;

    if (!s)
        return ERR_NOMEM;
    service_set_data(service, s);
    s->service = service;
    s->zones_checked_ms = clock_ms();
    err = civil_zones_new(NULL, &s->zones);
    if (err == 0)
        err = load(service_config(service), s->zones, &faults, &s->definitions);
    if (err == 0)
        err = fire_batch_new(s->zones, &s->round.batch);
    if (err < 0) {
        log_error(F_NONE, "the definitions cannot be used: %s%s", err_name(err), buf_str(&faults));
        return err;
    }
    s->round.service = service;
    s->round.zones = s->zones;
    s->round.definitions = s->definitions;
    s->round.sync_owed = true;
    s->round.zones_owed = true;
    s->round.claim_max = FIRE_ROUND_CLAIM_MAX;
    s->round.next_ms = INT64_MAX;
    s->round.lapse_ms = INT64_MAX;
    s->round.hinted_at_ms = clock_ms() - ZONES_EVERY_MS;
    return 0;
}

void scheduler_stop(struct service *service)
{
    struct scheduler *s = service_data(service);

    if (!s)
        return;
    db_args_release(&s->round.previews);
    fire_batch_free(s->round.batch);
    definitions_free(s->definitions);
    civil_zones_free(s->zones);
    service_set_data(service, NULL);
    free(s);
}
