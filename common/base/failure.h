/*
 * What a job failed of, in the one shape that is logged and written to its row.
 */
#ifndef TOCSIN_BASE_FAILURE_H
#define TOCSIN_BASE_FAILURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Bytes of detail, the final NUL included. A longer text is shortened at a
 * character boundary and ends with an ellipsis, so that the cut is seen. */
#define FAILURE_DETAIL_MAX 320

struct failure {
    int code;               /* 0 (no failure) or a negative enum err */
    bool final;             /* trying again cannot help */
    bool ambiguous;         /* the other side may have done the work */
    char sqlstate[6];       /* "" where PostgreSQL had no part in it */
    int http_status;        /* 0 where HTTP had no part in it */
    int64_t retry_after_ms; /* what the other side asked for; -1 for nothing */
    char detail[FAILURE_DETAIL_MAX];
};

/* No failure. */
void failure_clear(struct failure *f);

/* Sets code and detail and clears the rest. A failure may pass unless its code
 * is ERR_INVALID, ERR_DENIED, ERR_TOO_LARGE or ERR_CRYPTO; adjust `final` where
 * the caller knows better. Control characters in the text become spaces. */
void failure_set(struct failure *f, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
