/*
 * A worker whose handlers do nothing, or never end: what is left is claim, driver and
 * finish. For races, crashes and benchmarks of the queue.
 *
 *     noop-worker      queue "bench"; handlers: noop, tell (with a result), fail, hang
 *     NOOP_TRACE       a file: one line "id attempt microseconds" a run started, appended
 */
#include <fcntl.h>
#include <inttypes.h>

#include "base/clock.h"
#include "service/service.h"

struct noop_config {
    char *trace;
};

static const struct config_key keys[] = {
    {.key = "NOOP_TRACE",
        .type = CONFIG_STRING,
        .offset = offsetof(struct noop_config, trace),
        .help = "File that gets one line a run started."},
};

static void trace(struct service *s, const struct job_run *run)
{
    int64_t began_us = clock_us();
    const struct noop_config *config = service_config(s);

    if (!config->trace)
        return;
    int fd = open(config->trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    (void)dprintf(fd, "%" PRId64 " %d %" PRId64 "\n", run->id, run->attempt, began_us);
    (void)close(fd);
}

static void noop(void *arg, struct job_run *run)
{
    trace(arg, run);
    job_run_finish(run, NULL, NULL);
}

static void tell(void *arg, struct job_run *run)
{
    trace(arg, run);
    job_run_finish(run, NULL, "{\"told\":true}");
}

static void fail(void *arg, struct job_run *run)
{
    struct failure f;

    trace(arg, run);
    failure_set(&f, ERR_IO, "told to fail");
    job_run_finish(run, &f, NULL);
}

static void hang(void *arg, struct job_run *run)
{
    trace(arg, run);
    (void)run;
}

static const struct job_run_handler handlers[] = {
    {"noop", noop}, {"tell", tell}, {"fail", fail}, {"hang", hang}, {NULL, NULL}};

static const struct service_spec spec = {
    .name = "noop-worker",
    .summary = "runs that do nothing",
    .queue = "bench",
    .handlers = handlers,
    .max_running = JOB_RUN_BATCH_MAX,
    .keys = keys,
    .n_keys = sizeof(keys) / sizeof(*keys),
    .config_size = sizeof(struct noop_config),
};

int main(int argc, char **argv)
{
    return service_main(argc, argv, &spec);
}
