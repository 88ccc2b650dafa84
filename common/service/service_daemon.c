/*
 * The daemon row of a process: schema check, registration, heartbeat, rescue of
 * stalled runs, clean stop.
 */
#include <string.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/log.h"
#include "service/service_private.h"
#include "sql/common.h"
#include "sql/schema.h"

#define HEARTBEAT_MS   10000
#define RESCUE_MS      60000
#define RESCUE_MORE_MS 8000
#define BEGIN_AGAIN_MS 1000

/* --- begin -------------------------------------------------------------------------------- */

static void on_registered(void *arg, struct db_result *r)
{
    struct service *s = arg;

    if (r->err == ERR_CANCELLED || s->phase != SERVICE_PHASE_CONNECTING)
        return;
    if (r->err == ERR_DISCONNECTED)
        return; /* the next session begins anew */
    if (r->err) {
        log_error(
            F(F_STR("sqlstate", r->sqlstate)), "cannot register this process: %s", r->message);
        service_quit(s, SERVICE_EXIT_FAULT);
        return;
    }
    s->daemon_id = db_int(r, 0, "id");
    service_begun(s);
    loop_timer_start(s->beat, HEARTBEAT_MS);
    loop_timer_start(s->rescue, backoff_jitter_ms(RESCUE_MS / 12));
}

static void register_daemon(struct service *s)
{
    char host[256] = "";
    struct db_args args;
    json_t *flags = json_object();
    unsigned on = service_options_flags(&s->options);

    (void)gethostname(host, sizeof(host) - 1);
    for (unsigned i = 0; flags && i < 5; i++)
        (void)json_object_set_new(flags, service_flag_names[i], json_boolean(on & (1u << i)));
    char *text = flags ? json_dumps(flags, JSON_COMPACT) : NULL;
    json_decref(flags);
    db_args_init(&args);
    db_arg_str(&args, s->spec->name);
    db_arg_str(&args, host);
    db_arg_int(&args, getpid());
    db_arg_str(&args, TOCSIN_VERSION);
    db_arg_str(&args, text ? text : "{}");
    if (db_conn_send(s->db, &SQL_register_daemon, &args, 0, on_registered, s) != 0)
        service_quit(s, SERVICE_EXIT_FAULT);
    db_args_release(&args);
    free(text);
}

static void on_schema(void *arg, struct db_result *r)
{
    struct service *s = arg;
    int64_t version = db_rows(r) ? db_int(r, 0, "version") : 0;

    if (r->err == ERR_CANCELLED || s->phase != SERVICE_PHASE_CONNECTING)
        return;
    if (r->err == ERR_DISCONNECTED)
        return; /* the next session begins anew */
    if (r->err == ERR_DB && strcmp(r->sqlstate, "42P01") == 0) {
        log_error(F_NONE, "the database has no schema of Tocsin: run tocsin-migrate");
        service_quit(s, SERVICE_EXIT_CONFIG);
    } else if (r->err) {
        log_error(
            F(F_STR("sqlstate", r->sqlstate)), "cannot read the schema's version: %s", r->message);
        service_quit(s, SERVICE_EXIT_CONFIG);
    } else if (version != SCHEMA_VERSION) {
        log_error(F_NONE, "the database has schema %lld, this build knows %d: %s",
            (long long)version, SCHEMA_VERSION,
            version < SCHEMA_VERSION ? "run tocsin-migrate" : "install the newer executables");
        service_quit(s, SERVICE_EXIT_CONFIG);
    } else {
        register_daemon(s);
    }
}

void service_daemon_begin(struct service *s)
{
    if (db_conn_send(s->db, &SQL_read_schema, NULL, 0, on_schema, s) != 0)
        service_quit(s, SERVICE_EXIT_FAULT);
}

/* --- heartbeat ---------------------------------------------------------------------------- */

static bool names_contain(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; (at = strstr(at, name)) != NULL; at += len)
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

static void set_flags_off(struct service *s, const char *names)
{
    unsigned off = 0;

    for (unsigned i = 0; i < 5; i++)
        off |= names_contain(names, service_flag_names[i]) ? 1u << i : 0;
    if (off == s->flags_off)
        return;
    s->flags_off = off;
    log_info(F_NONE, "feature flags switched off at runtime: %s", *names ? names : "none");
    service_wake_all(s);
}

static void on_beat(void *arg, struct db_result *r)
{
    struct service *s = arg;

    if (r->err == ERR_CANCELLED || s->phase != SERVICE_PHASE_RUNNING)
        return;
    if (r->err == ERR_DB) {
        log_error(F(F_STR("sqlstate", r->sqlstate)), "heartbeat failed: %s", r->message);
        return;
    }
    if (r->err)
        return; /* the connection says it */
    if (!db_bool(r, 0, "alive")) {
        /* A database that has forgotten this process, such as one brought back from a backup,
         * is had by another start. */
        bool superseded = db_bool(r, 0, "superseded");
        log_error(F(F_INT("daemon_id", s->daemon_id)),
            "the row of this process is %s: claiming no more", superseded ? "superseded" : "gone");
        service_quit(s, superseded ? SERVICE_EXIT_DONE : SERVICE_EXIT_NO_DATABASE);
        return;
    }
    set_flags_off(s, db_text(r, 0, "off"));
    if (s->runs && !db_is_null(r, 0, "next_run_in_ms"))
        loop_timer_start(s->runs_due, db_int(r, 0, "next_run_in_ms"));
}

/* Adds daemon.metrics, with what the queue counted. */
static void arg_metrics(struct service *s, struct db_args *args)
{
    if (s->runs) {
        struct job_run_counts c = job_run_worker_counts(s->runs);
        service_metric_set(s, "runs_claimed", c.claimed);
        service_metric_set(s, "runs_succeeded", c.succeeded);
        service_metric_set(s, "runs_failed", c.failed);
        service_metric_set(s, "runs_lost", c.lost);
    }
    char *metrics = json_dumps(s->metrics, JSON_COMPACT);
    db_arg_str(args, metrics ? metrics : "{}");
    free(metrics);
}

void service_daemon_beat(struct service *s)
{
    struct db_args args;

    loop_timer_start(s->beat, HEARTBEAT_MS);
    if (!db_conn_is_up(s->db))
        return; /* beats would pile up; the next one tells the same */
    db_args_init(&args);
    db_arg_int(&args, s->daemon_id);
    arg_metrics(s, &args);
    db_arg_str(&args, s->runs ? s->spec->queue : NULL);
    if (db_conn_send(s->db, &SQL_beat_daemon, &args, 0, on_beat, s) != 0)
        log_error(F_NONE, "out of memory: a heartbeat was left out");
    db_args_release(&args);
}

/* --- rescue ------------------------------------------------------------------------------- */

static void on_rescued(void *arg, struct db_result *r)
{
    struct service *s = arg;

    if (r->err == ERR_DB)
        log_error(F(F_STR("sqlstate", r->sqlstate)), "rescue failed: %s", r->message);
    if (r->err || s->phase != SERVICE_PHASE_RUNNING)
        return;
    int64_t freed = db_int(r, 0, "freed"), quarantined = db_int(r, 0, "quarantined");
    if (freed || quarantined)
        log_warn(F(F_STR("queue", s->spec->queue), F_INT("rescued", freed),
                     F_INT("quarantined", quarantined)),
            "rescued %lld stalled runs, quarantined %lld", (long long)freed,
            (long long)quarantined);
    if (freed)
        job_run_worker_wake(s->runs);
}

void service_daemon_rescue(struct service *s)
{
    struct db_args args;

    loop_timer_start(s->rescue, RESCUE_MS + backoff_jitter_ms(RESCUE_MORE_MS));
    if (!db_conn_is_up(s->db))
        return;
    if (s->spec->rescue)
        s->spec->rescue(s);
    if (!s->runs)
        return;
    db_args_init(&args);
    db_arg_str(&args, s->spec->queue);
    if (db_conn_send(s->db, &SQL_rescue_runs, &args, 0, on_rescued, s) != 0)
        log_error(F_NONE, "out of memory: a rescue was left out");
    db_args_release(&args);
}

/* --- stop --------------------------------------------------------------------------------- */

static void on_stopped(void *arg, struct db_result *r)
{
    struct service *s = arg;

    if (r->err && r->err != ERR_CANCELLED)
        log_warn(F(F_INT("daemon_id", s->daemon_id)), "the clean stop could not be recorded: %s",
            r->message);
    if (r->err != ERR_CANCELLED)
        service_over(s);
}

void service_daemon_stop(struct service *s)
{
    struct db_args args;

    db_args_init(&args);
    db_arg_int(&args, s->daemon_id);
    arg_metrics(s, &args);
    if (db_conn_send(s->db, &SQL_stop_daemon, &args, 0, on_stopped, s) != 0)
        service_over(s);
    db_args_release(&args);
}
