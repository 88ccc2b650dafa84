#include "gateway/ack_page.h"

#include <string.h>

#include "base/ack_link.h"
#include "base/log.h"
#include "gateway/hear.h"
#include "sql/gateway.h"

#define PREFIX   "/a/"
#define PAGE_MAX 16384
#define STYLE                                                                                      \
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:28rem;margin:15vh auto;padding:0 1rem;"   \
    "color:#1c2230;background:#fafafa}h1{font-size:1.3rem}button{font:inherit;font-weight:600;"    \
    "width:100%;padding:1rem;border:0;border-radius:.6rem;background:#0b6e4f;color:#fff}"          \
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#15181f}}"

struct outcome {
    const char *name;
    int status;
    const char *says;
};

static const struct outcome outcomes[] = {
    {"open", 200, NULL},
    {"acknowledged", 200, "Acknowledged. Nobody else is called."},
    {"stale", 409, "Too late: others have been asked since this message. Look at the newest one."},
    {"over", 200, "This is over. There is nothing to acknowledge any more."},
    {"unknown", 404, "This link is not known any more."},
};

static const struct outcome *find_outcome(const char *name)
{
    size_t n = sizeof(outcomes) / sizeof(*outcomes);

    for (size_t i = 0; name && i < n; i++)
        if (strcmp(outcomes[i].name, name) == 0)
            return &outcomes[i];
    return &outcomes[n - 1];
}

static void answer_page(struct http_exchange *x, int status, struct buf *page)
{
    http_exchange_add_header(x, "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors "
        "'none'");
    http_exchange_add_header(x, "Referrer-Policy", "no-referrer");
    http_exchange_add_header(x, "X-Robots-Tag", "noindex");
    if (buf_err(page))
        gateway_problem(x, 500, "Out of memory", "the page could not be made: load it again");
    else
        http_exchange_answer(x, status, "text/html; charset=utf-8", buf_str(page), page->len);
    buf_release(page);
}

static void answer(struct gateway *g, struct http_exchange *x, const struct db_result *r)
{
    const struct outcome *outcome = find_outcome(db_text(r, 0, "outcome"));
    const char *title = db_text(r, 0, "title"), *person = db_text(r, 0, "person");
    const char *starts = db_text(r, 0, "starts_local");
    struct buf page = BUF_INIT(PAGE_MAX);

    (void)g;
    buf_add_str(&page, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">"
                       "<meta name=\"viewport\" content=\"width=device-width\">"
                       "<title>Acknowledge</title><style>" STYLE "</style><h1>");
    buf_add_xml(&page, title ? title : "Tocsin");
    buf_add_str(&page, "</h1>");
    if (starts) {
        buf_add_str(&page, "<p>");
        buf_add_xml(&page, starts);
        buf_add_str(&page, "</p>");
    }
    if (outcome->says) {
        buf_addf(&page, "<p role=\"status\">%s</p>", outcome->says);
    } else {
        buf_add_str(&page, "<form method=\"post\"><button>Acknowledge");
        if (person) {
            buf_add_str(&page, " as ");
            buf_add_xml(&page, person);
        }
        buf_add_str(&page, "</button></form>");
    }
    buf_add_str(&page, "</html>");
    answer_page(x, outcome->status, &page);
}

static void hear_button(struct gateway *g, struct http_exchange *x, bool presses)
{
    struct db_args args;
    int64_t id;

    if (!g->config->link_secret) {
        gateway_problem(
            x, 404, "Nothing listens here", "LINK_SECRET of the gateway switches links on");
        return;
    }
    if (ack_link_read(http_exchange_path(x) + strlen(PREFIX), g->config->link_secret, &id) != 0) {
        service_metric_add(g->service, "links_refused", 1);
        gateway_problem(
            x, 404, "No such link", "the address has to be the whole one of the message");
        return;
    }
    db_args_init(&args);
    db_arg_int(&args, id);
    db_arg_bool(&args, presses);
    hear_send(g, x, &SQL_hear_link, &args, answer);
    db_args_release(&args);
}

void ack_page_show(struct gateway *g, struct http_exchange *x)
{
    hear_button(g, x, false);
}

void ack_page_press(struct gateway *g, struct http_exchange *x)
{
    hear_button(g, x, true);
}
