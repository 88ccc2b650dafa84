#include "gateway/metrics.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "gateway/ask.h"
#include "sql/gateway.h"

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_MAX  ((size_t)16 << 20)

/* A value stands between quotes, with these three escaped. */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            buf_addf(out, "\\%c", *text);
        else if (*text == '\n')
            buf_add_str(out, "\\n");
        else
            buf_add_char(out, *text);
    }
}

void metrics_add_sample(struct buf *out, const char *name, const char *labels, const char *value)
{
    _cleanup_(json_decrefp) json_t *object = json_loads(labels, 0, NULL);
    const char *key, *before = "{";
    json_t *label;

    buf_add_str(out, name);
    json_object_foreach(object, key, label)
    {
        if (!json_is_string(label))
            continue;
        buf_addf(out, "%s%s=\"", before, key);
        add_escaped(out, json_string_value(label));
        buf_add_char(out, '"');
        before = ",";
    }
    buf_addf(out, "%s %s\n", *before == ',' ? "}" : "", value);
}

static void answer(struct http_exchange *x, const struct db_result *r, int64_t took_ms)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    const char *family = "";

    (void)took_ms;
    for (int row = 0; row < db_rows(r); row++) {
        const char *this = db_text(r, row, "family");
        if (strcmp(this, family) != 0)
            buf_addf(&text, "# HELP %s %s\n# TYPE %s %s\n", this, db_text(r, row, "help"), this,
                db_text(r, row, "kind"));
        family = this;
        metrics_add_sample(
            &text, db_text(r, row, "name"), db_text(r, row, "labels"), db_text(r, row, "value"));
    }
    if (buf_err(&text))
        gateway_problem(x, 500, "Too much to tell", "there are more samples than 16 MB hold");
    else
        http_exchange_answer(x, 200, TEXT_TYPE, buf_str(&text), text.len);
    buf_release(&text);
}

void metrics_show(struct gateway *g, struct http_exchange *x)
{
    ask_send(g, x, &SQL_read_metrics, answer);
}
