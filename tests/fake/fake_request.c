/* Reading one HTTP/1.1 request, strictly: what a real provider would refuse is refused. */
#include "tests/fake/fake_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"

static const char *find_end_of_head(const char *data, size_t len)
{
    return memmem(data, len, "\r\n\r\n", 4);
}

/* The value of Content-Length in a head; 0 when there is none. */
static int content_length(const char *head, const char *end, size_t *ret_length)
{
    struct http_headers headers;
    const char *text;
    int err = 0;

    http_headers_init(&headers);
    for (const char *line = head; line < end && err == 0;) {
        const char *eol = memmem(line, (size_t)(end - line), "\r\n", 2);
        err = http_headers_add_line(&headers, line, (size_t)(eol - line));
        line = eol + 2;
    }
    *ret_length = 0;
    text = http_headers_get(&headers, "Content-Length");
    if (err == 0 && http_headers_get(&headers, "Transfer-Encoding"))
        err = ERR_PROTOCOL;
    if (err == 0 && text) {
        char *rest;
        errno = 0;
        unsigned long long n = strtoull(text, &rest, 10);
        if (errno != 0 || *rest != '\0' || n > FAKE_REQUEST_MAX)
            err = ERR_PROTOCOL;
        else
            *ret_length = (size_t)n;
    }
    http_headers_release(&headers);
    return err;
}

int fake_request_length(const char *data, size_t len, size_t *ret_len)
{
    size_t body;
    const char *end = len > 0 ? find_end_of_head(data, len) : NULL;

    *ret_len = 0;
    if (!end)
        return len < FAKE_REQUEST_MAX ? 0 : ERR_TOO_LARGE;
    int err = content_length(data, end + 2, &body);
    if (err < 0)
        return err;
    size_t whole = (size_t)(end - data) + 4 + body;
    if (len >= whole)
        *ret_len = whole;
    return 0;
}

static char *decode(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; out && i < len; i++) {
        char c = text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < len) {
            const char hex[3] = {text[i + 1], text[i + 2], '\0'};
            c = (char)strtol(hex, NULL, 16);
            i += 2;
        }
        out[n++] = c;
    }
    if (out)
        out[n] = '\0';
    return out;
}

static int add_param(struct fake_record *record, const char *pair, size_t len)
{
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals ? (size_t)(equals - pair) : len;
    size_t value_at = equals ? name_len + 1 : len;
    struct fake_param *more =
        realloc(record->params, (record->n_params + 1) * sizeof(*record->params));

    if (!more)
        return ERR_NOMEM;
    record->params = more;
    struct fake_param *param = &more[record->n_params++];
    param->name = decode(pair, name_len);
    param->value = decode(pair + value_at, len - value_at);
    return param->name && param->value ? 0 : ERR_NOMEM;
}

static int add_params(struct fake_record *record, const char *text)
{
    int err = 0;

    while (*text != '\0' && err == 0) {
        size_t len = strcspn(text, "&");
        if (len > 0)
            err = add_param(record, text, len);
        text += len;
        if (*text == '&')
            text++;
    }
    return err;
}

const char *fake_request_header(const struct fake_request *r, const char *name)
{
    return http_headers_get(&((const struct fake_record *)r)->headers, name);
}

const char *fake_request_param(const struct fake_request *r, const char *name)
{
    const struct fake_record *record = (const struct fake_record *)r;

    for (size_t i = 0; i < record->n_params; i++)
        if (strcmp(record->params[i].name, name) == 0)
            return record->params[i].value;
    return NULL;
}

void fake_request_free(struct fake_record *record)
{
    if (!record)
        return;
    for (size_t i = 0; i < record->n_params; i++) {
        free(record->params[i].name);
        free(record->params[i].value);
    }
    free(record->params);
    free(record->method);
    free(record->path);
    free(record->query);
    free(record->body);
    http_headers_release(&record->headers);
    free(record);
}

/* "POST /path?query HTTP/1.1" */
static int parse_request_line(struct fake_record *record, const char *line, size_t len)
{
    const char *end = line + len;
    const char *target = memchr(line, ' ', len);
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (!version || target[1] != '/' || end - version != 9 || memcmp(version, " HTTP/1.1", 9) != 0)
        return ERR_PROTOCOL;
    target++;
    const char *question = memchr(target, '?', (size_t)(version - target));
    const char *path_end = question ? question : version;
    const char *query = question ? question + 1 : version;

    record->method = strndup(line, (size_t)(target - 1 - line));
    record->path = strndup(target, (size_t)(path_end - target));
    record->query = strndup(query, (size_t)(version - query));
    return record->method && record->path && record->query ? 0 : ERR_NOMEM;
}

static int parse_header_lines(struct fake_record *record, const char *line, const char *end)
{
    while (line < end) {
        const char *eol = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!memchr(line, ':', (size_t)(eol - line)))
            return ERR_PROTOCOL;
        int err = http_headers_add_line(&record->headers, line, (size_t)(eol - line));
        if (err < 0)
            return err;
        line = eol + 2;
    }
    return 0;
}

static int parse_into(struct fake_record *record, const char *data, size_t len)
{
    const char *head_end = find_end_of_head(data, len) + 2;
    const char *eol = memmem(data, len, "\r\n", 2);
    const char *body = head_end + 2;
    const char *type;

    int err = parse_request_line(record, data, (size_t)(eol - data));
    if (err == 0)
        err = parse_header_lines(record, eol + 2, head_end);
    if (err == 0 && !http_headers_get(&record->headers, "Host"))
        err = ERR_PROTOCOL;
    if (err < 0)
        return err;
    record->r.body_len = len - (size_t)(body - data);
    record->body = malloc(record->r.body_len + 1);
    if (!record->body)
        return ERR_NOMEM;
    memcpy(record->body, body, record->r.body_len);
    record->body[record->r.body_len] = '\0';
    err = add_params(record, record->query);
    type = http_headers_get(&record->headers, "Content-Type");
    if (err == 0 && type && strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0)
        err = add_params(record, record->body);
    return err;
}

int fake_request_parse(const char *data, size_t len, struct fake_record **ret_record)
{
    struct fake_record *record = calloc(1, sizeof(*record));

    if (!record)
        return ERR_NOMEM;
    http_headers_init(&record->headers);
    int err = parse_into(record, data, len);
    if (err < 0) {
        fake_request_free(record);
        return err;
    }
    record->r.method = record->method;
    record->r.path = record->path;
    record->r.query = record->query;
    record->r.body = record->body;
    record->r.at_ms = clock_ms();
    *ret_record = record;
    return 0;
}
