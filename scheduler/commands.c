#include "scheduler/commands.h"

#include <getopt.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/config.h"
#include "scheduler/definitions.h"
#include "scheduler/next_command.h"
#include "scheduler/schedule_rule.h"
#include "service/service.h"
#include "sql/scheduler.h"

#define EXIT_USAGE   64 /* sysexits.h: EX_USAGE */
#define SLOTS_MAX    100000
#define FAULTS_MAX   ((size_t)1 << 20)
#define DEFAULT_FILE "/usr/local/share/tocsin/schedules.json"

const char commands_usage[] =
    "  --check FILE                 check definitions: every fault, with line and column\n"
    "  --preview KEY [-n N] [--from T] [--file FILE]\n"
    "                               the next slots of a schedule, one a line\n"
    "  --diff FILE                  what FILE would change in the database\n"
    "  --next EXPR [--zone Z] …     the next runs of an expression; --next --help tells more\n";

struct request {
    const char *check, *preview, *diff, *file;
    int64_t n, from;
};

enum { OPT_CHECK = 256, OPT_PREVIEW, OPT_DIFF, OPT_FILE, OPT_FROM };

static const struct option options[] = {
    {"check", required_argument, NULL, OPT_CHECK},
    {"preview", required_argument, NULL, OPT_PREVIEW},
    {"diff", required_argument, NULL, OPT_DIFF},
    {"file", required_argument, NULL, OPT_FILE},
    {"from", required_argument, NULL, OPT_FROM},
    {NULL, 0, NULL, 0},
};

static bool is_asked(int argc, char **argv)
{
    static const char *const names[] = {"--check", "--preview", "--diff"};

    for (size_t i = 0; argc > 1 && i < sizeof(names) / sizeof(*names); i++) {
        size_t len = strlen(names[i]);
        if (strncmp(argv[1], names[i], len) == 0 && (!argv[1][len] || argv[1][len] == '='))
            return true;
    }
    return false;
}

static bool set_option(struct request *req, int option, const char *value)
{
    switch (option) {
    case OPT_CHECK:
        req->check = value;
        return true;
    case OPT_PREVIEW:
        req->preview = value;
        return true;
    case OPT_DIFF:
        req->diff = value;
        return true;
    case OPT_FILE:
        req->file = value;
        return true;
    case OPT_FROM:
        return civil_time_parse_instant(value, &req->from) == 0;
    case 'n':
        return config_parse_int(value, &req->n) == 0 && req->n >= 1 && req->n <= SLOTS_MAX;
    default:
        return false;
    }
}

static bool read_request(int argc, char **argv, struct request *req)
{
    int option;

    optind = 0; /* start over, whatever was parsed before */
    while ((option = getopt_long(argc, argv, "n:", options, NULL)) != -1)
        if (!set_option(req, option, optarg))
            return false;
    return optind == argc && !!req->check + !!req->preview + !!req->diff == 1;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* --- each command ----------------------------------------------------------------------------- */

static int check(const struct request *req, const struct definitions *d)
{
    (void)printf("%s: %zu jobs and %zu schedules, no faults\n", req->check,
        json_array_size(d->jobs), json_array_size(d->schedules));
    return SERVICE_EXIT_DONE;
}

static int preview(
    const struct request *req, const struct definitions *d, struct civil_zones *zones)
{
    const json_t *row = definitions_schedule(d, req->preview);
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
    _cleanup_(freep) char *text = json_dumps(json_object_get(row, "definition"), 0);
    struct slot slot = {.at = req->from};

    if (!row) {
        (void)fprintf(stderr, "there is no schedule \"%s\" in %s\n", req->preview, req->file);
        return SERVICE_EXIT_CONFIG;
    }
    if (!text || schedule_rule_from_text(req->preview, text, zones, NULL, &rule) < 0)
        return SERVICE_EXIT_FAULT;
    for (int64_t i = 0; i < req->n && slot_next(rule->slots, slot.at, &slot) == 0; i++) {
        _cleanup_(buf_release) struct buf line = BUF_INIT(256);
        next_command_add_slot(&line, &slot);
        (void)fputs(buf_str(&line), stdout);
    }
    if (slot.at == req->from)
        (void)fprintf(stderr, "%s has no slot any more\n", req->preview);
    return fflush(stdout) == 0 ? SERVICE_EXIT_DONE : SERVICE_EXIT_FAULT;
}

static void print_changes(const PGresult *r)
{
    int kind = PQfnumber(r, "kind"), key = PQfnumber(r, "key");
    int change = PQfnumber(r, "change"), detail = PQfnumber(r, "detail");

    for (int row = 0; row < PQntuples(r); row++) {
        const char *what = PQgetvalue(r, row, detail);
        (void)printf("%-8s %-8s %s%s%s\n", PQgetvalue(r, row, change), PQgetvalue(r, row, kind),
            PQgetvalue(r, row, key), *what ? ": " : "", what);
    }
    if (PQntuples(r) == 0)
        (void)puts("nothing would change");
}

/* Blocks: there is nothing else to do meanwhile. */
static int diff(const struct definitions *d)
{
    const char *dsn = getenv("TOCSIN_DATABASE_URL");
    _cleanup_(freep) char *jobs = json_dumps(d->jobs, JSON_COMPACT);
    _cleanup_(freep) char *schedules = json_dumps(d->schedules, JSON_COMPACT);
    const char *const params[] = {jobs, schedules};
    int exit_code = SERVICE_EXIT_DONE;
    PGconn *conn;
    PGresult *r = NULL;

    if (!jobs || !schedules)
        return SERVICE_EXIT_FAULT;
    conn = PQconnectdb(dsn ? dsn : "");
    if (PQstatus(conn) == CONNECTION_OK)
        r = PQexecParams(conn, SQL_diff_definitions.text, 2, NULL, params, NULL, NULL, 0);
    if (r && PQresultStatus(r) == PGRES_TUPLES_OK) {
        print_changes(r);
    } else {
        (void)fprintf(stderr, "TOCSIN_DATABASE_URL: %s", PQerrorMessage(conn));
        exit_code = r ? SERVICE_EXIT_FAULT : SERVICE_EXIT_NO_DATABASE;
    }
    PQclear(r);
    PQfinish(conn);
    return exit_code;
}

static int run(const struct request *req)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    _cleanup_(definitions_freep) struct definitions *definitions = NULL;
    _cleanup_(buf_release) struct buf faults = BUF_INIT(FAULTS_MAX);
    struct definitions_source source = {req->file, NULL, environment, clock_unix_s(), !req->check};
    int err = civil_zones_new(NULL, &zones);

    source.zones = zones;
    if (err == 0)
        err = definitions_load(&source, &faults, &definitions);
    (void)fputs(buf_str(&faults), stderr);
    if (err < 0)
        return err == ERR_INVALID ? SERVICE_EXIT_CONFIG : SERVICE_EXIT_FAULT;
    if (req->check)
        return check(req, definitions);
    return req->preview ? preview(req, definitions, zones) : diff(definitions);
}

int commands_run(int argc, char **argv)
{
    const char *file = getenv("SCHEDULES_FILE");
    struct request req = {
        .n = 10, .from = clock_unix_s(), .file = file && *file ? file : DEFAULT_FILE};
    int exit_code = next_command(argc, argv);

    if (exit_code >= 0)
        return exit_code;
    if (!is_asked(argc, argv))
        return -1;
    if (!read_request(argc, argv, &req)) {
        (void)fprintf(stderr, "usage: scheduler OPTION…\n%s", commands_usage);
        return EXIT_USAGE;
    }
    if (req.check)
        req.file = req.check;
    if (req.diff)
        req.file = req.diff;
    return run(&req);
}
