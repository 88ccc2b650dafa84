#include "worker-calendar/ics_lines.h"

#include <string.h>
#include <strings.h>

void ics_lines_init(struct ics_lines *l, const char *text, size_t len)
{
    static const char mark[] = "\xEF\xBB\xBF";
    l->at = text;
    l->end = text + len;
    l->number = 0;
    l->physical = 0;
    buf_init(&l->unfolded, ICS_LINE_MAX);
    if (len >= sizeof(mark) - 1 && memcmp(text, mark, sizeof(mark) - 1) == 0)
        l->at += sizeof(mark) - 1;
}

void ics_lines_release(struct ics_lines *l)
{
    buf_release(&l->unfolded);
}

/* One line of the text as it stands, without its break. */
static void take_physical(struct ics_lines *l, const char **ret_text, size_t *ret_len)
{
    const char *text = l->at;
    const char *eol = memchr(text, '\n', (size_t)(l->end - text));
    size_t len = eol ? (size_t)(eol - text) : (size_t)(l->end - text);
    l->at = eol ? eol + 1 : l->end;
    l->physical++;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    *ret_text = text;
    *ret_len = len;
}

static bool is_continued(const struct ics_lines *l)
{
    return l->at < l->end && (*l->at == ' ' || *l->at == '\t');
}

static int unfold(struct ics_lines *l, struct ics_line *line)
{
    buf_reset(&l->unfolded);
    buf_add(&l->unfolded, line->text, line->len);
    while (is_continued(l)) {
        const char *text;
        size_t len;
        take_physical(l, &text, &len);
        buf_add(&l->unfolded, text + 1, len > 0 ? len - 1 : 0);
    }
    int err = buf_err(&l->unfolded);
    if (err == ERR_TOO_LARGE) {
        line->cut = true; /* its first stretch still has the name */
        return 0;
    }
    if (err)
        return err;
    line->text = buf_str(&l->unfolded);
    line->len = l->unfolded.len;
    return 0;
}

static size_t name_length(const struct ics_line *line)
{
    for (size_t i = 0; i < line->len; i++)
        if (line->text[i] == ':' || line->text[i] == ';')
            return i;
    return 0;
}

int ics_lines_next(struct ics_lines *l, struct ics_line *ret_line)
{
    while (l->at < l->end) {
        struct ics_line line = {0};
        size_t number = l->physical + 1;
        take_physical(l, &line.text, &line.len);
        if (is_continued(l)) {
            int err = unfold(l, &line);
            if (err)
                return err;
        }
        if (line.len == 0)
            continue;
        line.cut = line.cut || line.len > ICS_LINE_MAX;
        line.name_len = name_length(&line);
        l->number = number;
        *ret_line = line;
        return 1;
    }
    return 0;
}

bool ics_line_is(const struct ics_line *line, const char *name)
{
    return line->name_len == strlen(name) && strncasecmp(line->text, name, line->name_len) == 0;
}

bool ics_line_says(const struct ics_line *line, const char *name, const char *value)
{
    size_t len = line->len;
    while (len > 0 && (line->text[len - 1] == ' ' || line->text[len - 1] == '\t'))
        len--;
    if (!ics_line_is(line, name) || line->text[line->name_len] != ':')
        return false;
    size_t value_len = len - line->name_len - 1;
    return value_len == strlen(value) &&
           strncasecmp(line->text + line->name_len + 1, value, value_len) == 0;
}
