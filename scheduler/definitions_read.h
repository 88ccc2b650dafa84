/*
 * Reading the members of a definition, each with its own kind of fault. Nothing
 * stops at the first one: every function reports what it finds wrong and answers
 * what it was given as a fallback.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_READ_H
#define TOCSIN_SCHEDULER_DEFINITIONS_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "scheduler/definitions_place.h"

/* Where faults go: "FILE:line:column: path: reason", one a line. */
struct definitions_faults {
    const char *file; /* as told to the reader */
    const char *text; /* valid JSON, or NULL where no place is known */
    struct buf *out;
    int count;
};

void definitions_fault(struct definitions_faults *faults, const struct json_at *at, const char *fmt,
    ...) PRINTF_LIKE(3, 4);

/* An object under check: the object and where it stands. */
struct definitions_object {
    const json_t *json;
    const struct json_at *at;
    struct definitions_faults *faults;
};

/* A fault for every member whose key is not in the NULL-terminated list. */
void definitions_known_keys(const struct definitions_object *o, const char *const *keys);

/* A string member, or `fallback` where it is missing. Empty strings are faults. */
const char *definitions_str(
    const struct definitions_object *o, const char *key, const char *fallback);
/* As above, but a fault where it is missing; NULL then. */
const char *definitions_required(const struct definitions_object *o, const char *key);
/* One of the words of a NULL-terminated list; NULL after a fault. */
const char *definitions_choice(const struct definitions_object *o, const char *key,
    const char *const *words, const char *fallback);
int64_t definitions_int(const struct definitions_object *o, const char *key, int64_t min,
    int64_t max, int64_t fallback);
/* "90s", "5m"; milliseconds. */
int64_t definitions_duration(const struct definitions_object *o, const char *key, int64_t min_ms,
    int64_t max_ms, int64_t fallback_ms);

/* Lower-case letters, digits, '-' and '_', starting with a letter, at most 63. */
bool definitions_is_key(const char *text);
/* What definitions_is_key() asks for, for a fault. */
#define DEFINITIONS_KEY_RULE                                                                       \
    "a key is of lower-case letters, digits, - and _, starts with a letter and has at most 63 "    \
    "characters"

#endif
