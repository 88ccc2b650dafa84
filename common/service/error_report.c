#include "service/error_report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/loop.h"
#include "service/sentry_envelope.h"

#define HEADERS_MAX        ((size_t)1024)
#define URL_MAX            ((size_t)4096)
#define CONNECT_TIMEOUT_MS 3000
#define TOTAL_TIMEOUT_MS   5000
/* After a 429 that does not say for how long, as Sentry's own clients do. */
#define SILENCE_MS 60000
/* The same trouble is told once in so long. */
#define WARN_EVERY_MS 600000

struct error_report {
    uv_loop_t *loop;
    struct http_client *http;
    struct buf url, auth;
    struct sentry_source source;
    char *server_name;
    char *queue[ERROR_REPORT_QUEUE]; /* a ring */
    size_t first, n;
    struct http_call *call; /* one at a time */
    struct loop_defer *turn;
    struct loop_timer *deadline;
    bool flush_over;
    int64_t dropped; /* since the last event that was sent */
    int64_t tokens;
    int64_t refilled_at_ms;
    int64_t silent_until_ms;
    struct log_rate warned;
};

/* --- the queue ------------------------------------------------------------------------------ */

static char *pop(struct error_report *r)
{
    char *envelope = r->queue[r->first];

    r->queue[r->first] = NULL;
    r->first = (r->first + 1) % ERROR_REPORT_QUEUE;
    r->n--;
    return envelope;
}

static void drop_all(struct error_report *r)
{
    while (r->n > 0) {
        free(pop(r));
        r->dropped++;
    }
}

static bool take_token(struct error_report *r, int64_t now_ms)
{
    int64_t due = (now_ms - r->refilled_at_ms) / ERROR_REPORT_EVERY_MS;

    r->refilled_at_ms += due * ERROR_REPORT_EVERY_MS;
    r->tokens = r->tokens + due > ERROR_REPORT_BURST ? ERROR_REPORT_BURST : r->tokens + due;
    if (r->tokens == 0)
        return false;
    r->tokens--;
    return true;
}

static char *envelope_of(const struct error_report *r, const struct log_event *event)
{
    struct buf envelope = BUF_INIT(4 * SENTRY_EVENT_MAX);
    char *text = NULL;

    if (sentry_envelope_write(&r->source, event, r->dropped, &envelope) == 0)
        text = buf_steal(&envelope);
    buf_release(&envelope);
    return text;
}

static void on_error_line(void *arg, const struct log_event *event)
{
    struct error_report *r = arg;
    int64_t now_ms = clock_ms();
    char *envelope = NULL;

    if (now_ms >= r->silent_until_ms && r->n < ERROR_REPORT_QUEUE && take_token(r, now_ms))
        envelope = envelope_of(r, event);
    if (!envelope) {
        r->dropped++;
        return;
    }
    r->dropped = 0;
    r->queue[(r->first + r->n++) % ERROR_REPORT_QUEUE] = envelope;
    loop_defer_start(r->turn);
}

/* --- sending -------------------------------------------------------------------------------- */

static void warn(struct error_report *r, const char *why, long status)
{
    uint64_t held;

    if (log_rate_allow(&r->warned, WARN_EVERY_MS, &held))
        log_warn(F(F_INT("http_status", status)), "errors do not reach Sentry: %s", why);
}

/* Both headers count, whatever the status; a 429 is never without a pause. */
static int64_t asked_silence_ms(const struct http_response *response)
{
    const char *limits = http_response_header(response, "X-Sentry-Rate-Limits");
    int64_t retry_after_ms;

    if (limits)
        return sentry_rate_limits_ms(limits);
    retry_after_ms = http_response_retry_after_ms(response);
    if (retry_after_ms >= 0)
        return retry_after_ms;
    return response->status == 429 ? SILENCE_MS : 0;
}

static void on_done(void *arg, const struct http_response *response)
{
    struct error_report *r = arg;
    int64_t silence_ms = 0;

    r->call = NULL;
    if (response->err) {
        r->dropped++;
        warn(r, response->detail, 0);
    } else {
        silence_ms = asked_silence_ms(response);
        if (response->status < 200 || response->status >= 300) {
            r->dropped++;
            warn(r, "it refused", response->status);
        }
    }
    if (silence_ms > 0) {
        r->silent_until_ms = clock_ms() + silence_ms;
        drop_all(r);
    }
    loop_defer_start(r->turn);
}

static void send_next(void *arg)
{
    struct error_report *r = arg;
    _cleanup_(freep) char *envelope = NULL;
    const char *const headers[] = {
        buf_str(&r->auth), "Content-Type: application/x-sentry-envelope", NULL};
    struct http_request request = {
        .method = "POST",
        .url = buf_str(&r->url),
        .headers = headers,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .total_timeout_ms = TOTAL_TIMEOUT_MS,
        .allow_private = true, /* the address is the operator's own */
    };

    if (r->call || r->n == 0)
        return;
    envelope = pop(r);
    request.body = envelope;
    request.body_len = strlen(envelope);
    if (http_client_send(r->http, &request, on_done, r, &r->call) != 0) {
        r->call = NULL;
        r->dropped++;
    }
}

static void on_deadline(void *arg)
{
    struct error_report *r = arg;
    r->flush_over = true;
}

void error_report_flush(struct error_report *r, int64_t ms)
{
    if (!r)
        return;
    loop_timer_start(r->deadline, ms);
    while ((r->call || r->n > 0) && !r->flush_over)
        (void)uv_run(r->loop, UV_RUN_ONCE);
    loop_timer_stop(r->deadline);
}

/* --- life ----------------------------------------------------------------------------------- */

static void keep(struct error_report *r, const char *secret, size_t len)
{
    size_t n = r->source.n_secrets + 1;
    char **longer = realloc(r->source.secrets, n * sizeof *longer);
    char *copy = strndup(secret, len);

    if (longer)
        r->source.secrets = longer;
    if (longer && copy)
        r->source.secrets[r->source.n_secrets++] = copy;
    else
        free(copy);
}

/* Whole, and what stands between ':' and '@' of an address, or after "password=". */
static void keep_secret(void *arg, const char *secret)
{
    const char *user = strstr(secret, "://"), *word = strstr(secret, "password=");
    const char *at = user ? strchr(user, '@') : NULL;
    const char *colon = at ? strchr(user + 1, ':') : NULL;

    keep(arg, secret, strlen(secret));
    if (colon && colon < at)
        keep(arg, colon + 1, (size_t)(at - colon - 1));
    if (word) {
        word += strlen("password=");
        keep(arg, word, strcspn(word, " &"));
    }
}

static char *host_name(void)
{
    char name[256] = "";

    (void)gethostname(name, sizeof name - 1);
    return strdup(name);
}

int error_report_new(uv_loop_t *loop, struct http_client *http, const char *dsn,
    const struct config_section *sections, size_t n_sections, struct error_report **ret_report)
{
    struct error_report *r = calloc(1, sizeof *r);
    int err;

    if (!r)
        return ERR_NOMEM;
    r->loop = loop;
    r->http = http;
    buf_init(&r->url, URL_MAX);
    buf_init(&r->auth, HEADERS_MAX);
    buf_add_str(&r->auth, "X-Sentry-Auth: ");
    err = sentry_dsn_parse(dsn, &r->url, &r->auth);
    if (!err)
        err = buf_err(&r->url);
    if (!err)
        err = buf_err(&r->auth);
    r->server_name = host_name();
    r->source.server_name = r->server_name;
    r->source.release = "tocsin@" TOCSIN_VERSION;
    config_secrets(sections, n_sections, keep_secret, r);
    r->tokens = ERROR_REPORT_BURST;
    r->refilled_at_ms = clock_ms();
    r->turn = loop_defer_new(loop, send_next, r);
    r->deadline = loop_timer_new(loop, on_deadline, r);
    if (!err && (!r->turn || !r->deadline || !r->server_name))
        err = ERR_NOMEM;
    if (err) {
        error_report_free(r);
        return err;
    }
    log_set_hook(on_error_line, r);
    *ret_report = r;
    return 0;
}

void error_report_free(struct error_report *r)
{
    if (!r)
        return;
    log_set_hook(NULL, NULL);
    if (r->call)
        http_call_cancel(r->call);
    drop_all(r);
    for (size_t i = 0; i < r->source.n_secrets; i++) {
        explicit_bzero(r->source.secrets[i], strlen(r->source.secrets[i]));
        free(r->source.secrets[i]);
    }
    free(r->source.secrets);
    free(r->server_name);
    buf_release(&r->url);
    buf_release_secret(&r->auth);
    loop_defer_free(r->turn);
    loop_timer_free(r->deadline);
    free(r);
}
