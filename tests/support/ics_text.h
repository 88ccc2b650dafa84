/*
 * Reads a calendar's text as worker-calendar does, for tests of what comes out.
 */
#ifndef TOCSIN_TESTS_ICS_TEXT_H
#define TOCSIN_TESTS_ICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "worker-calendar/ics_read.h"

#define ICS_TEXT_MAX ((size_t)32 << 20)

/* An event of that UID with further lines, each ended by "\r\n". */
#define ICS_EVENT(uid, lines) "BEGIN:VEVENT\r\nUID:" uid "\r\n" lines "END:VEVENT\r\n"

struct ics_reading {
    const char *zone;  /* of the user; NULL: UTC */
    const char *from;  /* NULL: 2026-03-01 */
    const char *until; /* NULL: 2026-04-05 */
    const char *const *addresses;
    bool titles; /* at the end of each line */
};

/* Reads `text` and gives one line an event: uid|instance|start|end and flags. The reader's error,
 * with its reason in `fault`. */
MUST_CHECK int ics_text_read(const struct ics_reading *how, const char *text, size_t len,
    struct buf *out, struct buf *fault, struct ics_read_stats *stats);
/* Fails the test unless the body of a calendar reads as those lines. */
void ics_text_expect(const struct ics_reading *how, const char *body, const char *expected);
/* Fails the test unless the whole text is refused with that error and a reason that contains
 * `why`. */
void ics_text_expect_refused(const char *text, size_t len, int code, const char *why);

#endif
