#include "worker-calendar/calendar_service.h"

#include <stdlib.h>

#include "base/log.h"
#include "sql/worker-calendar.h"
#include "worker-calendar/config.h"
#include "worker-calendar/statement_run.h"
#include "worker-calendar/sync.h"
#include "worker-calendar/tick.h"

struct calendar_data {
    struct sync_shop *shop;
    struct tick_board *board;
};

/* Whether the flag is on; else the run ends as done, having done nothing. */
static bool is_enabled(struct service *s, struct job_run *run)
{
    if (service_flags(s) & SERVICE_FLAG_CALENDAR)
        return true;
    job_run_finish(run, NULL, "{\"switched_off\": true}");
    return false;
}

static void start_sync(void *arg, struct job_run *run)
{
    struct service *s = arg;
    struct calendar_data *data = service_data(s);
    if (is_enabled(s, run))
        tick_start(data->board, run);
}

static void start_full_sync(void *arg, struct job_run *run)
{
    struct service *s = arg;
    const struct calendar_config *config = service_config(s);
    if (is_enabled(s, run))
        statement_run_start(
            s, run, &SQL_reset_syncs, &config->full_spread_ms, "Full sync asked for");
}

static void start_occasions(void *arg, struct job_run *run)
{
    struct service *s = arg;
    if (is_enabled(s, run))
        statement_run_start(s, run, &SQL_plan_occasions, NULL, "Occasions planned");
}

static const struct job_run_handler handlers[] = {
    {"calendar_sync", start_sync},
    {"calendar_full_sync", start_full_sync},
    {"occasions_plan", start_occasions},
    {NULL, NULL},
};

static void stop(struct service *s)
{
    struct calendar_data *data = service_data(s);
    if (!data)
        return;
    tick_board_free(data->board);
    sync_shop_free(data->shop);
    free(data);
    service_set_data(s, NULL);
}

static int start(struct service *s)
{
    struct calendar_data *data = calloc(1, sizeof *data);
    if (!data)
        return ERR_NOMEM;
    service_set_data(s, data);
    int err = sync_shop_new(s, &data->shop);
    if (!err)
        err = tick_board_new(s, data->shop, &data->board);
    if (err)
        stop(s);
    return err;
}

const struct service_spec calendar_service = {
    .name = "worker-calendar",
    .summary = "syncs calendars and plans what has to reach whom, and when",
    .queue = "worker-calendar",
    .handlers = handlers,
    .max_running = 16,
    .keys = calendar_config_keys,
    .n_keys = CALENDAR_CONFIG_N_KEYS,
    .config_size = sizeof(struct calendar_config),
    .flags = SERVICE_FLAG_CALENDAR,
    .check = calendar_config_check,
    .start = start,
    .stop = stop,
};
