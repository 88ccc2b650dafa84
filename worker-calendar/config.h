/*
 * The configuration of worker-calendar.
 */
#ifndef TOCSIN_WORKER_CALENDAR_CONFIG_H
#define TOCSIN_WORKER_CALENDAR_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/config.h"

struct calendar_config {
    int64_t in_flight;
    int64_t interval_ms;
    int64_t horizon_ms;
    int64_t window_ms;
    int64_t window_min_ms;
    int64_t max_body;
    int64_t connect_ms;
    int64_t fetch_ms;
    int64_t parse_ms;
    int64_t db_ms;
    int64_t sync_ms;
    int64_t backoff_first_ms;
    int64_t backoff_max_ms;
    int64_t full_spread_ms;
    bool allow_private;
    char *file_dir; /* NULL: no files */
    char *google_api_url;
    char *google_token_url;
};

#define CALENDAR_CONFIG_N_KEYS 18
extern const struct config_key calendar_config_keys[CALENDAR_CONFIG_N_KEYS];

/* What the table alone cannot say; faults one a line. */
void calendar_config_check(const void *config, struct buf *faults);

#endif
