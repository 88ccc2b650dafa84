#include "base/log_line.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"

/* Room at the end for an ellipsis, quotes, brackets and the newline; and so much
 * more kept from the message that the ids still fit behind a long one. */
#define CLOSING_ROOM 64
#define FIELDS_ROOM  4096

/* Wide enough for the longest name of an executable. */
#define PLAIN_NAME_WIDTH 17

#define DIM    "\033[2m"
#define YELLOW "\033[33m"
#define RED    "\033[31m"
#define RESET  "\033[0m"

enum quoting {
    QUOTING_JSON,  /* escapes of JSON; logfmt's quoted values have the same */
    QUOTING_PLAIN, /* for a person: control characters become spaces */
};

static void add_bytes(struct log_line *line, const char *s, size_t len, size_t limit)
{
    if (len > limit - line->len) {
        line->cut = true;
        return;
    }
    memcpy(line->data + line->len, s, len);
    line->len += len;
    line->data[line->len] = '\0';
}

/* Punctuation, keys and closers: always room, because values stop before it. */
static void add_raw(struct log_line *line, const char *s)
{
    add_bytes(line, s, strlen(s), LOG_LINE_MAX - 1);
}

void log_line_vprintf(struct log_line *line, const char *fmt, va_list args)
{
    line->cut = false;
    line->data[0] = '\0';
    int wanted = vsnprintf(line->data, sizeof(line->data), fmt, args);
    line->len = strlen(line->data);
    if (wanted >= (int)sizeof(line->data)) {
        line->cut = true;
        line->len = utf8_clip(line->data, line->len, sizeof(line->data) - sizeof(UTF8_ELLIPSIS));
        memcpy(line->data + line->len, UTF8_ELLIPSIS, sizeof(UTF8_ELLIPSIS));
        line->len += strlen(UTF8_ELLIPSIS);
    }
}

void log_line_add(struct log_line *line, const char *s)
{
    add_raw(line, s);
}

/* C1 controls are two bytes, C2 80 to C2 9F; terminals obey some of them. */
static bool is_control(const char *s, size_t step)
{
    unsigned char c = (unsigned char)s[0];

    return (step == 1 && (c < 0x20 || c == 0x7F)) ||
           (step == 2 && c == 0xC2 && (unsigned char)s[1] < 0xA0);
}

static void add_control(struct log_line *line, const char *s, size_t step, size_t limit)
{
    char hex[sizeof("\\u0000")];
    unsigned code = (unsigned char)(step == 1 ? s[0] : s[1]);

    switch (code) {
    case '\n':
        add_bytes(line, "\\n", 2, limit);
        return;
    case '\r':
        add_bytes(line, "\\r", 2, limit);
        return;
    case '\t':
        add_bytes(line, "\\t", 2, limit);
        return;
    default:
        (void)snprintf(hex, sizeof(hex), "\\u%04x", code & 0xFFu);
        add_bytes(line, hex, strlen(hex), limit);
        return;
    }
}

/* Adds text up to `limit`; what is left out shows as an ellipsis. */
static void add_text(struct log_line *line, const char *s, enum quoting quoting, size_t limit)
{
    size_t left = strlen(s);
    bool was_cut = line->cut;

    line->cut = false;
    while (left > 0 && !line->cut) {
        size_t step = utf8_step(s, left);
        if (step == 0)
            add_bytes(line, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT), limit);
        else if (is_control(s, step) && quoting == QUOTING_PLAIN)
            add_bytes(line, " ", 1, limit);
        else if (is_control(s, step))
            add_control(line, s, step, limit);
        else if (quoting == QUOTING_JSON && (*s == '"' || *s == '\\'))
            add_bytes(line, (const char[]){'\\', *s}, 2, limit);
        else
            add_bytes(line, s, step, limit);
        s += step ? step : 1;
        left -= step ? step : 1;
    }
    if (line->cut)
        add_raw(line, UTF8_ELLIPSIS);
    line->cut = line->cut || was_cut;
}

static size_t msg_limit(void)
{
    return LOG_LINE_MAX - FIELDS_ROOM;
}

static size_t field_limit(void)
{
    return LOG_LINE_MAX - CLOSING_ROOM;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_ERROR:
        return "error";
    }
    return "error";
}

/* RFC 3339 in UTC with milliseconds. */
static void add_time_utc(struct log_line *line, const struct log_event *e)
{
    char text[sizeof("2026-11-22T20:18:22")];
    char ms[sizeof(".123Z") + 8];
    time_t t = e->unix_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        add_raw(line, "-");
        return;
    }
    (void)snprintf(ms, sizeof(ms), ".%03dZ", e->ms % 1000);
    add_raw(line, text);
    add_raw(line, ms);
}

static void add_int(struct log_line *line, int64_t value)
{
    char text[sizeof("-9223372036854775808")];

    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    add_raw(line, text);
}

static bool is_left_out(const struct log_line *line, const struct log_field *f)
{
    return (f->type == LOG_TYPE_STR && !f->v.s) ||
           line->len + strlen(f->key) + CLOSING_ROOM > field_limit();
}

/* --- logfmt ------------------------------------------------------------------------------- */

static bool needs_quotes(const char *s)
{
    if (!*s)
        return true;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= 0x20 || c >= 0x7F || c == '=' || c == '"' || c == '\\')
            return true;
    }
    return false;
}

static void add_quoted(struct log_line *line, const char *s, size_t limit)
{
    add_raw(line, "\"");
    add_text(line, s, QUOTING_JSON, limit);
    add_raw(line, "\"");
}

static void add_logfmt_field(struct log_line *line, const struct log_field *f)
{
    add_raw(line, " ");
    add_raw(line, f->key);
    add_raw(line, "=");
    switch (f->type) {
    case LOG_TYPE_INT:
        add_int(line, f->v.i);
        break;
    case LOG_TYPE_STR:
        if (needs_quotes(f->v.s))
            add_quoted(line, f->v.s, field_limit());
        else
            add_text(line, f->v.s, QUOTING_JSON, field_limit());
        break;
    case LOG_TYPE_BOOL:
        add_raw(line, f->v.b ? "true" : "false");
        break;
    }
}

static void format_logfmt(struct log_line *line, const struct log_event *e)
{
    add_time_utc(line, e);
    add_raw(line, " ");
    add_raw(line, level_name(e->level));
    add_raw(line, " ");
    add_raw(line, e->exe);
    add_raw(line, " msg=");
    add_quoted(line, e->msg, msg_limit());
    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < e->n_fields[list]; i++) {
            if (!is_left_out(line, &e->fields[list][i]))
                add_logfmt_field(line, &e->fields[list][i]);
        }
    }
}

/* --- JSON --------------------------------------------------------------------------------- */

static void add_json_field(struct log_line *line, const struct log_field *f)
{
    add_raw(line, ",\"");
    add_raw(line, f->key);
    add_raw(line, "\":");
    switch (f->type) {
    case LOG_TYPE_INT:
        add_int(line, f->v.i);
        break;
    case LOG_TYPE_STR:
        add_quoted(line, f->v.s, field_limit());
        break;
    case LOG_TYPE_BOOL:
        add_raw(line, f->v.b ? "true" : "false");
        break;
    }
}

static void format_json(struct log_line *line, const struct log_event *e)
{
    add_raw(line, "{\"time\":\"");
    add_time_utc(line, e);
    add_raw(line, "\",\"level\":\"");
    add_raw(line, level_name(e->level));
    add_raw(line, "\",\"exe\":\"");
    add_raw(line, e->exe);
    add_raw(line, "\",\"msg\":");
    add_quoted(line, e->msg, msg_limit());
    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < e->n_fields[list]; i++) {
            if (!is_left_out(line, &e->fields[list][i]))
                add_json_field(line, &e->fields[list][i]);
        }
    }
    add_raw(line, "}");
}

/* --- plain -------------------------------------------------------------------------------- */

/* Whether `msg` has `word` as a whole word. */
static bool says(const char *msg, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(msg, word); at && len > 0; at = strstr(at + 1, word)) {
        bool starts = at == msg || !isalnum((unsigned char)at[-1]);
        if (starts && !isalnum((unsigned char)at[len]))
            return true;
    }
    return false;
}

/* Whether the message tells a field already: "user 7" tells user_id=7, though the
 * 7 of "7 created" does not; a text of some length tells itself. */
static bool says_field(const char *msg, const struct log_field *f)
{
    char told[64];
    size_t stem = strlen(f->key);

    switch (f->type) {
    case LOG_TYPE_INT:
        if (stem > 3 && strcmp(f->key + stem - 3, "_id") == 0)
            stem -= 3;
        int len = snprintf(told, sizeof(told), "%.*s %" PRId64, (int)stem, f->key, f->v.i);
        return len > 0 && len < (int)sizeof(told) && says(msg, told);
    case LOG_TYPE_STR:
        stem = strlen(f->v.s);
        return stem >= 3 && stem < sizeof(told) && says(msg, f->v.s);
    case LOG_TYPE_BOOL:
        return false;
    }
    return false;
}

static void add_plain_fields(struct log_line *line, const struct log_event *e)
{
    bool any = false;

    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < e->n_fields[list]; i++) {
            const struct log_field *f = &e->fields[list][i];
            if (is_left_out(line, f) || says_field(e->msg, f))
                continue;
            if (!any) {
                add_raw(line, " ");
                add_raw(line, e->colour ? DIM : "");
            }
            any = true;
            add_logfmt_field(line, f);
        }
    }
    if (any && e->colour)
        add_raw(line, RESET);
}

static void add_time_local(struct log_line *line, const struct log_event *e)
{
    char text[sizeof("20:18:22")];
    time_t t = e->unix_s;
    struct tm tm;

    if (localtime_r(&t, &tm) && strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
        add_raw(line, text);
    else
        add_raw(line, "--:--:--");
}

static void format_plain(struct log_line *line, const struct log_event *e)
{
    static const char *const mark[] = {"", "", "warning: ", "error: "};
    static const char *const colour[] = {DIM, "", YELLOW, RED};

    add_raw(line, e->colour ? DIM : "");
    add_time_local(line, e);
    add_raw(line, e->colour ? RESET : "");
    add_raw(line, " ");
    add_raw(line, e->exe);
    for (size_t n = strlen(e->exe); n < PLAIN_NAME_WIDTH; n++)
        add_raw(line, " ");
    add_raw(line, "  ");
    add_raw(line, e->colour ? colour[e->level] : "");
    add_raw(line, mark[e->level]);
    add_text(line, e->msg, QUOTING_PLAIN, msg_limit());
    add_raw(line, e->colour && colour[e->level][0] ? RESET : "");
    add_plain_fields(line, e);
}

void log_line_format(struct log_line *line, enum log_format format, const struct log_event *event)
{
    line->len = 0;
    line->cut = false;
    line->data[0] = '\0';
    switch (format) {
    case LOG_FORMAT_LOGFMT:
        format_logfmt(line, event);
        break;
    case LOG_FORMAT_JSON:
        format_json(line, event);
        break;
    case LOG_FORMAT_PLAIN:
        format_plain(line, event);
        break;
    }
    add_raw(line, "\n");
}
