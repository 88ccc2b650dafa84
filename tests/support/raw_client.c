#include "tests/support/raw_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_MS 20000
#define GOT_MAX ((size_t)1 << 20)

bool raw_client_open(struct raw_client *c, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((unsigned short)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    *c = (struct raw_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c->got, GOT_MAX);
    assert_true(c->fd >= 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return true;
    assert_int_equal(errno, ECONNREFUSED);
    raw_client_close(c);
    return false;
}

void raw_client_close(struct raw_client *c)
{
    if (!c || c->fd < 0)
        return;
    (void)close(c->fd);
    c->fd = -1;
    buf_release(&c->got);
}

bool raw_client_send(struct raw_client *c, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0 && !c->ended) {
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            return false;
        } else if (poll(&p, 1, SOON_MS) <= 0) {
            fail_msg("the other side takes nothing");
        }
    }
    return len == 0;
}

bool raw_client_say(struct raw_client *c, const char *text)
{
    return raw_client_send(c, text, strlen(text));
}

void raw_client_take(struct raw_client *c)
{
    char part[16384];
    ssize_t n;

    while (!c->ended) {
        n = recv(c->fd, part, sizeof(part), MSG_DONTWAIT);
        if (n > 0)
            buf_add(&c->got, part, (size_t)n);
        else if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        else
            c->ended = true;
    }
}

/* Where the answer that has arrived ends, 0: it is not whole. */
static size_t whole(const struct raw_client *c)
{
    const char *text = buf_str(&c->got), *head = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\nContent-Length:");
    size_t body = 0;

    if (!head)
        return 0;
    if (length && length < head)
        body = (size_t)strtoull(length + strlen("\r\nContent-Length:"), NULL, 10);
    body += (size_t)(head + strlen("\r\n\r\n") - text);
    return c->got.len >= body ? body : 0;
}

static bool is_answered(void *arg)
{
    struct raw_client *c = arg;

    raw_client_take(c);
    return whole(c) || c->ended;
}

static bool is_ended(void *arg)
{
    struct raw_client *c = arg;

    raw_client_take(c);
    return c->ended;
}

int raw_client_answer(struct harness *h, struct raw_client *c)
{
    const char *text;

    harness_await_that(h, SOON_MS, is_answered, c, "an answer");
    text = buf_str(&c->got);
    return strncmp(text, "HTTP/1.", 7) == 0 && whole(c) ? (int)strtol(text + 8, NULL, 10) : 0;
}

void raw_client_await_end(struct harness *h, struct raw_client *c)
{
    harness_await_that(h, SOON_MS, is_ended, c, "the end of a connection");
}
