#include "tests/fake/fake_smtp.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <uv.h>

#include "base/buf.h"

#define LINES_MAX ((size_t)8 << 20)
#define READ_SIZE ((size_t)16 << 10)
#define RULES_MAX 32
#define MAILS_MAX 4096

struct rule {
    struct fake_smtp_rule r; /* its strings are the fields below */
    char *command, *reply;
    int used;
};

struct mail {
    struct fake_mail m; /* first */
    char *from, *to, *text;
};

struct fake_smtp {
    pthread_t thread;
    pthread_mutex_t lock; /* of everything that the test may ask */
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t stop;
    int port;
    struct session *sessions;
    struct rule rules[RULES_MAX];
    size_t n_rules;
    struct mail *mails[MAILS_MAX];
    size_t n_mails, connections;
    struct buf commands;
    char scratch[READ_SIZE];
};

struct session {
    struct fake_smtp *s;
    struct session *prev, *next;
    uv_tcp_t tcp;
    bool closing;
    bool in_text;
    bool in_auth; /* the next line is the client's response */
    struct buf in, text;
    char *from, *to;
};

static void on_closed(uv_handle_t *handle)
{
    struct session *n = handle->data;

    buf_release(&n->in);
    buf_release(&n->text);
    free(n->from);
    free(n->to);
    free(n);
}

static void session_close(struct session *n)
{
    if (n->closing)
        return;
    n->closing = true;
    if (n->prev)
        n->prev->next = n->next;
    else
        n->s->sessions = n->next;
    if (n->next)
        n->next->prev = n->prev;
    uv_close((uv_handle_t *)&n->tcp, on_closed);
}

/* Replies are short and a test reads them at once. */
static void say(struct session *n, const char *reply)
{
    struct buf line = BUF_INIT(4096);

    buf_addf(&line, "%s\r\n", reply);
    uv_buf_t piece = uv_buf_init(line.data, (unsigned)line.len);
    if (uv_try_write((uv_stream_t *)&n->tcp, &piece, 1) != (int)line.len)
        session_close(n);
    buf_release(&line);
}

static struct rule *find_rule(struct fake_smtp *s, const char *command)
{
    for (size_t i = 0; i < s->n_rules; i++) {
        struct rule *rule = &s->rules[i];
        if (strcasecmp(rule->command, command) == 0 &&
            (rule->r.times == 0 || rule->used < rule->r.times))
            return rule;
    }
    return NULL;
}

static void keep_mail(struct session *n)
{
    struct fake_smtp *s = n->s;
    struct mail *mail = calloc(1, sizeof(*mail));

    if (!mail || s->n_mails == MAILS_MAX)
        abort();
    mail->m.from = mail->from = n->from;
    mail->m.to = mail->to = n->to;
    mail->m.text = mail->text = buf_steal(&n->text);
    n->from = n->to = NULL;
    s->mails[s->n_mails++] = mail;
}

/* Answers a command by its rule, or with `usual`. Whether the usual thing happened, as the
 * server sees it. */
static bool answer(struct session *n, const char *command, const char *usual)
{
    struct fake_smtp *s = n->s;

    pthread_mutex_lock(&s->lock);
    struct rule *rule = find_rule(s, command);
    const struct fake_smtp_rule r = rule ? rule->r : (struct fake_smtp_rule){0};
    bool accepted = !r.reply || r.reply[0] == '2' || r.reply[0] == '3';
    if (rule)
        rule->used++;
    if (accepted && strcmp(command, ".") == 0)
        keep_mail(n);
    pthread_mutex_unlock(&s->lock);

    if (r.drop)
        session_close(n);
    else if (!r.hang)
        say(n, r.reply ? r.reply : usual);
    return accepted && !r.drop && !r.hang;
}

/* "FROM:<a@b> SIZE=9": what stands between the brackets. */
static char *bracketed(const char *text)
{
    const char *open = strchr(text, '<');
    const char *close = open ? strchr(open, '>') : NULL;

    return close ? strndup(open + 1, (size_t)(close - open - 1)) : strdup("");
}

static void on_command(struct session *n, const char *line)
{
    if (strncasecmp(line, "EHLO", 4) == 0) {
        (void)answer(n, "EHLO", "250-fake\r\n250-AUTH PLAIN\r\n250 SIZE 10000000");
    } else if (strncasecmp(line, "AUTH", 4) == 0) {
        n->in_auth = true;
        say(n, "334 ");
    } else if (strncasecmp(line, "STARTTLS", 8) == 0) {
        (void)answer(n, "STARTTLS", "502 5.5.1 no");
    } else if (strncasecmp(line, "MAIL", 4) == 0) {
        free(n->from);
        n->from = bracketed(line);
        (void)answer(n, "MAIL", "250 2.1.0 ok");
    } else if (strncasecmp(line, "RCPT", 4) == 0) {
        free(n->to);
        n->to = bracketed(line);
        (void)answer(n, "RCPT", "250 2.1.5 ok");
    } else if (strncasecmp(line, "DATA", 4) == 0) {
        buf_reset(&n->text);
        n->in_text = answer(n, "DATA", "354 go on");
    } else if (strncasecmp(line, "QUIT", 4) == 0) {
        say(n, "221 2.0.0 bye");
        session_close(n);
    } else {
        say(n, "500 5.5.2 what?");
    }
}

static void on_line(struct session *n, const char *line)
{
    if (n->in_auth) {
        n->in_auth = false;
        (void)answer(n, "AUTH", "235 2.7.0 welcome");
    } else if (!n->in_text) {
        pthread_mutex_lock(&n->s->lock);
        buf_addf(&n->s->commands, "%s\n", line);
        pthread_mutex_unlock(&n->s->lock);
        on_command(n, line);
    } else if (strcmp(line, ".") == 0) {
        n->in_text = false;
        (void)answer(n, ".", "250 2.0.0 taken");
    } else {
        buf_addf(&n->text, "%s\r\n", line[0] == '.' ? line + 1 : line);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct session *n = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(n->s->scratch, sizeof(n->s->scratch));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *data)
{
    struct session *n = stream->data;
    char *eol;

    if (len < 0) {
        session_close(n);
        return;
    }
    buf_add(&n->in, data->base, (size_t)len);
    while (!n->closing && n->in.len > 0 && (eol = memmem(n->in.data, n->in.len, "\r\n", 2))) {
        size_t used = (size_t)(eol - n->in.data) + 2;
        char *line = strndup(n->in.data, used - 2);
        memmove(n->in.data, n->in.data + used, n->in.len - used);
        n->in.len -= used;
        if (line)
            on_line(n, line);
        free(line);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake_smtp *s = listener->data;
    struct session *n = status == 0 ? calloc(1, sizeof(*n)) : NULL;

    if (!n)
        return;
    n->s = s;
    buf_init(&n->in, LINES_MAX);
    buf_init(&n->text, LINES_MAX);
    uv_tcp_init(&s->loop, &n->tcp);
    n->tcp.data = n;
    n->next = s->sessions;
    if (n->next)
        n->next->prev = n;
    s->sessions = n;
    pthread_mutex_lock(&s->lock);
    s->connections++;
    pthread_mutex_unlock(&s->lock);
    if (uv_accept(listener, (uv_stream_t *)&n->tcp) != 0 ||
        uv_read_start((uv_stream_t *)&n->tcp, on_alloc, on_read) != 0)
        session_close(n);
    else
        (void)answer(n, "CONNECT", "220 fake ESMTP");
}

static void on_stop(uv_async_t *async)
{
    struct fake_smtp *s = async->data;

    while (s->sessions)
        session_close(s->sessions);
    uv_close((uv_handle_t *)&s->listener, NULL);
    uv_close((uv_handle_t *)&s->stop, NULL);
}

static void *run(void *arg)
{
    struct fake_smtp *s = arg;

    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void release(struct fake_smtp *s)
{
    for (size_t i = 0; i < s->n_mails; i++) {
        free(s->mails[i]->from);
        free(s->mails[i]->to);
        free(s->mails[i]->text);
        free(s->mails[i]);
    }
    for (size_t i = 0; i < s->n_rules; i++) {
        free(s->rules[i].command);
        free(s->rules[i].reply);
    }
    buf_release(&s->commands);
    uv_loop_close(&s->loop);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int fake_smtp_new(struct fake_smtp **ret_smtp)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int len = sizeof(address);
    struct fake_smtp *s = calloc(1, sizeof(*s));

    if (!s)
        return ERR_NOMEM;
    pthread_mutex_init(&s->lock, NULL);
    buf_init(&s->commands, LINES_MAX);
    uv_loop_init(&s->loop);
    uv_tcp_init(&s->loop, &s->listener);
    uv_async_init(&s->loop, &s->stop, on_stop);
    s->listener.data = s->stop.data = s;
    if (uv_tcp_bind(&s->listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&s->listener, 64, on_connection) != 0 ||
        uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &len) != 0 ||
        pthread_create(&s->thread, NULL, run, s) != 0) {
        on_stop(&s->stop);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        release(s);
        return ERR_IO;
    }
    s->port = ntohs(address.sin_port);
    *ret_smtp = s;
    return 0;
}

void fake_smtp_free(struct fake_smtp *s)
{
    if (!s)
        return;
    uv_async_send(&s->stop);
    pthread_join(s->thread, NULL);
    release(s);
}

int fake_smtp_port(const struct fake_smtp *s)
{
    return s->port;
}

int fake_smtp_on(struct fake_smtp *s, const struct fake_smtp_rule *rule)
{
    struct rule kept = {.r = *rule};

    kept.command = strdup(rule->command);
    kept.r.reply = kept.reply = rule->reply ? strdup(rule->reply) : NULL;
    pthread_mutex_lock(&s->lock);
    bool fits = kept.command && (kept.reply || !rule->reply) && s->n_rules < RULES_MAX;
    if (fits)
        s->rules[s->n_rules++] = kept;
    pthread_mutex_unlock(&s->lock);
    if (!fits) {
        free(kept.command);
        free(kept.reply);
    }
    return fits ? 0 : ERR_NOMEM;
}

size_t fake_smtp_count(struct fake_smtp *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_mails;
    pthread_mutex_unlock(&s->lock);
    return n;
}

const struct fake_mail *fake_smtp_at(struct fake_smtp *s, size_t n)
{
    pthread_mutex_lock(&s->lock);
    const struct fake_mail *mail = n < s->n_mails ? &s->mails[n]->m : NULL;
    pthread_mutex_unlock(&s->lock);
    return mail;
}

char *fake_smtp_commands(struct fake_smtp *s)
{
    pthread_mutex_lock(&s->lock);
    char *text = strdup(buf_str(&s->commands));
    pthread_mutex_unlock(&s->lock);
    return text;
}

size_t fake_smtp_connections(struct fake_smtp *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->connections;
    pthread_mutex_unlock(&s->lock);
    return n;
}
