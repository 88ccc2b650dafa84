/*
 * The content lines of a calendar's text, unfolded (RFC 5545 section 3.1).
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_LINES_H
#define TOCSIN_WORKER_CALENDAR_ICS_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Bytes of one line after unfolding; attachments are longer, and nobody reads them. */
#define ICS_LINE_MAX 65536

struct ics_lines {
    const char *at, *end; /* borrowed */
    size_t number;        /* of the line last given, from 1 */
    size_t physical;      /* line breaks passed */
    struct buf unfolded;
};

struct ics_line {
    const char *text; /* valid until the next call; not NUL-terminated */
    size_t len;
    size_t name_len; /* up to the first ':' or ';'; 0 where the line has no name */
    bool cut;        /* it was longer than ICS_LINE_MAX */
};

/* Borrows `text`, whose byte order mark is passed over. */
void ics_lines_init(struct ics_lines *l, const char *text, size_t len);
void ics_lines_release(struct ics_lines *l);

/* 1 with the next line that is not empty, 0 at the end, ERR_NOMEM. */
MUST_CHECK int ics_lines_next(struct ics_lines *l, struct ics_line *ret_line);

/* Whether the line's name is `name`, in any case. */
bool ics_line_is(const struct ics_line *line, const char *name);
/* Whether the line is `name`:`value`, both in any case, such as BEGIN:VEVENT. */
bool ics_line_says(const struct ics_line *line, const char *name, const char *value);

#endif
