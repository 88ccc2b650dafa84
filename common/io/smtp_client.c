#include "io/smtp_client.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/curl_engine.h"
#include "io/smtp_session.h"

#define CONNECT_TIMEOUT_MS ((int64_t)5000)
#define TOTAL_TIMEOUT_MS   ((int64_t)30000)
#define DETAIL_MAX         ((size_t)512)
#define REPLY_MAX          ((size_t)256)

struct smtp_client {
    uv_loop_t *loop;
    struct curl_engine *engine;
    struct smtp_call *calls;
};

struct smtp_call {
    struct curl_transfer transfer;
    struct smtp_client *client;
    struct smtp_call *prev, *next;
    smtp_done_fn *done;
    void *arg;
    struct smtp_session *session; /* NULL: not connected yet */
    char *from, *to;
    struct buf text;
    struct buf reply; /* the server's last line while libcurl speaks */
    int64_t start_ms, deadline_ms;
};

static struct smtp_call *call_of(struct curl_transfer *t)
{
    return (struct smtp_call *)((char *)t - offsetof(struct smtp_call, transfer));
}

static bool on_ready(struct curl_transfer *t)
{
    (void)t;
    return true;
}

/* CURLOPT_HEADERFUNCTION: each line that the server says. curl says QUIT after a refusal, and
 * the good-bye must not stand for it. */
static size_t on_reply(char *line, size_t size, size_t n, void *arg)
{
    struct smtp_call *call = arg;
    size_t len = size * n;

    if (len >= 3 && memcmp(line, "221", 3) == 0)
        return len;
    buf_reset(&call->reply);
    for (size_t i = 0; i < len && i < REPLY_MAX; i++)
        if (!iscntrl((unsigned char)line[i]))
            buf_add_char(&call->reply, line[i]);
    return len;
}

/* The session looks at the connection, which goes with the transfer, which has stayed on the
 * engine. */
static void disconnect(struct smtp_call *call)
{
    smtp_session_free(call->session);
    call->session = NULL;
    if (call->transfer.easy)
        curl_engine_remove(call->client->engine, &call->transfer);
    curl_transfer_release(&call->transfer);
}

static void call_free(struct smtp_call *call)
{
    disconnect(call);
    free(call->from);
    free(call->to);
    buf_release(&call->text);
    buf_release(&call->reply);
    free(call);
}

static void unlink_call(struct smtp_call *call)
{
    if (call->prev)
        call->prev->next = call->next;
    else
        call->client->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
}

static bool refused(long code)
{
    return code >= 400 && code <= 599;
}

static void end(struct smtp_call *call, int err, long code, bool sent, const char *detail)
{
    const struct smtp_response r = {
        .err = err,
        .code = code,
        .sent = sent,
        .detail = detail,
        .elapsed_ms = clock_ms() - call->start_ms,
    };

    /* First, because the callback may free the client. */
    unlink_call(call);
    disconnect(call);
    call->done(call->arg, &r);
    call_free(call);
}

static void on_outcome(void *arg, const struct smtp_outcome *o)
{
    end(arg, o->err, o->code, o->sent, o->detail);
}

/* CURLE_OK: libcurl has connected, and leaves the rest to the session. */
static void on_over(struct curl_transfer *t, CURLcode code)
{
    struct smtp_call *call = call_of(t);
    struct buf detail = BUF_INIT(DETAIL_MAX);
    long last = 0;
    int err;

    if (code == CURLE_OK) {
        err = smtp_session_start(call->client->loop, t->easy, call->from, call->to, &call->text,
            call->deadline_ms - clock_ms(), on_outcome, call, &call->session);
        if (err < 0)
            end(call, err, 0, false, err_name(err));
        return;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &last);
    if (!t->denied && refused(last)) {
        buf_add_str(&detail, buf_str(&call->reply));
        err = ERR_PROTOCOL;
    } else {
        err = curl_transfer_err(t, code, &detail);
    }
    end(call, err, last, false, buf_str(&detail));
    buf_release(&detail);
}

/* "smtp://host" or "smtps://host", a port, and no more: no credentials in the address. */
static int check_url(const char *text)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    int err = ERR_INVALID;

    if (!url)
        return ERR_NOMEM;
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        (strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0))
        err = 0;
    curl_free(scheme);
    curl_url_cleanup(url);
    return err;
}

static CURLcode set_server(struct smtp_call *call, const struct smtp_request *request)
{
    CURL *easy = call->transfer.easy;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(
        easy, CURLOPT_USE_SSL, (long)(request->plaintext ? CURLUSESSL_NONE : CURLUSESSL_ALL));
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_reply);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    if (code == CURLE_OK && request->ca_file)
        code = curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
    if (code == CURLE_OK && request->user)
        code = curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
    if (code == CURLE_OK && request->password)
        code = curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password);
    return code;
}

static int set_up(struct smtp_call *call, const struct smtp_request *request)
{
    int64_t total = request->total_timeout_ms ? request->total_timeout_ms : TOTAL_TIMEOUT_MS;
    int err = mail_message_write(request->message, &call->text);

    if (err < 0)
        return err;
    call->start_ms = clock_ms();
    call->deadline_ms = call->start_ms + total;
    call->from = strdup(request->message->from);
    call->to = strdup(request->message->to);
    if (!call->from || !call->to)
        return ERR_NOMEM;
    err = curl_transfer_init(&call->transfer, call->client->engine,
        request->connect_timeout_ms ? request->connect_timeout_ms : CONNECT_TIMEOUT_MS, total);
    if (err < 0)
        return err;
    if (set_server(call, request) != CURLE_OK)
        return ERR_NOMEM;
    return curl_engine_start(call->client->engine, &call->transfer);
}

int smtp_client_send(struct smtp_client *c, const struct smtp_request *request, smtp_done_fn *done,
    void *arg, struct smtp_call **ret_call)
{
    int err = check_url(request->url);
    struct smtp_call *call = err == 0 ? calloc(1, sizeof(*call)) : NULL;

    if (!call)
        return err < 0 ? err : ERR_NOMEM;
    call->client = c;
    call->done = done;
    call->arg = arg;
    call->transfer.kept = true;
    call->transfer.allow_private = request->allow_private;
    call->transfer.ready = on_ready;
    call->transfer.over = on_over;
    buf_init(&call->text, MAIL_BYTES_MAX);
    buf_init(&call->reply, REPLY_MAX);
    err = set_up(call, request);
    if (err < 0) {
        call_free(call);
        return err;
    }
    call->next = c->calls;
    if (call->next)
        call->next->prev = call;
    c->calls = call;
    *ret_call = call;
    return 0;
}

void smtp_call_cancel(struct smtp_call *call)
{
    unlink_call(call);
    call_free(call);
}

int smtp_client_new(uv_loop_t *loop, struct smtp_client **ret_client)
{
    struct smtp_client *c = calloc(1, sizeof(*c));

    if (!c)
        return ERR_NOMEM;
    c->loop = loop;
    int err = curl_engine_new(loop, &c->engine);
    if (err < 0) {
        free(c);
        return err;
    }
    *ret_client = c;
    return 0;
}

void smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    while (c->calls)
        smtp_call_cancel(c->calls);
    curl_engine_free(c->engine);
    free(c);
}
