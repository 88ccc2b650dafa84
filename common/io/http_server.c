#include "io/http_server_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "io/http_listen.h"
#include "io/loop.h"

/* Of a connection, its request's head included: a longer one is answered with 414 or 431. */
#define MEMORY_MAX ((size_t)32768)
/* Of a body that is too large so much is read before the answer, for whoever writes it all before
 * reading; more than that ends the connection. */
#define SWALLOW_MAX ((size_t)1 << 20)
/* Connections beyond the limit that are told so at a time; more than that wait to be accepted. */
#define OVER_MAX        64
#define RETRY_AFTER_S   "1"
#define PROBLEM_MAX     512
#define TOO_LARGE_TITLE "The body is too large"

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
    x->server->n_open++;
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

/* Answers without asking the server's function, and ends the connection. */
static enum MHD_Result refuse(
    struct MHD_Connection *connection, int status, const char *title, const char *detail)
{
    struct buf text = BUF_INIT(PROBLEM_MAX);
    struct MHD_Response *response = NULL;
    enum MHD_Result queued = MHD_NO;

    buf_addf(&text, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}",
        title, status, detail);
    if (!buf_err(&text))
        response = MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_COPY);
    buf_release(&text);
    if (!response)
        return MHD_NO;
    if (MHD_add_response_header(response, "Content-Type", "application/problem+json") == MHD_YES &&
        MHD_add_response_header(response, "Connection", "close") == MHD_YES &&
        (status != 503 ||
            MHD_add_response_header(response, "Retry-After", RETRY_AFTER_S) == MHD_YES))
        queued = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result refuse_size(const struct http_server *s, struct MHD_Connection *connection)
{
    char detail[64];

    (void)snprintf(detail, sizeof(detail), "at most %zu bytes are taken", s->max_body);
    return refuse(connection, 413, TOO_LARGE_TITLE, detail);
}

static struct http_guest *guest_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

struct head {
    const char *length, *encoding, *expect;
    unsigned lengths, encodings, hosts;
};

static enum MHD_Result see_header(
    void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct head *head = arg;

    (void)kind;
    if (strcasecmp(name, "Content-Length") == 0) {
        head->length = value;
        head->lengths++;
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        head->encoding = value;
        head->encodings++;
    } else if (strcasecmp(name, "Expect") == 0) {
        head->expect = value;
    } else if (strcasecmp(name, "Host") == 0) {
        head->hosts++;
    }
    return MHD_YES;
}

/* Whether it can be read in one way alone, so that a proxy before us does not see another request
 * than we do (RFC 9112, sections 3.2, 6.1 and 6.3). */
static bool is_plain(const struct head *head, const char *version)
{
    bool chunked = head->encoding && strcasecmp(head->encoding, "chunked") == 0;

    return head->lengths + head->encodings <= 1 && (!head->encoding || chunked) &&
           head->hosts <= 1 && (head->hosts == 1 || strcmp(version, "HTTP/1.0") == 0);
}

/* The head is there. */
static enum MHD_Result begin(struct http_exchange *x, struct MHD_Connection *connection,
    const char *method, const char *version)
{
    const struct http_guest *guest = guest_of(connection);
    struct head head = {0};
    unsigned long long len;

    x->connection = connection;
    x->method = strdup(method);
    if (!x->method || !guest)
        return MHD_NO;
    if (guest->over)
        return refuse(connection, 503, "Too many connections", "ask again in a moment");
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, see_header, &head);
    if (!is_plain(&head, version))
        return refuse(connection, 400, "Not a request",
            "one Host, and one Content-Length or Transfer-Encoding: chunked");
    read_peer(x);
    errno = 0;
    len = head.length ? strtoull(head.length, NULL, 10) : 0;
    if (errno || len > SWALLOW_MAX || (head.expect && len > x->server->max_body))
        return refuse_size(x->server, connection);
    return MHD_YES;
}

/* Of a body that is too large nothing is kept. */
static enum MHD_Result take(struct http_exchange *x, const char *data, size_t size)
{
    x->body_len += size;
    if (x->body_len > SWALLOW_MAX)
        return MHD_NO;
    if (x->body_len <= x->server->max_body)
        buf_add(&x->body, data, size);
    else
        buf_release(&x->body);
    return buf_err(&x->body) ? MHD_NO : MHD_YES;
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
    if (!x)
        return MHD_NO;
    if (!x->method)
        return begin(x, connection, method, version);
    if (*size) {
        size_t len = *size;
        *size = 0;
        return take(x, data, len);
    }
    if (x->answered || x->handed) /* again, after it was resumed */
        return queue_answer(x);
    http_guest_heard(guest_of(connection));
    if (x->body_len > s->max_body)
        return refuse_size(s, connection);
    x->handed = true;
    http_exchange_wait(x);
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
    struct http_server *s = arg;
    struct http_guest *guest = guest_of(connection);

    (void)code;
    *context = NULL;
    if (guest)
        http_guest_expect(guest);
    if (!x)
        return;
    s->n_open--;
    x->connection = NULL;
    if (!x->handed || x->answered)
        http_exchange_free(x); /* else whoever has it in hand still answers */
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode code)
{
    struct http_server *s = arg;
    const union MHD_ConnectionInfo *info;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        http_guest_free(*context);
        *context = NULL;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info ? http_guest_new(&s->guests, info->connect_fd) : NULL;
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
    err = http_guests_init(&s->guests, loop, options->max_connections, options->patience_ms);
    fd = err ? err : http_listen(options->listen, &family, &s->port, fault);
    if (fd < 0) {
        http_guests_release(&s->guests);
        free(s);
        return fd;
    }
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                                     (family == AF_INET6 ? MHD_USE_IPv6 : 0),
        0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        options->max_connections + OVER_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((options->patience_ms + 999) / 1000), MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_MAX,
        MHD_OPTION_URI_LOG_CALLBACK, on_address, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_END);
    if (!s->daemon) {
        buf_add_str(fault, "libmicrohttpd did not start");
        (void)close(fd);
        http_guests_release(&s->guests);
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
    return s->n_open;
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
    http_guests_release(&s->guests);
    loop_timer_free(s->timeout);
    loop_defer_free(s->again);
    free(s);
}
