/*
 * A failure as it is written to a row.
 */
#ifndef TOCSIN_BASE_FAILURE_JSON_H
#define TOCSIN_BASE_FAILURE_JSON_H

#include "base/failure.h"

/* {"code", "detail", "final"} and, where they are known, "sqlstate" and "http_status", as one line
 * that the caller frees with free(). NULL where there is no failure, or when memory is short. */
MUST_CHECK char *failure_json(const struct failure *f);

#endif
