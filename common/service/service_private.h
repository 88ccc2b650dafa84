/*
 * What service.c (the course of a process) and service_daemon.c (its row in the
 * database) share.
 */
#ifndef TOCSIN_SERVICE_SERVICE_PRIVATE_H
#define TOCSIN_SERVICE_SERVICE_PRIVATE_H

#include <jansson.h>

#include "io/loop.h"
#include "service/error_report.h"
#include "service/service_options.h"

enum service_phase {
    SERVICE_PHASE_CONNECTING, /* until the daemon row exists */
    SERVICE_PHASE_RUNNING,
    SERVICE_PHASE_DRAINING,
    SERVICE_PHASE_STOPPING, /* the last statement is under way */
    SERVICE_PHASE_OVER,
};

struct service {
    const struct service_spec *spec;
    struct service_options options;
    void *config; /* the executable's own */
    void *data;
    struct secret_ring *secrets;
    bool once;
    int exit_code;
    enum service_phase phase;

    uv_loop_t *loop;
    struct db_conn *db;
    struct http_client *http;
    struct job_driver *jobs;
    struct error_report *errors; /* NULL: without SENTRY_DSN */
    struct job_run_worker *runs; /* NULL: no queue */

    int64_t daemon_id;  /* 0 until it is registered */
    unsigned flags_off; /* by feature_flag */
    json_t *metrics;
    char *queue_channel; /* "tocsin_<queue>" */

    uv_signal_t signals[2];
    struct loop_timer *wake, *beat, *poll, *rescue, *runs_due, *watchdog;
    struct loop_timer *drain_check, *drain_deadline, *drain_end;
    int64_t wake_at_ms; /* monotonic; -1: not set */
    bool started;       /* spec->start has succeeded: the executable has its data */
};

/* service_daemon.c: each sends its statement and acts on the answer. */
void service_daemon_begin(struct service *s); /* schema check, then registration */
void service_daemon_beat(struct service *s);
void service_daemon_rescue(struct service *s);
void service_daemon_stop(struct service *s);

/* service.c */
void service_begun(struct service *s); /* the daemon row exists */
void service_over(struct service *s);  /* the last statement has been answered */
void service_wake_all(struct service *s);

#endif
