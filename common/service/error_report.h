/*
 * Errors to Sentry: every log line of level error becomes an event, posted in the background. It
 * never holds anything up: what does not fit the queue or the rate is counted and left out.
 */
#ifndef TOCSIN_SERVICE_ERROR_REPORT_H
#define TOCSIN_SERVICE_ERROR_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/config.h"
#include "base/err.h"
#include "io/http_client.h"

/* Events that wait; one more is dropped. */
#define ERROR_REPORT_QUEUE 32
/* So many at once, then one every so often. */
#define ERROR_REPORT_BURST    40
#define ERROR_REPORT_EVERY_MS 3000

struct error_report;

/* Hooks itself to the log. The secret values of `sections` never leave. ERR_INVALID (the DSN),
 * ERR_NOMEM. */
MUST_CHECK int error_report_new(uv_loop_t *loop, struct http_client *http, const char *dsn,
    const struct config_section *sections, size_t n_sections, struct error_report **ret_report);
/* Runs the loop until what waits is sent, for `ms` at most. */
void error_report_flush(struct error_report *r, int64_t ms);
/* Unhooks. NULL does nothing. */
void error_report_free(struct error_report *r);

#endif
