#include "io/http_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "io/http_listen.h"
#include "io/loop.h"

#define PEER_MAX     64
#define HEADERS_MAX  ((size_t)16384) /* of a request: more is answered with 431 */
#define MEMORY_EXTRA ((size_t)16384) /* beside them, of a connection */

struct http_server {
    uv_loop_t *loop;
    uv_poll_t *poll;
    struct loop_timer *timeout;
    struct loop_defer *again;
    struct MHD_Daemon *daemon;
    http_server_fn *fn;
    void *arg;
    size_t max_body;
    int port;
    bool quiescent; /* every answer ends its connection */
    size_t n_waiting;
    struct http_exchange *waiting; /* handed over and not answered */
};

struct http_exchange {
    struct http_server *server;        /* NULL: gone */
    struct MHD_Connection *connection; /* NULL: gone */
    struct http_exchange *prev, *next; /* of those that wait */
    char *uri;                         /* the path, then a NUL, then the query */
    const char *query;
    char *method;
    struct buf body;
    struct MHD_Response *response; /* the answer, until it is queued */
    int status;
    bool handed;    /* to the server's function */
    bool answered;  /* by it */
    bool suspended; /* the connection waits for that */
    char peer[PEER_MAX];
    struct {
        char *name, *value;
    } headers[8];
    size_t n_headers;
};

/* --- an exchange's life ---------------------------------------------------------------------- */

static void exchange_free(struct http_exchange *x)
{
    for (size_t i = 0; i < x->n_headers; i++) {
        free(x->headers[i].name);
        free(x->headers[i].value);
    }
    if (x->response)
        MHD_destroy_response(x->response);
    buf_release(&x->body);
    free(x->method);
    free(x->uri);
    free(x);
}

static void wait_begins(struct http_exchange *x)
{
    struct http_server *s = x->server;

    x->next = s->waiting;
    if (s->waiting)
        s->waiting->prev = x;
    s->waiting = x;
    s->n_waiting++;
}

static void wait_ends(struct http_exchange *x)
{
    struct http_server *s = x->server;

    if (x->prev)
        x->prev->next = x->next;
    else
        s->waiting = x->next;
    if (x->next)
        x->next->prev = x->prev;
    x->prev = x->next = NULL;
    s->n_waiting--;
}

/* --- libmicrohttpd's turns -------------------------------------------------------------------- */

static void run(void *arg)
{
    struct http_server *s = arg;
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) != MHD_YES)
        loop_timer_stop(s->timeout);
    else if (ms == 0)
        loop_defer_start(s->again);
    else
        loop_timer_start(s->timeout, (int64_t)ms);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    run(handle->data);
}

/* The first word of a request: its address as it was sent. What it returns comes back as the
 * context of the request. */
static void *on_address(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct http_exchange *x = calloc(1, sizeof(*x));
    size_t path = strcspn(uri, "?");

    (void)connection;
    if (!x)
        return NULL;
    x->server = arg;
    x->uri = strdup(uri);
    if (!x->uri) {
        free(x);
        return NULL;
    }
    x->query = x->uri + path + (uri[path] == '?');
    x->uri[path] = '\0';
    buf_init(&x->body, x->server->max_body);
    return x;
}

/* Addresses stay as they were sent. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    return strlen(text);
}

static void read_peer(struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    socklen_t len = address && address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                              : sizeof(struct sockaddr_in);

    if (!address ||
        getnameinfo(address, len, x->peer, sizeof(x->peer), NULL, 0, NI_NUMERICHOST) != 0)
        (void)snprintf(x->peer, sizeof(x->peer), "unknown");
}

static enum MHD_Result refuse_size(struct MHD_Connection *connection)
{
    static char text[] = "{\"title\": \"The body is too large\", \"status\": 413}";
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result queued = MHD_NO;

    if (!response)
        return MHD_NO;
    if (MHD_add_response_header(response, "Content-Type", "application/problem+json") == MHD_YES &&
        MHD_add_response_header(response, "Connection", "close") == MHD_YES)
        queued = MHD_queue_response(connection, 413, response);
    MHD_destroy_response(response);
    return queued;
}

/* The head is there. */
static enum MHD_Result begin(
    struct http_exchange *x, struct MHD_Connection *connection, const char *method)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

    x->connection = connection;
    x->method = strdup(method);
    if (!x->method)
        return MHD_NO;
    read_peer(x);
    errno = 0;
    if (length && (strtoull(length, NULL, 10) > x->server->max_body || errno))
        return refuse_size(connection);
    return MHD_YES;
}

static enum MHD_Result queue_answer(struct http_exchange *x)
{
    enum MHD_Result queued = MHD_NO;

    if (x->response)
        queued = MHD_queue_response(x->connection, (unsigned)x->status, x->response);
    return queued;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *size, void **context)
{
    struct http_server *s = arg;
    struct http_exchange *x = *context;

    (void)url;
    (void)version;
    if (!x)
        return MHD_NO;
    if (!x->method)
        return begin(x, connection, method);
    if (*size) {
        buf_add(&x->body, data, *size);
        *size = 0;
        return buf_err(&x->body) ? MHD_NO : MHD_YES;
    }
    if (x->answered || x->handed) /* again, after it was resumed */
        return queue_answer(x);
    x->handed = true;
    wait_begins(x);
    s->fn(s->arg, x);
    if (x->answered)
        return queue_answer(x);
    x->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

/* The connection is through with the request, whether it was answered or not. */
static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode code)
{
    struct http_exchange *x = *context;

    (void)arg;
    (void)connection;
    (void)code;
    *context = NULL;
    if (!x)
        return;
    x->connection = NULL;
    if (!x->handed || x->answered)
        exchange_free(x); /* else whoever has it in hand still answers */
}

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *fmt, va_list args)
{
    struct buf text = BUF_INIT(1024);

    (void)arg;
    buf_vaddf(&text, fmt, args);
    log_debug(F_NONE, "libmicrohttpd: %s", buf_str(&text));
    buf_release(&text);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

static int watch(struct http_server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    s->timeout = loop_timer_new(s->loop, run, s);
    s->again = loop_defer_new(s->loop, run, s);
    s->poll = info && info->epoll_fd >= 0 ? malloc(sizeof(*s->poll)) : NULL;
    if (!s->timeout || !s->again || !s->poll)
        return ERR_NOMEM;
    if (uv_poll_init(s->loop, s->poll, info->epoll_fd) != 0) {
        free(s->poll);
        s->poll = NULL;
        return ERR_IO;
    }
    s->poll->data = s;
    return uv_poll_start(s->poll, UV_READABLE, on_poll) == 0 ? 0 : ERR_IO;
}

int http_server_new(uv_loop_t *loop, const struct http_server_options *options, http_server_fn *fn,
    void *arg, struct buf *fault, struct http_server **ret_server)
{
    struct http_server *s = calloc(1, sizeof(*s));
    int family = AF_INET, fd, err;

    if (!s)
        return ERR_NOMEM;
    s->loop = loop;
    s->fn = fn;
    s->arg = arg;
    s->max_body = options->max_body;
    fd = http_listen(options->listen, &family, &s->port, fault);
    if (fd < 0) {
        free(s);
        return fd;
    }
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                                     (family == AF_INET6 ? MHD_USE_IPv6 : 0),
        0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, options->max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, options->idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        HEADERS_MAX + MEMORY_EXTRA, MHD_OPTION_URI_LOG_CALLBACK, on_address, s,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_END);
    if (!s->daemon) {
        buf_add_str(fault, "libmicrohttpd did not start");
        (void)close(fd);
        free(s);
        return ERR_IO;
    }
    err = watch(s);
    if (err) {
        buf_add_str(fault, "its descriptor cannot be watched");
        http_server_free(s);
        return err;
    }
    run(s);
    *ret_server = s;
    return 0;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

size_t http_server_pending(const struct http_server *s)
{
    return s->n_waiting;
}

void http_server_quiesce(struct http_server *s)
{
    int fd;

    if (s->quiescent)
        return;
    s->quiescent = true;
    fd = MHD_quiesce_daemon(s->daemon);
    if (fd >= 0)
        (void)close(fd);
}

void http_server_free(struct http_server *s)
{
    struct http_exchange *next;

    if (!s)
        return;
    for (struct http_exchange *x = s->waiting; x; x = next) {
        next = x->next;
        x->prev = x->next = NULL;
        x->server = NULL;
        if (x->suspended)
            MHD_resume_connection(x->connection);
    }
    if (s->poll) {
        (void)uv_poll_stop(s->poll);
        uv_close((uv_handle_t *)s->poll, free_poll);
    }
    MHD_stop_daemon(s->daemon);
    loop_timer_free(s->timeout);
    loop_defer_free(s->again);
    free(s);
}

/* --- an exchange's words -------------------------------------------------------------------------
 */

const char *http_exchange_method(const struct http_exchange *x)
{
    return x->method;
}

const char *http_exchange_path(const struct http_exchange *x)
{
    return x->uri;
}

const char *http_exchange_query(const struct http_exchange *x)
{
    return x->query;
}

const char *http_exchange_header(const struct http_exchange *x, const char *name)
{
    return x->connection ? MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name) : NULL;
}

const char *http_exchange_body(const struct http_exchange *x, size_t *ret_len)
{
    *ret_len = x->body.len;
    return buf_str(&x->body);
}

const char *http_exchange_peer(const struct http_exchange *x)
{
    return x->peer;
}

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value)
{
    size_t n = x->n_headers;

    if (n == sizeof(x->headers) / sizeof(*x->headers))
        return;
    x->headers[n].name = strdup(name);
    x->headers[n].value = strdup(value);
    x->n_headers++;
}

static struct MHD_Response *make_response(
    struct http_exchange *x, const char *content_type, const char *body, size_t len)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    bool ok = r != NULL;

    if (ok && content_type)
        ok = MHD_add_response_header(r, "Content-Type", content_type) == MHD_YES;
    for (size_t i = 0; ok && i < x->n_headers; i++)
        ok = x->headers[i].name && x->headers[i].value &&
             MHD_add_response_header(r, x->headers[i].name, x->headers[i].value) == MHD_YES;
    if (ok && x->server->quiescent)
        ok = MHD_add_response_header(r, "Connection", "close") == MHD_YES;
    if (r && !ok) {
        MHD_destroy_response(r);
        r = NULL;
    }
    return r;
}

void http_exchange_answer(
    struct http_exchange *x, int status, const char *content_type, const char *body, size_t len)
{
    if (x->server)
        wait_ends(x);
    if (!x->server || !x->connection) { /* nobody waits for it any more */
        exchange_free(x);
        return;
    }
    x->status = status;
    x->response = make_response(x, content_type, body, len); /* NULL: the connection is closed */
    x->answered = true;
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->connection);
        loop_defer_start(x->server->again);
    }
}
