#include "io/http_headers.h"

#include <ctype.h>
#include <strings.h>

void http_headers_init(struct http_headers *h)
{
    buf_init(&h->fields, HTTP_HEADERS_MAX);
}

void http_headers_release(struct http_headers *h)
{
    buf_release(&h->fields);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int http_headers_add_line(struct http_headers *h, const char *line, size_t len)
{
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_reset(&h->fields);
        return 0;
    }
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line || is_blank(line[0]))
        return 0;

    const char *value = colon + 1, *end = line + len;
    while (value < end && is_blank(*value))
        value++;
    while (end > value && is_blank(end[-1]))
        end--;
    buf_add(&h->fields, line, (size_t)(colon - line));
    buf_add_char(&h->fields, '\0');
    buf_add(&h->fields, value, (size_t)(end - value));
    buf_add_char(&h->fields, '\0');
    return buf_err(&h->fields);
}

const char *http_headers_get(const struct http_headers *h, const char *name)
{
    const char *found = NULL, *at = h->fields.data;
    const char *end = at ? at + h->fields.len : NULL;

    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcasecmp(at, name) == 0)
            found = value;
        at = value + strlen(value) + 1;
    }
    return found;
}

static size_t token_length(const char *text)
{
    size_t n = 0;

    while (
        text[n] != '\0' && (isalnum((unsigned char)text[n]) || strchr("!#$%&'*+-.^_`|~", text[n])))
        n++;
    return n;
}

bool http_token_is_valid(const char *text)
{
    size_t n = token_length(text);
    return n > 0 && text[n] == '\0';
}

bool http_header_is_valid(const char *line)
{
    size_t n = token_length(line);

    if (n == 0 || line[n] != ':')
        return false;
    for (const char *p = line + n + 1; *p != '\0'; p++)
        if (iscntrl((unsigned char)*p) && *p != '\t')
            return false;
    return true;
}
