/* The connections of the scripted provider: read a request, answer it with its fault. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>
#include <sys/socket.h>

#define CHUNK ((size_t)64 << 10)

static const char garbage[] = "\x16\x03\x01\x02 this is no answer of any protocol\r\n\r\n\xff\xfe";

struct fake_conn {
    struct fake_provider *p;
    struct fake_conn *prev, *next;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    int open_handles;
    bool closing;
    bool busy;    /* a request is being answered */
    bool hanging; /* until fake_release() */
    unsigned number;
    struct buf in;
    struct buf out;
    size_t out_at;    /* sent so far */
    size_t huge_left; /* bytes of body still to be made */
    bool close_after;
    int64_t drip_ms; /* 0: all at once */
    struct fake_reply reply;
};

static const char filler[CHUNK];

static void next_request(struct fake_conn *conn);
static void send_some(struct fake_conn *conn);

static void on_closed(uv_handle_t *handle)
{
    struct fake_conn *conn = handle->data;

    if (--conn->open_handles > 0)
        return;
    buf_release(&conn->in);
    buf_release(&conn->out);
    fake_reply_release(&conn->reply);
    free(conn);
}

static void forget(struct fake_conn *conn)
{
    conn->closing = true;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        conn->p->conns = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    uv_close((uv_handle_t *)&conn->timer, on_closed);
}

static void conn_close(struct fake_conn *conn)
{
    if (conn->closing)
        return;
    forget(conn);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void conn_reset(struct fake_conn *conn)
{
    forget(conn);
    if (uv_tcp_close_reset(&conn->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void answered(struct fake_conn *conn)
{
    if (conn->close_after) {
        conn_close(conn);
        return;
    }
    conn->busy = false;
    next_request(conn);
}

static void on_drip(uv_timer_t *timer)
{
    send_some(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
    struct fake_conn *conn = write->data;

    if (conn->closing)
        return;
    if (status < 0)
        conn_close(conn);
    else if (conn->out_at == conn->out.len && conn->huge_left == 0)
        answered(conn);
    else if (conn->drip_ms > 0)
        uv_timer_start(&conn->timer, on_drip, (uint64_t)conn->drip_ms, 0);
    else
        send_some(conn);
}

/* Writes the next piece: a byte of a drip, a chunk of a huge body, or all there is. */
static void send_some(struct fake_conn *conn)
{
    char *from = conn->out.data + conn->out_at;
    size_t n = conn->out.len - conn->out_at;

    if (n > 0) {
        if (conn->drip_ms > 0)
            n = 1;
        conn->out_at += n;
    } else {
        n = conn->huge_left < CHUNK ? conn->huge_left : CHUNK;
        conn->huge_left -= n;
        from = (char *)(uintptr_t)filler;
    }
    uv_buf_t piece = uv_buf_init(from, (unsigned)n);
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &piece, 1, on_written) != 0)
        conn_close(conn);
}

static void compose(struct fake_conn *conn)
{
    struct fake_reply *reply = &conn->reply;
    bool huge = reply->fault == FAKE_HUGE;
    size_t length = huge ? reply->size : reply->body.len;
    size_t body = reply->head ? 0 : reply->body.len;

    if (reply->fault == FAKE_GARBAGE) {
        buf_add(&conn->out, garbage, sizeof(garbage) - 1);
        conn->close_after = true;
        return;
    }
    if (reply->fault == FAKE_CUT) {
        body /= 2;
        conn->close_after = true;
    }
    if (reply->fault == FAKE_DRIP)
        conn->drip_ms = reply->drip_ms;
    buf_addf(&conn->out, "HTTP/1.1 %d Scripted\r\n", reply->status);
    buf_add(&conn->out, reply->headers.data, reply->headers.len);
    if (reply->status != 204 && reply->status != 304)
        buf_addf(&conn->out, "Content-Length: %zu\r\n", length);
    buf_add_str(&conn->out, "\r\n");
    if (huge && !reply->head)
        conn->huge_left = length;
    else if (reply->status != 204 && reply->status != 304)
        buf_add(&conn->out, reply->body.data, body);
}

static void send_reply(struct fake_conn *conn)
{
    if (conn->reply.fault == FAKE_CLOSE) {
        conn_close(conn);
        return;
    }
    if (conn->reply.fault == FAKE_RESET) {
        conn_reset(conn);
        return;
    }
    buf_reset(&conn->out);
    conn->out_at = 0;
    compose(conn);
    if (buf_err(&conn->out) < 0)
        conn_close(conn);
    else
        send_some(conn);
}

static void on_delay_over(uv_timer_t *timer)
{
    send_reply(timer->data);
}

static void start_reply(struct fake_conn *conn)
{
    if (conn->reply.fault == FAKE_HANG) {
        conn->hanging = true;
        return;
    }
    if (conn->reply.delay_ms > 0)
        uv_timer_start(&conn->timer, on_delay_over, (uint64_t)conn->reply.delay_ms, 0);
    else
        send_reply(conn);
}

static void refuse(struct fake_conn *conn)
{
    struct fake_provider *p = conn->p;

    pthread_mutex_lock(&p->lock);
    p->malformed++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    conn_close(conn);
}

/* Consumes the request of `len` bytes at the start of the input and answers it. */
static void take_request(struct fake_conn *conn, size_t len)
{
    struct fake_provider *p = conn->p;
    struct fake_record *record;

    if (fake_request_parse(conn->in.data, len, &record) < 0) {
        refuse(conn);
        return;
    }
    memmove(conn->in.data, conn->in.data + len, conn->in.len - len);
    conn->in.len -= len;
    record->r.connection = conn->number;
    conn->busy = true;
    conn->drip_ms = 0;
    fake_reply_release(&conn->reply);
    fake_reply_init(&conn->reply);
    pthread_mutex_lock(&p->lock);
    fake_answer(p, record, &conn->reply);
    pthread_mutex_unlock(&p->lock);
    start_reply(conn);
}

static void next_request(struct fake_conn *conn)
{
    size_t len = 0;

    if (conn->busy)
        return;
    if (fake_request_length(conn->in.data, conn->in.len, &len) < 0)
        refuse(conn);
    else if (len > 0)
        take_request(conn, len);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct fake_conn *conn = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(conn->p->scratch, sizeof(conn->p->scratch));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data)
{
    struct fake_conn *conn = stream->data;

    if (n < 0) {
        conn_close(conn);
        return;
    }
    buf_add(&conn->in, data->base, (size_t)n);
    if (buf_err(&conn->in) < 0)
        refuse(conn);
    else
        next_request(conn);
}

void fake_conn_accept(struct fake_provider *p)
{
    struct fake_conn *conn = calloc(1, sizeof(*conn));

    if (!conn)
        abort();
    conn->p = p;
    conn->number = ++p->connections;
    buf_init(&conn->in, FAKE_REQUEST_MAX * 2);
    buf_init(&conn->out, FAKE_ANSWER_MAX * 2);
    fake_reply_init(&conn->reply);
    uv_tcp_init(&p->loop, &conn->tcp);
    uv_timer_init(&p->loop, &conn->timer);
    conn->tcp.data = conn->timer.data = conn->write.data = conn;
    conn->open_handles = 2;
    conn->next = p->conns;
    if (conn->next)
        conn->next->prev = conn;
    p->conns = conn;
    if (uv_accept((uv_stream_t *)&p->listener, (uv_stream_t *)&conn->tcp) != 0 ||
        uv_tcp_nodelay(&conn->tcp, 1) != 0 ||
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        conn_close(conn);
}

void fake_conns_release_hanging(struct fake_provider *p)
{
    struct fake_conn *next;

    for (struct fake_conn *conn = p->conns; conn; conn = next) {
        next = conn->next;
        if (!conn->hanging)
            continue;
        conn->hanging = false;
        conn->reply.fault = FAKE_ANSWER;
        send_reply(conn);
    }
}

void fake_conns_close(struct fake_provider *p)
{
    while (p->conns)
        conn_close(p->conns);
}
