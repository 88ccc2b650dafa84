/*
 * The scheduler says when: it fires schedules that are due.
 */
#include "scheduler/commands.h"
#include "scheduler/scheduler.h"

int main(int argc, char **argv)
{
    const struct service_spec spec = {
        .name = "scheduler",
        .summary = "Fires schedules that are due: rows of job_schedule become rows of job_run.",
        .usage = commands_usage,
        .keys = scheduler_keys,
        .n_keys = scheduler_n_keys,
        .config_size = sizeof(struct scheduler_config),
        .flags = SERVICE_FLAG_SCHEDULER,
        .channels = scheduler_channels,
        .check = scheduler_check,
        .command = commands_run,
        .start = scheduler_start,
        .wake = scheduler_wake,
        .stop = scheduler_stop,
    };

    return service_main(argc, argv, &spec);
}
