#include "io/http_client.h"

#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/curl_engine.h"
#include "io/http_headers.h"

#define CONNECT_TIMEOUT_MS ((int64_t)5000)
#define TOTAL_TIMEOUT_MS   ((int64_t)15000)
#define RESPONSE_MAX       ((size_t)1 << 20)
#define DETAIL_MAX         ((size_t)512)
#define RETRY_AFTER_MAX_S  ((int64_t)3600)
/* A server may drop an idle connection just as a request leaves, which then has an unknown
 * outcome. Requests that must not be repeated take none that has been idle for longer. */
#define IDLE_FOR_UNREPEATABLE_S 15L

struct http_client {
    struct curl_engine *engine;
    char *user_agent;
    struct http_call *calls;
    size_t pending;
};

struct http_call {
    struct curl_transfer transfer;
    struct http_client *client;
    struct http_call *prev, *next;
    http_done_fn *done;
    void *arg;
    struct curl_slist *sent_headers;
    struct http_headers headers;
    struct buf body;
    int64_t start_ms;
    bool repeatable; /* RFC 9110, 9.2.2 */
    bool unanswered; /* a request may have left, and nothing of its answer came */
    bool sent;
};

const char *http_response_header(const struct http_response *r, const char *name)
{
    return r->headers ? http_headers_get(r->headers, name) : NULL;
}

int64_t http_response_retry_after_ms(const struct http_response *r)
{
    const char *text = http_response_header(r, "Retry-After");
    int64_t seconds = 0;

    if (!text || text[0] == '\0')
        return -1;
    if (text[strspn(text, "0123456789")] == '\0') {
        for (const char *p = text; *p != '\0' && seconds < RETRY_AFTER_MAX_S; p++)
            seconds = seconds * 10 + (*p - '0');
    } else {
        time_t at = curl_getdate(text, NULL);
        if (at == -1)
            return -1;
        seconds = (int64_t)at - clock_unix_s();
    }
    if (seconds < 0)
        seconds = 0;
    return (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

static struct http_call *call_of(struct curl_transfer *t)
{
    return (struct http_call *)((char *)t - offsetof(struct http_call, transfer));
}

/* curl sends a request a second time when a connection that it used again turns out to
 * be dead, whatever the method; a POST must not leave twice. */
static bool on_ready(struct curl_transfer *t)
{
    struct http_call *call = call_of(t);

    if (call->unanswered && !call->repeatable) {
        t->err = ERR_IO;
        return false;
    }
    call->unanswered = true;
    call->sent = true;
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;

    call->unanswered = false;
    call->transfer.err = http_headers_add_line(&call->headers, line, size * n);
    return call->transfer.err == 0 ? size * n : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;

    buf_add(&call->body, data, size * n);
    call->transfer.err = buf_err(&call->body);
    return call->transfer.err == 0 ? size * n : 0;
}

static void call_free(struct http_call *call)
{
    curl_transfer_release(&call->transfer);
    curl_slist_free_all(call->sent_headers);
    http_headers_release(&call->headers);
    buf_release(&call->body);
    free(call);
}

static void unlink_call(struct http_call *call)
{
    struct http_client *c = call->client;

    if (call->prev)
        call->prev->next = call->next;
    else
        c->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    c->pending--;
}

static void on_over(struct curl_transfer *t, CURLcode code)
{
    struct http_call *call = call_of(t);
    struct buf detail = BUF_INIT(DETAIL_MAX);
    struct http_response r = {
        .sent = call->sent,
        .body = buf_str(&call->body),
        .body_len = call->body.len,
        .headers = &call->headers,
        .elapsed_ms = clock_ms() - call->start_ms,
    };
    char *url = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r.status);
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    r.url = url ? url : "";
    r.err = curl_transfer_err(t, code, &detail);
    r.detail = buf_str(&detail);
    unlink_call(call);
    call->done(call->arg, &r);
    buf_release(&detail);
    call_free(call);
}

static int check_url(const char *text, bool *ret_https)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    int err = ERR_INVALID;

    if (!url)
        return ERR_NOMEM;
    if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)) {
        *ret_https = strcmp(scheme, "https") == 0;
        err = 0;
    }
    curl_free(scheme);
    curl_url_cleanup(url);
    return err;
}

static int check_request(const struct http_request *request, bool *ret_https)
{
    if (!http_token_is_valid(request->method))
        return ERR_INVALID;
    for (const char *const *h = request->headers; h && *h; h++)
        if (!http_header_is_valid(*h))
            return ERR_INVALID;
    return check_url(request->url, ret_https);
}

static int append_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (!longer)
        return ERR_NOMEM;
    *list = longer;
    return 0;
}

/* For curl "Name:" takes a header away and "Name;" sends it empty. */
static int append_empty_header(struct curl_slist **list, const char *line)
{
    struct buf text = BUF_INIT(HTTP_HEADERS_MAX);

    buf_add(&text, line, strcspn(line, ":"));
    buf_add_char(&text, ';');
    int err = buf_err(&text);
    if (err == 0)
        err = append_header(list, buf_str(&text));
    buf_release(&text);
    return err;
}

static int set_headers(struct http_call *call, const struct http_request *request)
{
    /* Without it curl waits a second for leave to send a large body. */
    int err = append_header(&call->sent_headers, "Expect:");

    for (const char *const *h = request->headers; err == 0 && h && *h; h++) {
        const char *value = strchr(*h, ':') + 1;
        bool empty = value[strspn(value, " \t")] == '\0';
        err = empty ? append_empty_header(&call->sent_headers, *h)
                    : append_header(&call->sent_headers, *h);
    }
    if (err == 0)
        curl_easy_setopt(call->transfer.easy, CURLOPT_HTTPHEADER, call->sent_headers);
    return err;
}

static CURLcode set_method(CURL *easy, const struct http_request *request)
{
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        CURLcode code = curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
        if (code != CURLE_OK || strcmp(request->method, "POST") == 0)
            return code;
    } else if (strcmp(request->method, "GET") == 0) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else if (strcmp(request->method, "HEAD") == 0) {
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
        return curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, "");
    }
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static bool method_is_repeatable(const char *method)
{
    return strcmp(method, "POST") != 0 && strcmp(method, "PATCH") != 0;
}

static CURLcode set_request(struct http_call *call, const struct http_request *request, bool https)
{
    CURL *easy = call->transfer.easy;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    /* A secure address never leads to an open one. */
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->max_redirects > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, request->max_redirects);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    if (!call->repeatable)
        curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_FOR_UNREPEATABLE_S);

    CURLcode code = curl_easy_setopt(easy, CURLOPT_USERAGENT, call->client->user_agent);
    if (code == CURLE_OK)
        code = curl_easy_setopt(easy, CURLOPT_URL, request->url);
    if (code == CURLE_OK && request->user)
        code = curl_easy_setopt(easy, CURLOPT_USERNAME, request->user);
    if (code == CURLE_OK && request->password)
        code = curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password);
    return code == CURLE_OK ? set_method(easy, request) : code;
}

static int call_new(struct http_client *c, const struct http_request *request, bool https,
    struct http_call **ret_call)
{
    struct http_call *call = calloc(1, sizeof(*call));

    if (!call)
        return ERR_NOMEM;
    call->client = c;
    call->repeatable = method_is_repeatable(request->method);
    call->transfer.allow_private = request->allow_private;
    call->transfer.private_setting = request->private_setting;
    call->transfer.ready = on_ready;
    call->transfer.over = on_over;
    http_headers_init(&call->headers);
    buf_init(&call->body, request->max_response ? request->max_response : RESPONSE_MAX);

    int err = curl_transfer_init(&call->transfer, c->engine,
        request->connect_timeout_ms ? request->connect_timeout_ms : CONNECT_TIMEOUT_MS,
        request->total_timeout_ms ? request->total_timeout_ms : TOTAL_TIMEOUT_MS);
    if (err == 0)
        err = set_headers(call, request);
    if (err == 0 && set_request(call, request, https) != CURLE_OK)
        err = ERR_NOMEM;
    if (err < 0) {
        call_free(call);
        return err;
    }
    *ret_call = call;
    return 0;
}

int http_client_send(struct http_client *c, const struct http_request *request, http_done_fn *done,
    void *arg, struct http_call **ret_call)
{
    struct http_call *call;
    bool https;
    int err = check_request(request, &https);

    if (err < 0)
        return err;
    err = call_new(c, request, https, &call);
    if (err < 0)
        return err;
    call->done = done;
    call->arg = arg;
    call->start_ms = clock_ms();
    err = curl_engine_start(c->engine, &call->transfer);
    if (err < 0) {
        call_free(call);
        return err;
    }
    call->next = c->calls;
    if (call->next)
        call->next->prev = call;
    c->calls = call;
    c->pending++;
    *ret_call = call;
    return 0;
}

void http_call_cancel(struct http_call *call)
{
    curl_engine_remove(call->client->engine, &call->transfer);
    unlink_call(call);
    call_free(call);
}

int http_client_new(uv_loop_t *loop, const char *user_agent, struct http_client **ret_client)
{
    struct http_client *c = calloc(1, sizeof(*c));
    int err = ERR_NOMEM;

    if (!c)
        return ERR_NOMEM;
    c->user_agent = strdup(user_agent);
    if (c->user_agent)
        err = curl_engine_new(loop, &c->engine);
    if (err < 0) {
        free(c->user_agent);
        free(c);
        return err;
    }
    *ret_client = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    while (c->calls)
        http_call_cancel(c->calls);
    curl_engine_free(c->engine);
    free(c->user_agent);
    free(c);
}

size_t http_client_pending(const struct http_client *c)
{
    return c->pending;
}
