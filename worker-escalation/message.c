#include "worker-escalation/message.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

static bool is(const char *text, const char *word)
{
    return text && strcmp(text, word) == 0;
}

/* Text from outside: without control characters, at most `max` bytes and then an ellipsis. */
static void add_clean(struct buf *out, const char *text, size_t max)
{
    size_t len = strlen(text);
    size_t kept = utf8_clip(text, len, max);

    for (size_t i = 0; i < kept;) {
        size_t step = utf8_step(text + i, kept - i);

        if (step == 0)
            buf_add_str(out, UTF8_REPLACEMENT);
        else if (step == 1 && ((unsigned char)text[i] < 0x20 || text[i] == 0x7f))
            buf_add_char(out, ' ');
        else
            buf_add(out, text + i, step);
        i += step > 0 ? step : 1;
    }
    if (kept < len)
        buf_add_str(out, UTF8_ELLIPSIS);
}

static void add_title(struct buf *out, const struct message *m, enum message_style style)
{
    const char *title = m->title && *m->title ? m->title : "Untitled";

    if (style == MESSAGE_WRITTEN)
        buf_add_char(out, '"');
    add_clean(out, title, MESSAGE_TITLE_MAX);
    if (style == MESSAGE_WRITTEN)
        buf_add_char(out, '"');
}

/* "12 min", "1 minute", "3 h": rounded, never "0 min". */
static void add_span(struct buf *out, int64_t seconds, enum message_style style)
{
    int64_t minutes = (seconds + 30) / 60;
    bool hours = minutes >= 120;
    int64_t n = hours ? (minutes + 30) / 60 : minutes;

    buf_addf(out, "%" PRId64, n);
    if (style == MESSAGE_WRITTEN)
        buf_add_str(out, hours ? " h" : " min");
    else
        buf_addf(out, " %s%s", hours ? "hour" : "minute", n == 1 ? "" : "s");
}

/* "starts in 2 min", "starts now", "started 3 min ago". */
static void add_start(struct buf *out, const struct message *m, enum message_style style)
{
    if (m->starts_in_s >= 30) {
        buf_add_str(out, "starts in ");
        add_span(out, m->starts_in_s, style);
    } else if (m->starts_in_s > -30) {
        buf_add_str(out, "starts now");
    } else {
        buf_add_str(out, "started ");
        add_span(out, -m->starts_in_s, style);
        buf_add_str(out, " ago");
    }
    if (m->starts_local && *m->starts_local) {
        if (style == MESSAGE_WRITTEN)
            buf_addf(out, " (%s)", m->starts_local);
        else
            buf_addf(out, ", at %s", m->starts_local);
    }
}

static void add_meeting(struct buf *out, const struct message *m, enum message_style style)
{
    if (is(m->gate, "escalation")) {
        add_clean(out, m->owner ? m->owner : "Nobody", MESSAGE_TITLE_MAX);
        buf_add_str(out, " has not answered: ");
    }
    add_title(out, m, style);
    buf_add_char(out, ' ');
    add_start(out, m, style);
    if (is(m->gate, "checkin"))
        buf_add_str(out, ". Are you there?");
}

void message_text(const struct message *m, enum message_style style, struct buf *out)
{
    size_t max = style == MESSAGE_SPOKEN ? MESSAGE_SPOKEN_MAX : MESSAGE_TEXT_MAX;

    if (m->body && *m->body) {
        add_clean(out, m->body, max);
    } else if (is(m->incident_kind, "meeting")) {
        add_meeting(out, m, style);
    } else if (m->title) {
        if (is(m->gate, "escalation"))
            buf_add_str(out, "Nobody has answered: ");
        add_clean(out, m->title, max);
    } else {
        add_clean(out, m->kind, MESSAGE_TITLE_MAX);
    }
}

const char *message_label(const struct message *m)
{
    bool call = is(m->mode, "call");

    if (m->incident_id == 0)
        return is(m->kind, "birthday") || is(m->kind, "anniversary") ? "Greeting" : "Notice";
    if (is(m->gate, "checkin"))
        return call ? "Check-in call" : "Check-in message";
    if (is(m->gate, "escalation"))
        return call ? "Escalation call" : "Escalation message";
    return call ? "Alert call" : "Alert message";
}
