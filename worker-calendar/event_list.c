#include "worker-calendar/event_list.h"

#include <string.h>

#include "base/utf8.h"

void event_list_init(struct event_list *l)
{
    buf_init(&l->json, EVENT_LIST_BYTES_MAX);
    l->n = 0;
    l->err = 0;
}

void event_list_release(struct event_list *l)
{
    buf_release(&l->json);
    l->n = 0;
}

static void add_char(struct buf *b, const char *s, size_t step)
{
    if (step == 0)
        buf_add_str(b, UTF8_REPLACEMENT);
    else if ((unsigned char)*s < 0x20 || *s == 0x7f)
        buf_add_char(b, ' ');
    else if (*s == '"' || *s == '\\')
        buf_addf(b, "\\%c", *s);
    else
        buf_add(b, s, step);
}

static void add_string(struct buf *b, const char *s, size_t len)
{
    buf_add_char(b, '"');
    while (len > 0) {
        size_t step = utf8_step(s, len);
        add_char(b, s, step);
        if (step == 0)
            step = 1;
        s += step;
        len -= step;
    }
    buf_add_char(b, '"');
}

static void add_title(struct buf *b, const char *title)
{
    size_t len = strlen(title);
    if (len <= EVENT_TITLE_MAX) {
        add_string(b, title, len);
        return;
    }
    add_string(b, title, utf8_clip(title, len, EVENT_TITLE_MAX));
    b->len--; /* the quote: the ellipsis stands within */
    buf_add_str(b, UTF8_ELLIPSIS "\"");
}

static bool id_is_good(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len <= EVENT_ID_MAX;
}

/* Opens an object with its uid; false when the list has failed. */
static bool begin(struct event_list *l, const char *uid)
{
    if (l->err)
        return false;
    if (l->n >= EVENT_LIST_MAX)
        l->err = ERR_TOO_LARGE;
    else if (!id_is_good(uid))
        l->err = ERR_INVALID;
    if (l->err)
        return false;
    buf_add_str(&l->json, l->n == 0 ? "[{\"uid\":" : ",{\"uid\":");
    add_string(&l->json, uid, strlen(uid));
    l->n++;
    return true;
}

void event_list_add(struct event_list *l, const struct calendar_event *e)
{
    const char *instance = e->instance ? e->instance : "";
    if (!begin(l, e->uid))
        return;
    buf_add_str(&l->json, ",\"instance\":");
    add_string(&l->json, instance, strlen(instance));
    buf_add_str(&l->json, ",\"title\":");
    add_title(&l->json, e->title && *e->title ? e->title : "(no title)");
    buf_addf(&l->json, ",\"starts_at\":%lld,\"ends_at\":%lld", (long long)e->starts_at,
        (long long)(e->ends_at < e->starts_at ? e->starts_at : e->ends_at));
    if (e->all_day)
        buf_add_str(&l->json, ",\"all_day\":true");
    if (e->declined)
        buf_add_str(&l->json, ",\"declined\":true");
    if (e->status == CALENDAR_EVENT_TENTATIVE)
        buf_add_str(&l->json, ",\"status\":\"tentative\"");
    buf_add_char(&l->json, '}');
}

void event_list_keep(struct event_list *l, const char *uid)
{
    if (begin(l, uid))
        buf_add_str(&l->json, ",\"kept\":true}");
}

void event_list_delete(struct event_list *l, const char *id)
{
    if (begin(l, id))
        buf_add_str(&l->json, ",\"deleted\":true}");
}

int event_list_err(const struct event_list *l)
{
    return l->err ? l->err : buf_err(&l->json);
}

const char *event_list_json(struct event_list *l)
{
    if (l->n == 0)
        return "[]";
    buf_add_char(&l->json, ']');
    return buf_str(&l->json);
}
