#include "scheduler/next_command.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/config.h"
#include "scheduler/slot_spec.h"

#define EXIT_USAGE  64 /* sysexits.h: EX_USAGE, EX_SOFTWARE, EX_CONFIG */
#define EXIT_FAULT  70
#define EXIT_CONFIG 78

#define RUNS_DEFAULT 10
#define RUNS_MAX     1000000
#define FAULTS_MAX   4096
#define LINE_MAX_LEN 256
#define EVERY        "every "

static const char usage[] =
    "usage: scheduler --next EXPR [--zone ZONE] [--from INSTANT] [-n RUNS]\n"
    "           [--dst-gap run_after|skip] [--dst-overlap first|both] [--window WINDOW]\n"
    "\n"
    "Prints the runs later than INSTANT (now), one a line, as\n"
    "UTC-instant local-time-with-offset [gap|overlap].\n"
    "EXPR is a cron expression or \"every 90s\", ZONE an IANA name (UTC).\n";

struct request {
    struct slot_options options;
    int64_t from;
    int64_t runs;
};

enum { OPT_NEXT = 256, OPT_ZONE, OPT_FROM, OPT_GAP, OPT_OVERLAP, OPT_WINDOW };

static const struct option options[] = {
    {"next", required_argument, NULL, OPT_NEXT},
    {"zone", required_argument, NULL, OPT_ZONE},
    {"from", required_argument, NULL, OPT_FROM},
    {"dst-gap", required_argument, NULL, OPT_GAP},
    {"dst-overlap", required_argument, NULL, OPT_OVERLAP},
    {"window", required_argument, NULL, OPT_WINDOW},
    {NULL, 0, NULL, 0},
};

static bool has_argument(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static bool is_asked(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--next=", 7) == 0)
            return true;
    return has_argument(argc, argv, "--next");
}

static void set_expression(struct slot_options *o, const char *text)
{
    o->cron = o->every = NULL;
    if (strncmp(text, EVERY, sizeof(EVERY) - 1) == 0)
        o->every = text + sizeof(EVERY) - 1;
    else
        o->cron = text;
}

static int set_option(struct request *req, int option, const char *value)
{
    switch (option) {
    case OPT_NEXT:
        set_expression(&req->options, value);
        return 0;
    case OPT_ZONE:
        req->options.zone = value;
        return 0;
    case OPT_GAP:
        req->options.dst_gap = value;
        return 0;
    case OPT_OVERLAP:
        req->options.dst_overlap = value;
        return 0;
    case OPT_WINDOW:
        req->options.window = value;
        return 0;
    case OPT_FROM:
        if (civil_time_parse_instant(value, &req->from) == 0)
            return 0;
        (void)fprintf(stderr, "--from: '%s' is no instant such as 2026-03-07T00:00:00Z\n", value);
        return ERR_INVALID;
    case 'n':
        if (config_parse_int(value, &req->runs) == 0 && req->runs >= 1 && req->runs <= RUNS_MAX)
            return 0;
        (void)fprintf(stderr, "-n: '%s' is no number from 1 to %d\n", value, RUNS_MAX);
        return ERR_INVALID;
    default:
        return ERR_INVALID;
    }
}

static int read_request(int argc, char **argv, struct request *req)
{
    int option;

    optind = 0; /* start over, whatever was parsed before */
    while ((option = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
        int r = set_option(req, option, optarg);

        if (r)
            return r;
    }
    if (optind != argc) {
        (void)fprintf(stderr, "unexpected argument '%s'\n", argv[optind]);
        return ERR_INVALID;
    }
    return 0;
}

void next_command_add_slot(struct buf *line, const struct slot *slot)
{
    civil_time_add_utc(line, slot->at);
    buf_add_char(line, ' ');
    civil_time_add_local(line, slot->at, slot->offset);
    if (slot->flags & SLOT_MOVED_BY_GAP)
        buf_add_str(line, " gap");
    else if (slot->flags & SLOT_IN_OVERLAP)
        buf_add_str(line, " overlap");
    buf_add_char(line, '\n');
}

static int print_slot(const struct slot *slot)
{
    struct buf line = BUF_INIT(LINE_MAX_LEN);
    int r;

    next_command_add_slot(&line, slot);
    r = buf_err(&line);
    if (!r && fputs(buf_str(&line), stdout) == EOF)
        r = ERR_IO;
    buf_release(&line);
    return r;
}

static int print_runs(const struct slot_spec *spec, const struct request *req)
{
    struct slot slot = {.at = req->from};

    for (int64_t i = 0; i < req->runs; i++) {
        int r = slot_next(spec, slot.at, &slot);

        if (r)
            return r == ERR_NOT_FOUND && i > 0 ? 0 : r;
        r = print_slot(&slot);
        if (r)
            return r;
    }
    return fflush(stdout) == 0 ? 0 : ERR_IO;
}

static int exit_code(int r)
{
    if (r == 0)
        return 0;
    return r == ERR_INVALID ? EXIT_CONFIG : EXIT_FAULT;
}

int next_command(int argc, char **argv)
{
    struct request req = {.from = clock_unix_s(), .runs = RUNS_DEFAULT};
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    _cleanup_(slot_spec_freep) struct slot_spec *spec = NULL;
    _cleanup_(buf_release) struct buf faults = BUF_INIT(FAULTS_MAX);
    int r;

    if (!is_asked(argc, argv))
        return -1;
    if (has_argument(argc, argv, "--help"))
        return fputs(usage, stdout) == EOF ? EXIT_FAULT : 0;
    if (read_request(argc, argv, &req)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    r = civil_zones_new(NULL, &zones);
    if (!r)
        r = slot_spec_new(&req.options, zones, &faults, &spec);
    if (!r)
        r = slot_spec_check(spec, req.from, &faults);
    if (!r)
        r = print_runs(spec, &req);
    (void)fputs(buf_str(&faults), stderr);
    if (r && r != ERR_INVALID)
        (void)fprintf(stderr, "scheduler: %s\n", err_name(r));
    return exit_code(r);
}
