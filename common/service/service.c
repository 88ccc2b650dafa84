#include "service/service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/sd_notify.h"
#include "service/service_private.h"

#define POLL_WITHOUT_NOTIFY_MS 1000
#define DRAIN_CHECK_MS         20
/* After the drain's deadline: for cancelled jobs to give their rows back. */
#define DRAIN_EXTRA_MS  1500
#define RUNNING_DEFAULT 64
/* For systemd to take what it was told. */
#define NOTICE_TAKEN_MS 5000
/* At the end: for errors to reach Sentry. */
#define ERRORS_LAST_MS 2000

/* --- what is due -------------------------------------------------------------------------- */

void service_wake_all(struct service *s)
{
    if (s->phase != SERVICE_PHASE_RUNNING || !db_conn_is_up(s->db))
        return;
    if (s->runs)
        job_run_worker_wake(s->runs);
    if (s->spec->wake)
        s->spec->wake(s);
}

static void on_wake_timer(void *arg)
{
    struct service *s = arg;

    s->wake_at_ms = -1;
    if (s->phase == SERVICE_PHASE_RUNNING && s->spec->wake && db_conn_is_up(s->db))
        s->spec->wake(s);
}

static void on_runs_due(void *arg)
{
    struct service *s = arg;
    if (s->phase == SERVICE_PHASE_RUNNING)
        job_run_worker_wake(s->runs);
}

static void on_poll(void *arg)
{
    struct service *s = arg;

    loop_timer_start(s->poll, s->options.notify ? SERVICE_POLL_MS : POLL_WITHOUT_NOTIFY_MS);
    if (s->options.notify) /* the heartbeat tells when the next run is due */
        on_wake_timer(s);
    else
        service_wake_all(s);
}

void service_wake_in(struct service *s, int64_t ms)
{
    int64_t at = clock_ms() + (ms > 0 ? ms : 0);

    if (s->wake_at_ms >= 0 && s->wake_at_ms <= at)
        return;
    s->wake_at_ms = at;
    loop_timer_start(s->wake, ms);
}

void service_wake_runs(struct service *s)
{
    if (s->runs)
        job_run_worker_wake(s->runs);
}

/* --- drain -------------------------------------------------------------------------------- */

static bool is_quiet(struct service *s)
{
    return job_driver_running(s->jobs) == 0 && (!s->runs || job_run_worker_idle(s->runs)) &&
           !(s->started && s->spec->busy && s->spec->busy(s));
}

void service_over(struct service *s)
{
    s->phase = SERVICE_PHASE_OVER;
    uv_stop(s->loop);
}

static void on_drain_check(void *arg)
{
    struct service *s = arg;

    if (s->phase != SERVICE_PHASE_DRAINING)
        return;
    if (!is_quiet(s)) {
        loop_timer_start(s->drain_check, DRAIN_CHECK_MS);
        return;
    }
    s->phase = SERVICE_PHASE_STOPPING;
    loop_timer_start(s->drain_deadline, DRAIN_EXTRA_MS);
    if (s->daemon_id && db_conn_is_up(s->db))
        service_daemon_stop(s);
    else
        service_over(s);
}

static void on_drain_deadline(void *arg)
{
    struct service *s = arg;
    size_t running = job_driver_running(s->jobs);

    if (running)
        log_warn(F_NONE, "%zu jobs did not end within the drain time-out: cancelled", running);
    job_driver_cancel(s->jobs);
}

static void on_drain_end(void *arg)
{
    service_over(arg);
}

void service_quit(struct service *s, int exit_code)
{
    if (s->phase >= SERVICE_PHASE_DRAINING)
        return;
    s->exit_code = exit_code;
    s->phase = SERVICE_PHASE_DRAINING;
    sd_notify_send("STOPPING=1");
    if (s->runs)
        job_run_worker_stop(s->runs);
    if (s->started && s->spec->drain)
        s->spec->drain(s);
    loop_timer_start(s->drain_check, 0);
    loop_timer_start(s->drain_deadline, s->options.drain_ms);
    loop_timer_start(s->drain_end, s->options.drain_ms + DRAIN_EXTRA_MS);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct service *s = handle->data;

    if (s->phase >= SERVICE_PHASE_DRAINING) {
        log_warn(F_NONE, "%s again: ending at once", strsignal(signum));
        _exit(128 + signum);
    }
    log_info(F_NONE, "%s: draining", strsignal(signum));
    service_quit(s, SERVICE_EXIT_DONE);
}

/* --- the connection ----------------------------------------------------------------------- */

static void on_up(void *arg)
{
    struct service *s = arg;

    log_info(F(F_STR("database", db_conn_where(s->db))), "connected to the database");
    if (s->phase == SERVICE_PHASE_CONNECTING && !s->daemon_id) {
        service_daemon_begin(s);
        return;
    }
    if (s->phase != SERVICE_PHASE_RUNNING)
        return;
    service_daemon_beat(s);
    if (s->runs)
        job_run_worker_reconnected(s->runs);
    service_wake_all(s);
}

static void on_waits(void *arg, const char *why)
{
    const struct service *s = arg;

    log_warn(F_NONE, "no connection to the database yet, trying for %lld ms: %s",
        (long long)s->options.patience_ms, why);
}

static void on_down(void *arg, const char *why)
{
    (void)arg;
    log_warn(F_NONE, "lost the database: %s", why);
}

static void on_notified(void *arg, const char *channel, const char *payload)
{
    struct service *s = arg;

    (void)payload;
    if (s->phase != SERVICE_PHASE_RUNNING)
        return;
    if (s->runs && s->queue_channel && !strcmp(channel, s->queue_channel))
        job_run_worker_hinted(s->runs);
    on_wake_timer(s);
}

static void on_gave_up(void *arg, const char *why)
{
    struct service *s = arg;

    log_error(F_NONE, "no database within %lld ms: %s", (long long)s->options.patience_ms, why);
    s->exit_code = SERVICE_EXIT_NO_DATABASE;
    service_over(s);
}

/* --- begin -------------------------------------------------------------------------------- */

/* --once: when the queue is empty and the executable has nothing under way. */
static void on_runs_idle(void *arg)
{
    struct service *s = arg;

    if (s->once && s->phase == SERVICE_PHASE_RUNNING && is_quiet(s))
        service_quit(s, SERVICE_EXIT_DONE);
}

static bool make_runs(struct service *s)
{
    struct job_run_worker_options options = {
        .queue = s->spec->queue,
        .handlers = s->spec->handlers,
        .max_running = s->spec->max_running ? s->spec->max_running : RUNNING_DEFAULT,
        .arg = s,
        .idle = on_runs_idle,
    };
    return !s->spec->queue ||
           job_run_worker_new(s->loop, s->db, s->daemon_id, &options, &s->runs) == 0;
}

void service_begun(struct service *s)
{
    s->phase = SERVICE_PHASE_RUNNING;
    log_info(F(F_INT("daemon_id", s->daemon_id), F_STR("version", TOCSIN_VERSION)), "%s is ready",
        s->spec->name);
    int err = make_runs(s) ? 0 : ERR_NOMEM;
    if (!err && s->spec->start)
        err = s->spec->start(s);
    if (err) {
        log_error(F_NONE, "%s cannot start its work", s->spec->name);
        service_quit(s, err == ERR_INVALID ? SERVICE_EXIT_CONFIG : SERVICE_EXIT_FAULT);
        return;
    }
    s->started = true;
    sd_notify_send("READY=1");
    loop_timer_start(s->poll, s->options.notify ? SERVICE_POLL_MS : POLL_WITHOUT_NOTIFY_MS);
    service_wake_all(s);
}

static void on_beat_timer(void *arg)
{
    service_daemon_beat(arg);
}

static void on_rescue_timer(void *arg)
{
    service_daemon_rescue(arg);
}

static void on_watchdog(void *arg)
{
    struct service *s = arg;
    sd_notify_send("WATCHDOG=1");
    loop_timer_start(s->watchdog, sd_notify_watchdog_ms());
}

static bool make_timers(struct service *s)
{
    const struct {
        struct loop_timer **timer;
        loop_fn *fn;
    } timers[] = {{&s->wake, on_wake_timer}, {&s->beat, on_beat_timer}, {&s->poll, on_poll},
        {&s->rescue, on_rescue_timer}, {&s->runs_due, on_runs_due}, {&s->watchdog, on_watchdog},
        {&s->drain_check, on_drain_check}, {&s->drain_deadline, on_drain_deadline},
        {&s->drain_end, on_drain_end}};

    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        if (!(*timers[i].timer = loop_timer_new(s->loop, timers[i].fn, s)))
            return false;
    return true;
}

static void free_timers(struct service *s)
{
    struct loop_timer *timers[] = {s->wake, s->beat, s->poll, s->rescue, s->runs_due, s->watchdog,
        s->drain_check, s->drain_deadline, s->drain_end};

    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
        loop_timer_free(timers[i]);
}

static int make_connection(struct service *s, struct buf *fault)
{
    const char *channels[16];
    size_t n = 0;
    struct buf name = BUF_INIT(128);

    if (s->spec->queue) {
        buf_addf(&name, "tocsin_%s", s->spec->queue);
        s->queue_channel = buf_steal(&name);
        if (!s->queue_channel)
            return ERR_NOMEM;
        channels[n++] = s->queue_channel;
    }
    for (size_t i = 0; s->spec->channels && s->spec->channels[i] && n < 15; i++)
        channels[n++] = s->spec->channels[i];
    channels[n] = NULL;
    const struct db_conn_options options = {
        .dsn = s->options.database_url ? s->options.database_url : "",
        .application_name = s->spec->name,
        .prepare = s->options.prepare,
        .listen = s->options.notify,
        .channels = channels,
        .patience_ms = s->options.patience_ms,
        .connect_timeout_ms = s->options.connect_timeout_ms,
        .statement_timeout_ms = s->options.statement_timeout_ms,
    };
    const struct db_conn_events events = {.up = on_up,
        .down = on_down,
        .waits = on_waits,
        .notified = on_notified,
        .gave_up = on_gave_up,
        .arg = s};
    return db_conn_new(s->loop, &options, &events, fault, &s->db);
}

static void make_errors(struct service *s)
{
    struct config_section sections[2];
    size_t n = service_options_sections(s->spec, &s->options, s->config, sections);

    if (s->options.sentry_dsn &&
        error_report_new(s->loop, s->http, s->options.sentry_dsn, sections, n, &s->errors) != 0)
        log_warn(F_NONE, "errors will not reach Sentry: out of memory");
}

static int begin(struct service *s)
{
    static const int signums[2] = {SIGTERM, SIGINT};
    struct buf fault = BUF_INIT(4096);
    int exit_code = SERVICE_EXIT_DONE;

    s->metrics = json_object();
    s->wake_at_ms = -1;
    if (!s->metrics || !make_timers(s) ||
        http_client_new(s->loop, "Tocsin/" TOCSIN_VERSION, &s->http))
        exit_code = SERVICE_EXIT_FAULT;
    else
        make_errors(s);
    for (int i = 0; i < 2; i++) {
        (void)uv_signal_init(s->loop, &s->signals[i]);
        s->signals[i].data = s;
        (void)uv_signal_start(&s->signals[i], on_signal, signums[i]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int err = exit_code ? 0 : make_connection(s, &fault);
    if (err == ERR_INVALID) {
        log_error(F_NONE, "TOCSIN_DATABASE_URL: %s", buf_str(&fault));
        exit_code = SERVICE_EXIT_CONFIG;
    } else if (err || exit_code || job_driver_new(s->loop, s->db, s->http, &s->jobs) != 0) {
        log_error(F_NONE, "out of memory at start");
        exit_code = SERVICE_EXIT_FAULT;
    }
    buf_release(&fault);
    if (!exit_code && sd_notify_watchdog_ms() > 0)
        on_watchdog(s);
    return exit_code;
}

/* Everything is answered or cancelled first; the handles' close callbacks then free them. */
static void end(struct service *s)
{
    s->phase = SERVICE_PHASE_OVER;
    if (s->jobs)
        job_driver_cancel(s->jobs);
    if (s->jobs && job_driver_running(s->jobs))
        (void)uv_run(s->loop, UV_RUN_NOWAIT);
    if (s->daemon_id && s->spec->stop)
        s->spec->stop(s);
    db_conn_free(s->db);
    job_run_worker_free(s->runs);
    job_driver_free(s->jobs);
    free_timers(s);
    error_report_flush(s->errors, ERRORS_LAST_MS);
    error_report_free(s->errors);
    http_client_free(s->http);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    while (uv_run(s->loop, UV_RUN_DEFAULT) != 0)
        ;
    (void)uv_loop_close(s->loop);
    json_decref(s->metrics);
    free(s->queue_channel);
}

static int run(struct service *s)
{
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0)
        return SERVICE_EXIT_FAULT;
    s->loop = &loop;
    s->exit_code = begin(s);
    if (!s->exit_code)
        (void)uv_run(&loop, UV_RUN_DEFAULT);
    end(s);
    log_info(F_NONE, "%s ended", s->spec->name);
    return s->exit_code;
}

/* --- main --------------------------------------------------------------------------------- */

static void log_flags(const struct service *s)
{
    struct buf line = BUF_INIT(256);
    unsigned on = service_options_flags(&s->options);

    for (unsigned i = 0; i < 5; i++)
        buf_addf(&line, " %s=%s", service_flag_names[i], on & (1u << i) ? "true" : "false");
    log_info(F_NONE, "feature flags:%s", buf_str(&line));
    buf_release(&line);
}

static int run_mode(struct service *s, enum service_mode mode, const struct buf *faults, int err)
{
    if (mode == SERVICE_MODE_HELP || mode == SERVICE_MODE_VERSION || mode == SERVICE_MODE_MANUAL) {
        service_options_print(s->spec, mode, &s->options, s->config);
        return SERVICE_EXIT_DONE;
    }
    if (err) {
        (void)fprintf(
            stderr, "%s: the configuration has faults:\n%s", s->spec->name, buf_str(faults));
        return SERVICE_EXIT_CONFIG;
    }
    if (mode == SERVICE_MODE_CHECK_CONFIG) {
        (void)printf("%s: the configuration is sound\n", s->spec->name);
        return SERVICE_EXIT_DONE;
    }
    if (mode == SERVICE_MODE_SHOW_CONFIG) {
        service_options_print(s->spec, mode, &s->options, s->config);
        return SERVICE_EXIT_DONE;
    }
    s->once = mode == SERVICE_MODE_ONCE;
    log_setup(s->spec->name, (enum log_level)s->options.log_level,
        (enum log_format)s->options.log_format);
    log_flags(s);
    if (s->spec->flags && !(service_options_flags(&s->options) & s->spec->flags)) {
        log_info(F_NONE, "nothing is enabled for %s: done", s->spec->name);
        /* A unit that ends without having been ready has failed, to systemd. */
        sd_notify_send("READY=1");
        sd_notify_wait(NOTICE_TAKEN_MS);
        return SERVICE_EXIT_DONE;
    }
    return run(s);
}

int service_main(int argc, char **argv, const struct service_spec *spec)
{
    struct service s = {.spec = spec};
    struct service_command_line line;
    struct buf faults = BUF_INIT(1 << 20);
    int exit_code = spec->command ? spec->command(argc, argv) : -1;

    if (exit_code >= 0)
        return exit_code;
    if (service_command_line_parse(argc, argv, &line, &faults) != 0) {
        (void)fprintf(stderr, "%s: %s", spec->name, buf_str(&faults));
        buf_release(&faults);
        return SERVICE_EXIT_CONFIG;
    }
    s.config = calloc(1, spec->config_size + 1);
    if (!s.config)
        return SERVICE_EXIT_FAULT;
    int err =
        service_options_load(spec, line.config_path, &s.options, s.config, &s.secrets, &faults);
    exit_code = run_mode(&s, line.mode, &faults, err);
    secret_ring_free(s.secrets);
    service_options_release(spec, &s.options, s.config);
    free(s.config);
    buf_release(&faults);
    return exit_code;
}
