#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define CAP_FIRST 64

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_release(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_release_secret(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_release(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->err = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL. The old block is wiped, so that what
 * buf_release_secret() promises holds for a buffer that has grown, too. */
static int reserve(struct buf *b, size_t more)
{
    if (b->err)
        return b->err;
    if (more > b->max - b->len || b->len + more == SIZE_MAX)
        return b->err = ERR_TOO_LARGE;
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return 0;

    size_t cap = b->cap ? b->cap : CAP_FIRST;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (b->max < SIZE_MAX && cap > b->max + 1)
        cap = b->max + 1;

    char *data = malloc(cap);
    if (!data)
        return b->err = ERR_NOMEM;
    if (b->data) {
        memcpy(data, b->data, b->len);
        explicit_bzero(b->data, b->cap);
        free(b->data);
    }
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return 0;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || reserve(b, len))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_vaddf(b, fmt, args);
    va_end(args);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;

    if (b->err)
        return;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (len < 0) {
        b->err = ERR_NOMEM;
        return;
    }
    if (len == 0 || reserve(b, (size_t)len))
        return;
    (void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, args);
    b->len += (size_t)len;
}

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void buf_add_percent(struct buf *b, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (unreserved(*s))
            buf_add_char(b, *s);
        else
            buf_add(b, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

/* What stands for one character in XML 1.0 (section 2.2 says which may stand at
 * all), or NULL for itself. White space is escaped because attribute values
 * would lose it (section 3.3.3). */
static const char *xml_escape(const char *s, size_t step)
{
    switch (step == 1 ? *s : 'x') {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
        return "&#9;";
    case '\n':
        return "&#10;";
    case '\r':
        return "&#13;";
    default:
        break;
    }
    bool allowed =
        step != 0 && (unsigned char)*s >= 0x20 &&
        !(step == 3 && (memcmp(s, "\xEF\xBF\xBE", 3) == 0 || memcmp(s, "\xEF\xBF\xBF", 3) == 0));
    return allowed ? NULL : UTF8_REPLACEMENT;
}

void buf_add_xml(struct buf *b, const char *s)
{
    size_t left = strlen(s);

    while (left > 0) {
        size_t step = utf8_step(s, left);
        const char *escaped = xml_escape(s, step);
        if (escaped)
            buf_add_str(b, escaped);
        else
            buf_add(b, s, step);
        s += step ? step : 1;
        left -= step ? step : 1;
    }
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

int buf_err(const struct buf *b)
{
    return b->err;
}

char *buf_steal(struct buf *b)
{
    if (b->err)
        return NULL;
    char *data = b->data ? b->data : calloc(1, 1);
    if (data)
        buf_init(b, b->max);
    return data;
}
