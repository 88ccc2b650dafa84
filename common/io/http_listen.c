#include "io/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_QUEUE 512
#define PORT_MAX     65535

/* getaddrinfo() cuts a larger number to 16 bits. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= strlen("65535") && !text[digits] &&
           strtoll(text, NULL, 10) <= PORT_MAX;
}

/* "host:port" into its parts, with the brackets of an IPv6 address taken off. */
static int split_listen(const char *listen, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(listen, ':');
    bool brackets = listen[0] == '[';
    char *host, *port;

    if (!colon || !is_port(colon + 1) || (brackets && (colon == listen || colon[-1] != ']')))
        return ERR_INVALID;
    host = strndup(listen + brackets, (size_t)(colon - listen) - 2 * (size_t)brackets);
    port = strdup(colon + 1);
    if (!host || !port) {
        free(host);
        free(port);
        return ERR_NOMEM;
    }
    *ret_host = host;
    *ret_port = port;
    return 0;
}

static int read_listen(const char *listen, struct addrinfo **ret_at, struct buf *fault)
{
    struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    char *host = NULL, *port = NULL;
    int err = split_listen(listen, &host, &port);

    if (!err && getaddrinfo(host, port, &hints, ret_at) != 0)
        err = ERR_INVALID;
    if (err == ERR_INVALID)
        buf_add_str(fault, "an address and a port, such as 127.0.0.1:8080 or [::1]:8080");
    free(host);
    free(port);
    return err;
}

int http_listen_check(const char *listen, struct buf *fault)
{
    struct addrinfo *at = NULL;
    int err = read_listen(listen, &at, fault);

    if (at)
        freeaddrinfo(at);
    return err;
}

/* Another start does not mend an address that is another machine's, or a port that is not for this
 * user; whoever else listens there may be gone by then. */
static int say_why(int error, struct buf *fault)
{
    switch (error) {
    case EADDRNOTAVAIL:
        buf_add_str(fault, "this machine has no such address");
        return ERR_INVALID;
    case EACCES:
        buf_add_str(fault, "this user may not listen at that port");
        return ERR_INVALID;
    case EADDRINUSE:
        buf_add_str(fault, "another process listens there already");
        return ERR_IO;
    default:
        buf_add_str(fault, strerror(error));
        return ERR_IO;
    }
}

static int listen_at(const struct addrinfo *at, struct buf *fault)
{
    int on = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, LISTEN_QUEUE) == 0)
        return fd;
    int err = say_why(errno, fault);
    if (fd >= 0)
        (void)close(fd);
    return err;
}

int http_listen(const char *listen, int *ret_family, int *ret_port, struct buf *fault)
{
    struct addrinfo *at = NULL;
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    int fd = read_listen(listen, &at, fault);

    if (fd == 0)
        fd = listen_at(at, fault);
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&bound, &len) == 0) {
        *ret_family = bound.ss_family;
        *ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                      : ((struct sockaddr_in *)&bound)->sin_port);
    }
    if (at)
        freeaddrinfo(at);
    return fd;
}
