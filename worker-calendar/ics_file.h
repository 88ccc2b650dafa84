/*
 * Calendars in files, only below a folder that the operator names.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_FILE_H
#define TOCSIN_WORKER_CALENDAR_ICS_FILE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Reads the file of a "file:///…" address, or "file:/…", into `ret_text`, whose ceiling is the
 * largest that is read. The path, links followed, has to be that of a regular file below
 * `folder` (NULL: no file is read at all): ERR_DENIED. ERR_INVALID (not such an address),
 * ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_IO, ERR_NOMEM; the reason in `fault`. */
MUST_CHECK int ics_file_read(
    const char *folder, const char *address, struct buf *ret_text, struct buf *fault);

#endif
