/*
 * What every executable is: configuration, feature flags, signals and drain, the
 * daemon row with its heartbeat, readiness and watchdog for systemd. main() of an
 * executable fills a struct service_spec and returns service_main().
 */
#ifndef TOCSIN_SERVICE_SERVICE_H
#define TOCSIN_SERVICE_SERVICE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/config.h"
#include "base/secret.h"
#include "io/db_conn.h"
#include "io/http_client.h"
#include "work/job.h"
#include "work/job_run.h"

/* sysexits.h: EX_TEMPFAIL and EX_CONFIG. */
enum service_exit {
    SERVICE_EXIT_DONE = 0,
    SERVICE_EXIT_FAULT = 70,
    SERVICE_EXIT_NO_DATABASE = 75,
    SERVICE_EXIT_CONFIG = 78,
};

/* How often wake() is called when nothing else does, with NOTIFY on. */
#define SERVICE_POLL_MS 30000

enum service_flag {
    SERVICE_FLAG_SCHEDULER = 1 << 0,
    SERVICE_FLAG_CALENDAR = 1 << 1,
    SERVICE_FLAG_ALERTS = 1 << 2,
    SERVICE_FLAG_CHECKIN = 1 << 3,
    SERVICE_FLAG_ESCALATION = 1 << 4,
};

struct service;

/* Every key of every executable's table (known_keys.c), ended by NULL. */
extern const char *const service_known_keys[];

struct service_spec {
    const char *name;    /* the executable */
    const char *summary; /* one line for --help */
    const char *usage;   /* lines for --help about its own options, each ended; may be NULL */
    const char *queue;   /* of job_run; NULL: none */
    const struct job_run_handler *handlers;
    int max_running; /* runs in hand; 0: 64 */

    const struct config_key *keys; /* the executable's own table */
    size_t n_keys;
    size_t config_size; /* bytes of the structure it fills */

    unsigned flags; /* SERVICE_FLAG_… that concern it; with all of them off it exits 0 */

    /* NOTIFY channels besides the queue's own; NULL-terminated, may be NULL. */
    const char *const *channels;

    /* All may be NULL. check: cross-checks of the configuration, faults one a line. */
    void (*check)(const void *config, struct buf *faults);
    /* Sub-commands such as `--next`: returns -1 when it is not one, else the exit code. */
    int (*command)(int argc, char **argv);
    /* Called once, when the daemon row exists. An error ends the process: ERR_INVALID, which is a
     * fault of the configuration, with 78, any other with 70. */
    int (*start)(struct service *s);
    /* Something may be due: at start, after a NOTIFY, when the timer of service_wake_in() fires,
     * after a reconnect, when flags change, and at every poll (SERVICE_POLL_MS, or every
     * second without NOTIFY). */
    void (*wake)(struct service *s);
    /* About once a minute: rescue what is stalled. The service rescues runs by itself. */
    void (*rescue)(struct service *s);
    /* No new work from here on. */
    void (*drain)(struct service *s);
    /* Whether work of the executable's own is under way (beyond jobs and runs). */
    bool (*busy)(struct service *s);
    void (*stop)(struct service *s);
};

/* Runs the process and returns its exit code. */
int service_main(int argc, char **argv, const struct service_spec *spec);

/* For the executable's own code. */
uv_loop_t *service_loop(struct service *s);
struct db_conn *service_db(struct service *s);
struct http_client *service_http(struct service *s);
struct job_driver *service_jobs(struct service *s);
const struct secret_ring *service_secrets(struct service *s);
const void *service_config(struct service *s);
int64_t service_daemon_id(struct service *s);
/* Flags that are on in the environment and not switched off in feature_flag. */
unsigned service_flags(struct service *s);
bool service_draining(struct service *s);
/* --once: one round of what is due, then exit. */
bool service_once(struct service *s);
/* What the executable keeps for itself. */
void service_set_data(struct service *s, void *data);
void *service_data(struct service *s);
/* Calls wake() after `ms`; the earliest request counts until it fires. */
void service_wake_in(struct service *s, int64_t ms);
/* A number for daemon.metrics, written with the next heartbeat. */
void service_metric_set(struct service *s, const char *name, int64_t value);
void service_metric_add(struct service *s, const char *name, int64_t delta);
/* A member of daemon.metrics that the caller keeps up to date; the service takes a reference. */
void service_metric_json(struct service *s, const char *name, json_t *value);
/* Looks at the queue of job_run now: a handler may find work. */
void service_wake_runs(struct service *s);
/* Ends the process as after SIGTERM, with that code. */
void service_quit(struct service *s, int exit_code);

#endif
