/*
 * Where a member of a JSON document stands in its text. The parser forgets it; a
 * person who is told of a fault needs it.
 */
#ifndef TOCSIN_SCHEDULER_DEFINITIONS_PLACE_H
#define TOCSIN_SCHEDULER_DEFINITIONS_PLACE_H

#include <stddef.h>

#include "base/buf.h"

/* A path into a document, from the inside out: `key` of an object, or an element's
 * number where key is NULL. The document itself has no parent. */
struct json_at {
    const struct json_at *parent;
    const char *key;
    size_t index;
};

#define JSON_AT_ROOT          ((struct json_at){NULL, NULL, 0})
#define JSON_AT_KEY(up, name) ((struct json_at){(up), (name), 0})
#define JSON_AT_INDEX(up, i)  ((struct json_at){(up), NULL, (i)})

struct definitions_place {
    int line;   /* from 1 */
    int column; /* from 1, in characters */
};

/* The place of a member's key, or of an element; of the innermost step of the path
 * that the text has. The text must be valid JSON, at most JSON_READ_DEPTH_MAX deep. */
struct definitions_place definitions_place(const char *text, const struct json_at *at);

/* Adds the path as "schedules.cleanup.blackout[2]". */
void definitions_add_path(struct buf *b, const struct json_at *at);

#endif
