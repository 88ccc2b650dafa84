#include "service/service_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "service/sentry_envelope.h"

#define MINUTE_MS     60000LL
#define OFFSET(field) offsetof(struct service_options, field)

const char *const service_flag_names[5] = {
    "scheduler", "calendar", "alerts", "checkin", "escalation"};

static const struct config_key keys[] = {
    {.key = "TOCSIN_DATABASE_URL",
        .type = CONFIG_STRING,
        .offset = OFFSET(database_url),
        .fallback = "",
        .secret = true,
        .help = "libpq connection string or URI, several hosts and target_session_attrs allowed; "
                "empty: libpq's own environment (PGHOST, PGSERVICE, …)."},
    {.key = "TOCSIN_PREPARE",
        .type = CONFIG_BOOL,
        .offset = OFFSET(prepare),
        .fallback = "on",
        .help = "Prepared statements by name; off behind a pooler in transaction mode, where the "
                "time-outs of a session belong on the role (ALTER ROLE … SET statement_timeout)."},
    {.key = "TOCSIN_NOTIFY",
        .type = CONFIG_BOOL,
        .offset = OFFSET(notify),
        .fallback = "on",
        .help = "LISTEN for hints; off: poll every second, as a pooler in transaction mode needs."},
    {.key = "TOCSIN_DATABASE_PATIENCE",
        .type = CONFIG_DURATION,
        .offset = OFFSET(patience_ms),
        .fallback = "5m",
        .min = 0,
        .max = 1440 * MINUTE_MS,
        .help = "How long to try for a connection before the process exits with 75."},
    {.key = "TOCSIN_CONNECT_TIMEOUT",
        .type = CONFIG_DURATION,
        .offset = OFFSET(connect_timeout_ms),
        .fallback = "10s",
        .min = 100,
        .max = 5 * MINUTE_MS,
        .help = "One try to connect; the next one begins with the next host."},
    {.key = "TOCSIN_STATEMENT_TIMEOUT",
        .type = CONFIG_DURATION,
        .offset = OFFSET(statement_timeout_ms),
        .fallback = "30s",
        .min = 100,
        .max = 60 * MINUTE_MS,
        .help = "Set on the session; a connection that is silent for 10 s longer counts as dead."},
    {.key = "TOCSIN_DRAIN_TIMEOUT",
        .type = CONFIG_DURATION,
        .offset = OFFSET(drain_ms),
        .fallback = "20s",
        .min = 0,
        .max = 60 * MINUTE_MS,
        .help = "After the first SIGTERM or SIGINT: how long work in hand may take to end."},
    {.key = "TOCSIN_SEAL_KEYS",
        .type = CONFIG_STRING,
        .offset = OFFSET(seal_keys),
        .secret = true,
        .help = "Keys for sealed secrets, \"id:base64,id:base64\"; the first seals, all open."},
    {.key = "SENTRY_DSN",
        .type = CONFIG_STRING,
        .offset = OFFSET(sentry_dsn),
        .secret = true,
        .help = "Where errors go, https://KEY@host/PROJECT; empty: nowhere but the log."},
    {.key = "LOG_LEVEL",
        .type = CONFIG_CHOICE,
        .offset = OFFSET(log_level),
        .fallback = "info",
        .choices = "debug|info|warn|error",
        .help = "The lowest level that is written."},
    {.key = "LOG_FORMAT",
        .type = CONFIG_CHOICE,
        .offset = OFFSET(log_format),
        .fallback = "logfmt",
        .choices = "logfmt|json|plain",
        .help = "The shape of a line; plain is for people."},
    {.key = "FEATURE_SCHEDULER_ENABLED",
        .type = CONFIG_BOOL,
        .offset = OFFSET(flag[0]),
        .fallback = "true",
        .help = "Schedules fire."},
    {.key = "FEATURE_CALENDAR_ENABLED",
        .type = CONFIG_BOOL,
        .offset = OFFSET(flag[1]),
        .fallback = "true",
        .help = "Calendars are synced, meetings and occasions planned."},
    {.key = "FEATURE_ALERTS_ENABLED",
        .type = CONFIG_BOOL,
        .offset = OFFSET(flag[2]),
        .fallback = "true",
        .help = "Rungs to the owner are sent."},
    {.key = "FEATURE_CHECKIN_ENABLED",
        .type = CONFIG_BOOL,
        .offset = OFFSET(flag[3]),
        .fallback = "true",
        .help = "Check-ins are sent."},
    {.key = "FEATURE_ESCALATION_ENABLED",
        .type = CONFIG_BOOL,
        .offset = OFFSET(flag[4]),
        .fallback = "true",
        .help = "Rungs to anybody but the owner are sent."},
};

size_t service_options_sections(const struct service_spec *spec, struct service_options *options,
    void *own, struct config_section ret[2])
{
    ret[0] =
        (struct config_section){"Every executable", keys, sizeof(keys) / sizeof(*keys), options};
    ret[1] = (struct config_section){spec->name, spec->keys, spec->n_keys, own};
    return spec->n_keys ? 2 : 1;
}

int service_command_line_parse(
    int argc, char **argv, struct service_command_line *ret, struct buf *fault)
{
    static const struct {
        const char *name;
        enum service_mode mode;
    } modes[] = {{"--once", SERVICE_MODE_ONCE}, {"--check-config", SERVICE_MODE_CHECK_CONFIG},
        {"--show-config", SERVICE_MODE_SHOW_CONFIG}, {"--manual", SERVICE_MODE_MANUAL},
        {"--help", SERVICE_MODE_HELP}, {"-h", SERVICE_MODE_HELP},
        {"--version", SERVICE_MODE_VERSION}};
    struct service_command_line line = {.mode = SERVICE_MODE_RUN};

    for (int i = 1; i < argc; i++) {
        size_t m = 0, n = sizeof(modes) / sizeof(*modes);
        if (!strcmp(argv[i], "--config") && i + 1 < argc) {
            line.config_path = argv[++i];
            continue;
        }
        while (m < n && strcmp(argv[i], modes[m].name) != 0)
            m++;
        if (m == n) {
            buf_addf(fault, "%s: unknown option, or one that needs a value; see --help\n", argv[i]);
            return ERR_INVALID;
        }
        line.mode = modes[m].mode;
    }
    *ret = line;
    return 0;
}

int service_options_load(const struct service_spec *spec, const char *config_path,
    struct service_options *options, void *own, struct secret_ring **ret_ring, struct buf *faults)
{
    struct config_section sections[2];
    struct config_file *file = NULL;
    int err = 0;

    size_t n = service_options_sections(spec, options, own, sections);
    if (config_path)
        err = config_file_read(config_path, faults, &file);
    if (err == ERR_NOMEM)
        return err;
    int loaded = config_load(sections, n, file, service_known_keys, faults);
    config_file_free(file);
    if (loaded == ERR_NOMEM)
        return loaded;
    int keyed = secret_ring_parse(options->seal_keys, faults, ret_ring);
    if (!loaded && options->sentry_dsn && sentry_dsn_parse(options->sentry_dsn, NULL, NULL) != 0) {
        buf_add_str(faults, "SENTRY_DSN: https://KEY@host/PROJECT\n");
        err = ERR_INVALID;
    }
    if (!err && !loaded && spec->check) {
        size_t before = faults->len;
        spec->check(own, faults);
        err = faults->len > before ? ERR_INVALID : 0;
    }
    return err ? err : loaded ? loaded : keyed;
}

void service_options_release(
    const struct service_spec *spec, struct service_options *options, void *own)
{
    struct config_section sections[2];

    config_release(sections, service_options_sections(spec, options, own, sections));
}

unsigned service_options_flags(const struct service_options *options)
{
    unsigned flags = 0;

    for (unsigned i = 0; i < 5; i++)
        flags |= options->flag[i] ? 1u << i : 0;
    return flags;
}

static const char usage[] =
    "  --config FILE    KEY=value lines; the environment wins over them\n"
    "  --check-config   report every fault of the configuration, exit 78 if there is one\n"
    "  --show-config    print what is in force, without secrets\n"
    "  --once           one round of what is due, then exit\n"
    "  --version, --help\n"
    "\n"
    "Exit codes: 0 done or nothing enabled, 75 no database, 78 configuration.\n"
    "SIGTERM or SIGINT drains; a second one ends the process at once.\n";

void service_options_print(const struct service_spec *spec, enum service_mode mode,
    struct service_options *options, void *own)
{
    struct config_section sections[2];
    size_t n = service_options_sections(spec, options, own, sections);

    switch (mode) {
    case SERVICE_MODE_VERSION:
        (void)printf("%s %s\n", spec->name, TOCSIN_VERSION);
        break;
    case SERVICE_MODE_SHOW_CONFIG:
        config_show(sections, n, stdout);
        break;
    case SERVICE_MODE_HELP:
        (void)printf("%s: %s\n\nusage: %s [options]\n%s", spec->name, spec->summary, spec->name,
            spec->usage ? spec->usage : "");
        (void)printf("%s\nConfiguration (environment variables):\n\n", usage);
        config_help(sections, n, stdout);
        break;
    case SERVICE_MODE_MANUAL:
        (void)printf(".TH %s 8 \"\" \"Tocsin %s\" \"Tocsin\"\n.SH NAME\n%s \\- %s\n", spec->name,
            TOCSIN_VERSION, spec->name, spec->summary);
        (void)printf(".SH SYNOPSIS\n.B %s\n[options]\n.SH OPTIONS\n.nf\n%s%s.fi\n", spec->name,
            spec->usage ? spec->usage : "", usage);
        (void)printf(".SH ENVIRONMENT\n");
        config_manual(sections, n, stdout);
        break;
    case SERVICE_MODE_RUN:
    case SERVICE_MODE_ONCE:
    case SERVICE_MODE_CHECK_CONFIG:
        break;
    }
}
