#include "scheduler/definitions_read.h"

#include <stdarg.h>
#include <string.h>

#include "base/config.h"

#define KEY_LEN_MAX 63

/* What comes from the file stays on the line of its fault. */
static void keep_on_one_line(struct buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++)
        if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
            out->data[i] = ' ';
}

void definitions_fault(
    struct definitions_faults *faults, const struct json_at *at, const char *fmt, ...)
{
    size_t from = faults->out->len;
    va_list args;

    if (faults->text) {
        struct definitions_place place = definitions_place(faults->text, at);
        buf_addf(faults->out, "%s:%d:%d: ", faults->file, place.line, place.column);
    }
    if (at && at->parent) {
        definitions_add_path(faults->out, at);
        buf_add_str(faults->out, ": ");
    }
    va_start(args, fmt);
    buf_vaddf(faults->out, fmt, args);
    va_end(args);
    keep_on_one_line(faults->out, from);
    buf_add_char(faults->out, '\n');
    faults->count++;
}

static void add_words(struct buf *b, const char *const *words)
{
    for (const char *const *w = words; *w; w++) {
        if (w != words)
            buf_add_str(b, w[1] ? ", " : " or ");
        buf_add_str(b, *w);
    }
}

static bool has_word(const char *const *words, const char *word)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

void definitions_known_keys(const struct definitions_object *o, const char *const *keys)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)o->json, key, value)
    {
        if (has_word(keys, key))
            continue;
        struct json_at at = JSON_AT_KEY(o->at, key);
        struct buf list = BUF_INIT(4096);
        add_words(&list, keys);
        definitions_fault(o->faults, &at, "no such key; known are %s", buf_str(&list));
        buf_release(&list);
    }
}

const char *definitions_str(
    const struct definitions_object *o, const char *key, const char *fallback)
{
    const json_t *v = json_object_get(o->json, key);
    struct json_at at = JSON_AT_KEY(o->at, key);

    if (!v)
        return fallback;
    if (!json_is_string(v)) {
        definitions_fault(o->faults, &at, "must be a string: put it in quotes");
        return fallback;
    }
    if (json_string_length(v) == 0) {
        definitions_fault(o->faults, &at, "is empty; leave the key out, or say what it is");
        return fallback;
    }
    return json_string_value(v);
}

const char *definitions_required(const struct definitions_object *o, const char *key)
{
    if (!json_object_get(o->json, key))
        definitions_fault(o->faults, o->at, "\"%s\" is missing", key);
    return definitions_str(o, key, NULL);
}

const char *definitions_choice(const struct definitions_object *o, const char *key,
    const char *const *words, const char *fallback)
{
    const char *word = definitions_str(o, key, fallback);
    struct json_at at = JSON_AT_KEY(o->at, key);

    if (!word || has_word(words, word))
        return word;
    struct buf list = BUF_INIT(4096);
    add_words(&list, words);
    definitions_fault(o->faults, &at, "\"%s\" is not known; write %s", word, buf_str(&list));
    buf_release(&list);
    return NULL;
}

int64_t definitions_int(
    const struct definitions_object *o, const char *key, int64_t min, int64_t max, int64_t fallback)
{
    const json_t *v = json_object_get(o->json, key);
    struct json_at at = JSON_AT_KEY(o->at, key);

    if (!v)
        return fallback;
    if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max)
        return json_integer_value(v);
    definitions_fault(
        o->faults, &at, "must be a whole number from %lld to %lld", (long long)min, (long long)max);
    return fallback;
}

int64_t definitions_duration(const struct definitions_object *o, const char *key, int64_t min_ms,
    int64_t max_ms, int64_t fallback_ms)
{
    const char *text = definitions_str(o, key, NULL);
    struct json_at at = JSON_AT_KEY(o->at, key);
    int64_t ms;

    if (!text)
        return fallback_ms;
    if (config_parse_duration(text, &ms) < 0) {
        definitions_fault(
            o->faults, &at, "\"%s\" is not a duration; write 500ms, 90s, 5m, 24h or 7d", text);
        return fallback_ms;
    }
    if (ms < min_ms || ms > max_ms) {
        definitions_fault(o->faults, &at, "%s is outside of what is allowed: %lld s to %lld s",
            text, (long long)min_ms / 1000, (long long)max_ms / 1000);
        return fallback_ms;
    }
    return ms;
}

bool definitions_is_key(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

    return text[0] >= 'a' && text[0] <= 'z' && text[len] == '\0' && len <= KEY_LEN_MAX;
}
