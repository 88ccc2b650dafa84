/*
 * JSON from outside: bounded in size and depth before the parser sees it, and
 * typed look-ups that answer NULL or a fallback instead of crashing.
 */
#ifndef TOCSIN_BASE_JSON_READ_H
#define TOCSIN_BASE_JSON_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define JSON_READ_DEPTH_MAX 64

/* Parses one document of at most `max_len` bytes and JSON_READ_DEPTH_MAX levels;
 * duplicate keys are refused. The caller drops the reference. Faults name the line and
 * column and are appended to `fault` (may be NULL). ERR_TOO_LARGE, ERR_INVALID, ERR_NOMEM. */
MUST_CHECK int json_read(
    const char *text, size_t len, size_t max_len, struct buf *fault, json_t **ret_json);

/* Members by path: json_read_get(j, "error", "status", NULL). NULL where a step is missing. */
const json_t *json_read_get(const json_t *j, const char *key, ...) __attribute__((sentinel));

/* A member of an object as a string, or NULL. Owned by the document. */
const char *json_read_str(const json_t *j, const char *key);
/* A member as a whole number, else `fallback`. */
int64_t json_read_int(const json_t *j, const char *key, int64_t fallback);
bool json_read_bool(const json_t *j, const char *key, bool fallback);

#endif
