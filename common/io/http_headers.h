/*
 * Header fields: those that came with an answer, and the check of those that go out.
 */
#ifndef TOCSIN_IO_HTTP_HEADERS_H
#define TOCSIN_IO_HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* All fields of one answer together, names and values. */
#define HTTP_HEADERS_MAX ((size_t)128 << 10)

struct http_headers {
    struct buf fields; /* name NUL value NUL, in the order of arrival */
};

void http_headers_init(struct http_headers *h);
void http_headers_release(struct http_headers *h);

/* Takes one line as it came, with its line end. A status line forgets what came before
 * it (an interim answer, a redirect); what is no field is passed over. ERR_TOO_LARGE, ERR_NOMEM. */
MUST_CHECK int http_headers_add_line(struct http_headers *h, const char *line, size_t len);

/* The last value of that name, or NULL. */
const char *http_headers_get(const struct http_headers *h, const char *name);

/* Whether "Name: value" may be sent: a token, a colon, and no control character but
 * the tab in the value (RFC 9110, 5.1 and 5.5). */
bool http_header_is_valid(const char *line);

/* Whether the text is a token (RFC 9110, 5.6.2), such as a method. */
bool http_token_is_valid(const char *text);

#endif
