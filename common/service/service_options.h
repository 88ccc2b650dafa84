/*
 * The configuration that every executable shares, and the command line.
 */
#ifndef TOCSIN_SERVICE_SERVICE_OPTIONS_H
#define TOCSIN_SERVICE_SERVICE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/secret.h"
#include "service/service.h"

struct service_options {
    char *database_url;
    bool prepare, notify;
    int64_t patience_ms, connect_timeout_ms, statement_timeout_ms, drain_ms;
    int log_level, log_format;
    char *seal_keys;
    char *sentry_dsn;
    bool flag[5]; /* in the order of enum service_flag */
};

enum service_mode {
    SERVICE_MODE_RUN,
    SERVICE_MODE_ONCE,
    SERVICE_MODE_CHECK_CONFIG,
    SERVICE_MODE_SHOW_CONFIG,
    SERVICE_MODE_MANUAL,
    SERVICE_MODE_HELP,
    SERVICE_MODE_VERSION,
};

struct service_command_line {
    enum service_mode mode;
    const char *config_path; /* NULL: the environment alone */
};

/* The names of the flags in the order of enum service_flag, as logs and feature_flag say them. */
extern const char *const service_flag_names[5];

/* Returns 0, or ERR_INVALID with the complaint in `fault`. */
MUST_CHECK int service_command_line_parse(
    int argc, char **argv, struct service_command_line *ret, struct buf *fault);

/* Loads both tables; `own` is the executable's structure. Every fault is one line. */
MUST_CHECK int service_options_load(const struct service_spec *spec, const char *config_path,
    struct service_options *options, void *own, struct secret_ring **ret_ring, struct buf *faults);
void service_options_release(
    const struct service_spec *spec, struct service_options *options, void *own);

/* The tables and what they fill: the number of sections, at most two. */
size_t service_options_sections(const struct service_spec *spec, struct service_options *options,
    void *own, struct config_section ret[2]);

/* The flags as bits. */
unsigned service_options_flags(const struct service_options *options);

/* Answers --help, --version, --show-config and the manual page on standard output. */
void service_options_print(const struct service_spec *spec, enum service_mode mode,
    struct service_options *options, void *own);

#endif
