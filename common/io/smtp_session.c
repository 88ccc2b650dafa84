#include "io/smtp_session.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX  ((size_t)16 << 10) /* all lines of one */
#define OUT_MAX    ((size_t)4 << 20)
#define DETAIL_MAX ((size_t)256)
#define READ_SIZE  1024

/* What has been said last. */
enum state { STATE_MAIL, STATE_RCPT, STATE_DATA, STATE_TEXT, STATE_OVER };

struct smtp_session {
    CURL *easy;
    uv_poll_t poll;
    uv_timer_t timer;
    int open_handles;
    enum state state;
    char *to;
    struct buf text; /* stuffed, with its final dot */
    struct buf out;
    size_t out_at; /* sent so far */
    struct buf in;
    long code;
    smtp_session_done_fn *done;
    void *arg;
};

static void on_closed(uv_handle_t *handle)
{
    struct smtp_session *s = handle->data;

    if (--s->open_handles > 0)
        return;
    free(s->to);
    buf_release(&s->text);
    buf_release(&s->out);
    buf_release(&s->in);
    free(s);
}

void smtp_session_free(struct smtp_session *s)
{
    if (!s)
        return;
    s->state = STATE_OVER;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

static bool is_refusal(long code)
{
    return code >= 400 && code <= 599;
}

/* As a courtesy: whether it arrives does not matter, and nobody waits for the answer. */
static void say_goodbye(struct smtp_session *s)
{
    static const char quit[] = "QUIT\r\n";
    size_t n;

    (void)curl_easy_send(s->easy, quit, sizeof(quit) - 1, &n);
}

static void finish(struct smtp_session *s, int err, const char *detail)
{
    const struct smtp_outcome o = {
        .err = err,
        .code = s->code,
        .detail = detail,
        .sent = s->state == STATE_TEXT && s->out_at == s->out.len && !is_refusal(s->code),
    };

    s->state = STATE_OVER;
    uv_poll_stop(&s->poll);
    uv_timer_stop(&s->timer);
    if (err == 0 || err == ERR_PROTOCOL)
        say_goodbye(s);
    s->done(s->arg, &o);
}

static void say(struct smtp_session *s, enum state state, const char *verb, const char *argument)
{
    s->state = state;
    buf_reset(&s->out);
    buf_addf(&s->out, "%s%s%s\r\n", verb, argument, argument[0] == '\0' ? "" : ">");
    s->out_at = 0;
}

static void say_text(struct smtp_session *s)
{
    s->state = STATE_TEXT;
    buf_reset(&s->out);
    buf_add(&s->out, s->text.data, s->text.len);
    s->out_at = 0;
}

/* The last line of a reply, without control characters. */
static void finish_refused(struct smtp_session *s, const char *line, size_t len)
{
    struct buf detail = BUF_INIT(DETAIL_MAX);

    for (size_t i = 0; i < len && i < DETAIL_MAX; i++)
        if (!iscntrl((unsigned char)line[i]))
            buf_add_char(&detail, line[i]);
    finish(s, ERR_PROTOCOL, buf_str(&detail));
    buf_release(&detail);
}

/* RFC 5321, 4.3.2: 2yz after all but DATA, which wants a 354. */
static void on_reply(struct smtp_session *s, const char *line, size_t len)
{
    long kind = s->code / 100;

    if (kind != (s->state == STATE_DATA ? 3 : 2)) {
        finish_refused(s, line, len);
        return;
    }
    switch (s->state) {
    case STATE_MAIL:
        say(s, STATE_RCPT, "RCPT TO:<", s->to);
        break;
    case STATE_RCPT:
        say(s, STATE_DATA, "DATA", "");
        break;
    case STATE_DATA:
        say_text(s);
        break;
    case STATE_TEXT:
        finish(s, 0, "");
        break;
    case STATE_OVER:
        break;
    }
}

/* Whether a whole reply stood at the start of the input; it has been acted on. */
static bool take_reply(struct smtp_session *s)
{
    char *line = s->in.data, *end = line + s->in.len, *eol;

    while (line && (eol = memchr(line, '\n', (size_t)(end - line)))) {
        if (eol - line < 4 || line[strspn(line, "0123456789")] != line[3] ||
            (line[3] != ' ' && line[3] != '-' && line[3] != '\r')) {
            finish(s, ERR_PROTOCOL, "a reply that is none");
            return true;
        }
        if (line[3] != '-') {
            s->code = strtol(line, NULL, 10);
            size_t len = (size_t)(eol - line);
            on_reply(s, line, len);
            /* Nobody may speak before he is asked: what is left is thrown away. */
            if (s->state != STATE_OVER)
                buf_reset(&s->in);
            return true;
        }
        line = eol + 1;
    }
    return false;
}

static void on_ready(uv_poll_t *poll, int status, int events);

static void wait_for(struct smtp_session *s, int events)
{
    if (uv_poll_start(&s->poll, events, on_ready) != 0)
        finish(s, ERR_IO, "the socket cannot be watched");
}

/* True when there is more to do at once. */
static bool send_some(struct smtp_session *s)
{
    size_t n = 0;
    CURLcode code = curl_easy_send(s->easy, s->out.data + s->out_at, s->out.len - s->out_at, &n);

    s->out_at += n;
    if (code == CURLE_OK)
        return true;
    if (code == CURLE_AGAIN)
        wait_for(s, UV_READABLE | UV_WRITABLE);
    else
        finish(s, ERR_IO, "the connection was lost");
    return false;
}

static bool receive_some(struct smtp_session *s)
{
    char data[READ_SIZE];
    size_t n = 0;
    CURLcode code = curl_easy_recv(s->easy, data, sizeof(data), &n);

    if (code == CURLE_AGAIN) {
        wait_for(s, UV_READABLE);
        return false;
    }
    if (code != CURLE_OK || n == 0) {
        finish(s, ERR_IO, "the connection was lost");
        return false;
    }
    buf_add(&s->in, data, n);
    if (buf_err(&s->in) == 0)
        return true;
    finish(s, buf_err(&s->in), "the reply is larger than allowed");
    return false;
}

static bool step(struct smtp_session *s)
{
    if (buf_err(&s->out) < 0) {
        finish(s, buf_err(&s->out), "no memory");
        return false;
    }
    if (s->out_at < s->out.len)
        return send_some(s);
    return take_reply(s) || receive_some(s);
}

/* finish() may have freed the session's owner, but not yet the session: its memory goes in
 * a later turn of the loop. */
static void drive(struct smtp_session *s)
{
    while (s->state != STATE_OVER && step(s))
        ;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct smtp_session *s = poll->data;

    (void)status; /* sending or receiving finds the error */
    (void)events;
    drive(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct smtp_session *s = timer->data;

    if (s->state != STATE_OVER)
        finish(s, ERR_TIMEOUT, "the server did not answer in time");
}

/* RFC 5321, 4.5.2: a line that starts with a dot gets another. */
static void add_stuffed(struct buf *b, const struct buf *text)
{
    const char *line = buf_str(text), *end = line + text->len;

    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        const char *next = eol ? eol + 1 : end;
        if (line[0] == '.')
            buf_add_char(b, '.');
        buf_add(b, line, (size_t)(next - line));
        line = next;
    }
    buf_add_str(b, ".\r\n");
}

static int watch_socket(struct smtp_session *s, uv_loop_t *loop)
{
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD || uv_poll_init_socket(loop, &s->poll, fd) != 0)
        return ERR_IO;
    uv_timer_init(loop, &s->timer);
    s->poll.data = s->timer.data = s;
    s->open_handles = 2;
    return 0;
}

int smtp_session_start(uv_loop_t *loop, CURL *easy, const char *from, const char *to,
    const struct buf *text, int64_t timeout_ms, smtp_session_done_fn *done, void *arg,
    struct smtp_session **ret_session)
{
    struct smtp_session *s = calloc(1, sizeof(*s));

    if (!s)
        return ERR_NOMEM;
    s->easy = easy;
    s->done = done;
    s->arg = arg;
    buf_init(&s->text, OUT_MAX);
    buf_init(&s->out, OUT_MAX);
    buf_init(&s->in, REPLY_MAX);
    s->to = strdup(to);
    add_stuffed(&s->text, text);
    say(s, STATE_MAIL, "MAIL FROM:<", from);
    int err = s->to ? buf_err(&s->text) : ERR_NOMEM;
    if (err == 0)
        err = watch_socket(s, loop);
    if (err < 0) {
        free(s->to);
        buf_release(&s->text);
        buf_release(&s->out);
        free(s);
        return err;
    }
    uv_timer_start(&s->timer, on_timer, timeout_ms > 0 ? (uint64_t)timeout_ms : 0, 0);
    /* The first word goes out when the loop says that the socket can take it. */
    if (uv_poll_start(&s->poll, UV_WRITABLE, on_ready) != 0) {
        smtp_session_free(s);
        return ERR_IO;
    }
    *ret_session = s;
    return 0;
}
