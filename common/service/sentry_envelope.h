/*
 * What Sentry's protocol asks for: where an event goes, how it is packed, when to be silent.
 * develop.sentry.dev: "Envelopes", "Rate Limiting", and the DSN of "SDK Overview".
 */
#ifndef TOCSIN_SERVICE_SENTRY_ENVELOPE_H
#define TOCSIN_SERVICE_SENTRY_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log_line.h"

#define SENTRY_EVENT_MAX ((size_t)65536)

/* Takes "https://KEY@host/path/PROJECT" apart: the address of envelopes is added to `url`, the
 * value of X-Sentry-Auth to `auth`; both may be NULL. ERR_INVALID. */
MUST_CHECK int sentry_dsn_parse(const char *dsn, struct buf *url, struct buf *auth);

struct sentry_source {
    const char *release;
    const char *server_name;
    /* Texts that never leave: each is replaced wherever it stands in a message or a value. */
    char **secrets;
    size_t n_secrets;
};

/* One event as an envelope. `dropped`: how many before it were not sent. ERR_NOMEM,
 * ERR_TOO_LARGE. */
MUST_CHECK int sentry_envelope_write(const struct sentry_source *source,
    const struct log_event *event, int64_t dropped, struct buf *ret_envelope);

/* For how many milliseconds X-Sentry-Rate-Limits asks not to send errors; 0: not at all. */
int64_t sentry_rate_limits_ms(const char *header);

#endif
