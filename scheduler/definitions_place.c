#include "scheduler/definitions_place.h"

#include <stdbool.h>
#include <string.h>

#include "base/json_read.h"

struct scan {
    const char *p;
};

static void skip_blank(struct scan *s)
{
    s->p += strspn(s->p, " \t\r\n");
}

/* Past a string, whose opening quote is next. */
static void skip_string(struct scan *s)
{
    for (s->p++; *s->p && *s->p != '"'; s->p++)
        if (*s->p == '\\' && s->p[1])
            s->p++;
    if (*s->p)
        s->p++;
}

/* Past a value of any kind. */
static void skip_value(struct scan *s)
{
    int depth = 0;

    skip_blank(s);
    do {
        if (*s->p == '"') {
            skip_string(s);
            continue;
        }
        if (*s->p == '{' || *s->p == '[')
            depth++;
        else if (*s->p == '}' || *s->p == ']')
            depth--;
        else if (depth == 0) {
            s->p += strcspn(s->p, ",]} \t\r\n");
            return;
        }
        if (*s->p)
            s->p++;
    } while (depth > 0 && *s->p);
}

/* Whether the string at `quote` is spelled `key`. Keys that need an escape never are. */
static bool is_key(const char *quote, const char *key)
{
    size_t len = strlen(key);

    return strncmp(quote + 1, key, len) == 0 && quote[1 + len] == '"';
}

/* From an object's brace to the value of a member. *ret_place is its key's. */
static bool enter_key(struct scan *s, const char *key, const char **ret_place)
{
    if (*s->p != '{')
        return false;
    s->p++;
    for (skip_blank(s); *s->p == '"'; skip_blank(s)) {
        const char *quote = s->p;
        skip_string(s);
        skip_blank(s);
        if (*s->p == ':')
            s->p++;
        skip_blank(s);
        if (is_key(quote, key)) {
            *ret_place = quote;
            return true;
        }
        skip_value(s);
        skip_blank(s);
        if (*s->p == ',')
            s->p++;
    }
    return false;
}

/* From an array's bracket to an element. */
static bool enter_index(struct scan *s, size_t index, const char **ret_place)
{
    if (*s->p != '[')
        return false;
    s->p++;
    for (skip_blank(s); *s->p && *s->p != ']'; skip_blank(s)) {
        if (index-- == 0) {
            *ret_place = s->p;
            return true;
        }
        skip_value(s);
        skip_blank(s);
        if (*s->p == ',')
            s->p++;
    }
    return false;
}

struct definitions_place definitions_place(const char *text, const struct json_at *at)
{
    const struct json_at *path[JSON_READ_DEPTH_MAX];
    size_t n = 0;
    struct scan s = {text};
    const char *found;
    struct definitions_place place = {1, 1};

    for (; at && at->parent && n < JSON_READ_DEPTH_MAX; at = at->parent)
        path[n++] = at;
    skip_blank(&s);
    found = s.p;
    for (; n > 0; n--) {
        const struct json_at *step = path[n - 1];
        if (step->key ? !enter_key(&s, step->key, &found) : !enter_index(&s, step->index, &found))
            break;
    }
    for (const char *p = text; p < found; p++) {
        if (*p == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)*p & 0xC0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

void definitions_add_path(struct buf *b, const struct json_at *at)
{
    if (!at || !at->parent)
        return;
    definitions_add_path(b, at->parent);
    if (!at->key) {
        buf_addf(b, "[%zu]", at->index);
        return;
    }
    if (at->parent->parent)
        buf_add_char(b, '.');
    buf_add_str(b, at->key);
}
